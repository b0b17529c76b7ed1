//! Deadlines of threads, per core.
//!
//! A core arms the platform's timer only while it runs a program and has something to be
//! reminded of: a deadline of a thread, or another runnable thread that waits for its turn.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use alloc::collections::BTreeMap;
use spin::Mutex;

use super::core::Core;
use super::wait::{Ticket, Wake};
use crate::platform;

/// Names an armed deadline.
pub type Key = (u64, u64);

/// What happens at a deadline.
#[derive(Debug)]
pub enum Event {
    /// A wait times out.
    Wait(Ticket),
    /// The process's `ITIMER_REAL` fires.
    Alarm,
    /// A timer of the program's fires.
    Posix(i32),
}

/// How long a thread runs while others wait for its core.
pub const SLICE_NS: u64 = 4_000_000;

/// The same when one of the others has just been woken: it may have little to do, and whoever woke it may
/// be looking for the result again and again, as a program does that waits for transfers of aio(7).
const WOKEN_NS: u64 = 50_000;

static SEQUENCE: AtomicU64 = AtomicU64::new(0);

/// The deadlines of one core.
#[derive(Debug)]
pub struct Timers {
    events: Mutex<BTreeMap<Key, Event>>,
    /// The first of them, or [`NONE`]; changed under the lock, to look without it.
    first: AtomicU64,
    /// For which time the platform's timer is set; 0: not set.
    set_for: AtomicU64,
    /// Whether the thread that runs has woken another for this core since it last went to the program.
    has_woken: AtomicBool,
}

/// No deadline.
const NONE: u64 = u64::MAX;

impl Default for Timers {
    fn default() -> Self {
        Timers {
            events: Mutex::default(),
            first: AtomicU64::new(NONE),
            set_for: AtomicU64::new(0),
            has_woken: AtomicBool::new(false),
        }
    }
}

impl Timers {
    fn change<T>(&self, change: impl FnOnce(&mut BTreeMap<Key, Event>) -> T) -> T {
        let mut events = self.events.lock();
        let result = change(&mut events);
        let first = events.keys().next().map_or(NONE, |key| key.0);
        self.first.store(first, Ordering::SeqCst);
        result
    }
}

fn insert(core: &Core, deadline: u64, event: Event) -> Key {
    let key = (deadline, SEQUENCE.fetch_add(1, Ordering::Relaxed));
    core.timers.change(|events| events.insert(key, event));
    key
}

/// Lets the wait of `ticket` time out at `deadline`.
pub fn arm(core: &Core, deadline: u64, ticket: Ticket) -> Key {
    insert(core, deadline, Event::Wait(ticket))
}

/// Lets the process's alarm fire at `deadline`.
pub fn arm_alarm(core: &Core, deadline: u64) -> Key {
    insert(core, deadline, Event::Alarm)
}

/// Lets timer `id` of the program fire at `deadline`.
pub fn arm_posix(core: &Core, deadline: u64, id: i32) -> Key {
    insert(core, deadline, Event::Posix(id))
}

/// Takes a deadline back, if it has not passed yet.
pub fn disarm(core: &Core, key: Key) {
    core.timers.change(|events| events.remove(&key));
}

/// The core's next deadline.
pub fn next(core: &Core) -> Option<u64> {
    Some(core.timers.first.load(Ordering::SeqCst)).filter(|first| *first != NONE)
}

/// Acts on all deadlines of this core that have passed.
///
/// Whom that wakes has not been woken by the thread that runs, which looks for nothing: its slice stays as long
/// as it is. If it did not, threads that sleep again and again would leave it next to nothing.
pub fn expire(core: &Core) {
    if next(core).is_none() {
        return;
    }
    let has_woken = core.timers.has_woken.load(Ordering::Relaxed);
    expire_all(core);
    core.timers.has_woken.store(has_woken, Ordering::Relaxed);
}

fn expire_all(core: &Core) {
    let now = platform::get().monotonic();
    loop {
        let event = core.timers.change(|events| match events.first_entry() {
            Some(entry) if entry.key().0 <= now => Some(entry.remove()),
            _ => None,
        });
        let Some(event) = event else { return };
        match event {
            Event::Wait(ticket) => {
                ticket.redeem(Wake::Timeout);
            }
            Event::Alarm => super::signal::alarm_fired(now),
            Event::Posix(id) => super::posix_timer::fired(id),
        }
    }
}

/// Before the program runs: sets the platform's timer if there is something to be reminded of.
pub fn prepare_run(core: &Core) {
    let others = !core.queue_is_empty();
    let next = next(core);
    let has_woken = core.timers.has_woken.load(Ordering::Relaxed);
    if has_woken {
        core.timers.has_woken.store(false, Ordering::Relaxed);
    }
    if next.is_none() && !others {
        return;
    }
    let length = if has_woken { WOKEN_NS } else { SLICE_NS };
    let slice = others.then(|| platform::get().monotonic() + length);
    let Some(deadline) = next.into_iter().chain(slice).min() else { return };
    let set_for = core.timers.set_for.load(Ordering::Relaxed);
    // A timer that fires too early costs one interrupt; setting it anew on every way out of
    // the kernel would cost more.
    if set_for == 0 || deadline < set_for {
        core.timers.set_for.store(deadline, Ordering::Relaxed);
        platform::get().set_timer(Some(deadline));
    }
}

/// A thread has become runnable on this core, which another has.
pub fn woken(core: &Core) {
    core.timers.has_woken.store(true, Ordering::Relaxed);
}

/// The platform's timer has fired.
pub fn fired(core: &Core) {
    core.timers.set_for.store(0, Ordering::Relaxed);
}

/// The core has slept, for which the platform may have used its timer: nothing counts as set.
pub fn forgotten(core: &Core) {
    core.timers.set_for.store(0, Ordering::Relaxed);
}
