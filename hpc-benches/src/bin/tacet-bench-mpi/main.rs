//! `tacet-bench-mpi`: messages, collectives and a bulk-synchronous loop of MPI ranks, by the crate
//! `mpi`. The same measures under the same names as `programs/mpi_bench.c`, so that the two can be set
//! against each other.
//!
//! An ordinary MPI program; rank 0 prints `measure` lines as `programs/measure.h` tells. It is built for
//! one MPI library, that of the compiler wrapper which `MPICC` named when it was built, and is started by
//! that library's launcher.

mod bulk;
mod collectives;
mod halo;
mod lines;
mod messages;
mod ranks;
#[path = "../../stats/summary.rs"]
#[allow(dead_code, reason = "tacet-bench uses the rest of it")]
mod summary;

use std::process::ExitCode;

use clap::Parser;

use crate::ranks::Ranks;

/// Measures messages, collectives and a bulk-synchronous loop of MPI ranks.
///
/// Start it with at least two ranks: mpirun -np 2 tacet-bench-mpi. Each measure, how to read it and its
/// source: docs/benchmarks.md.
#[derive(Parser, Debug)]
#[command(name = "tacet-bench-mpi", version, max_term_width = 100)]
struct Cli {
    /// Length of one run in seconds
    #[arg(long, value_name = "S", default_value_t = 4.0, value_parser = positive)]
    seconds: f64,
    /// Print the MPI library that this program uses, and end
    #[arg(long)]
    library: bool,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    if cli.library {
        println!("{}", library());
        return ExitCode::SUCCESS;
    }
    let Some(universe) = mpi::initialize() else {
        eprintln!("tacet-bench-mpi: MPI was initialised before; start the program by itself");
        return ExitCode::FAILURE;
    };
    let ranks = Ranks::new(universe.world(), cli.seconds);
    if ranks.count < 2 {
        eprintln!(
            "tacet-bench-mpi: needs 2 ranks, has {}: start it with -np 2, by the launcher of its own library, which is {}",
            ranks.count,
            library()
        );
        return ExitCode::from(2);
    }
    messages::measure(&ranks);
    collectives::measure(&ranks);
    halo::measure(&ranks);
    bulk::measure(&ranks);
    ExitCode::SUCCESS
}

/// The first line of what the library says of itself (`MPI_Get_library_version`, MPI 4.0, section 9.1.1).
fn library() -> String {
    let version = mpi::environment::library_version().unwrap_or_default();
    let line = version.trim_matches('\0').lines().next().unwrap_or("unknown");
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if seconds > 0.0 && seconds < 1e6 => Ok(seconds),
        _ => Err("not a positive number of seconds".to_owned()),
    }
}
