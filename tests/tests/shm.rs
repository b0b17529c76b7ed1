//! Memory shared by two processes: two native ones, a native one and a cell, two cells.

use tacet_tests::node::Holdings;
use tacet_tests::scratch::Scratch;
use tacet_tests::{Case, Language, Node, build};

/// Who runs in a cell: the one that makes the memory, and the one that opens it.
type Cells = (bool, bool);

const NATIVE: Cells = (false, false);
const FIRST: Cells = (true, false);
const SECOND: Cells = (false, true);
const BOTH: Cells = (true, true);

fn share(kind: &str, cells: Cells) -> [String; 2] {
    let (node, scratch) = (Node::take(), Scratch::new());
    let before = Holdings::now(&node);
    let name = match kind {
        "file" => scratch.path().join("shared").display().to_string(),
        "sysv" => scratch.file("key", "").display().to_string(),
        _ => format!("/tacet-test-{}", std::process::id()),
    };
    let program = build(Language::C, "shm.c");
    let start = |role: &str, is_cell: bool| {
        let case = Case::new(&program).args([kind, role, &name]);
        if is_cell { case.start_cell(&node, &scratch) } else { case.start_native(&node, &scratch) }
    };
    let first = start("first", cells.0);
    first.wait_for("ready\n");
    let second = start("second", cells.1);
    let outcomes = [first.finish(), second.finish()];
    for outcome in &outcomes {
        assert_eq!(outcome.status.code(), Some(0), "{outcome}");
        assert!(outcome.stderr.is_empty(), "{outcome}");
    }
    before.assert_nothing_added();
    outcomes.map(|outcome| outcome.out())
}

fn same(kind: &str, cells: Cells) {
    assert_eq!(share(kind, cells), share(kind, NATIVE));
}

macro_rules! shared {
    ($($kind:ident),+) => {
        $(mod $kind {
            #[test]
            fn cell_to_native() {
                super::same(stringify!($kind), super::FIRST);
            }

            #[test]
            fn native_to_cell() {
                super::same(stringify!($kind), super::SECOND);
            }

            #[test]
            fn cell_to_cell() {
                super::same(stringify!($kind), super::BOTH);
            }
        })+
    };
}

shared!(file, posix, sysv, futex);
