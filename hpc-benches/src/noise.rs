//! `tacet-bench noise`: the suite in the environment that it is started in, with its traces and its bar.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::cli;
use crate::emulated;
use crate::error::Failure;
use crate::machine::host;
use crate::output::Output;
use crate::output::bar::Bar;
use crate::output::destination::Destination;
use crate::suites::noise::trace;
use crate::suites::noise::{self, Findings};

/// What a run takes besides its measurements.
const PREPARATION: Duration = Duration::from_millis(200);

/// Measures and writes what was found. What can't be written is told before minutes of measuring.
pub fn measure(options: &cli::Noise) -> Result<(), Failure> {
    let settings = &options.settings;
    settings.check()?;
    if options.trace.is_some() {
        emulated::refuse("a trace of detours (--trace)")?;
    }
    let cores = noise::cores(settings, options.core)?;
    let output = Output::open(options.json.as_deref())?;
    let traces = open_traces(options.trace.as_deref(), settings.all_cores, &cores)?;
    let bar = bar(settings.seconds, &cores);
    let findings = noise::run(settings, &cores, &options.label);
    drop(bar);
    let Findings { report, traces: found } = findings?;
    for (file, trace) in traces.into_iter().zip(&found) {
        file.write(&trace.json()?)?;
    }
    output.write(&report)
}

/// The bar is drawn by a core that is not measured; without one there is a line at the start.
fn bar(seconds: f64, measured: &[usize]) -> Bar {
    let allowed = host::allowed_cores().unwrap_or_default();
    let spare: Vec<usize> = allowed.into_iter().filter(|core| !measured.contains(core)).collect();
    let expected = Duration::from_secs_f64(seconds) + PREPARATION;
    let bar = Bar::start(spare, "noise".to_owned(), Instant::now(), expected);
    bar.show();
    bar
}

/// One file per core.
fn open_traces(path: Option<&Path>, is_each_by_itself: bool, cores: &[usize]) -> Result<Vec<Destination>, Failure> {
    let open = |path: &Path| Destination::file(path, "--trace");
    match path {
        None => Ok(Vec::new()),
        Some(path) if is_each_by_itself => cores.iter().map(|&core| open(&trace::file_of_core(path, core))).collect(),
        Some(path) => Ok(vec![open(path)?]),
    }
}
