//! Timers of the program that send signals: timer_create(2), and setitimer(2) on CPU time.
//!
//! A timer that has sent its signal is set anew when the signal is taken, and only then is it known
//! how many times it would have fired in between: its overrun. So a timer never has more than one
//! signal under way, and one that nobody listens to costs nothing. Source: `kernel/time/posix-timers.c`,
//! `kernel/time/posix-cpu-timers.c`.
//!
//! A deadline on CPU time becomes one on `CLOCK_MONOTONIC` that can't be too late, and is looked at
//! anew when it has passed.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering};

use spin::Mutex;

use super::signal::{self, Sent, SigInfo};
use super::thread::{self, Thread};
use super::{account, cores, process, this_core, timer};
use crate::abi::{Errno, linux};
use crate::platform;
use crate::time;

/// Timers that a process may have; on Linux RLIMIT_SIGPENDING bounds them.
const MOST: usize = 4096;

/// Between two looks at a CPU clock, at least.
const LOOK_NS: u64 = 100_000;

/// `ITIMER_VIRTUAL` and `ITIMER_PROF`, which come to the same here: what the kernel does for the
/// program counts as the program's. Their numbers are beyond those of timers.
const FIRST_CPU_ALARM: i32 = i32::MAX - 2;

/// What `RLIMIT_CPU` sends; the last number.
const TIME_LIMIT: i32 = i32::MAX;

/// What a timer counts.
#[derive(Debug, Clone)]
pub enum Clock {
    /// A clock that goes by itself.
    Time(u32),
    /// CPU time of the process.
    Process,
    /// CPU time of a thread.
    Thread(Arc<Thread>),
}

impl Clock {
    /// The clock with this number, as a timer of the current thread means it.
    ///
    /// # Errors
    /// `EINVAL` for a clock that is not known, `EOPNOTSUPP` for one that no timer counts.
    pub fn find(id: u32) -> Result<Clock, Errno> {
        const PER_THREAD: u32 = 4;
        match id {
            linux::CLOCK_REALTIME | linux::CLOCK_MONOTONIC | linux::CLOCK_BOOTTIME | linux::CLOCK_TAI => {
                Ok(Clock::Time(id))
            }
            linux::CLOCK_PROCESS_CPUTIME_ID => Ok(Clock::Process),
            linux::CLOCK_THREAD_CPUTIME_ID => Ok(Clock::Thread(thread::current_arc())),
            linux::CLOCK_MONOTONIC_RAW | linux::CLOCK_REALTIME_COARSE | linux::CLOCK_MONOTONIC_COARSE => {
                Err(Errno::EOPNOTSUPP)
            }
            // Alarms wake a sleeping machine, which takes a privilege and a clock for it.
            linux::CLOCK_REALTIME_ALARM | linux::CLOCK_BOOTTIME_ALARM => Err(Errno::EOPNOTSUPP),
            _ if id.cast_signed() < 0 => {
                time::clock(u64::from(id))?;
                let number = !(id.cast_signed() >> 3);
                match (id & PER_THREAD, number) {
                    (0, _) => Ok(Clock::Process),
                    (_, 0) => Ok(Clock::Thread(thread::current_arc())),
                    (_, tid) => thread::find(tid.cast_unsigned()).map(Clock::Thread).ok_or(Errno::EINVAL),
                }
            }
            _ => Err(Errno::EINVAL),
        }
    }

    /// What it shows.
    #[must_use]
    pub fn now(&self) -> u64 {
        match self {
            Clock::Time(_) => platform::get().monotonic(),
            Clock::Process => process::cpu_time(),
            Clock::Thread(thread) => account::cpu_time(thread),
        }
    }

    /// When to look, for a deadline on this clock.
    #[must_use]
    pub fn look_at(&self, deadline: u64) -> u64 {
        let Clock::Time(_) = self else {
            let left = deadline.saturating_sub(self.now());
            let at_once = if matches!(self, Clock::Process) { cores().len() as u64 } else { 1 };
            return platform::get().monotonic().saturating_add((left / at_once).max(LOOK_NS));
        };
        deadline
    }
}

/// What a timer does.
#[derive(Debug, Clone)]
pub enum Notify {
    /// Nothing (`SIGEV_NONE`).
    Nothing,
    /// A signal to the process.
    Process(SigInfo),
    /// A signal to a thread (`SIGEV_THREAD_ID`).
    Thread(SigInfo, Arc<Thread>),
}

#[derive(Debug)]
struct Timer {
    clock: Clock,
    notify: Notify,
    /// On the clock, 0 when it is not set.
    deadline: u64,
    interval: u64,
    /// Its signal is under way.
    sent: bool,
    /// For timer_getoverrun(2).
    overrun: u64,
    armed: Option<(u32, timer::Key)>,
}

static TIMERS: Mutex<BTreeMap<i32, Timer>> = Mutex::new(BTreeMap::new());

impl Timer {
    fn new(clock: Clock, notify: Notify) -> Self {
        Timer { clock, notify, deadline: 0, interval: 0, sent: false, overrun: 0, armed: None }
    }

    fn disarm(&mut self) {
        if let Some((core, key)) = self.armed.take() {
            timer::disarm(&cores()[core as usize], key);
        }
    }

    fn arm(&mut self, id: i32) {
        self.disarm();
        if self.deadline != 0 && !matches!(self.notify, Notify::Nothing) {
            let core = this_core();
            self.armed = Some((core.index, timer::arm_posix(core, self.clock.look_at(self.deadline), id)));
        }
    }

    /// Skips the periods that have passed; gives how many.
    fn catch_up(&mut self) -> u64 {
        let now = self.clock.now();
        if self.interval == 0 || self.deadline == 0 || self.deadline > now {
            return 0;
        }
        let missed = (now - self.deadline) / self.interval;
        self.deadline = self.deadline.saturating_add((missed + 1).saturating_mul(self.interval));
        missed
    }

    /// Time left and interval. What is on never shows zero, unless it only waits to be looked at.
    fn left(&mut self) -> (u64, u64) {
        if matches!(self.notify, Notify::Nothing) || self.sent {
            self.catch_up();
        }
        let left = match self.deadline {
            0 => 0,
            at => at.saturating_sub(self.clock.now()),
        };
        let is_over = left == 0 && (self.interval == 0 && (self.sent || matches!(self.notify, Notify::Nothing)));
        (if self.deadline == 0 || is_over { 0 } else { left.max(1) }, self.interval)
    }

    fn set(&mut self, id: i32, deadline: u64, interval: u64) -> (u64, u64) {
        let old = self.left();
        // Linux keeps the interval of setitimer(2) on CPU time when it is switched off.
        let keeps_interval = deadline != 0 || id >= FIRST_CPU_ALARM;
        (self.deadline, self.interval) = (deadline, if keeps_interval { interval } else { 0 });
        self.sent = false;
        self.overrun = 0;
        self.arm(id);
        old
    }
}

/// timer_create(2): `notify` makes what the timer does from its number.
///
/// # Errors
/// `EAGAIN` when there are too many.
pub fn create(clock: Clock, notify: impl FnOnce(i32) -> Notify) -> Result<i32, Errno> {
    let mut timers = TIMERS.lock();
    let id = (0..).find(|id| !timers.contains_key(id)).filter(|_| timers.len() < MOST).ok_or(Errno::EAGAIN)?;
    timers.insert(id, Timer::new(clock, notify(id)));
    Ok(id)
}

fn with<T>(id: i32, act: impl FnOnce(&mut Timer) -> T) -> Result<T, Errno> {
    if id >= FIRST_CPU_ALARM {
        return Err(Errno::EINVAL);
    }
    TIMERS.lock().get_mut(&id).map(act).ok_or(Errno::EINVAL)
}

/// timer_settime(2), in nanoseconds; `value` 0 switches it off. Gives what [`left`] gave.
///
/// # Errors
/// `EINVAL` when there is no such timer.
pub fn set(id: i32, value: u64, interval: u64, absolute: bool) -> Result<(u64, u64), Errno> {
    let clock = with(id, |timer| timer.clock.clone())?;
    let deadline = match (value, &clock) {
        (0, _) => 0,
        (_, Clock::Time(id)) => time::deadline(u64::from(*id), value, absolute)?.max(1),
        (_, _) if absolute => value,
        (_, clock) => clock.now().saturating_add(value),
    };
    with(id, |timer| timer.set(id, deadline, interval))
}

/// timer_gettime(2): nanoseconds that are left, 0 when it is not set; interval.
///
/// # Errors
/// `EINVAL` when there is no such timer.
pub fn left(id: i32) -> Result<(u64, u64), Errno> {
    with(id, Timer::left)
}

/// timer_getoverrun(2)
///
/// # Errors
/// `EINVAL` when there is no such timer.
pub fn overrun(id: i32) -> Result<u64, Errno> {
    with(id, |timer| timer.overrun.min(i32::MAX as u64))
}

/// timer_delete(2)
///
/// # Errors
/// `EINVAL` when there is no such timer.
pub fn delete(id: i32) -> Result<(), Errno> {
    with(id, Timer::disarm)?;
    TIMERS.lock().remove(&id);
    Ok(())
}

/// The program is replaced: its timers go, those of setitimer(2) stay.
pub fn delete_all() {
    let mut timers = TIMERS.lock();
    for timer in timers.range_mut(..FIRST_CPU_ALARM).map(|(_, timer)| timer) {
        timer.disarm();
    }
    *timers = timers.split_off(&FIRST_CPU_ALARM);
}

/// setitimer(2) on CPU time: `which` is 0 for `ITIMER_VIRTUAL`, 1 for `ITIMER_PROF`.
pub fn set_cpu_alarm(which: usize, value: u64, interval: u64) -> (u64, u64) {
    let id = FIRST_CPU_ALARM + which as i32;
    let deadline = if value == 0 { 0 } else { process::cpu_time().saturating_add(value) };
    let mut timers = TIMERS.lock();
    let notify = Notify::Process(SigInfo::kernel(cpu_signal(which)));
    timers.entry(id).or_insert_with(|| Timer::new(Clock::Process, notify)).set(id, deadline, interval)
}

/// getitimer(2) on CPU time.
pub fn cpu_alarm(which: usize) -> (u64, u64) {
    TIMERS.lock().get_mut(&(FIRST_CPU_ALARM + which as i32)).map_or((0, 0), Timer::left)
}

fn cpu_signal(which: usize) -> u8 {
    [signal::number::VTALRM, signal::number::PROF][which & 1]
}

/// RLIMIT_CPU: SIGXCPU once the process has had `soft` seconds, and every second from then on; SIGKILL
/// after `hard` seconds. `u64::MAX` is no limit.
pub fn set_time_limit(soft: u64, hard: u64) {
    const SECOND: u64 = 1_000_000_000;
    TIME_LIMIT_HARD.store(hard.saturating_mul(SECOND), Ordering::Relaxed);
    // Zero would be no limit; Linux makes it one second too (`do_prlimit`).
    let deadline = if soft == u64::MAX { 0 } else { soft.max(1).saturating_mul(SECOND) };
    let notify = Notify::Process(SigInfo::kernel(signal::number::XCPU));
    let mut timers = TIMERS.lock();
    timers.entry(TIME_LIMIT).or_insert_with(|| Timer::new(Clock::Process, notify)).set(TIME_LIMIT, deadline, SECOND);
}

/// CPU time in nanoseconds after which the process is killed.
static TIME_LIMIT_HARD: AtomicU64 = AtomicU64::new(u64::MAX);

/// The deadline that timer `id` has armed has passed.
pub(super) fn fired(id: i32) {
    let due = {
        let mut timers = TIMERS.lock();
        let Some(timer) = timers.get_mut(&id) else { return };
        timer.armed = None;
        if timer.deadline == 0 || timer.sent {
            return;
        }
        if timer.deadline > timer.clock.now() {
            // CPU time passes more slowly than it could have.
            timer.arm(id);
            return;
        }
        if id >= FIRST_CPU_ALARM {
            timer.catch_up();
            if timer.interval == 0 {
                timer.deadline = 0;
            }
            timer.arm(id);
        } else {
            timer.sent = true;
        }
        let is_over = id == TIME_LIMIT && timer.clock.now() >= TIME_LIMIT_HARD.load(Ordering::Relaxed);
        if is_over { Notify::Process(SigInfo::kernel(signal::number::KILL)) } else { timer.notify.clone() }
    };
    let sent = match due {
        Notify::Nothing => Sent::Pending,
        Notify::Process(info) => signal::post_process(info),
        Notify::Thread(info, thread) => signal::post_thread(&thread, info),
    };
    if sent != Sent::Pending {
        // Nobody will take it and so set the timer anew.
        taken(id);
    }
}

/// The signal of timer `id` has been taken, or nobody takes it; gives its overrun.
pub(super) fn taken(id: i32) -> u64 {
    let mut timers = TIMERS.lock();
    let Some(timer) = timers.get_mut(&id) else { return 0 };
    if !timer.sent {
        return 0;
    }
    timer.overrun = timer.catch_up();
    timer.sent = false;
    if timer.interval == 0 {
        timer.deadline = 0;
    }
    timer.arm(id);
    timer.overrun
}
