//! What the runs of a comparison said, and what the report of it says.

use serde::Serialize;

use super::changes::Changes;
use super::cores::SideCore;
use super::distribution::Trace;
use crate::attribution::Attribution;
use crate::load;
use crate::machine::record::Environment;
use crate::report::{CoreReport, CurvePoint, Measure, NotMeasured, Statistic, Unit};
use crate::stats::verdict::{Better, Effect};
use crate::tuning::report::Tuning;

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
    /// Who had the core while detours were watched.
    pub attribution: Option<Attribution>,
    /// Each core by itself, where several were measured at once.
    pub cores: Vec<CoreReport>,
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
    /// What `tacet --version` says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tacet_version: Option<String>,
    /// Platforms that the node does not offer, where none was named.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub without_platforms: Vec<WithoutPlatform>,
    /// Suites that there are no results of.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_compared: Vec<NotCompared>,
    /// One entry per suite, in the order asked for.
    pub suites: Vec<SuiteComparison>,
    /// What changed since an older comparison, where one was named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub against: Option<Changes>,
}

/// One suite of the report.
#[derive(Debug, Serialize)]
pub struct SuiteComparison {
    /// Name of the suite.
    pub suite: String,
    /// What each side ran, several lines where a run takes several processes.
    pub commands: Vec<SideCommand>,
    /// The runs in the order in which they were taken.
    pub order: Vec<Turn>,
    /// One entry per measure, in the order of the suite.
    pub measures: Vec<MeasureComparison>,
    /// Measures that no side has, with native's reason.
    pub not_measured: Vec<NotMeasured>,
    /// What a reader must know before believing the numbers.
    pub warnings: Vec<String>,
    /// What the side `native-tuned` ran on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tuning: Option<Tuning>,
    /// Why there is no such side, if nobody asked to leave it out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub without_tuned: Option<String>,
    /// Platforms that the node offers, but not to this suite.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub without_platforms: Vec<WithoutPlatform>,
    /// Who had the core while detours were watched, all runs of a side together.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub attribution: Vec<SideAttribution>,
    /// Each core by itself, where several were measured at once.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cores: Vec<SideCore>,
    /// What the other cores did meanwhile, where that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load: Option<load::Record>,
}

/// A platform that is no side although nobody left it out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WithoutPlatform {
    /// Its name.
    pub platform: String,
    /// Why it is none.
    pub why: String,
}

/// A suite without results.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NotCompared {
    /// Its name.
    pub suite: String,
    /// Why there are none.
    pub reason: String,
}

/// Who disturbed a side.
#[derive(Debug, Serialize)]
pub struct SideAttribution {
    /// Name of the side.
    pub side: String,
    /// What is known; none where a run told nothing.
    pub found: Option<Attribution>,
}

/// How a side was started.
#[derive(Debug, Serialize)]
pub struct SideCommand {
    /// Name of the side.
    pub side: String,
    /// Its command line.
    pub command: Vec<String>,
}

/// When a side had its turn.
#[derive(Debug, PartialEq, Serialize)]
pub struct Turn {
    /// Name of the side.
    pub side: String,
    /// Seconds since the first run of the suite began; none on an emulated machine.
    pub started_seconds: Option<f64>,
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
    /// The curve that this measure is a point of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub curve: Option<CurvePoint>,
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
    /// The events of the last run that tells them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace: Option<Trace>,
    /// How often the samples of all runs lay where: lower bound of a bin in the measure's unit, and count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub histogram: Option<Vec<[f64; 2]>>,
    /// Length of events in nanoseconds, and the percentage of all runs' events that are not longer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cumulative: Option<Vec<[f64; 2]>>,
    /// A cell against tuned Linux, where that is a side.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub against_tuned: Option<Effect>,
}

/// Runs of one side taken together.
#[derive(Debug, PartialEq, Serialize)]
pub struct Values {
    /// Median of the runs' medians.
    pub median: Option<f64>,
    /// Median of the runs' 99th percentiles; where a run is one sample, 99th percentile of the
    /// runs.
    pub p99: Option<f64>,
    /// Median of the runs' 99.9th percentiles, where each has one: of some alone it could lie below the 99th.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p99_9: Option<f64>,
    /// Largest sample of all runs.
    pub max: Option<f64>,
    /// Median of the runs' medians in cycles of the time-stamp counter, where they are the times of calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cycles: Option<f64>,
    /// Median of the runs' rates.
    pub detours_per_second: Option<f64>,
    /// Distance of the largest from the smallest run, in percent of the median run.
    pub spread_percent: Option<f64>,
    /// The compared value of each run, in order; none on an emulated machine.
    pub runs: Vec<f64>,
    /// How many events each run saw, in order, where the samples are events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events: Option<Vec<usize>>,
}

impl Run {
    /// A run that measured everything it should.
    pub fn of(measures: Vec<Measure>) -> Self {
        Self { core: None, measures, not_measured: Vec::new(), attribution: None, cores: Vec::new() }
    }

    /// The measure of this name.
    pub fn measure(&self, name: &str) -> Option<&Measure> {
        self.measures.iter().find(|measure| measure.name == name)
    }
}
