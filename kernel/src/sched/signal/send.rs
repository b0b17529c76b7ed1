//! From the sender to a thread that will take the signal.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use spin::Mutex;

use super::action::{self, Action};
use super::info::SigInfo;
use super::number;
use super::queue::{Queue, SigSet};
use crate::forward;
use crate::sched::core::cores;
use crate::sched::posix_timer;
use crate::sched::thread::{self, Thread};
use crate::sched::vfork;
use crate::sched::wait::Wake;
use crate::syscall::signalfd;

/// Signals for the process as a whole.
static PROCESS: Mutex<Queue> = Mutex::new(Queue::new());

/// What became of a signal that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// Somebody will take it.
    Pending,
    /// It is ignored, and gone.
    Ignored,
    /// A real-time signal found the queue full.
    Full,
}

/// Sends to the process: to whichever thread can take it, now or later.
/// `false` when a real-time signal found the queue full.
pub fn send_process(info: SigInfo) -> bool {
    post_process(info) != Sent::Full
}

/// As [`send_process`].
pub fn post_process(info: SigInfo) -> Sent {
    let signal = info.signal();
    let threads = thread::all();
    prepare(signal);
    let blocked_by_all = threads.iter().all(|t| !takes(t, signal));
    if action::is_ignored(signal) && !blocked_by_all && !awaited(&threads, signal) {
        return Sent::Ignored;
    }
    if !PROCESS.lock().push(info) {
        return Sent::Full;
    }
    signalfd::refresh();
    if let Some(taker) = threads.iter().find(|t| takes(t, signal)) {
        notify(taker);
    }
    Sent::Pending
}

/// Sends to one thread. `false` when a real-time signal found the queue full.
pub fn send_thread(thread: &Arc<Thread>, info: SigInfo) -> bool {
    post_thread(thread, info) != Sent::Full
}

/// As [`send_thread`].
pub fn post_thread(thread: &Arc<Thread>, info: SigInfo) -> Sent {
    let signal = info.signal();
    prepare(signal);
    {
        let mut signals = thread.signals.lock();
        let blocked = signals.mask.contains(signal) || signals.awaited.contains(signal);
        if action::is_ignored(signal) && !blocked {
            return Sent::Ignored;
        }
        if !signals.pending.push(info) {
            return Sent::Full;
        }
    }
    signalfd::refresh();
    if takes(thread, signal) {
        notify(thread);
    }
    Sent::Pending
}

/// A fault of the current thread: can't be blocked or ignored. When it is, the default action
/// takes its place, which ends the process.
pub fn force(thread: &Arc<Thread>, info: SigInfo) {
    let signal = info.signal();
    if thread.lent.to().is_some() {
        vfork::fault(thread, signal);
        return;
    }
    let mut signals = thread.signals.lock();
    if signals.mask.contains(signal) || action::action_of(signal).handler == Action::IGNORE {
        action::reset(signal);
        signals.mask = signals.mask.without(SigSet::one(signal));
    }
    signals.pending.push(info);
    drop(signals);
    thread.attention.store(true, Ordering::SeqCst);
}

/// SIGCONT and the stop signals cancel each other while pending.
fn prepare(signal: u8) {
    let stops = [number::STOP, number::TSTP, number::TTIN, number::TTOU];
    if signal == number::CONT {
        let set = stops.into_iter().fold(SigSet::default(), |set, s| set.or(SigSet::one(s)));
        discard_everywhere(set);
    } else if stops.contains(&signal) {
        discard_everywhere(SigSet::one(number::CONT));
    }
}

/// Forgets pending signals that have become meaningless.
pub(super) fn discard_everywhere(set: SigSet) {
    let mut timers = PROCESS.lock().discard(set);
    for thread in thread::all() {
        timers.extend(thread.signals.lock().pending.discard(set));
    }
    for id in timers {
        posix_timer::taken(id);
    }
    signalfd::refresh();
}

fn takes(thread: &Thread, signal: u8) -> bool {
    if thread.lent.to().is_some() {
        return false;
    }
    let signals = thread.signals.lock();
    !signals.mask.contains(signal) || signals.awaited.contains(signal)
}

fn awaited(threads: &[Arc<Thread>], signal: u8) -> bool {
    threads.iter().any(|t| t.signals.lock().awaited.contains(signal))
}

/// Has the thread look at its signals, or at its own end, soon, whatever it does now.
pub fn notify(thread: &Arc<Thread>) {
    thread.attention.store(true, Ordering::SeqCst);
    let token = thread.call_token.load(Ordering::SeqCst);
    if token != 0 {
        // It waits for the proxy, which alone knows how far the call has got.
        forward::cancel(token);
    } else if let Some(ticket) = thread.waiting()
        // In this order: if that wait is over by now and another one on, the ticket is void. A
        // ticket taken later could be that of a wait which a signal must not end.
        && thread.is_interruptible()
    {
        ticket.redeem(Wake::Signal);
    }
    let core = &cores()[thread.core.load(Ordering::SeqCst) as usize];
    if thread.is_on_core() {
        core.attract();
    }
}

/// Whether a signal waits that `thread` would take.
pub fn is_due(thread: &Thread) -> bool {
    if thread.doomed.load(Ordering::SeqCst) {
        return true;
    }
    if thread.lent.to().is_some() {
        return false;
    }
    let signals = thread.signals.lock();
    let wanted = SigSet(!signals.mask.0 | signals.awaited.0);
    (signals.pending.set().0 | PROCESS.lock().set().0) & wanted.0 != 0
}

/// Takes the next signal out of `wanted` that is pending for `thread`.
pub fn dequeue_for(thread: &Thread, wanted: SigSet) -> Option<SigInfo> {
    let own = thread.signals.lock().pending.pop(wanted);
    let info = own.or_else(|| PROCESS.lock().pop(wanted))?;
    signalfd::refresh();
    // A program may send the like itself (rt_sigqueueinfo): then no timer of that number waits.
    Some(match info.timer_id() {
        Some(id) => info.with_overrun(posix_timer::taken(id)),
        None => info,
    })
}

/// Signals that are pending for `thread` and blocked (sigpending(2)).
pub fn pending_set(thread: &Thread) -> SigSet {
    let signals = thread.signals.lock();
    SigSet((signals.pending.set().0 | PROCESS.lock().set().0) & signals.mask.0)
}

/// Signals that are pending for anybody.
pub fn pending_anywhere() -> SigSet {
    let process = PROCESS.lock().set();
    thread::all().iter().fold(process, |set, thread| set.or(thread.signals.lock().pending.set()))
}

/// The thread's mask has changed: signals may have become deliverable, to it or, if it now
/// blocks them, to others.
pub fn refresh(thread: &Thread) {
    if is_due(thread) {
        thread.attention.store(true, Ordering::SeqCst);
    }
    let left = PROCESS.lock().set();
    if left.0 & thread.signals.lock().mask.0 != 0 {
        pass_on(thread);
    }
}

/// `thread` will not take signals of the process any more, or not all: others may have to.
pub fn pass_on(thread: &Thread) {
    if PROCESS.lock().set() == SigSet::default() {
        return;
    }
    for other in thread::all() {
        if other.tid != thread.tid && is_due(&other) {
            notify(&other);
        }
    }
}

/// The process's `ITIMER_REAL` has fired at `now`.
pub fn alarm_fired(now: u64) {
    send_process(SigInfo::kernel(number::ALRM));
    crate::sched::process::rearm_alarm(now);
}
