//! What the suite takes, and why it does not.

use super::*;
use crate::parsed;

const MACHINE: Machine = Machine { cache: Some(8 * MIB), available: Some(1 << 40) };

fn settings(arguments: &[&str]) -> Settings {
    parsed::settings(arguments)
}

#[test]
fn an_unknown_cache_is_a_reason_and_no_guess() {
    let machine = Machine { cache: None, available: None };
    let bench = Bench { clock: Clock::calibrate(), machine, pages: PageKind::Default };
    let mut findings = Findings::default();
    for part in [Part::Stream, Part::RandomAccess, Part::PageSizes] {
        take(part, &bench, &settings(&[]).sized(machine), &mut findings).unwrap();
    }
    assert_eq!(findings.measures, []);
    assert!(findings.not_measured.iter().all(|missing| missing.reason.contains("cache is unknown; give --")));
    assert_eq!(findings.not_measured.len(), 3);
}

#[test]
fn more_than_the_memory_is_a_reason() {
    let machine = Machine { cache: Some(MIB), available: Some(8 * MIB) };
    let bench = Bench { clock: Clock::calibrate(), machine, pages: PageKind::Default };
    let mut findings = Findings::default();
    take(Part::Stream, &bench, &settings(&["--array-mib", "4"]), &mut findings).unwrap();
    take(Part::Chase, &bench, &settings(&["--chase-mib", "8"]), &mut findings).unwrap();
    assert_eq!(findings.measures, []);
    assert_eq!(findings.not_measured.len(), 4 + 12);
    assert!(findings.not_measured[0].reason.contains("needs 12 MiB"));
}

#[test]
fn small_sets_are_measured_whole() {
    let bench = Bench { clock: Clock::calibrate(), machine: MACHINE, pages: PageKind::Small };
    let asked = settings(&["--array-mib", "1", "--set-mib", "1", "--chase-mib", "1", "--touch-mib", "4"]);
    let mut findings = Findings::default();
    let parts = [Part::FirstTouchSmall, Part::Stream, Part::RandomAccess, Part::Chase];
    parts.iter().for_each(|&part| take(part, &bench, &asked, &mut findings).unwrap());
    let names: Vec<&str> = findings.measures.iter().map(|measure| measure.name.as_str()).collect();
    assert_eq!(names[..3], ["first-touch-4k", "stream-copy", "stream-scale"]);
    assert_eq!(names[5..8], ["random-access", "chase-4k", "chase-8k"]);
    assert_eq!(names.last(), Some(&"chase-1m"));
    assert!(findings.measures.iter().all(|measure| measure.compared_value() > Some(0.0)));
    let xs: Vec<f64> = findings.measures.iter().filter_map(|measure| Some(measure.curve.as_ref()?.x)).collect();
    assert_eq!(xs, (12..=20).map(|bits| f64::from(1 << bits)).collect::<Vec<_>>());
    assert_eq!(findings.settings, [("random_access_large_pages_percent", 0.0), ("chase_large_pages_percent", 0.0)]);
}

#[test]
fn a_missing_pool_is_named_with_what_to_do() {
    let missing = io::Error::from_raw_os_error(libc::ENOMEM);
    let reason = refusal(&missing, PageKind::Pool2M, 256);
    assert!(reason.starts_with("too few pages of 2 MiB are free here for 256 MiB"), "{reason}");
    assert!(refusal(&missing, PageKind::Default, 256).starts_with("cannot map 256 MiB"));
}
