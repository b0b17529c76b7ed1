//! The runnable threads of a core, in the order in which they get it.
//!
//! Who has waited for something that has now come goes ahead of those who only want the core
//! for longer. Otherwise each forwarded call, each sleep and each lock of a thread beside others that
//! compute or spin would take as many slices as there are of them, where Linux lets it go on at
//! once. So that threads which wake each other can't keep the core to themselves, the others are
//! passed over for a slice at most.

use alloc::collections::VecDeque;

use super::timer::SLICE_NS;

/// Runnable threads of a core.
#[derive(Debug)]
pub struct RunQueue<T> {
    /// Those who have waited.
    woken: VecDeque<T>,
    /// Those who take turns.
    turns: VecDeque<T>,
    /// Since when somebody of `turns` has been passed over.
    passed: Option<u64>,
}

impl<T> Default for RunQueue<T> {
    fn default() -> Self {
        RunQueue { woken: VecDeque::new(), turns: VecDeque::new(), passed: None }
    }
}

impl<T> RunQueue<T> {
    /// Threads in it.
    #[must_use]
    pub fn count(&self) -> usize {
        self.woken.len() + self.turns.len()
    }

    /// Appends one that wants a turn: a new one, or one that had the core.
    pub fn push(&mut self, thread: T) {
        self.turns.push_back(thread);
    }

    /// Appends one whose wait is over.
    pub fn push_woken(&mut self, thread: T) {
        self.woken.push_back(thread);
    }

    /// Whether there is one for which `fits`.
    pub fn any(&self, fits: impl Fn(&T) -> bool) -> bool {
        self.woken.iter().chain(&self.turns).any(fits)
    }

    /// Takes the next one for which `fits`. `now` tells the time in nanoseconds.
    pub fn take(&mut self, fits: impl Fn(&T) -> bool, now: impl FnOnce() -> u64) -> Option<T> {
        let woken = self.woken.iter().position(&fits);
        let turn = self.turns.iter().position(&fits);
        if let (Some(at), is_passed) = (woken, turn.is_some())
            && !(is_passed && self.has_been_passed(now()))
        {
            return self.woken.remove(at);
        }
        self.passed = None;
        self.turns.remove(turn?)
    }

    /// Whether those of `turns` have been passed over for long enough.
    fn has_been_passed(&mut self, now: u64) -> bool {
        let since = *self.passed.get_or_insert(now);
        now.saturating_sub(since) >= SLICE_NS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(turns: &[u32], woken: &[u32]) -> RunQueue<u32> {
        let mut queue = RunQueue::default();
        turns.iter().for_each(|thread| queue.push(*thread));
        woken.iter().for_each(|thread| queue.push_woken(*thread));
        queue
    }

    fn drain(queue: &mut RunQueue<u32>) -> Vec<u32> {
        core::iter::from_fn(|| queue.take(|_| true, || 0)).collect()
    }

    #[test]
    fn the_woken_go_ahead_in_their_order() {
        assert_eq!(drain(&mut queue(&[1, 2], &[3, 4])), [3, 4, 1, 2]);
        assert_eq!(drain(&mut queue(&[1, 2], &[])), [1, 2]);
        assert_eq!(drain(&mut queue(&[], &[])), []);
    }

    #[test]
    fn only_those_who_fit_are_taken() {
        let mut queue = queue(&[1, 2], &[3, 4]);
        assert!(queue.any(|thread| *thread == 2) && !queue.any(|thread| *thread == 5));
        assert_eq!(queue.take(|thread| *thread == 2, || 0), Some(2));
        assert_eq!(queue.take(|thread| *thread == 5, || 0), None);
        assert_eq!(queue.count(), 3);
        assert_eq!(drain(&mut queue), [3, 4, 1]);
    }

    #[test]
    fn nobody_is_passed_over_for_long() {
        let mut queue = queue(&[1], &[]);
        for now in [10, 11, 9 + SLICE_NS] {
            queue.push_woken(2);
            assert_eq!(queue.take(|_| true, || now), Some(2));
        }
        queue.push_woken(2);
        assert_eq!(queue.take(|_| true, || 10 + SLICE_NS), Some(1));
        queue.push(1);
        assert_eq!(queue.take(|_| true, || 11 + SLICE_NS), Some(2), "counted anew");
        assert_eq!(queue.take(|_| true, || 12 + SLICE_NS), Some(1));
    }
}
