//! Where calls arrive that come directly: the entry in the kernel image, and how it finds its core.
//!
//! Which core it is on the entry finds by the base of gs, a register of the host's thread that no program
//! for Linux uses, or nearly none: where the program has left it 0 it points to a [`Slot`]. With any
//! other base the entry goes to the `syscall` instead.

use core::arch::global_asm;
use core::mem::offset_of;
use core::ops::Range;
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering};

use shm_ipc::control::Cause;
use shm_ipc::layout::MAX_CORES;

use super::SYSCALL;
use crate::arch::{KERNEL_STACK, MXCSR, StackHead, XMM, save_part};
use crate::entry::{self, Trap};
use crate::platform::process::host::nr;
use crate::platform::process::{LOWEST, segments};
use crate::sched::core::{Core, this_core};
use crate::sched::thread::{THREAD_STACK, THREAD_VECTOR, THREAD_VECTOR_IS_PARTIAL, current};

/// What the base of gs points to, one for each core: no more than one line of the cache.
#[repr(C, align(64))]
struct Slot {
    /// Where the core keeps its thread.
    thread: AtomicPtr<()>,
    /// Of a call that the entry itself makes: where the program goes on, and its number.
    back: AtomicU64,
    number: AtomicU64,
    /// Not zero from when such a call is over to where the kernel is told.
    late: AtomicU64,
    /// What the core counts of calls: those of each number, and those that it has seen to itself.
    calls: AtomicPtr<AtomicU64>,
    local_calls: AtomicPtr<AtomicU64>,
    /// What has come for the core.
    pending: AtomicPtr<AtomicU32>,
    /// Where the program's memory ends.
    user_end: AtomicU64,
}

impl Slot {
    const fn new() -> Self {
        Slot {
            thread: AtomicPtr::new(ptr::null_mut()),
            back: AtomicU64::new(0),
            number: AtomicU64::new(0),
            late: AtomicU64::new(0),
            calls: AtomicPtr::new(ptr::null_mut()),
            local_calls: AtomicPtr::new(ptr::null_mut()),
            pending: AtomicPtr::new(ptr::null_mut()),
            user_end: AtomicU64::new(0),
        }
    }
}

static SLOTS: [Slot; MAX_CORES as usize] = [const { Slot::new() }; MAX_CORES as usize];
const SLOTS_BYTES: usize = size_of::<[Slot; MAX_CORES as usize]>();

/// Where they lie: an operand of the entry, which has no register to spare.
#[unsafe(no_mangle)]
static TACET_FAST_SLOTS: AtomicU64 = AtomicU64::new(0);

/// Set when the base of gs can't be had by instruction: then no place is rewritten.
static CANNOT: AtomicBool = AtomicBool::new(false);

// Copies between processes are made here at once where they are of one piece, as MPI libraries make them: the
// host takes the most part of a message's time, and what the kernel does around the call would add a fifth to
// that of a short one. To the kernel the program computes meanwhile. An interrupt leaves its note, which is
// looked at last of all; an interrupt between this look and the program has it done again ([`window`]). Whatever
// is not as it should be (a piece that is not there, a process that is not, memory that is to be filled) goes the
// long way from its start.
global_asm!(
    r"
    .globl tacet_fast_entry
tacet_fast_entry:                   # (rax: number, rcx: where to go on; r11 is free, the stack is the program's)
    rdgsbase r11
    sub r11, qword ptr [rip + TACET_FAST_SLOTS]
    cmp r11, {slots_bytes}
    jae 2f
    lea r11d, [rax - {readv}]
    cmp r11d, 1                     # The one to write is the next.
    jbe tacet_fast_copy
tacet_fast_save:
    mov r11, gs:[{thread}]
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
    cmp qword ptr gs:[{late}], 0
    jne 3f
    call {arrive}
    ud2
3:  mov qword ptr gs:[{late}], 0
    call {arrive_late}
    ud2
2:  sub rcx, 2                      # the base is the program's own: by the signal
    jmp rcx
    .balign 4
tacet_fast_mxcsr:
    .long 0x1f80

tacet_fast_copy:                    # (rdi: process, rsi, rdx: pieces here, r10, r8: pieces there, r9: flags)
    cmp rdx, 1
    jne tacet_fast_save
    cmp r8, 1
    jne tacet_fast_save
    test r9, r9
    jnz tacet_fast_save
    mov r11, gs:[{user_end}]
    sub r11, 16
    cmp rsi, r11
    ja tacet_fast_save
    cmp r10, r11
    ja tacet_fast_save
tacet_fast_look:                    # From here to the call a fault goes on at tacet_fast_save.
    mov r11, [rsi]
    cmp r11, {lowest}
    jb tacet_fast_save
    add r11, [rsi + 8]
    jc tacet_fast_save
    cmp r11, gs:[{user_end}]
    ja tacet_fast_save
    mov gs:[{back}], rcx
    mov gs:[{number}], rax
    syscall
tacet_fast_called:
    mov rcx, gs:[{back}]
tacet_fast_compare:                 # From here to the count a fault goes on at tacet_fast_again.
    mov r11, [rsi + 8]
    cmp r11, [r10 + 8]
    cmova r11, [r10 + 8]
    cmp rax, r11
    jne tacet_fast_again
tacet_fast_count:
    mov ecx, dword ptr gs:[{number}]
    mov r11, gs:[{calls}]
    inc qword ptr [r11 + 8 * rcx]
    mov rcx, gs:[{back}]
    mov r11, gs:[{local_calls}]
    inc qword ptr [r11]
tacet_fast_last:                    # An interrupt from here to tacet_fast_end goes on here.
    mov r11, gs:[{pending}]
    cmp dword ptr [r11], 0
    jne 4f
    jmp rcx
tacet_fast_end:
4:  mov qword ptr gs:[{late}], 1
    jmp tacet_fast_save
tacet_fast_again:
    mov rax, gs:[{number}]
    jmp tacet_fast_save
",
    slots_bytes = const SLOTS_BYTES,
    readv = const nr::PROCESS_VM_READV,
    lowest = const LOWEST,
    thread = const offset_of!(Slot, thread),
    back = const offset_of!(Slot, back),
    number = const offset_of!(Slot, number),
    late = const offset_of!(Slot, late),
    calls = const offset_of!(Slot, calls),
    local_calls = const offset_of!(Slot, local_calls),
    pending = const offset_of!(Slot, pending),
    user_end = const offset_of!(Slot, user_end),
    stack = const THREAD_STACK,
    stack_bytes = const KERNEL_STACK,
    owner = const offset_of!(StackHead, owner),
    vector = const THREAD_VECTOR,
    is_partial = const THREAD_VECTOR_IS_PARTIAL,
    mxcsr = const MXCSR,
    xmm = const XMM,
    arrive = sym arrive,
    arrive_late = sym arrive_late,
);

unsafe extern "C" {
    fn tacet_fast_entry();
    fn tacet_fast_save();
    fn tacet_fast_look();
    fn tacet_fast_called();
    fn tacet_fast_compare();
    fn tacet_fast_count();
    fn tacet_fast_last();
    fn tacet_fast_end();
    fn tacet_fast_again();
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

/// A call is over that the entry has made, and something has come meanwhile.
extern "C" fn arrive_late() -> ! {
    current().own.trap.set(Trap::Interrupt(Cause::Doorbell));
    entry::trapped()
}

/// Where the entry goes on after a fault at `rip`: both pieces of a copy are described by memory of the
/// program's.
pub fn fixup(rip: u64) -> Option<u64> {
    let at = |place: unsafe extern "C" fn()| place as *const () as u64;
    match rip {
        rip if (at(tacet_fast_look)..at(tacet_fast_called)).contains(&rip) => Some(at(tacet_fast_save)),
        rip if (at(tacet_fast_compare)..at(tacet_fast_count)).contains(&rip) => Some(at(tacet_fast_again)),
        _ => None,
    }
}

/// The part of the entry that is done again after an interrupt: the last look for what has come.
pub fn window() -> Range<u64> {
    tacet_fast_last as *const () as u64..tacet_fast_end as *const () as u64
}

/// Boot, on each core before the program runs. `fast_segments` says whether the host lets the bases be
/// read by instruction, `user_end` where the program's memory ends.
pub fn prepare(core: &'static Core, fast_segments: bool, user_end: u64) {
    if !fast_segments {
        CANNOT.store(true, Ordering::SeqCst);
        return;
    }
    let slot = &SLOTS[core.index as usize];
    slot.thread.store(core.running_place().cast_mut(), Ordering::SeqCst);
    slot.calls.store((&raw const *core.block.call_counters()).cast::<AtomicU64>().cast_mut(), Ordering::SeqCst);
    slot.local_calls.store((&raw const *core.block.counter(Cause::LocalCall)).cast_mut(), Ordering::SeqCst);
    slot.pending.store((&raw const core.pending).cast_mut(), Ordering::SeqCst);
    slot.user_end.store(user_end, Ordering::SeqCst);
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
