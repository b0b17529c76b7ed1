//! What the user gets: a table on standard output; JSON, CSV and a page with plots where asked for.

pub mod bar;
mod csv;
mod cycles;
pub mod destination;
mod disturbers;
pub mod format;
mod html;
mod several_cores;
#[cfg(test)]
mod specimen;
mod table;
mod text;
mod text_against;
mod text_counts;
mod tuning;
mod why;

use std::path::Path;

use serde::Serialize;

use self::destination::Destination;
pub use self::destination::print;
use crate::compare::{Comparison, Plan};
use crate::error::Failure;

pub use self::cycles::WithCycles;
pub use self::table::new_table;
pub use self::text::Text;

/// Where the results of a one-sided run go.
pub struct Output {
    json: Option<Destination>,
}

impl Output {
    /// Opens the JSON file, if one is asked for; `-` is standard output.
    pub fn open(json: Option<&Path>) -> Result<Self, Failure> {
        Ok(Self { json: Destination::open(json, "--json")? })
    }

    /// Writes `report`.
    pub fn write(self, report: &(impl Serialize + Text)) -> Result<(), Failure> {
        let has_table = !matches!(self.json, Some(Destination::Stdout));
        if let Some(json) = self.json {
            json.write(&json_text(report)?)?;
        }
        if has_table { print(&report.text()) } else { Ok(()) }
    }
}

/// Where a comparison goes.
pub struct ComparisonOutput {
    json: Option<Destination>,
    csv: Option<Destination>,
    html: Option<Destination>,
    cycles: bool,
}

impl ComparisonOutput {
    /// Opens the files that `plan` asks for.
    pub fn open(plan: &Plan) -> Result<Self, Failure> {
        let files = [(&plan.json, "--json"), (&plan.csv, "--csv"), (&plan.html, "--html")];
        let on_stdout = files.iter().filter(|(path, _)| path.as_deref() == Some(Path::new("-"))).count();
        if on_stdout > 1 {
            let message = "only one of --json, --csv and --html can go to standard output; name files for the others";
            return Err(Failure::with_status(2, message));
        }
        let [json, csv, html] = files.map(|(path, option)| Destination::open(path.as_deref(), option));
        Ok(Self { json: json?, csv: csv?, html: html?, cycles: plan.cycles })
    }

    /// Writes `comparison` in all forms; the table is the last one.
    pub fn write(self, comparison: &Comparison) -> Result<(), Failure> {
        let forms = [self.json, self.csv, self.html];
        let has_table = !forms.iter().any(|form| matches!(form, Some(Destination::Stdout)));
        let [json, csv, html] = forms;
        if let Some(json) = json {
            json.write(&json_text(comparison)?)?;
        }
        if let Some(csv) = csv {
            csv.write(&csv::rows(comparison))?;
        }
        if let Some(html) = html {
            html.write(&html::page(comparison))?;
        }
        match (has_table, self.cycles) {
            (false, _) => Ok(()),
            (true, false) => print(&comparison.text()),
            (true, true) => print(&comparison.text_with_cycles()),
        }
    }
}

fn json_text(report: &impl Serialize) -> Result<String, Failure> {
    serde_json::to_string_pretty(report).map(|text| text + "\n").map_err(|error| {
        Failure::new(format!(
            "cannot write the results as JSON: {error}; this is an error of tacet-bench, please report it"
        ))
    })
}
