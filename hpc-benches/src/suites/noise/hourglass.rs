//! Hourglass: a loop that reads the counter and counts every gap between two readings, long or short, by its
//! length. No threshold decides what counts; the histogram shows the loop itself, what the machine does now and
//! then, and what the kernel does, each by its place.
//!
//! Source: J. Regehr, *Inferring Scheduling Behavior with Hourglass*, USENIX Annual Technical Conference,
//! FREENIX Track, 2002. In this form, with the largest gap as its result, it is used to compare kernels in
//! S. Lankes, S. Pickartz, J. Breitbart, *HermitCore*, ROSS 2016.

use crate::machine::clock::Clock;
use crate::machine::tsc;
use crate::report::Measure;
use crate::stats::histogram::Histogram;
use crate::stats::summary::{FEWEST_FOR_P99_9, Summary};

/// Watches the core for `ticks` and counts the gaps in `gaps`.
pub fn run(ticks: u64, gaps: &mut Histogram) {
    count(tsc::read, ticks, gaps);
}

/// Counts every advance of `now` until `duration` ticks have gone by. Counting a gap is part of the next one.
#[inline]
fn count(mut now: impl FnMut() -> u64, duration: u64, gaps: &mut Histogram) {
    let start = now();
    let mut previous = start;
    while previous - start < duration {
        let current = now().max(previous);
        gaps.add(current - previous);
        previous = current;
    }
}

/// `hourglass` and `hourglass-max` of the gaps of one or several cores.
pub fn measures(clock: &Clock, gaps: &Histogram) -> Vec<Measure> {
    let nanoseconds = |ticks: Option<u64>| ticks.map(|ticks| clock.nanoseconds(ticks));
    let summary = || {
        Some(Summary {
            count: usize::try_from(gaps.total()).ok()?,
            min: nanoseconds(gaps.min())?,
            median: nanoseconds(gaps.percentile(50.0))?,
            p99: nanoseconds(gaps.percentile(99.0))?,
            p99_9: nanoseconds(gaps.percentile(99.9)).filter(|_| gaps.total() >= FEWEST_FOR_P99_9 as u64),
            max: nanoseconds(gaps.max())?,
            mean: gaps.mean()? * clock.nanoseconds(1),
        })
    };
    let bins = gaps.bins().iter().map(|&(lower, count)| [clock.nanoseconds(lower), count as f64]).collect();
    let all = Measure { summary: summary(), histogram: Some(bins), ..Measure::time("hourglass", Vec::new()) };
    let largest = Measure::time("hourglass-max", nanoseconds(gaps.max()).into_iter().collect());
    vec![all, largest]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_gap_of_a_synthetic_trace_is_counted() {
        let trace = [100, 110, 120, 130, 5130, 5140, 5150];
        let mut at = 0;
        let replay = || {
            at += 1;
            trace[at - 1]
        };
        let mut gaps = Histogram::new();
        count(replay, 5050, &mut gaps);
        assert_eq!((gaps.total(), gaps.min(), gaps.max()), (6, Some(10), Some(5000)));
        let measures = measures(&Clock::with_megahertz(2000.0), &gaps);
        let summary = measures[0].summary.unwrap();
        assert_eq!((summary.count, summary.median, summary.max), (6, 5.0, 2500.0));
        assert!((summary.mean - 5050.0 / 6.0 / 2.0).abs() < 1e-9);
        assert_eq!(measures[1].compared_value(), Some(2500.0));
        let counted: f64 = measures[0].histogram.as_ref().unwrap().iter().map(|bin| bin[1]).sum();
        assert_eq!(counted, 6.0);
    }

    #[test]
    fn a_counter_that_steps_back_is_no_gap() {
        let trace = [100, 110, 90, 120];
        let mut at = 0;
        let replay = || {
            at += 1;
            trace[at - 1]
        };
        let mut gaps = Histogram::new();
        count(replay, 20, &mut gaps);
        assert_eq!((gaps.total(), gaps.max()), (3, Some(10)));
    }

    #[test]
    fn the_live_loop_fills_its_time() {
        let clock = Clock::calibrate();
        let mut gaps = Histogram::new();
        run(clock.ticks(1e6), &mut gaps);
        assert!(gaps.total() > 1000, "{}", gaps.total());
    }
}
