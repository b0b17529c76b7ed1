//! The program's registers while the kernel runs.

use crate::abi::Errno;

/// General-purpose registers and the five words that IRETQ takes, in the order in which the
/// return path pops them. Lies at the top of the thread's kernel stack.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "register names")]
pub struct TrapFrame {
    pub r15: u64,
    pub r14: u64,
    pub r13: u64,
    pub r12: u64,
    pub rbp: u64,
    pub rbx: u64,
    pub r11: u64,
    pub r10: u64,
    pub r9: u64,
    pub r8: u64,
    pub rax: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rsi: u64,
    pub rdi: u64,
    pub rip: u64,
    pub cs: u64,
    pub rflags: u64,
    pub rsp: u64,
    pub ss: u64,
}

/// Code segment of 64-bit programs on Linux.
pub const USER_CS: u64 = 0x33;
/// Code segment of programs in compatibility mode on Linux.
pub const USER_CS_32: u64 = 0x23;
/// Stack segment of programs on Linux.
pub const USER_SS: u64 = 0x2b;
/// Flags that a program may choose: CF PF AF ZF SF TF DF OF RF AC ID.
const USER_FLAGS: u64 = 0xcd5 | 1 << 8 | 1 << 16 | 1 << 18 | 1 << 21;
/// Interrupts enabled, and the bit that is always set.
const FIXED_FLAGS: u64 = 1 << 9 | 1 << 1;

impl TrapFrame {
    /// Registers of a program that starts at `rip` with its stack at `rsp`.
    #[must_use]
    pub fn start(rip: u64, rsp: u64) -> Self {
        TrapFrame { rip, rsp, cs: USER_CS, ss: USER_SS, rflags: FIXED_FLAGS, ..TrapFrame::default() }
    }

    /// The arguments of a system call.
    #[must_use]
    pub fn args(&self) -> [u64; 6] {
        [self.rdi, self.rsi, self.rdx, self.r10, self.r8, self.r9]
    }

    /// Makes whatever segments and flags the program asked for (rt_sigreturn) harmless.
    pub fn sanitise(&mut self) {
        if self.cs != USER_CS_32 {
            self.cs = USER_CS;
        }
        self.ss = USER_SS;
        self.rflags = self.rflags & USER_FLAGS | FIXED_FLAGS;
    }

    /// Stores the outcome of a system call.
    pub fn set_result(&mut self, result: Result<u64, Errno>) {
        self.rax = crate::abi::to_raw(result) as u64;
    }
}

const _: () = assert!(size_of::<TrapFrame>() == 160);
