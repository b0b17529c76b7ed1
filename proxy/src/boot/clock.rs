//! Publishes Linux's clocks for cells on bare cores ([`shm_ipc::clock`]).
//!
//! Each sample takes the time-stamp counter before and after a clock is read, several times, and
//! keeps the narrowest: the error is some tens of nanoseconds. The rate comes from samples that
//! lie [`PERIOD`] apart at least, so that it is known to a millionth or better; what the line
//! before was off by is worked off in the period that follows. Between two lines Linux may change
//! the rate itself (adjtimex(2)): by less than ten millionths as a rule, which makes a
//! microsecond in a period.
//!
//! What CLOCK_REALTIME is ahead of CLOCK_MONOTONIC changes only when somebody sets the clock. It is
//! measured all the time and published anew only if the measurements can't mean the same: else the
//! clock would step back by their errors.

use std::arch::x86_64::__rdtscp;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{io, thread};

use shm_ipc::clock::{ClockPage, Line};

/// Time between two lines.
const PERIOD: Duration = Duration::from_millis(100);
/// For how long the first rate is measured, before there is a cell to wait for it.
const FIRST: Duration = Duration::from_millis(10);
/// How far ahead a line begins: longer than this thread may be kept from publishing it.
const AHEAD: u64 = 20_000_000;
/// Samples of which the narrowest is kept.
const TRIES: usize = 9;
/// The rate is off the measured one by a 512th at most: the clock neither stops nor races.
const MOST_BENT: u32 = 9;

/// What the clocks said at one moment.
#[derive(Debug, Clone, Copy)]
struct Sample {
    ticks: u64,
    monotonic: u64,
}

/// What CLOCK_REALTIME is ahead of CLOCK_MONOTONIC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Offset {
    /// Nanoseconds.
    ns: u64,
    /// By how many they may be wrong.
    doubt: u64,
}

impl Offset {
    fn measure() -> Self {
        let once = |_| {
            let before = nanoseconds(libc::CLOCK_MONOTONIC);
            let realtime = nanoseconds(libc::CLOCK_REALTIME);
            let doubt = nanoseconds(libc::CLOCK_MONOTONIC).saturating_sub(before) / 2 + 1;
            Offset { ns: realtime.wrapping_sub(before + doubt), doubt }
        };
        (0..TRIES).map(once).min_by_key(|offset| offset.doubt).unwrap_or(Offset { ns: 0, doubt: u64::MAX })
    }

    /// What is true after another measurement.
    fn after(self, new: Offset) -> Self {
        let apart = new.ns.wrapping_sub(self.ns).cast_signed().unsigned_abs();
        if apart > self.doubt.saturating_add(new.doubt) { new } else { self }
    }
}

fn ticks() -> u64 {
    let mut processor = 0;
    // SAFETY: RDTSCP is there on every CPU that this program supports; it writes one word.
    unsafe { __rdtscp(&raw mut processor) }
}

fn nanoseconds(clock: libc::clockid_t) -> u64 {
    let mut at = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: fills the structure; both clocks always exist.
    unsafe { libc::clock_gettime(clock, &raw mut at) };
    at.tv_sec as u64 * 1_000_000_000 + at.tv_nsec as u64
}

impl Sample {
    fn take() -> Self {
        let once = |_| {
            let before = ticks();
            let monotonic = nanoseconds(libc::CLOCK_MONOTONIC);
            let width = ticks().wrapping_sub(before);
            (width, Sample { ticks: before.wrapping_add(width / 2), monotonic })
        };
        let narrowest = (0..TRIES).map(once).min_by_key(|(width, _)| *width);
        narrowest.map_or(Sample { ticks: 0, monotonic: 0 }, |(_, sample)| sample)
    }
}

fn scale(ticks: u64, rate: u64) -> u64 {
    ((u128::from(ticks) * u128::from(rate)) >> 32) as u64
}

/// Nanoseconds a tick between two samples, in units of 2⁻³².
fn rate_between(old: Sample, new: Sample) -> u64 {
    let ticks = new.ticks.wrapping_sub(old.ticks).max(1);
    ((u128::from(new.monotonic.saturating_sub(old.monotonic)) << 32) / u128::from(ticks)) as u64
}

/// The line that follows `before`, from so many nanoseconds after `now` on.
fn next_line(before: Line, now: Sample, rate: u64, offset: Offset) -> Line {
    let ahead = ((u128::from(AHEAD) << 32) / u128::from(rate.max(1))) as u64;
    let from = now.ticks.wrapping_add(ahead);
    let monotonic = before.monotonic_at(from);
    // What Linux's clock will say a period later, and the rate that gets there by then.
    let truth = now.monotonic.wrapping_add(scale(ahead, rate));
    let error = truth.wrapping_sub(monotonic).cast_signed();
    let period = PERIOD.as_nanos() as i64;
    let bend = (i128::from(rate) * i128::from(error) / i128::from(period)) as i64;
    let most = (rate >> MOST_BENT) as i64;
    Line { from, monotonic, realtime_offset: offset.ns, rate: rate.wrapping_add_signed(bend.clamp(-most, most)) }
}

/// Whether at least half of the time ahead is left.
fn is_in_time(from: u64, now: u64, rate: u64) -> bool {
    let left = from.wrapping_sub(now).cast_signed();
    u64::try_from(left).is_ok_and(|left| scale(left, rate) >= AHEAD / 2)
}

/// Publishes clocks until it is dropped.
#[derive(Debug)]
pub struct Publisher {
    stop: Arc<AtomicBool>,
}

impl Publisher {
    /// Publishes a first line at once, then goes on in a thread of its own.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub fn start(page: &'static ClockPage) -> io::Result<Self> {
        let first = Sample::take();
        let offset = Offset::measure();
        thread::sleep(FIRST);
        let now = Sample::take();
        let rate = rate_between(first, now);
        let line = Line { from: now.ticks, monotonic: now.monotonic, realtime_offset: offset.ns, rate };
        page.publish(line);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        thread::Builder::new().name("clock".into()).spawn(move || go_on(page, line, (now, offset), &stopped))?;
        Ok(Publisher { stop })
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn go_on(page: &ClockPage, mut line: Line, (mut last, mut offset): (Sample, Offset), stop: &AtomicBool) {
    loop {
        thread::sleep(PERIOD);
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let now = Sample::take();
        offset = offset.after(Offset::measure());
        let rate = rate_between(last, now);
        let next = next_line(line, now, rate, offset);
        // Kept from the processor for long: what has begun may not be published, and what begins soon might
        // have by the time that it is.
        if is_in_time(next.from, ticks(), rate) {
            page.publish(next);
            line = next;
        }
        last = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: u64 = 1 << 31;

    #[test]
    fn lines_join_and_work_errors_off() {
        let before = Line { from: 0, monotonic: 1_000, realtime_offset: 0, rate: RATE };
        // Linux is 400 ns ahead of what the line says.
        let now = Sample { ticks: 10_000, monotonic: 6_400 };
        let next = next_line(before, now, RATE, Offset { ns: 1_000, doubt: 1 });
        assert_eq!(next.monotonic, before.monotonic_at(next.from), "no step");
        assert_eq!(next.realtime_offset, 1_000);
        let period = (PERIOD.as_nanos() as u64) << 1;
        let linux = now.monotonic + scale(next.from + period - now.ticks, RATE);
        assert!(next.monotonic_at(next.from + period).abs_diff(linux) <= 2);
    }

    #[test]
    fn what_comes_late_is_not_published() {
        let half = AHEAD; // two ticks a nanosecond
        assert!(is_in_time(half + 5, 5, RATE) && is_in_time(2 * half, 0, RATE));
        assert!(!is_in_time(half + 3, 5, RATE) && !is_in_time(5, 6, RATE));
    }

    #[test]
    fn a_clock_never_stops() {
        let before = Line { from: 0, monotonic: 1 << 50, realtime_offset: 0, rate: RATE };
        let now = Sample { ticks: 10_000, monotonic: 0 };
        let next = next_line(before, now, RATE, Offset { ns: 0, doubt: 1 });
        assert!(next.rate >= RATE - (RATE >> MOST_BENT) && next.rate < RATE);
    }

    #[test]
    fn the_clock_is_set_or_it_is_not() {
        let old = Offset { ns: 1_000_000, doubt: 40 };
        assert_eq!(old.after(Offset { ns: 1_000_090, doubt: 50 }), old);
        assert_eq!(old.after(Offset { ns: 999_910, doubt: 50 }), old);
        let set = Offset { ns: 999_909, doubt: 50 };
        assert_eq!(old.after(set), set);
        let unknown = Offset { ns: 0, doubt: u64::MAX };
        assert_eq!(old.after(unknown), old);
        let measured = Offset::measure();
        assert!(measured.doubt < 1_000_000_000 && measured.after(Offset::measure()) == measured);
    }

    #[test]
    fn what_is_published_is_what_linux_says() {
        let page: &'static ClockPage = Box::leak(Box::new(ClockPage::default()));
        let publisher = Publisher::start(page).expect("a thread");
        for _ in 0..8 {
            thread::sleep(Duration::from_millis(40));
            let (line, ticks) = page.line(ticks);
            let before = nanoseconds(libc::CLOCK_MONOTONIC);
            // Nothing is asserted about how long this thread may be away in between.
            assert!(line.monotonic_at(ticks) <= before + 20_000, "ahead of Linux");
        }
        drop(publisher);
    }
}
