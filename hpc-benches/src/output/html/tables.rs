//! Tables of a suite.

use maud::{Markup, html};

use super::chart::legend;
use crate::compare::result::{MeasureComparison, SideValues, SuiteComparison};
use crate::output::{format, table};
use crate::report::Statistic;
use crate::stats::verdict::Better;

const DASH: &str = "–";

/// Medians, spread, ratio, conclusion: what the terminal shows, too.
pub fn headline(suite: &SuiteComparison) -> Markup {
    let has_rates = suite.measures.iter().any(|measure| measure.compared == Statistic::DetoursPerSecond);
    let has_tuned = suite.measures.iter().flat_map(|measure| &measure.sides).any(|side| side.against_tuned.is_some());
    let all = || suite.measures.iter().flat_map(|measure| &measure.sides).filter_map(|side| side.values.as_ref());
    let has_cycles = all().any(|values| values.cycles.is_some());
    let has_p99_9 = all().any(|values| values.p99_9.is_some());
    let columns = Columns { has_rates, has_tuned, has_cycles, has_p99_9 };
    html! {
        div class="wide" { table {
            thead { tr {
                th { "measure" } th { "side" } th class="n" { "median" }
                @if has_cycles { th class="n" { "cycles" } }
                th class="n" { "p99" }
                @if has_p99_9 { th class="n" { "p99.9" } }
                th class="n" { "max" }
                @if has_rates { th class="n" { "detours/s" } }
                th class="n" { "spread" } th class="n" { "ratio" } th class="n" { "control" } th { "conclusion" }
                @if has_tuned { th { "to native-tuned" } }
            } }
            @for measure in &suite.measures {
                tbody {
                    @for (index, side) in measure.sides.iter().enumerate() {
                        tr {
                            @if index == 0 {
                                th scope="rowgroup" rowspan=(measure.sides.len()) {
                                    (measure.name)
                                    @if measure.better == Better::Higher { br; span class="quiet" { "higher is better" } }
                                }
                            }
                            (values(measure, side, &columns))
                        }
                    }
                }
            }
        } }
    }
}

/// Columns that not every suite has.
struct Columns {
    has_rates: bool,
    has_tuned: bool,
    has_cycles: bool,
    has_p99_9: bool,
}

impl Columns {
    /// How many there are beside measure and side.
    fn count(&self) -> usize {
        let further = [self.has_rates, self.has_tuned, self.has_cycles, self.has_p99_9];
        7 + further.into_iter().filter(|is_there| *is_there).count()
    }
}

fn values(measure: &MeasureComparison, side: &SideValues, columns: &Columns) -> Markup {
    let Some(values) = &side.values else {
        return html! {
            td { (legend(&[&side.side])) }
            td class="quiet" colspan=(columns.count()) { "not measured: " (side.not_measured.as_deref().unwrap_or(DASH)) }
        };
    };
    let cell = |value: Option<f64>| value.map_or_else(|| DASH.to_owned(), |value| format::value(value, measure.unit));
    let percent = |value: Option<f64>| value.map_or_else(|| DASH.to_owned(), |value| format!("{value:.1} %"));
    html! {
        td { (legend(&[&side.side])) }
        td class="n" { (cell(values.median)) }
        @if columns.has_cycles { td class="n" { (values.cycles.map_or_else(String::new, format::digits)) } }
        td class="n" { (cell(values.p99)) }
        @if columns.has_p99_9 { td class="n" { (values.p99_9.map_or_else(String::new, |value| format::value(value, measure.unit))) } }
        td class="n" { (cell(values.max)) }
        @if columns.has_rates { td class="n" { (values.detours_per_second.map_or_else(String::new, format::digits)) } }
        td class="n" { (percent(values.spread_percent)) }
        @if let Some(effect) = &side.effect {
            td class="n" { strong { (format::ratio(effect.ratio)) } }
            td class="n quiet control" {
                (format::ratio(effect.control_ratio)) " " span class="n" { "±" (table::band(effect.control_band, measure.compared, measure.unit)) }
            }
            @let words = table::conclusion(effect.verdict);
            td { span class={ "chip " (tone(words)) } { (words) } }
        } @else {
            td {} td {} td {}
        }
        @if let Some(effect) = &side.against_tuned {
            @let words = table::conclusion(effect.verdict);
            td { strong { (format::ratio(effect.ratio)) } " " span class={ "chip " (tone(words)) } { (words) } }
        } @else if columns.has_tuned {
            td {}
        }
    }
}

/// The class that colours a conclusion.
pub fn tone(words: &str) -> &'static str {
    match words.split([' ', ';']).next() {
        Some("better") => "good",
        Some("worse") => "bad",
        _ => "neutral",
    }
}

/// How many events the runs of an emulated machine saw.
pub fn counts(suite: &SuiteComparison) -> Markup {
    html! {
        @if suite.measures.is_empty() {
            p { "Nothing of this suite is a count." }
        } @else {
            div class="wide" { table {
                thead { tr { th { "measure" } th { "side" } th { "events of each run" } th { "conclusion" } } }
                @for measure in &suite.measures {
                    tbody { @for side in &measure.sides { tr {
                        th { (measure.name) }
                        td { (legend(&[&side.side])) }
                        td { (counted(measure, side)) }
                        td { span class="chip neutral" { "counts only" } }
                    } } }
                }
            } }
        }
    }
}

fn counted(measure: &MeasureComparison, side: &SideValues) -> String {
    let Some(values) = &side.values else {
        return format!("not measured: {}", side.not_measured.as_deref().unwrap_or(DASH));
    };
    match (&values.events, values.median) {
        (Some(events), _) => events.iter().map(usize::to_string).collect::<Vec<_>>().join(", "),
        (None, Some(median)) => format::value(median, measure.unit),
        (None, None) => DASH.to_owned(),
    }
}

/// What no side has, with the reason.
pub fn missing(suite: &SuiteComparison) -> Markup {
    html! {
        @if !suite.not_measured.is_empty() {
            ul class="absent" {
                @for missing in &suite.not_measured {
                    li { "Not measured on any side: " strong { (missing.name) } ": " (missing.reason) }
                }
            }
        }
    }
}

/// Every value behind the plots, to be opened.
pub fn runs(suite: &SuiteComparison) -> Markup {
    html! {
        details {
            summary { "The value of every run, as numbers" }
            div class="wide" { table {
                thead { tr { th { "measure" } th { "side" } th { "runs, in order" } } }
                @for measure in &suite.measures {
                    tbody { @for side in &measure.sides {
                        @if let Some(values) = &side.values {
                            tr {
                                th { (measure.name) }
                                td { (legend(&[&side.side])) }
                                td class="series" { (series(measure, &values.runs)) }
                            }
                        }
                    } }
                }
            } }
        }
    }
}

fn series(measure: &MeasureComparison, runs: &[f64]) -> String {
    let value = |run: &f64| match measure.compared {
        Statistic::Median => format::value(*run, measure.unit),
        Statistic::DetoursPerSecond => format!("{} /s", format::digits(*run)),
    };
    runs.iter().map(value).collect::<Vec<_>>().join(" · ")
}
