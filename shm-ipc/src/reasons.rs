//! Why a core on bare metal is interrupted.
//!
//! A non-maskable interrupt says nothing of where it comes from, and two that come close together
//! may be one. So whoever sends one notes a bit first, and sends only if that bit was not there: then
//! each bit that the core takes stands for one interrupt that was sent, and what was done before
//! a bit was noted is seen by the handler that takes it (checked with loom in `tests/loom.rs`).

use crate::sync::{AtomicU32, Ordering};

/// The proxy has rung the core's bell.
pub const PROXY: u32 = 1;
/// Another core of the cell asks for attention.
pub const CORE: u32 = 2;
/// Another core of the cell has changed page tables.
pub const TABLES: u32 = 4;

/// The word in shared memory.
#[repr(transparent)]
#[derive(Debug, Default)]
pub struct Reasons(AtomicU32);

impl Reasons {
    /// None.
    #[must_use]
    pub fn new() -> Self {
        Reasons(AtomicU32::new(0))
    }

    /// Whoever is about to interrupt the core: notes why. `false` when that stands there already:
    /// then an interrupt is on its way, or about to be sent, that serves for this one too.
    #[must_use]
    pub fn note(&self, reason: u32) -> bool {
        self.0.fetch_or(reason, Ordering::SeqCst) & reason == 0
    }

    /// Whoever has noted `reason`: the interrupt could not be sent.
    pub fn take_back(&self, reason: u32) {
        self.0.fetch_and(!reason, Ordering::SeqCst);
    }

    /// The core, when it is interrupted: why. Bits that are none of the above are left out.
    #[must_use]
    pub fn take(&self) -> u32 {
        self.0.swap(0, Ordering::SeqCst) & (PROXY | CORE | TABLES)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn one_interrupt_for_each_reason() {
        let reasons = Reasons::new();
        assert!(reasons.note(PROXY) && !reasons.note(PROXY) && reasons.note(TABLES));
        assert_eq!(reasons.take(), PROXY | TABLES);
        assert_eq!(reasons.take(), 0);
        assert!(reasons.note(PROXY));
        reasons.take_back(PROXY);
        assert!(reasons.note(PROXY | 1 << 20) && reasons.note(CORE));
        assert_eq!(reasons.take(), PROXY | CORE, "what a peer makes up is left out");
    }
}
