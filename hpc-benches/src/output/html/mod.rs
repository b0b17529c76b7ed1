//! A comparison as one page of HTML that needs nothing else: styles and drawings are in it, nothing is
//! fetched and nothing is executed. Its own policy forbids both, so that a page from a stranger can be
//! opened without trust.
//!
//! Every text goes through `maud`, which escapes; [`PreEscaped`] is for the style sheet alone.

mod against;
mod chart;
mod curves;
mod events;
mod machine;
mod ratios;
mod runs;
mod scale;
mod suite;
mod surroundings;
mod tables;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::compare::Comparison;
use crate::output::format;

const STYLE: &str = include_str!("style.css");

/// Content Security Policy, level 3: no script, nothing from elsewhere.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

/// The whole page.
pub fn page(comparison: &Comparison) -> String {
    let environment = &comparison.environment;
    let names: Vec<&str> = comparison.suites.iter().map(|suite| suite.suite.as_str()).collect();
    let title = format!("tacet-bench: {}, {}", names.join(", "), environment.date);
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                (head(comparison, &names))
                main {
                    @if environment.emulated { (emulated()) }
                    (machine::conditions(comparison))
                    @if let Some(changes) = &comparison.against { (against::section(changes)) }
                    @for suite in &comparison.suites { (suite::section(suite, environment.emulated)) }
                    (how_to_read(environment.emulated))
                    (machine::commands(comparison))
                }
                footer {
                    "Written by tacet-bench " (environment.version) ". This page is complete in itself: it fetches "
                    "nothing and runs no script."
                }
            }
        }
    }
    .into_string()
}

fn head(comparison: &Comparison, names: &[&str]) -> Markup {
    let mut sides: Vec<&str> = Vec::new();
    for command in comparison.suites.iter().flat_map(|suite| &suite.commands) {
        if !sides.contains(&command.side.as_str()) {
            sides.push(&command.side);
        }
    }
    html! {
        header {
            p class="quiet" { "tacet-bench compare · " (comparison.environment.date) }
            h1 { (names.join(", ")) ": " (sides.join(", ")) ", side by side" }
            p {
                "The same binary on every side, in turn, in one run: " (format::count(comparison.pairs, "pair")) ", core "
                (comparison.core) " where a suite needs one core."
            }
            (surroundings::without(&comparison.without_platforms))
            @for missing in &comparison.not_compared {
                p class="absent" { "Suite " (missing.suite) " was not compared: " (missing.reason) "." }
            }
            nav {
                @for name in names { a href={ "#suite-" (name) } { (name) } }
                @if comparison.against.is_some() { a href="#against" { "what changed" } }
                a href="#reading" { "how to read" }
                a href="#commands" { "command lines" }
            }
        }
    }
}

fn emulated() -> Markup {
    html! {
        p class="alarm" {
            strong { "Emulated: counts only." }
            " The processor of this machine is software. What takes how long here says nothing of any machine, so "
            "times, ratios and plots are left out."
        }
    }
}

/// A plot with its title, what it shows and which mark is which side.
fn figure(title: &str, caption: &str, legend: &Markup, drawing: &Markup) -> Markup {
    html! {
        figure {
            figcaption {
                h4 { (title) }
                p class="quiet" { (caption) }
            }
            (legend)
            (drawing)
        }
    }
}

fn how_to_read(emulated: bool) -> Markup {
    html! {
        section id="reading" {
            h2 { "How to read it" }
            @if emulated {
                p { "Events: how many a run saw. No conclusion is drawn from counts under emulation." }
            } @else {
                dl class="reading" {
                    dt { "median, p99" } dd { "Median over the runs of each run's own median and 99th percentile." }
                    dt { "max" } dd { "The largest sample of all runs." }
                    dt { "ratio" } dd { "Side / native: the median of the pairs' ratios, of medians (of detours/s where "
                        "samples are detours)." }
                    dt { "spread" } dd { "Largest minus smallest run, in percent of the median run." }
                    dt { "control" } dd { "Every native run against the native run before it: nothing was changed between "
                        "them, so the ratio should be 1. Its ± is the 90th percentile of their differences." }
                    dt { "better, worse" } dd { "At least five pairs, a median difference beyond the control's ±, and "
                        "pairs that agree on its direction (two-sided sign test, p ≤ 1/16)." }
                    dt { "no difference shown" } dd { "This machine, in this run, could not tell. It is not “equal”." }
                    dt { "no conclusion: control differs" } dd { "Native drifted against itself by more than the side "
                        "differs from native: the machine was not fit to conclude anything." }
                }
            }
            p { "Each benchmark, why it is there and its source: " code { "docs/benchmarks.md" } " of Tacet." }
        }
    }
}

#[cfg(test)]
#[path = "page_tests.rs"]
mod tests;
