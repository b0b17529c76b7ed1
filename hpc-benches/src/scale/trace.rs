//! Measured detour traces: the files that `tacet-bench noise --trace` writes.
//!
//! A file is an allegation: what can't be replayed is refused with the place where it goes wrong.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::Failure;
use crate::suites::noise::trace::{DetourTrace, TRACE_SCHEMA};

/// What noting detours may take of a watch without being counted as watched.
const UNCOUNTED: f64 = 0.01;

/// One core's detours over some time, checked: in order, apart, none of them endless.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Trace {
    /// The file that it came from.
    pub file: String,
    /// Which side it was measured on.
    pub side: String,
    /// Which core, by Linux's number.
    pub core: usize,
    /// How long the core was watched; to the end of the last detour, where that is later.
    pub seconds: f64,
    /// Interruptions shorter than this are not in the trace.
    pub threshold_ns: f64,
    /// Start since the watch began and length, in nanoseconds.
    #[serde(skip)]
    pub detours: Vec<[f64; 2]>,
}

impl Trace {
    /// Reads and checks a file.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let name = path.display().to_string();
        let text = fs::read_to_string(path).map_err(|error| {
            Failure::new(format!(
                "cannot read the trace {name}: {error}; write one with `tacet-bench noise --trace FILE`"
            ))
        })?;
        Self::parse(&name, &text).map_err(|why| {
            Failure::new(format!(
                "{name} is not a trace to replay: {why}; write one with `tacet-bench noise --trace FILE`"
            ))
        })
    }

    fn parse(name: &str, text: &str) -> Result<Self, String> {
        check_schema(text)?;
        let file: DetourTrace = serde_json::from_str(text).map_err(|error| error.to_string())?;
        if !(file.seconds.is_finite() && file.seconds > 0.0) {
            return Err(format!("it lasted {} seconds", file.seconds));
        }
        check_detours(&file.detours, file.seconds * 1e9)?;
        let end = file.detours.last().map_or(0.0, |[start, length]| start + length);
        let trace = Self {
            file: name.to_owned(),
            side: file.side,
            core: file.core,
            seconds: file.seconds.max(end / 1e9),
            threshold_ns: file.threshold_ns,
            detours: file.detours,
        };
        match trace.loss() {
            loss if loss < 1.0 => Ok(trace),
            _ => Err("its detours take all of its time: a rank would never get on".to_owned()),
        }
    }

    /// What to call it among others: `process core 1`.
    pub fn label(&self) -> String {
        format!("{} core {}", self.side, self.core)
    }

    /// Length in nanoseconds.
    pub fn period(&self) -> f64 {
        self.seconds * 1e9
    }

    /// Share of the time that was in detours.
    pub fn loss(&self) -> f64 {
        // Not `sum`, whose nothing is a negative zero.
        self.detours.iter().fold(0.0, |sum, [_, length]| sum + length) / self.period()
    }

    /// The longest detour in nanoseconds; none in a silent trace.
    pub fn longest(&self) -> Option<f64> {
        self.detours.iter().map(|[_, length]| *length).reduce(f64::max)
    }
}

/// The layout comes first: a file of another one need not have the fields of this one.
fn check_schema(text: &str) -> Result<(), String> {
    #[derive(Deserialize)]
    struct Schema {
        schema: Option<String>,
    }
    let Schema { schema } = serde_json::from_str(text).map_err(|error| error.to_string())?;
    match schema.as_deref() {
        Some(TRACE_SCHEMA) => Ok(()),
        Some(other) => Err(format!("its layout is {other}, not {TRACE_SCHEMA}")),
        None => Err(format!("it names no layout; {TRACE_SCHEMA} is expected")),
    }
}

/// `None` of these can come out of a watch, and each would make a replay wrong without a sign of it.
fn check_detours(detours: &[[f64; 2]], watched: f64) -> Result<(), String> {
    let mut last: Option<[f64; 2]> = None;
    for (number, &[start, length]) in detours.iter().enumerate() {
        let complain = |what: String| Err(format!("detour {number} (from 0) {what}"));
        if !(start.is_finite() && start >= 0.0 && length.is_finite() && length > 0.0) {
            return complain(format!("starts at {start} ns and takes {length} ns"));
        }
        if start > watched * (1.0 + UNCOUNTED) {
            return complain(format!("starts at {start} ns, after the end of the watch at {watched} ns"));
        }
        if let Some([before, long]) = last {
            if start < before {
                return complain(format!("starts at {start} ns, before the one before it at {before} ns"));
            }
            if start < before + long {
                return complain(format!(
                    "starts at {start} ns, in the one before it, which ends at {} ns",
                    before + long
                ));
            }
        }
        last = Some([start, length]);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(seconds: f64, detours: &str) -> String {
        format!(
            r#"{{"schema":"tacet-bench-trace/1","side":"native","core":1,"seconds":{seconds},"threshold_ns":500,"detours":{detours}}}"#
        )
    }

    fn refusal(text: &str) -> String {
        Trace::parse("t.json", text).unwrap_err()
    }

    #[test]
    fn a_trace_is_read() {
        let trace = Trace::parse("t.json", &file(0.001, "[[1000,2000],[3000,500.5]]")).unwrap();
        assert_eq!(trace.label(), "native core 1");
        assert_eq!(trace.detours, [[1000.0, 2000.0], [3000.0, 500.5]]);
        assert_eq!(trace.longest(), Some(2000.0));
        assert!((trace.loss() - 0.002_500_5).abs() < 1e-12);
    }

    #[test]
    fn silence_is_a_trace() {
        let trace = Trace::parse("t.json", &file(10.0, "[]")).unwrap();
        assert_eq!((trace.loss(), trace.longest()), (0.0, None));
        assert!(trace.loss().is_sign_positive());
    }

    #[test]
    fn the_watch_lasts_to_the_end_of_its_last_detour() {
        let trace = Trace::parse("t.json", &file(1e-6, "[[900,600]]")).unwrap();
        assert_eq!(trace.period(), 1500.0);
        // Noting the first took so long that the second is after what was counted as watched.
        let trace = Trace::parse("t.json", &file(1e-6, "[[900,50],[1005,20]]")).unwrap();
        assert_eq!(trace.period(), 1025.0);
    }

    #[test]
    fn what_cannot_be_replayed_is_refused_with_the_place() {
        assert!(refusal("{}").contains("names no layout"));
        assert!(refusal(r#"{"schema":"tacet-bench-run/1"}"#).contains("its layout is tacet-bench-run/1"));
        assert!(refusal("no json").contains("line 1"));
        assert!(refusal(&file(0.0, "[]")).contains("lasted 0 seconds"));
        assert!(refusal(&file(1.0, "[[5,1],[4,1]]")).contains("detour 1 (from 0) starts at 4 ns, before"));
        assert!(refusal(&file(1.0, "[[5,10],[14,1]]")).contains("which ends at 15 ns"));
        assert!(refusal(&file(1.0, "[[5,0]]")).contains("takes 0 ns"));
        assert!(refusal(&file(1.0, "[[-5,1]]")).contains("starts at -5 ns"));
        assert!(refusal(&file(1e-9, "[[5,1]]")).contains("after the end of the watch"));
        assert!(refusal(&file(1.0, "[[0,1e9]]")).contains("never get on"));
        assert!(refusal(&file(1.0, "[[1]]")).contains("length"));
    }
}
