//! Suite `mpi`: messages and collectives of two ranks, natively and each rank in its own cell.
//!
//! The program is compiled on demand with the node's own compiler wrapper, so that it uses the
//! MPI library that the launcher belongs to.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

use super::compiled::{Program, Source};
use crate::error::Failure;

const SOURCE: Source = Source {
    name: "pingpong",
    text: include_str!("../../programs/pingpong.c"),
    options: &[],
    advice: "install an MPI library with its compiler wrapper, or give --mpicc",
};

/// Parameters of the suite.
#[derive(Args, Clone, Debug)]
#[group(id = "mpi-settings")]
pub struct Settings {
    /// MPI launcher
    #[arg(long, value_name = "COMMAND", default_value = "mpirun.mpich")]
    pub mpirun: PathBuf,
    /// Further argument for the launcher, on all sides; may be repeated
    #[arg(long, value_name = "ARG", allow_hyphen_values = true)]
    pub mpirun_arg: Vec<String>,
    /// MPI compiler wrapper that belongs to the launcher
    #[arg(long, value_name = "COMMAND", default_value = "mpicc.mpich")]
    pub mpicc: PathBuf,
    /// A program that prints `measure` lines, in place of the ping-pong
    #[arg(long, value_name = "PATH")]
    pub program: Option<PathBuf>,
}

impl Settings {
    /// The launcher with two ranks.
    pub fn launcher(&self) -> Vec<OsString> {
        let mut words: Vec<OsString> = vec![self.mpirun.clone().into()];
        words.extend(["-np".into(), "2".into()]);
        words.extend(self.mpirun_arg.iter().map(OsString::from));
        words
    }

    /// The program that was named, or the ping-pong, compiled.
    pub fn program(&self) -> Result<Program, Failure> {
        match &self.program {
            Some(path) => Program::existing(path),
            None => Program::compile(&SOURCE, &self.mpicc),
        }
    }
}
