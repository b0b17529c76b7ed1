//! Publishes Linux's clocks for cells on bare cores ([`shm_ipc::clock`]).
//!
//! Each sample takes the time-stamp counter before and after a clock is read, several times, and
//! keeps the narrowest: the error is some tens of nanoseconds. The rate comes from samples that
//! lie [`PERIOD`] apart at least, so that it is known to a millionth or better; what the line
//! before was off by is worked off in the period that follows. Between two lines Linux may change
//! the rate itself (adjtimex(2)): by less than ten millionths as a rule, which makes a
//! microsecond in a period.

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
    realtime: u64,
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

fn read(clock: libc::clockid_t) -> (u64, u64) {
    let once = |_| {
        let before = ticks();
        let time = nanoseconds(clock);
        let after = ticks();
        (after.wrapping_sub(before), before.wrapping_add(after.wrapping_sub(before) / 2), time)
    };
    let (_, ticks, time) = (0..TRIES).map(once).min_by_key(|sample| sample.0).unwrap_or_default();
    (ticks, time)
}

impl Sample {
    fn take(rate: u64) -> Self {
        let (ticks, monotonic) = read(libc::CLOCK_MONOTONIC);
        let (later, realtime) = read(libc::CLOCK_REALTIME);
        // Back to the moment of the first.
        let realtime = realtime.wrapping_sub(scale(later.wrapping_sub(ticks), rate));
        Sample { ticks, monotonic, realtime }
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
fn next_line(before: Line, now: Sample, rate: u64) -> Line {
    let ahead = ((u128::from(AHEAD) << 32) / u128::from(rate.max(1))) as u64;
    let from = now.ticks.wrapping_add(ahead);
    let monotonic = before.monotonic_at(from);
    // What Linux's clock will say a period later, and the rate that gets there by then.
    let truth = now.monotonic.wrapping_add(scale(ahead, rate));
    let error = truth.wrapping_sub(monotonic).cast_signed();
    let period = PERIOD.as_nanos() as i64;
    let bend = (i128::from(rate) * i128::from(error) / i128::from(period)) as i64;
    let most = (rate >> MOST_BENT) as i64;
    Line {
        from,
        monotonic,
        realtime_offset: now.realtime.wrapping_sub(now.monotonic),
        rate: rate.wrapping_add_signed(bend.clamp(-most, most)),
    }
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
        let first = Sample::take(0);
        thread::sleep(FIRST);
        let rate = rate_between(first, Sample::take(0));
        let now = Sample::take(rate);
        let line = Line {
            from: now.ticks,
            monotonic: now.monotonic,
            realtime_offset: now.realtime.wrapping_sub(now.monotonic),
            rate,
        };
        page.publish(line);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        thread::Builder::new().name("clock".into()).spawn(move || go_on(page, line, now, &stopped))?;
        Ok(Publisher { stop })
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn go_on(page: &ClockPage, mut line: Line, mut last: Sample, stop: &AtomicBool) {
    let mut rate = line.rate;
    loop {
        thread::sleep(PERIOD);
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let now = Sample::take(rate);
        rate = rate_between(last, now);
        let next = next_line(line, now, rate);
        // Kept from the processor for long: what is begun too late may not be published.
        if next.from.wrapping_sub(ticks()).cast_signed() > 0 {
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
        let now = Sample { ticks: 10_000, monotonic: 6_400, realtime: 7_400 };
        let next = next_line(before, now, RATE);
        assert_eq!(next.monotonic, before.monotonic_at(next.from), "no step");
        assert_eq!(next.realtime_offset, 1_000);
        let period = (PERIOD.as_nanos() as u64) << 1;
        let linux = now.monotonic + scale(next.from + period - now.ticks, RATE);
        assert!(next.monotonic_at(next.from + period).abs_diff(linux) <= 2);
    }

    #[test]
    fn a_clock_never_stops() {
        let before = Line { from: 0, monotonic: 1 << 50, realtime_offset: 0, rate: RATE };
        let next = next_line(before, Sample { ticks: 10_000, monotonic: 0, realtime: 0 }, RATE);
        assert!(next.rate >= RATE - (RATE >> MOST_BENT) && next.rate < RATE);
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
