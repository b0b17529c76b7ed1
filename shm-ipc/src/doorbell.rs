//! How one side learns that the other has put something into a ring while it was not looking.
//!
//! A waiter announces in one word what it would take to get its attention: nothing (it polls),
//! a wake-up (it sleeps), or an interrupt (its core runs the program). Whoever fills a ring
//! reads that word afterwards. Both sides put a sequentially consistent fence between their
//! store and their load, so either the waiter sees the message or the ringer sees the
//! announcement: no wake-up is lost (checked with loom in `tests/loom.rs`).
//!
//! One waiter, any number of ringers. The ringer that takes an announcement owes the wake-up;
//! the others, who see "polling" from then on, rely on it. Hence the rules for a waiter:
//! 1. After announcing, look at everything that the bell stands for, once more.
//! 2. Whatever ends the sleep or the program's turn, go back to polling and look again: the
//!    wake-up may stand for more than one message.
//! 3. A wake-up or interrupt can come late, when the waiter has long seen the message, or while
//!    it waits for something else. It is never wrong to look once too often.
//! 4. A peer that dies, or does not mean well, never rings: whoever sleeps needs another way to
//!    learn of that (the end of the child, a deadline).
//!
//! How to sleep, wake and interrupt differs per platform (futex, eventfd, IPI) and is the
//! caller's business; the word itself doubles as the futex.

use crate::sync::{AtomicU32, Ordering, full_fence};

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
    #[cfg(loom)]
    exchanges: bool,
}

impl Doorbell {
    /// A doorbell whose waiter is polling.
    #[must_use]
    pub fn new() -> Self {
        Doorbell {
            word: AtomicU32::new(Attention::Polling as u32),
            #[cfg(loom)]
            exchanges: false,
        }
    }

    /// A doorbell whose waiter exchanges the word instead of storing to it.
    ///
    /// Loom leaves the order of a thread's exchange and another thread's later store open, where
    /// memory has one (an exchange takes the place right behind the store that it read). A ringer
    /// that rings again would there be shown its own exchange in place of an announcement that
    /// came after it: a lost wake-up that no machine has. Models with more than one ring in a
    /// row use this constructor, the others the code as it is.
    #[cfg(loom)]
    #[must_use]
    pub fn exchanging() -> Self {
        Doorbell { exchanges: true, ..Self::new() }
    }

    fn set(&self, attention: Attention) {
        #[cfg(loom)]
        if self.exchanges {
            self.word.swap(attention as u32, Ordering::Relaxed);
            return;
        }
        self.word.store(attention as u32, Ordering::Relaxed);
    }

    /// Waiter: announces `attention`. Look at the rings once more *after* this and before
    /// sleeping or leaving for the program. The sleep must compare the word, as futex(2) does,
    /// or be ended by a wake-up that came before it.
    pub fn announce(&self, attention: Attention) {
        self.set(attention);
        full_fence();
    }

    /// Waiter: back to polling. A ringer may have seen the announcement before: its wake-up or
    /// interrupt still comes.
    pub fn polling(&self) {
        self.set(Attention::Polling);
    }

    /// Ringer: call after filling the ring. Says what is needed now; a sleeping or busy waiter
    /// is reported to one ringer only, which must then act at once (other ringers count on it).
    #[must_use]
    pub fn ring(&self) -> Attention {
        full_fence();
        // While the waiter polls its word is only read, so that the line stays shared.
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
const _: () = assert!(size_of::<Doorbell>() == 64 && align_of::<Doorbell>() == 64);

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn an_announcement_is_reported_once() {
        let bell = Doorbell::new();
        assert_eq!(bell.ring(), Attention::Polling);
        for attention in [Attention::Asleep, Attention::Busy] {
            bell.announce(attention);
            assert_eq!(bell.is_asleep(), attention == Attention::Asleep);
            assert_eq!(bell.ring(), attention);
            assert_eq!(bell.ring(), Attention::Polling);
            bell.announce(attention);
            bell.polling();
            assert_eq!(bell.ring(), Attention::Polling);
        }
    }

    #[test]
    fn an_unknown_word_counts_as_asleep() {
        for word in [1, 3, 1 << 31, u32::MAX] {
            let bell = Doorbell::new();
            bell.futex().store(word, Ordering::Relaxed);
            assert_eq!(bell.ring(), Attention::Asleep);
            assert_eq!(bell.ring(), Attention::Polling);
        }
    }
}
