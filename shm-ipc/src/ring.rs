//! Single-producer single-consumer rings of 64-byte slots.
//!
//! The producer owns `tail`, the consumer owns `head`; both are free-running 32-bit counters,
//! so `tail - head` (wrapping) is the number of filled slots. Each side keeps its own counter
//! and a cached copy of the peer's privately, and rereads the peer's only when the cached copy
//! says "full" or "empty". While messages stream, one cache line moves per message (its slot);
//! a single message to a consumer that polls moves two (`tail` and its slot).
//!
//! The peer's counter is an allegation. A value that would mean more than `N` filled slots is
//! answered with [`Corrupt`] and the ring is not used further by the caller. The own counter in
//! shared memory is written, never read back: a peer that overwrites it misleads only itself.

use core::fmt;

use crate::sync::{AtomicU32, AtomicU64, Ordering, Witness};

/// 64-bit words in a slot.
pub const SLOT_WORDS: usize = 8;

/// Slots per ring. A power of two; no cell has more threads with a call in flight per core
/// than it is willing to make wait.
pub const RING_SLOTS: usize = 256;

/// One message as it lies in the ring.
pub type Words = [u64; SLOT_WORDS];

/// A message that travels through a ring.
pub trait Message: Copy {
    /// The eight words of the slot.
    fn to_words(self) -> Words;
    /// The message that `words` allege. Any bit pattern must give some value.
    fn from_words(words: Words) -> Self;
}

/// One 64-byte slot, on a cache line of its own.
#[repr(C, align(64))]
#[derive(Debug)]
pub struct Slot {
    words: [AtomicU64; SLOT_WORDS],
    witness: Witness,
}

impl Slot {
    /// An empty slot (all words zero).
    #[must_use]
    pub fn new() -> Self {
        Slot { words: core::array::from_fn(|_| AtomicU64::new(0)), witness: Witness::new() }
    }

    fn store(&self, words: Words) {
        self.witness.writes();
        for (cell, word) in self.words.iter().zip(words) {
            cell.store(word, Ordering::Relaxed);
        }
    }

    fn load(&self) -> Words {
        self.witness.reads();
        core::array::from_fn(|i| self.words[i].load(Ordering::Relaxed))
    }
}

impl Default for Slot {
    fn default() -> Self {
        Self::new()
    }
}

/// A counter on a cache line of its own, so that producer and consumer do not share one.
#[repr(C, align(64))]
#[derive(Debug)]
pub struct Counter(AtomicU32);

impl Counter {
    /// A counter at zero.
    #[must_use]
    pub fn new() -> Self {
        Counter(AtomicU32::new(0))
    }

    /// Writes any value: what a hostile or broken peer does (tests).
    #[doc(hidden)]
    pub fn overwrite(&self, value: u32) {
        self.0.store(value, Ordering::Release);
    }
}

impl Default for Counter {
    fn default() -> Self {
        Self::new()
    }
}

/// A ring as it lies in shared memory: two counters and the slots.
#[repr(C)]
#[derive(Debug)]
pub struct Ring<const N: usize = RING_SLOTS> {
    /// Messages ever produced (wrapping).
    pub tail: Counter,
    /// Messages ever consumed (wrapping).
    pub head: Counter,
    /// The messages.
    pub slots: [Slot; N],
}

impl<const N: usize> Ring<N> {
    /// What the arithmetic on counters needs of `N`. Both ends name it, because a ring in shared
    /// memory is found there, not made by [`Ring::new`].
    const SIZE_IS_SOUND: () = assert!(N.is_power_of_two() && N <= 1 << 30);

    /// Messages ever produced (wrapping), as far as the producer can be believed: for a consumer that
    /// counts what it has taken, and only wants to know whether there is more.
    #[must_use]
    pub fn produced(&self) -> u32 {
        self.tail.0.load(Ordering::Acquire)
    }

    /// An empty ring.
    #[must_use]
    pub fn new() -> Self {
        let () = Self::SIZE_IS_SOUND;
        Ring { tail: Counter::new(), head: Counter::new(), slots: core::array::from_fn(|_| Slot::new()) }
    }

    /// An empty ring through which `count` messages have gone already (tests of the counters'
    /// wrap-around, with [`Producer::starting_at`] and [`Consumer::starting_at`]).
    #[doc(hidden)]
    #[must_use]
    pub fn starting_at(count: u32) -> Self {
        let ring = Self::new();
        ring.tail.overwrite(count);
        ring.head.overwrite(count);
        ring
    }
}

impl<const N: usize> Default for Ring<N> {
    fn default() -> Self {
        Self::new()
    }
}

/// The peer's counter claims an impossible fill level: it wrote where it must not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Corrupt {
    /// The peer's counter as read.
    pub alleged: u32,
    /// This side's own counter.
    pub own: u32,
}

impl fmt::Display for Corrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ring counter {:#x} is impossible beside {:#x}", self.alleged, self.own)
    }
}

/// Why a message was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PushError {
    /// All slots are filled; the consumer has to catch up first.
    Full,
    /// The consumer's counter is impossible.
    Corrupt(Corrupt),
}

/// The writing end. There must be one per ring.
#[derive(Debug)]
pub struct Producer<'r, const N: usize = RING_SLOTS> {
    ring: &'r Ring<N>,
    tail: u32,
    cached_head: u32,
}

impl<'r, const N: usize> Producer<'r, N> {
    /// Takes the writing end of a ring that is still empty.
    #[must_use]
    pub fn new(ring: &'r Ring<N>) -> Self {
        Self::starting_at(ring, 0)
    }

    /// See [`Ring::starting_at`].
    #[doc(hidden)]
    #[must_use]
    pub fn starting_at(ring: &'r Ring<N>, count: u32) -> Self {
        let () = Ring::<N>::SIZE_IS_SOUND;
        Producer { ring, tail: count, cached_head: count }
    }

    /// Appends `message`; it is visible to the consumer when this returns.
    ///
    /// # Errors
    /// [`PushError`]
    pub fn push<M: Message>(&mut self, message: M) -> Result<(), PushError> {
        if self.tail.wrapping_sub(self.cached_head) as usize == N {
            let head = self.ring.head.0.load(Ordering::Acquire);
            if self.tail.wrapping_sub(head) as usize > N {
                return Err(PushError::Corrupt(Corrupt { alleged: head, own: self.tail }));
            }
            self.cached_head = head;
            if self.tail.wrapping_sub(head) as usize == N {
                return Err(PushError::Full);
            }
        }
        self.ring.slots[self.tail as usize & (N - 1)].store(message.to_words());
        self.tail = self.tail.wrapping_add(1);
        self.ring.tail.0.store(self.tail, Ordering::Release);
        Ok(())
    }
}

/// The reading end. There must be one per ring.
#[derive(Debug)]
pub struct Consumer<'r, const N: usize = RING_SLOTS> {
    ring: &'r Ring<N>,
    head: u32,
    cached_tail: u32,
}

impl<'r, const N: usize> Consumer<'r, N> {
    /// Takes the reading end of a ring that is still empty.
    #[must_use]
    pub fn new(ring: &'r Ring<N>) -> Self {
        Self::starting_at(ring, 0)
    }

    /// See [`Ring::starting_at`].
    #[doc(hidden)]
    #[must_use]
    pub fn starting_at(ring: &'r Ring<N>, count: u32) -> Self {
        let () = Ring::<N>::SIZE_IS_SOUND;
        Consumer { ring, head: count, cached_tail: count }
    }

    /// Takes the oldest message, if there is one.
    ///
    /// # Errors
    /// [`Corrupt`] when the producer's counter is impossible.
    pub fn pop<M: Message>(&mut self) -> Result<Option<M>, Corrupt> {
        if self.is_empty()? {
            return Ok(None);
        }
        let words = self.ring.slots[self.head as usize & (N - 1)].load();
        self.head = self.head.wrapping_add(1);
        self.ring.head.0.store(self.head, Ordering::Release);
        Ok(Some(M::from_words(words)))
    }

    /// Whether no message waits. Rereads the producer's counter only when it has to; while the
    /// ring stays empty that is a read of a line that this core already holds.
    ///
    /// # Errors
    /// [`Corrupt`] when the producer's counter is impossible.
    pub fn is_empty(&mut self) -> Result<bool, Corrupt> {
        if self.head == self.cached_tail {
            let tail = self.ring.tail.0.load(Ordering::Acquire);
            if tail.wrapping_sub(self.head) as usize > N {
                return Err(Corrupt { alleged: tail, own: self.head });
            }
            self.cached_tail = tail;
        }
        Ok(self.head == self.cached_tail)
    }
}

/// A forwarded call on its way to the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Submission {
    /// Names the waiting thread to the kernel; comes back unchanged in the [`Completion`].
    pub token: u64,
    /// Number of the call: Linux's, or one of [`crate::calls::private`].
    pub nr: u32,
    /// Offset of the call's [block](crate::block) in cell memory.
    pub block: u64,
    /// The process that the call is made for: 0 for the program, else a child of it that has not
    /// executed anything yet ([`crate::calls::private::VFORK`]).
    pub child: u32,
}

impl Message for Submission {
    fn to_words(self) -> Words {
        [self.token, u64::from(self.nr), self.block, u64::from(self.child), 0, 0, 0, 0]
    }

    fn from_words(words: Words) -> Self {
        Submission { token: words[0], nr: words[1] as u32, block: words[2], child: words[3] as u32 }
    }
}

/// The answer to a [`Submission`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Completion {
    /// The submission's token.
    pub token: u64,
    /// What Linux's system call returns: a value, or an errno negated.
    pub result: i64,
    /// A second result where a call has one (see the call's note in the table).
    pub extra: u64,
}

impl Message for Completion {
    fn to_words(self) -> Words {
        [self.token, self.result as u64, self.extra, 0, 0, 0, 0, 0]
    }

    fn from_words(words: Words) -> Self {
        Completion { token: words[0], result: words[1] as i64, extra: words[2] }
    }
}

/// Bytes of a `siginfo_t` that mean something for a signal that another process sent: everything
/// up to the end of `si_stime` (sigaction(2)).
pub const SIGINFO_BYTES: usize = 48;

/// What comes to a core through its completion ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Incoming {
    /// The answer to a call.
    Answer(Completion),
    /// A signal from outside, where the platform has no other way to bring one: the first bytes
    /// of its `siginfo_t`, in words.
    Signal([u64; SIGINFO_BYTES / 8]),
    /// Another program is about to reach memory of this one, which is to be filled where that is done when it
    /// is touched ([`ControlPage::fills`](crate::control::ControlPage::fills)).
    Fill(Fill),
}

/// Memory that another program is about to reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fill {
    /// The program's address of it.
    pub at: u64,
    /// Bytes.
    pub len: u64,
    /// Whether it is to be written to.
    pub write: bool,
}

impl Message for Incoming {
    fn to_words(self) -> Words {
        match self {
            Incoming::Answer(completion) => completion.to_words(),
            // No submission has the token 0.
            Incoming::Signal([a, b, c, d, e, f]) => [0, a, b, c, d, e, f, 0],
            Incoming::Fill(Fill { at, len, write }) => [0, at, len, write.into(), 0, 0, 0, 1],
        }
    }

    fn from_words(words: Words) -> Self {
        match words {
            [0, at, len, write, .., 1] => Incoming::Fill(Fill { at, len, write: write != 0 }),
            [0, a, b, c, d, e, f, _] => Incoming::Signal([a, b, c, d, e, f]),
            _ => Incoming::Answer(Completion::from_words(words)),
        }
    }
}

#[cfg(not(loom))]
const _: () = {
    use core::mem::{align_of, offset_of, size_of};
    assert!(size_of::<Slot>() == 64 && align_of::<Slot>() == 64);
    assert!(offset_of!(Slot, words) == 0);
    assert!(size_of::<Counter>() == 64 && align_of::<Counter>() == 64);
    assert!(align_of::<Ring>() == 64);
    assert!(offset_of!(Ring, tail) == 0);
    assert!(offset_of!(Ring, head) == 64);
    assert!(offset_of!(Ring, slots) == 128);
    assert!(size_of::<Ring>() == 128 + 64 * RING_SLOTS);
};

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const N: usize = 4;

    #[test]
    fn what_comes_to_a_core_is_told_apart() {
        let messages = [
            Incoming::Answer(Completion { token: 1, result: -14, extra: u64::MAX }),
            Incoming::Signal([1, 2, 3, 4, 5, u64::MAX]),
            Incoming::Signal([0; 6]),
            Incoming::Fill(Fill { at: 0x7f00_0000_1000, len: 1 << 40, write: true }),
            Incoming::Fill(Fill { at: 0, len: 0, write: false }),
        ];
        for message in messages {
            assert_eq!(Incoming::from_words(message.to_words()), message);
        }
    }

    fn message(i: u64) -> Completion {
        Completion { token: i, result: -(i as i64), extra: !i }
    }

    /// Fills and empties the ring, by every fill level in turn, across counters from `start` on.
    fn run_through(start: u32) {
        let ring = Ring::<N>::starting_at(start);
        let (mut producer, mut consumer) = (Producer::starting_at(&ring, start), Consumer::starting_at(&ring, start));
        let mut next = 0;
        for fill in (1..=N).cycle().take(5 * N) {
            for i in 0..fill {
                assert_eq!(producer.push(message(next + i as u64)), Ok(()));
            }
            if fill == N {
                assert_eq!(producer.push(message(0)), Err(PushError::Full));
            }
            for i in 0..fill {
                assert_eq!(consumer.pop(), Ok(Some(message(next + i as u64))));
            }
            assert_eq!(consumer.pop::<Completion>(), Ok(None));
            assert_eq!(consumer.is_empty(), Ok(true));
            next += fill as u64;
        }
        let passed = start.wrapping_add(next as u32);
        assert_eq!((producer.tail, consumer.head), (passed, passed));
    }

    #[test]
    fn messages_come_out_in_order() {
        run_through(0);
    }

    #[test]
    fn counters_wrap_around_at_32_bits() {
        for before in 0..=10 {
            run_through(0_u32.wrapping_sub(before));
        }
    }

    #[test]
    fn counters_beyond_the_ring_are_corrupt() {
        for start in [0, 1, 7, u32::MAX - 1, u32::MAX] {
            for ahead in [N as u32 + 1, 1 << 16, 1 << 31, u32::MAX] {
                let alleged = start.wrapping_add(ahead);
                let ring = Ring::<N>::starting_at(start);
                ring.tail.overwrite(alleged);
                let corrupt = Corrupt { alleged, own: start };
                let mut consumer = Consumer::starting_at(&ring, start);
                assert_eq!(consumer.is_empty(), Err(corrupt));
                assert_eq!(consumer.pop::<Submission>(), Err(corrupt));
            }
        }
    }

    #[test]
    fn a_consumer_ahead_of_the_producer_is_corrupt() {
        for start in [0, u32::MAX - 1] {
            let ring = Ring::<N>::starting_at(start);
            let mut producer = Producer::starting_at(&ring, start);
            for i in 0..N as u64 {
                assert_eq!(producer.push(message(i)), Ok(()));
            }
            let own = start.wrapping_add(N as u32);
            for alleged in [own.wrapping_add(1), start.wrapping_sub(1)] {
                ring.head.overwrite(alleged);
                assert_eq!(producer.push(message(9)), Err(PushError::Corrupt(Corrupt { alleged, own })));
            }
            ring.head.overwrite(own);
            assert_eq!(producer.push(message(9)), Ok(()), "an error leaves the producer as it was");
        }
    }

    #[test]
    fn a_full_ring_is_not_corrupt() {
        let ring = Ring::<N>::new();
        ring.tail.overwrite(N as u32);
        assert_eq!(Consumer::new(&ring).is_empty(), Ok(false));
    }

    #[test]
    fn messages_keep_their_words() {
        let submission = Submission { token: u64::MAX, nr: u32::MAX, block: 1 << 63, child: u32::MAX };
        assert_eq!(Submission::from_words(submission.to_words()), submission);
        let completion = Completion { token: 1, result: i64::MIN, extra: u64::MAX };
        assert_eq!(Completion::from_words(completion.to_words()), completion);
    }
}
