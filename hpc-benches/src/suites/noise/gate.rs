//! Where threads wait for each other before each part, so that all cores are measured at the same time.
//!
//! Waiting is spinning: a thread that slept would be woken late, and by an interrupt of its own making.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

/// Spins before the core is offered to others: a party may share its core, and the one that it waits for may be
/// what it keeps from running.
const SPINS_BEFORE_YIELD: u32 = 1 << 16;

/// A barrier for a fixed number of threads.
pub struct Gate {
    parties: usize,
    arrived: AtomicUsize,
    openings: AtomicUsize,
    broken: AtomicBool,
}

/// Another party will not come any more.
#[derive(Debug, PartialEq, Eq)]
pub struct Broken;

impl Gate {
    /// For this many threads.
    pub fn new(parties: usize) -> Self {
        let zero = || AtomicUsize::new(0);
        Self { parties, arrived: zero(), openings: zero(), broken: AtomicBool::new(false) }
    }

    /// Returns when all parties have called it, or when one has given up.
    pub fn pass(&self) -> Result<(), Broken> {
        let opening = self.openings.load(Ordering::Acquire);
        if self.arrived.fetch_add(1, Ordering::AcqRel) + 1 == self.parties {
            self.arrived.store(0, Ordering::Relaxed);
            self.openings.store(opening.wrapping_add(1), Ordering::Release);
        }
        let mut spins = 0_u32;
        while self.openings.load(Ordering::Acquire) == opening {
            if self.broken.load(Ordering::Acquire) {
                return Err(Broken);
            }
            spins = spins.wrapping_add(1);
            match spins % SPINS_BEFORE_YIELD {
                0 => thread::yield_now(),
                _ => std::hint::spin_loop(),
            }
        }
        Ok(())
    }

    /// Tells the others that this party gives up.
    pub fn give_up(&self) {
        self.broken.store(true, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_passes_before_all_have_come() {
        const PARTIES: usize = 3;
        const ROUNDS: usize = 50;
        let gate = Gate::new(PARTIES);
        let begun = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..PARTIES {
                scope.spawn(|| {
                    for round in 1..=ROUNDS {
                        begun.fetch_add(1, Ordering::SeqCst);
                        gate.pass().unwrap();
                        assert!(begun.load(Ordering::SeqCst) >= round * PARTIES);
                    }
                });
            }
        });
        assert_eq!(begun.into_inner(), ROUNDS * PARTIES);
    }

    #[test]
    fn one_party_passes_at_once() {
        let gate = Gate::new(1);
        assert_eq!((gate.pass(), gate.pass()), (Ok(()), Ok(())));
    }

    #[test]
    fn who_waits_for_one_that_gave_up_is_told() {
        let gate = Gate::new(2);
        thread::scope(|scope| {
            let waiting = scope.spawn(|| gate.pass());
            gate.give_up();
            assert_eq!(waiting.join().unwrap(), Err(Broken));
        });
    }
}
