//! What changed since an older comparison.

use maud::{Markup, html};

use super::chart::legend;
use super::tables::tone;
use crate::compare::changes::{Change, Changes};
use crate::output::{format, text_against};

/// The whole section.
pub fn section(changes: &Changes) -> Markup {
    html! {
        section id="against" {
            h2 { "What changed" }
            p {
                "Against the comparison of " (changes.date) " in " code { (changes.file) } ". The two were not taken in "
                "turn: a change is one when all runs now lie beyond all runs before, and the medians differ by more "
                "than either spread."
            }
            @if changes.differences.is_empty() {
                p { "Machine, programs and options are the same, as far as the record tells." }
            } @else {
                div class="alarm" {
                    strong { "Not the same as before; a change may come from there:" }
                    ul { @for difference in &changes.differences { li { (text_against::difference_line(difference)) } } }
                }
            }
            @if changes.changes.is_empty() { p { "Nothing can be compared." } } @else { (table(&changes.changes)) }
            @if !changes.not_comparable.is_empty() {
                ul class="absent" {
                    @for missing in &changes.not_comparable {
                        li {
                            "Not compared: " (missing.suite) ": " strong { (missing.measure) } " on " (missing.side) ": "
                            (missing.reason)
                        }
                    }
                }
            }
        }
    }
}

fn table(changes: &[Change]) -> Markup {
    let spread = |percent: Option<f64>| percent.map_or_else(|| "–".to_owned(), |percent| format!("{percent:.1} %"));
    html! {
        div class="wide" { table {
            thead { tr {
                th { "suite" } th { "measure" } th { "side" } th class="n" { "before" } th class="n" { "now" }
                th class="n" { "now / before" } th class="n" { "spread before" } th class="n" { "spread now" }
                th { "conclusion" }
            } }
            tbody { @for change in changes { tr {
                td { (change.suite) }
                th { (change.measure) }
                td { (legend(&[&change.side])) }
                td class="n" { (text_against::value(change, change.before)) }
                td class="n" { (text_against::value(change, change.now)) }
                td class="n" { strong { (format::ratio(change.ratio)) } }
                td class="n" { (spread(change.before_spread_percent)) }
                td class="n" { (spread(change.now_spread_percent)) }
                @let words = text_against::conclusion(change, changes);
                td { span class={ "chip " (tone(&words)) } { (words) } }
            } } }
        } }
    }
}
