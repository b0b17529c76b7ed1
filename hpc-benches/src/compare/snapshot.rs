//! As much of a comparison's file as another comparison is set against. What else an older or newer file
//! holds does not matter.

use std::fs;
use std::path::Path;

use serde::Deserialize;

use super::result::{COMPARE_SCHEMA, Comparison};
use crate::error::Failure;
use crate::machine::record::Environment;
use crate::report::{Statistic, Unit};
use crate::stats::verdict::Better;

/// A comparison.
#[derive(Debug, Deserialize)]
pub struct Snapshot {
    /// Core of the suites that use one.
    pub core: usize,
    /// The machine.
    pub environment: Environment,
    /// Version of tacet.
    #[serde(default)]
    pub tacet_version: Option<String>,
    /// Its suites.
    pub suites: Vec<Suite>,
}

/// A suite of it.
#[derive(Debug, Deserialize)]
pub struct Suite {
    /// Name.
    #[serde(rename = "suite")]
    pub name: String,
    /// What each side ran.
    pub commands: Vec<Command>,
    /// Its measures.
    pub measures: Vec<Measure>,
}

/// How a side was started.
#[derive(Debug, Deserialize)]
pub struct Command {
    /// Name of the side.
    pub side: String,
    /// Its words.
    pub command: Vec<String>,
}

/// A measure on all sides.
#[derive(Debug, Deserialize)]
pub struct Measure {
    /// Name.
    pub name: String,
    /// Unit of samples.
    pub unit: Unit,
    /// The good direction.
    pub better: Better,
    /// What the runs' values are.
    pub compared: Statistic,
    /// The sides.
    pub sides: Vec<Side>,
}

/// A measure on one side.
#[derive(Debug, Deserialize)]
pub struct Side {
    /// Name.
    pub side: String,
    /// None where it was not measured.
    pub values: Option<Values>,
    /// Why not.
    pub not_measured: Option<String>,
}

/// What the runs found.
#[derive(Debug, Deserialize)]
pub struct Values {
    /// The compared value of each; none on an emulated machine.
    pub runs: Vec<f64>,
}

impl Snapshot {
    /// Reads what `compare --json` wrote to `file`.
    pub fn read(file: &Path) -> Result<Self, Failure> {
        let text = fs::read_to_string(file).map_err(|error| {
            Failure::new(format!(
                "cannot read {}: {error}; name a file that `tacet-bench compare --json` wrote with --against",
                file.display()
            ))
        })?;
        parse(&text).map_err(|why| Failure::new(format!("cannot compare against {}: {why}", file.display())))
    }

    /// What the file of `comparison` would say: so that both sides of a change are read alike.
    pub fn of(comparison: &Comparison) -> serde_json::Result<Self> {
        serde_json::from_value(serde_json::to_value(comparison)?)
    }
}

/// The comparison in `text`, or why it is none.
fn parse(text: &str) -> Result<Snapshot, String> {
    const ADVICE: &str = "name a file that `tacet-bench compare --json` of this version wrote";
    let value: serde_json::Value =
        serde_json::from_str(text).map_err(|error| format!("it is no JSON ({error}); {ADVICE}"))?;
    match value.get("schema").and_then(serde_json::Value::as_str) {
        Some(COMPARE_SCHEMA) => {}
        Some(other) => return Err(format!("its layout is {other}, not {COMPARE_SCHEMA}; {ADVICE}")),
        None => return Err(format!("it does not name its layout; {ADVICE}")),
    }
    serde_json::from_value(value)
        .map_err(|error| format!("it says {COMPARE_SCHEMA} and is not laid out so ({error}); {ADVICE}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_are_no_comparison_are_refused_with_the_reason() {
        for (text, reason) in [
            ("", "it is no JSON"),
            ("[]", "it does not name its layout"),
            (r#"{"schema":"tacet-bench-run/1"}"#, "its layout is tacet-bench-run/1, not tacet-bench-compare/1"),
            (r#"{"schema":"tacet-bench-compare/1"}"#, "is not laid out so"),
        ] {
            let why = parse(text).unwrap_err();
            assert!(why.contains(reason) && why.ends_with("wrote"), "{why}");
        }
        let missing = Snapshot::read(Path::new("/nonexistent/old.json")).err().unwrap();
        assert!(missing.to_string().starts_with("cannot read /nonexistent/old.json: "), "{missing}");
    }
}
