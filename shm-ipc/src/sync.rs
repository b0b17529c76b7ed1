//! The atomics in use: the hardware's, or loom's when interleavings are being explored.

#[cfg(not(loom))]
pub(crate) use core::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

/// A sequentially consistent fence: the stores before it are seen before the loads after it are made.
#[cfg(loom)]
pub(crate) fn full_fence() {
    fence(Ordering::SeqCst);
}

/// As above. A locked instruction orders as MFENCE does for memory that is cached (Intel SDM volume 3,
/// section 9.2.2), and takes a fraction of the time. Linux's `smp_mb` is the same (`barrier.h`).
#[cfg(not(loom))]
#[inline(always)]
pub(crate) fn full_fence() {
    // SAFETY: leaves the word on the stack what it is. Not `nomem`: the compiler moves no access across.
    unsafe { core::arch::asm!("lock or dword ptr [rsp - 4], 0", options(nostack)) };
}

/// Tells loom who reads and who writes a slot. Its words are atomics, so that a misbehaving peer
/// is no data race; between two correct ones there must be none all the same, and only loom can
/// see it. Takes no space and does nothing otherwise.
#[derive(Debug)]
pub(crate) struct Witness(#[cfg(loom)] loom::cell::UnsafeCell<()>);

// SAFETY: nothing is in it; loom reports accesses that are not ordered.
#[cfg(loom)]
unsafe impl Sync for Witness {}

#[cfg(loom)]
impl Witness {
    pub(crate) fn new() -> Self {
        Witness(loom::cell::UnsafeCell::new(()))
    }

    pub(crate) fn reads(&self) {
        self.0.with(|_| ());
    }

    pub(crate) fn writes(&self) {
        self.0.with_mut(|_| ());
    }
}

#[cfg(not(loom))]
impl Witness {
    pub(crate) fn new() -> Self {
        Witness()
    }

    #[inline(always)]
    pub(crate) fn reads(&self) {}

    #[inline(always)]
    pub(crate) fn writes(&self) {}
}
