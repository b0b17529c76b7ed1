//! Detours in a trace of the time-stamp counter.
//!
//! A program that does nothing but read the counter sees it advance by a few ticks per reading.
//! Where it advances by more, something else had the core: a *detour*. The live loop of the
//! selfish benchmark and the tests share [`record`], which takes its clock as a parameter.

/// One interruption of the loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Detour {
    /// Ticks from the start of the loop to the reading before the detour.
    pub start: u64,
    /// Ticks between the readings before and after it.
    pub length: u64,
}

/// What one loop saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observation {
    /// The first reading: what starts count from.
    pub begun: u64,
    /// Detours stored, from the front of the buffer.
    pub count: usize,
    /// Ticks watched: the time spent to store a detour is not among them.
    pub watched: u64,
    /// Smallest advance between two readings: the resolution of the loop.
    pub shortest_step: u64,
}

/// Reads `now` until `duration` ticks have gone by or `detours` is full, and stores every
/// advance above `threshold` ticks.
///
/// The counter is read again after a detour was stored, so that the cost of storing (a cache
/// miss, say) never shows up as a detour of its own.
#[inline]
pub fn record(mut now: impl FnMut() -> u64, duration: u64, threshold: u64, detours: &mut [Detour]) -> Observation {
    let start = now();
    let mut previous = start;
    let mut unwatched = 0;
    let mut count = 0;
    let mut shortest_step = u64::MAX;
    while previous - start < duration && count < detours.len() {
        let current = now();
        let step = current.saturating_sub(previous);
        if step > threshold {
            detours[count] = Detour { start: previous - start, length: step };
            count += 1;
            previous = now().max(current);
            unwatched += previous - current;
        } else {
            shortest_step = shortest_step.min(step);
            previous = current.max(previous);
        }
    }
    Observation { begun: start, count, watched: previous - start - unwatched, shortest_step }
}

/// The `most` longest of `detours`, in the order of time.
pub fn longest(detours: &[Detour], most: usize) -> Vec<Detour> {
    let mut kept = detours.to_vec();
    if kept.len() > most {
        kept.select_nth_unstable_by(most, |a, b| b.length.cmp(&a.length));
        kept.truncate(most);
        kept.sort_by_key(|detour| detour.start);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: Detour = Detour { start: 0, length: 0 };

    /// Plays back a trace; the last reading repeats.
    fn replay(trace: &[u64]) -> impl FnMut() -> u64 {
        let mut at = 0;
        move || {
            let reading = trace[at.min(trace.len() - 1)];
            at += 1;
            reading
        }
    }

    #[test]
    fn finds_the_detours_of_a_synthetic_trace() {
        // Steps of 10; a detour of 500 at 1020, stored in 7 ticks; one of 51 at 1557.
        let trace = [1000, 1010, 1020, 1520, 1527, 1537, 1547, 1557, 1608, 1610, 1620, 1630];
        let mut detours = [EMPTY; 8];
        let seen = record(replay(&trace), 630, 50, &mut detours);
        assert_eq!(seen.count, 2);
        assert_eq!(detours[..2], [Detour { start: 20, length: 500 }, Detour { start: 557, length: 51 }]);
        assert_eq!(seen.shortest_step, 10);
        assert_eq!(seen.watched, 630 - 7 - 2);
    }

    #[test]
    fn a_step_of_exactly_the_threshold_is_none() {
        let mut detours = [EMPTY; 4];
        let seen = record(replay(&[0, 50, 100, 151, 151, 200]), 200, 50, &mut detours);
        assert_eq!(seen.count, 1);
        assert_eq!(detours[0].start, 100);
        assert_eq!(detours[0].length, 51);
    }

    #[test]
    fn a_quiet_trace_has_none() {
        let trace: Vec<u64> = (0..=100).map(|i| i * 20).collect();
        let mut detours = [EMPTY; 4];
        let seen = record(replay(&trace), 2000, 100, &mut detours);
        assert_eq!(seen, Observation { begun: 0, count: 0, watched: 2000, shortest_step: 20 });
    }

    #[test]
    fn stops_when_the_buffer_is_full() {
        let trace: Vec<u64> = (0..=100).map(|i| i * 1000).collect();
        let mut detours = [EMPTY; 3];
        let seen = record(replay(&trace), u64::MAX, 100, &mut detours);
        assert_eq!(seen.count, 3);
        assert_eq!(seen.watched, 3000);
    }

    #[test]
    fn a_counter_that_steps_back_is_no_detour() {
        let mut detours = [EMPTY; 3];
        let seen = record(replay(&[100, 110, 90, 115, 200]), 100, 90, &mut detours);
        assert_eq!(seen.count, 0);
    }

    #[test]
    fn the_longest_are_kept_in_the_order_of_time() {
        let detours: Vec<Detour> =
            [7, 1, 9, 3, 8].iter().zip(0..).map(|(&length, start)| Detour { start, length }).collect();
        let kept: Vec<(u64, u64)> = longest(&detours, 3).iter().map(|d| (d.start, d.length)).collect();
        assert_eq!(kept, [(0, 7), (2, 9), (4, 8)]);
        assert_eq!(longest(&detours, 5), detours);
        assert!(longest(&detours, 0).is_empty());
    }
}
