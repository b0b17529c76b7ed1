//! Children before they execute something (vfork(2)).
//!
//! A child of vfork runs in its parent's memory while the parent waits, so it needs no memory, no
//! core and no scheduling of its own: the parent's thread is *lent* to it. What the child has of its
//! own by Linux's rules (registers, signal mask, signal dispositions) is the thread's for that time,
//! and the parent's is kept here. Its descriptors, directories and limits are those of a process of
//! Linux, a copy of the proxy (`proxy/src/serve/children.rs`), which makes the calls that are
//! forwarded for the child, and which becomes what the child executes.
//!
//! No signal reaches a thread that is lent: those of the process go to other threads or wait, as
//! they do for a parent in vfork(2).

use alloc::boxed::Box;
use core::cell::RefCell;
use core::sync::atomic::{AtomicU32, Ordering};

use shm_ipc::calls::private;

use super::signal::{self, Action, Actions, AltStack, DefaultAction, SigSet, number};
use super::thread::Thread;
use crate::abi::{Errno, SysResult};
use crate::arch::{TrapFrame, VectorArea};
use crate::forward::Request;
use crate::platform;

/// What the parent gets back when its thread is its own again.
#[derive(Debug)]
struct Parent {
    frame: TrapFrame,
    vector: VectorArea,
    bases: (u64, u64),
    mask: SigSet,
    alt_stack: AltStack,
}

/// A thread's state in this matter.
#[derive(Debug, Default)]
pub struct Lent {
    /// The child's number, 0 when the thread is not lent. Read by others to leave it alone.
    to: AtomicU32,
    /// Touched by the thread itself only.
    rest: RefCell<Option<Box<(Parent, Actions)>>>,
}

impl Lent {
    /// The number of the child that has the thread.
    pub fn to(&self) -> Option<u32> {
        Some(self.to.load(Ordering::SeqCst)).filter(|pid| *pid != 0)
    }
}

/// Lends the current thread to a new child, which goes on with stack pointer `stack` (0: the
/// parent's) and thread-local segment `tls`. Gives the child's number; the child's result is 0.
///
/// # Errors
/// `EAGAIN` and `ENOMEM` as vfork(2); `ENOSYS` when the thread is lent already.
pub fn begin(thread: &Thread, stack: u64, tls: Option<u64>, forget_handlers: bool) -> Result<u32, Errno> {
    if thread.lent.to().is_some() {
        return Err(Errno::ENOSYS);
    }
    let vector = VectorArea::new().ok_or(Errno::ENOMEM)?;
    vector.copy_from(&thread.vector);
    let pid = Request::kernel(private::VFORK).run().result? as u32;
    // SAFETY: the thread's own registers, within its own system call.
    let frame = unsafe { &mut *thread.frame() };
    let bases = platform::get().segment_bases();
    let (mask, alt_stack) = (thread.signals.lock().mask, thread.own.alt_stack.get());
    let parent = Parent { frame: *frame, vector, bases, mask, alt_stack };
    let mut actions = signal::actions();
    if forget_handlers {
        actions.forget_handlers();
    }
    *thread.lent.rest.borrow_mut() = Some(Box::new((parent, actions)));
    thread.lent.to.store(pid, Ordering::SeqCst);
    // Signals that had chosen this thread: others may take them.
    signal::pass_on(thread);
    if stack != 0 {
        frame.rsp = stack;
    }
    if let Some(tls) = tls {
        platform::get().set_segment_bases(tls, bases.1);
    }
    Ok(pid)
}

/// The child is gone: the thread is the parent's again, whose call returns the child's number.
pub fn end(thread: &Thread) -> SysResult {
    let Some(pid) = thread.lent.to() else { return Err(Errno::ESRCH) };
    let Some(kept) = thread.lent.rest.take() else { return Err(Errno::ESRCH) };
    let (parent, _) = *kept;
    // SAFETY: the thread's own registers, within its own system call or on its way out of one.
    unsafe {
        *thread.frame() = parent.frame;
        (*thread.frame()).set_result(Ok(u64::from(pid)));
    }
    thread.vector.copy_from(&parent.vector);
    platform::get().set_segment_bases(parent.bases.0, parent.bases.1);
    thread.own.alt_stack.set(parent.alt_stack);
    thread.own.saved_mask.set(None);
    thread.own.interrupted.set(None);
    thread.lent.to.store(0, Ordering::SeqCst);
    thread.signals.lock().mask = parent.mask;
    thread.attention.store(true, Ordering::SeqCst);
    signal::refresh(thread);
    Ok(u64::from(pid))
}

/// rt_sigaction(2) of the child that has the thread; `None` when it is not lent.
pub fn exchange_action(thread: &Thread, signal: u64, new: Option<Action>) -> Option<Result<Action, Errno>> {
    thread.lent.to()?;
    thread.lent.rest.borrow_mut().as_mut().map(|kept| kept.1.exchange(signal, new))
}

/// The signals that the child ignores and blocks, for what it executes.
pub fn inherited_signals(thread: &Thread) -> (SigSet, SigSet) {
    let ignored = thread.lent.rest.borrow().as_ref().map(|kept| kept.1.ignored());
    (ignored.unwrap_or_default(), thread.signals.lock().mask)
}

/// The child that has the thread ends: exit(2) and exit_group(2).
pub fn exit(thread: &Thread, status: u64) -> SysResult {
    leave(thread, status & 0xff, false)
}

/// The child that has the thread has got `signal`, from itself or by a fault. It has no handlers that
/// could run here: what would not end it is passed over.
pub fn take_if_any(thread: &Thread, signal: u8) -> SysResult {
    if signal == 0 {
        return Ok(0);
    }
    let action = thread.lent.rest.borrow().as_ref().map_or(Action::none(), |kept| kept.1.of(signal));
    let is_blocked = thread.signals.lock().mask.contains(signal) && signal != number::KILL;
    let ends = action.handler == Action::DEFAULT && signal::default_of(signal) == DefaultAction::End;
    if ends && !is_blocked { leave(thread, u64::from(signal), true) } else { Ok(0) }
}

/// A fault of the child, which no mask keeps from it.
pub fn fault(thread: &Thread, signal: u8) {
    // The parent's result is in its registers.
    let _ = leave(thread, u64::from(signal), true);
}

fn leave(thread: &Thread, code: u64, is_signal: bool) -> SysResult {
    let mut request = Request::kernel(private::END_CHILD);
    request.set(0, code);
    request.set(1, u64::from(is_signal));
    // Whatever the answer is, there is nothing to go back to.
    let _ = request.run();
    end(thread)
}
