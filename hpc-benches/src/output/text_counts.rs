//! What an emulated machine has to say: counts, as text.

use comfy_table::Table;

use super::format;
use super::table::{NOT_MEASURED, add_missing, new_table};
use super::text::dash;
use crate::compare::result::{SideValues, SuiteComparison};
use crate::report::Unit;
use crate::stats::summary::median;

/// Below the machine.
pub const MACHINE: &str = "\
EMULATED: counts only. The processor is software; what takes how long here says nothing of any machine.
";

const COUNTS_ONLY: &str = "counts only";

/// Above the tables.
pub const HOW_TO_READ: &str = "\
events: how many a run saw, median of the runs; least, most: of all runs.
";

/// The table of an emulated machine: how many events the runs saw.
pub fn table(suite: &SuiteComparison) -> Table {
    let mut table = new_table(&["measure", "side", "events", "least", "most", "conclusion"], 2);
    for measure in &suite.measures {
        for (index, side) in measure.sides.iter().enumerate() {
            let name = if index == 0 { &measure.name } else { "" };
            table.add_row(row(name, measure.unit, side));
        }
    }
    add_missing(&mut table, suite);
    table
}

fn row(name: &str, unit: Unit, side: &SideValues) -> Vec<String> {
    let mut row = vec![name.to_owned(), side.side.clone()];
    let values = side.values.as_ref();
    match (values.and_then(|values| values.events.as_ref()), values.and_then(|values| values.median)) {
        (Some(events), _) => {
            let counts: Vec<f64> = events.iter().map(|&count| count as f64).collect();
            let bounds = events.iter().min().zip(events.iter().max());
            row.push(median(counts).map_or_else(dash, |middle| middle.to_string()));
            row.extend(bounds.map_or_else(|| [dash(), dash()], |(least, most)| [least.to_string(), most.to_string()]));
            row.push(COUNTS_ONLY.to_owned());
        }
        (None, Some(median)) => row.push(format::value(median, unit)),
        (None, None) => row.push(NOT_MEASURED.to_owned()),
    }
    row
}
