//! Fixed-work quantum (FWQ): the same work again and again, each time measured. On a silent core
//! all quanta take the same time; what a quantum takes longer than the shortest one was lost.
//!
//! Source: M. Sottile, R. Minnich, *Analysis of Microbenchmarks for Performance Tuning of
//! Clusters*, IEEE CLUSTER 2004; with work of 2^bits steps as in the benchmark FWQ of the ASC Sequoia
//! suite (LLNL, 2008).

use super::work;
use crate::machine::clock::Clock;
use crate::machine::tsc;
use crate::report::Measure;
use crate::stats::histogram::Histogram;
use crate::stats::summary::Summary;

/// Bounds the memory of very long runs (128 MiB); a run that reaches it ends early.
const MOST_QUANTA: usize = 1 << 24;
const TRIAL_QUANTA: usize = 16;

/// A run to be made: its memory is there, its length is known.
pub struct Quanta {
    steps: u64,
    duration: u64,
    ticks: Vec<u64>,
}

impl Quanta {
    /// Room for as many quanta of 2^`work_bits` steps as `seconds` hold, by a trial.
    pub fn prepare(clock: &Clock, seconds: f64, work_bits: u32) -> Self {
        let steps = 1_u64 << work_bits;
        let mut trial = [u64::MAX; TRIAL_QUANTA];
        time_quanta(&mut trial, steps, u64::MAX);
        let quantum = trial.iter().copied().min().unwrap_or(1).max(1);
        let duration = clock.ticks(seconds * 1e9);
        // Room for more, lest the trial was slow.
        let quanta = (duration / quantum * 5 / 4).clamp(1, MOST_QUANTA as u64);
        // A value other than zero makes the allocation write, and so populate, every page.
        Self { steps, duration, ticks: vec![u64::MAX; quanta as usize] }
    }

    /// Runs; the length of each quantum in ticks.
    pub fn run(mut self) -> Vec<u64> {
        let count = time_quanta(&mut self.ticks, self.steps, self.duration);
        self.ticks.truncate(count);
        self.ticks
    }
}

/// Fills `ticks` with the length of one quantum each until `duration` ticks are over, and tells how many there
/// were. The quanta touch: one reading of the counter ends a quantum and starts the next, so that nothing falls
/// between two of them.
fn time_quanta(ticks: &mut [u64], steps: u64, duration: u64) -> usize {
    let start = tsc::end();
    let mut previous = start;
    for (done, slot) in ticks.iter_mut().enumerate() {
        if previous.saturating_sub(start) >= duration {
            return done;
        }
        work::chain(steps);
        let now = tsc::end();
        *slot = now.saturating_sub(previous);
        previous = now;
    }
    ticks.len()
}

/// `fwq` and `fwq-loss` of one or several cores: `cores` has the quanta of each.
pub fn measures(clock: &Clock, cores: &[&[u64]]) -> Vec<Measure> {
    let ticks = || cores.iter().copied().flatten().copied();
    let nanoseconds = ticks().map(|ticks| clock.nanoseconds(ticks)).collect();
    let losses: Vec<f64> = cores.iter().filter_map(|quanta| loss_percent(quanta)).collect();
    let loss = losses.iter().sum::<f64>() / losses.len().max(1) as f64;
    let quanta = Measure { histogram: Some(histogram(clock, ticks)), ..Measure::time("fwq", nanoseconds) };
    vec![quanta, Measure::share("fwq-loss", loss)]
}

/// The distribution of the quanta. Bins are fine where the quanta crowd, just above the shortest.
fn histogram<I: Iterator<Item = u64>>(clock: &Clock, ticks: impl Fn() -> I) -> Vec<[f64; 2]> {
    let shortest = ticks().min().unwrap_or(0);
    let mut excess = Histogram::new();
    ticks().for_each(|ticks| excess.add(ticks - shortest));
    excess.bins().iter().map(|&(lower, count)| [clock.nanoseconds(shortest + lower), count as f64]).collect()
}

/// How much longer the work took than if every quantum had been as short as the shortest.
fn loss_percent(quanta: &[u64]) -> Option<f64> {
    let summary = Summary::of(quanta.iter().map(|&ticks| ticks as f64).collect())?;
    (summary.min > 0.0).then(|| (summary.mean / summary.min - 1.0) * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One tick is one nanosecond.
    fn clock() -> Clock {
        Clock::with_megahertz(1000.0)
    }

    #[test]
    fn equal_quanta_lose_nothing() {
        let measures = measures(&clock(), &[&[250; 10]]);
        assert_eq!(measures[0].compared_value(), Some(250.0));
        assert_eq!(measures[0].histogram, Some(vec![[250.0, 10.0], [251.0, 0.0]]));
        assert_eq!(measures[1].compared_value(), Some(0.0));
    }

    #[test]
    fn one_long_quantum_is_the_loss() {
        let mut quanta = vec![100; 9];
        quanta.push(200);
        let measures = measures(&clock(), &[&quanta]);
        let loss = measures[1].compared_value().unwrap();
        assert!((loss - 10.0).abs() < 1e-9);
        assert_eq!(measures[0].summary.unwrap().max, 200.0);
    }

    #[test]
    fn a_slower_core_is_no_loss_by_itself() {
        let measures = measures(&clock(), &[&[100; 4], &[200; 4]]);
        assert_eq!(measures[0].compared_value(), Some(150.0));
        assert_eq!(measures[1].compared_value(), Some(0.0));
    }

    #[test]
    fn every_quantum_is_timed() {
        let quanta = Quanta { steps: 1000, duration: u64::MAX, ticks: vec![u64::MAX; 8] }.run();
        assert_eq!(quanta.len(), 8);
        assert!(quanta.iter().all(|&t| t > 0 && t < u64::MAX));
    }

    #[test]
    fn a_run_has_the_length_asked_for() {
        let clock = Clock::calibrate();
        let quanta = Quanta::prepare(&clock, 0.01, 10);
        let room = quanta.ticks.len();
        let quanta = quanta.run();
        let length = clock.nanoseconds(quanta.iter().sum());
        // Short of room only if the trial never had the core to itself.
        assert!(length > 0.0099e9 || quanta.len() == room, "{length}");
    }
}
