//! The table in the README of what runs: made from the tests themselves.
//!
//! Each family's first sentence says what it runs, `scripts/test-partition` which of them run on bare cores
//! too. To bring the README up to date: `TACET_UPDATE=1 cargo test -p tacet-tests --test readme`.

use std::fs;
use std::path::{Path, PathBuf};

const BEGIN: &str = "<!-- made by tests/tests/readme.rs -->\n";
const END: &str = "<!-- end -->\n";

/// Families about Tacet itself rather than about programs.
const OTHERS: [&str; 13] = [
    "badinput",
    "bench_report",
    "corrupt",
    "fence",
    "machine_checks",
    "node_commands",
    "partition",
    "pool",
    "programs",
    "readme",
    "report",
    "silence",
    "wrong",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The first sentence of a file's description.
fn description(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map_while(|line| line.strip_prefix("//!")).map(str::trim).collect();
    let paragraph = lines.split(|line| line.is_empty()).next().unwrap_or_default().join(" ");
    paragraph.strip_suffix('.').unwrap_or(&paragraph).to_owned()
}

/// How many tests are written out in a file; what macros multiply is counted once.
fn tests(text: &str) -> usize {
    let sections = text.split("sections!(").skip(1).map(|list| {
        let names = list.split_once(')').map_or("", |parts| parts.0);
        names.split_once(':').map_or(0, |parts| parts.1.split(',').filter(|name| !name.trim().is_empty()).count())
    });
    text.matches("#[test]").count() + sections.sum::<usize>()
}

fn families_on_bare_cores() -> Vec<String> {
    let script = read("scripts/test-partition");
    let list = script.split_once("FAMILIES=(").and_then(|rest| rest.1.split_once(')'));
    list.expect("the script names them").0.split_whitespace().map(str::to_owned).collect()
}

fn table() -> String {
    let bare = families_on_bare_cores();
    let mut names: Vec<String> = fs::read_dir(root().join("tests/tests"))
        .expect("the tests are there")
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_suffix(".rs").map(str::to_owned))
        .filter(|name| !OTHERS.contains(&name.as_str()))
        .collect();
    names.sort();
    let mut table = "| tests | what runs natively and in a cell, with the same result | | bare cores |\n".to_owned();
    table += "| --- | --- | ---: | --- |\n";
    for name in names {
        let text = read(&format!("tests/tests/{name}.rs"));
        let is_bare = if bare.contains(&name) { "yes" } else { "" };
        table += &format!(
            "| [{name}](tests/tests/{name}.rs) | {} | {} | {is_bare} |\n",
            description(&text).replace('|', "\\|"),
            tests(&text)
        );
    }
    table
}

#[test]
fn the_table_of_what_runs_is_current() {
    let text = read("README.md");
    let (before, rest) = text.split_once(BEGIN).expect("the README has a place for it");
    let (now, after) = rest.split_once(END).expect("the place ends");
    let table = table();
    if std::env::var_os("TACET_UPDATE").is_some() {
        let path = root().join("README.md");
        fs::write(path, format!("{before}{BEGIN}{table}{END}{after}")).expect("the README can be written");
        return;
    }
    assert_eq!(now, table, "run: TACET_UPDATE=1 cargo test -p tacet-tests --test readme");
}
