//! How a run is read: what the programs of a suite print.

use std::env;
use std::ffi::OsString;

use super::result::Run;
use crate::error::Failure;
use crate::report::{RUN_SCHEMA, RunReport};

/// Where the numbers of a run come from.
#[derive(Clone, Copy)]
pub enum Reading {
    /// A [`RunReport`] on standard output.
    Report,
    /// `measure` lines on standard output.
    Lines,
}

/// The command line of a suite that this program measures itself.
pub fn own(suite: &str, arguments: Vec<String>) -> Result<Vec<OsString>, Failure> {
    let program = env::current_exe()
        .map_err(|error| Failure::new(format!("cannot find this program's own file: {error}; mount /proc")))?;
    let mut words = vec![program.into_os_string(), suite.into()];
    words.extend(arguments.into_iter().map(OsString::from));
    words.push("--json=-".into());
    Ok(words)
}

/// The run that a [`RunReport`] tells.
pub fn report(side: &str, stdout: &str) -> Result<Run, Failure> {
    let unreadable = |why: String| {
        Failure::new(format!(
            "side {side} printed no measurements: {why}; use one version of tacet-bench and a tacet that leaves standard output alone"
        ))
    };
    let report: RunReport = serde_json::from_str(stdout).map_err(|error| unreadable(error.to_string()))?;
    if report.schema != RUN_SCHEMA {
        return Err(unreadable(format!("its layout is {}", report.schema)));
    }
    Ok(Run {
        core: report.core,
        attribution: report.attribution,
        cores: report.cores,
        not_measured: report.not_measured,
        ..Run::of(report.measures)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_report_is_refused_in_one_line() {
        let failure = report("process", "hello\n").err().unwrap();
        assert!(failure.to_string().starts_with("side process printed no measurements"));
    }
}
