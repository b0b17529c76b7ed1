//! A comparison on an emulated machine: counts only. Times are removed before anything is written, so
//! that no table, file or plot can show one.

use super::cores::{CoreValue, SideCore};
use super::result::{Comparison, MeasureComparison, SideAttribution, SideValues, SuiteComparison, Values};
use crate::attribution::Attribution;
use crate::emulated::EMULATED;
use crate::load::Record;
use crate::report::{NotMeasured, Statistic};

impl Comparison {
    /// The same without times where the machine is emulated; unchanged elsewhere.
    pub fn counts_only_where_emulated(mut self) -> Self {
        if self.environment.emulated {
            self.suites = self.suites.into_iter().map(counts_only).collect();
        }
        self
    }
}

fn counts_only(suite: SuiteComparison) -> SuiteComparison {
    let mut not_measured = suite.not_measured;
    let mut measures = Vec::new();
    for measure in suite.measures {
        match counts_of(measure) {
            Ok(measure) => measures.push(measure),
            Err(missing) => not_measured.push(missing),
        }
    }
    let order = suite.order.into_iter().map(|turn| super::result::Turn { started_seconds: None, ..turn }).collect();
    let attribution = suite
        .attribution
        .into_iter()
        .map(|side| SideAttribution { found: side.found.map(Attribution::counts_only), ..side });
    let attribution = attribution.collect();
    let cores = suite.cores.into_iter().filter_map(core_counts).collect();
    let load = suite.load.map(|load| Record { cpu_seconds_per_second: Vec::new(), ..load });
    SuiteComparison { measures, not_measured, order, attribution, cores, load, ..suite }
}

/// What a core counted; none where it counted nothing.
fn core_counts(core: SideCore) -> Option<SideCore> {
    let counted = core.values.into_iter().filter(|value| value.events.is_some());
    let values: Vec<CoreValue> = counted.map(|value| CoreValue { median: None, ..value }).collect();
    (!values.is_empty()).then_some(SideCore { values, ..core })
}

/// The measure without times; refused when nothing else is in it.
fn counts_of(measure: MeasureComparison) -> Result<MeasureComparison, NotMeasured> {
    let counts_events = measure.compared == Statistic::DetoursPerSecond;
    if measure.unit.is_about_time() && !counts_events {
        return Err(NotMeasured { name: measure.name, reason: EMULATED.to_owned() });
    }
    let sides = measure.sides.into_iter().map(|side| side_counts(side, counts_events)).collect();
    Ok(MeasureComparison { sides, ..measure })
}

/// What a side counted, without a conclusion: emulation also changes how often things happen.
fn side_counts(side: SideValues, counts_events: bool) -> SideValues {
    if !counts_events {
        return SideValues { effect: None, against_tuned: None, ..side };
    }
    let values = side.values.map(|values| Values {
        median: None,
        p99: None,
        p99_9: None,
        max: None,
        cycles: None,
        detours_per_second: None,
        spread_percent: None,
        runs: Vec::new(),
        events: values.events,
    });
    SideValues { values, effect: None, against_tuned: None, trace: None, histogram: None, cumulative: None, ..side }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::assemble::assemble;
    use crate::compare::result::{Run, SideRuns, Turn};
    use crate::machine::record::Environment;
    use crate::report::Measure;

    fn environment(emulated: bool) -> Environment {
        Environment { emulated, ..crate::machine::record::Recorder::start(None).finish() }
    }

    /// Detours of 4242 ns, 91.5 of them a second, and quanta of 123 ns.
    fn comparison(emulated: bool) -> Comparison {
        let detours = Measure {
            compared: Statistic::DetoursPerSecond,
            detours_per_second: Some(91.5),
            trace: Some(vec![[10.0, 4242.0]; 3]),
            ..Measure::time("selfish-detour", vec![4242.0; 3])
        };
        let run = Run::of(vec![Measure::time("fwq", vec![123.0; 9]), detours]);
        let side = |name: &str, runs| SideRuns {
            name: name.to_owned(),
            commands: Vec::new(),
            pinned_core: None,
            runs: vec![run.clone(); runs],
        };
        let mut suite = assemble("noise", vec![side("native", 6), side("process", 5)]);
        suite.order = vec![Turn { side: "native".to_owned(), started_seconds: Some(0.77) }];
        Comparison {
            schema: crate::compare::result::COMPARE_SCHEMA.to_owned(),
            core: 1,
            pairs: 5,
            environment: environment(emulated),
            tacet_version: None,
            without_platforms: Vec::new(),
            not_compared: Vec::new(),
            suites: vec![suite],
            against: None,
        }
    }

    #[test]
    fn an_emulated_machine_leaves_counts() {
        let comparison = comparison(true).counts_only_where_emulated();
        let suite = &comparison.suites[0];
        assert_eq!(suite.not_measured, [NotMeasured { name: "fwq".to_owned(), reason: EMULATED.to_owned() }]);
        assert_eq!(suite.measures.len(), 1);
        let native = &suite.measures[0].sides[0];
        assert_eq!(native.values.as_ref().unwrap().events.as_deref(), Some(&[3; 6][..]));
        let json = serde_json::to_string(&comparison.suites).unwrap();
        for time in ["4242", "91.5", "123", "0.77", "verdict\":\""] {
            assert!(!json.contains(time), "{time} in {json}");
        }
    }

    #[test]
    fn other_machines_keep_everything() {
        let before = serde_json::to_string(&comparison(false).suites).unwrap();
        let after = serde_json::to_string(&comparison(false).counts_only_where_emulated().suites).unwrap();
        assert_eq!(before, after);
        assert!(after.contains("4242") && after.contains("verdict"));
    }
}
