//! The fence: a program can't make a host system call past Tacet's kernel.
//!
//! `programs/fence.c` says what counts as evidence. Each way is first tried on Linux, where it
//! must work: a test of a fence that nobody runs into proves nothing.

use tacet_tests::scratch::Scratch;
use tacet_tests::{Case, Language, Node, Outcome, build};

/// Runs one way in a cell. The marker's path goes by a name that the host would resolve.
fn attempt(way: &str, site: usize) -> (Outcome, bool) {
    let (node, scratch) = (Node::take(), Scratch::new());
    let marker = scratch.path().join("marker");
    let case = Case::new(build(Language::C, "fence.c")).arg(way).arg(&marker).arg(site.to_string());
    let outcome = case.start_cell(&node, &scratch).finish();
    (outcome, marker.exists())
}

fn native(way: &str) -> (Outcome, bool) {
    let (node, scratch) = (Node::take(), Scratch::new());
    let marker = scratch.path().join("marker");
    let case = Case::new(build(Language::C, "fence.c")).arg(way).arg(&marker);
    let outcome = case.start_native(&node, &scratch).finish();
    (outcome, marker.exists())
}

/// A `syscall` instruction of the program's own arrives in Tacet's kernel, which knows call 1500
/// and no x32 calls.
fn arrives_in_the_cell(way: &str, place: &str) {
    let (on_linux, _) = native(way);
    let line = |result: i32| format!("{place}: call 1500 = {result}, own pid 1, x32 getpid = -38\nend\n");
    assert!(on_linux.out().ends_with(&line(-38)), "{on_linux}");
    let (in_cell, _) = attempt(way, 0);
    assert!(in_cell.out().ends_with(&line(0)), "{in_cell}");
    assert_eq!(in_cell.status.code(), Some(0), "{in_cell}");
}

#[test]
fn own_syscall_instruction() {
    arrives_in_the_cell("inline", "inline");
}

#[test]
fn code_written_then_made_executable() {
    arrives_in_the_cell("written", "written");
}

#[test]
fn code_in_writable_executable_memory() {
    arrives_in_the_cell("writable", "writable");
}

#[test]
fn code_in_a_mapped_file() {
    arrives_in_the_cell("mapped", "mapped");
}

/// `int 0x80` reaches Linux natively; in a cell it gives ENOSYS and makes no file.
fn old_call_is_refused(way: &str, place: &str) {
    let (on_linux, is_made) = native(way);
    if !on_linux.out().ends_with(&format!("{place}: int 0x80 getpid answers, open = 0\nend\n")) {
        println!("this host has no int 0x80 itself: {on_linux}");
    } else {
        assert!(is_made, "{on_linux}");
    }
    let (in_cell, is_made) = attempt(way, 0);
    assert!(!is_made, "the host made the file: {in_cell}");
    let expected = format!("{place}: int 0x80 getpid = -38, open = -38\nend\n");
    assert!(in_cell.out().ends_with(&expected), "{in_cell}");
}

#[test]
fn int80() {
    old_call_is_refused("int80", "inline");
}

#[test]
fn int80_in_memory_made_executable() {
    old_call_is_refused("int80_written", "written");
}

#[test]
fn int80_in_a_mapped_file() {
    old_call_is_refused("int80_mapped", "mapped");
}

/// What becomes of the program is left open; the host must not have done what it asked for.
#[test]
fn sysenter() {
    let (in_cell, is_made) = attempt("sysenter", 0);
    assert!(!is_made, "the host made the file: {in_cell}");
    assert!(in_cell.out().starts_with("sysenter\n"), "{in_cell}");
}

#[test]
fn int80_in_compatibility_mode() {
    let (_, is_made_natively) = native("compatibility");
    println!("natively the file is made: {is_made_natively}");
    let (in_cell, is_made) = attempt("compatibility", 0);
    assert!(!is_made, "the host made the file: {in_cell}");
    assert!(!in_cell.out().is_empty(), "{in_cell}");
}

/// Every `syscall` instruction of the kernel image that the program can see, with registers of
/// the program's choice: the host lets it do only what the platform itself needs.
#[test]
fn syscall_instructions_of_the_kernel_image() {
    const MOST: usize = 200;
    for site in 0..MOST {
        let (outcome, is_made) = attempt("borrowed", site);
        assert!(!is_made, "site {site}: the host made the file: {outcome}");
        if outcome.out().starts_with("none\n") {
            println!("{site} sites");
            return;
        }
        assert!(outcome.out().starts_with("jumping\n"), "{outcome}");
    }
    panic!("more than {MOST} syscall instructions in the kernel image");
}
