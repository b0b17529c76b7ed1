//! The section of one suite: table, overview, plots, and what is missing with the reason.

use maud::{Markup, html};

use super::{curves, events, ratios, runs, surroundings, tables};
use crate::compare::result::{MeasureComparison, SuiteComparison};
use crate::report::Statistic;
use crate::stats::verdict::Verdict;

/// Everything about a suite.
pub fn section(suite: &SuiteComparison, emulated: bool) -> Markup {
    html! {
        section id={ "suite-" (suite.suite) } {
            h2 { "Suite " (suite.suite) }
            @for warning in &suite.warnings { p class="alarm" { strong { "Warning: " } (warning) } }
            (surroundings::load(suite))
            @if emulated {
                (tables::counts(suite))
                (tables::missing(suite))
                (surroundings::disturbers(suite))
            } @else {
                (summary(suite))
                (tables::headline(suite))
                (tables::missing(suite))
                (plots(suite))
                (surroundings::disturbers(suite))
                (tables::runs(suite))
            }
            (surroundings::without(&suite.without_platforms))
            (surroundings::tuning(suite))
        }
    }
}

/// How many measures ended how, side by side.
fn summary(suite: &SuiteComparison) -> Markup {
    let mut counts: Vec<(&str, [usize; 4])> = Vec::new();
    for side in suite.measures.iter().flat_map(|measure| &measure.sides) {
        let Some(effect) = side.effect else { continue };
        let column = match effect.verdict {
            Verdict::Better => 0,
            Verdict::Worse => 1,
            Verdict::NoDifferenceShown => 2,
            Verdict::ControlDiffers | Verdict::TooFewPairs => 3,
        };
        match counts.iter_mut().find(|(name, _)| *name == side.side) {
            Some((_, columns)) => columns[column] += 1,
            None => {
                let mut columns = [0; 4];
                columns[column] = 1;
                counts.push((&side.side, columns));
            }
        }
    }
    let words = ["better", "worse", "no difference shown", "no conclusion"];
    html! {
        @for (side, columns) in counts {
            p class="summary" {
                strong { (side) } " against native: "
                @for (count, word) in columns.iter().zip(words).filter(|(count, _)| **count > 0) {
                    span class={ "chip " (tables::tone(word)) } { (count) " " (word) }
                }
            }
        }
    }
}

fn plots(suite: &SuiteComparison) -> Markup {
    let watched: Vec<&MeasureComparison> = suite.measures.iter().filter(|m| counts_events(m) || has_trace(m)).collect();
    let scatters: Vec<Markup> = watched.iter().filter_map(|measure| events::scatter(measure)).collect();
    let cumulative: Vec<Markup> = suite.measures.iter().filter_map(events::cumulative).collect();
    let histograms: Vec<Markup> = suite.measures.iter().filter_map(events::histogram).collect();
    let curves = curves::plots(suite);
    let mut absent: Vec<(&str, String)> = Vec::new();
    if scatters.is_empty() {
        absent.push(("detours over time", why_no_scatter(&watched)));
    }
    if histograms.is_empty() {
        absent.push(("histograms", "no run told how its samples are distributed".to_owned()));
    }
    if cumulative.is_empty() {
        absent.push(("cumulative distribution", "no side has detours with all their lengths".to_owned()));
    }
    if curves.is_empty() {
        absent.push(("curves", "no measure of this suite was taken over a range, such as of sizes".to_owned()));
    }
    html! {
        @if let Some(overview) = ratios::plot(suite) { (overview) } @else {
            p class="absent" { "Not drawn: ratio to native: no side has both a value of its own and one of native." }
        }
        @for plot in scatters { (plot) }
        div class="pairs" { @for plot in histograms.into_iter().chain(cumulative).chain(curves) { (plot) } }
        @if let Some(grid) = runs::grid(suite) { (grid) } @else {
            p class="absent" { "Not drawn: every run: no side has a value." }
        }
        @if !absent.is_empty() {
            p class="absent" {
                "Not drawn: "
                @for (index, (what, why)) in absent.iter().enumerate() {
                    @if index > 0 { "; " }
                    (what) ": " (why)
                }
                "."
            }
        }
    }
}

fn counts_events(measure: &MeasureComparison) -> bool {
    measure.compared == Statistic::DetoursPerSecond
}

fn has_trace(measure: &MeasureComparison) -> bool {
    measure.sides.iter().any(|side| side.trace.is_some())
}

fn why_no_scatter(watched: &[&MeasureComparison]) -> String {
    let silent = |measure: &&&MeasureComparison| has_trace(measure);
    if watched.is_empty() {
        "this suite does not watch for detours".to_owned()
    } else if watched.iter().any(|measure| silent(&measure)) {
        "there was no detour on any side".to_owned()
    } else {
        "the runs told how many detours there were, not when each was".to_owned()
    }
}
