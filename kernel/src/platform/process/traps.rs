//! Traps are the host's signals.
//!
//! One handler for all of them, on the core's own signal stack. When it finds that the program
//! was interrupted, it saves the program's registers where the kernel keeps them and goes on
//! in the kernel, on the thread's kernel stack; the handler's frame is forgotten and the way
//! back to the program does without the host. For that, no signal is blocked while a handler
//! runs and the mask never changes; only signals that anybody may send, in any number, keep each
//! other out until the registers are saved ([`FROM_OUTSIDE`]). When it finds that the kernel was
//! interrupted, it only leaves a note, or mends a guarded access to program memory.

use core::sync::atomic::{AtomicU32, Ordering};

use shm_ipc::control::Cause;
use spin::Once;

use super::host::{self, nr};
use super::{INTERRUPT_SIGNAL, PROCESS, Process, TIMER_SIGNAL, sites};
use crate::abi::Errno;
use crate::arch::{self, TrapFrame};
use crate::entry::{self, Fault, Trap};
use crate::mm::{self, Access};
use crate::sched::core::{Core, pending};
use crate::sched::signal::{self, FaultWords, number};

/// Bytes of a core's signal stack, and its alignment: the frame of a signal takes up to 12 KiB
/// on today's CPUs, a few may nest.
pub const SIGNAL_STACK: u64 = 64 << 10;

/// What a core's signal stack starts with.
#[repr(C)]
#[derive(Debug)]
struct StackBase {
    core: &'static Core,
}

/// `struct kernel_sigaction`
#[repr(C)]
struct HostAction {
    handler: u64,
    flags: u64,
    restorer: u64,
    mask: u64,
}

/// `struct sigcontext_64` up to what is used.
#[repr(C)]
struct HostContext {
    r8: u64,
    r9: u64,
    r10: u64,
    r11: u64,
    r12: u64,
    r13: u64,
    r14: u64,
    r15: u64,
    rdi: u64,
    rsi: u64,
    rbp: u64,
    rbx: u64,
    rdx: u64,
    rax: u64,
    rcx: u64,
    rsp: u64,
    rip: u64,
    rflags: u64,
    segments: u64,
    error: u64,
    vector: u64,
    old_mask: u64,
    cr2: u64,
    fpstate: *const u8,
}

/// `struct ucontext`
#[repr(C)]
struct HostUContext {
    flags: u64,
    link: u64,
    stack: [u64; 3],
    context: HostContext,
}

core::arch::global_asm!(
    r"
    .globl tacet_signal_return
tacet_signal_return:
    mov eax, 15
    syscall
    ud2

    # The host leaves most of the program's flags as they are. With its alignment check the kernel would
    # fault, and with nested task no IRETQ leads back.
    .globl tacet_signal_entry
tacet_signal_entry:
    push {flags}
    popfq
    jmp {on_signal}
",
    flags = const KERNEL_FLAGS,
    on_signal = sym on_signal,
);

unsafe extern "C" {
    fn tacet_signal_return();
    fn tacet_signal_entry();
}

/// Signals that come from outside: all but the host's answers to what the program does and the
/// platform's own. The host puts the frames of all signals that are pending and not blocked onto
/// the signal stack at once. Of these there may be hundreds, so they come one by one.
const FROM_OUTSIDE: u64 = !(bit(number::SEGV as u64)
    | bit(number::BUS as u64)
    | bit(number::FPE as u64)
    | bit(number::ILL as u64)
    | bit(number::TRAP as u64)
    | bit(number::SYS as u64)
    | bit(INTERRUPT_SIGNAL)
    | bit(TIMER_SIGNAL));

const fn bit(signal: u64) -> u64 {
    1 << (signal - 1)
}

/// Installs the handler for every signal that can be caught.
///
/// # Errors
/// As rt_sigaction(2).
pub fn install() -> Result<(), Errno> {
    const SA_SIGINFO: u64 = 4;
    const SA_NODEFER: u64 = 0x4000_0000;
    const SA_RESTORER: u64 = 0x0400_0000;
    const SA_ONSTACK: u64 = 0x0800_0000;
    for signal in 1..=u64::from(number::MAX) {
        if signal == u64::from(number::KILL) || signal == u64::from(number::STOP) {
            continue;
        }
        let action = HostAction {
            handler: tacet_signal_entry as *const () as u64,
            flags: SA_SIGINFO | SA_NODEFER | SA_RESTORER | SA_ONSTACK,
            restorer: tacet_signal_return as *const () as u64,
            mask: if FROM_OUTSIDE & bit(signal) != 0 { FROM_OUTSIDE } else { 0 },
        };
        // SAFETY: reads the structure only; the handler is written for all of them.
        unsafe { host::call(nr::RT_SIGACTION, [signal, (&raw const action) as u64, 0, 8, 0, 0])? };
    }
    Ok(())
}

/// Gives the calling thread, which runs `core`, its signal stack, and unblocks all signals.
///
/// # Errors
/// As sigaltstack(2).
pub fn prepare_core(core: &'static Core) -> Result<(), Errno> {
    let base = mm::kernel_pages(SIGNAL_STACK, SIGNAL_STACK).ok_or(Errno::ENOMEM)?;
    // SAFETY: fresh memory of that size and alignment.
    unsafe { base.cast::<StackBase>().write(StackBase { core }) };
    let stack = [base as u64, 0, SIGNAL_STACK];
    // SAFETY: the host reads it; the stack is this thread's for good.
    unsafe { host::call(nr::SIGALTSTACK, [stack.as_ptr() as u64, 0, 0, 0, 0, 0])? };
    unblock_all()
}

/// Lets all signals through to the calling thread.
fn unblock_all() -> Result<(), Errno> {
    const SIG_SETMASK: u64 = 2;
    let none = 0u64;
    // SAFETY: the host reads the mask; every signal has its handler.
    unsafe { host::call(nr::RT_SIGPROCMASK, [SIG_SETMASK, (&raw const none) as u64, 0, 8, 0, 0]).map(|_| ()) }
}

/// The core whose signal stack this runs on.
fn own_core() -> &'static Core {
    let local = 0u8;
    let base = (&raw const local) as u64 & !(SIGNAL_STACK - 1);
    // SAFETY: handlers run on signal stacks only, which begin with this.
    unsafe { (*(base as *const StackBase)).core }
}

/// `SYS_SECCOMP`
const SYS_SECCOMP: i32 = 1;
/// Offset of `si_arch` in the siginfo of SIGSYS.
const SI_ARCH: usize = 28;
const AUDIT_ARCH_X86_64: u32 = 0xc000_003e;
/// Flags that the kernel runs with: interrupts, as any program of the host's.
const KERNEL_FLAGS: u64 = 0x202;
/// Exception vector of a page fault.
const PAGE_FAULT: u64 = 14;

fn word(info: &[u8; 128], at: usize) -> u32 {
    u32::from_le_bytes([info[at], info[at + 1], info[at + 2], info[at + 3]])
}

fn si_code(info: &[u8; 128]) -> i32 {
    word(info, 8).cast_signed()
}

fn si_addr(info: &[u8; 128]) -> u64 {
    u64::from(word(info, 16)) | u64::from(word(info, 20)) << 32
}

extern "C" fn on_signal(signal: i32, info: *const [u8; 128], context: *mut HostUContext) {
    // SAFETY: the host passes both, on this stack, valid until the handler ends.
    let (info, context) = unsafe { (&*info, &mut (*context).context) };
    let core = own_core();
    let Some(process) = PROCESS.get() else { host::exit_group(125) };
    let fault = fault_of(signal as u8, info, context);
    if !process.is_kernel(context.rip, context.rsp) {
        interrupt_program(core, signal as u8, info, context, fault);
    }
    if signal == i32::from(number::TRAP)
        && let Some(rip) = sites::stepped(context.rip, context.rcx)
    {
        context.rip = rip;
        return;
    }
    let (begin, end, again) = arch::return_window();
    if (begin..end).contains(&context.rip) {
        if let Some(fault) = fault {
            // The registers that the program asked for can't be loaded: its own fault. They
            // are still in the frame.
            enter_kernel(core, Trap::Fault(fault));
        }
        note(core, signal as u8, info);
        context.rip = again;
        // The program's may be loaded already, and its direction flag would turn the kernel's copies around.
        context.rflags = KERNEL_FLAGS;
        // SAFETY: the core runs a thread of the program: it was about to leave for it.
        context.rsp = unsafe { (*core.running_thread()).frame() } as u64;
        return;
    }
    match fault {
        Some(fault) => match sites::fixup(context.rip) {
            // To the kernel the program computes: not even memory is filled.
            Some(fixup) => context.rip = fixup,
            None => mend(process, fault, context),
        },
        None => {
            note(core, signal as u8, info);
            let last_look = sites::window();
            if last_look.contains(&context.rip) {
                context.rip = last_look.start;
            }
        }
    }
}

/// The fault that `signal` stands for, unless somebody sent it.
fn fault_of(signal: u8, info: &[u8; 128], context: &HostContext) -> Option<Fault> {
    const FAULTS: [u8; 5] = [number::SEGV, number::BUS, number::FPE, number::ILL, number::TRAP];
    if si_code(info) <= 0 || !FAULTS.contains(&signal) {
        return None;
    }
    const WRITE: u64 = 2;
    const FETCH: u64 = 16;
    let access = (context.vector == PAGE_FAULT).then_some(match context.error {
        error if error & FETCH != 0 => Access::Exec,
        error if error & WRITE != 0 => Access::Write,
        _ => Access::Read,
    });
    let words = FaultWords { error: context.error, vector: context.vector, cr2: context.cr2 };
    Some(Fault { signal, code: si_code(info), address: si_addr(info), access, words })
}

/// The program was interrupted: saves its registers and goes on in the kernel.
fn interrupt_program(
    core: &'static Core,
    signal: u8,
    info: &[u8; 128],
    context: &HostContext,
    fault: Option<Fault>,
) -> ! {
    // SAFETY: the core runs a thread of the program, whose registers these are.
    let thread = unsafe { &*core.running_thread() };
    let c = context;
    let mut frame = TrapFrame::start(c.rip, c.rsp);
    (frame.r8, frame.r9, frame.r10, frame.r11) = (c.r8, c.r9, c.r10, c.r11);
    (frame.r12, frame.r13, frame.r14, frame.r15) = (c.r12, c.r13, c.r14, c.r15);
    (frame.rdi, frame.rsi, frame.rbp, frame.rbx) = (c.rdi, c.rsi, c.rbp, c.rbx);
    (frame.rdx, frame.rax, frame.rcx, frame.rflags) = (c.rdx, c.rax, c.rcx, c.rflags);
    // cs is the lowest of the four segment words, ss the highest.
    (frame.cs, frame.ss) = (c.segments & 0xffff, c.segments >> 48);
    // SAFETY: the frame of the thread that was interrupted in the program: nobody else uses
    // it. The host's fpstate is valid, its size is told in itself.
    unsafe {
        thread.frame().write(frame);
        save_vector(c.fpstate, &thread.vector);
    }
    let trap =
        match fault {
            Some(fault) => Trap::Fault(fault),
            None if signal == number::SYS && si_code(info) == SYS_SECCOMP => {
                if word(info, SI_ARCH) == AUDIT_ARCH_X86_64 { Trap::SlowCall } else { Trap::Call32 }
            }
            None => Trap::Interrupt(note(core, signal, info)),
        };
    if FROM_OUTSIDE & bit(u64::from(signal)) != 0 {
        // The host does not do it, as its frame is left behind. What waits interrupts the kernel.
        let unblocked = unblock_all();
        assert!(unblocked.is_ok(), "the host refuses to unblock signals: {unblocked:?}");
    }
    enter_kernel(core, trap)
}

fn enter_kernel(core: &'static Core, trap: Trap) -> ! {
    // SAFETY: as in `interrupt_program`; the thread's kernel stack is unused while it is in the
    // program, and nothing on the signal stack is needed any more.
    unsafe {
        let thread = &*core.running_thread();
        thread.own.trap.set(trap);
        arch::enter_on_stack(thread.entry_stack(), entry::trapped)
    }
}

/// Offset of the software bytes of the host's fpstate: magic and sizes.
const SOFTWARE: usize = 464;
const MAGIC1: u32 = 0x4650_5853;

/// # Safety
/// `from` is the fpstate of a signal frame.
unsafe fn save_vector(from: *const u8, to: &arch::VectorArea) {
    if from.is_null() {
        to.reset();
        return;
    }
    // SAFETY: the legacy region is always there, and as many bytes as its software part says.
    unsafe {
        let magic = from.add(SOFTWARE).cast::<u32>().read_unaligned();
        let size = from.add(SOFTWARE + 16).cast::<u32>().read_unaligned() as usize;
        if magic == MAGIC1 && size <= arch::vector_bytes() {
            core::ptr::copy_nonoverlapping(from, to.as_ptr(), size);
            to.is_whole();
        } else {
            to.reset();
            let is_valid = to.load(core::slice::from_raw_parts(from, 512));
            debug_assert!(is_valid, "the host has saved registers that it could not load");
        }
    }
}

/// Leaves a note of what has come for the kernel side of this core.
fn note(core: &Core, signal: u8, info: &[u8; 128]) -> Cause {
    // The core may be about to sleep: it must not.
    core.block.bell.polling();
    match u64::from(signal) {
        INTERRUPT_SIGNAL => {
            entry::request(core, pending::LOOK);
            Cause::Doorbell
        }
        TIMER_SIGNAL => {
            entry::request(core, pending::TIMER);
            Cause::Timer
        }
        _ => {
            signal::drop_signal(core, *info);
            Cause::Signal
        }
    }
}

/// A fault in the kernel: of a guarded access to program memory, or a bug.
fn mend(process: &Process, fault: Fault, context: &mut HostContext) {
    let fixup = arch::guarded_fixup(context.rip);
    match (fixup, fault.access) {
        (Some(_), Some(access))
            if fault.signal == number::SEGV && mm::handle_fault(fault.address, access) == mm::Fault::Filled => {}
        (Some(fixup), _) => context.rip = fixup,
        _ => {
            let offset = context.rip.wrapping_sub(process.info.image[0]);
            panic!(
                "signal {} at image+{offset:#x}, address {:#x}, error {:#x}, rsp {:#x}",
                fault.signal, fault.address, context.error, context.rsp
            );
        }
    }
}

/// The cores' timers, by index.
static TIMERS: Once<alloc::vec::Vec<AtomicU32>> = Once::new();

/// Boot: room for the timers of so many cores.
pub fn prepare_timers(cores: u32) {
    TIMERS.call_once(|| (0..cores).map(|_| AtomicU32::new(0)).collect());
}

/// Makes the calling thread's timer, which signals this thread only.
///
/// # Errors
/// As timer_create(2).
pub fn create_timer(core: u32, tid: u64) -> Result<(), Errno> {
    const CLOCK_MONOTONIC: u64 = 1;
    const SIGEV_THREAD_ID: u32 = 4;
    // struct sigevent: value, signal, notify, thread.
    let mut event = [0u32; 16];
    event[2] = TIMER_SIGNAL as u32;
    event[3] = SIGEV_THREAD_ID;
    event[4] = tid as u32;
    let mut timer = 0u32;
    let at = (&raw mut timer) as u64;
    // SAFETY: the host reads the one and writes the other.
    unsafe { host::call(nr::TIMER_CREATE, [CLOCK_MONOTONIC, event.as_ptr() as u64, at, 0, 0, 0])? };
    if let Some(slot) = TIMERS.get().and_then(|timers| timers.get(core as usize)) {
        slot.store(timer, Ordering::Relaxed);
    }
    Ok(())
}

/// Sets the core's timer to a time, or stops it.
pub fn set_timer(core: u32, deadline: Option<u64>) {
    const TIMER_ABSTIME: u64 = 1;
    let Some(timer) = TIMERS.get().and_then(|timers| timers.get(core as usize)) else { return };
    let ns = deadline.unwrap_or(0);
    let value = [0, 0, ns / 1_000_000_000, ns % 1_000_000_000];
    let id = u64::from(timer.load(Ordering::Relaxed));
    // SAFETY: the host reads the value.
    let set = unsafe { host::call(nr::TIMER_SETTIME, [id, TIMER_ABSTIME, value.as_ptr() as u64, 0, 0, 0]) };
    assert!(set.is_ok(), "the host refuses to set the timer of core {core}: {set:?}");
}
