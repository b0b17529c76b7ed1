//! From runs to a comparison. Pure: takes what the runs said, gives what the report says.

use super::result::{MeasureComparison, SideAttribution, SideCommand, SideRuns, SideValues, SuiteComparison, Values};
use super::side::{NATIVE, TUNED};
use super::{cores, distribution};
use crate::attribution::Attribution;
use crate::report::{Measure, NotMeasured};
use crate::stats::summary::{Summary, median, spread_percent};
use crate::stats::verdict::{self, Better, Effect};

/// Puts the sides of a suite together. Side 0 is native and has one run more than the cells; so has the tuned one.
pub fn assemble(suite: &str, sides: Vec<SideRuns>) -> SuiteComparison {
    let measures = kinds(&sides).into_iter().map(|kind| compare_measure(kind, &sides)).collect();
    let not_measured = missing_everywhere(&sides);
    let warnings = sides.iter().filter_map(strayed).collect();
    let attribution = attributions(&sides);
    let cores = cores::by_core(&sides);
    let commands = sides
        .into_iter()
        .flat_map(|side| {
            let name = side.name;
            side.commands.into_iter().map(move |command| SideCommand { side: name.clone(), command })
        })
        .collect();
    let suite = suite.to_owned();
    SuiteComparison {
        suite,
        commands,
        order: Vec::new(),
        measures,
        not_measured,
        warnings,
        attribution,
        cores,
        load: None,
        tuning: None,
        without_tuned: None,
        without_platforms: Vec::new(),
    }
}

/// One entry per side; none when no side tells.
fn attributions(sides: &[SideRuns]) -> Vec<SideAttribution> {
    let of_side = |side: &SideRuns| {
        let runs: Option<Vec<&Attribution>> = side.runs.iter().map(|run| run.attribution.as_ref()).collect();
        SideAttribution { side: side.name.clone(), found: Attribution::together(runs.into_iter().flatten()) }
    };
    let sides: Vec<SideAttribution> = sides.iter().map(of_side).collect();
    if sides.iter().any(|side| side.found.is_some()) { sides } else { Vec::new() }
}

/// One specimen per measure that any side has. A measure that native lacks goes where the side
/// that has it put it: after the measure before it.
fn kinds(sides: &[SideRuns]) -> Vec<&Measure> {
    let mut kinds: Vec<&Measure> = Vec::new();
    for run in sides.iter().flat_map(|side| &side.runs) {
        let mut place = 0;
        for measure in &run.measures {
            match kinds.iter().position(|kind| kind.name == measure.name) {
                Some(known) => place = known + 1,
                None => {
                    kinds.insert(place, measure);
                    place += 1;
                }
            }
        }
    }
    kinds
}

/// Measures that some run should have taken and that no run of any side has.
fn missing_everywhere(sides: &[SideRuns]) -> Vec<NotMeasured> {
    let runs = || sides.iter().flat_map(|side| &side.runs);
    let mut missing: Vec<NotMeasured> = Vec::new();
    for candidate in runs().flat_map(|run| &run.not_measured) {
        let measured = runs().any(|run| run.measure(&candidate.name).is_some());
        let listed = missing.iter().any(|known| known.name == candidate.name);
        if !measured && !listed {
            missing.push(candidate.clone());
        }
    }
    missing
}

fn compare_measure(kind: &Measure, sides: &[SideRuns]) -> MeasureComparison {
    let native = sides.first().and_then(|side| values(side, &kind.name));
    let tuned = sides.iter().find(|side| side.name == TUNED).and_then(|side| values(side, &kind.name));
    let sides = sides
        .iter()
        .map(|side| {
            let values = values(side, &kind.name);
            let effect = match (&native, &values) {
                (Some(native), Some(values)) if side.name != NATIVE => against(native, values, kind.better),
                _ => None,
            };
            let against_tuned = match (&tuned, &values) {
                (Some(tuned), Some(values)) if side.name != NATIVE && side.name != TUNED => {
                    against(tuned, values, kind.better)
                }
                _ => None,
            };
            let measures = measures(side, &kind.name).unwrap_or_default();
            SideValues {
                side: side.name.clone(),
                not_measured: values.is_none().then(|| why_not(side, &kind.name)),
                values,
                effect,
                trace: distribution::trace(&measures),
                histogram: distribution::histogram(&measures),
                cumulative: distribution::cumulative(&measures),
                against_tuned,
            }
        })
        .collect();
    MeasureComparison {
        name: kind.name.clone(),
        unit: kind.unit,
        better: kind.better,
        compared: kind.compared,
        curve: kind.curve.clone(),
        sides,
    }
}

/// A side against the runs around its own. The tuned side's last run closes its own control and has no pair.
fn against(baseline: &Values, side: &Values, better: Better) -> Option<Effect> {
    let pairs = side.runs.len().min(baseline.runs.len().saturating_sub(1));
    verdict::compare(&baseline.runs, &side.runs[..pairs], better)
}

/// The measure in each run of a side; none unless every run has it.
fn measures<'a>(side: &'a SideRuns, name: &str) -> Option<Vec<&'a Measure>> {
    side.runs.iter().map(|run| run.measure(name)).collect()
}

/// The measure on one side; none unless every run has a value, or at least a count.
fn values(side: &SideRuns, name: &str) -> Option<Values> {
    let measures = measures(side, name)?;
    let events: Option<Vec<usize>> = measures.iter().map(|measure| measure.event_count()).collect();
    let runs: Option<Vec<f64>> = measures.iter().map(|measure| measure.compared_value()).collect();
    if runs.is_none() && events.is_none() {
        return None;
    }
    let runs = runs.unwrap_or_default();
    let summaries = summaries_of(&measures);
    Some(Values {
        median: median(summaries.iter().map(|summary| summary.median).collect()),
        p99: median(summaries.iter().map(|summary| summary.p99).collect()),
        p99_9: summaries.iter().map(|summary| summary.p99_9).collect::<Option<_>>().and_then(median),
        max: summaries.iter().map(|summary| summary.max).reduce(f64::max),
        cycles: median(measures.iter().filter_map(|measure| measure.cycles).map(|cycles| cycles.median).collect()),
        detours_per_second: median(measures.iter().filter_map(|measure| measure.detours_per_second).collect()),
        spread_percent: spread_percent(&runs),
        runs,
        events,
    })
}

/// The summaries of the runs. Runs of one sample each are the samples of a single summary.
fn summaries_of(measures: &[&Measure]) -> Vec<Summary> {
    let summaries: Vec<Summary> = measures.iter().filter_map(|measure| measure.summary).collect();
    if summaries.iter().any(|summary| summary.count > 1) {
        return summaries;
    }
    Summary::of(summaries.iter().map(|summary| summary.median).collect()).into_iter().collect()
}

fn why_not(side: &SideRuns, name: &str) -> String {
    side.runs
        .iter()
        .flat_map(|run| &run.not_measured)
        .find(|missing| missing.name == name)
        .map_or_else(|| "not every run of this side gave a value".to_owned(), |missing| missing.reason.clone())
}

/// A warning when a side ran elsewhere than it should have.
fn strayed(side: &SideRuns) -> Option<String> {
    let wanted = side.pinned_core?;
    let elsewhere = side.runs.iter().filter_map(|run| run.core).find(|&core| core != wanted)?;
    let name = &side.name;
    Some(format!("side {name} ran on core {elsewhere}, not on core {wanted}: its numbers are another core's"))
}

#[cfg(test)]
#[path = "assemble_tests.rs"]
mod tests;
