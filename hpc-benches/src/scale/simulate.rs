//! The bulk-synchronous loop: all ranks work for the granularity, then meet in a collective, again and again.
//!
//! T. Hoefler, T. Schneider, A. Lumsdaine, *Characterizing the Influence of System Noise on Large-Scale
//! Applications by Simulation*, SC 2010.

use super::collective::Collective;
use super::network::Network;
use super::ranks::Ranks;
use super::replay::Noise;

/// Iterations after which a loop without noise repeats itself exactly.
const SETTLED: usize = 3;

/// One loop to simulate.
#[derive(Clone, Copy, Debug)]
pub struct Loop {
    /// Number of ranks.
    pub ranks: usize,
    /// Work of each rank per iteration, in nanoseconds.
    pub granularity: f64,
    /// What ends an iteration.
    pub collective: Collective,
    /// Bytes of the collective's messages.
    pub bytes: u64,
    /// The network.
    pub network: Network,
}

impl Loop {
    /// How long each iteration takes, in nanoseconds, until there `are_enough`: from when the last rank has ended
    /// the iteration before to when the last rank has ended it. Ranks enter an iteration as they leave the one
    /// before. `settle` iterations, which start with all ranks in step, go before.
    pub fn iterations(&self, noise: &Noise, seed: u64, settle: usize, are_enough: impl Fn(&[f64]) -> bool) -> Vec<f64> {
        let mut ranks = Ranks::new(noise, self.ranks, seed, &self.network, self.bytes);
        let mut end = 0.0;
        let mut iteration = || {
            ranks.compute(self.granularity);
            self.collective.run(&mut ranks);
            let before = std::mem::replace(&mut end, ranks.last());
            end - before
        };
        for _ in 0..settle {
            iteration();
        }
        let mut times = Vec::new();
        while !are_enough(&times) {
            times.push(iteration());
        }
        times
    }

    /// How long an iteration takes without noise.
    pub fn ideal(&self) -> f64 {
        let iterations = self.iterations(&Noise::silence(), 0, SETTLED, |times| !times.is_empty());
        iterations.last().copied().unwrap_or(self.granularity)
    }
}

#[cfg(test)]
#[path = "simulate_tests.rs"]
mod tests;
