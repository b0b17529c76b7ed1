//! Cores that were measured at once, each by itself on all sides.

use serde::Serialize;

use super::result::SideRuns;
use crate::report::{CoreReport, Statistic, Unit};
use crate::stats::summary::median;

/// One measure of one core on one side.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CoreValue {
    /// Name of the measure.
    pub name: String,
    /// Unit of the value, or none for detours per second.
    pub unit: Option<Unit>,
    /// Median over the runs of what the measure is compared by.
    pub median: Option<f64>,
    /// Median over the runs of the number of events, where that is all that may be said: on an emulated machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events: Option<f64>,
}

/// One core on one side.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SideCore {
    /// The core, by Linux's number.
    pub core: usize,
    /// Name of the side.
    pub side: String,
    /// Its measures, in the order of the suite.
    pub values: Vec<CoreValue>,
}

/// All cores that every run of a side measured, core by core.
pub fn by_core(sides: &[SideRuns]) -> Vec<SideCore> {
    let mut cores: Vec<SideCore> = sides.iter().flat_map(of_side).collect();
    // The sides of a core stand together, native first: the sort keeps their order.
    cores.sort_by_key(|core| core.core);
    cores
}

fn of_side(side: &SideRuns) -> Vec<SideCore> {
    let Some(first) = side.runs.first() else {
        return Vec::new();
    };
    first
        .cores
        .iter()
        .filter_map(|report| {
            let core = report.core;
            let find = |run: &'_ super::result::Run| run.cores.iter().position(|other| other.core == core);
            let runs: Vec<&CoreReport> =
                side.runs.iter().map(|run| Some(&run.cores[find(run)?])).collect::<Option<_>>()?;
            Some(SideCore { core, side: side.name.clone(), values: values(report, &runs) })
        })
        .collect()
}

fn values(kinds: &CoreReport, runs: &[&CoreReport]) -> Vec<CoreValue> {
    kinds
        .measures
        .iter()
        .map(|kind| {
            let find = |run: &&CoreReport| run.measures.iter().find(|measure| measure.name == kind.name).cloned();
            let of_run = |run: &&CoreReport| find(run)?.compared_value();
            let events = |run: &&CoreReport| Some(find(run)?.events? as f64);
            CoreValue {
                name: kind.name.clone(),
                unit: (kind.compared == Statistic::Median).then_some(kind.unit),
                median: median(runs.iter().filter_map(of_run).collect()),
                events: median(runs.iter().filter_map(events).collect()),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::result::Run;
    use super::*;
    use crate::attribution::Attribution;
    use crate::report::Measure;

    fn run(cores: &[(usize, f64)]) -> Run {
        let report = |&(core, value): &(usize, f64)| CoreReport {
            core,
            measures: vec![Measure::time("fwq", vec![value])],
            attribution: Attribution::default(),
        };
        Run { cores: cores.iter().map(report).collect(), ..Run::of(Vec::new()) }
    }

    fn side(name: &str, runs: Vec<Run>) -> SideRuns {
        SideRuns { name: name.to_owned(), commands: Vec::new(), pinned_core: None, runs }
    }

    #[test]
    fn cores_stand_together_with_the_medians_of_their_runs() {
        let native = side("native", vec![run(&[(0, 1.0), (3, 9.0)]), run(&[(0, 3.0), (3, 9.0)])]);
        let cell = side("process", vec![run(&[(0, 5.0), (3, 7.0)])]);
        let found: Vec<_> =
            by_core(&[native, cell]).into_iter().map(|core| (core.core, core.side, core.values[0].median)).collect();
        let expected = [
            (0, "native".to_owned(), Some(2.0)),
            (0, "process".to_owned(), Some(5.0)),
            (3, "native".to_owned(), Some(9.0)),
            (3, "process".to_owned(), Some(7.0)),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_core_that_one_run_lacks_is_left_out() {
        let found = by_core(&[side("native", vec![run(&[(0, 1.0), (3, 9.0)]), run(&[(0, 3.0)])])]);
        assert_eq!(found.iter().map(|core| core.core).collect::<Vec<_>>(), [0]);
        assert!(by_core(&[side("native", vec![run(&[])])]).is_empty());
    }
}
