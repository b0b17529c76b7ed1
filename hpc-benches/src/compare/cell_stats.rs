//! What `tacet run --stats` tells about a cell after its end, as sources of disturbance.
//!
//! The counters are those of the cell's cores in the control page (docs/protocol.md): entries into the cell's
//! kernel by cause, over the whole life of the cell.

use std::ffi::OsString;

use crate::attribution::{Attribution, Kind, Source};

/// The option of `tacet run`.
const OPTION: &str = "--stats";

/// Causes by which a program enters its kernel because it wants to. All others disturb it.
const ASKED_FOR: [&str; 4] = ["local calls", "forwarded calls", "sleeps", "switches"];

/// The option, unless the user has given it already.
pub fn option(given: &[String]) -> Option<OsString> {
    (!given.iter().any(|option| option == OPTION)).then(|| OPTION.into())
}

/// The entries that the program did not ask for, by the lines that `tacet` wrote to standard error.
pub fn entries(stderr: &str) -> Vec<Source> {
    stderr
        .lines()
        .skip_while(|line| !line.starts_with("core "))
        .skip(1)
        .map_while(entry)
        .filter(|source| !ASKED_FOR.contains(&source.name.as_str()))
        .collect()
}

/// A line such as `page faults  1  0  1`: the cause, the cores, and all of them where there are several. The next
/// table, of calls, begins with a line that ends in a word.
fn entry(line: &str) -> Option<Source> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let count = words.last()?.parse::<u64>().ok()?;
    let name: Vec<&str> = words.into_iter().take_while(|word| word.parse::<u64>().is_err()).collect();
    (!name.is_empty()).then(|| Source {
        kind: Kind::Cell,
        name: name.join(" "),
        events: Some(count),
        nanoseconds: None,
    })
}

/// Adds them to what the cell's program found out itself. Where Linux counts no interrupts, because it does not
/// run the core, the entries into the cell's kernel take their place: counted over a longer time, they leave a
/// lower bound as well.
pub fn add(found: &mut Attribution, entries: &[Source]) {
    if entries.is_empty() {
        return;
    }
    entries.iter().for_each(|source| found.add_source(source));
    if found.unexplained.is_none() {
        let count = entries.iter().filter_map(|source| source.events).sum();
        found.unexplained = Some(found.detours.saturating_sub(count));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::NotMeasured;

    const STATS: &str = "\
tacet: cell 3812: platform process, cores 0-1, memory 248 KiB of 20.3 GiB touched, 0.027 s
tacet: cell 3812: large pages: transparent ones
core             0    1  all
local calls      45   0  45
forwarded calls  99   0  99
page faults      1    3  4
timer            0    0  0
involuntary      2    0  2
sleeps           41   0  41
switches         220  0  220
call             count  handled
openat           34     by Linux
";

    fn named(sources: &[Source]) -> Vec<(&str, u64)> {
        sources.iter().map(|source| (source.name.as_str(), source.events.unwrap())).collect()
    }

    #[test]
    fn what_was_not_asked_for_is_read_with_its_sum() {
        assert_eq!(named(&entries(STATS)), [("page faults", 4), ("timer", 0), ("involuntary", 2)]);
    }

    #[test]
    fn one_core_has_no_sum() {
        let stats = "noise of the program\ncore             1\nlocal calls      18\nkicks  7\ncall  count  handled\n";
        assert_eq!(named(&entries(stats)), [("kicks", 7)]);
    }

    #[test]
    fn a_program_that_says_nothing_of_the_kind_has_none() {
        assert!(entries("").is_empty());
        assert!(entries("core dumped\n").is_empty());
    }

    #[test]
    fn the_cells_counters_stand_in_where_linux_does_not_run_the_core() {
        let blind = Attribution {
            detours: 10,
            unread: vec![NotMeasured { name: "interrupt".to_owned(), reason: "no such core".to_owned() }],
            ..Attribution::default()
        };
        let mut found = blind.clone();
        add(&mut found, &entries(STATS));
        assert_eq!(found.unexplained, Some(4));
        let mut nothing_known = blind.clone();
        add(&mut nothing_known, &[]);
        assert_eq!(nothing_known, blind);
        let mut seen = Attribution { detours: 10, unexplained: Some(9), ..Attribution::default() };
        add(&mut seen, &entries(STATS));
        assert_eq!(seen.unexplained, Some(9), "Linux has counted by itself");
    }

    #[test]
    fn the_option_is_given_once() {
        assert_eq!(option(&[]), Some("--stats".into()));
        assert_eq!(option(&["--stats".to_owned()]), None);
    }
}
