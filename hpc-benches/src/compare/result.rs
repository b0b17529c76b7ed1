//! From runs to a comparison. Pure: takes what the runs said, gives what the report says.

use serde::Serialize;

use super::side::NATIVE;
use crate::machine::record::Environment;
use crate::report::{Measure, NotMeasured, Statistic, Unit};
use crate::stats::summary::{Summary, median, spread_percent};
use crate::stats::verdict::{self, Better, Effect};

/// Name and revision of the JSON layout of a [`Comparison`].
pub const COMPARE_SCHEMA: &str = "tacet-bench-compare/1";

/// What one run of one side found.
#[derive(Clone, Debug)]
pub struct Run {
    /// Core it ended on, where the run tells.
    pub core: Option<usize>,
    /// Its findings.
    pub measures: Vec<Measure>,
    /// What it could not measure.
    pub not_measured: Vec<NotMeasured>,
}

/// All runs of one side.
pub struct SideRuns {
    /// Name of the side.
    pub name: String,
    /// The command lines of one run.
    pub commands: Vec<Vec<String>>,
    /// Core that it must run on, if any.
    pub pinned_core: Option<usize>,
    /// Its runs, in order.
    pub runs: Vec<Run>,
}

/// The whole report of `compare`.
#[derive(Debug, Serialize)]
pub struct Comparison {
    /// [`COMPARE_SCHEMA`].
    pub schema: String,
    /// Core that the one-core suites ran on.
    pub core: usize,
    /// Pairs of runs per suite.
    pub pairs: usize,
    /// The machine, before and after.
    pub environment: Environment,
    /// One entry per suite, in the order asked for.
    pub suites: Vec<SuiteComparison>,
}

/// One suite of the report.
#[derive(Debug, Serialize)]
pub struct SuiteComparison {
    /// Name of the suite.
    pub suite: String,
    /// What each side ran, several lines where a run takes several processes.
    pub commands: Vec<SideCommand>,
    /// One entry per measure, in the order of the suite.
    pub measures: Vec<MeasureComparison>,
    /// Measures that no side has, with native's reason.
    pub not_measured: Vec<NotMeasured>,
    /// What a reader must know before believing the numbers.
    pub warnings: Vec<String>,
}

/// How a side was started.
#[derive(Debug, Serialize)]
pub struct SideCommand {
    /// Name of the side.
    pub side: String,
    /// Its command line.
    pub command: Vec<String>,
}

/// One measure on all sides.
#[derive(Debug, Serialize)]
pub struct MeasureComparison {
    /// Name of the measure.
    pub name: String,
    /// Unit of its values.
    pub unit: Unit,
    /// Which direction is the good one.
    pub better: Better,
    /// The statistic that ratio, spread and conclusion are about.
    pub compared: Statistic,
    /// Native first.
    pub sides: Vec<SideValues>,
}

/// One measure on one side.
#[derive(Debug, Serialize)]
pub struct SideValues {
    /// Name of the side.
    pub side: String,
    /// What the runs found together; none when the side did not measure it.
    pub values: Option<Values>,
    /// Why there are no values.
    pub not_measured: Option<String>,
    /// The side against native; none for native itself, and where either lacks values.
    pub effect: Option<Effect>,
}

/// Runs of one side taken together.
#[derive(Debug, PartialEq, Serialize)]
pub struct Values {
    /// Median of the runs' medians.
    pub median: Option<f64>,
    /// Median of the runs' 99th percentiles; where a run is one sample, 99th percentile of the
    /// runs.
    pub p99: Option<f64>,
    /// Largest sample of all runs.
    pub max: Option<f64>,
    /// Median of the runs' rates.
    pub detours_per_second: Option<f64>,
    /// Distance of the largest from the smallest run, in percent of the median run.
    pub spread_percent: Option<f64>,
    /// The compared value of each run, in order.
    pub runs: Vec<f64>,
}

impl Run {
    /// A run that measured everything it should.
    pub fn of(measures: Vec<Measure>) -> Self {
        Self { core: None, measures, not_measured: Vec::new() }
    }

    fn measure(&self, name: &str) -> Option<&Measure> {
        self.measures.iter().find(|measure| measure.name == name)
    }
}

/// Puts the sides of a suite together. Side 0 is native and has one run more than the others.
pub fn assemble(suite: &str, sides: Vec<SideRuns>) -> SuiteComparison {
    let measures = kinds(&sides).into_iter().map(|kind| compare_measure(kind, &sides)).collect();
    let not_measured = missing_everywhere(&sides);
    let warnings = sides.iter().filter_map(strayed).collect();
    let commands = sides
        .into_iter()
        .flat_map(|side| {
            let name = side.name;
            side.commands.into_iter().map(move |command| SideCommand { side: name.clone(), command })
        })
        .collect();
    SuiteComparison { suite: suite.to_owned(), commands, measures, not_measured, warnings }
}

/// One specimen per measure that any side has. A measure that native lacks goes where the side
/// that has it put it: after the measure before it.
fn kinds(sides: &[SideRuns]) -> Vec<&Measure> {
    let mut kinds: Vec<&Measure> = Vec::new();
    for run in sides.iter().flat_map(|side| &side.runs) {
        let mut place = 0;
        for measure in &run.measures {
            match kinds.iter().position(|kind| kind.name == measure.name) {
                Some(known) => place = known + 1,
                None => {
                    kinds.insert(place, measure);
                    place += 1;
                }
            }
        }
    }
    kinds
}

/// Measures that some run should have taken and that no run of any side has.
fn missing_everywhere(sides: &[SideRuns]) -> Vec<NotMeasured> {
    let runs = || sides.iter().flat_map(|side| &side.runs);
    let mut missing: Vec<NotMeasured> = Vec::new();
    for candidate in runs().flat_map(|run| &run.not_measured) {
        let measured = runs().any(|run| run.measure(&candidate.name).is_some());
        let listed = missing.iter().any(|known| known.name == candidate.name);
        if !measured && !listed {
            missing.push(candidate.clone());
        }
    }
    missing
}

fn compare_measure(kind: &Measure, sides: &[SideRuns]) -> MeasureComparison {
    let native = sides.first().and_then(|side| values(side, &kind.name));
    let sides = sides
        .iter()
        .map(|side| {
            let values = values(side, &kind.name);
            let effect = match (&native, &values) {
                (Some(native), Some(values)) if side.name != NATIVE => {
                    verdict::compare(&native.runs, &values.runs, kind.better)
                }
                _ => None,
            };
            SideValues {
                side: side.name.clone(),
                not_measured: values.is_none().then(|| why_not(side, &kind.name)),
                values,
                effect,
            }
        })
        .collect();
    MeasureComparison { name: kind.name.clone(), unit: kind.unit, better: kind.better, compared: kind.compared, sides }
}

/// The measure on one side; none unless every run has it.
fn values(side: &SideRuns, name: &str) -> Option<Values> {
    let measures: Vec<&Measure> = side.runs.iter().map(|run| run.measure(name)).collect::<Option<_>>()?;
    let runs: Vec<f64> = measures.iter().map(|measure| measure.compared_value()).collect::<Option<_>>()?;
    let summaries = summaries_of(&measures);
    Some(Values {
        median: median(summaries.iter().map(|summary| summary.median).collect()),
        p99: median(summaries.iter().map(|summary| summary.p99).collect()),
        max: summaries.iter().map(|summary| summary.max).reduce(f64::max),
        detours_per_second: median(measures.iter().filter_map(|measure| measure.detours_per_second).collect()),
        spread_percent: spread_percent(&runs),
        runs,
    })
}

/// The summaries of the runs. Runs of one sample each are the samples of a single summary.
fn summaries_of(measures: &[&Measure]) -> Vec<Summary> {
    let summaries: Vec<Summary> = measures.iter().filter_map(|measure| measure.summary).collect();
    if summaries.iter().any(|summary| summary.count > 1) {
        return summaries;
    }
    Summary::of(summaries.iter().map(|summary| summary.median).collect()).into_iter().collect()
}

fn why_not(side: &SideRuns, name: &str) -> String {
    side.runs
        .iter()
        .flat_map(|run| &run.not_measured)
        .find(|missing| missing.name == name)
        .map_or_else(|| "not every run of this side gave a value".to_owned(), |missing| missing.reason.clone())
}

/// A warning when a side ran elsewhere than it should have.
fn strayed(side: &SideRuns) -> Option<String> {
    let wanted = side.pinned_core?;
    let elsewhere = side.runs.iter().filter_map(|run| run.core).find(|&core| core != wanted)?;
    let name = &side.name;
    Some(format!("side {name} ran on core {elsewhere}, not on core {wanted}: its numbers are another core's"))
}

#[cfg(test)]
#[path = "result_tests.rs"]
mod tests;
