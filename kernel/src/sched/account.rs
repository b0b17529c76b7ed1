//! CPU time of threads.
//!
//! A core is the cell's own, so what a thread uses is the time between two switches, and a switch reads the
//! monotonic clock only. A platform whose cores are threads of the host's may have to share them with other
//! programs: there the host's clock of the core's thread says how much of a stretch the core really had. It takes a
//! system call to read, so it is asked about long stretches only: one that is shorter than [`SURE_NS`] can't
//! have lost more than that, and what it lost is taken from the next long one on this core.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

use super::core::{Core, cores};
use super::thread::Thread;
use crate::platform;

/// A stretch that is shorter is taken for the core's own.
const SURE_NS: u64 = 50_000;

/// What a core knows of the stretch of the thread that runs. Written by the core itself, read by others
/// too.
#[derive(Debug, Default)]
pub struct Stretch {
    /// Odd while the core writes.
    turn: AtomicU32,
    /// When it began (monotonic nanoseconds).
    since: AtomicU64,
    /// The host's clock of the core's thread when it was read last, and what has been charged to threads
    /// since then.
    host: AtomicU64,
    charged: AtomicU64,
}

/// What a look at both clocks gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Look {
    /// CPU time of the stretch so far.
    used: u64,
    /// The host's clock, if it was read.
    host: Option<u64>,
}

impl Stretch {
    fn write(&self, change: impl FnOnce()) {
        let turn = self.turn.load(Ordering::Relaxed);
        self.turn.store(turn.wrapping_add(1), Ordering::Relaxed);
        fence(Ordering::Release);
        change();
        self.turn.store(turn.wrapping_add(2), Ordering::Release);
    }

    /// A stretch begins that nothing came before: at the core's start, and when it has slept.
    pub fn begin(&self, core: u32) {
        let host = platform::get().core_clock(core);
        let now = platform::get().monotonic();
        self.write(|| {
            self.since.store(now, Ordering::Relaxed);
            self.host.store(host.unwrap_or(0), Ordering::Relaxed);
            self.charged.store(0, Ordering::Relaxed);
        });
    }

    /// Charges the stretch to the thread that had the core; the next one begins.
    pub fn end(&self, core: u32, thread: &Thread) {
        let now = platform::get().monotonic();
        let Look { used, host } = self.look(now, || platform::get().core_clock(core));
        self.write(|| {
            thread.cpu_time.store(thread.cpu_time.load(Ordering::Relaxed) + used, Ordering::Relaxed);
            self.since.store(now, Ordering::Relaxed);
            let charged = match host {
                Some(host) => {
                    self.host.store(host, Ordering::Relaxed);
                    0
                }
                None => self.charged.load(Ordering::Relaxed) + used,
            };
            self.charged.store(charged, Ordering::Relaxed);
        });
    }

    fn look(&self, now: u64, host: impl FnOnce() -> Option<u64>) -> Look {
        let wall = now.saturating_sub(self.since.load(Ordering::Relaxed));
        if wall < SURE_NS {
            return Look { used: wall, host: None };
        }
        let host = host();
        let before = self.host.load(Ordering::Relaxed) + self.charged.load(Ordering::Relaxed);
        let used = host.map_or(wall, |host| host.saturating_sub(before).min(wall));
        Look { used, host }
    }
}

/// Nanoseconds of CPU time that `thread` has used, the running stretch included.
pub fn cpu_time(thread: &Thread) -> u64 {
    loop {
        let core: &Core = &cores()[thread.core.load(Ordering::Relaxed) as usize];
        let turn = core.stretch.turn.load(Ordering::Acquire);
        let mut time = thread.cpu_time.load(Ordering::Relaxed);
        if thread.is_on_core() {
            let now = platform::get().monotonic();
            time += core.stretch.look(now, || platform::get().core_clock(core.index)).used;
        }
        fence(Ordering::Acquire);
        let is_same = core.index == thread.core.load(Ordering::Relaxed);
        if is_same && turn.is_multiple_of(2) && turn == core.stretch.turn.load(Ordering::Relaxed) {
            return time;
        }
        core::hint::spin_loop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stretch(since: u64, host: u64, charged: u64) -> Stretch {
        Stretch { turn: AtomicU32::new(0), since: since.into(), host: host.into(), charged: charged.into() }
    }

    #[test]
    fn a_short_stretch_is_not_asked_about() {
        let look = stretch(1000, 0, 0).look(1000 + SURE_NS - 1, || panic!("asked"));
        assert_eq!(look, Look { used: SURE_NS - 1, host: None });
        let earlier = stretch(1000, 0, 0).look(999, || panic!("asked"));
        assert_eq!(earlier.used, 0, "clocks of two cores may differ by a little");
    }

    #[test]
    fn what_others_had_of_a_long_one_does_not_count() {
        let host = 7_000_000;
        let look = stretch(0, host, 300).look(1_000_000, || Some(host + 300 + 400_000));
        assert_eq!(look, Look { used: 400_000, host: Some(7_400_300) });
        // Short ones before it were charged more than they had, or less.
        assert_eq!(stretch(0, host, 90_000).look(60_000, || Some(host + 80_000)).used, 0);
        assert_eq!(stretch(0, host, 0).look(60_000, || Some(host + 80_000)).used, 60_000);
    }

    #[test]
    fn where_nobody_else_is_all_of_it_counts() {
        assert_eq!(stretch(0, 0, 0).look(1_000_000, || None), Look { used: 1_000_000, host: None });
    }
}
