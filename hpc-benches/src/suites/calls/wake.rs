//! Wake latency: from just before one thread wakes another by futex(2) until the other runs.
//!
//! The waker first gives the sleeper time to fall asleep. Both threads read the time-stamp counter, which
//! counts alike on all cores of a machine that Linux keeps time by it on.

use std::io;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use super::{Bench, Samples};
use crate::machine::calls::{futex_wait, futex_wake};
use crate::machine::{host, tsc};

const SAMPLES: usize = 2000;
const WARM_UP: usize = 20;
const BUDGET_SECONDS: f64 = 1.0;
/// Longer than a futex call takes, on any machine.
const FALL_ASLEEP: Duration = Duration::from_micros(100);

// Values of `Bed::state`, in the order of a sample: the sleeper sleeps while the first or the third holds, the
// waker while the second does.
const ASLEEP: u32 = 0;
const WAKE: u32 = 1;
const AWAKE: u32 = 2;
const OVER: u32 = 3;

/// What the two threads share.
#[derive(Default)]
struct Bed {
    /// What the sleeper sleeps on, and the waker waits for.
    state: AtomicU32,
    /// When the sleeper ran again.
    woken: AtomicU64,
}

/// The sleeper is on the same core: the waker has to leave it.
pub(super) fn same_core(bench: &Bench) -> Samples {
    let core = this_core()?;
    measure(bench, core, core)
}

/// The sleeper is on another core, which has nothing else to do.
pub(super) fn other_core(bench: &Bench) -> Samples {
    let core = this_core()?;
    let other = host::allowed_cores()?.into_iter().find(|&other| other != core);
    let other = other.ok_or_else(|| io::Error::other("this program may use one core only"))?;
    measure(bench, core, other)
}

fn this_core() -> io::Result<usize> {
    host::current_core().ok_or_else(|| io::Error::other("the kernel does not tell which core this is"))
}

/// Both threads are new ones, so that the caller keeps its affinity.
fn measure(bench: &Bench, waker: usize, sleeper: usize) -> Samples {
    let bed = Bed::default();
    thread::scope(|scope| {
        let asleep = thread::Builder::new().spawn_scoped(scope, || sleep_on(sleeper, &bed))?;
        let awake = thread::Builder::new().spawn_scoped(scope, || wake_from(waker, bench, &bed));
        let samples = awake.and_then(|thread| joined(thread.join()));
        bed.set(OVER);
        joined(asleep.join())?;
        samples
    })
}

fn joined<T>(ended: thread::Result<io::Result<T>>) -> io::Result<T> {
    ended.unwrap_or_else(|_| Err(io::Error::other("a thread of the measure panicked")))
}

fn sleep_on(core: usize, bed: &Bed) -> io::Result<()> {
    let pinned = host::pin_this_thread(core);
    loop {
        bed.wait_while(ASLEEP);
        let now = tsc::read();
        if bed.state.load(Ordering::Acquire) == OVER {
            return pinned;
        }
        bed.woken.store(now, Ordering::Relaxed);
        bed.set(AWAKE);
        bed.wait_while(AWAKE);
    }
}

fn wake_from(core: usize, bench: &Bench, bed: &Bed) -> Samples {
    host::pin_this_thread(core)?;
    for _ in 0..WARM_UP {
        wake(bed)?;
    }
    let last = tsc::read() + bench.clock.ticks(BUDGET_SECONDS * 1e9);
    let mut samples = Vec::with_capacity(SAMPLES);
    while samples.len() < SAMPLES && tsc::read() < last {
        samples.push(bench.clock.nanoseconds(wake(bed)?));
    }
    Ok(samples)
}

/// Wakes the sleeper once it sleeps; the ticks until it runs.
fn wake(bed: &Bed) -> io::Result<u64> {
    thread::sleep(FALL_ASLEEP);
    let start = tsc::begin();
    bed.set(WAKE);
    bed.wait_while(WAKE);
    let woken = bed.woken.load(Ordering::Relaxed);
    bed.set(ASLEEP);
    woken.checked_sub(start).ok_or_else(|| io::Error::other("the counters of the two cores do not agree"))
}

impl Bed {
    fn set(&self, state: u32) {
        self.state.store(state, Ordering::Release);
        futex_wake(&self.state);
    }

    fn wait_while(&self, state: u32) {
        while self.state.load(Ordering::Acquire) == state {
            futex_wait(&self.state, state);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_wake_is_seen_and_takes_time() {
        let bench = Bench::for_tests();
        let samples = same_core(&bench).unwrap();
        assert!(!samples.is_empty() && samples.len() <= SAMPLES);
        // Two entries into a kernel and a switch take no less on any machine.
        assert!(samples.iter().all(|&sample| sample > 20.0), "{samples:?}");
    }

    #[test]
    fn another_core_is_used_where_there_is_one() {
        let bench = Bench::for_tests();
        let cores = host::allowed_cores().unwrap();
        match other_core(&bench) {
            Ok(samples) => assert!(cores.len() > 1 && !samples.is_empty()),
            Err(error) => assert!(cores.len() == 1, "{error}"),
        }
        assert_eq!(host::allowed_cores().unwrap(), cores, "the caller keeps its affinity");
    }
}
