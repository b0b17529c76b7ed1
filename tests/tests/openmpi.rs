//! Both MPI libraries that Debian has, and what they offer beyond messages between processes of C:
//! threads, files, memory of others, Fortran, ranks on Linux beside ranks in cells.

use std::time::Duration;
use tacet_tests::node::Holdings;
use tacet_tests::scratch::Scratch;
use tacet_tests::{Case, Language, Node, build, platform};

/// What starts programs that were built with an MPI library.
fn launcher(language: Language) -> &'static [&'static str] {
    match language {
        Language::OpenMpi | Language::OpenMpiFortran => {
            &["mpirun.openmpi", "--allow-run-as-root", "--oversubscribe", "--bind-to", "none"]
        }
        _ => &["mpirun.mpich"],
    }
}

fn case(language: Language, source: &str, ranks: &str) -> Case {
    let case = Case::new(build(language, source)).launcher([launcher(language), &["-np", ranks]].concat());
    case.env("OMP_NUM_THREADS", "2").limit(Duration::from_secs(120))
}

/// Runs in cells as natively, successfully, and leaves nothing on the node.
fn same(case: &Case) -> String {
    let node = Node::take();
    let before = Holdings::now(&node);
    let compared = case.assert_same_on(&node);
    assert_eq!(compared.native.status.code(), Some(0), "{}", compared.native);
    remove_failed_attempts();
    before.assert_nothing_added();
    compared.native.out()
}

/// For a window MPICH takes addresses at random until one is free in all ranks, and leaves the files of
/// those that were not, natively too. In a cell one or two in a hundred of all addresses are the kernel's.
fn remove_failed_attempts() {
    let files = std::fs::read_dir("/dev/shm").into_iter().flatten().flatten();
    for file in files.filter(|file| file.file_name().to_string_lossy().starts_with("mpich_shar_tmp")) {
        let _ = std::fs::remove_file(file.path());
    }
}

const HYBRID: &str = "threads: 0 wrong\nfiles: 0 wrong\none-sided: 0 wrong\nshared: 0 wrong\ncollectives: 0 wrong\n";

/// One rank on Linux and one in a cell, of one launch.
fn mixed(language: Language) {
    let program = build(language, "mpi_hybrid.c");
    let launcher = launcher(language).join(" ");
    let tacet = platform::tacet_run::<&str>(&[]);
    for script in [
        format!("{launcher} -np 1 \"$1\" : -np 1 \"${{@:2}}\" \"$1\""),
        format!("{launcher} -np 1 \"${{@:2}}\" \"$1\" : -np 1 \"$1\""),
    ] {
        let (node, scratch) = (Node::take(), Scratch::new());
        let case = Case::script(&script).arg(&program).args(tacet.clone()).env("OMP_NUM_THREADS", "2");
        let outcome = case.limit(Duration::from_secs(120)).start_native(&node, &scratch).finish();
        assert_eq!((outcome.status.code(), outcome.out().as_str()), (Some(0), HYBRID), "{outcome}");
    }
}

/// Without a launcher, in a program that loads the library itself, as mpi4py does.
#[test]
fn open_mpi_loaded_by_an_unlaunched_program() {
    let case = Case::new(build(Language::C, "mpi_loaded.c")).limit(Duration::from_secs(120));
    let out = same(&case);
    assert!(out.contains("init 0, size 0: 1\ntold by the environment: no\nfinalize 0\n"), "{out}");
}

macro_rules! libraries {
    ($($library:ident: $c:expr, $fortran:expr;)+) => {
        $(mod $library {
            use super::*;

            #[test]
            fn ring() {
                assert_eq!(same(&case($c, "mpi_ring.c", "2")), "under way\n2 ranks, 100 rounds, token 300: right\n");
            }

            #[test]
            fn pingpong() {
                assert!(same(&case($c, "mpi_pingpong.c", "2")).contains("4194304 bytes: 0 wrong"));
            }

            #[test]
            fn allreduce() {
                assert!(same(&case($c, "mpi_allreduce.c", "2")).contains("1048576 doubles: 0 wrong sums"));
            }

            #[test]
            fn threads_files_windows_and_collectives() {
                assert_eq!(same(&case($c, "mpi_hybrid.c", "2")), HYBRID);
            }

            #[test]
            fn one_rank() {
                assert_eq!(same(&case($c, "mpi_hybrid.c", "1")), HYBRID);
            }

            #[test]
            fn ranks_on_linux_beside_ranks_in_cells() {
                mixed($c);
            }

            #[test]
            fn fortran() {
                assert!(same(&case($fortran, "mpi_fortran.f90", "2")).starts_with("ranks  2 sum"));
            }

            /// Without a launcher: a rank alone.
            #[test]
            fn singleton() {
                assert_eq!(same(&case($c, "mpi_hybrid.c", "1").launcher::<&str>([])), HYBRID);
            }
        })+
    };
}

libraries! {
    mpich: Language::Mpi, Language::MpiFortran;
    open_mpi: Language::OpenMpi, Language::OpenMpiFortran;
}
