//! Fixed-work quantum (FWQ): the same work again and again, each time measured. On a silent core
//! all quanta take the same time; what a quantum takes longer than the shortest one was lost.
//!
//! Source: M. Sottile, R. Minnich, *Analysis of Microbenchmarks for Performance Tuning of
//! Clusters*, IEEE CLUSTER 2004.

use std::hint::black_box;

use crate::machine::clock::Clock;
use crate::machine::tsc;
use crate::report::Measure;
use crate::stats::summary::Summary;

/// Bounds the memory of very long runs (128 MiB); a run that reaches it ends early.
const MOST_QUANTA: usize = 1 << 24;
const TRIAL_QUANTA: usize = 16;

/// Repeats a quantum of 2^`work_bits` steps for `seconds`.
pub fn measure(clock: &Clock, seconds: f64, work_bits: u32) -> Vec<Measure> {
    let steps = 1_u64 << work_bits;
    let mut trial = [u64::MAX; TRIAL_QUANTA];
    time_quanta(&mut trial, steps);
    let quantum = trial.iter().copied().min().unwrap_or(1).max(1);
    let quanta = (clock.ticks(seconds * 1e9) / quantum).clamp(1, MOST_QUANTA as u64);
    // A value other than zero makes the allocation write, and so populate, every page.
    let mut ticks = vec![u64::MAX; quanta as usize];
    time_quanta(&mut ticks, steps);
    measures_of(ticks.iter().map(|&t| clock.nanoseconds(t)).collect())
}

/// Fills `ticks` with the length of one quantum each. The quanta touch: one reading of the
/// counter ends a quantum and starts the next, so that nothing falls between two of them.
fn time_quanta(ticks: &mut [u64], steps: u64) {
    let mut previous = tsc::end();
    for slot in ticks {
        work(steps);
        let now = tsc::end();
        *slot = now.saturating_sub(previous);
        previous = now;
    }
}

/// A chain of xorshift steps: each needs the one before, none touches memory.
#[inline(never)]
fn work(steps: u64) {
    let mut x = black_box(0x9E37_79B9_7F4A_7C15_u64);
    for _ in 0..steps {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
    }
    black_box(x);
}

fn measures_of(nanoseconds: Vec<f64>) -> Vec<Measure> {
    let quanta = Measure::time("fwq", nanoseconds);
    let loss = quanta.summary.map(loss_percent).unwrap_or_default();
    vec![quanta, Measure::share("fwq-loss", loss)]
}

/// How much longer the work took than if every quantum had been as short as the shortest.
fn loss_percent(quanta: Summary) -> f64 {
    (quanta.mean / quanta.min - 1.0) * 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_quanta_lose_nothing() {
        let measures = measures_of(vec![250.0; 10]);
        assert_eq!(measures[0].compared_value(), Some(250.0));
        assert_eq!(measures[1].compared_value(), Some(0.0));
    }

    #[test]
    fn one_long_quantum_is_the_loss() {
        let mut quanta = vec![100.0; 9];
        quanta.push(200.0);
        let measures = measures_of(quanta);
        let loss = measures[1].compared_value().unwrap();
        assert!((loss - 10.0).abs() < 1e-9);
        assert_eq!(measures[0].summary.unwrap().max, 200.0);
    }

    #[test]
    fn every_quantum_is_timed() {
        let mut ticks = [u64::MAX; 8];
        time_quanta(&mut ticks, 1000);
        assert!(ticks.iter().all(|&t| t > 0 && t < u64::MAX));
    }
}
