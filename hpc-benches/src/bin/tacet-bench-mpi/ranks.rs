//! The ranks of a run, and how all of them together take the samples of a measure.

use mpi::Rank;
use mpi::environment;
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator, CommunicatorCollectives, Root};

use crate::lines;

const LEAST_SAMPLES: usize = 10;
const MOST_SAMPLES: usize = 4000;
const WARM_UP: u32 = 10;
const TRIALS: u32 = 5;
/// Looks at the time while a measure is taken.
const LOOKS: usize = 8;
/// What shares the time beside the bulk-synchronous loop, rounded up.
const MEASURES: f64 = 50.0;

/// A size of messages, as the names of the measures have it.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    pub bytes: usize,
    pub name: &'static str,
}

/// The sizes of a curve.
pub const SIZES: &[Size] = &[
    Size { bytes: 8, name: "8" },
    Size { bytes: 64, name: "64" },
    Size { bytes: 512, name: "512" },
    Size { bytes: 4 << 10, name: "4k" },
    Size { bytes: 32 << 10, name: "32k" },
    Size { bytes: 256 << 10, name: "256k" },
    Size { bytes: 1 << 20, name: "1m" },
];

/// Those for which a rate of messages says something.
pub const SMALL_SIZES: &[Size] = SIZES.split_at(4).0;

impl Size {
    /// How many operations make a sample: what is short against a call of `MPI_Wtime` is timed in batches.
    pub fn batch(self) -> u32 {
        match self.bytes {
            0..=512 => 20,
            513..=0x8000 => 4,
            _ => 1,
        }
    }
}

/// All ranks, seen from this one.
pub struct Ranks {
    pub world: SimpleCommunicator,
    pub rank: Rank,
    pub count: Rank,
    /// Seconds that a measure may take.
    measure_seconds: f64,
    /// Seconds of the bulk-synchronous loop.
    pub bulk_seconds: f64,
}

impl Ranks {
    /// The ranks of `world`, for a run of so many seconds.
    pub fn new(world: SimpleCommunicator, seconds: f64) -> Self {
        let bulk_seconds = seconds / 4.0;
        let measure_seconds = (seconds - bulk_seconds) / MEASURES;
        Self { rank: world.rank(), count: world.size(), world, measure_seconds, bulk_seconds }
    }

    /// Times `operation` on every rank, after a warm-up that also tells how many samples fit: nanoseconds
    /// of one, each a mean of `batch`. Where they take longer than expected there are fewer.
    pub fn take(&self, batch: u32, mut operation: impl FnMut()) -> Vec<f64> {
        let sample = self.shortest_trial(batch, &mut operation) * f64::from(batch);
        let planned = self.count_fitting(self.measure_seconds, sample, LEAST_SAMPLES, MOST_SAMPLES);
        let stretch = (planned / LOOKS).max(LEAST_SAMPLES);
        let end = environment::time() + self.measure_seconds;
        // Written once here, so that no page is populated between samples.
        let mut samples = vec![f64::NAN; planned];
        let mut taken = 0;
        loop {
            let stretch_end = planned.min(taken + stretch);
            for sample in &mut samples[taken..stretch_end] {
                *sample = time_batch(batch, &mut operation);
            }
            taken = stretch_end;
            if !self.time_is_left(end) || taken == planned {
                break;
            }
        }
        samples.truncate(taken);
        samples
    }

    fn shortest_trial(&self, batch: u32, operation: &mut impl FnMut()) -> f64 {
        self.world.barrier();
        let warm = time_batch(WARM_UP, operation);
        (0..TRIALS).map(|_| time_batch(batch, operation)).fold(warm, f64::min)
    }

    /// How many samples fit, at least and at most so many; as rank 0 sees it.
    pub fn count_fitting(&self, seconds: f64, sample_ns: f64, least: usize, most: usize) -> usize {
        let mut count = (seconds * 1e9 / sample_ns).clamp(least as f64, most as f64) as u64;
        self.world.process_at_rank(0).broadcast_into(&mut count);
        count as usize
    }

    /// Whether it is before `end` on rank 0. All ranks ask, and go on together.
    pub fn time_is_left(&self, end: f64) -> bool {
        let mut left = u8::from(environment::time() < end);
        self.world.process_at_rank(0).broadcast_into(&mut left);
        self.world.barrier();
        left != 0
    }

    /// Prints a measure, on rank 0.
    pub fn print(&self, name: &str, unit: &str, samples: Vec<f64>) {
        if self.rank == 0 {
            println!("{}", lines::measure(name, unit, samples));
        }
    }

    /// Prints CURVE-SIZE, a point of the curve, on rank 0.
    pub fn print_size(&self, curve: &str, unit: &str, size: Size, samples: Vec<f64>) {
        if self.rank == 0 {
            let line = lines::measure(&format!("{curve}-{}", size.name), unit, samples);
            println!("{line} curve {curve} bytes {}", size.bytes);
        }
    }

    /// Ends all ranks when what arrived is not what was sent.
    pub fn check(&self, measure: &str, arrived: bool) {
        if !arrived {
            eprintln!("tacet-bench-mpi: {measure}: what arrived on rank {} is wrong", self.rank);
            self.world.abort(1);
        }
    }
}

fn time_batch(batch: u32, operation: &mut impl FnMut()) -> f64 {
    let start = environment::time();
    for _ in 0..batch {
        operation();
    }
    (environment::time() - start) * 1e9 / f64::from(batch)
}

/// A message from one rank to another; no byte of it is zero.
pub fn message(from: Rank, to: Rank, bytes: usize) -> Vec<u8> {
    let (from, to) = (from as usize, to as usize);
    (0..bytes).map(|place| ((place * 7 + from * 31 + to * 101) % 255 + 1) as u8).collect()
}
