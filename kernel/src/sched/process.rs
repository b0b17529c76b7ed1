//! The process as a whole: identity, alarm, end.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering};

use shm_ipc::control::Exit;
use spin::Mutex;

use super::core::this_core;
use super::futex;
use super::thread::{self, Thread, current, current_arc};
use super::{account, signal, switch, timer, wait};
use crate::mm::user;
use crate::{boot, platform};

/// `ITIMER_REAL`.
#[derive(Debug, Clone, Copy, Default)]
struct Alarm {
    /// Monotonic nanoseconds, 0 when off.
    at: u64,
    /// Nanoseconds, 0 for once.
    interval: u64,
    key: Option<(u32, timer::Key)>,
}

static ALARM: Mutex<Alarm> = Mutex::new(Alarm { at: 0, interval: 0, key: None });

/// Time left and interval of the alarm, in nanoseconds.
pub fn alarm() -> (u64, u64) {
    let alarm = ALARM.lock();
    (alarm.at.saturating_sub(platform::get().monotonic()), alarm.interval)
}

/// Sets the alarm to `value` nanoseconds from now (0: off). Gives what [`alarm`] gave.
pub fn set_alarm(value: u64, interval: u64) -> (u64, u64) {
    let old = alarm();
    let core = this_core();
    let mut alarm = ALARM.lock();
    if let Some((on, key)) = alarm.key.take() {
        timer::disarm(&super::cores()[on as usize], key);
    }
    *alarm = Alarm::default();
    if value != 0 {
        let at = platform::get().monotonic().saturating_add(value);
        *alarm = Alarm { at, interval, key: Some((core.index, timer::arm_alarm(core, at))) };
    }
    old
}

/// After the alarm has fired: the next one of an interval.
pub(super) fn rearm_alarm(now: u64) {
    let core = this_core();
    let mut alarm = ALARM.lock();
    if alarm.at > now {
        // Another core has set it anew since.
        return;
    }
    if alarm.interval == 0 {
        *alarm = Alarm::default();
        return;
    }
    // Not one signal for each interval that was missed, as on Linux.
    let missed = now.saturating_sub(alarm.at) / alarm.interval;
    alarm.at = alarm.at.saturating_add((missed + 1).saturating_mul(alarm.interval));
    alarm.key = Some((core.index, timer::arm_alarm(core, alarm.at)));
}

/// Ends the current thread; the process with it if it was the last.
pub fn exit_thread(status: u64) -> ! {
    let me = current_arc();
    leave_memory(&me);
    ENDED_TIME.fetch_add(account::cpu_time(&me), Ordering::Relaxed);
    if me.retire() {
        end(Exit::Code(status as u8));
    }
    // A signal may have chosen this thread when it was no longer going to look.
    signal::pass_on(&me);
    drop(me);
    switch::leave_for_good()
}

/// Another program takes the place of this one: all threads but `me` end, on their way to it.
pub fn end_other_threads(me: &Arc<Thread>) {
    /// Between two looks at whether they are gone.
    const PAUSE_NS: u64 = 50_000;
    loop {
        let others: alloc::vec::Vec<_> = thread::all().into_iter().filter(|other| !Arc::ptr_eq(other, me)).collect();
        if others.is_empty() {
            return;
        }
        for other in others {
            other.doomed.store(true, Ordering::SeqCst);
            signal::notify(&other);
        }
        // Each of them runs in the kernel or is on its way into it, maybe on this very core.
        // Not to be interrupted: a signal that waits would keep the others from running.
        wait::finish(&me.begin_wait(), Some(platform::get().monotonic() + PAUSE_NS), false);
    }
}

/// Ends the process (exit_group(2)).
pub fn exit(status: u64) -> ! {
    leave_memory_of_all();
    end(Exit::Code(status as u8))
}

/// Ends the process by a signal.
pub fn end_by_signal(signal: u8) -> ! {
    leave_memory_of_all();
    end(Exit::Signal(signal))
}

fn end(how: Exit) -> ! {
    boot::control().set_exit(how);
    platform::get().end()
}

/// Robust futexes may lie in memory that other processes share: they must learn of the end.
fn leave_memory_of_all() {
    for thread in thread::all() {
        futex::leave_robust_list(&thread);
    }
}

/// What the end of a thread leaves in the program's memory (set_tid_address(2), robust list).
fn leave_memory(thread: &Arc<Thread>) {
    thread.own.ended.set(true);
    futex::leave_robust_list(thread);
    let at = thread.own.clear_tid.get();
    if at != 0 && thread::count() > 1 && user::write(at, &0u32).is_ok() {
        futex::wake_address(at, 1);
    }
}

/// The current thread's share of what getrusage(2) tells.
#[must_use]
pub fn own_cpu_time() -> u64 {
    account::cpu_time(current())
}

/// Nanoseconds that all threads together have had a core, those that ended included. Never less than before,
/// though threads go on while they are added up.
pub fn cpu_time() -> u64 {
    static TOLD: AtomicU64 = AtomicU64::new(0);
    let ended = ENDED_TIME.load(Ordering::Relaxed);
    let now = thread::all().iter().map(|thread| account::cpu_time(thread)).sum::<u64>() + ended;
    now.max(TOLD.fetch_max(now, Ordering::Relaxed))
}

/// Time of threads that have ended.
pub(super) static ENDED_TIME: AtomicU64 = AtomicU64::new(0);
