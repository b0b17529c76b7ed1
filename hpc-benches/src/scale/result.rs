//! What a simulation found.

use serde::Serialize;

use super::collective::Collective;
use super::network::Network;
use super::trace::Trace;
use crate::stats::summary::{median, percentile};

/// Name and revision of the JSON layout of a [`Scaled`].
pub const SCALE_SCHEMA: &str = "tacet-bench-scale/1";

/// The whole report of `scale`.
#[derive(Debug, Serialize)]
pub struct Scaled {
    /// [`SCALE_SCHEMA`].
    pub schema: &'static str,
    /// When it was simulated, UTC.
    pub date: String,
    /// Version of this program.
    pub version: &'static str,
    /// The command line of this process.
    pub command_line: Vec<String>,
    /// What ends an iteration.
    pub collective: Collective,
    /// Bytes of its messages.
    pub bytes: u64,
    /// The network.
    pub network: Network,
    /// Iterations per point, at most.
    pub iterations: usize,
    /// Standard error at which a point has enough, in percent of what noise adds.
    pub precision_percent: f64,
    /// Of the ranks' offsets.
    pub seed: u64,
    /// The noise, in the order given.
    pub traces: Vec<TraceRecord>,
    /// One entry per trace, granularity and number of ranks.
    pub points: Vec<Point>,
}

/// A trace that was replayed.
#[derive(Debug, Serialize)]
pub struct TraceRecord {
    /// What tables and plots call it.
    pub label: String,
    /// The trace itself.
    #[serde(flatten)]
    pub trace: Trace,
    /// How many detours it has.
    pub detours: usize,
    /// Share of the time in them.
    pub loss_percent: f64,
    /// The longest; none in a silent trace.
    pub longest_ns: Option<f64>,
}

/// One loop, simulated.
#[derive(Debug, Serialize)]
pub struct Point {
    /// The noise: index into the traces.
    pub trace: usize,
    /// Work of each rank per iteration.
    pub granularity_ns: f64,
    /// Number of ranks.
    pub ranks: usize,
    /// Time of an iteration without noise.
    pub ideal_ns: f64,
    /// Iterations that were simulated.
    pub iterations: usize,
    /// Time of an iteration by that.
    pub slowdown: Slowdown,
    /// Whether the ranks together replay more than the trace is long in each iteration: then its longest
    /// detours are always met, and what is rarer than them is not known.
    pub whole_trace: bool,
}

/// Slowdowns of the iterations.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Slowdown {
    /// All iterations together.
    pub mean: f64,
    /// Of half the iterations.
    pub median: f64,
    /// Of the tenth that went best, by nearest rank.
    pub p10: f64,
    /// Of all but the tenth that went worst, by nearest rank.
    pub p90: f64,
    /// Of the iteration that went worst.
    pub max: f64,
}

impl Slowdown {
    /// Of iterations that took these `times`; none where there are none.
    pub fn of(times: &[f64], ideal: f64) -> Option<Self> {
        let values: Vec<f64> = times.iter().map(|time| time / ideal).collect();
        Some(Self {
            mean: values.iter().sum::<f64>() / values.len() as f64,
            median: median(values.clone())?,
            p10: percentile(values.clone(), 10.0)?,
            p90: percentile(values.clone(), 90.0)?,
            max: values.into_iter().reduce(f64::max)?,
        })
    }
}

impl TraceRecord {
    /// One record per trace. Traces that would be called the same are called by their files.
    pub fn of(traces: &[Trace]) -> Vec<Self> {
        let labels: Vec<String> = traces.iter().map(Trace::label).collect();
        let unique = |label: &String| labels.iter().filter(|other| *other == label).count() == 1;
        let record = |(trace, label): (&Trace, &String)| Self {
            label: if unique(label) { label.clone() } else { format!("{label} ({})", trace.file) },
            trace: trace.clone(),
            detours: trace.detours.len(),
            loss_percent: trace.loss() * 100.0,
            longest_ns: trace.longest(),
        };
        traces.iter().zip(&labels).map(record).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace(file: &str, core: usize) -> Trace {
        Trace {
            file: file.to_owned(),
            side: "native".to_owned(),
            core,
            seconds: 1.0,
            threshold_ns: 500.0,
            detours: vec![[0.0, 1e7]],
        }
    }

    #[test]
    fn slowdowns_are_times_by_the_ideal() {
        let times: Vec<f64> = (1..=10).map(|i| 100.0 + f64::from(i)).collect();
        let slowdown = Slowdown::of(&times, 100.0).unwrap();
        assert_eq!((slowdown.p10, slowdown.p90, slowdown.max), (1.01, 1.09, 1.10));
        assert!((slowdown.median - 1.055).abs() < 1e-12 && (slowdown.mean - 1.055).abs() < 1e-12);
        assert_eq!(Slowdown::of(&[], 1.0), None);
    }

    #[test]
    fn traces_of_one_name_are_told_apart_by_their_files() {
        let labels = |traces: &[Trace]| TraceRecord::of(traces).into_iter().map(|r| r.label).collect::<Vec<_>>();
        assert_eq!(labels(&[trace("a", 1), trace("b", 2)]), ["native core 1", "native core 2"]);
        assert_eq!(labels(&[trace("a", 1), trace("b", 1)]), ["native core 1 (a)", "native core 1 (b)"]);
    }

    #[test]
    fn the_record_of_a_trace_has_its_numbers_and_not_its_detours() {
        let json = serde_json::to_value(&TraceRecord::of(&[trace("a", 1)])[0]).unwrap();
        assert_eq!((json["detours"].as_u64(), json["loss_percent"].as_f64()), (Some(1), Some(1.0)));
        assert_eq!(json["file"], "a");
    }
}
