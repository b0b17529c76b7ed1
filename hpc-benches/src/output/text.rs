//! Reports as text. The table comes last, so that it is what a reader ends on.

use comfy_table::Table;

use super::table::{CYCLES, DETOURS_PER_SECOND, NOT_MEASURED, P99_9, hide_unless, new_table, suite_table};
use super::{disturbers, format, several_cores, text_against, text_counts, tuning};
use crate::compare::Comparison;
use crate::compare::result::{MeasureComparison, SideValues, SuiteComparison, WithoutPlatform};
use crate::machine::record::Environment;
use crate::report::{Measure, RunReport};
use crate::stats::summary::Summary;

const NONE: &str = "-";

const HOW_TO_READ: &str = "\
median, p99, p99.9: medians of the runs' own; max: of all runs. ratio: to native, median of the pairs,
of the medians (of detours/s for detours). spread: largest to smallest run. control: each native run
against the native run before it, with the variation that a difference must exceed to be shown.
to tuned: the cell against native-tuned, where that is a side.
";

/// A report that can be printed for people.
pub trait Text {
    /// The whole text, with a newline at its end.
    fn text(&self) -> String;

    /// The same with a column of cycles, where the report has any.
    fn text_with_cycles(&self) -> String {
        self.text()
    }
}

impl Text for RunReport {
    fn text(&self) -> String {
        self.text_in(false)
    }

    fn text_with_cycles(&self) -> String {
        self.text_in(true)
    }
}

impl RunReport {
    fn text_in(&self, has_cycles: bool) -> String {
        let mut table = new_table(&["measure", "median", CYCLES, "p99", P99_9, "max", DETOURS_PER_SECOND], 1);
        for measure in &self.measures {
            table.add_row(run_row(measure));
        }
        for missing in &self.not_measured {
            table.add_row([&missing.name, NOT_MEASURED]);
        }
        let has_rates = self.measures.iter().any(|measure| measure.detours_per_second.is_some());
        hide_unless(has_rates, &mut table, DETOURS_PER_SECOND);
        hide_unless(has_cycles, &mut table, CYCLES);
        let has_p99_9 = |measure: &Measure| measure.summary.is_some_and(|summary| summary.p99_9.is_some());
        hide_unless(self.measures.iter().any(has_p99_9), &mut table, P99_9);
        let reasons: String = self
            .not_measured
            .iter()
            .map(|missing| format!("not measured: {}: {}\n", missing.name, missing.reason))
            .collect();
        let core = match self.cores.as_slice() {
            [] => self.core.map_or_else(unknown, |core| core.to_string()),
            all => all.iter().map(|core| core.core.to_string()).collect::<Vec<_>>().join(", "),
        };
        let machine = machine(&self.environment);
        let cores = several_cores::cores(&self.cores);
        let disturbers = disturbers::text(&[("", self.attribution.as_ref())]);
        format!("{machine}core:    {core}\n{reasons}\n{}\n{cores}{disturbers}", table.trim_fmt())
    }
}

impl Text for Comparison {
    fn text(&self) -> String {
        self.text_in(false)
    }

    fn text_with_cycles(&self) -> String {
        self.text_in(true)
    }
}

impl Comparison {
    fn text_in(&self, has_cycles: bool) -> String {
        let machine = machine(&self.environment);
        let (core, pairs) = (self.core, self.pairs);
        let suites: String = if self.environment.emulated {
            self.suites.iter().map(|suite| suite_text(suite, text_counts::table(suite))).collect()
        } else {
            self.suites.iter().map(|suite| suite_text(suite, suite_table(suite, has_cycles))).collect()
        };
        let how_to_read = if self.environment.emulated { text_counts::HOW_TO_READ } else { HOW_TO_READ };
        let changes = self.against.as_ref().map_or_else(String::new, text_against::changes);
        let tacet = self.tacet_version.clone().unwrap_or_else(unknown);
        let without = without(&self.without_platforms);
        let missing: String = self
            .not_compared
            .iter()
            .map(|missing| format!("not compared: suite {}: {}\n", missing.suite, missing.reason))
            .collect();
        format!(
            "{machine}tacet:   {tacet}\ncore:    {core}; {}, taken in turn\n{without}{missing}{changes}\n{how_to_read}{suites}",
            format::count(pairs, "pair"),
        )
    }
}

fn suite_text(suite: &SuiteComparison, table: Table) -> String {
    let mut notes = String::new();
    for side in &suite.commands {
        notes += &format!("{}: {}\n", side.side, side.command.join(" "));
    }
    if let Some(load) = &suite.load {
        notes += &several_cores::load(load);
    }
    notes += &tuning::lines(suite);
    notes += &without(&suite.without_platforms);
    for warning in &suite.warnings {
        notes += &format!("warning: {warning}\n");
    }
    for measure in &suite.measures {
        notes += &missing_notes(measure);
    }
    for missing in &suite.not_measured {
        notes += &format!("not measured: {} on any side: {}\n", missing.name, missing.reason);
    }
    let cores = several_cores::side_cores(&suite.cores);
    let sides: Vec<_> = suite.attribution.iter().map(|side| (side.side.as_str(), side.found.as_ref())).collect();
    let disturbers = disturbers::text(&sides);
    format!("\n{}\n{notes}\n{}\n{cores}{disturbers}", suite.suite, table.trim_fmt())
}

/// A line per platform that is no side.
fn without(platforms: &[WithoutPlatform]) -> String {
    platforms.iter().map(|without| format!("without side {}: {}\n", without.platform, without.why)).collect()
}

fn missing_notes(measure: &MeasureComparison) -> String {
    let missing = |side: &SideValues| {
        let reason = side.not_measured.as_deref()?;
        Some(format!("not measured: {} on {}: {reason}\n", measure.name, side.side))
    };
    measure.sides.iter().filter_map(missing).collect()
}

fn run_row(measure: &Measure) -> Vec<String> {
    if let Some(events) = measure.events {
        return vec![measure.name.clone(), format!("{events} events")];
    }
    let summary = measure.summary;
    let cell = |value: Option<f64>| value.map_or_else(dash, |value| format::value(value, measure.unit));
    let several = |statistic: fn(&Summary) -> f64| match &measure.summary {
        Some(single) if single.count == 1 => String::new(),
        summary => cell(summary.as_ref().map(statistic)),
    };
    vec![
        measure.name.clone(),
        cell(summary.map(|s| s.median)),
        measure.cycles.map_or_else(String::new, |cycles| format::digits(cycles.median)),
        several(|summary| summary.p99),
        summary.and_then(|s| s.p99_9).map_or_else(String::new, |value| format::value(value, measure.unit)),
        several(|summary| summary.max),
        measure.detours_per_second.map_or_else(String::new, format::digits),
    ]
}

/// The record of the machine, a line per kind.
pub(super) fn machine(environment: &Environment) -> String {
    let text = |value: &Option<String>| value.clone().unwrap_or_else(unknown);
    let load = |load: Option<[f64; 3]>| load.map_or_else(unknown, |load| format!("{:.2}", load[0]));
    let place = match environment.virtual_machine {
        Some(true) => " (virtual machine)",
        Some(false) | None => "",
    };
    let emulated = if environment.emulated { text_counts::MACHINE } else { "" };
    let steal = environment.steal_percent.map_or_else(unknown, |percent| format!("{percent:.2} %"));
    format!(
        "date:    {}\nversion: tacet-bench {}\ncpu:     {}{place}\nkernel:  {}; clock source {}; governor {}\n\
         load:    {} before, {} after; stolen by the hypervisor: {steal}\ncommand: {}\n{emulated}",
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

pub(super) fn dash() -> String {
    NONE.to_owned()
}

#[cfg(test)]
#[path = "text_tests.rs"]
mod tests;
