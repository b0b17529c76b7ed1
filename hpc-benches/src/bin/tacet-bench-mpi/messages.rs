//! Messages between two ranks: latency, bandwidth one way and both ways, and how many a second all pairs
//! of ranks send. The definitions are those of the OSU Micro-Benchmarks (`osu_latency`, `osu_bw`,
//! `osu_bibw`, `osu_mbw_mr`).

use mpi::point_to_point::{Destination, Source};
use mpi::request::multiple_scope;
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator, Root};
use mpi::{Rank, Tag};

use crate::ranks::{Ranks, SIZES, SMALL_SIZES, Size, message};

const TAG: Tag = 1;
const REPLY: Tag = 2;
const MOST_IN_FLIGHT: usize = 64;
const BYTES_IN_FLIGHT: usize = 4 << 20;

/// Messages between this rank and a peer; a rank without one waits for the others.
struct Pair<'a> {
    world: &'a SimpleCommunicator,
    peer: Option<Rank>,
    /// The lower rank of a pair begins.
    begins: bool,
    bytes: usize,
    window: usize,
    sent: Vec<u8>,
    received: Vec<u8>,
}

/// Measures everything of this module.
pub fn measure(ranks: &Ranks) {
    for &size in SIZES {
        latency(ranks, size);
    }
    for &size in SIZES {
        bandwidth(ranks, "bandwidth", size, Pair::one_way, 1);
    }
    for &size in SIZES {
        bandwidth(ranks, "bidirectional", size, Pair::both_ways, 2);
    }
    for &size in SMALL_SIZES {
        message_rate(ranks, size);
    }
}

fn latency(ranks: &Ranks, size: Size) {
    let mut pair = Pair::new(ranks, first_pair(ranks), size.bytes, 1);
    let mut samples = ranks.take(size.batch(), || pair.round_trip());
    samples.iter_mut().for_each(|sample| *sample /= 2.0);
    ranks.check("latency", pair.has_arrived());
    ranks.print_size("latency", "ns", size, samples);
}

fn bandwidth<'a>(ranks: &'a Ranks, curve: &str, size: Size, operation: fn(&mut Pair<'a>), ways: usize) {
    let mut pair = Pair::new(ranks, first_pair(ranks), size.bytes, window_of(size.bytes));
    let mut samples = ranks.take(1, || operation(&mut pair));
    let bytes = (ways * pair.window * size.bytes) as f64;
    // Bytes in a nanosecond are thousands of megabytes in a second.
    samples.iter_mut().for_each(|sample| *sample = bytes / *sample * 1e3);
    ranks.check(curve, (ways == 1 && pair.begins) || pair.has_arrived());
    ranks.print_size(curve, "MB/s", size, samples);
}

/// Rank i of the lower half sends to its counterpart in the upper half; an odd one is left over.
fn message_rate(ranks: &Ranks, size: Size) {
    let pairs = ranks.count / 2;
    let peer = match ranks.rank {
        rank if rank < pairs => Some(rank + pairs),
        rank if rank < 2 * pairs => Some(rank - pairs),
        _ => None,
    };
    let mut pair = Pair::new(ranks, peer, size.bytes, MOST_IN_FLIGHT);
    let mut samples = ranks.take(1, || pair.one_way());
    if peer.is_none() || !pair.begins {
        samples.fill(0.0);
    }
    // The time that a pair took, on average.
    let mean_time = sum_on_root(ranks, &samples).into_iter().map(|sum| sum / f64::from(pairs));
    let messages = f64::from(pairs) * pair.window as f64;
    let rates = mean_time.map(|time| messages / time * 1e9).collect();
    ranks.check("message-rate", pair.begins || pair.has_arrived());
    ranks.print_size("message-rate", "1/s", size, rates);
}

fn sum_on_root(ranks: &Ranks, samples: &[f64]) -> Vec<f64> {
    let mut sums = vec![0.0; samples.len()];
    let root = ranks.world.process_at_rank(0);
    let sum = mpi::collective::SystemOperation::sum();
    if ranks.rank == 0 {
        root.reduce_into_root(samples, &mut sums[..], sum);
    } else {
        root.reduce_into(samples, sum);
    }
    sums
}

/// Ranks 0 and 1 are a pair; the others have no peer.
fn first_pair(ranks: &Ranks) -> Option<Rank> {
    (ranks.rank < 2).then(|| 1 - ranks.rank)
}

fn window_of(bytes: usize) -> usize {
    (BYTES_IN_FLIGHT / bytes).min(MOST_IN_FLIGHT)
}

impl<'a> Pair<'a> {
    fn new(ranks: &'a Ranks, peer: Option<Rank>, bytes: usize, window: usize) -> Self {
        Self {
            world: &ranks.world,
            peer,
            begins: peer.is_some_and(|peer| ranks.rank < peer),
            bytes,
            window,
            sent: message(ranks.rank, peer.unwrap_or(0), bytes * window),
            received: vec![0; bytes * window],
        }
    }

    fn round_trip(&mut self) {
        let Some(peer) = self.peer else { return };
        let peer = self.world.process_at_rank(peer);
        if self.begins {
            peer.send_with_tag(&self.sent[..], TAG);
        }
        peer.receive_into_with_tag(&mut self.received[..], TAG);
        if !self.begins {
            peer.send_with_tag(&self.sent[..], TAG);
        }
    }

    /// A window of messages, and a reply when all are there.
    fn one_way(&mut self) {
        let Some(rank) = self.peer else { return };
        let none: &mut [u8] = &mut [];
        let (sends, receives) = if self.begins { (self.window, 0) } else { (0, self.window) };
        self.exchange(rank, sends, receives);
        let peer = self.world.process_at_rank(rank);
        if self.begins {
            peer.receive_into_with_tag(none, REPLY);
        } else {
            peer.send_with_tag(none, REPLY);
        }
    }

    /// A window of messages each way at once.
    fn both_ways(&mut self) {
        if let Some(peer) = self.peer {
            self.exchange(peer, self.window, self.window);
        }
    }

    /// The lists of requests are allocated anew each time, as the crate has it.
    fn exchange(&mut self, peer: Rank, sends: usize, receives: usize) {
        let peer = self.world.process_at_rank(peer);
        let (sent, received) = (&self.sent, &mut self.received);
        multiple_scope(sends + receives, |scope, requests| {
            for place in received.chunks_mut(self.bytes).take(receives) {
                requests.add(peer.immediate_receive_into_with_tag(scope, place, TAG));
            }
            for message in sent.chunks(self.bytes).take(sends) {
                requests.add(peer.immediate_send_with_tag(scope, message, TAG));
            }
            requests.wait_all(&mut Vec::with_capacity(sends + receives));
        });
    }

    /// Whether the last messages are here and as they were sent.
    fn has_arrived(&self) -> bool {
        self.peer.is_none_or(|peer| self.received == message(peer, self.world.rank(), self.received.len()))
    }
}
