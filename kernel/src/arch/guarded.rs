//! Access to program memory that may fault.
//!
//! Each access is one instruction with a known address. When it faults and the fault can't be
//! mended (memory filled on demand is), the fault handler asks [`guarded_fixup`] where to go on:
//! behind the instruction, with the failure reported.

use core::arch::global_asm;
use core::sync::atomic::{AtomicBool, Ordering};

global_asm!(
    r#"
    .globl tacet_guarded_copy
tacet_guarded_copy:                 # (rdi: to, rsi: from, rdx: bytes) -> bytes not copied
    mov rcx, rdx
    cmp byte ptr [rip + tacet_access_prevention], 0
    jne 1f
tacet_guarded_copy_at:
    rep movsb
tacet_guarded_copy_out:
    mov rax, rcx
    ret
1:  stac
tacet_guarded_copy_prevented_at:
    rep movsb
tacet_guarded_copy_prevented_out:
    clac
    mov rax, rcx
    ret

    .globl tacet_guarded_cas
tacet_guarded_cas:                  # (rdi: word, esi: old, edx: new) -> seen, or 1 << 32
    mov eax, esi
    cmp byte ptr [rip + tacet_access_prevention], 0
    jne 1f
tacet_guarded_cas_at:
    lock cmpxchg [rdi], edx
    mov eax, eax
    ret
1:  stac
tacet_guarded_cas_prevented_at:
    lock cmpxchg [rdi], edx
    clac
    mov eax, eax
    ret

    .globl tacet_guarded_load
tacet_guarded_load:                 # (rdi: word) -> seen, or 1 << 32
    cmp byte ptr [rip + tacet_access_prevention], 0
    jne 1f
tacet_guarded_load_at:
    mov eax, [rdi]
    ret
1:  stac
tacet_guarded_load_prevented_at:
    mov eax, [rdi]
    clac
    ret
tacet_guarded_prevented_failed:
    clac
tacet_guarded_failed:
    mov eax, 1
    shl rax, 32
    ret

    # Whether the CPU keeps the kernel from the program's pages unless it says STAC (SMAP).
    .pushsection .bss.tacet_access_prevention, "aw", @nobits
    .globl tacet_access_prevention
tacet_access_prevention:
    .skip 1
    .popsection

    .pushsection .data.rel.ro.tacet_guarded, "aw"
    .balign 8
    .globl tacet_guarded_table
tacet_guarded_table:
    .quad tacet_guarded_copy_at, tacet_guarded_copy_out
    .quad tacet_guarded_cas_at, tacet_guarded_failed
    .quad tacet_guarded_load_at, tacet_guarded_failed
    .quad tacet_guarded_copy_prevented_at, tacet_guarded_copy_prevented_out
    .quad tacet_guarded_cas_prevented_at, tacet_guarded_prevented_failed
    .quad tacet_guarded_load_prevented_at, tacet_guarded_prevented_failed
    .popsection
"#
);

unsafe extern "C" {
    fn tacet_guarded_copy(to: *mut u8, from: *const u8, len: usize) -> usize;
    fn tacet_guarded_cas(word: *mut u32, old: u32, new: u32) -> u64;
    fn tacet_guarded_load(word: *const u32) -> u64;
    static tacet_guarded_table: [[u64; 2]; 6];
    static tacet_access_prevention: AtomicBool;
}

/// Says whether the CPU keeps the kernel from the program's pages (SMAP): each access here then
/// lifts that for its one instruction.
pub fn set_access_prevention(on: bool) {
    // SAFETY: one byte in the image, zero until now; written by every core with the same value.
    unsafe { tacet_access_prevention.store(on, Ordering::SeqCst) };
}

/// Copies bytes of which either side may be program memory.
///
/// # Errors
/// The number of bytes that were not copied because of a fault.
///
/// # Safety
/// The side that is not program memory is valid for `len` bytes; the program's side lies in
/// the platform's user range; no kernel lock that the fault handler needs is held.
pub unsafe fn guarded_copy(to: *mut u8, from: *const u8, len: usize) -> Result<(), usize> {
    // SAFETY: the caller's promise; a fault on program memory ends at the fix-up.
    match unsafe { tacet_guarded_copy(to, from, len) } {
        0 => Ok(()),
        left => Err(left),
    }
}

/// The word of program memory is not accessible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inaccessible;

fn seen(word: u64) -> Result<u32, Inaccessible> {
    u32::try_from(word).map_err(|_| Inaccessible)
}

/// Compares and swaps a word of program memory; gives the value seen before.
///
/// # Errors
/// When the word is not accessible.
///
/// # Safety
/// The word is aligned and lies in the user range; no kernel lock that the fault handler needs is held.
pub unsafe fn guarded_cas_u32(word: *mut u32, old: u32, new: u32) -> Result<u32, Inaccessible> {
    // SAFETY: the caller's promise; a fault ends at the fix-up.
    seen(unsafe { tacet_guarded_cas(word, old, new) })
}

/// Loads a word of program memory.
///
/// # Errors
/// When the word is not accessible.
///
/// # Safety
/// As for [`guarded_cas_u32`].
pub unsafe fn guarded_load_u32(word: *const u32) -> Result<u32, Inaccessible> {
    // SAFETY: the caller's promise; a fault ends at the fix-up.
    seen(unsafe { tacet_guarded_load(word) })
}

/// Where to go on after a fault at `rip` that can't be mended; `None` when no guarded access
/// lies there, which makes it a fault of the kernel.
#[must_use]
pub fn guarded_fixup(rip: u64) -> Option<u64> {
    // SAFETY: a constant table in the image.
    let table = unsafe { &tacet_guarded_table };
    table.iter().find(|entry| entry[0] == rip).map(|entry| entry[1])
}
