//! What was around the runs of a suite: what tuning applied, what load there was, who disturbed the cores.

use comfy_table::Table;
use maud::{Markup, html};

use crate::compare::result::{SuiteComparison, WithoutPlatform};
use crate::output::{disturbers, several_cores};
use crate::tuning::report::{Outcome, Tuning};

/// What the side `native-tuned` ran on, or why there is none.
pub fn tuning(suite: &SuiteComparison) -> Markup {
    html! {
        @match (&suite.tuning, &suite.without_tuned) {
            (Some(tuning), _) => { (items(tuning)) }
            (None, Some(why)) => { p class="absent" { "Without side native-tuned: " (why) "." } }
            (None, None) => {}
        }
    }
}

/// Platforms that are no side, and why.
pub fn without(platforms: &[WithoutPlatform]) -> Markup {
    html! {
        @for without in platforms {
            p class="absent" { "Without side " (without.platform) ": " (without.why) "." }
        }
    }
}

fn items(tuning: &Tuning) -> Markup {
    let applied = tuning.items.iter().filter(|item| item.outcome == Outcome::Applied).count();
    html! {
        details open {
            summary {
                "What tuning applied for native-tuned: " (applied) " of " (tuning.items.len()) " items, on "
                (tuning.measured) @if !tuning.isolated.is_empty() { ", with " (tuning.isolated) " kept free" }
                ", put back after each run"
            }
            div class="wide" { table {
                thead { tr { th { "outcome" } th { "item" } th { "what" } } }
                tbody { @for item in &tuning.items { tr {
                    td { span class={ "chip " (tone(item.outcome)) } { (item.outcome.words()) } }
                    th { (item.name) }
                    td { (item.detail) }
                } } }
            } }
        }
    }
}

fn tone(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Applied | Outcome::AlreadySo => "good",
        Outcome::NotPossible => "neutral",
    }
}

/// The load on the other cores.
pub fn load(suite: &SuiteComparison) -> Markup {
    html! { @if let Some(load) = &suite.load { p { (several_cores::load(load).trim()) } } }
}

/// Who disturbed the measured core, side by side.
pub fn disturbers(suite: &SuiteComparison) -> Markup {
    let sides: Vec<_> = suite.attribution.iter().map(|side| (side.side.as_str(), side.found.as_ref())).collect();
    html! {
        @if sides.iter().any(|(_, found)| found.is_some()) {
            h4 { "Who disturbed the core" }
            p class="quiet" { (disturbers::explanation(sides.iter().filter_map(|(_, found)| *found))) }
            (drawn(&disturbers::table(&sides)))
        }
    }
}

/// A table of the terminal as one of the page.
fn drawn(table: &Table) -> Markup {
    let header: Vec<String> = table.header().into_iter().flat_map(|row| row.cell_iter()).map(|c| c.content()).collect();
    html! {
        div class="wide" { table {
            thead { tr { @for (index, cell) in header.iter().enumerate() { th class=[number(index)] { (cell) } } } }
            tbody { @for row in table.row_iter() { tr {
                @for (index, cell) in row.cell_iter().enumerate() { td class=[number(index)] { (cell.content()) } }
            } } }
        } }
    }
}

/// The first two columns are names.
fn number(column: usize) -> Option<&'static str> {
    (column > 1).then_some("n")
}
