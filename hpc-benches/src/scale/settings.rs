//! What `tacet-bench scale` takes on its command line, and the loops that follow from it.

use std::path::PathBuf;

use clap::Args;

use super::collective::Collective;
use super::network::Network;
use super::simulate::Loop;
use crate::error::Failure;
use crate::quantity;

const RANKS: [usize; 5] = [100, 1000, 10_000, 100_000, 1_000_000];
const RANKS_OF_CHECK: [usize; 3] = [100, 1000, 10_000];
const ITERATIONS: usize = 100;
const ITERATIONS_OF_CHECK: usize = 400;
/// Parameters of a simulation.
#[derive(Args, Debug)]
#[group(id = "scale-settings")]
pub struct Settings {
    /// Detours to replay: files that `tacet-bench noise --trace FILE` wrote
    #[arg(value_name = "TRACE", required_unless_present = "check")]
    pub traces: Vec<PathBuf>,
    /// Work of each rank between two collectives
    #[arg(long, value_name = "TIME", value_delimiter = ',', default_value = "100us,1ms,10ms", allow_hyphen_values = true, value_parser = quantity::positive_duration)]
    pub granularity: Vec<f64>,
    /// What the ranks meet in
    #[arg(long, value_enum, default_value = "allreduce")]
    pub collective: Collective,
    /// Bytes of each message of the collective [default: 8; a barrier has none]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub bytes: Option<u64>,
    /// Numbers of ranks [default: 100,1000,10000,100000,1000000; with --check up to 10000]
    #[arg(long, value_name = "N", value_delimiter = ',', value_parser = quantity::ranks)]
    pub ranks: Vec<usize>,
    /// Iterations per point, at most [default: 100; with --check 400]
    #[arg(long, value_name = "N", value_parser = quantity::at_least_one)]
    pub iterations: Option<usize>,
    /// A point has enough iterations (20 at least) when what noise adds to one is known to this standard error; 0:
    /// takes all of them
    #[arg(long, value_name = "PERCENT", default_value_t = 2.0, value_parser = quantity::percent)]
    pub precision: f64,
    /// Seed of the offsets at which ranks start in a trace; the same for all points
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Compare the simulation of random noise with closed forms, and replay no trace
    #[arg(long, conflicts_with_all = ["traces", "granularity", "collective", "bytes", "precision", "network", "svg", "html"])]
    pub check: bool,
    /// The network.
    #[command(flatten, next_help_heading = "Network (LogGP)")]
    pub network: Network,
    /// Write the results as JSON to FILE, or to standard output in place of the table with `-`
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub json: Option<PathBuf>,
    /// Write a plot of slowdown over ranks to FILE
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub svg: Option<PathBuf>,
    /// Write a page with plot and tables to FILE, which needs no other file
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub html: Option<PathBuf>,
}

impl Settings {
    /// Every loop to simulate, with the time that its iterations take without noise.
    pub fn loops(&self, bytes: u64) -> Vec<(Loop, f64)> {
        let ranks = self.ranks_or(&RANKS);
        let plan =
            |ranks, granularity| Loop { ranks, granularity, collective: self.collective, bytes, network: self.network };
        // Without noise all ranks take the work equally: what the collective adds does not depend on it.
        let added: Vec<(usize, f64)> = ranks.iter().map(|&ranks| (ranks, plan(ranks, 0.0).ideal())).collect();
        let of = |&granularity: &f64| {
            let loops = added.iter().map(move |&(ranks, added)| (ranks, granularity, granularity + added));
            loops.map(|(ranks, granularity, ideal)| (plan(ranks, granularity), ideal)).collect::<Vec<_>>()
        };
        self.granularity.iter().flat_map(of).collect()
    }

    /// Numbers of ranks and phases of the check.
    pub fn of_check(&self) -> (Vec<usize>, usize) {
        (self.ranks_or(&RANKS_OF_CHECK), self.iterations.unwrap_or(ITERATIONS_OF_CHECK))
    }

    /// Iterations of each loop.
    pub fn iterations(&self) -> usize {
        self.iterations.unwrap_or(ITERATIONS)
    }

    /// In rising order, each once.
    fn ranks_or(&self, default: &[usize]) -> Vec<usize> {
        let mut ranks = if self.ranks.is_empty() { default.to_vec() } else { self.ranks.clone() };
        ranks.sort_unstable();
        ranks.dedup();
        ranks
    }

    /// Bytes of each message.
    pub fn bytes(&self) -> Result<u64, Failure> {
        match (self.collective, self.bytes) {
            (Collective::Barrier, Some(_)) => Err(Failure::with_status(
                2,
                "the messages of a barrier carry no data; leave --bytes out or choose another --collective",
            )),
            (collective, bytes) => Ok(bytes.unwrap_or(collective.default_bytes())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parsed::{self, attempt};

    fn settings(arguments: &[&str]) -> Settings {
        parsed::settings(arguments)
    }

    #[test]
    fn ideal_times_are_work_and_collective() {
        let settings = settings(&["t", "--ranks", "1000,8,8", "--granularity", "1ms,2ms", "--collective", "barrier"]);
        let found: Vec<(usize, f64, f64)> =
            settings.loops(1).iter().map(|(plan, ideal)| (plan.ranks, plan.granularity, *ideal)).collect();
        // Rounds of 2·250 ns + 1 µs: 3 for 8 ranks, 10 for 1000.
        let expected =
            [(8, 1e6, 1_004_500.0), (1000, 1e6, 1_015_000.0), (8, 2e6, 2_004_500.0), (1000, 2e6, 2_015_000.0)];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_barrier_has_no_bytes_and_an_allreduce_8() {
        assert_eq!(settings(&["t"]).bytes().unwrap(), 8);
        assert_eq!(settings(&["t", "--bytes", "64"]).bytes().unwrap(), 64);
        assert_eq!(settings(&["t", "--collective", "barrier"]).bytes().unwrap(), 1);
        assert_eq!(settings(&["t", "--collective", "barrier", "--bytes", "8"]).bytes().unwrap_err().status(), 2);
    }

    #[test]
    fn a_check_takes_no_trace_and_a_simulation_needs_one() {
        assert!(attempt::<Settings>(&[]).is_err());
        assert!(attempt::<Settings>(&["--check"]).is_ok());
        for with in [&["t"][..], &["--granularity", "1ms"], &["--latency", "1us"], &["--svg", "x"]] {
            assert!(attempt::<Settings>(&[&["--check"], with].concat()).is_err(), "{with:?}");
        }
    }
}
