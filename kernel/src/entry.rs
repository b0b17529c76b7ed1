//! Where a system call or a trap of the program arrives, and where the kernel leaves for the
//! program again.

use core::sync::atomic::Ordering;

use shm_ipc::control::Cause;
use shm_ipc::doorbell::Attention;

use crate::arch;
use crate::mm::{self, Access, Fault as Outcome};
use crate::sched::core::{Core, pending};
use crate::sched::signal::{self, FaultWords, SigInfo, number};
use crate::sched::thread::{Thread, current, current_arc};
use crate::sched::{process, stop, this_core, timer, yield_now};
use crate::{forward, platform, syscall};

/// Why a thread is in the kernel.
#[derive(Debug, Clone, Copy)]
pub enum Trap {
    /// A system call.
    Call,
    /// A system call that came by a way that is slow, where the platform knows a better one.
    SlowCall,
    /// A system call by the 32-bit entry (`int 0x80`).
    Call32,
    /// A fault of the program.
    Fault(Fault),
    /// Something asked for the core's attention, for this reason.
    Interrupt(Cause),
}

/// A fault of the program, as the CPU and the platform tell it.
#[derive(Debug, Clone, Copy)]
pub struct Fault {
    /// The signal that Linux sends for it.
    pub signal: u8,
    /// `si_code`.
    pub code: i32,
    /// `si_addr`.
    pub address: u64,
    /// For memory accesses: what was tried.
    pub access: Option<Access>,
    /// For the handler's context.
    pub words: FaultWords,
}

/// Entry of all traps, on the thread's kernel stack, with the registers saved and
/// [`Own::trap`](crate::sched::thread::Own) set.
pub extern "C" fn trapped() -> ! {
    let thread = current();
    let core = this_core();
    core.block.bell.polling();
    core.in_program.store(false, Ordering::Release);
    match thread.own.trap.get() {
        Trap::Call => syscall::dispatch(thread),
        Trap::SlowCall => {
            // SAFETY: the thread's own registers, within its own system call.
            let frame = unsafe { *thread.frame() };
            platform::get().learn_call(&frame);
            syscall::dispatch(thread);
        }
        Trap::Call32 => syscall::dispatch32(thread),
        Trap::Fault(fault) => faulted(core, fault),
        Trap::Interrupt(cause) => core.count(cause),
    }
    leave()
}

fn faulted(core: &Core, fault: Fault) {
    let mut info = SigInfo::fault(fault.signal, fault.code, fault.address);
    if let Some(access) = fault.access
        && fault.signal == number::SEGV
    {
        match mm::handle_fault(fault.address, access) {
            Outcome::Filled => {
                core.count(Cause::PageFault);
                return;
            }
            Outcome::Segv { code } => info = SigInfo::fault(number::SEGV, code, fault.address),
            Outcome::Bus => info = SigInfo::fault(number::BUS, BUS_ADRERR, fault.address),
            Outcome::OutOfMemory => {
                forward::notice("the cell is out of memory; give it more with --memory");
                info = SigInfo::kernel(number::KILL);
            }
        }
    }
    core.count(Cause::ProgramFault);
    signal::force(&current_arc(), info);
}

/// `BUS_ADRERR`
const BUS_ADRERR: i32 = 2;

/// What the CPU said of the thread's last fault.
#[must_use]
pub fn last_fault(thread: &Thread) -> FaultWords {
    match thread.own.trap.get() {
        Trap::Fault(fault) => fault.words,
        _ => FaultWords::default(),
    }
}

/// Does everything that is due before the program goes on, then goes there.
pub fn leave() -> ! {
    loop {
        settle();
        if stop::wait_until_it_goes_on() {
            continue;
        }
        let thread = current();
        let core = this_core();
        arch::see_code(&core.code_seen);
        timer::prepare_run(core);
        // Before the announcement, whose fence puts both in front of the last look.
        core.in_program.store(true, Ordering::Relaxed);
        core.block.bell.announce(Attention::Busy);
        if core.rings.has_answer() || core.pending.load(Ordering::SeqCst) != 0 {
            core.block.bell.polling();
            core.in_program.store(false, Ordering::Release);
            continue;
        }
        assert!(thread.stack_is_intact(), "kernel stack of thread {} has overflowed", thread.tid);
        // SAFETY: the frame at the top of the stack holds the program's registers, the vector
        // area was saved by the platform or sanitised when the program supplied it.
        unsafe { arch::leave_to_user(thread.frame(), &thread.vector, core.pending.as_ptr()) }
    }
}

/// An interrupt came on the way out.
#[unsafe(no_mangle)]
extern "C" fn tacet_leave_interrupted() -> ! {
    let core = this_core();
    core.block.bell.polling();
    core.in_program.store(false, Ordering::Release);
    leave()
}

/// Looks at everything that may have come while nobody looked: answers, deadlines, signals,
/// other threads.
fn settle() {
    loop {
        let core = this_core();
        // An exchange costs more than a look.
        let due = if core.pending.load(Ordering::SeqCst) == 0 { 0 } else { core.pending.swap(0, Ordering::SeqCst) };
        if due & pending::TIMER != 0 {
            timer::fired(core);
        }
        if due & pending::INBOX != 0 {
            signal::drain_inbox(core);
        }
        forward::poll(core);
        timer::expire(core);
        if due != 0 {
            mm::asked::serve();
        }
        if due != 0 && !core.queue_is_empty() {
            // The slice is over, or something has come for a thread that waited: it has the
            // older right to the core.
            yield_now();
            continue;
        }
        let thread = current();
        if thread.attention.load(Ordering::SeqCst) && thread.attention.swap(false, Ordering::SeqCst) {
            if thread.doomed.load(Ordering::SeqCst) {
                process::exit_thread(0);
            }
            syscall::look_for_successor(&current_arc());
            crate::sched::switch::migrate();
            signal::deliver(&current_arc());
            continue;
        }
        if crate::sched::rseq::update(thread, core).is_err() {
            signal::force(&current_arc(), SigInfo::kernel(number::SEGV));
            continue;
        }
        if core.pending.load(Ordering::SeqCst) == 0 {
            return;
        }
    }
}

/// Platform, on an interrupt: asks the core's kernel side to look at something.
pub fn request(core: &Core, what: u32) {
    core.pending.fetch_or(what, Ordering::SeqCst);
}
