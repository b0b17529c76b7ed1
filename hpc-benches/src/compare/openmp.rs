//! Suite `openmp`: what the constructs of OpenMP cost, natively and in a cell with the same cores.
//!
//! The program is compiled on demand, so that it uses the runtime that the node's compiler comes with.

use std::path::PathBuf;

use clap::Args;

use super::compiled::{Program, Source};
use crate::error::Failure;

const SOURCE: Source = Source {
    name: "omp_overheads",
    text: include_str!("../../programs/omp_overheads.c"),
    options: &["-fopenmp"],
    advice: "install a compiler with OpenMP, or give --omp-cc",
};

/// Its other files: what they share, and one per group of constructs.
const FURTHER: &[(&str, &str)] = &[
    ("omp_epcc.h", include_str!("../../programs/omp_epcc.h")),
    ("omp_sync.c", include_str!("../../programs/omp_sync.c")),
    ("omp_schedules.c", include_str!("../../programs/omp_schedules.c")),
    ("omp_arrays.c", include_str!("../../programs/omp_arrays.c")),
    ("omp_tasks.c", include_str!("../../programs/omp_tasks.c")),
];

/// Parameters of the suite.
#[derive(Args, Clone, Debug)]
#[group(id = "openmp-settings")]
pub struct Settings {
    /// C compiler with OpenMP
    #[arg(long, value_name = "COMMAND", default_value = "cc")]
    pub omp_cc: PathBuf,
}

impl Settings {
    /// The program, compiled.
    pub fn program(&self) -> Result<Program, Failure> {
        Program::compile_with(&SOURCE, FURTHER, &self.omp_cc)
    }
}
