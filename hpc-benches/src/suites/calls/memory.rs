//! First touch of 1 GiB: mapping it and writing one byte to every 4 KiB of it. Kernels that
//! populate when they map pay in the first part, those that fault pay in the second; the sum is
//! what a program waits for.
//!
//! One sample a run: memory that a process had and gave back is not touched for the first time,
//! so a second sample would measure something else.

use std::fs;
use std::io;

use super::timing::{Plan, time};
use super::{Bench, Samples};
use crate::machine::calls::{Anonymous, Pages};
use crate::machine::tsc;

const LENGTH: usize = 1 << 30;
/// What must be left besides the mapping, so that measuring never runs a machine out of memory.
const RESERVE: u64 = 256 << 20;

/// Maps 1 MiB, writes to all of it, and gives it back.
pub(super) fn mmap_1m(bench: &Bench) -> Samples {
    let plan = Plan { samples: 2000, warm_up: 10, ..Plan::SINGLE };
    time(&bench.clock, plan, || {
        Anonymous::map(1 << 20, Pages::Small)?.touch();
        Ok(())
    })
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
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    require(available_memory(&meminfo), LENGTH as u64 + RESERVE)?;
    let start = tsc::begin();
    let mut memory = Anonymous::map(LENGTH, pages)?;
    memory.touch();
    let ticks = tsc::end().saturating_sub(start);
    Ok(vec![bench.clock.section_nanoseconds(ticks)])
}

/// `MemAvailable` in bytes (proc(5), meminfo), where the system tells it.
fn available_memory(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
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
    fn reads_available_memory() {
        let text = "MemTotal:  100 kB\nMemFree: 5 kB\nMemAvailable:      50 kB\n";
        assert_eq!(available_memory(text), Some(50 * 1024));
        assert_eq!(available_memory(""), None);
    }

    #[test]
    fn too_little_memory_is_a_reason_and_unknown_memory_is_none() {
        assert!(require(Some(1), 2).is_err());
        assert!(require(Some(2), 2).is_ok());
        assert!(require(None, 2).is_ok());
    }
}
