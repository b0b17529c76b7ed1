//! Replaying a trace: when work that starts at some moment is done, if detours suspend it.
//!
//! Every rank goes through the same trace, endlessly, from an offset of its own. A detour takes the core
//! whether the rank computes or waits, so that a detour in a wait costs nothing and one in work costs all
//! of what falls into it (Hoefler, Schneider, Lumsdaine, SC10, section on simulating noise).

use super::trace::Trace;

/// Look this many detours ahead before searching by halves.
const STEPS: usize = 8;

/// The detours of one period, with the work that fits before each.
#[derive(Debug)]
pub struct Noise {
    start: Vec<f64>,
    end: Vec<f64>,
    /// Work that fits between the start of the period and the start of the detour.
    work: Vec<f64>,
    period: f64,
    /// Work that fits into a period.
    free: f64,
}

/// Where a rank is in the trace.
#[derive(Clone, Copy, Debug)]
pub struct Cursor {
    /// Added to moments of the trace gives moments of the simulation.
    shift: f64,
    /// A detour before which all detours are over.
    next: u32,
}

impl Noise {
    /// The noise of `trace`.
    pub fn of(trace: &Trace) -> Self {
        Self::from_detours(&trace.detours, trace.period())
    }

    /// No noise at all.
    pub fn silence() -> Self {
        Self::from_detours(&[], 1.0)
    }

    /// The noise of these detours (start and length, in order, apart from each other), which repeat after
    /// `period` and leave some of it free.
    pub fn from_detours(detours: &[[f64; 2]], period: f64) -> Self {
        let mut lost = 0.0;
        let mut noise = Self { start: Vec::new(), end: Vec::new(), work: Vec::new(), period, free: period };
        for &[start, length] in detours {
            noise.start.push(start);
            noise.end.push(start + length);
            noise.work.push(start - lost);
            lost += length;
        }
        noise.free -= lost;
        noise
    }

    /// Length of the trace.
    pub fn period(&self) -> f64 {
        self.period
    }

    /// A rank that is at `offset` of the period when the simulation starts.
    pub fn cursor(&self, offset: f64) -> Cursor {
        let mut cursor = Cursor { shift: -offset, next: 0 };
        self.skip(&mut cursor, 0.0);
        cursor
    }

    /// Start of the next detour: work that ends until then is not disturbed.
    pub fn clear_until(&self, cursor: &Cursor) -> f64 {
        match self.start.get(cursor.next as usize) {
            Some(start) => start + cursor.shift,
            None => f64::INFINITY,
        }
    }

    /// When `work` that starts at `time` is done. Time only rises for one cursor. Work that ends when a
    /// detour starts is done before it.
    pub fn finish(&self, cursor: &mut Cursor, time: f64, work: f64) -> f64 {
        if self.start.is_empty() {
            return time + work;
        }
        self.skip(cursor, time);
        let mut index = cursor.next as usize;
        let position = time - cursor.shift;
        // In a detour: nothing is done before its end.
        let done_before = if position > self.start[index] {
            self.work[index]
        } else {
            self.work[index] - (self.start[index] - position)
        };
        let mut target = done_before + work;
        if position > self.start[index] {
            index += 1;
        }
        index = first(&self.work, index, |fits| fits >= target);
        if index == self.start.len() {
            index = self.wrap(cursor, &mut target);
        }
        cursor.next = index as u32;
        self.start[index] - (self.work[index] - target) + cursor.shift
    }

    /// Goes on to the period in which `target` is done, and makes it work of that period. Returns the
    /// detour before which it is done.
    fn wrap(&self, cursor: &mut Cursor, target: &mut f64) -> usize {
        loop {
            let periods = (*target / self.free).floor().max(1.0);
            *target -= periods * self.free;
            cursor.shift += periods * self.period;
            let index = first(&self.work, 0, |fits| fits >= *target);
            if index < self.work.len() {
                return index;
            }
        }
    }

    /// Passes the detours that are over at `time`.
    fn skip(&self, cursor: &mut Cursor, time: f64) {
        if self.start.is_empty() {
            return;
        }
        let over = |cursor: &Cursor| time - cursor.shift;
        let mut index = first(&self.end, cursor.next as usize, |end| end > over(cursor));
        while index == self.end.len() {
            let last = self.end[index - 1];
            // Past the last detour of the period, perhaps by whole periods.
            let periods = ((over(cursor) - last) / self.period).floor().max(0.0) + 1.0;
            cursor.shift += periods * self.period;
            index = first(&self.end, 0, |end| end > over(cursor));
        }
        cursor.next = index as u32;
    }
}

/// The first index from `from` on whose value `fits`, or the length. Values rise, and once one fits all do.
#[inline]
fn first(values: &[f64], from: usize, fits: impl Fn(f64) -> bool) -> usize {
    let rest = &values[from..];
    match rest.iter().take(STEPS).position(|&value| fits(value)) {
        Some(near) => from + near,
        None if rest.len() <= STEPS => values.len(),
        None => from + STEPS + rest[STEPS..].partition_point(|&value| !fits(value)),
    }
}

/// The same told step by step, for tests.
#[cfg(test)]
pub mod naive {
    /// When `work` that starts at `time` is done, if the detours repeat with `period` and the trace is at
    /// `offset` at time 0: goes through all detours from the beginning.
    pub fn finish(detours: &[[f64; 2]], period: f64, offset: f64, time: f64, work: f64) -> f64 {
        if detours.is_empty() {
            return time + work;
        }
        let (mut now, mut left) = (time, work);
        for cycle in 0.. {
            for &[start, length] in detours {
                let start = start - offset + f64::from(cycle) * period;
                let end = start + length;
                if end <= now {
                    continue;
                }
                if start >= now {
                    if left <= start - now {
                        return now + left;
                    }
                    left -= start - now;
                }
                now = end;
            }
        }
        unreachable!("cycles do not end");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scale::random::SplitMix64;

    /// Work at 10–20 and 50–55 of every 100.
    fn two() -> Noise {
        Noise::from_detours(&[[10.0, 10.0], [50.0, 5.0]], 100.0)
    }

    #[track_caller]
    fn assert_finish(offset: f64, time: f64, work: f64, expected: f64) {
        let noise = two();
        let mut cursor = noise.cursor(offset);
        assert_eq!(noise.finish(&mut cursor, time, work), expected);
        assert!(noise.clear_until(&cursor) >= expected);
    }

    #[test]
    fn detours_suspend_work() {
        assert_finish(0.0, 0.0, 5.0, 5.0);
        assert_finish(0.0, 0.0, 10.0, 10.0);
        assert_finish(0.0, 0.0, 11.0, 21.0);
        assert_finish(0.0, 0.0, 40.0, 50.0);
        assert_finish(0.0, 0.0, 41.0, 56.0);
    }

    #[test]
    fn work_that_starts_in_a_detour_waits_for_its_end() {
        assert_finish(0.0, 15.0, 1.0, 21.0);
        assert_finish(15.0, 0.0, 1.0, 6.0);
        assert_finish(0.0, 20.0, 1.0, 21.0);
    }

    #[test]
    fn the_trace_repeats() {
        assert_finish(60.0, 0.0, 51.0, 61.0);
        assert_finish(0.0, 0.0, 85.0, 100.0);
        assert_finish(0.0, 0.0, 850.0, 1000.0);
        assert_finish(0.0, 0.0, 856.0, 1006.0);
        assert_finish(0.0, 0.0, 861.0, 1021.0);
        assert_finish(0.0, 10_000.0, 11.0, 10_021.0);
        assert_finish(0.0, 10_057.0, 1.0, 10_058.0);
    }

    #[test]
    fn silence_disturbs_nothing() {
        let noise = Noise::silence();
        let mut cursor = noise.cursor(0.3);
        assert_eq!(noise.clear_until(&cursor), f64::INFINITY);
        assert_eq!(noise.finish(&mut cursor, 7.0, 1e12), 1e12 + 7.0);
    }

    /// Whole numbers, so that both ways compute exactly.
    #[test]
    fn random_traces_are_replayed_as_step_by_step() {
        let mut random = SplitMix64::new(11);
        let mut whole = |from: u64, to: u64| (from + random.next() % (to - from)) as f64;
        for _ in 0..300 {
            let count = whole(1, 40);
            let mut at = whole(0, 50);
            let mut detours = Vec::new();
            for _ in 0..count as usize {
                let length = whole(1, 30);
                detours.push([at, length]);
                at += length + whole(0, 60);
            }
            let period = at + whole(1, 20);
            let offset = whole(0, period as u64);
            let noise = Noise::from_detours(&detours, period);
            let mut cursor = noise.cursor(offset);
            let mut time = 0.0;
            for _ in 0..60 {
                time += whole(0, 3 * period as u64) * f64::from(u8::from(whole(0, 4) == 0.0));
                let work = if whole(0, 8) == 0.0 { whole(0, 5 * period as u64) } else { whole(0, 100) };
                let expected = naive::finish(&detours, period, offset, time, work);
                assert_eq!(
                    noise.finish(&mut cursor, time, work),
                    expected,
                    "{detours:?} {period} {offset} {time} {work}"
                );
                time = expected;
            }
        }
    }
}
