//! What memory costs: asking for it, writing to it for the first time, giving it back.
//!
//! First touch of 1 GiB: mapping it and writing one byte to every 4 KiB of it. Kernels that
//! populate when they map pay in the first part, those that fault pay in the second; the sum is
//! what a program waits for.
//!
//! One sample a run: memory that a process had and gave back is not touched for the first time,
//! so a second sample would measure something else.

use std::io;

use super::timing::{Plan, time, time_prepared};
use super::{Bench, Samples};
use crate::machine::meminfo;
use crate::machine::memory::{Anonymous, HeapBlock, Pages};
use crate::machine::tsc;

const MEBIBYTE: usize = 1 << 20;
const LENGTH: usize = 1 << 30;
/// What must be left besides the mapping, so that measuring never runs a machine out of memory.
const RESERVE: u64 = 256 << 20;

/// Maps 1 MiB, writes to all of it, and gives it back.
pub(super) fn mmap_1m(bench: &Bench) -> Samples {
    let plan = Plan { samples: 2000, warm_up: 10, ..Plan::SINGLE };
    time(&bench.clock, plan, || {
        Anonymous::map(MEBIBYTE, Pages::Small)?.touch();
        Ok(())
    })
}

/// `mmap` of 1 MiB alone: a kernel that populates when it maps pays here.
pub(super) fn map_1m(bench: &Bench) -> Samples {
    let plan = Plan { samples: 2000, warm_up: 10, ..Plan::SINGLE };
    time_prepared(&bench.clock, plan, || Ok(()), |()| Anonymous::map(MEBIBYTE, Pages::Unadvised))
}

/// `munmap` of 1 MiB that was written to, alone.
pub(super) fn unmap_1m(bench: &Bench) -> Samples {
    let plan = Plan { samples: 2000, warm_up: 10, ..Plan::SINGLE };
    let prepare = || {
        let mut memory = Anonymous::map(MEBIBYTE, Pages::Unadvised)?;
        memory.touch();
        Ok(memory)
    };
    time_prepared(&bench.clock, plan, prepare, |memory| {
        drop(memory);
        Ok(())
    })
}

/// `malloc` of 1 MiB. Blocks are kept until the end: a C library that maps such blocks hands out from its heap
/// what it got back, and the kernel would not be asked.
pub(super) fn malloc_1m(bench: &Bench) -> Samples {
    let plan = Plan { samples: 128, warm_up: 4, ..Plan::SINGLE };
    let mut blocks = Vec::with_capacity(plan.samples + plan.warm_up);
    time(&bench.clock, plan, || {
        blocks.push(HeapBlock::allocate(MEBIBYTE)?);
        Ok(())
    })
}

/// The first write to a 4 KiB page of a mapping, mean of 16 in a row.
pub(super) fn first_write_4k(bench: &Bench) -> Samples {
    const BATCH: usize = 16;
    let mut memory = Anonymous::map(64 * MEBIBYTE, Pages::Small)?;
    let mut next = 0;
    let plan = Plan { samples: memory.pages() / BATCH - 1, warm_up: 1, ..Plan::SINGLE };
    let samples = time(&bench.clock, plan, || {
        memory.touch_pages(next..next + BATCH);
        next += BATCH;
        Ok(())
    })?;
    Ok(samples.into_iter().map(|sample| sample / BATCH as f64).collect())
}

/// In 4 KiB pages, where the kernel takes the advice.
pub(super) fn first_touch_small(bench: &Bench) -> Samples {
    first_touch(bench, Pages::Small)
}

/// In the largest pages that the kernel gives.
pub(super) fn first_touch_large(bench: &Bench) -> Samples {
    first_touch(bench, Pages::Large)
}

fn first_touch(bench: &Bench, pages: Pages) -> Samples {
    require(meminfo::available(), LENGTH as u64 + RESERVE)?;
    let start = tsc::begin();
    let mut memory = Anonymous::map(LENGTH, pages)?;
    memory.touch();
    let ticks = tsc::end().saturating_sub(start);
    Ok(vec![bench.clock.section_nanoseconds(ticks)])
}

fn require(available: Option<u64>, needed: u64) -> io::Result<()> {
    match available {
        Some(bytes) if bytes < needed => {
            Err(io::Error::other(format!("needs {} MiB of free memory, {} MiB are there", needed >> 20, bytes >> 20)))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_little_memory_is_a_reason_and_unknown_memory_is_none() {
        assert!(require(Some(1), 2).is_err());
        assert!(require(Some(2), 2).is_ok());
        assert!(require(None, 2).is_ok());
    }
}
