//! A fork storm: processes are started and ended, eight at a time. Each writes to pages that it shares with its
//! parent, so that Linux copies them, and ends.

use std::io;

use crate::machine::memory::{Anonymous, Pages};
use crate::machine::process::{self, Forked};

const AT_ONCE: usize = 8;
/// What a process has when it forks: small, but with page tables to copy.
const MEMORY: usize = 4 << 20;
/// What a child writes to.
const WRITTEN: usize = 64 << 10;

/// The parent of them all.
pub struct Storm {
    memory: Anonymous,
}

impl Storm {
    /// Touches the memory that children will share.
    pub fn new() -> io::Result<Self> {
        let mut memory = Anonymous::map(MEMORY, Pages::Small)?;
        memory.touch();
        Ok(Self { memory })
    }

    /// Starts eight processes and waits for their ends.
    pub fn round(&mut self) -> io::Result<()> {
        let children: Vec<Forked> =
            (0..AT_ONCE).map(|_| process::fork_to_write(&mut self.memory, WRITTEN)).collect::<io::Result<_>>()?;
        children.into_iter().try_for_each(Forked::wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_leave_no_process_behind() {
        let mut storm = Storm::new().unwrap();
        storm.round().unwrap();
        storm.round().unwrap();
    }
}
