//! Work counted in quanta of fixed time.
//!
//! The live loop of the fixed-time quantum and the tests share [`count`], which takes clock and work as
//! parameters.

/// Repeats `work` and stores in `counts`, for each quantum of `quantum` ticks, how often it was begun.
///
/// Quanta are fixed in time: quantum *i* starts *i* × `quantum` after the first reading, however long the work
/// of another one took. What goes by while the core is elsewhere has a count of zero.
#[inline]
pub fn count(mut now: impl FnMut() -> u64, mut work: impl FnMut(), quantum: u64, counts: &mut [u32]) {
    let mut at = now();
    let mut end = at;
    for slot in counts {
        end += quantum;
        let mut begun = 0;
        while at < end {
            work();
            begun += 1;
            at = now();
        }
        *slot = begun;
    }
}

/// The part of each quantum in which no work was done: 1 − count / largest count. The quantum with the most
/// work counts as undisturbed. None when no work was done at all.
pub fn lost_shares(counts: &[u32]) -> Option<Vec<f64>> {
    let most = f64::from(counts.iter().copied().max().filter(|&most| most > 0)?);
    Some(counts.iter().map(|&count| 1.0 - f64::from(count) / most).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    /// Work that takes 10 ticks, and a detour of `length` before the work unit number `at`.
    fn counts_with_detour(at: u64, length: u64, quanta: usize) -> Vec<u32> {
        let time = Cell::new(1000);
        let units = Cell::new(0);
        let work = || {
            let detour = if units.get() == at { length } else { 0 };
            time.set(time.get() + 10 + detour);
            units.set(units.get() + 1);
        };
        let mut counts = vec![u32::MAX; quanta];
        count(|| time.get(), work, 100, &mut counts);
        counts
    }

    #[test]
    fn undisturbed_quanta_hold_the_same_work() {
        assert_eq!(counts_with_detour(u64::MAX, 0, 4), [10, 10, 10, 10]);
    }

    #[test]
    fn a_detour_is_missing_work_where_it_was() {
        // 50 ticks lost in the second quantum: half its work.
        assert_eq!(counts_with_detour(12, 50, 4), [10, 5, 10, 10]);
    }

    #[test]
    fn a_detour_over_quanta_leaves_those_between_empty() {
        // From tick 120 on 250 ticks: the unit begun in the second quantum ends at 380, in the fourth.
        assert_eq!(counts_with_detour(12, 250, 5), [10, 3, 0, 2, 10]);
    }

    #[test]
    fn a_unit_across_the_boundary_does_not_shift_the_quanta() {
        let time = Cell::new(0);
        let mut counts = [0; 6];
        count(|| time.get(), || time.set(time.get() + 30), 100, &mut counts);
        // Units begin at 0, 30, 60, 90 | 120, 150, 180 | 210, …: 20 in 600 ticks.
        assert_eq!(counts, [4, 3, 3, 4, 3, 3]);
    }

    #[test]
    fn losses_are_shares_of_the_best_quantum() {
        assert_eq!(lost_shares(&[10, 5, 0, 10]), Some(vec![0.0, 0.5, 1.0, 0.0]));
        assert_eq!(lost_shares(&[0, 0]), None);
        assert_eq!(lost_shares(&[]), None);
    }
}
