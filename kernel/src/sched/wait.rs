//! How a thread waits and how a wait ends.
//!
//! A wait has a generation. Whoever may end it holds a [`Ticket`] that names thread and
//! generation; the first to redeem one makes the thread runnable and says why, the others find
//! the wait over. So a timer that fires late, a signal and the awaited event may race freely.
//!
//! The order that keeps wake-ups from being lost: [`Thread::begin_wait`], publish the ticket,
//! look once more whether waiting is needed, then [`finish`].

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering};

use super::thread::Thread;
use super::{switch, this_core, timer};

/// Why a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub enum Wake {
    /// What was waited for happened.
    Event = 2,
    /// The deadline passed.
    Timeout = 3,
    /// A signal wants to be delivered.
    Signal = 4,
}

const CODE: u64 = 7;
const RUNNING: u64 = 0;
const WAITING: u64 = 1;

/// A thread's wait state: generation in the high bits, code in the low three.
#[derive(Debug, Default)]
pub struct WaitState(AtomicU64);

impl WaitState {
    /// Starts a wait and gives its generation.
    fn begin(&self) -> u64 {
        let generation = (self.0.load(Ordering::Relaxed) >> 3) + 1;
        self.0.store(generation << 3 | WAITING, Ordering::SeqCst);
        generation
    }

    fn end(&self, generation: u64, wake: Wake) -> bool {
        let waiting = generation << 3 | WAITING;
        let woken = generation << 3 | wake as u64;
        self.0.compare_exchange(waiting, woken, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    /// Whether a wait is on; its generation.
    fn waiting(&self) -> Option<u64> {
        let word = self.0.load(Ordering::SeqCst);
        (word & CODE == WAITING).then_some(word >> 3)
    }

    /// The outcome of a wait that is over; the thread counts as running again.
    fn take(&self) -> Option<Wake> {
        let word = self.0.load(Ordering::SeqCst);
        let wake = match word & CODE {
            WAITING => return None,
            3 => Wake::Timeout,
            4 => Wake::Signal,
            _ => Wake::Event,
        };
        self.0.store(word & !CODE | RUNNING, Ordering::SeqCst);
        Some(wake)
    }
}

/// The right to end one particular wait.
#[derive(Debug, Clone)]
pub struct Ticket {
    thread: Arc<Thread>,
    generation: u64,
}

impl Ticket {
    /// Ends the wait and makes the thread runnable. `false` when the wait was over already.
    pub fn redeem(&self, wake: Wake) -> bool {
        let first = self.thread.wait.end(self.generation, wake);
        if first {
            switch::make_runnable(&self.thread);
        }
        first
    }

    /// Whose wait it is.
    #[must_use]
    pub fn thread(&self) -> &Arc<Thread> {
        &self.thread
    }

    /// Whether this is the ticket of the same wait.
    #[must_use]
    pub fn same(&self, other: &Ticket) -> bool {
        Arc::ptr_eq(&self.thread, &other.thread) && self.generation == other.generation
    }
}

impl Thread {
    /// The current thread is about to wait.
    pub fn begin_wait(self: &Arc<Self>) -> Ticket {
        let generation = self.wait.begin();
        Ticket { thread: Arc::clone(self), generation }
    }

    /// A ticket for the wait that this thread is in, if it is in one.
    #[must_use]
    pub fn waiting(self: &Arc<Self>) -> Option<Ticket> {
        let generation = self.wait.waiting()?;
        Some(Ticket { thread: Arc::clone(self), generation })
    }
}

/// The current thread waits until `ticket`, which it got from [`Thread::begin_wait`], is
/// redeemed, or until `deadline` (monotonic nanoseconds).
///
/// With `interruptible`, a signal that can be delivered ends the wait, also one that arrived
/// before it began.
pub fn finish(ticket: &Ticket, deadline: Option<u64>, interruptible: bool) -> Wake {
    let thread = &ticket.thread;
    thread.set_interruptible(interruptible);
    if interruptible && super::signal::is_due(thread) && thread.wait.end(ticket.generation, Wake::Signal) {
        thread.set_interruptible(false);
        return thread.wait.take().unwrap_or(Wake::Signal);
    }
    let armed = deadline.map(|deadline| (this_core(), timer::arm(this_core(), deadline, ticket.clone())));
    let wake = out_of_queue(thread);
    thread.set_interruptible(false);
    if let Some((core, key)) = armed {
        timer::disarm(core, key);
    }
    wake
}

/// The current thread lets other runnable threads have the core first, and gives its wait up unless one
/// of them ends it. [`Wake::Timeout`] when nothing happened.
pub fn finish_turn(ticket: &Ticket) -> Wake {
    let thread = &ticket.thread;
    if super::signal::is_due(thread) && thread.wait.end(ticket.generation, Wake::Signal) {
        return thread.wait.take().unwrap_or(Wake::Signal);
    }
    if thread.wait.end(ticket.generation, Wake::Timeout) {
        this_core().enqueue(Arc::clone(thread));
    }
    out_of_queue(thread)
}

/// Whoever redeems a ticket puts the thread into a queue, exactly once. So the thread must
/// come out of one, exactly once, even when the wait ended before the thread stopped running.
fn out_of_queue(thread: &Arc<Thread>) -> Wake {
    loop {
        switch::reschedule();
        if let Some(wake) = thread.wait.take() {
            return wake;
        }
    }
}

/// Gives a wait up that turned out not to be needed. What ended it meanwhile, if anything.
pub fn cancel(ticket: &Ticket) -> Option<Wake> {
    if ticket.thread.wait.end(ticket.generation, Wake::Event) {
        ticket.thread.wait.take();
        return None;
    }
    Some(out_of_queue(&ticket.thread))
}

/// Waits for nothing but the deadline or a signal.
pub fn sleep_until(thread: &Arc<Thread>, deadline: Option<u64>) -> Wake {
    let ticket = thread.begin_wait();
    finish(&ticket, deadline, true)
}
