//! mpi4py with MPI libraries from wheels, as Python's package index has them: MPICH and Open MPI, each with
//! its own launcher, in an environment of its own.
//!
//! `scripts/test` makes the environments and says where they are in `TACET_TEST_WHEELS`.

use std::path::PathBuf;
use std::time::Duration;
use tacet_tests::{Case, programs};

fn same(library: &str, launcher: &[&str]) {
    let place =
        std::env::var_os("TACET_TEST_WHEELS").expect("TACET_TEST_WHEELS names the environments: use scripts/test");
    let environment = PathBuf::from(place).join(library).join("bin");
    let mut words = vec![environment.join(launcher[0]).into_os_string()];
    words.extend(launcher[1..].iter().map(Into::into));
    let case = Case::new(environment.join("python")).arg(programs::sources().join("mpi_wheel.py")).launcher(words);
    let case = case.env("OMPI_ALLOW_RUN_AS_ROOT", "1").env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
    let case = case.env("PRTE_ALLOW_RUN_AS_ROOT", "1").env("PRTE_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
    // Open MPI's complaints have the number of a process in them.
    let compared = case.limit(Duration::from_secs(120)).ignore_stderr().assert_same();
    let right = format!("[{}]", ["True"; 6].join(", "));
    assert_eq!(compared.native.out(), format!("2 ranks: [{right}, {right}]\n"), "{}", compared.native);
}

#[test]
fn mpich() {
    same("mpich", &["mpiexec", "-n", "2"]);
}

#[test]
fn open_mpi() {
    same("openmpi", &["mpirun", "--oversubscribe", "-n", "2"]);
}
