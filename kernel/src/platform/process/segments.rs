//! Bases of fs and gs: by instruction where the host lets programs use them (Linux ≥ 5.9), by
//! system call elsewhere.

use core::arch::asm;

use super::host::{self, nr};

const SET_GS: u64 = 0x1001;
const SET_FS: u64 = 0x1002;
const GET_FS: u64 = 0x1003;
const GET_GS: u64 = 0x1004;

/// Loads both bases. The kernel itself uses neither segment.
pub fn set(fast: bool, fs: u64, gs: u64) {
    if fast {
        // SAFETY: the host has enabled the instructions; nothing of the kernel lies there.
        unsafe {
            asm!("wrfsbase {}", "wrgsbase {}", in(reg) fs, in(reg) gs, options(nomem, nostack, preserves_flags));
        }
        return;
    }
    // SAFETY: sets a register that the kernel does not use.
    unsafe {
        let _ = host::call(nr::ARCH_PRCTL, [SET_FS, fs, 0, 0, 0, 0]);
        let _ = host::call(nr::ARCH_PRCTL, [SET_GS, gs, 0, 0, 0, 0]);
    }
}

/// Both bases as they are.
pub fn get(fast: bool) -> (u64, u64) {
    let (mut fs, mut gs) = (0u64, 0u64);
    if fast {
        // SAFETY: as in `set`.
        unsafe {
            asm!("rdfsbase {}", "rdgsbase {}", out(reg) fs, out(reg) gs, options(nomem, nostack, preserves_flags));
        }
        return (fs, gs);
    }
    // SAFETY: the host writes one word each.
    unsafe {
        let _ = host::call(nr::ARCH_PRCTL, [GET_FS, (&raw mut fs) as u64, 0, 0, 0, 0]);
        let _ = host::call(nr::ARCH_PRCTL, [GET_GS, (&raw mut gs) as u64, 0, 0, 0, 0]);
    }
    (fs, gs)
}
