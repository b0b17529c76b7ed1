//! Collectives over all ranks. A sample is the time from the start to the end on rank 0.

use mpi::collective::SystemOperation;
use mpi::traits::CommunicatorCollectives;

use crate::ranks::{Ranks, SIZES, Size, message};

/// Measures everything of this module.
pub fn measure(ranks: &Ranks) {
    let samples = ranks.take(10, || ranks.world.barrier());
    ranks.print("barrier", "ns", samples);
    for &size in SIZES {
        allreduce(ranks, size);
    }
    for &size in SIZES {
        alltoall(ranks, size);
    }
}

/// A sum over all ranks of as many doubles as the size has.
fn allreduce(ranks: &Ranks, size: Size) {
    let doubles = size.bytes / size_of::<f64>();
    let mine: Vec<f64> = (0..doubles).map(|i| i as f64 + f64::from(ranks.rank)).collect();
    let mut sums = vec![0.0; doubles];
    let sum = SystemOperation::sum();
    let samples = ranks.take(size.batch(), || ranks.world.all_reduce_into(&mine[..], &mut sums[..], sum));
    let (count, of_ranks) = (f64::from(ranks.count), f64::from(ranks.count * (ranks.count - 1) / 2));
    ranks.check("allreduce", sums.iter().enumerate().all(|(i, sum)| *sum == i as f64 * count + of_ranks));
    ranks.print_size("allreduce", "ns", size, samples);
}

/// Every rank sends as many bytes to every rank.
fn alltoall(ranks: &Ranks, size: Size) {
    let sent: Vec<u8> = (0..ranks.count).flat_map(|to| message(ranks.rank, to, size.bytes)).collect();
    let mut received = vec![0_u8; sent.len()];
    let samples = ranks.take(size.batch(), || ranks.world.all_to_all_into(&sent[..], &mut received[..]));
    let expected: Vec<u8> = (0..ranks.count).flat_map(|from| message(from, ranks.rank, size.bytes)).collect();
    ranks.check("alltoall", received == expected);
    ranks.print_size("alltoall", "ns", size, samples);
}
