//! Calls that carry data: in a cell all of them are forwarded.
//!
//! The file has no name any more and stays in the page cache: measured is the way to the kernel
//! that has the file, not the disk.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;

use super::timing::{Plan, time, time_asleep};
use super::{Bench, Samples};
use crate::machine::scratch;

const BLOCK: usize = 1 << 20;
const FILE_BLOCKS: u64 = 16;
const PASSES: usize = 16;

/// One byte to `/dev/null`.
pub(super) fn write_1(bench: &Bench) -> Samples {
    let mut null = OpenOptions::new().write(true).open("/dev/null")?;
    time(&bench.clock, Plan::SINGLE, || complete(null.write(&[0])?, 1))
}

/// The same after computing for so long that whoever serves calls has gone to sleep.
pub(super) fn write_1_asleep(bench: &Bench) -> Samples {
    let null = OpenOptions::new().write(true).open("/dev/null")?;
    time_asleep(&bench.clock, bench.asleep_calls, || complete((&null).write(&[0])?, 1))
}

/// The first 4 KiB of a file.
pub(super) fn pread_4k(bench: &Bench) -> Samples {
    let file = cached_file(bench)?;
    let mut page = [1; 4096];
    time(&bench.clock, Plan::SINGLE, || {
        let length = file.read_at(&mut page, 0)?;
        complete(length, page.len())
    })
}

/// The same 4 KiB written.
pub(super) fn pwrite_4k(bench: &Bench) -> Samples {
    let file = cached_file(bench)?;
    let page = [1; 4096];
    time(&bench.clock, Plan::SINGLE, || {
        let length = file.write_at(&page, 0)?;
        complete(length, page.len())
    })
}

/// A 16 MiB file, read in blocks of 1 MiB; a sample is a block.
pub(super) fn read_1m(bench: &Bench) -> Samples {
    let file = cached_file(bench)?;
    let mut block = vec![1; BLOCK];
    let mut offsets = block_offsets();
    time(&bench.clock, block_plan(), || {
        let length = file.read_at(&mut block, offsets.next().unwrap_or(0))?;
        complete(length, BLOCK)
    })
}

/// A 16 MiB file, overwritten in blocks of 1 MiB; a sample is a block.
pub(super) fn write_1m(bench: &Bench) -> Samples {
    let file = cached_file(bench)?;
    let block = vec![1; BLOCK];
    let mut offsets = block_offsets();
    time(&bench.clock, block_plan(), || {
        let length = file.write_at(&block, offsets.next().unwrap_or(0))?;
        complete(length, BLOCK)
    })
}

fn block_plan() -> Plan {
    Plan::few(FILE_BLOCKS as usize * PASSES)
}

fn block_offsets() -> impl Iterator<Item = u64> {
    (0..FILE_BLOCKS).map(|block| block * BLOCK as u64).cycle()
}

fn cached_file(bench: &Bench) -> io::Result<File> {
    let file = scratch::unnamed_file(&bench.dir)?;
    let block = vec![1; BLOCK];
    for offset in block_offsets().take(FILE_BLOCKS as usize) {
        file.write_all_at(&block, offset)?;
    }
    Ok(file)
}

/// A transfer of another length than asked for is not what the measure is about.
fn complete(length: usize, expected: usize) -> io::Result<()> {
    if length == expected {
        return Ok(());
    }
    let message = format!("{length} of {expected} bytes were transferred");
    Err(io::Error::other(message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_cover_the_file_and_start_again() {
        let offsets: Vec<u64> = block_offsets().take(17).collect();
        assert_eq!(offsets[1], 1 << 20);
        assert_eq!(offsets[15], 15 << 20);
        assert_eq!(offsets[16], 0);
    }

    #[test]
    fn short_transfers_are_errors() {
        assert!(complete(1, 1).is_ok());
        assert!(complete(0, 1).is_err());
    }
}
