//! The collectives that can end a phase of the simulated loop.
//!
//! All ranks have the same noise, so it makes no difference which rank has which place in an algorithm:
//! where there is a choice, ranks of a round that do the same have numbers in a row.

use clap::ValueEnum;
use serde::Serialize;

use super::ranks::Ranks;

/// An algorithm in which every rank hears, directly or not, from every other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Collective {
    /// Dissemination: in round k every rank tells the one 2^k further on
    Barrier,
    /// Recursive doubling: in round k ranks whose numbers differ in bit k exchange
    Allreduce,
    /// Binomial trees: a reduction to one rank, then a broadcast from it
    ReduceBcast,
}

impl Collective {
    /// Bytes of a message when nothing else is said: an envelope, or a double.
    pub fn default_bytes(self) -> u64 {
        match self {
            Self::Barrier => 1,
            Self::Allreduce | Self::ReduceBcast => 8,
        }
    }

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Barrier => "barrier",
            Self::Allreduce => "allreduce",
            Self::ReduceBcast => "reduce-bcast",
        }
    }

    /// Takes all ranks through it.
    pub fn run(self, ranks: &mut Ranks) {
        match self {
            Self::Barrier => dissemination(ranks),
            Self::Allreduce => recursive_doubling(ranks),
            Self::ReduceBcast => reduce_and_broadcast(ranks),
        }
    }
}

/// D. Hensgen, R. Finkel, U. Manber, *Two Algorithms for Barrier Synchronization*, International Journal of
/// Parallel Programming, 1988.
fn dissemination(ranks: &mut Ranks) {
    let count = ranks.count();
    ranks.exchange(count, log2_ceiling(count), |round, rank| {
        let distance = 1 << round;
        if rank >= distance { rank - distance } else { rank + count - distance }
    });
}

/// R. Thakur, R. Rabenseifner, W. Gropp, *Optimization of Collective Communication Operations in MPICH*,
/// International Journal of High Performance Computing Applications, 2005. Ranks beyond the largest power of
/// two hand their value to one below it first, and get the result from it at the end.
fn recursive_doubling(ranks: &mut Ranks) {
    let rounds = ranks.count().ilog2();
    let below = 1 << rounds;
    let beyond = ranks.count() - below;
    ranks.transfer(below, 0, beyond);
    ranks.exchange(below, rounds, |round, rank| rank ^ (1 << round));
    ranks.transfer(0, below, beyond);
}

/// The short-message algorithms of the same paper, one after the other. A rank's parent is its number
/// without the highest bit that is set; in round k of the broadcast, ranks below 2^k tell those 2^k further
/// on, and the reduction takes the rounds from the last to the first.
fn reduce_and_broadcast(ranks: &mut Ranks) {
    let count = ranks.count();
    let rounds = log2_ceiling(count);
    let children = |round: u32| {
        let first = 1_usize << round;
        (first, (count - first).min(first))
    };
    for (first, number) in (0..rounds).rev().map(children) {
        ranks.transfer(first, 0, number);
    }
    for (first, number) in (0..rounds).map(children) {
        ranks.transfer(0, first, number);
    }
}

/// Rounds after which `count` ranks have heard of each other if in each round twice as many have.
fn log2_ceiling(count: usize) -> u32 {
    count.next_power_of_two().ilog2()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_command_line() {
        for collective in Collective::value_variants() {
            let value = collective.to_possible_value().unwrap();
            assert_eq!(value.get_name(), collective.name());
        }
    }

    #[test]
    fn rounds_double_those_who_have_heard() {
        assert_eq!([2, 3, 4, 5, 1_000_000].map(log2_ceiling), [1, 2, 2, 3, 20]);
    }
}
