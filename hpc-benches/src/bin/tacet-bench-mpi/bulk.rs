//! The bulk-synchronous loop: every rank computes a fixed work, then all meet in an Allreduce of one
//! number. On silent cores every step takes the same time; what disturbs any rank delays them all.
//!
//! After F. Petrini, D. Kerbyson, S. Pakin, *The Case of the Missing Supercomputer Performance*, SC 2003.

use std::hint::black_box;

use mpi::collective::SystemOperation;
use mpi::environment;
use mpi::traits::{Communicator, CommunicatorCollectives, Root};

use crate::lines;
use crate::ranks::Ranks;

const WORK_STEPS: u32 = 1 << 16;
const MOST_STEPS: usize = 20_000;
/// Steps between two looks at the time.
const STRETCH: usize = 100;

/// How long this rank computed and how long the whole step took, in nanoseconds.
#[derive(Clone, Copy)]
struct Step {
    computed: f64,
    met: f64,
}

/// Not zero, so that the allocation writes, and so populates, every page.
const UNUSED: Step = Step { computed: f64::NAN, met: f64::NAN };

/// Measures the loop.
pub fn measure(ranks: &Ranks) {
    let mut steps = vec![UNUSED; MOST_STEPS];
    let planned = steps_that_fit(ranks, &mut steps);
    let end = environment::time() + ranks.bulk_seconds;
    let mut count = 0;
    ranks.world.barrier();
    loop {
        let stretch_end = planned.min(count + STRETCH);
        run(ranks, &mut steps[count..stretch_end]);
        count = stretch_end;
        if !ranks.time_is_left(end) || count == planned {
            break;
        }
    }
    report(ranks, &steps[..count]);
}

fn steps_that_fit(ranks: &Ranks, steps: &mut [Step]) -> usize {
    ranks.world.barrier();
    run(ranks, &mut steps[..STRETCH]);
    let shortest = steps[..STRETCH].iter().map(|step| step.met).fold(f64::INFINITY, f64::min);
    ranks.count_fitting(ranks.bulk_seconds, shortest, STRETCH, MOST_STEPS)
}

/// Steps touch: the reading that ends one starts the next.
fn run(ranks: &Ranks, steps: &mut [Step]) {
    let mut start = environment::time();
    for step in steps {
        compute();
        let computed = environment::time();
        let mut sum = 0.0;
        ranks.world.all_reduce_into(&1.0, &mut sum, SystemOperation::sum());
        let met = environment::time();
        ranks.check("bsp", sum == f64::from(ranks.count));
        *step = Step { computed: (computed - start) * 1e9, met: (met - start) * 1e9 };
        start = met;
    }
}

/// A chain of xorshift steps, as in the fixed-work quantum: each needs the one before, none touches memory.
#[inline(never)]
fn compute() {
    let mut x = black_box(0x9E37_79B9_7F4A_7C15_u64);
    for _ in 0..WORK_STEPS {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
    }
    black_box(x);
}

fn report(ranks: &Ranks, steps: &[Step]) {
    let computed: Vec<f64> = steps.iter().map(|step| step.computed).collect();
    let met: Vec<f64> = steps.iter().map(|step| step.met).collect();
    let slowest = largest_on_root(ranks, &computed);
    let loss = loss_percent(&met);
    let histogram = lines::histogram("bsp-step", met.clone());
    ranks.print("bsp-compute", "ns", computed);
    ranks.print("bsp-slowest", "ns", slowest);
    ranks.print("bsp-step", "ns", met);
    if ranks.rank == 0 {
        println!("{histogram}");
    }
    ranks.print("bsp-loss", "%", vec![loss]);
}

fn largest_on_root(ranks: &Ranks, values: &[f64]) -> Vec<f64> {
    let mut largest = values.to_vec();
    let root = ranks.world.process_at_rank(0);
    if ranks.rank == 0 {
        root.reduce_into_root(values, &mut largest[..], SystemOperation::max());
    } else {
        root.reduce_into(values, SystemOperation::max());
    }
    largest
}

/// How much longer the steps took than if every one had been as short as the shortest.
fn loss_percent(steps: &[f64]) -> f64 {
    let shortest = steps.iter().copied().fold(f64::INFINITY, f64::min);
    let mean = steps.iter().sum::<f64>() / steps.len() as f64;
    (mean / shortest - 1.0) * 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_long_step_of_ten_is_the_loss() {
        let mut steps = vec![100.0; 9];
        assert_eq!(loss_percent(&steps), 0.0);
        steps.push(200.0);
        assert!((loss_percent(&steps) - 10.0).abs() < 1e-9);
    }
}
