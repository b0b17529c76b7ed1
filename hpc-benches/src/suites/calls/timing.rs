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
