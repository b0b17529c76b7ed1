//! What programs in a cell learn of the machine: the cell's cores, under the numbers that they have on
//! the host, and no others.

use tacet_tests::{Case, Language, Outcome, build, node, platform};

fn cell(program: Case) -> Outcome {
    let last = node::core_count() - 1;
    program.options(["--cores", &format!("{last}-{last}")]).cell()
}

#[test]
fn every_way_to_ask_gives_the_cells_core() {
    let outcome = cell(Case::new(build(Language::C, "machine.c")));
    let text = outcome.out();
    assert!(text.starts_with("processors: 1\n") && text.ends_with("end\n"), "{outcome}");
    assert!(!text.contains("FAILS"), "{outcome}");
}

/// With all cores there is nothing to hide, and it all is as natively.
#[test]
fn all_cores() {
    if platform::is_partition() {
        return;
    }
    Case::new(build(Language::C, "machine.c")).options(platform::cores(node::core_count())).assert_same();
}

/// hwloc finds the one core, and has nothing to complain of.
#[test]
fn hwloc() {
    let last = node::core_count() - 1;
    let outcome = cell(Case::new("lstopo-no-graphics").args(["--no-io", "--of", "console", "--physical"]));
    assert_eq!(outcome.status.code(), Some(0), "{outcome}");
    let processors: Vec<String> =
        outcome.out().lines().filter(|line| line.contains("PU ")).map(str::to_owned).collect();
    assert_eq!(processors.len(), 1, "{outcome}");
    assert!(processors[0].contains(&format!("PU P#{last}")), "{outcome}");
    assert!(outcome.stderr.is_empty(), "{outcome}");
}

#[test]
fn commands() {
    assert_eq!(cell(Case::new("nproc")).out(), "1\n");
    assert_eq!(cell(Case::new("nproc").arg("--all")).out(), "1\n");
    let outcome = cell(Case::new("lscpu"));
    assert!(outcome.out().lines().any(|line| line.starts_with("CPU(s):") && line.ends_with(" 1")), "{outcome}");
}

/// The memory is the cell's: whoever takes a share of it must not get more than there is.
#[test]
fn memory() {
    let cell = |program: Case| program.options(["--memory", "64M"]).cell();
    let megabytes = |bytes: u64| bytes >> 20;
    let outcome = cell(Case::new("getconf").arg("_PHYS_PAGES"));
    let pages: u64 = outcome.out().trim().parse().unwrap_or_else(|_| panic!("no number: {outcome}"));
    assert!((32..=64).contains(&megabytes(pages * 4096)), "{outcome}");
    let outcome = cell(Case::new("cat").arg("/proc/meminfo"));
    let text = outcome.out();
    let value = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        let number = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        number.unwrap_or_else(|| panic!("no {key}: {outcome}"))
    };
    assert_eq!(value("MemTotal"), pages * 4, "{outcome}");
    assert!(value("MemAvailable") < value("MemTotal") && value("MemAvailable") > value("MemTotal") / 2, "{outcome}");
    assert_eq!((value("SwapTotal"), value("Cached")), (0, 0), "{outcome}");
}
