//! Selfish detour: a loop that does nothing but read the counter and notes where the counter
//! jumped. Each jump above the threshold is a detour: a moment in which something else had the
//! core.
//!
//! Source: P. Beckman, K. Iskra, K. Yoshii, S. Coghlan, *The Influence of Operating Systems on
//! the Performance of Collective Operations at Extreme Scale*, IEEE CLUSTER 2006.

use crate::attribution::Cause;
use crate::machine::clock::Clock;
use crate::machine::tsc;
use crate::report::{Measure, Statistic};
use crate::stats::causes::{self, Event};
use crate::stats::detour::{self, Detour, Observation};

/// Bounds the memory (16 MiB); a run that sees more detours ends early and says its own rate.
const MOST_DETOURS: usize = 1 << 20;

/// A report keeps this many detours at most, the longest ones: enough for a plot. A trace file has all.
pub const MOST_REPORTED: usize = 4096;

/// Not zero, so that the allocation writes, and so populates, every page.
const UNUSED: Detour = Detour { start: u64::MAX, length: u64::MAX };

/// What the loop found on one core.
pub struct Selfish {
    /// The detours, in the order of time.
    pub detours: Vec<Detour>,
    /// How the loop went.
    pub seen: Observation,
}

/// Room for the detours of one run.
pub fn prepare() -> Vec<Detour> {
    vec![UNUSED; MOST_DETOURS]
}

/// Watches the core for `seconds`.
pub fn run(clock: &Clock, seconds: f64, threshold_ns: f64, mut detours: Vec<Detour>) -> Selfish {
    let seen = detour::record(tsc::read, clock.ticks(seconds * 1e9), clock.ticks(threshold_ns), &mut detours);
    detours.truncate(seen.count);
    detours.shrink_to_fit();
    Selfish { detours, seen }
}

impl Selfish {
    /// Shortest step of the loop: detours can't be told apart below it.
    pub fn loop_nanoseconds(&self, clock: &Clock) -> f64 {
        match self.seen.shortest_step {
            u64::MAX => 0.0,
            ticks => clock.nanoseconds(ticks),
        }
    }

    /// Nanoseconds in which a detour would have been seen.
    pub fn watched(&self, clock: &Clock) -> f64 {
        clock.nanoseconds(self.seen.watched).max(1.0)
    }

    /// Nanoseconds that all detours took together.
    pub fn lost(&self, clock: &Clock) -> f64 {
        clock.nanoseconds(self.detours.iter().map(|detour| detour.length).sum())
    }

    /// What `events` of the kernel say the detours were.
    pub fn causes(&self, clock: &Clock, events: &[Event]) -> Vec<Cause> {
        let causes = causes::of_detours(&self.detours, self.seen.begun, events).into_iter();
        causes
            .map(|cause| Cause {
                name: cause.name,
                detours: cause.detours,
                nanoseconds: Some(clock.nanoseconds(cause.ticks)),
            })
            .collect()
    }

    fn lengths(&self, clock: &Clock) -> impl Iterator<Item = f64> {
        self.detours.iter().map(|detour| clock.nanoseconds(detour.length))
    }

    /// Start and length of the longest detours, at most `most`, in the order of time.
    fn trace(&self, clock: &Clock, most: usize) -> Vec<[f64; 2]> {
        detour::longest(&self.detours, most).iter().map(|&detour| start_and_length(clock, detour)).collect()
    }
}

/// Both in nanoseconds, to a tenth: the counter tells no more.
pub fn start_and_length(clock: &Clock, detour: Detour) -> [f64; 2] {
    [detour.start, detour.length].map(|ticks| (clock.nanoseconds(ticks) * 10.0).round() / 10.0)
}

/// `selfish-detour` and `selfish-loss` of one or several cores. Rate and loss are those of the mean core. A
/// trace is one core's.
pub fn measures(clock: &Clock, cores: &[&Selfish], most_traced: usize) -> Vec<Measure> {
    let count = cores.len().max(1) as f64;
    let rates = cores.iter().map(|core| core.detours.len() as f64 / (core.watched(clock) / 1e9));
    let losses = cores.iter().map(|core| core.lost(clock) / core.watched(clock) * 100.0);
    let (rate, lost) = (rates.sum::<f64>() / count, losses.sum::<f64>() / count);
    let trace = match cores {
        [one] => Some(one.trace(clock, most_traced)),
        _ => None,
    };
    let lengths = cores.iter().flat_map(|core| core.lengths(clock)).collect();
    let detours = Measure {
        compared: Statistic::DetoursPerSecond,
        detours_per_second: Some(rate),
        trace,
        ..Measure::time("selfish-detour", lengths)
    };
    vec![detours, Measure::share("selfish-loss", lost)]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Detours of these lengths in microseconds, one each 10 ms, while `milliseconds` were watched.
    fn core(lengths: &[u64], milliseconds: u64) -> Selfish {
        let detours: Vec<Detour> = lengths
            .iter()
            .zip(0..)
            .map(|(&length, i)| Detour { start: i * 10_000_000, length: length * 1000 })
            .collect();
        let seen = Observation { begun: 0, count: detours.len(), watched: milliseconds * 1_000_000, shortest_step: 20 };
        Selfish { detours, seen }
    }

    fn clock() -> Clock {
        Clock::with_megahertz(1000.0)
    }

    #[test]
    fn rate_and_loss_follow_from_the_detours() {
        // 4 detours of 1, 2, 3 and 4 ms in 2 s.
        let measures = measures(&clock(), &[&core(&[1000, 2000, 3000, 4000], 2000)], 2);
        assert_eq!(measures[0].detours_per_second, Some(2.0));
        assert_eq!(measures[0].compared_value(), Some(2.0));
        assert_eq!(measures[0].summary.unwrap().median, 2.5e6);
        assert_eq!(measures[0].trace, Some(vec![[2e7, 3e6], [3e7, 4e6]]));
        assert_eq!(measures[1].compared_value(), Some(0.5));
    }

    #[test]
    fn silence_is_a_rate_of_zero() {
        let measures = measures(&clock(), &[&core(&[], 1000)], 10);
        assert_eq!(measures[0].summary, None);
        assert_eq!(measures[0].trace, Some(Vec::new()));
        assert_eq!(measures[0].compared_value(), Some(0.0));
        assert_eq!(measures[1].compared_value(), Some(0.0));
    }

    #[test]
    fn several_cores_are_told_as_their_mean() {
        let (busy, silent) = (core(&[1000; 40], 2000), core(&[], 2000));
        let measures = measures(&clock(), &[&busy, &silent], 10);
        assert_eq!(measures[0].detours_per_second, Some(10.0));
        assert_eq!(measures[0].summary.unwrap().count, 40);
        assert_eq!(measures[0].trace, None);
        assert_eq!(measures[1].compared_value(), Some(1.0));
    }
}
