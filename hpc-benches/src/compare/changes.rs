//! What a comparison says of changes since an older one.

use serde::Serialize;

use crate::report::{Statistic, Unit};

/// What changed since the older comparison.
#[derive(Clone, Debug, Serialize)]
pub struct Changes {
    /// The file of the older one.
    pub file: String,
    /// When the older one was taken.
    pub date: String,
    /// What else is not the same: a change may come from there.
    pub differences: Vec<Difference>,
    /// One entry per suite, measure and side that both have.
    pub changes: Vec<Change>,
    /// What can't be set against each other, and why.
    pub not_comparable: Vec<NotComparable>,
}

/// Something about machine, programs or parameters that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// What, such as `kernel`.
    pub what: String,
    /// As it was; none where it was not known.
    pub before: Option<String>,
    /// As it is; none where it is not known.
    pub now: Option<String>,
}

/// A measure on a side, before and now.
#[derive(Clone, Debug, Serialize)]
pub struct Change {
    /// Name of the suite.
    pub suite: String,
    /// Name of the measure.
    pub measure: String,
    /// Name of the side.
    pub side: String,
    /// Unit of samples.
    pub unit: Unit,
    /// What the values are: a statistic of the samples, or detours per second.
    pub compared: Statistic,
    /// Median over the older runs.
    pub before: f64,
    /// Median over the runs now.
    pub now: f64,
    /// now / before; none when that was zero.
    pub ratio: Option<f64>,
    /// Distance of the largest from the smallest older run, in percent of `before`.
    pub before_spread_percent: Option<f64>,
    /// The same of the runs now.
    pub now_spread_percent: Option<f64>,
    /// The conclusion.
    pub conclusion: Conclusion,
}

/// What the runs of both comparisons allow to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Conclusion {
    /// Better than it was, beyond the spread of both.
    Better,
    /// Worse than it was, beyond the spread of both.
    Worse,
    /// The spread of the runs is as large as what changed.
    NoChangeShown,
    /// Fewer than [`super::against::FEWEST_RUNS`] runs before or now.
    TooFewRuns,
}

/// What only one of the two comparisons has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NotComparable {
    /// Name of the suite.
    pub suite: String,
    /// Name of the measure.
    pub measure: String,
    /// Name of the side.
    pub side: String,
    /// Why.
    pub reason: String,
}
