//! Suite `mpi`: messages, collectives and a bulk-synchronous loop, natively and each rank in its own cell.
//!
//! Two programs measure the same. One, in C, is compiled on demand with the node's own compiler wrapper, so
//! that it uses the MPI library that the launcher belongs to. The other, `tacet-bench-mpi`, is in Rust; it
//! was built for one library and is taken where it stands beside this program.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::Args;

use super::compiled::{Program, Source};
use crate::error::Failure;
use crate::quantity;

const SOURCE: Source = Source {
    name: "mpi_bench",
    text: include_str!("../../programs/mpi_bench.c"),
    options: &[],
    advice: "install an MPI library with its compiler wrapper, or give --mpicc",
};

/// Its other files: what they share, and one per group of measures.
const FURTHER: &[(&str, &str)] = &[
    ("mpi_bench.h", include_str!("../../programs/mpi_bench.h")),
    ("mpi_messages.c", include_str!("../../programs/mpi_messages.c")),
    ("mpi_collectives.c", include_str!("../../programs/mpi_collectives.c")),
    ("mpi_halo.c", include_str!("../../programs/mpi_halo.c")),
    ("mpi_bulk.c", include_str!("../../programs/mpi_bulk.c")),
];

/// The program in Rust.
const IN_RUST: &str = "tacet-bench-mpi";

const DEFAULT_COMPILER: &str = "mpicc.mpich";

/// How MPI programs are compiled and started.
#[derive(Args, Clone, Debug)]
#[group(id = "mpi-launcher")]
pub struct Launcher {
    /// MPI launcher
    #[arg(long, value_name = "COMMAND", default_value = "mpirun.mpich")]
    pub mpirun: PathBuf,
    /// Further argument for the launcher, on all sides; may be repeated
    #[arg(long, value_name = "ARG", allow_hyphen_values = true)]
    pub mpirun_arg: Vec<String>,
    /// Ranks
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(2..=4096))]
    pub mpi_ranks: u32,
    /// MPI compiler wrapper that belongs to the launcher [default: mpicc.mpich]
    #[arg(long, value_name = "COMMAND")]
    pub mpicc: Option<PathBuf>,
}

impl Launcher {
    /// The launcher with the ranks.
    pub fn words(&self) -> Vec<OsString> {
        let mut words: Vec<OsString> = vec![self.mpirun.clone().into()];
        words.extend(["-np".into(), self.mpi_ranks.to_string().into()]);
        words.extend(self.mpirun_arg.iter().map(OsString::from));
        words
    }

    /// How many ranks it starts.
    pub fn ranks(&self) -> usize {
        self.mpi_ranks as usize
    }

    /// The compiler wrapper.
    pub fn compiler(&self) -> &Path {
        self.mpicc.as_deref().unwrap_or(Path::new(DEFAULT_COMPILER))
    }
}

/// Parameters of the suite.
#[derive(Args, Clone, Debug)]
#[group(id = "mpi-settings")]
pub struct Settings {
    /// How programs are compiled and started.
    #[command(flatten)]
    pub mpi: Launcher,
    /// A program that prints `measure` lines [default: without --mpicc, tacet-bench-mpi where it is beside
    /// this program; else one in C that is compiled]
    #[arg(long, value_name = "PATH", conflicts_with = "mpicc")]
    pub program: Option<PathBuf>,
    /// Length of one run in seconds; a program of your own is not told
    #[arg(long, value_name = "S", default_value_t = 4.0, value_parser = quantity::seconds)]
    pub mpi_seconds: f64,
}

impl Settings {
    /// The launcher with the ranks.
    pub fn launcher(&self) -> Vec<OsString> {
        self.mpi.words()
    }

    /// The program that was named, or the one in Rust, or the one in C, compiled.
    pub fn program(&self) -> Result<Program, Failure> {
        let beside = || self.mpi.mpicc.is_none().then(beside_this_program).flatten();
        match self.program.clone().or_else(beside) {
            Some(path) => Program::existing(&path),
            None => Program::compile_with(&SOURCE, FURTHER, self.mpi.compiler()),
        }
    }

    /// What `program` is started with.
    pub fn arguments(&self, program: &Program) -> Vec<OsString> {
        let of_ours = program.is_temporary() || program.path().file_name().is_some_and(|name| name == IN_RUST);
        if of_ours { vec!["--seconds".into(), self.mpi_seconds.to_string().into()] } else { Vec::new() }
    }
}

fn beside_this_program() -> Option<PathBuf> {
    let path = env::current_exe().ok()?.with_file_name(IN_RUST);
    path.is_file().then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::scratch::ScratchFolder;
    use crate::parsed::{self, attempt};

    fn settings(arguments: &[&str]) -> Settings {
        parsed::settings(arguments)
    }

    #[test]
    fn the_launcher_gets_ranks_and_further_arguments() {
        let words = settings(&["--mpirun", "mpirun", "--mpi-ranks", "8", "--mpirun-arg=-bind-to", "--mpirun-arg=core"]);
        assert_eq!(words.launcher(), ["mpirun", "-np", "8", "-bind-to", "core"]);
    }

    #[test]
    fn a_program_of_the_users_own_is_told_nothing() {
        let own = Program::existing(Path::new("/bin/sh")).unwrap();
        assert!(settings(&[]).arguments(&own).is_empty());
        let folder = ScratchFolder::new(&env::temp_dir()).unwrap();
        let path = folder.path().join(IN_RUST);
        std::fs::write(&path, "").unwrap();
        let ours = Program::existing(&path).unwrap();
        assert_eq!(settings(&["--mpi-seconds", "2.5"]).arguments(&ours), ["--seconds", "2.5"]);
    }

    #[test]
    fn a_run_has_a_length_and_a_pair_of_ranks() {
        for wrong in [["--mpi-seconds", "0"], ["--mpi-seconds", "nan"], ["--mpi-ranks", "1"]] {
            assert!(attempt::<Settings>(&wrong[..]).is_err(), "{wrong:?}");
        }
    }
}
