//! The table of a suite, and what all tables share.

use comfy_table::{
    Cell, CellAlignment, ColumnConstraint, ContentArrangement, ContentLineStyle, LineStyle, Table, TableStyle,
};

use super::format;
use super::text::dash;
use crate::compare::result::{MeasureComparison, SideValues, SuiteComparison, Values};
use crate::report::{Statistic, Unit};
use crate::stats::verdict::{Effect, Verdict};

pub const NOT_MEASURED: &str = "not measured";
pub const DETOURS_PER_SECOND: &str = "detours/s";
pub const CYCLES: &str = "cycles";
pub const P99_9: &str = "p99.9";

/// A rule below the header and nothing else.
const RULED: TableStyle = TableStyle::new()
    .header_lines(ContentLineStyle::none())
    .header_separator(LineStyle::none().fill('─').junction('─'))
    .content_lines(ContentLineStyle::none());

/// A table whose columns from `first_number` on are flush right.
pub fn new_table(header: &[&str], first_number: usize) -> Table {
    let mut table = Table::new();
    table.load_style(RULED).set_content_arrangement(ContentArrangement::Disabled).set_header(header);
    for column in table.column_iter_mut().skip(first_number) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// All measures of a suite on all sides.
pub fn suite_table(suite: &SuiteComparison, has_cycles: bool) -> Table {
    let header =
        ["measure", "side", "median", CYCLES, "p99", P99_9, "max", DETOURS_PER_SECOND, "ratio", "spread", "conclusion"];
    let mut table = new_table(&header, 2);
    for measure in &suite.measures {
        for (index, side) in measure.sides.iter().enumerate() {
            let name = if index == 0 { &measure.name } else { "" };
            table.add_row(side_row(name, measure.unit, side));
            if let (0, Some(effect)) = (index, first_effect(measure)) {
                table.add_row(control_row(measure, &effect));
            }
            if let Some(effect) = side.against_tuned {
                table.add_row(against_tuned_row(&effect));
            }
        }
    }
    add_missing(&mut table, suite);
    let has_rates = suite.measures.iter().any(|measure| measure.compared == Statistic::DetoursPerSecond);
    hide_unless(has_rates, &mut table, DETOURS_PER_SECOND);
    let sides = || suite.measures.iter().flat_map(|measure| &measure.sides).filter_map(|side| side.values.as_ref());
    hide_unless(has_cycles && sides().any(|values| values.cycles.is_some()), &mut table, CYCLES);
    hide_unless(sides().any(|values| values.p99_9.is_some()), &mut table, P99_9);
    table
}

pub fn add_missing(table: &mut Table, suite: &SuiteComparison) {
    for missing in &suite.not_measured {
        table.add_row([missing.name.as_str(), "all", NOT_MEASURED]);
    }
}

/// Leaves a column out that would be empty.
pub fn hide_unless(shown: bool, table: &mut Table, header: &str) {
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

fn value_cells(values: &Values, unit: Unit) -> [String; 6] {
    let cell = |value: Option<f64>| value.map_or_else(dash, |value| format::value(value, unit));
    let plain = |value: Option<f64>| value.map_or_else(String::new, format::digits);
    let p99_9 = values.p99_9.map_or_else(String::new, |value| format::value(value, unit));
    [
        cell(values.median),
        plain(values.cycles),
        cell(values.p99),
        p99_9,
        cell(values.max),
        plain(values.detours_per_second),
    ]
}

fn control_row(measure: &MeasureComparison, effect: &Effect) -> Vec<String> {
    let band = band(effect.control_band, measure.compared, measure.unit);
    let mut row = vec![String::new(), "  control".to_owned()];
    row.extend(vec![String::new(); 6]);
    row.push(format::ratio(effect.control_ratio));
    row.push(format!("±{band}"));
    row
}

/// Below a cell: the same runs, set against tuned Linux.
fn against_tuned_row(effect: &Effect) -> Vec<String> {
    let mut row = vec![String::new(), "  to tuned".to_owned()];
    row.extend(vec![String::new(); 6]);
    row.extend([format::ratio(effect.ratio), String::new(), conclusion(effect.verdict).to_owned()]);
    row
}

/// The control's band, in the unit of what is compared.
pub fn band(band: f64, compared: Statistic, unit: Unit) -> String {
    match compared {
        Statistic::Median => format::value(band, unit),
        Statistic::DetoursPerSecond => format!("{} /s", format::digits(band)),
    }
}

/// The verdict in words.
pub fn conclusion(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Better => "better",
        Verdict::Worse => "worse",
        Verdict::NoDifferenceShown => "no difference shown",
        Verdict::ControlDiffers => "no conclusion: control differs",
        Verdict::TooFewPairs => "too few pairs",
    }
}
