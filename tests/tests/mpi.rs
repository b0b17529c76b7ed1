//! MPI programs under Debian's MPICH: `mpirun.mpich -np 2 tacet run -- ./program` against
//! `mpirun.mpich -np 2 ./program`, with the transports that the library chooses.

use std::fs;
use std::time::Duration;
use tacet_tests::node::Holdings;
use tacet_tests::scratch::Scratch;
use tacet_tests::{Case, Language, Node, Outcome, build, platform};

fn mpi(source: &str) -> Case {
    let case = Case::new(build(Language::Mpi, source)).launcher(["mpirun.mpich", "-np", "2"]);
    case.limit(Duration::from_secs(120))
}

/// Runs in cells as natively, successfully, and leaves nothing on the node.
fn same(case: &Case) -> Outcome {
    let node = Node::take();
    let before = Holdings::now(&node);
    let compared = case.assert_same_on(&node);
    assert_eq!(compared.native.status.code(), Some(0), "{}", compared.native);
    before.assert_nothing_added();
    compared.native
}

#[test]
fn ring() {
    assert_eq!(same(&mpi("mpi_ring.c")).out(), "under way\n2 ranks, 100 rounds, token 300: right\n");
}

#[test]
fn ring_of_many_rounds() {
    same(&mpi("mpi_ring.c").arg(platform::reduced(20_000).to_string()));
}

#[test]
fn allreduce() {
    let native = same(&mpi("mpi_allreduce.c"));
    assert!(native.out().contains("1048576 doubles: 0 wrong sums"), "{native}");
}

#[test]
fn pingpong() {
    let native = same(&mpi("mpi_pingpong.c"));
    assert!(native.out().contains("4194304 bytes: 0 wrong"), "{native}");
}

/// One rank on Linux, one in a cell: they see each other as two ranks of one node.
#[test]
fn native_rank_beside_a_cell() {
    let program = build(Language::Mpi, "mpi_pingpong.c");
    let script = "mpirun.mpich -np 1 \"$1\" : -np 1 \"${@:2}\" \"$1\"";
    let node = Node::take();
    let run = Case::script(script).arg(&program).args(platform::tacet_run::<&str>(&[])).limit(Duration::from_secs(120));
    let outcome = run.start_native(&node, &Scratch::new()).finish();
    assert_eq!(outcome.status.code(), Some(0), "{outcome}");
    assert!(outcome.out().contains("4194304 bytes: 0 wrong"), "{outcome}");
    assert!(!outcome.out().lines().any(|line| !line.ends_with(": 0 wrong")), "{outcome}");
}

#[test]
fn launcher_forwards_stdin() {
    let case = mpi("mpi_end.c").arg("stdin").input("a line\n");
    assert_eq!(same(&case).out(), "rank 0 read: a line\n");
}

/// A program that ends badly: all ranks end, the status is not 0, nothing is left. `finish` fails
/// when a process of the run lives on. Which rank's status the launcher reports differs from run
/// to run natively too, once it has begun to kill the others.
/// Gives both ends, native first, with the directories that the files are in.
fn ends_badly(case: &Case) -> [(Outcome, Scratch); 2] {
    let node = Node::take();
    let before = Holdings::now(&node);
    let scratch = [Scratch::new(), Scratch::new()];
    let native = case.start_native(&node, &scratch[0]).finish();
    let cell = case.start_cell(&node, &scratch[1]).finish();
    assert_ne!(native.shell_status(), 0, "{native}");
    assert_ne!(cell.shell_status(), 0, "{cell}");
    before.assert_nothing_added();
    let [of_native, of_cell] = scratch;
    [(native, of_native), (cell, of_cell)]
}

#[test]
fn abort() {
    for (outcome, scratch) in ends_badly(&mpi("mpi_end.c").arg("abort")) {
        let said = fs::read_to_string(scratch.path().join("abort.err")).unwrap_or_default();
        assert!(said.contains("application called MPI_Abort(MPI_COMM_WORLD, 17)"), "{said:?}: {outcome}");
    }
}

#[test]
fn a_rank_exits() {
    ends_badly(&mpi("mpi_end.c").arg("exit"));
}

#[test]
fn a_rank_crashes() {
    ends_badly(&mpi("mpi_end.c").arg("crash"));
}

/// The launcher sees the signal itself, not an exit status of `tacet`. One rank: nobody else
/// whose end it could report.
#[test]
fn the_only_rank_crashes() {
    let case = mpi("mpi_end.c").arg("crash").launcher(["mpirun.mpich", "-np", "1"]);
    let outcomes = ends_badly(&case);
    let [native, cell] = outcomes.map(|(outcome, _)| outcome);
    assert_eq!(native.shell_status(), cell.shell_status(), "{native} {cell}");
    for outcome in [native, cell] {
        assert!(outcome.out().contains("Segmentation fault (signal 11)"), "{outcome}");
    }
}

/// The launcher is terminated in the middle of a run: it ends, and nothing stays. What its own
/// status then is varies natively too (0 in 8 of 12 runs, 15 in the others).
#[test]
fn launcher_is_terminated() {
    let case = mpi("mpi_ring.c").arg("2000000000");
    let (node, scratch) = (Node::take(), Scratch::new());
    let before = Holdings::now(&node);
    let running = case.start_cell(&node, &scratch);
    running.wait_for("under way");
    running.signal(nix::sys::signal::Signal::SIGTERM);
    let outcome = running.finish();
    assert!(!outcome.out().contains("right"), "it came to its end: {outcome}");
    before.assert_nothing_added();
}
