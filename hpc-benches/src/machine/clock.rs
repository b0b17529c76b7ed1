//! Ticks of the time-stamp counter as nanoseconds.
//!
//! The frequency is calibrated against `CLOCK_MONOTONIC` at the start of every run: each end of
//! the interval is the tightest of several readings bracketed by the counter. Calls to the clock
//! happen here only, never in a measured loop.

use std::time::{Duration, Instant};

use super::tsc;

const CALIBRATION: Duration = Duration::from_millis(100);
const BRACKETS: usize = 64;
const EMPTY_SECTIONS: usize = 1000;

/// The calibrated counter.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    ticks_per_ns: f64,
    empty_section: u64,
}

/// A moment on both clocks.
struct Moment {
    ticks: u64,
    time: Instant,
}

impl Clock {
    /// Calibrates; takes a tenth of a second.
    pub fn calibrate() -> Self {
        let first = tightest_bracket();
        while first.time.elapsed() < CALIBRATION {
            std::hint::spin_loop();
        }
        let second = tightest_bracket();
        let ticks = second.ticks.saturating_sub(first.ticks);
        let nanoseconds = (second.time - first.time).as_nanos();
        Self { ticks_per_ns: ticks.max(1) as f64 / nanoseconds.max(1) as f64, empty_section: shortest_empty_section() }
    }

    /// A clock of known frequency, for synthetic readings.
    #[cfg(test)]
    pub fn with_megahertz(megahertz: f64) -> Self {
        Self { ticks_per_ns: megahertz / 1000.0, empty_section: 0 }
    }

    /// Nanoseconds of `ticks`.
    pub fn nanoseconds(&self, ticks: u64) -> f64 {
        ticks as f64 / self.ticks_per_ns
    }

    /// Ticks of `nanoseconds`.
    pub fn ticks(&self, nanoseconds: f64) -> u64 {
        (nanoseconds * self.ticks_per_ns) as u64
    }

    /// Frequency of the counter in MHz.
    pub fn megahertz(&self) -> f64 {
        self.ticks_per_ns * 1000.0
    }

    /// Nanoseconds that a section of `ticks` took, less what timing an empty section takes.
    pub fn section_nanoseconds(&self, ticks: u64) -> f64 {
        self.nanoseconds(ticks.saturating_sub(self.empty_section))
    }

    /// What timing an empty section takes, in nanoseconds.
    pub fn empty_section_nanoseconds(&self) -> f64 {
        self.nanoseconds(self.empty_section)
    }
}

fn tightest_bracket() -> Moment {
    let bracket = || {
        let before = tsc::begin();
        let time = Instant::now();
        let width = tsc::end().saturating_sub(before);
        let ticks = before + width / 2;
        (width, Moment { ticks, time })
    };
    let mut best = bracket();
    for _ in 1..BRACKETS {
        let next = bracket();
        if next.0 < best.0 {
            best = next;
        }
    }
    best.1
}

fn shortest_empty_section() -> u64 {
    let section = || {
        let start = tsc::begin();
        tsc::end().saturating_sub(start)
    };
    (0..EMPTY_SECTIONS).map(|_| section()).min().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_and_nanoseconds_convert_both_ways() {
        let clock = Clock { ticks_per_ns: 2.5, empty_section: 50 };
        assert_eq!(clock.nanoseconds(1000), 400.0);
        assert_eq!(clock.ticks(400.0), 1000);
        assert_eq!(clock.megahertz(), 2500.0);
        assert_eq!(clock.section_nanoseconds(1050), 400.0);
        assert_eq!(clock.section_nanoseconds(20), 0.0);
        assert_eq!(clock.empty_section_nanoseconds(), 20.0);
    }
}
