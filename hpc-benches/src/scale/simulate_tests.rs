//! The simulation against one that goes message by message, and against what can be told without one.

use super::super::random::{SplitMix64, uniform_at};
use super::super::replay::naive;
use super::*;

const NETWORK: Network = Network { latency: 1000.0, overhead: 250.0, gap: 100.0, gap_per_byte: 2.0 };
const ALL: [Collective; 3] = [Collective::Barrier, Collective::Allreduce, Collective::ReduceBcast];

fn looped(ranks: usize, granularity: f64, collective: Collective) -> Loop {
    Loop { ranks, granularity, collective, bytes: 8, network: NETWORK }
}

/// Ranks one at a time, each event replayed from the beginning of the trace.
struct Naive<'a> {
    detours: &'a [[f64; 2]],
    period: f64,
    offsets: Vec<f64>,
    time: Vec<f64>,
    left: Vec<f64>,
    plan: Loop,
}

impl<'a> Naive<'a> {
    fn new(detours: &'a [[f64; 2]], period: f64, seed: u64, plan: Loop) -> Self {
        let offsets = (0..plan.ranks).map(|rank| uniform_at(seed, rank) * period).collect();
        let (time, left) = (vec![0.0; plan.ranks], vec![f64::NEG_INFINITY; plan.ranks]);
        Self { detours, period, offsets, time, left, plan }
    }

    fn work(&mut self, rank: usize, from: f64, work: f64) {
        self.time[rank] = naive::finish(self.detours, self.period, self.offsets[rank], from, work);
    }

    /// Returns when the message is there.
    fn send(&mut self, rank: usize) -> f64 {
        let network = self.plan.network;
        self.work(rank, self.time[rank], network.overhead);
        self.left[rank] = self.time[rank].max(self.left[rank] + network.spacing(self.plan.bytes));
        self.left[rank] + network.flight(self.plan.bytes)
    }

    fn receive(&mut self, rank: usize, arrival: f64) {
        self.work(rank, self.time[rank].max(arrival), self.plan.network.overhead);
    }

    /// Messages of one round: all are sent before any is received.
    fn round(&mut self, messages: &[(usize, usize)]) {
        let arrivals: Vec<f64> = messages.iter().map(|&(from, _)| self.send(from)).collect();
        for (&(_, to), arrival) in messages.iter().zip(arrivals) {
            self.receive(to, arrival);
        }
    }

    fn collective(&mut self) {
        let count = self.plan.ranks;
        let distances = || (0..64).map(|k| 1_usize << k).take_while(|&d| d < count);
        let tree = |d: usize| (0..d).filter(move |p| p + d < count).map(move |p| (p, p + d));
        match self.plan.collective {
            Collective::Barrier => {
                for d in distances() {
                    self.round(&(0..count).map(|rank| (rank, (rank + d) % count)).collect::<Vec<_>>());
                }
            }
            Collective::Allreduce => {
                let below = (1..=count).rev().find(|n| n.is_power_of_two()).unwrap();
                self.round(&(below..count).map(|rank| (rank, rank - below)).collect::<Vec<_>>());
                for d in distances().filter(|&d| d < below) {
                    self.round(&(0..below).map(|rank| (rank, rank ^ d)).collect::<Vec<_>>());
                }
                self.round(&(below..count).map(|rank| (rank - below, rank)).collect::<Vec<_>>());
            }
            Collective::ReduceBcast => {
                for d in distances().collect::<Vec<_>>().into_iter().rev() {
                    self.round(&tree(d).map(|(parent, child)| (child, parent)).collect::<Vec<_>>());
                }
                for d in distances() {
                    self.round(&tree(d).collect::<Vec<_>>());
                }
            }
        }
    }

    fn iterations(mut self, count: usize) -> Vec<f64> {
        let mut end = 0.0;
        let mut iteration = || {
            for rank in 0..self.plan.ranks {
                self.work(rank, self.time[rank], self.plan.granularity);
            }
            self.collective();
            let last = self.time.iter().copied().fold(0.0, f64::max);
            last - std::mem::replace(&mut end, last)
        };
        (0..count).map(|_| iteration()).collect()
    }
}

#[track_caller]
fn assert_same_as_naive(detours: &[[f64; 2]], period: f64, seed: u64, plan: Loop, count: usize) {
    let found = plan.iterations(&Noise::from_detours(detours, period), seed, 0, |times| times.len() == count);
    let expected = Naive::new(detours, period, seed, plan).iterations(count);
    assert_eq!(found.len(), count);
    for (found, expected) in found.iter().zip(&expected) {
        assert!((found - expected).abs() < 1e-3, "{plan:?}: {found} ns instead of {expected} ns");
    }
}

fn some_detours(random: &mut SplitMix64, count: usize) -> (Vec<[f64; 2]>, f64) {
    let mut at = 0.0;
    let mut detours = Vec::new();
    for _ in 0..count {
        at += random.exponential(20_000.0);
        let length = 1.0 + random.exponential(3000.0);
        detours.push([at, length]);
        at += length;
    }
    (detours, at + 5000.0)
}

#[test]
fn small_jobs_are_simulated_as_message_by_message() {
    let mut random = SplitMix64::new(3);
    for ranks in [2, 3, 4, 5, 7, 8, 31, 64, 100, 130] {
        for collective in ALL {
            let (detours, period) = some_detours(&mut random, 30);
            let spread = |random: &mut SplitMix64, most| random.uniform() * most;
            let network = Network {
                latency: spread(&mut random, 2000.0),
                overhead: spread(&mut random, 500.0),
                // Sometimes more than two overheads: then messages wait for the network.
                gap: spread(&mut random, 1500.0),
                gap_per_byte: spread(&mut random, 5.0),
            };
            let granularity = spread(&mut random, 50_000.0);
            let plan = Loop { ranks, granularity, collective, bytes: 8, network };
            assert_same_as_naive(&detours, period, random.next(), plan, 8);
        }
    }
}

#[test]
fn jobs_of_several_blocks_are_simulated_as_message_by_message() {
    let (detours, period) = some_detours(&mut SplitMix64::new(4), 20);
    for collective in ALL {
        assert_same_as_naive(&detours, period, 9, looped(20_001, 30_000.0, collective), 2);
    }
}

/// Rounds of a send, a flight of 1014 ns (8 bytes) and a receive.
#[test]
fn without_noise_an_iteration_is_work_and_rounds() {
    let rounds = |ranks, collective| {
        let first = looped(ranks, 5000.0, collective).iterations(&Noise::silence(), 0, 0, |times| times.len() == 1)[0];
        (first - 5000.0) / (2.0 * 250.0 + 1014.0)
    };
    assert_eq!(rounds(1024, Collective::Barrier), 10.0);
    assert_eq!(rounds(1025, Collective::Barrier), 11.0);
    assert_eq!(rounds(1024, Collective::Allreduce), 10.0);
    // One round before and one after those of the largest power of two.
    assert_eq!(rounds(2047, Collective::Allreduce), 12.0);
    assert_eq!(rounds(2, Collective::ReduceBcast), 2.0);
}

#[test]
fn without_noise_the_loop_repeats_itself_once_it_has_settled() {
    for collective in ALL {
        for ranks in [2, 3, 5, 8, 100, 1000, 4097] {
            let times = looped(ranks, 100_000.0, collective)
                .iterations(&Noise::silence(), 0, SETTLED, |times| times.len() == 20);
            assert!(times.iter().all(|time| (time - times[0]).abs() < 1e-6), "{collective:?} {ranks}: {times:?}");
        }
    }
}

/// One of so many ranks always has the one detour in its work. In each of the 14 rounds, one that has it while
/// it waits may hold up the others for once more.
#[test]
fn many_ranks_always_pay_the_longest_detour() {
    let noise = Noise::from_detours(&[[0.0, 7000.0]], 1e6);
    let plan = Loop { network: Network::FREE, ..looped(10_000, 50_000.0, Collective::Barrier) };
    let times = plan.iterations(&noise, 5, 1, |times| times.len() == 10);
    assert!(times.iter().all(|time| (57_000.0 - 1e-6..57_000.0 + 14.0 * 7000.0).contains(time)), "{times:?}");
}

#[test]
fn a_seed_gives_the_same_times_again_and_another_gives_others() {
    let (detours, period) = some_detours(&mut SplitMix64::new(6), 500);
    let noise = Noise::from_detours(&detours, period);
    let times =
        |seed| looped(50, 40_000.0, Collective::Allreduce).iterations(&noise, seed, 1, |times| times.len() == 5);
    assert_eq!(times(1), times(1));
    assert_ne!(times(1), times(2));
}
