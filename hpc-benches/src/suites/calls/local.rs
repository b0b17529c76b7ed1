//! Calls without data: local ones, the forwarded no-op, and the ring below it.

use std::sync::atomic::AtomicU32;

use super::timing::{Plan, time, time_asleep};
use super::{Bench, Samples};
use crate::machine::calls;

const PROBES: usize = 50;
const ROUND_TRIPS_PER_PROBE: usize = 1000;

pub(super) fn getpid(bench: &Bench) -> Samples {
    time(&bench.clock, Plan::BATCHED, calls::getpid)
}

pub(super) fn getppid(bench: &Bench) -> Samples {
    time(&bench.clock, Plan::BATCHED, calls::getppid)
}

pub(super) fn sched_yield(bench: &Bench) -> Samples {
    time(&bench.clock, Plan::BATCHED, calls::sched_yield)
}

pub(super) fn clock_gettime(bench: &Bench) -> Samples {
    time(&bench.clock, Plan::BATCHED, calls::clock_gettime)
}

/// `futex(2)`, `FUTEX_WAKE` where nobody waits.
pub(super) fn futex_wake(bench: &Bench) -> Samples {
    let word = AtomicU32::new(0);
    time(&bench.clock, Plan::BATCHED, || {
        calls::futex_wake(&word);
        Ok(())
    })
}

/// The trap into the cell's kernel, a round trip to the proxy, and back.
pub(super) fn forwarded_nop(bench: &Bench) -> Samples {
    time(&bench.clock, Plan::SINGLE, calls::tacet_ring_nop)
}

/// The same after computing for so long that whoever serves calls has gone to sleep.
pub(super) fn forwarded_nop_asleep(bench: &Bench) -> Samples {
    time_asleep(&bench.clock, bench.asleep_calls, calls::tacet_ring_nop)
}

/// The round trip alone, timed by the cell's kernel; a sample is the mean of a probe.
pub(super) fn ring_roundtrip(_: &Bench) -> Samples {
    calls::tacet_ring_probe(ROUND_TRIPS_PER_PROBE)?;
    (0..PROBES)
        .map(|_| {
            let nanoseconds = calls::tacet_ring_probe(ROUND_TRIPS_PER_PROBE)?;
            Ok(nanoseconds as f64 / ROUND_TRIPS_PER_PROBE as f64)
        })
        .collect()
}
