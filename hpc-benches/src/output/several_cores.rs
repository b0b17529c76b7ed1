//! Several cores as tables: those that were measured at once, and what the others did meanwhile.

use super::disturbers::rate;
use super::format;
use super::table::new_table;
use super::text::dash;
use crate::attribution::UNEXPLAINED;
use crate::compare::cores::SideCore;
use crate::load::Record;
use crate::report::{CoreReport, Measure};

/// Cores that were measured at once, each in its row. Empty when there was one.
pub fn cores(cores: &[CoreReport]) -> String {
    let Some(first) = cores.first() else {
        return String::new();
    };
    let names: Vec<&str> = first.measures.iter().map(|measure| measure.name.as_str()).collect();
    let mut header = vec!["core"];
    header.extend(&names);
    header.push(UNEXPLAINED);
    let mut table = new_table(&header, 0);
    for core in cores {
        let mut row = vec![core.core.to_string()];
        row.extend(core.measures.iter().map(compared));
        let unit = if core.attribution.seconds.is_some() { " /s" } else { "" };
        row.push(rate(&core.attribution, core.attribution.unexplained) + unit);
        table.add_row(row);
    }
    let what = match first.attribution.seconds {
        Some(_) => "medians, and detours per second",
        None => "detours",
    };
    format!("\neach core by itself: {what}\n\n{}\n", table.trim_fmt())
}

/// The same of a comparison: the sides of a core one below the other.
pub fn side_cores(cores: &[SideCore]) -> String {
    let Some(first) = cores.first() else {
        return String::new();
    };
    let mut header = vec!["core", "side"];
    header.extend(first.values.iter().map(|value| value.name.as_str()));
    let mut table = new_table(&header, 2);
    for core in cores {
        let mut row = vec![core.core.to_string(), core.side.clone()];
        row.extend(core.values.iter().map(|value| match (value.median, value.unit) {
            (None, _) => value.events.map_or_else(dash, |events| format!("{events} events")),
            (Some(median), Some(unit)) => format::value(median, unit),
            (Some(rate), None) => format!("{} /s", format::digits(rate)),
        }));
        table.add_row(row);
    }
    format!("\neach core by itself: median of the runs\n\n{}\n", table.trim_fmt())
}

/// What the other cores did meanwhile, where there was load on them.
pub fn load(load: &Record) -> String {
    let kinds: Vec<&str> = load.kinds.iter().map(|kind| kind.name()).collect();
    let cores: Vec<String> = load.cores.iter().map(usize::to_string).collect();
    let used: Vec<String> =
        load.cpu_seconds_per_second.iter().map(|(side, used)| format!("{used:.2} beside {side}")).collect();
    let load = format!("load: {} on cores {}", kinds.join(", "), cores.join(", "));
    match used.as_slice() {
        [] => load + "\n",
        used => format!("{load}; cores' worth of time that it got: {}\n", used.join(", ")),
    }
}

fn compared(measure: &Measure) -> String {
    if let Some(events) = measure.events {
        return events.to_string();
    }
    match (measure.detours_per_second, measure.compared_value()) {
        (Some(rate), _) => format!("{} /s", format::digits(rate)),
        (None, Some(value)) => format::value(value, measure.unit),
        (None, None) => dash(),
    }
}
