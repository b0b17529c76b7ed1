//! What is asked for becomes processes, sizes and refusals.

use super::super::sizes::MIB;
use super::*;
use crate::parsed;

const MACHINE: Machine = Machine { cache: Some(8 * MIB), available: Some(1 << 40) };

fn settings(arguments: &[&str]) -> Settings {
    parsed::settings(arguments)
}

#[test]
fn first_touches_get_processes_of_their_own_and_a_rehearsal() {
    let asked = settings(&["--part", "chase,first-touch-2m,stream"]);
    assert_eq!(asked.groups(), [vec![Part::FirstTouch2M], vec![Part::Stream, Part::Chase]]);
    assert_eq!(asked.rehearsals(), [true, false]);
    assert_eq!(settings(&[]).rehearsals(), [true, true, true, true, false]);
}

#[test]
fn sizes_are_settled_once_for_all_sides() {
    let sized = settings(&["--chase-mib", "64", "--pages", "thp"]).sized(MACHINE);
    let expected = ["--array-mib=32", "--set-mib=32", "--chase-mib=64", "--touch-mib=256", "--pages=thp"];
    assert_eq!(sized.size_arguments(), expected);
    let arguments = sized.size_arguments();
    let again = settings(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(again.sized(Machine { cache: None, available: None }).size_arguments(), expected);
}

#[test]
fn sets_that_are_no_power_of_two_are_refused_as_usage() {
    let failure = settings(&["--set-mib", "48"]).check().unwrap_err();
    assert_eq!(failure.status(), 2);
    assert!(failure.to_string().contains("give 32 or 64"), "{failure}");
    assert!(settings(&["--chase-mib", "3"]).check().is_err());
    assert!(settings(&["--chase-mib", "262144"]).check().unwrap_err().to_string().contains("at most 131072"));
    assert!(settings(&["--array-mib", "3"]).check().is_ok());
}
