//! Reports of an emulated machine: counts only.
//!
//! Under emulation an instruction takes what the emulator needs for it. Times are removed where a report is
//! made, so that no form of output can show one.

use crate::attribution::Attribution;
use crate::error::Failure;
use crate::machine::emulation;
use crate::report::{Measure, NotMeasured, RunReport, Unit};

/// Why there are no times from an emulated machine.
pub const EMULATED: &str = "emulated: counts only";

/// What a run finds out about its clock is a time as well, although no measure.
const SETTINGS_ABOUT_TIME: [&str; 2] = ["tsc_mhz", "selfish_loop_ns"];

/// Refuses `what` on an emulated machine, before anything is done: it is made of times alone.
pub fn refuse(what: &str) -> Result<(), Failure> {
    match emulation::is_emulated_here() {
        false => Ok(()),
        true => Err(Failure::new(format!(
            "this machine is emulated, and its times mean nothing: {what} is made of times alone; do it on a real one"
        ))),
    }
}

impl RunReport {
    /// The same without times where the machine is emulated; unchanged elsewhere.
    pub fn counts_only_where_emulated(mut self) -> Self {
        if self.environment.emulated {
            self.attribution = self.attribution.map(Attribution::counts_only);
            for core in &mut self.cores {
                let measures = std::mem::take(&mut core.measures).into_iter();
                core.measures = measures.filter_map(|measure| measure.counts_only().ok()).collect();
                core.attribution = std::mem::take(&mut core.attribution).counts_only();
            }
            self.settings.retain(|name, _| !SETTINGS_ABOUT_TIME.contains(&name.as_str()));
            for measure in std::mem::take(&mut self.measures) {
                match measure.counts_only() {
                    Ok(measure) => self.measures.push(measure),
                    Err(missing) => self.not_measured.push(missing),
                }
            }
        }
        self
    }
}

impl Unit {
    /// Whether values in this unit say how long something took, or follow from it.
    pub fn is_about_time(self) -> bool {
        match self {
            Self::Nanoseconds | Self::Percent | Self::MegabytesPerSecond | Self::PerSecond => true,
            Self::Bytes => false,
        }
    }
}

impl Measure {
    /// What is left without times: a count of events, or a measure that is not about time.
    fn counts_only(self) -> Result<Self, NotMeasured> {
        match self.event_count() {
            Some(count) => {
                Ok(Self { compared: self.compared, events: Some(count), ..Self::time(&self.name, Vec::new()) })
            }
            None if self.unit.is_about_time() => Err(NotMeasured { name: self.name, reason: EMULATED.to_owned() }),
            None => Ok(self),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::record::{Environment, Recorder};
    use crate::report::{RUN_SCHEMA, Statistic};

    fn report(emulated: bool) -> RunReport {
        let detours = Measure {
            detours_per_second: Some(12.5),
            compared: Statistic::DetoursPerSecond,
            trace: Some(vec![[5.0, 1.0], [9.0, 2.0]]),
            histogram: Some(vec![[1.0, 2.0]]),
            ..Measure::time("selfish-detour", vec![1.0, 2.0])
        };
        let environment = Environment { emulated, ..Recorder::start(None).finish() };
        let report = serde_json::json!({
            "schema": RUN_SCHEMA,
            "suite": "noise",
            "core": null,
            "settings": { "tsc_mhz": 2000.0, "seconds": 4.0 },
            "environment": environment,
            "measures": [detours, Measure::share("selfish-loss", 0.5)],
            "not_measured": [],
        });
        serde_json::from_value(report).unwrap()
    }

    #[test]
    fn a_run_on_an_emulated_machine_has_counts_only() {
        let report = report(true).counts_only_where_emulated();
        let expected = Measure {
            compared: Statistic::DetoursPerSecond,
            events: Some(2),
            ..Measure::time("selfish-detour", Vec::new())
        };
        assert_eq!(report.measures, [expected]);
        assert_eq!(report.not_measured[0].name, "selfish-loss");
        assert_eq!(report.settings.keys().collect::<Vec<_>>(), ["seconds"]);
        let elsewhere = self::report(false);
        assert_eq!(elsewhere.clone().counts_only_where_emulated().measures, elsewhere.measures);
    }

    #[test]
    fn counts_that_were_left_alone_are_counted_again() {
        let stripped = report(true).counts_only_where_emulated().measures.remove(0);
        assert_eq!((stripped.event_count(), stripped.compared_value()), (Some(2), None));
        assert_eq!(Measure::time("fwq", vec![1.0]).event_count(), None);
    }
}
