//! One-sided measurements. Each is an ordinary Linux program that runs on the core it finds itself on,
//! or on all that it may use, so that the same binary measures Linux and a cell alike.

pub mod calls;
pub mod memory;
pub mod noise;

use std::collections::BTreeMap;

use crate::machine::clock::Clock;
use crate::machine::host;
use crate::machine::record::Recorder;
use crate::report::{Measure, NotMeasured, RUN_SCHEMA, RunReport};

/// A run of a suite in progress: its clock and its record.
struct Session {
    suite: &'static str,
    clock: Clock,
    recorder: Recorder,
}

impl Session {
    fn start(suite: &'static str) -> Self {
        let recorder = Recorder::start(host::current_core());
        let clock = Clock::calibrate();
        Self { suite, clock, recorder }
    }

    fn finish(self, settings: &[(&str, f64)], measures: Vec<Measure>, not_measured: Vec<NotMeasured>) -> RunReport {
        let mut settings: BTreeMap<String, f64> =
            settings.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
        settings.insert("tsc_mhz".to_owned(), self.clock.megahertz());
        RunReport {
            schema: RUN_SCHEMA.to_owned(),
            suite: self.suite.to_owned(),
            core: host::current_core(),
            settings,
            environment: self.recorder.finish(),
            measures,
            not_measured,
            attribution: None,
            cores: Vec::new(),
        }
        .counts_only_where_emulated()
    }
}
