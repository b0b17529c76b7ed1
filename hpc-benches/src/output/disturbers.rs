//! Who disturbed a core, as a table: of one run, or of the sides of a comparison.

use std::cmp::Ordering;

use comfy_table::Table;

use super::format;
use super::table::{hide_unless, new_table};
use super::text::dash;
use crate::attribution::{Attribution, Cause, Kind, Source, UNEXPLAINED, sum};
use crate::report::{NotMeasured, Unit};

/// Sources of one kind beyond this many, the rarer ones, are told as one line.
const MOST_NAMED: usize = 5;

/// Causes of detours beyond this many, those that took least time, are told as one line.
const MOST_CAUSES: usize = 12;

const RATES: &str = "\
Counted on the measured core while detours were watched, per second. A detour begins with an interrupt or
a page fault; softirqs and other tasks come in by one. What detours are more than those have no cause
that Linux sees.
";

const COUNTS: &str = "\
Counted on the measured core while detours were watched, in all runs together. A detour begins with an interrupt or
a page fault; softirqs and other tasks come in by one. What detours are more than those have no cause
that Linux sees.
";

/// What the table says.
pub(super) fn explanation<'a>(mut found: impl Iterator<Item = &'a Attribution>) -> &'static str {
    if found.any(|found| found.seconds.is_some()) { RATES } else { COUNTS }
}

/// The heading, a table with a column per side, and what could not be read. Empty without any attribution.
pub fn text(sides: &[(&str, Option<&Attribution>)]) -> String {
    if sides.iter().all(|(_, attribution)| attribution.is_none()) {
        return String::new();
    }
    let unread: String = sides
        .iter()
        .flat_map(|(side, attribution)| attribution.iter().flat_map(move |found| unread(side, &found.unread)))
        .collect();
    let causes = causes(sides);
    let explanation = explanation(sides.iter().filter_map(|(_, found)| *found));
    format!("\nwho disturbed the core\n{explanation}{unread}\n{}\n{causes}", table(sides).trim_fmt())
}

/// What each detour was, as far as the kernel's trace was taken. Empty where it was not.
fn causes(sides: &[(&str, Option<&Attribution>)]) -> String {
    let found = || sides.iter().filter_map(|(side, found)| Some((*side, (*found)?)));
    if found().all(|(_, side)| side.causes.is_empty()) {
        return String::new();
    }
    let rates = if has_times(sides) { "per second" } else { "detours" };
    let mut table = new_table(&["side", "cause", rates, "time", "mean"], 2);
    for (side, found) in found() {
        let mut causes: Vec<&Cause> = found.causes.iter().collect();
        // Most time first; what nothing explains is always told, after those that are named.
        causes.sort_by(|a, b| b.nanoseconds.partial_cmp(&a.nanoseconds).unwrap_or(Ordering::Equal));
        let unexplained = causes.iter().position(|cause| cause.name.is_none()).map(|place| causes.remove(place));
        let rarer = causes.split_off(MOST_CAUSES.min(causes.len()));
        let (detours, nanoseconds) =
            rarer.iter().fold((0, None), |(count, time), cause| (count + cause.detours, sum(time, cause.nanoseconds)));
        let name = |cause: &Cause| cause.name.clone().unwrap_or_else(|| UNEXPLAINED.to_owned());
        let row = |cause: &Cause| (name(cause), cause.detours, cause.nanoseconds);
        let mut rows: Vec<_> = causes.into_iter().map(row).collect();
        if !rarer.is_empty() {
            rows.push((format!("{} others", rarer.len()), detours, nanoseconds));
        }
        rows.extend(unexplained.map(row));
        for (number, (name, detours, nanoseconds)) in rows.into_iter().enumerate() {
            let side = if number == 0 { side.to_owned() } else { String::new() };
            let mean = |time: f64| format::value(time / detours.max(1) as f64, Unit::Nanoseconds);
            let time = nanoseconds.map_or_else(dash, |time| share(found, Some(time)));
            table.add_row([side, name, rate(found, Some(detours)), time, nanoseconds.map_or_else(dash, mean)]);
        }
    }
    hide_unless(sides.len() > 1, &mut table, "side");
    format!("\nwhat each detour was, by the kernel's trace events within it\n\n{}\n", table.trim_fmt())
}

fn has_times(sides: &[(&str, Option<&Attribution>)]) -> bool {
    sides.iter().any(|(_, found)| found.is_some_and(|found| found.seconds.is_some()))
}

fn unread(side: &str, missing: &[NotMeasured]) -> Vec<String> {
    let side = if side.is_empty() { String::new() } else { format!(" on {side}") };
    let mut reasons: Vec<&str> = missing.iter().map(|missing| missing.reason.as_str()).collect();
    reasons.sort_unstable();
    reasons.dedup();
    let told = |reason: &str| {
        let names: Vec<&str> =
            missing.iter().filter(|missing| missing.reason == reason).map(|missing| missing.name.as_str()).collect();
        format!("not read: {}{side}: {reason}\n", names.join(", "))
    };
    reasons.into_iter().map(told).collect()
}

pub(super) fn table(sides: &[(&str, Option<&Attribution>)]) -> Table {
    let unit = if has_times(sides) { " /s" } else { "" };
    let rates: Vec<String> = sides.iter().map(|(side, _)| format!("{side}{unit}")).collect();
    let header = match sides {
        [("", _)] => vec!["source", "which", if has_times(sides) { "per second" } else { "events" }, "time"],
        _ => ["source", "which"].into_iter().chain(rates.iter().flat_map(|side| [side.as_str(), "time"])).collect(),
    };
    let mut table = new_table(&header, 2);
    let found: Vec<Option<&Attribution>> = sides.iter().map(|(_, attribution)| *attribution).collect();
    let row = |kind: &str, which: &str, cells: &dyn Fn(&Attribution) -> [String; 2]| {
        let cells = found.iter().flat_map(|side| side.map_or_else(|| [dash(), String::new()], cells));
        [kind.to_owned(), which.to_owned()].into_iter().chain(cells).collect::<Vec<_>>()
    };
    table.add_row(row("detours", "", &|side| [rate(side, Some(side.detours)), share(side, side.detour_ns)]));
    for line in lines(&found) {
        table.add_row(row(line.kind.name(), &line.label(), &|side| line.cells(side)));
    }
    table.add_row(row(UNEXPLAINED, "at least", &|side| [rate(side, side.unexplained), String::new()]));
    table
}

/// Events per second, or all where there are no times; a dash where they are not known.
pub(super) fn rate(side: &Attribution, events: Option<u64>) -> String {
    match (events, side.seconds) {
        (None, _) => dash(),
        (Some(events), Some(seconds)) => format::digits(events as f64 / seconds.max(f64::MIN_POSITIVE)),
        (Some(events), None) => format!("{events} in all"),
    }
}

/// A time as a share of the time watched; nothing where it is not known.
fn share(side: &Attribution, nanoseconds: Option<f64>) -> String {
    let percent = |(nanoseconds, seconds): (f64, f64)| nanoseconds / (seconds * 1e9).max(f64::MIN_POSITIVE) * 100.0;
    nanoseconds.zip(side.seconds).map_or_else(String::new, |time| format::value(percent(time), Unit::Percent))
}

/// One source, or the rarer ones of a kind together.
struct Line {
    kind: Kind,
    names: Vec<String>,
}

impl Line {
    fn label(&self) -> String {
        match self.names.as_slice() {
            [name] => name.clone(),
            names => format!("{} others", names.len()),
        }
    }

    fn cells(&self, side: &Attribution) -> [String; 2] {
        if side.unread.iter().any(|missing| missing.name == self.kind.name()) {
            return [dash(), String::new()];
        }
        let is_meant = |source: &&Source| source.kind == self.kind && self.names.contains(&source.name);
        let sources = || side.sources.iter().filter(is_meant);
        let events: u64 = sources().filter_map(|source| source.events).sum();
        let nanoseconds = sources().filter_map(|source| source.nanoseconds).reduce(|a, b| a + b);
        let events = match self.kind {
            Kind::Steal => String::new(),
            // Not counted while detours were watched but over the whole life of the cells.
            Kind::Cell if sources().next().is_none() => dash(),
            Kind::Cell => format!("{events} in all"),
            _ => rate(side, Some(events)),
        };
        [events, share(side, nanoseconds)]
    }
}

/// The sources of all sides, kind by kind, the most frequent ones first.
fn lines(sides: &[Option<&Attribution>]) -> Vec<Line> {
    let together = Attribution::together(sides.iter().copied().flatten()).unwrap_or_default();
    let kinds = [Kind::Interrupt, Kind::PageFault, Kind::Softirq, Kind::ContextSwitch, Kind::Steal, Kind::Cell];
    kinds
        .into_iter()
        .flat_map(|kind| {
            let mut sources: Vec<_> = together.sources.iter().filter(|source| source.kind == kind).collect();
            sources.sort_by_key(|source| std::cmp::Reverse(source.events));
            let mut names: Vec<String> = sources.iter().map(|source| source.name.clone()).collect();
            let is_idle = |source: &&Source| kind == Kind::Cell && source.events == Some(0);
            let most = MOST_NAMED.min(sources.iter().copied().take_while(|source| !is_idle(source)).count());
            // A single one is named, not called "1 others".
            let others = if names.len() > most + 1 { names.split_off(most) } else { Vec::new() };
            let mut lines: Vec<Line> = names.into_iter().map(|name| Line { kind, names: vec![name] }).collect();
            if !others.is_empty() {
                lines.push(Line { kind, names: others });
            }
            lines
        })
        .collect()
}

#[cfg(test)]
#[path = "disturbers_tests.rs"]
mod tests;
