//! Fixed-time quantum (FTQ): how much work is done in each of many stretches of time that are equally long and
//! follow each other without a gap. On a silent core the counts are equal; a quantum with less work was
//! disturbed. Since the samples are equally far apart in time, periodic disturbance shows as a period.
//!
//! The counts are told as the time that is missing: quantum × (1 − count / largest count).
//!
//! Source: M. Sottile, R. Minnich, *Analysis of Microbenchmarks for Performance Tuning of
//! Clusters*, IEEE CLUSTER 2004.

use super::work;
use crate::machine::clock::Clock;
use crate::machine::tsc;
use crate::report::Measure;
use crate::stats::quanta;

/// Bounds the memory of very long runs (64 MiB); a run that reaches it ends early.
const MOST_QUANTA: usize = 1 << 24;
/// A unit of work takes some 50 ns: a thousandth of a short quantum, and several times what reading the clock
/// takes.
const STEPS_PER_UNIT: u64 = 32;

/// A run to be made.
pub struct Quanta {
    quantum: u64,
    counts: Vec<u32>,
}

impl Quanta {
    /// Room for as many quanta of `quantum_us` as `seconds` hold.
    pub fn prepare(clock: &Clock, seconds: f64, quantum_us: f64) -> Self {
        let quantum = clock.ticks(quantum_us * 1e3).max(1);
        let quanta = (clock.ticks(seconds * 1e9) / quantum).clamp(1, MOST_QUANTA as u64);
        // A value other than zero makes the allocation write, and so populate, every page.
        Self { quantum, counts: vec![u32::MAX; quanta as usize] }
    }

    /// Runs; the units of work done in each quantum.
    pub fn run(mut self) -> Vec<u32> {
        quanta::count(tsc::end, || work::chain(STEPS_PER_UNIT), self.quantum, &mut self.counts);
        self.counts
    }
}

/// `ftq` and `ftq-loss` of one or several cores: `cores` has the counts of each.
pub fn measures(quantum_us: f64, cores: &[&[u32]]) -> Vec<Measure> {
    // Each core against its own best quantum: cores may differ in speed.
    let lost: Vec<Vec<f64>> = cores.iter().filter_map(|counts| quanta::lost_shares(counts)).collect();
    let means: Vec<f64> = lost.iter().map(|shares| shares.iter().sum::<f64>() / shares.len() as f64).collect();
    let loss = means.iter().sum::<f64>() / means.len().max(1) as f64 * 100.0;
    let missing = lost.into_iter().flatten().map(|share| share * quantum_us * 1e3).collect();
    vec![Measure::time("ftq", missing), Measure::share("ftq-loss", loss)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_work_is_missing_time() {
        // Quanta of 1 ms: one half empty, one empty.
        let measures = measures(1000.0, &[&[100, 50, 0, 100, 100, 100, 100, 100, 100, 100]]);
        let summary = measures[0].summary.unwrap();
        assert_eq!((summary.min, summary.median, summary.max), (0.0, 0.0, 1e6));
        assert!((measures[1].compared_value().unwrap() - 15.0).abs() < 1e-9);
    }

    #[test]
    fn a_slower_core_is_no_loss_by_itself() {
        let measures = measures(1000.0, &[&[100; 4], &[50; 4]]);
        assert_eq!(measures[1].compared_value(), Some(0.0));
    }

    #[test]
    fn the_live_loop_does_work_in_its_quanta() {
        let clock = Clock::calibrate();
        let quanta = Quanta::prepare(&clock, 0.02, 1000.0);
        assert_eq!(quanta.counts.len(), 20);
        let counts = quanta.run();
        assert!(counts.iter().any(|&count| count > 1000), "{counts:?}");
        assert!(counts.iter().all(|&count| count < u32::MAX));
    }
}
