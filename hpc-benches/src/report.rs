//! What one run of one suite says, in one environment: the contract between the measuring and
//! the comparing side. A cell hands it to `compare` as JSON on its standard output.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::attribution::Attribution;
use crate::machine::record::Environment;
use crate::stats::summary::Summary;
use crate::stats::verdict::Better;

/// Name and revision of the JSON layout of a [`RunReport`].
pub const RUN_SCHEMA: &str = "tacet-bench-run/1";

/// Everything that one run of a suite found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunReport {
    /// [`RUN_SCHEMA`].
    pub schema: String,
    /// `noise`, `calls` or `memory`.
    pub suite: String,
    /// The CPU that the run ended on, by Linux's number.
    pub core: Option<usize>,
    /// Parameters of the run and of its clock, by name.
    pub settings: BTreeMap<String, f64>,
    /// The machine, before and after.
    pub environment: Environment,
    /// The findings.
    pub measures: Vec<Measure>,
    /// What could not be measured here.
    pub not_measured: Vec<NotMeasured>,
    /// Who had the core while detours were watched; of several cores, all together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attribution: Option<Attribution>,
    /// Each core by itself, where several were measured at once; `measures` has them together.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cores: Vec<CoreReport>,
}

/// One of several cores that were measured at once.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CoreReport {
    /// The core, by Linux's number.
    pub core: usize,
    /// Its findings.
    pub measures: Vec<Measure>,
    /// Who had it while detours were watched.
    pub attribution: Attribution,
}

/// One measured quantity.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measure {
    /// Name, as the tables print it.
    pub name: String,
    /// Unit of the summary.
    pub unit: Unit,
    /// Which direction is the good one.
    pub better: Better,
    /// The statistic by which two sides are compared.
    pub compared: Statistic,
    /// The samples; none when there were no events to sample (no detour at all).
    pub summary: Option<Summary>,
    /// The same samples in cycles of the time-stamp counter, where they are the times of calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cycles: Option<Summary>,
    /// Events per second, where the samples are events.
    pub detours_per_second: Option<f64>,
    /// The events of one run in the order of time, where a plot wants them: start since the watch began
    /// and length, both in nanoseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<Vec<[f64; 2]>>,
    /// How often the samples lay where: lower bound of a bin in the measure's unit, and count. Bins rise
    /// and end where the next begins; empty ones may be left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub histogram: Option<Vec<[f64; 2]>>,
    /// The curve that this measure is a point of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub curve: Option<CurvePoint>,
    /// How many events a run saw, where that is all it may say: in place of times on an emulated machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events: Option<usize>,
}

/// A place on a curve that several measures of a suite make up, such as the latency over the size of the
/// message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CurvePoint {
    /// Name of the curve; the measure gives its vertical unit.
    pub curve: String,
    /// Place on the horizontal axis.
    pub x: f64,
    /// What the horizontal axis counts, such as `bytes`.
    pub x_label: String,
}

/// A measure that this environment does not offer, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotMeasured {
    /// Name of the measure.
    pub name: String,
    /// Why there is no value.
    pub reason: String,
}

/// Units of summaries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unit {
    /// Nanoseconds.
    #[serde(rename = "ns")]
    Nanoseconds,
    /// Percent.
    #[serde(rename = "%")]
    Percent,
    /// 10⁶ bytes per second.
    #[serde(rename = "MB/s")]
    MegabytesPerSecond,
    /// Events per second.
    #[serde(rename = "1/s")]
    PerSecond,
    /// Bytes.
    #[serde(rename = "B")]
    Bytes,
}

/// A statistic by which sides are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Statistic {
    /// Median of the samples.
    Median,
    /// Events per second.
    DetoursPerSecond,
}

impl Measure {
    /// Samples in nanoseconds, compared by their median.
    pub fn time(name: &str, samples: Vec<f64>) -> Self {
        Self {
            name: name.to_owned(),
            unit: Unit::Nanoseconds,
            better: Better::Lower,
            compared: Statistic::Median,
            summary: Summary::of(samples),
            cycles: None,
            detours_per_second: None,
            trace: None,
            histogram: None,
            curve: None,
            events: None,
        }
    }

    /// A share in percent, less of which is better.
    pub fn share(name: &str, percent: f64) -> Self {
        Self { unit: Unit::Percent, summary: Some(Summary::single(percent)), ..Self::time(name, Vec::new()) }
    }

    /// How many events this run saw; none where the samples are no events.
    pub fn event_count(&self) -> Option<usize> {
        match self.compared {
            Statistic::DetoursPerSecond => self.events.or(Some(self.summary.map_or(0, |summary| summary.count))),
            Statistic::Median => self.events,
        }
    }

    /// An amount of memory, less of which is better.
    pub fn bytes(name: &str, bytes: f64) -> Self {
        Self { unit: Unit::Bytes, summary: Some(Summary::single(bytes)), ..Self::time(name, Vec::new()) }
    }

    /// The value by which this run enters a comparison.
    pub fn compared_value(&self) -> Option<f64> {
        match self.compared {
            Statistic::Median => self.summary.map(|summary| summary.median),
            Statistic::DetoursPerSecond => self.detours_per_second,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_measure_survives_json() {
        let measure = Measure {
            detours_per_second: Some(12.5),
            compared: Statistic::DetoursPerSecond,
            ..Measure::time("selfish-detour", vec![1.0, 2.0])
        };
        let json = serde_json::to_string(&measure).unwrap();
        assert!(json.contains(r#""unit":"ns""#));
        assert!(json.contains(r#""compared":"detours-per-second""#));
        assert_eq!(serde_json::from_str::<Measure>(&json).unwrap(), measure);
    }

    #[test]
    fn sides_are_compared_by_the_named_statistic() {
        let mut measure = Measure::time("x", vec![1.0, 2.0, 9.0]);
        assert_eq!(measure.compared_value(), Some(2.0));
        measure.compared = Statistic::DetoursPerSecond;
        assert_eq!(measure.compared_value(), None);
        measure.detours_per_second = Some(0.0);
        assert_eq!(measure.compared_value(), Some(0.0));
    }
}
