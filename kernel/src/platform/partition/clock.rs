//! The time, from the time-stamp counter and the lines that the proxy publishes.

use shm_ipc::clock::{ClockPage, Line};

use crate::arch;

/// The clocks of this node.
#[derive(Debug, Clone, Copy)]
pub struct Clock(pub &'static ClockPage);

impl Clock {
    fn now(self) -> (Line, u64) {
        self.0.line(arch::timestamp)
    }

    /// Nanoseconds of `CLOCK_MONOTONIC`.
    pub fn monotonic(self) -> u64 {
        let (line, ticks) = self.now();
        line.monotonic_at(ticks)
    }

    /// Nanoseconds of `CLOCK_REALTIME`.
    pub fn realtime(self) -> u64 {
        let (line, ticks) = self.now();
        line.monotonic_at(ticks).wrapping_add(line.realtime_offset)
    }
}
