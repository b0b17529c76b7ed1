//! Load beside the runs of a suite: started before the first, watched, and ended after the last.

use std::time::Instant;

use super::result::Run;
use crate::error::Failure;
use crate::load::{Load, Record, Settings};

/// Load at work, and what it did so far.
pub struct LoadedCores {
    load: Load,
    record: Record,
    used: Vec<Used>,
}

/// What the load used while one side ran.
struct Used {
    side: String,
    cpu_seconds: f64,
    seconds: f64,
}

impl LoadedCores {
    /// Starts it on `cores`.
    pub fn start(settings: &Settings, cores: &[usize]) -> Result<Self, Failure> {
        let record = Record { kinds: settings.load.clone(), cores: cores.to_vec(), cpu_seconds_per_second: Vec::new() };
        Ok(Self { load: Load::start(settings, cores)?, record, used: Vec::new() })
    }

    /// Runs `side` beside it. A run during which load ended does not count.
    pub fn beside(&mut self, side: &str, run: impl FnOnce() -> Result<Run, Failure>) -> Result<Run, Failure> {
        let (start, before) = (Instant::now(), self.load.cpu_seconds());
        let run = run()?;
        let (seconds, after) = (start.elapsed().as_secs_f64(), self.load.cpu_seconds());
        self.load.check()?;
        if let Some((before, after)) = before.zip(after) {
            self.add(side, after - before, seconds);
        }
        Ok(run)
    }

    fn add(&mut self, side: &str, cpu_seconds: f64, seconds: f64) {
        match self.used.iter_mut().find(|used| used.side == side) {
            None => self.used.push(Used { side: side.to_owned(), cpu_seconds, seconds }),
            Some(used) => {
                used.cpu_seconds += cpu_seconds;
                used.seconds += seconds;
            }
        }
    }

    /// Ends it; what it was.
    pub fn record(self) -> Record {
        let rate = |used: Used| (used.side, used.cpu_seconds / used.seconds.max(f64::MIN_POSITIVE));
        Record { cpu_seconds_per_second: self.used.into_iter().map(rate).collect(), ..self.record }
    }
}
