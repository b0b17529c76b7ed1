//! Selfish detour: a loop that does nothing but read the counter and notes where the counter
//! jumped. Each jump above the threshold is a detour: a moment in which something else had the
//! core.
//!
//! Source: P. Beckman, K. Iskra, K. Yoshii, S. Coghlan, *The Influence of Operating Systems on
//! the Performance of Collective Operations at Extreme Scale*, IEEE CLUSTER 2006.

use crate::machine::clock::Clock;
use crate::machine::tsc;
use crate::report::{Measure, Statistic};
use crate::stats::detour::{self, Detour, Observation};

/// Bounds the memory (16 MiB); a run that sees more detours ends early and says its own rate.
const MOST_DETOURS: usize = 1 << 20;

/// Not zero, so that the allocation writes, and so populates, every page.
const UNUSED: Detour = Detour { start: u64::MAX, length: u64::MAX };

/// What the loop found.
pub struct Selfish {
    /// `selfish-detour` and `selfish-loss`.
    pub measures: Vec<Measure>,
    /// Shortest step of the loop: detours can't be told apart below it.
    pub loop_nanoseconds: f64,
}

/// Watches the core for `seconds`.
pub fn measure(clock: &Clock, seconds: f64, threshold_ns: f64) -> Selfish {
    let mut detours = vec![UNUSED; MOST_DETOURS];
    let duration = clock.ticks(seconds * 1e9);
    let threshold = clock.ticks(threshold_ns);
    let seen = detour::record(tsc::read, duration, threshold, &mut detours);
    let lengths = detours[..seen.count].iter().map(|detour| clock.nanoseconds(detour.length)).collect();
    Selfish {
        measures: measures_of(lengths, clock.nanoseconds(seen.watched)),
        loop_nanoseconds: loop_nanoseconds(clock, seen),
    }
}

fn loop_nanoseconds(clock: &Clock, seen: Observation) -> f64 {
    match seen.shortest_step {
        u64::MAX => 0.0,
        ticks => clock.nanoseconds(ticks),
    }
}

fn measures_of(lengths: Vec<f64>, watched: f64) -> Vec<Measure> {
    let watched = watched.max(1.0);
    let lost = lengths.iter().sum::<f64>() / watched * 100.0;
    let rate = lengths.len() as f64 / (watched / 1e9);
    let detours = Measure {
        compared: Statistic::DetoursPerSecond,
        detours_per_second: Some(rate),
        ..Measure::time("selfish-detour", lengths)
    };
    vec![detours, Measure::share("selfish-loss", lost)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_and_loss_follow_from_the_detours() {
        // 4 detours of 1, 2, 3 and 4 ms in 2 s.
        let measures = measures_of(vec![1e6, 2e6, 3e6, 4e6], 2e9);
        assert_eq!(measures[0].detours_per_second, Some(2.0));
        assert_eq!(measures[0].compared_value(), Some(2.0));
        assert_eq!(measures[0].summary.unwrap().median, 2.5e6);
        assert_eq!(measures[1].compared_value(), Some(0.5));
    }

    #[test]
    fn silence_is_a_rate_of_zero() {
        let measures = measures_of(Vec::new(), 1e9);
        assert_eq!(measures[0].summary, None);
        assert_eq!(measures[0].compared_value(), Some(0.0));
        assert_eq!(measures[1].compared_value(), Some(0.0));
    }
}
