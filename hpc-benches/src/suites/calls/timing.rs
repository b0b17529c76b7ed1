//! How a call is timed: by itself where it is long against a step of the counter, in batches
//! where it is not.

use std::io;

use crate::machine::clock::Clock;
use crate::machine::tsc;

/// How often to call.
#[derive(Clone, Copy)]
pub struct Plan {
    /// Samples to take, unless the time is up before.
    pub samples: usize,
    /// Calls per sample; a sample is their mean.
    pub batch: u32,
    /// Samples to throw away first.
    pub warm_up: usize,
    /// Stop after this time.
    pub budget_seconds: f64,
}

impl Plan {
    /// Each call by itself.
    pub const SINGLE: Self = Self { samples: 50_000, batch: 1, warm_up: 1000, budget_seconds: 0.5 };

    /// For calls that are short against a step of the counter, which may be 10 ns.
    pub const BATCHED: Self = Self { samples: 10_000, batch: 16, warm_up: 100, budget_seconds: 0.5 };

    /// For operations that take a long time each.
    pub fn few(samples: usize) -> Self {
        Self { samples, batch: 1, warm_up: 1, budget_seconds: 5.0 }
    }
}

/// Times `call` after `plan`; samples are nanoseconds per call.
#[inline]
pub fn time(clock: &Clock, plan: Plan, mut call: impl FnMut() -> io::Result<()>) -> io::Result<Vec<f64>> {
    for _ in 0..plan.warm_up {
        call()?;
    }
    // Written once here, so that no page is populated inside the loop.
    let mut ticks = vec![u64::MAX; plan.samples];
    let last = tsc::read() + clock.ticks(plan.budget_seconds * 1e9);
    let mut taken = 0;
    for slot in &mut ticks {
        let start = tsc::begin();
        for _ in 0..plan.batch {
            call()?;
        }
        let end = tsc::end();
        *slot = end.saturating_sub(start);
        taken += 1;
        if end > last {
            break;
        }
    }
    ticks.truncate(taken);
    let per_call = |&t: &u64| clock.section_nanoseconds(t) / f64::from(plan.batch);
    Ok(ticks.iter().map(per_call).collect())
}

/// How long a program computes without a call before it makes one that finds its server asleep: a hundred times as
/// long as a proxy looks at its rings before it sleeps (20 µs).
const SLEEP_AFTER_SECONDS: f64 = 0.002;
/// As long, and at least so many times as long as on a core of its own, such calls may take altogether: where others
/// have the core for most of the time each waits for its turn, a thousand of them for minutes.
const PATIENCE_SECONDS: f64 = 10.0;
const PATIENCE: f64 = 5.0;

/// Times `count` times `call`, each after so long a time without a call that whoever serves it sleeps.
pub fn time_asleep(clock: &Clock, count: u32, call: impl Fn() -> io::Result<()>) -> io::Result<Vec<f64>> {
    let budget_seconds = (f64::from(count) * SLEEP_AFTER_SECONDS * PATIENCE).max(PATIENCE_SECONDS);
    let plan = Plan { samples: count as usize, batch: 1, warm_up: 1, budget_seconds };
    time_prepared(clock, plan, || Ok(compute(clock, SLEEP_AFTER_SECONDS)), |_| call())
}

/// Uses the core for so long; the result is what it last read.
fn compute(clock: &Clock, seconds: f64) -> u64 {
    let end = tsc::read() + clock.ticks(seconds * 1e9);
    loop {
        let now = tsc::read();
        if now >= end {
            return now;
        }
    }
}

/// Times `call` by itself after `plan`, with what `prepare` makes for each call; neither that nor the end of
/// what the call returns is timed. Samples are nanoseconds.
pub fn time_prepared<S, R>(
    clock: &Clock,
    plan: Plan,
    mut prepare: impl FnMut() -> io::Result<S>,
    mut call: impl FnMut(S) -> io::Result<R>,
) -> io::Result<Vec<f64>> {
    for _ in 0..plan.warm_up {
        call(prepare()?)?;
    }
    let last = tsc::read().saturating_add(clock.ticks(plan.budget_seconds * 1e9));
    let mut samples = vec![f64::NAN; plan.samples];
    let mut taken = 0;
    for slot in &mut samples {
        let prepared = prepare()?;
        let start = tsc::begin();
        let returned = call(prepared);
        let end = tsc::end();
        drop(returned?);
        *slot = clock.section_nanoseconds(end.saturating_sub(start));
        taken += 1;
        if end > last {
            break;
        }
    }
    samples.truncate(taken);
    Ok(samples)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_as_often_as_planned() {
        let clock = Clock::calibrate();
        let plan = Plan { samples: 7, batch: 3, warm_up: 2, budget_seconds: 60.0 };
        let mut calls = 0;
        let samples = time(&clock, plan, || {
            calls += 1;
            Ok(())
        });
        assert_eq!(samples.unwrap().len(), 7);
        assert_eq!(calls, 2 + 7 * 3);
    }

    #[test]
    fn only_the_call_is_timed() {
        let clock = Clock::calibrate();
        let pause = std::time::Duration::from_millis(2);
        /// Takes its time to end.
        struct Slow(std::time::Duration);
        impl Drop for Slow {
            fn drop(&mut self) {
                std::thread::sleep(self.0);
            }
        }
        let prepare = || {
            std::thread::sleep(pause);
            Ok(())
        };
        let plan = Plan { warm_up: 1, ..Plan::few(20) };
        let quick = time_prepared(&clock, plan, prepare, |()| Ok(Slow(pause))).unwrap();
        assert_eq!(quick.len(), 20);
        assert!(quick.iter().copied().fold(f64::INFINITY, f64::min) < 1e6, "{quick:?}");
        let end = |slow: Slow| {
            drop(slow);
            Ok(())
        };
        let slow = time_prepared(&clock, plan, || Ok(Slow(pause)), end).unwrap();
        assert!(slow.iter().all(|&sample| sample >= 1.9e6), "{slow:?}");
    }

    #[test]
    fn calls_that_find_their_server_asleep_are_as_far_apart() {
        let clock = Clock::calibrate();
        let start = std::time::Instant::now();
        let samples = time_asleep(&clock, 2, || Ok(())).unwrap();
        assert_eq!(samples.len(), 2);
        // One more for warming up.
        assert!(start.elapsed().as_secs_f64() >= 3.0 * SLEEP_AFTER_SECONDS * 0.99);
    }

    #[test]
    fn stops_when_the_time_is_up() {
        let clock = Clock::calibrate();
        let plan = Plan { budget_seconds: 0.0, ..Plan::SINGLE };
        assert_eq!(time(&clock, plan, || Ok(())).unwrap().len(), 1);
    }

    #[test]
    fn an_error_ends_the_measure() {
        let clock = Clock::calibrate();
        let refuse = || Err(io::ErrorKind::Unsupported.into());
        assert!(time(&clock, Plan::SINGLE, refuse).is_err());
    }
}
