//! Sets of signals and queues of pending ones.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::info::SigInfo;
use super::number;

/// A set of signals, bit `n - 1` for signal `n`, as Linux's `sigset_t`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SigSet(pub u64);

impl SigSet {
    /// The set of one signal.
    #[must_use]
    pub fn one(signal: u8) -> Self {
        SigSet(1 << (signal - 1))
    }

    /// Whether `signal` is in the set.
    #[must_use]
    pub fn contains(self, signal: u8) -> bool {
        self.0 & SigSet::one(signal).0 != 0
    }

    /// Both sets together.
    #[must_use]
    pub fn or(self, other: SigSet) -> Self {
        SigSet(self.0 | other.0)
    }

    /// This set without the other.
    #[must_use]
    pub fn without(self, other: SigSet) -> Self {
        SigSet(self.0 & !other.0)
    }

    /// A set that a program asks to be blocked: SIGKILL and SIGSTOP can't be.
    #[must_use]
    pub fn blockable(self) -> Self {
        self.without(SigSet::one(number::KILL).or(SigSet::one(number::STOP)))
    }

    /// The lowest signal of the set; synchronous ones first, as Linux has it.
    #[must_use]
    pub fn first(self) -> Option<u8> {
        let synchronous = [number::SEGV, number::BUS, number::ILL, number::TRAP, number::FPE, number::SYS]
            .into_iter()
            .fold(SigSet::default(), |set, signal| set.or(SigSet::one(signal)));
        let bits = if self.0 & synchronous.0 != 0 { self.0 & synchronous.0 } else { self.0 };
        (bits != 0).then(|| bits.trailing_zeros() as u8 + 1)
    }
}

/// Real-time signals that one queue holds at most; Linux's RLIMIT_SIGPENDING has the role.
const LIMIT: usize = 1024;

/// Room for signals of timers beyond that.
const TIMERS: usize = 4096;

const FIRST_REALTIME: u8 = 32;

/// Pending signals. Standard signals are kept once, real-time signals each time.
#[derive(Debug, Default)]
pub struct Queue {
    set: SigSet,
    entries: VecDeque<SigInfo>,
}

impl Queue {
    /// An empty queue.
    #[must_use]
    pub const fn new() -> Self {
        Queue { set: SigSet(0), entries: VecDeque::new() }
    }

    /// The signals that are pending.
    #[must_use]
    pub fn set(&self) -> SigSet {
        self.set
    }

    /// Adds a signal. `false` when it is a real-time signal and the queue is full.
    pub fn push(&mut self, info: SigInfo) -> bool {
        let signal = info.signal();
        // A timer has one signal under way at most, which has its place whatever else is there.
        let is_timers = info.timer_id().is_some() && self.entries.len() < LIMIT + TIMERS;
        if signal < FIRST_REALTIME && self.set.contains(signal) && !is_timers {
            return true;
        }
        // Standard signals always find room: a fault that could not be told would happen again
        // and again.
        if signal >= FIRST_REALTIME && self.entries.len() >= LIMIT && !is_timers {
            return false;
        }
        self.set = self.set.or(SigSet::one(signal));
        self.entries.push_back(info);
        true
    }

    /// Takes the next signal that is in `wanted`.
    pub fn pop(&mut self, wanted: SigSet) -> Option<SigInfo> {
        let signal = SigSet(self.set.0 & wanted.0).first()?;
        let at = self.entries.iter().position(|info| info.signal() == signal)?;
        let info = self.entries.remove(at)?;
        if !self.entries.iter().any(|info| info.signal() == signal) {
            self.set = self.set.without(SigSet::one(signal));
        }
        Some(info)
    }

    /// Forgets all pending signals of `set`; gives the timers that some of them came from.
    pub fn discard(&mut self, set: SigSet) -> Vec<i32> {
        let gone = self.entries.iter().filter(|info| set.contains(info.signal()));
        let timers = gone.filter_map(SigInfo::timer_id).collect();
        self.entries.retain(|info| !set.contains(info.signal()));
        self.set = self.set.without(set);
        timers
    }
}

/// A thread's part.
#[derive(Debug, Default)]
pub struct ThreadSignals {
    /// Blocked signals.
    pub mask: SigSet,
    /// Signals that a thread in sigtimedwait(2) takes although they are blocked.
    pub awaited: SigSet,
    /// Signals directed at this thread.
    pub pending: Queue,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standard_signals_are_kept_once_and_realtime_ones_each_time() {
        let mut queue = Queue::default();
        for signal in [10, 10, 40, 40] {
            assert!(queue.push(SigInfo::user(signal, 1, 0)));
        }
        let all = SigSet(u64::MAX);
        let order: std::vec::Vec<u8> = core::iter::from_fn(|| queue.pop(all)).map(|i| i.signal()).collect();
        assert_eq!(order, [10, 40, 40]);
        assert_eq!(queue.set(), SigSet::default());
    }

    #[test]
    fn synchronous_signals_come_first() {
        assert_eq!(SigSet::one(1).or(SigSet::one(number::SEGV)).first(), Some(number::SEGV));
        assert_eq!(SigSet::default().first(), None);
    }

    #[test]
    fn a_full_queue_refuses() {
        let mut queue = Queue::default();
        for _ in 0..LIMIT {
            assert!(queue.push(SigInfo::user(34, 1, 0)));
        }
        assert!(!queue.push(SigInfo::user(34, 1, 0)));
        assert!(queue.push(SigInfo::fault(number::SEGV, 1, 0)));
        assert!(queue.set().contains(number::SEGV));
    }
}
