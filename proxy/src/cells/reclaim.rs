//! `tacet reclaim`: gives back what dead proxies left.
//!
//! A keeper or the next `tacet run` does the same without being asked; this is for whoever wants
//! it done now, and told.

use crate::reserve::Error;
use crate::reserve::ledger::{Entry, Ledger, LedgerError, Locked};
use crate::reserve::memory::human;
use crate::table::{printable, printable_path};

/// What came of it.
#[derive(Debug)]
pub struct Reclaimed {
    /// One line for each dead cell, or one that there was none.
    pub text: String,
    /// Whether all could be given back.
    pub is_complete: bool,
}

/// Gives back; only says what it would give back if it is a rehearsal. What keepers are about to
/// give back is left to them, and waited for.
pub fn reclaim(ledger: &Ledger, is_rehearsal: bool) -> Result<Reclaimed, Error> {
    if is_rehearsal {
        let text = told("would give back", &dead(&ledger.lock()?)?);
        return Ok(Reclaimed { text, is_complete: true });
    }
    let (locked, given_back) = ledger.lock_cleared()?;
    let left = dead(&locked)?;
    let mut text = match (given_back.is_empty(), left.is_empty()) {
        (true, false) => String::new(),
        _ => told("gave back", &given_back),
    };
    for entry in &left {
        text += &format!("could NOT give back {}; it stays in the ledger: try again later\n", holdings(entry));
    }
    Ok(Reclaimed { text, is_complete: left.is_empty() })
}

fn dead(locked: &Locked) -> Result<Vec<Entry>, LedgerError> {
    let entries = locked.entries_with_state()?.into_iter();
    Ok(entries.filter(|(_, is_dead)| *is_dead).map(|(entry, _)| entry).collect())
}

fn told(what: &str, entries: &[Entry]) -> String {
    if entries.is_empty() {
        return "nothing to give back\n".to_owned();
    }
    entries.iter().map(|entry| format!("{what} {}\n", holdings(entry))).collect()
}

/// A cell and what it holds of the node, on one line.
fn holdings(entry: &Entry) -> String {
    let mut held = vec![format!("cores {}", entry.processors())];
    if let Some(memory) = entry.bare.as_ref().and_then(|record| record.memory.as_ref()) {
        held.push(format!("{} in {}", human(entry.memory), printable_path(memory)));
    }
    let settings = entry.settings.iter();
    held.extend(settings.map(|setting| format!("{} (was {})", printable_path(&setting.path), printable(&setting.old))));
    let (platform, program) = (printable(&entry.platform), printable_path(&entry.program));
    format!("cell {} ({platform}, {program}): {}", entry.proxy.pid, held.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::tests::Fixture;
    use crate::reserve::ledger::Setting;
    use std::fs;
    use std::path::Path;

    /// A ledger with the entry of a cell from another run of Linux, or of a process that has
    /// ended, which holds a setting.
    fn ledger_with_dead(root: &Fixture, setting: &Path) -> Ledger {
        let mut entry = crate::cells::tests::entry(root, None);
        entry.proxy.started += 1;
        entry.settings = vec![Setting { path: setting.to_owned(), old: "never".into(), new: "advise".into() }];
        let text = serde_json::to_string(&entry).expect("serialises");
        root.file(&format!("ledger/cell-{}.json", entry.proxy.pid), &text);
        Ledger::at(&root.path().join("ledger")).expect("own directory")
    }

    #[test]
    fn what_is_given_back_is_told() {
        let root = Fixture::new();
        let setting = root.file("setting", "[advise]");
        let ledger = ledger_with_dead(&root, &setting);
        let rehearsed = reclaim(&ledger, true).expect("readable");
        assert!(rehearsed.is_complete && rehearsed.text.starts_with("would give back cell "), "{rehearsed:?}");
        assert_eq!(fs::read_to_string(&setting).expect("own file"), "[advise]", "a rehearsal changes nothing");
        let done = reclaim(&ledger, false).expect("possible");
        assert!(done.is_complete && done.text.starts_with("gave back cell "), "{done:?}");
        assert!(done.text.contains("cores 3,5, ") && done.text.ends_with("setting (was never)\n"), "{done:?}");
        assert_eq!(fs::read_to_string(&setting).expect("own file"), "never");
        assert_eq!(reclaim(&ledger, false).expect("possible").text, "nothing to give back\n");
        assert_eq!(reclaim(&ledger, true).expect("possible").text, "nothing to give back\n");
    }

    #[test]
    fn what_can_not_be_given_back_is_told() {
        let root = Fixture::new();
        let ledger = ledger_with_dead(&root, &root.path().join("gone"));
        let done = reclaim(&ledger, false).expect("told, not refused");
        assert!(!done.is_complete && done.text.starts_with("could NOT give back cell "), "{done:?}");
        assert_eq!(done.text.lines().count(), 1, "{done:?}");
    }
}
