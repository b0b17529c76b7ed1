//! What is told on a terminal while a comparison runs: which run, and how long the suite will take.

use std::time::{Duration, Instant};

use crate::output::bar::Bar;

/// The runs of one suite.
pub struct Progress {
    suite: &'static str,
    runs: usize,
    /// Cores that are not measured.
    cores: Vec<usize>,
    start: Instant,
    expected_run: Option<Duration>,
}

impl Progress {
    /// `runs` of `suite`, of which each takes `expected_run` where that is known. The bar is drawn on `cores`.
    pub fn of(suite: &'static str, runs: usize, cores: Vec<usize>, expected_run: Option<Duration>) -> Self {
        Self { suite, runs, cores, start: Instant::now(), expected_run }
    }

    /// The bar of the run that comes after `done` others.
    pub fn bar(&self, done: usize, side: &str) -> Bar {
        let label = format!("{}: run {} of {}, {side}", self.suite, done + 1, self.runs);
        let bar = Bar::start(self.cores.clone(), label, self.start, self.expected(done, self.start.elapsed()));
        bar.show();
        bar
    }

    /// The whole length: by the runs so far, before the first one by what is known of it. Zero: nobody knows.
    fn expected(&self, done: usize, elapsed: Duration) -> Duration {
        let runs = u32::try_from(self.runs).unwrap_or(u32::MAX);
        match u32::try_from(done) {
            Ok(done @ 1..) => elapsed / done * runs,
            _ => self.expected_run.unwrap_or_default() * runs,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runs_so_far_tell_how_long_it_takes() {
        let seconds = Duration::from_secs;
        let progress = |expected_run| Progress::of("noise", 11, Vec::new(), expected_run);
        assert_eq!(progress(None).expected(0, seconds(0)), seconds(0));
        assert_eq!(progress(Some(seconds(4))).expected(0, seconds(0)), seconds(44));
        assert_eq!(progress(Some(seconds(4))).expected(2, seconds(10)), seconds(55));
    }
}
