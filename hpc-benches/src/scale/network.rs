//! The network between the ranks, as LogGP has it.

use clap::Args;
use serde::Serialize;

use crate::quantity;

/// Parameters of LogGP (A. Alexandrov, M. Ionescu, K. Schauser, C. Scheiman, *LogGP: Incorporating Long
/// Messages into the LogP Model*, SPAA 1995).
///
/// A message of k bytes keeps the sender's core for o, arrives L + (k − 1)·G after it has left, and keeps the
/// receiver's core for o. Messages of one rank leave at least g + (k − 1)·G after each other.
///
/// The defaults are round numbers of the size that networks of 200 Gbit/s have: half a round trip of 8 bytes
/// takes 2·o + L = 1.5 µs, and 1/G is 25 GB/s.
#[derive(Args, Clone, Copy, Debug, Serialize)]
#[group(id = "network")]
pub struct Network {
    /// L: time of a message in the network
    #[arg(long = "latency", value_name = "TIME", default_value = "1us", value_parser = quantity::duration)]
    #[serde(rename = "latency_ns")]
    pub latency: f64,
    /// o: time that a core is kept by sending a message, and by receiving one
    #[arg(long = "overhead", value_name = "TIME", default_value = "250ns", value_parser = quantity::duration)]
    #[serde(rename = "overhead_ns")]
    pub overhead: f64,
    /// g: least time between two messages that one rank sends
    #[arg(long = "gap", value_name = "TIME", default_value = "100ns", value_parser = quantity::duration)]
    #[serde(rename = "gap_ns")]
    pub gap: f64,
    /// G: nanoseconds that each further byte of a message takes
    #[arg(long = "gap-per-byte", value_name = "NS", default_value = "0.04", value_parser = quantity::per_byte)]
    #[serde(rename = "gap_per_byte_ns")]
    pub gap_per_byte: f64,
}

impl Network {
    /// A network that takes no time.
    pub const FREE: Self = Self { latency: 0.0, overhead: 0.0, gap: 0.0, gap_per_byte: 0.0 };

    /// From a message's leaving until it is there.
    pub fn flight(&self, bytes: u64) -> f64 {
        self.latency + self.further_bytes(bytes)
    }

    /// From a message's leaving until the next may leave.
    pub fn spacing(&self, bytes: u64) -> f64 {
        self.gap + self.further_bytes(bytes)
    }

    fn further_bytes(&self, bytes: u64) -> f64 {
        bytes.saturating_sub(1) as f64 * self.gap_per_byte
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_byte_is_free_and_each_further_one_takes_the_gap_per_byte() {
        let network = Network { latency: 1000.0, overhead: 250.0, gap: 100.0, gap_per_byte: 2.0 };
        assert_eq!((network.flight(0), network.flight(1), network.flight(8)), (1000.0, 1000.0, 1014.0));
        assert_eq!(network.spacing(8), 114.0);
    }
}
