//! `tacet-bench scale`: what noise that was measured on one core would cost a job of many ranks.
//!
//! ```text
//! text, plot, html            what the user gets
//! check, closed_form          the simulation against theory
//! simulate, collective        the bulk-synchronous loop
//! precision                   when a point is known well enough
//! ranks                       all ranks of a job, step by step
//! replay, trace, network      a rank's noise, its source, and the messages between ranks
//! ```
//!
//! The method is that of T. Hoefler, T. Schneider, A. Lumsdaine, *Characterizing the Influence of System Noise
//! on Large-Scale Applications by Simulation*, SC 2010.

mod check;
mod closed_form;
mod collective;
mod html;
mod network;
mod plot;
mod precision;
mod random;
mod ranks;
mod replay;
mod result;
mod settings;
mod simulate;
mod text;
mod trace;

use std::env;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use self::precision::Precision;
use self::replay::Noise;
use self::result::{Point, SCALE_SCHEMA, Scaled, Slowdown, TraceRecord};
pub use self::settings::Settings;
use self::simulate::Loop;
use self::trace::Trace;
use crate::emulated;
use crate::error::Failure;
use crate::machine::date;
use crate::output::Output;
use crate::output::bar::Bar;
use crate::output::destination::Destination;
use crate::quantity;

/// Iterations before those that count, in which ranks that start in step get out of it.
const SETTLE: usize = 2;

/// Simulates, or checks, and writes what was found.
pub fn run(settings: &Settings) -> Result<(), Failure> {
    emulated::refuse("what noise would cost at scale")?;
    let output = Output::open(settings.json.as_deref())?;
    if settings.check {
        let (ranks, phases) = settings.of_check();
        let check = check::run(&ranks, phases, settings.seed)?;
        output.write(&check)?;
        return check.verdict();
    }
    let traces = settings.traces.iter().map(|path| Trace::read(path)).collect::<Result<Vec<_>, _>>()?;
    let file = |path: &Option<PathBuf>, option| path.as_deref().map(|path| Destination::file(path, option)).transpose();
    let (svg, html) = (file(&settings.svg, "--svg")?, file(&settings.html, "--html")?);
    let scaled = simulate(settings, &traces)?;
    if let Some(svg) = svg {
        svg.write(&plot::svg(&scaled))?;
    }
    if let Some(html) = html {
        html.write(&html::page(&scaled))?;
    }
    output.write(&scaled)
}

fn simulate(settings: &Settings, traces: &[Trace]) -> Result<Scaled, Failure> {
    let bytes = settings.bytes()?;
    let loops = settings.loops(bytes);
    let iterations = settings.iterations();
    let records = TraceRecord::of(traces);
    let (number, begin) = (loops.len() * traces.len(), Instant::now());
    let mut points = Vec::new();
    for (index, (trace, record)) in traces.iter().zip(&records).enumerate() {
        let noise = Noise::of(trace);
        for (plan, ideal) in &loops {
            let granularity = quantity::show_duration(plan.granularity);
            let what = format!("{}, {granularity}, {} ranks", record.label, plan.ranks);
            let label = format!("scale: point {} of {number}, {what}", points.len() + 1);
            let bar = Bar::start(Vec::new(), label, begin, Duration::ZERO);
            bar.show();
            let precision = Precision { most: iterations, percent: settings.precision, ideal: *ideal };
            let times = plan.iterations(&noise, settings.seed, SETTLE, |times| precision.is_reached(times));
            points.extend(point(index, trace, plan, *ideal, &times));
        }
    }
    Ok(Scaled {
        schema: SCALE_SCHEMA,
        date: date::now(),
        version: env!("CARGO_PKG_VERSION"),
        command_line: env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect(),
        collective: settings.collective,
        bytes,
        network: settings.network,
        iterations,
        precision_percent: settings.precision,
        seed: settings.seed,
        traces: records,
        points,
    })
}

fn point(index: usize, trace: &Trace, plan: &Loop, ideal: f64, times: &[f64]) -> Option<Point> {
    let slowdown = Slowdown::of(times, ideal)?;
    Some(Point {
        trace: index,
        granularity_ns: plan.granularity,
        ranks: plan.ranks,
        ideal_ns: ideal,
        iterations: times.len(),
        slowdown,
        whole_trace: !trace.detours.is_empty() && plan.ranks as f64 * slowdown.mean * ideal > trace.period(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parsed;

    fn settings(arguments: &[&str]) -> Settings {
        parsed::settings(arguments)
    }

    #[test]
    fn a_silent_trace_costs_nothing_and_a_noisy_one_does() {
        let settings = settings(&["t", "--ranks", "100,1000", "--granularity", "1ms", "--iterations", "20"]);
        let trace = |detours: Vec<[f64; 2]>| Trace {
            file: "t".to_owned(),
            side: "native".to_owned(),
            core: 1,
            seconds: 0.1,
            threshold_ns: 500.0,
            detours,
        };
        let noisy = (0..25).map(|i| [f64::from(i) * 4e6, 50_000.0]).collect();
        let scaled = simulate(&settings, &[trace(Vec::new()), trace(noisy)]).unwrap();
        let [silent_100, silent_1000, noisy_100, noisy_1000] = &scaled.points[..] else {
            panic!("{} points", scaled.points.len());
        };
        for silent in [silent_100, silent_1000] {
            assert!((silent.slowdown.max - 1.0).abs() < 1e-9 && !silent.whole_trace);
        }
        // A detour of 50 µs every 4 ms: some of 100 ranks always has one in its millisecond.
        for noisy in [noisy_100, noisy_1000] {
            let least = 1.0 + 50_000.0 / noisy.ideal_ns;
            assert!(noisy.slowdown.median >= least - 1e-9, "{:?}", noisy.slowdown);
        }
        assert!(noisy_1000.whole_trace && noisy_100.whole_trace);
    }
}
