//! POSIX threads, more of them than cores: on one core and on two.

use tacet_tests::{Case, Language, build, node, platform};

mod one_core {
    tacet_tests::sections!("threads.c":
        join, mutex, condition, barrier, local, robust, locks, turns, spin, spin_after_sleep,
        spin_for_woken, cancel, identity, futex, bad_base);
}

/// The same sections on two cores must print the same as on one.
fn on_two_cores(section: &str) {
    if node::core_count() < 2 {
        println!("skipped: this machine has one core");
        return;
    }
    let case = Case::new(build(Language::C, "threads.c")).arg(section);
    case.options(platform::cores(2)).assert_same();
}

mod two_cores {
    #[test]
    fn mutex() {
        super::on_two_cores("mutex");
    }

    #[test]
    fn condition() {
        super::on_two_cores("condition");
    }

    #[test]
    fn barrier() {
        super::on_two_cores("barrier");
    }

    #[test]
    fn locks() {
        super::on_two_cores("locks");
    }

    #[test]
    fn spin() {
        super::on_two_cores("spin");
    }

    #[test]
    fn cancel() {
        super::on_two_cores("cancel");
    }

    #[test]
    fn moved() {
        super::on_two_cores("moved");
    }
}

fn ends_with_status(section: &str, status: i32) {
    let compared = Case::new(build(Language::C, "threads.c")).arg(section).assert_same();
    assert_eq!(compared.native.shell_status(), status, "{}", compared.native);
}

/// The main thread leaves by `pthread_exit`; another one ends the program.
#[test]
fn main_leaves() {
    ends_with_status("main_leaves", 23);
}

/// A thread ends the program while the others wait.
#[test]
fn exit_group() {
    ends_with_status("exit_group", 24);
}

/// `--cores N` gives the program that many cores, `--cores LIST` these.
#[test]
fn cores_are_what_was_asked_for() {
    let count = |cores: &str| Case::new("nproc").options(["--cores", cores]).cell().out();
    assert_eq!(count("1"), "1\n");
    if node::core_count() >= 2 {
        assert_eq!(count("2"), "2\n");
        assert_eq!(count(&platform::cores(2)[1]), "2\n");
    }
}
