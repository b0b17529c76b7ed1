//! On the way to the program: pending signals become handlers, ends, or nothing.

use alloc::sync::Arc;

use super::action::{self, Action, DefaultAction};
use super::frame::{self, Call};
use super::info::SigInfo;
use super::queue::SigSet;
use super::{number, send};
use crate::abi::{Errno, SysResult};
use crate::coredump;
use crate::entry;
use crate::sched::thread::Thread;
use crate::sched::{process, rseq, stop};

/// Whether a call that a signal interrupted is done again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restart {
    /// If the handler has `SA_RESTART`, or there was none.
    ByHandler,
    /// Only if there was no handler.
    WithoutHandler,
}

/// Delivers what can be delivered to the current thread. Does not return if that ends the
/// process.
pub fn deliver(thread: &Arc<Thread>) {
    if thread.lent.to().is_some() {
        return;
    }
    let mut handled = false;
    loop {
        let mask = thread.signals.lock().mask;
        let Some(info) = send::dequeue_for(thread, SigSet(!mask.0)) else { break };
        let signal = info.signal();
        let action = action::action_of(signal);
        match (action.handler, action::default_of(signal)) {
            (Action::IGNORE, _) | (Action::DEFAULT, DefaultAction::Ignore) => {}
            (Action::DEFAULT, DefaultAction::Stop) => stop::stop(signal),
            (Action::DEFAULT, DefaultAction::End) => {
                coredump::leave(&info);
                process::end_by_signal(signal)
            }
            _ => {
                handle(thread, &info, action);
                handled = true;
            }
        }
    }
    if !handled {
        undo_interruption(thread);
        if let Some(mask) = thread.own.saved_mask.take() {
            thread.signals.lock().mask = mask;
            send::refresh(thread);
        }
    }
}

fn handle(thread: &Arc<Thread>, info: &SigInfo, action: Action) {
    if let Some((nr, restart)) = thread.own.interrupted.take()
        && restart == Restart::ByHandler
        && action.flags & Action::RESTART != 0
    {
        again(thread, nr);
    }
    rseq::signalled(thread);
    // A critical section is left before the handler runs, not after.
    if rseq::update(thread, crate::sched::this_core()).is_err() {
        process::end_by_signal(number::SEGV);
    }
    let signal = info.signal();
    let now = thread.signals.lock().mask;
    let call = Call {
        handler: action.handler,
        restorer: action.restorer,
        on_alt_stack: action.flags & Action::ONSTACK != 0,
        mask: thread.own.saved_mask.take().unwrap_or(now),
    };
    let fault = if info.code() > 0 { entry::last_fault(thread) } else { frame::FaultWords::default() };
    if action.flags & Action::RESTORER == 0 || frame::push(thread, call, info, fault).is_err() {
        // Linux: no handler for SIGSEGV can help when the stack is gone.
        if signal == number::SEGV {
            process::end_by_signal(signal);
        }
        send::force(thread, SigInfo::kernel(number::SEGV));
        return;
    }
    if action.flags & Action::RESETHAND != 0 {
        action::reset(signal);
    }
    let own = if action.flags & Action::NODEFER == 0 { SigSet::one(signal) } else { SigSet::default() };
    thread.signals.lock().mask = now.or(SigSet(action.mask)).or(own).blockable();
    send::refresh(thread);
}

/// Notes that the call `nr` was interrupted by a signal; gives the result that it has if no
/// handler says otherwise.
pub fn restart_or_fail(thread: &Thread, nr: u64, restart: Restart) -> SysResult {
    thread.own.interrupted.set(Some((nr, restart)));
    thread.attention.store(true, core::sync::atomic::Ordering::SeqCst);
    Err(Errno::EINTR)
}

/// No handler ran: the program does not get to see that its call was interrupted.
fn undo_interruption(thread: &Thread) {
    if let Some((nr, _)) = thread.own.interrupted.take() {
        again(thread, nr);
    }
}

fn again(thread: &Thread, nr: u64) {
    // SAFETY: the thread's own registers, on its own way out of the kernel.
    let registers = unsafe { &mut *thread.frame() };
    registers.rax = nr;
    // Both `syscall` and `int 0x80` are two bytes long.
    registers.rip = registers.rip.wrapping_sub(2);
}

/// A call that replaced the signal mask is left without a signal: the mask goes back.
pub fn finish_mask(thread: &Thread) {
    if let Some(mask) = thread.own.saved_mask.take() {
        thread.signals.lock().mask = mask;
        send::refresh(thread);
    }
}

/// rt_sigreturn(2). On a frame that is not readable the process ends, as on Linux.
pub fn sigreturn(thread: &Arc<Thread>) {
    match frame::pop(thread) {
        Ok(saved) => {
            thread.signals.lock().mask = saved.mask;
            // sigaltstack(2) from within a handler that runs on it has no effect, as on Linux.
            // SAFETY: the thread's own registers, within its own system call.
            let rsp = unsafe { (*thread.frame()).rsp };
            match saved.stack {
                None => send::force(thread, SigInfo::kernel(number::SEGV)),
                Some(stack) if !thread.own.alt_stack.get().holds(rsp) => {
                    let flags = stack.flags & !super::AltStack::ON_STACK;
                    thread.own.alt_stack.set(super::AltStack { flags, ..stack });
                }
                Some(_) => {}
            }
            send::refresh(thread);
        }
        Err(_) => send::force(thread, SigInfo::kernel(number::SEGV)),
    }
}
