//! How one side learns that the other has put something into a ring while it was not looking.
//!
//! A waiter announces in one word what it would take to get its attention: nothing (it polls),
//! a wake-up (it sleeps), or an interrupt (its core runs the program). Whoever fills a ring
//! reads that word afterwards. Both sides put a sequentially consistent fence between their
//! store and their load, so either the waiter sees the message or the ringer sees the
//! announcement: no wake-up is lost (checked with loom in `tests/loom.rs`).
//!
//! How to sleep, wake and interrupt differs per platform (futex, eventfd, IPI) and is the
//! caller's business; the word itself doubles as the futex.

use crate::sync::{AtomicU32, Ordering, fence};

/// What the waiter needs to be told of new messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Attention {
    /// Nothing: it is polling or will look before it stops doing so.
    Polling = 0,
    /// A wake-up: it sleeps on the word.
    Asleep = 1,
    /// An interrupt: its core runs program code.
    Busy = 2,
}

impl Attention {
    /// What `word` alleges; an unknown value counts as asleep, the harmless side.
    #[must_use]
    pub fn from_word(word: u32) -> Self {
        match word {
            0 => Attention::Polling,
            2 => Attention::Busy,
            _ => Attention::Asleep,
        }
    }
}

/// The word in shared memory.
#[repr(C, align(64))]
#[derive(Debug)]
pub struct Doorbell {
    word: AtomicU32,
}

impl Doorbell {
    /// A doorbell whose waiter is polling.
    #[must_use]
    pub fn new() -> Self {
        Doorbell { word: AtomicU32::new(Attention::Polling as u32) }
    }

    /// Waiter: announces `attention`. Look at the rings once more *after* this and before
    /// sleeping or leaving for the program.
    pub fn announce(&self, attention: Attention) {
        self.word.store(attention as u32, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// Waiter: back to polling.
    pub fn polling(&self) {
        self.word.store(Attention::Polling as u32, Ordering::Relaxed);
    }

    /// Ringer: call after filling the ring. Says what is needed now; a sleeping or busy waiter
    /// is reported to one ringer only, which must then act.
    #[must_use]
    pub fn ring(&self) -> Attention {
        fence(Ordering::SeqCst);
        if self.word.load(Ordering::Relaxed) == Attention::Polling as u32 {
            return Attention::Polling;
        }
        Attention::from_word(self.word.swap(Attention::Polling as u32, Ordering::AcqRel))
    }

    /// The futex word to sleep on: its value while asleep is [`Attention::Asleep`].
    #[cfg(not(loom))]
    #[must_use]
    pub fn futex(&self) -> &AtomicU32 {
        &self.word
    }

    /// Whether the waiter is still announced as asleep.
    #[must_use]
    pub fn is_asleep(&self) -> bool {
        self.word.load(Ordering::Acquire) == Attention::Asleep as u32
    }
}

impl Default for Doorbell {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(not(loom))]
const _: () = assert!(core::mem::size_of::<Doorbell>() == 64);
