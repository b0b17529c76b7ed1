//! Linux's clocks for a cell that has only the time-stamp counter.
//!
//! The proxy samples Linux's clocks against the counter and publishes straight lines: from a
//! reading of the counter in the near future on, the clock runs at this rate. Each line begins
//! where the one before it will be then, so no reader on any core sees the clock step back,
//! whichever of the two it used; an error of the line before is worked off by the rate. (The clock
//! that shows the time of day steps when somebody sets it, as on Linux.) Readers
//! never wait for the writer: a record is rewritten only when three newer ones stand.

use crate::region::SharedLayout;
use crate::sync::{AtomicU32, AtomicU64, Ordering};

/// Records in turn, each the four words of a [`Line`] in their order.
pub const RECORDS: usize = 4;
/// Where in the page they begin. Before them is the number of the newest, 32 bits.
pub const RECORDS_AT: usize = core::mem::offset_of!(ClockPage, records);

/// One straight line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Line {
    /// Reading of the counter from which it holds.
    pub from: u64,
    /// Nanoseconds of `CLOCK_MONOTONIC` at `from`.
    pub monotonic: u64,
    /// `CLOCK_REALTIME` minus `CLOCK_MONOTONIC`, in nanoseconds.
    pub realtime_offset: u64,
    /// Nanoseconds a tick, in units of 2⁻³².
    pub rate: u64,
}

impl Line {
    /// Nanoseconds of `CLOCK_MONOTONIC` at a reading of the counter, which may lie before the line's beginning.
    #[must_use]
    pub fn monotonic_at(&self, ticks: u64) -> u64 {
        let by = ticks.wrapping_sub(self.from).cast_signed();
        let ns = (i128::from(by) * i128::from(self.rate)) >> 32;
        self.monotonic.wrapping_add_signed(ns as i64)
    }
}

/// A record in shared memory.
#[repr(C)]
#[derive(Debug)]
struct Record([AtomicU64; 4]);

/// The clocks, in shared memory. One writer, any number of readers.
#[repr(C, align(64))]
#[derive(Debug)]
pub struct ClockPage {
    newest: AtomicU32,
    _pad: AtomicU32,
    records: [Record; RECORDS],
}

// SAFETY: atomics throughout.
unsafe impl SharedLayout for ClockPage {}

impl Default for ClockPage {
    fn default() -> Self {
        ClockPage {
            newest: AtomicU32::new(0),
            _pad: AtomicU32::new(0),
            records: core::array::from_fn(|_| Record(core::array::from_fn(|_| AtomicU64::new(0)))),
        }
    }
}

impl ClockPage {
    /// Proxy: `line` counts from its beginning on, which has to be still to come; until then the one before
    /// does.
    pub fn publish(&self, line: Line) {
        let next = self.newest.load(Ordering::Relaxed).wrapping_add(1);
        let Record(words) = &self.records[next as usize % RECORDS];
        for (word, value) in words.iter().zip([line.from, line.monotonic, line.realtime_offset, line.rate]) {
            word.store(value, Ordering::Relaxed);
        }
        self.newest.store(next, Ordering::Release);
    }

    /// Whether anything has been published.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.newest.load(Ordering::Acquire) != 0
    }

    fn record(&self, number: u32) -> Line {
        let Record(words) = &self.records[number as usize % RECORDS];
        let [from, monotonic, realtime_offset, rate] = core::array::from_fn(|i| words[i].load(Ordering::Relaxed));
        Line { from, monotonic, realtime_offset, rate }
    }

    /// Kernel: the line that counts at the reading of the counter that `now` gives, and that
    /// reading.
    pub fn line(&self, now: impl Fn() -> u64) -> (Line, u64) {
        loop {
            let newest = self.newest.load(Ordering::Acquire);
            let ticks = now();
            let mut line = self.record(newest);
            if newest > 1 && (ticks.wrapping_sub(line.from).cast_signed()) < 0 {
                line = self.record(newest.wrapping_sub(1));
            }
            crate::sync::fence(Ordering::Acquire);
            // Published after the counter was read, a line begins after that. Published before, it may have
            // begun: who was kept for long between the two reads would go on by a line that has ended.
            if self.newest.load(Ordering::Relaxed) == newest {
                return (line, ticks);
            }
        }
    }
}

const _: () = {
    use core::mem::offset_of;
    assert!(offset_of!(ClockPage, records) == 8);
    assert!(size_of::<ClockPage>() == 192 && align_of::<ClockPage>() == 64);
};

#[cfg(test)]
mod tests {
    use super::*;
    use std::boxed::Box;
    use std::sync::Mutex;
    use std::sync::atomic::AtomicBool;

    fn page() -> ClockPage {
        ClockPage::default()
    }

    #[test]
    fn a_line_runs_both_ways() {
        let line = Line { from: 1000, monotonic: 500, realtime_offset: 0, rate: 1 << 31 };
        assert_eq!([1000, 1002, 998, 0].map(|ticks| line.monotonic_at(ticks)), [500, 501, 499, 0]);
    }

    #[test]
    fn the_line_before_counts_until_the_next_begins() {
        let page = page();
        assert!(!page.is_running());
        page.publish(Line { from: 0, monotonic: 0, realtime_offset: 7, rate: 1 << 32 });
        assert!(page.is_running());
        page.publish(Line { from: 100, monotonic: 100, realtime_offset: 8, rate: 1 << 33 });
        assert_eq!(page.line(|| 99).0.realtime_offset, 7);
        assert_eq!(page.line(|| 100).0.realtime_offset, 8);
        assert_eq!(page.line(|| 102).0.monotonic_at(102), 104);
    }

    /// A writer that never rests, and a reader to whom time must not run back.
    #[test]
    fn no_reader_sees_it_step_back() {
        let page: &'static ClockPage = Box::leak(Box::new(page()));
        // While it is locked time stands still: a line is never published too late.
        let ticks: &'static Mutex<u64> = Box::leak(Box::new(Mutex::new(1)));
        let tick = || {
            let mut ticks = ticks.lock().expect("no panic");
            *ticks += 1;
            *ticks
        };
        let stop: &'static AtomicBool = Box::leak(Box::new(AtomicBool::new(false)));
        page.publish(Line { from: 0, monotonic: 0, realtime_offset: 0, rate: 1 << 32 });
        let writer = std::thread::spawn(move || {
            for round in 0..20_000u64 {
                let (old, now) = page.line(tick);
                let from = now + 20;
                let rate = if round % 2 == 0 { 3 << 31 } else { 1 << 31 };
                let ticks = ticks.lock().expect("no panic");
                if *ticks < from {
                    page.publish(Line { from, monotonic: old.monotonic_at(from), realtime_offset: 0, rate });
                }
                drop(ticks);
                // As the proxy does: the next line comes when this one has begun.
                while tick() < from {}
            }
            stop.store(true, Ordering::SeqCst);
        });
        let mut last = 0;
        while !stop.load(Ordering::SeqCst) {
            let (line, now) = page.line(tick);
            let time = line.monotonic_at(now);
            assert!(time >= last, "{time} after {last}");
            last = time;
        }
        writer.join().expect("no panic");
    }
}
