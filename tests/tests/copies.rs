//! Copies between processes, as MPI libraries make them for messages.

use std::io::Write;

use tacet_tests::scratch::Scratch;
use tacet_tests::{Case, Language, Node, build, platform};

tacet_tests::sections!("copies.c": alone, signals, threads, pieces);

/// What one program gets of the other's memory, and what it does to it, is what it would be on Linux, for each of
/// `pairs`: whether the one whose memory it is, and the other one, are in cells.
fn reaches(serves: &str, how: &str, pairs: &[(bool, bool)]) {
    let program = build(Language::C, "peer.c");
    let case = |how: &str| Case::new(&program).arg(how).options(["--cores", "1"]);
    let (serve, reach) = (case(serves).open_input(), case(how));
    let node = Node::take();
    let reached = |serves_in_cell: bool, reaches_in_cell: bool| {
        let scratch = Scratch::new();
        let start = |case: &Case, in_cell: bool| match in_cell {
            true => case.start_cell(&node, &scratch),
            false => case.start_native(&node, &scratch),
        };
        let mut server = start(&serve, serves_in_cell);
        server.wait_for("ready\n");
        let reached = start(&reach, reaches_in_cell).finish();
        writeln!(server.stdin()).expect("it waits");
        let served = server.finish();
        assert!(served.out().ends_with("end\n") && !served.out().contains("FAILS"), "{served}\n{reached}");
        assert!(reached.out().ends_with("end\n") && !reached.out().contains("FAILS"), "{reached}");
        reached
    };
    let native = reached(false, false);
    for (serves_in_cell, reaches_in_cell) in pairs {
        let cells = reached(*serves_in_cell, *reaches_in_cell);
        assert_eq!((cells.out(), cells.err()), (native.out(), native.err()), "{native}\n{cells}");
    }
}

/// Programs in no cell as well, where the platform promises that.
#[test]
fn memory_of_another_program() {
    match platform::is_partition() {
        true => reaches("serve", "reach", &[(true, true)]),
        false => reaches("serve", "reach", &[(true, true), (true, false), (false, true)]),
    }
}

/// What a cell fills when it is touched is filled when another cell touches it.
#[test]
fn memory_that_nobody_has_touched() {
    match platform::is_partition() {
        true => reaches("serve_untouched", "untouched", &[(true, true)]),
        false => reaches("serve_untouched", "untouched", &[(true, true), (false, true)]),
    }
}
