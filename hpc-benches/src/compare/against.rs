//! What changed since an older comparison.
//!
//! Two comparisons were taken at different times, perhaps on different machines, and nothing was taken
//! in turn. So a change is called one only when it lies beyond the spread of both:
//!
//! 1. both comparisons have at least [`FEWEST_RUNS`] runs of the side,
//! 2. every run of one is beyond every run of the other. For five and six runs from the same
//!    distribution this happens in 2 of 462 cases (the most extreme rank sum of H. B. Mann and
//!    D. R. Whitney, *On a Test of Whether one of Two Random Variables is Stochastically Larger than
//!    the Other*, Annals of Mathematical Statistics 18, 1947), and
//! 3. the medians differ by more than the larger of the two spreads (largest minus smallest run).
//!
//! What differs between the machines is named beside it.

use std::path::{Path, PathBuf};

use super::changes::{Change, Changes, Conclusion, Difference, NotComparable};
use super::result::Comparison;
use super::snapshot::{Command, Measure, Side, Snapshot, Suite};
use crate::emulated::EMULATED;
use crate::error::Failure;
use crate::machine::record::Environment;
use crate::stats::summary::{median, spread_percent};
use crate::stats::verdict::{Better, FEWEST_PAIRS};

/// With fewer runs on either side nothing is concluded.
pub const FEWEST_RUNS: usize = FEWEST_PAIRS;

/// An older comparison, read from its file.
pub struct Older {
    file: PathBuf,
    comparison: Snapshot,
}

impl Older {
    /// Reads what `compare --json` wrote to `file`.
    pub fn read(file: &Path) -> Result<Self, Failure> {
        Ok(Self { file: file.to_owned(), comparison: Snapshot::read(file)? })
    }

    /// What is other in `now`.
    pub fn changes(&self, now: &Comparison) -> Result<Changes, Failure> {
        let now = Snapshot::of(now).map_err(|error| {
            Failure::new(format!(
                "cannot tell changes from the results: {error}; this is an error of tacet-bench, please report it"
            ))
        })?;
        Ok(self.changes_to(&now))
    }

    fn changes_to(&self, now: &Snapshot) -> Changes {
        let mut changes = Vec::new();
        let mut not_comparable = Vec::new();
        for (place, before, now) in pairs(&self.comparison, now) {
            match change(&place, before, now) {
                Ok(change) => changes.push(change),
                Err(reason) => not_comparable.push(place.without(reason)),
            }
        }
        Changes {
            file: self.file.display().to_string(),
            date: self.comparison.environment.date.clone(),
            differences: differences(&self.comparison, now),
            changes,
            not_comparable,
        }
    }
}

/// Where a value stands.
#[derive(Clone, PartialEq, Eq)]
struct Place<'a> {
    suite: &'a str,
    measure: &'a str,
    side: &'a str,
}

type At<'a> = (&'a Measure, &'a Side);

impl Place<'_> {
    fn without(&self, reason: String) -> NotComparable {
        let [suite, measure, side] = [self.suite, self.measure, self.side].map(str::to_owned);
        NotComparable { suite, measure, side, reason }
    }
}

fn places(comparison: &Snapshot) -> Vec<(Place<'_>, At<'_>)> {
    let of_suites = comparison.suites.iter().flat_map(|suite| suite.measures.iter().map(move |m| (suite, m)));
    of_suites
        .flat_map(|(suite, measure)| {
            measure.sides.iter().map(move |side| {
                let place = Place { suite: &suite.name, measure: &measure.name, side: &side.side };
                (place, (measure, side))
            })
        })
        .collect()
}

/// All places of `now`, then those of `before` that are gone from the suites that both ran.
fn pairs<'a>(before: &'a Snapshot, now: &'a Snapshot) -> Vec<(Place<'a>, Option<At<'a>>, Option<At<'a>>)> {
    let (old, new) = (places(before), places(now));
    let find = |list: &[(Place<'a>, At<'a>)], place: &Place| {
        list.iter().find(|(candidate, _)| candidate == place).map(|(_, at)| *at)
    };
    let mut pairs: Vec<_> = new.iter().map(|(place, at)| (place.clone(), find(&old, place), Some(*at))).collect();
    let ran_again = |place: &Place| now.suites.iter().any(|suite| suite.name == place.suite);
    let gone = old.iter().filter(|(place, _)| ran_again(place) && find(&new, place).is_none());
    pairs.extend(gone.map(|(place, at)| (place.clone(), Some(*at), None)));
    pairs
}

fn change(place: &Place, before: Option<At>, now: Option<At>) -> Result<Change, String> {
    let (old_measure, old_side) = before.ok_or("not in the older comparison")?;
    let (measure, side) = now.ok_or("only in the older comparison")?;
    if (old_measure.unit, old_measure.compared) != (measure.unit, measure.compared) {
        return Err("measured in another unit or compared by another statistic before".to_owned());
    }
    let (old_runs, runs) = (runs(old_side, "before")?, runs(side, "now")?);
    let middle = |runs: &[f64]| median(runs.to_vec()).ok_or("there are no runs");
    let (before, now) = (middle(old_runs)?, middle(runs)?);
    Ok(Change {
        suite: place.suite.to_owned(),
        measure: place.measure.to_owned(),
        side: place.side.to_owned(),
        unit: measure.unit,
        compared: measure.compared,
        before,
        now,
        ratio: (before != 0.0).then(|| now / before),
        before_spread_percent: spread_percent(old_runs),
        now_spread_percent: spread_percent(runs),
        conclusion: conclude(old_runs, runs, now - before, measure.better),
    })
}

/// The compared values of a side's runs, or why there are none.
fn runs<'a>(side: &'a Side, when: &str) -> Result<&'a [f64], String> {
    match &side.values {
        Some(values) if values.runs.is_empty() => Err(format!("{when}: {EMULATED}")),
        Some(values) => Ok(&values.runs),
        None => Err(format!("not measured {when}: {}", side.not_measured.as_deref().unwrap_or("no reason given"))),
    }
}

fn conclude(before: &[f64], now: &[f64], difference: f64, better: Better) -> Conclusion {
    if before.len().min(now.len()) < FEWEST_RUNS {
        return Conclusion::TooFewRuns;
    }
    let (old_low, old_high) = range(before);
    let (low, high) = range(now);
    let is_apart = low > old_high || high < old_low;
    let spread = (old_high - old_low).max(high - low);
    if !is_apart || difference.abs() <= spread {
        return Conclusion::NoChangeShown;
    }
    match (difference < 0.0, better) {
        (true, Better::Lower) | (false, Better::Higher) => Conclusion::Better,
        (false, Better::Lower) | (true, Better::Higher) => Conclusion::Worse,
    }
}

fn range(values: &[f64]) -> (f64, f64) {
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    (low, high)
}

fn differences(before: &Snapshot, now: &Snapshot) -> Vec<Difference> {
    let (old_machine, machine) = (facts(&before.environment), facts(&now.environment));
    let mut all: Vec<(String, Option<String>, Option<String>)> =
        old_machine.into_iter().zip(machine).map(|((what, old), (_, new))| (what.to_owned(), old, new)).collect();
    all.push(("tacet".to_owned(), before.tacet_version.clone(), now.tacet_version.clone()));
    all.push(("core".to_owned(), Some(before.core.to_string()), Some(now.core.to_string())));
    for suite in &now.suites {
        let old = before.suites.iter().find(|candidate| candidate.name == suite.name);
        all.extend(old.into_iter().flat_map(|old| different_options(old, suite)));
    }
    all.into_iter()
        .filter(|(_, before, now)| before != now)
        .map(|(what, before, now)| Difference { what, before, now })
        .collect()
}

/// The options of each command of a suite, before and now; sides that only one has are told elsewhere.
fn different_options(before: &Suite, now: &Suite) -> Vec<(String, Option<String>, Option<String>)> {
    let of_side = |suite: &Suite, side: &str| -> Option<String> {
        let commands: Vec<&Command> = suite.commands.iter().filter(|command| command.side == side).collect();
        let all: Vec<String> = commands.iter().map(|command| options(&command.command)).collect();
        (!all.is_empty()).then(|| all.join("; "))
    };
    let mut sides: Vec<&str> = now.commands.iter().map(|command| command.side.as_str()).collect();
    sides.dedup();
    sides
        .into_iter()
        .filter_map(|side| {
            let (before, after) = (of_side(before, side)?, of_side(now, side)?);
            Some((format!("options of {}, {side}", now.name), Some(before), Some(after)))
        })
        .collect()
}

/// What makes two machines comparable.
fn facts(environment: &Environment) -> [(&'static str, Option<String>); 7] {
    let is = |value: bool| Some(if value { "yes" } else { "no" }.to_owned());
    [
        ("CPU", environment.cpu_model.clone()),
        ("virtual machine", environment.virtual_machine.and_then(is)),
        ("emulated", is(environment.emulated)),
        ("kernel", environment.kernel.clone()),
        ("clock source", environment.clock_source.clone()),
        ("governor", environment.governor.clone()),
        ("tacet-bench", Some(environment.version.clone())),
    ]
}

/// A command without the places of its programs: one that is compiled has another each time.
fn options(command: &[String]) -> String {
    let is_kept = |word: &&String| !word.starts_with('/');
    command.iter().filter(is_kept).cloned().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
#[path = "against_tests.rs"]
mod tests;
