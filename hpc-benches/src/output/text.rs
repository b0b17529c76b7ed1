//! Reports as text. The table comes last, so that it is what a reader ends on.

use comfy_table::{
    Cell, CellAlignment, ColumnConstraint, ContentArrangement, ContentLineStyle, LineStyle, Table, TableStyle,
};

use super::format;
use crate::compare::Comparison;
use crate::compare::result::{MeasureComparison, SideValues, SuiteComparison, Values};
use crate::machine::record::Environment;
use crate::report::{Measure, RunReport, Statistic, Unit};
use crate::stats::summary::Summary;
use crate::stats::verdict::{Effect, Verdict};

const NOT_MEASURED: &str = "not measured";
const NONE: &str = "-";
const DETOURS_PER_SECOND: &str = "detours/s";

const HOW_TO_READ: &str = "\
median, p99: medians of the runs' own; max: of all runs. ratio: to native, median of the pairs, of
the medians (of detours/s for detours). spread: largest to smallest run. control: each native run
against the native run before it, with the variation that a difference must exceed to be shown.
";

/// A rule below the header and nothing else.
const RULED: TableStyle = TableStyle::new()
    .header_lines(ContentLineStyle::none())
    .header_separator(LineStyle::none().fill('─').junction('─'))
    .content_lines(ContentLineStyle::none());

/// A report that can be printed for people.
pub trait Text {
    /// The whole text, with a newline at its end.
    fn text(&self) -> String;
}

impl Text for RunReport {
    fn text(&self) -> String {
        let mut table = new_table(&["measure", "median", "p99", "max", DETOURS_PER_SECOND], 1);
        for measure in &self.measures {
            table.add_row(run_row(measure));
        }
        for missing in &self.not_measured {
            table.add_row([&missing.name, NOT_MEASURED]);
        }
        let has_rates = self.measures.iter().any(|measure| measure.detours_per_second.is_some());
        hide_unless(has_rates, &mut table, DETOURS_PER_SECOND);
        let reasons: String = self
            .not_measured
            .iter()
            .map(|missing| format!("not measured: {}: {}\n", missing.name, missing.reason))
            .collect();
        let core = self.core.map_or_else(unknown, |core| core.to_string());
        let machine = machine(&self.environment);
        format!("{machine}core:    {core}\n{reasons}\n{}\n", table.trim_fmt())
    }
}

impl Text for Comparison {
    fn text(&self) -> String {
        let machine = machine(&self.environment);
        let (core, pairs) = (self.core, self.pairs);
        let suites: String = self.suites.iter().map(suite_text).collect();
        format!("{machine}core:    {core}; {pairs} pairs, taken in turn\n\n{HOW_TO_READ}{suites}")
    }
}

fn suite_text(suite: &SuiteComparison) -> String {
    let mut notes = String::new();
    for side in &suite.commands {
        notes += &format!("{}: {}\n", side.side, side.command.join(" "));
    }
    for warning in &suite.warnings {
        notes += &format!("warning: {warning}\n");
    }
    for measure in &suite.measures {
        notes += &missing_notes(measure);
    }
    for missing in &suite.not_measured {
        notes += &format!("not measured: {} on any side: {}\n", missing.name, missing.reason);
    }
    format!("\n{}\n{notes}\n{}\n", suite.suite, suite_table(suite).trim_fmt())
}

fn missing_notes(measure: &MeasureComparison) -> String {
    let missing = |side: &SideValues| {
        let reason = side.not_measured.as_deref()?;
        Some(format!("not measured: {} on {}: {reason}\n", measure.name, side.side))
    };
    measure.sides.iter().filter_map(missing).collect()
}

fn suite_table(suite: &SuiteComparison) -> Table {
    let header = ["measure", "side", "median", "p99", "max", DETOURS_PER_SECOND, "ratio", "spread", "conclusion"];
    let mut table = new_table(&header, 2);
    for measure in &suite.measures {
        for (index, side) in measure.sides.iter().enumerate() {
            let name = if index == 0 { &measure.name } else { "" };
            table.add_row(side_row(name, measure.unit, side));
            if let (0, Some(effect)) = (index, first_effect(measure)) {
                table.add_row(control_row(measure, &effect));
            }
        }
    }
    for missing in &suite.not_measured {
        table.add_row([missing.name.as_str(), "all", NOT_MEASURED]);
    }
    let has_rates = suite.measures.iter().any(|measure| measure.compared == Statistic::DetoursPerSecond);
    hide_unless(has_rates, &mut table, DETOURS_PER_SECOND);
    table
}

/// Leaves a column out that would be empty.
fn hide_unless(shown: bool, table: &mut Table, header: &str) {
    let is_it = |cell: &Cell| cell.content() == header;
    let index = table.header().and_then(|row| row.cell_iter().position(is_it));
    if let (false, Some(column)) = (shown, index.and_then(|index| table.column_mut(index))) {
        column.set_constraint(ColumnConstraint::Hidden);
    }
}

/// The control is native's alone: the same beside every side.
fn first_effect(measure: &MeasureComparison) -> Option<Effect> {
    measure.sides.iter().find_map(|side| side.effect)
}

fn side_row(name: &str, unit: Unit, side: &SideValues) -> Vec<String> {
    let mut row = vec![name.to_owned(), side.side.clone()];
    let Some(values) = &side.values else {
        row.push(NOT_MEASURED.to_owned());
        return row;
    };
    row.extend(value_cells(values, unit));
    row.push(side.effect.map_or_else(String::new, |effect| format::ratio(effect.ratio)));
    row.push(values.spread_percent.map_or_else(dash, |percent| format!("{percent:.1} %")));
    row.push(side.effect.map_or_else(String::new, |effect| conclusion(effect.verdict).to_owned()));
    row
}

fn value_cells(values: &Values, unit: Unit) -> [String; 4] {
    let cell = |value: Option<f64>| value.map_or_else(dash, |value| format::value(value, unit));
    let rate = values.detours_per_second;
    [cell(values.median), cell(values.p99), cell(values.max), rate.map_or_else(String::new, format::digits)]
}

fn control_row(measure: &MeasureComparison, effect: &Effect) -> Vec<String> {
    let band = match measure.compared {
        Statistic::Median => format::value(effect.control_band, measure.unit),
        Statistic::DetoursPerSecond => format!("{} /s", format::digits(effect.control_band)),
    };
    let mut row = vec![String::new(), "  control".to_owned()];
    row.extend(vec![String::new(); 4]);
    row.push(format::ratio(effect.control_ratio));
    row.push(format!("±{band}"));
    row
}

fn conclusion(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Better => "better",
        Verdict::Worse => "worse",
        Verdict::NoDifferenceShown => "no difference shown",
        Verdict::TooFewPairs => "too few pairs",
    }
}

fn run_row(measure: &Measure) -> Vec<String> {
    let summary = measure.summary;
    let cell = |value: Option<f64>| value.map_or_else(dash, |value| format::value(value, measure.unit));
    let several = |statistic: fn(&Summary) -> f64| match &measure.summary {
        Some(single) if single.count == 1 => String::new(),
        summary => cell(summary.as_ref().map(statistic)),
    };
    vec![
        measure.name.clone(),
        cell(summary.map(|s| s.median)),
        several(|summary| summary.p99),
        several(|summary| summary.max),
        measure.detours_per_second.map_or_else(String::new, format::digits),
    ]
}

/// A table whose columns from `first_number` on are flush right.
fn new_table(header: &[&str], first_number: usize) -> Table {
    let mut table = Table::new();
    table.load_style(RULED).set_content_arrangement(ContentArrangement::Disabled).set_header(header);
    for column in table.column_iter_mut().skip(first_number) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn machine(environment: &Environment) -> String {
    let text = |value: &Option<String>| value.clone().unwrap_or_else(unknown);
    let load = |load: Option<[f64; 3]>| load.map_or_else(unknown, |load| format!("{:.2}", load[0]));
    let place = match environment.virtual_machine {
        Some(true) => " (virtual machine)",
        Some(false) | None => "",
    };
    let steal = environment.steal_percent.map_or_else(unknown, |percent| format!("{percent:.2} %"));
    format!(
        "date:    {}\nversion: tacet-bench {}\ncpu:     {}{place}\nkernel:  {}; clock source {}; governor {}\n\
         load:    {} before, {} after; stolen by the hypervisor: {steal}\ncommand: {}\n",
        environment.date,
        environment.version,
        text(&environment.cpu_model),
        text(&environment.kernel),
        text(&environment.clock_source),
        text(&environment.governor),
        load(environment.load_before),
        load(environment.load_after),
        environment.command_line.join(" "),
    )
}

fn unknown() -> String {
    "unknown".to_owned()
}

fn dash() -> String {
    NONE.to_owned()
}

#[cfg(test)]
#[path = "text_tests.rs"]
mod tests;
