//! `tacet ps`: the cells of this user, one line each.

use std::path::Path;

use serde_json::{Value, json};

use super::{Cell, Condition, age_seconds, hints, rank};
use crate::reserve::ledger::Entry;
use crate::reserve::memory::human;
use crate::table::{printable, printable_path, row, table};

/// For people.
pub fn text(cells: &[Cell], root: &Path) -> String {
    if cells.is_empty() {
        return "no cells of this user on this node\n".to_owned();
    }
    let mut rows =
        vec![row(["CELL", "PID", "RANK", "PLATFORM", "CORES", "MEMORY", "TOUCHED", "STATE", "AGE", "PROGRAM"])];
    rows.extend(cells.iter().map(|cell| {
        let entry = &cell.entry;
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        row([
            &entry.proxy.pid.to_string(),
            &or_dash(program(entry).map(|pid| pid.to_string())),
            &rank(entry),
            &printable(&entry.platform),
            &entry.cores.to_string(),
            &human(entry.memory),
            &or_dash(cell.condition.sample().map(|sample| human(sample.touched))),
            &cell.condition.to_string(),
            &or_dash(age_seconds(entry, root).map(duration)),
            &printable_path(&entry.program),
        ])
    }));
    table(&rows) + &hints(cells)
}

/// For machines: one array, an object for each cell.
pub fn json(cells: &[Cell], root: &Path) -> String {
    let all: Vec<Value> = cells.iter().map(|cell| object(cell, root)).collect();
    format!("{:#}\n", Value::Array(all))
}

fn object(cell: &Cell, root: &Path) -> Value {
    let entry = &cell.entry;
    json!({
        "cell": entry.proxy.pid,
        "pid": program(entry),
        "rank": entry.rank,
        "platform": entry.platform,
        "cores": entry.cores,
        "memory_bytes": entry.memory,
        "touched_bytes": cell.condition.sample().map(|sample| sample.touched),
        "state": cell.condition.to_string(),
        "is_dead": matches!(cell.condition, Condition::Dead),
        "age_seconds": age_seconds(entry, root),
        "program": entry.program.to_string_lossy(),
    })
}

/// The program's process, as Linux knows it: on bare cores that is the proxy.
fn program(entry: &Entry) -> Option<u32> {
    let proxy = || entry.bare.as_ref().map(|_| entry.proxy.pid);
    entry.child.map(|child| child.pid).or_else(proxy)
}

/// Seconds as people read them, with the two largest units.
fn duration(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m{:02}s", seconds % 60),
        (0, ..) => format!("{hours}h{:02}m", minutes % 60),
        _ => format!("{days}d{:02}h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cells::tests::cell;
    use crate::node::tests::Fixture;

    #[test]
    fn a_line_for_each_cell_and_a_hint_for_the_dead() {
        let root = Fixture::new();
        root.file("proc/uptime", "1e9 1\n");
        let living = cell(&root, 7);
        let dead = Cell { condition: Condition::Dead, ..cell(&root, 7) };
        let text = text(&[living, dead], root.path());
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[1].contains("process") && lines[1].contains("running") && lines[1].contains("3,5"), "{text}");
        assert!(lines[2].contains(" dead "), "{text}");
        assert_eq!(lines[3], "1 cell is dead: `tacet reclaim` gives back what it left");
        assert!(!text.contains('\x1b'), "nothing that a terminal obeys");
    }

    #[test]
    fn no_cells() {
        assert_eq!(text(&[], Path::new("/")), "no cells of this user on this node\n");
        assert_eq!(json(&[], Path::new("/")), "[]\n");
    }

    #[test]
    fn machines_get_numbers() {
        let root = Fixture::new();
        root.file("proc/uptime", "1e9 1\n");
        let value: Value = serde_json::from_str(&json(&[cell(&root, 7)], root.path())).expect("JSON");
        let cell = &value[0];
        assert_eq!((&cell["memory_bytes"], &cell["state"]), (&json!(1 << 30), &json!("running")));
        assert_eq!((&cell["rank"]["global"], &cell["is_dead"]), (&json!(5), &json!(false)));
        assert!(cell["age_seconds"].is_u64() && cell["touched_bytes"].is_u64(), "{cell}");
    }

    #[test]
    fn durations() {
        for (seconds, text) in [(7, "7s"), (61, "1m01s"), (3600, "1h00m"), (90_000, "1d01h")] {
            assert_eq!(duration(seconds), text);
        }
    }
}
