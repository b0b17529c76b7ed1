//! Signals from outside, between the interrupt that brings them and the kernel that acts.
//!
//! An interrupt may come while this core holds any lock, so it only drops the signal here. Its
//! core is both the only writer (in interrupts) and the only reader (with the slot's flag
//! handed over), so no lock is needed.

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicU32, Ordering};

use super::info::SigInfo;
use super::{number, send};
use crate::sched::core::{Core, pending};

const SLOTS: usize = 32;

/// A core's inbox.
#[derive(Debug)]
pub struct Inbox {
    slots: [UnsafeCell<[u8; 128]>; SLOTS],
    /// Ever written, ever read (wrapping).
    written: AtomicU32,
    read: AtomicU32,
}

// SAFETY: a slot is written by its core's interrupts before `written` moves and read by the
// same core's kernel side before `read` moves.
unsafe impl Sync for Inbox {}

impl Default for Inbox {
    fn default() -> Self {
        Inbox {
            slots: [const { UnsafeCell::new([0; 128]) }; SLOTS],
            written: AtomicU32::new(0),
            read: AtomicU32::new(0),
        }
    }
}

/// Interrupt: leaves a signal with its `siginfo_t`. When the inbox is full the oldest signals
/// are still unread; one more of the same is then lost, as with Linux's standard signals.
pub fn drop_signal(core: &Core, info: [u8; 128]) {
    let inbox = &core.inbox;
    let written = inbox.written.load(Ordering::Relaxed);
    if written.wrapping_sub(inbox.read.load(Ordering::Acquire)) as usize >= SLOTS {
        return;
    }
    // SAFETY: the slot is not being read: the reader has moved past it.
    unsafe { *inbox.slots[written as usize % SLOTS].get() = info };
    inbox.written.store(written.wrapping_add(1), Ordering::Release);
    core.pending.fetch_or(pending::INBOX, Ordering::SeqCst);
}

/// Kernel, on that core: sends what came to the process.
pub fn drain_inbox(core: &Core) {
    let inbox = &core.inbox;
    loop {
        let read = inbox.read.load(Ordering::Relaxed);
        if read == inbox.written.load(Ordering::Acquire) {
            return;
        }
        // SAFETY: written before `written` moved, and not written again before `read` moves.
        let bytes = unsafe { *inbox.slots[read as usize % SLOTS].get() };
        inbox.read.store(read.wrapping_add(1), Ordering::Release);
        receive(bytes);
    }
}

/// Kernel: a signal has come to the process, as a `siginfo_t`.
pub fn receive(info: [u8; 128]) {
    if (1..=number::MAX).contains(&info[0]) {
        send::send_process(SigInfo::raw(info[0], info));
    }
}
