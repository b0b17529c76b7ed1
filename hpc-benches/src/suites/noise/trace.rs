//! The detours of one core as a file: what `tacet-bench noise --trace` writes and `tacet-bench scale` replays.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::selfish::{self, Selfish};
use crate::error::Failure;
use crate::machine::clock::Clock;

/// Name and revision of the layout.
pub const TRACE_SCHEMA: &str = "tacet-bench-trace/1";

/// All detours that one core had while it was watched.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DetourTrace {
    /// [`TRACE_SCHEMA`].
    pub schema: String,
    /// Which environment this is of, such as `native` or `process`.
    pub side: String,
    /// The core, by Linux's number.
    pub core: usize,
    /// Seconds watched.
    pub seconds: f64,
    /// Shorter interruptions are not in it.
    pub threshold_ns: f64,
    /// Start since the watch began and length, in nanoseconds, in the order of time.
    pub detours: Vec<[f64; 2]>,
}

impl DetourTrace {
    /// The trace of what was `found` on `core`.
    pub fn of(clock: &Clock, side: &str, core: usize, threshold_ns: f64, found: &Selfish) -> Self {
        Self {
            schema: TRACE_SCHEMA.to_owned(),
            side: side.to_owned(),
            core,
            seconds: found.watched(clock) / 1e9,
            threshold_ns,
            detours: found.detours.iter().map(|&detour| selfish::start_and_length(clock, detour)).collect(),
        }
    }

    /// What the file says.
    pub fn json(&self) -> Result<String, Failure> {
        let text = serde_json::to_string(self).map_err(|error| Failure::new(format!("cannot write a trace: {error}")));
        Ok(text? + "\n")
    }
}

/// The file for one of several cores: `noise.json` becomes `noise-3.json`.
pub fn file_of_core(path: &Path, core: usize) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let name = match path.extension() {
        Some(extension) => format!("{stem}-{core}.{}", extension.to_string_lossy()),
        None => format!("{stem}-{core}"),
    };
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::detour::{Detour, Observation};

    #[test]
    fn a_trace_survives_json_and_says_what_it_is() {
        let found = Selfish {
            detours: vec![Detour { start: 2_500, length: 10_000 }, Detour { start: 900_000, length: 2_000 }],
            seen: Observation { begun: 77, count: 2, watched: 4_000_000_000, shortest_step: 40 },
        };
        let trace = DetourTrace::of(&Clock::with_megahertz(2000.0), "process", 3, 500.0, &found);
        let json = serde_json::to_value(&trace).unwrap();
        let expected = serde_json::json!({
            "schema": "tacet-bench-trace/1", "side": "process", "core": 3, "seconds": 2.0, "threshold_ns": 500.0,
            "detours": [[1250.0, 5000.0], [450_000.0, 1000.0]],
        });
        assert_eq!(json, expected);
        assert_eq!(serde_json::from_value::<DetourTrace>(json).unwrap(), trace);
    }

    #[test]
    fn each_core_has_its_file() {
        let named = |path: &str| file_of_core(Path::new(path), 12);
        assert_eq!(named("/tmp/noise.json"), Path::new("/tmp/noise-12.json"));
        assert_eq!(named("noise"), Path::new("noise-12"));
        assert_eq!(named("a.b/noise.tar.json"), Path::new("a.b/noise.tar-12.json"));
    }
}
