//! Where calls arrive that come directly: the entry in the kernel image, and how it finds its core.
//!
//! Which core it is on the entry finds by the base of gs, a register of the host's thread that no program
//! for Linux uses, or nearly none: where the program has left it 0 it points to a [`Slot`]. With any
//! other base the entry goes to the `syscall` instead.

use core::arch::global_asm;
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};

use shm_ipc::layout::MAX_CORES;

use super::SYSCALL;
use crate::arch::{KERNEL_STACK, MXCSR, StackHead, XMM, save_part};
use crate::entry::{self, Trap};
use crate::platform::process::segments;
use crate::sched::core::{Core, this_core};
use crate::sched::thread::{THREAD_STACK, THREAD_VECTOR, THREAD_VECTOR_IS_PARTIAL, current};

/// What the base of gs points to, one for each core: where the core keeps its thread.
#[repr(C)]
struct Slot(AtomicPtr<()>);

static SLOTS: [Slot; MAX_CORES as usize] = [const { Slot(AtomicPtr::new(ptr::null_mut())) }; MAX_CORES as usize];
const SLOTS_BYTES: usize = size_of::<[Slot; MAX_CORES as usize]>();

/// Where they lie: an operand of the entry, which has no register to spare.
#[unsafe(no_mangle)]
static TACET_FAST_SLOTS: AtomicU64 = AtomicU64::new(0);

/// Set when the base of gs can't be had by instruction: then no place is rewritten.
static CANNOT: AtomicBool = AtomicBool::new(false);

global_asm!(
    r"
    .globl tacet_fast_entry
tacet_fast_entry:                   # (rax: number, rcx: where to go on; r11 is free, the stack is the program's)
    rdgsbase r11
    sub r11, qword ptr [rip + TACET_FAST_SLOTS]
    cmp r11, {slots_bytes}
    jae 2f
    add r11, qword ptr [rip + TACET_FAST_SLOTS]
    mov r11, [r11]                  # where the core keeps its thread
    mov r11, [r11]                  # the thread
    mov r11, [r11 + {stack}]
    lea r11, [r11 + {stack_bytes}]
    mov qword ptr [r11 - 8], 0x2b
    mov [r11 - 16], rsp
    lea rsp, [r11 - 16]
    pushfq
    mov r11, [rsp]
    push 0x33
    push rcx
    push rdi
    push rsi
    push rdx
    push rcx
    push rax
    push r8
    push r9
    push r10
    push r11
    push rbx
    push rbp
    push r12
    push r13
    push r14
    push r15
    push 0x202
    popfq
    mov rdi, rsp
    mov rsi, rsp
    and rsi, -{stack_bytes}
    mov rsi, [rsi + {owner}]
    mov byte ptr [rsi + {is_partial}], 1
    mov rsi, [rsi + {vector}]
",
    save_part!("rsi"),
    r"
    ldmxcsr [rip + tacet_fast_mxcsr]
    xor ebp, ebp
    call {arrive}
    ud2
2:  sub rcx, 2                      # the base is the program's own: by the signal
    jmp rcx
    .balign 4
tacet_fast_mxcsr:
    .long 0x1f80
",
    slots_bytes = const SLOTS_BYTES,
    stack = const THREAD_STACK,
    stack_bytes = const KERNEL_STACK,
    owner = const core::mem::offset_of!(StackHead, owner),
    vector = const THREAD_VECTOR,
    is_partial = const THREAD_VECTOR_IS_PARTIAL,
    mxcsr = const MXCSR,
    xmm = const XMM,
    arrive = sym arrive,
);

unsafe extern "C" {
    fn tacet_fast_entry();
}

/// Where stubs lead.
pub fn address() -> u64 {
    tacet_fast_entry as *const () as u64
}

/// Whether places can be rewritten at all.
pub fn is_ready() -> bool {
    !CANNOT.load(Ordering::Relaxed)
}

/// First thing in Rust, with the program's registers saved.
extern "C" fn arrive() -> ! {
    current().own.trap.set(Trap::Call);
    entry::trapped()
}

/// Boot, on each core before the program runs. `fast_segments` says whether the host lets the bases be
/// read by instruction.
pub fn prepare(core: &'static Core, fast_segments: bool) {
    if !fast_segments {
        CANNOT.store(true, Ordering::SeqCst);
        return;
    }
    let slot = &SLOTS[core.index as usize];
    slot.0.store(core.running_place().cast_mut(), Ordering::SeqCst);
    TACET_FAST_SLOTS.store(SLOTS.as_ptr() as u64, Ordering::SeqCst);
    let (fs, _) = segments::get(true);
    segments::set(true, fs, (&raw const *slot) as u64);
}

/// The base of gs that a program's thread gets on this core when the program wants `base`.
pub fn gs_for(base: u64) -> u64 {
    match base {
        0 if is_ready() => (&raw const SLOTS[this_core().index as usize]) as u64,
        _ => base,
    }
}

/// What the program has left, where the register has `base`.
pub fn gs_seen(base: u64) -> u64 {
    let slots = SLOTS.as_ptr() as u64;
    if (slots..slots + SLOTS_BYTES as u64).contains(&base) { 0 } else { base }
}

/// Where a program goes on that steps through its own code and so was interrupted before the first
/// instruction of the entry: at its `syscall`, with the trap flag as it is.
pub fn stepped(rip: u64, rcx: u64) -> Option<u64> {
    (rip == address()).then(|| rcx - SYSCALL.len() as u64)
}
