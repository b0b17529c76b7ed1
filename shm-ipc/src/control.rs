//! The control page: what the cell is, how it fares, and what each of its cores has seen.

use crate::doorbell::Doorbell;
use crate::layout::Layout;
use crate::reasons::Reasons;
use crate::region::SharedLayout;
use crate::sync::{AtomicU32, AtomicU64, Ordering};

/// "TacetCel" in little-endian ASCII.
pub const MAGIC: u64 = u64::from_le_bytes(*b"TacetCel");

/// Revision of everything in this crate that lies in shared memory. Kernel image and proxy are
/// built together; this guards against a mismatch all the same.
pub const REVISION: u32 = 5;

/// Bytes kept of a panic message.
pub const PANIC_BYTES: usize = 1024;

/// Begins the last words of a kernel that the machine failed, not its own code.
pub const HARDWARE_FAILED: &[u8] = b"hardware: ";

/// The cell's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum CellState {
    /// The proxy holds cores and memory.
    Reserved = 0,
    /// The kernel has been started.
    Booting = 1,
    /// The program runs.
    Running = 2,
    /// The program has ended; see [`ControlPage::exit`].
    Exited = 3,
    /// The kernel gave up; see [`ControlPage::panic_message`].
    Failed = 4,
}

impl CellState {
    fn from_word(word: u32) -> Option<Self> {
        [Self::Reserved, Self::Booting, Self::Running, Self::Exited, Self::Failed]
            .into_iter()
            .find(|s| *s as u32 == word)
    }

    /// Whether `next` may follow `self`. Nothing follows an end.
    #[must_use]
    pub fn may_become(self, next: CellState) -> bool {
        use CellState::{Booting, Exited, Failed, Reserved, Running};
        matches!(
            (self, next),
            (Reserved, Booting | Failed) | (Booting, Running | Failed | Exited) | (Running, Exited | Failed)
        )
    }
}

/// How the program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// By `exit_group` with this status (0 to 255).
    Code(u8),
    /// By this signal, 1 to 127. What the other side alleges need not be one that Linux has.
    Signal(u8),
}

impl Exit {
    fn to_word(self) -> u32 {
        match self {
            Exit::Code(code) => u32::from(code) << 8,
            Exit::Signal(signal) => u32::from(signal & 0x7f),
        }
    }

    /// From a word in the format of wait(2).
    fn from_word(word: u32) -> Self {
        match word & 0x7f {
            0 => Exit::Code((word >> 8) as u8),
            signal => Exit::Signal(signal as u8),
        }
    }
}

/// First page of the cell's memory.
#[repr(C)]
#[derive(Debug)]
pub struct ControlPage {
    magic: AtomicU64,
    revision: AtomicU32,
    state: AtomicU32,
    exit: AtomicU32,
    panic_len: AtomicU32,
    /// Where everything else lies; written once by the proxy.
    layout: [AtomicU64; Layout::WORDS],
    /// Rung by the kernel when it has put something into any submission ring.
    pub proxy_bell: Doorbell,
    /// How often the kernel has filled memory that was asked for.
    fills: AtomicU64,
    /// What the kernel says when it gives up: text, in words.
    panic_text: [AtomicU64; PANIC_BYTES / 8],
}

// SAFETY: atomics and `Doorbell` throughout.
unsafe impl SharedLayout for ControlPage {}

impl Default for ControlPage {
    fn default() -> Self {
        Self::new()
    }
}

impl ControlPage {
    /// A page of zeros outside any region (tests).
    #[doc(hidden)]
    #[must_use]
    pub fn new() -> Self {
        ControlPage {
            magic: AtomicU64::new(0),
            revision: AtomicU32::new(0),
            state: AtomicU32::new(0),
            exit: AtomicU32::new(0),
            panic_len: AtomicU32::new(0),
            layout: core::array::from_fn(|_| AtomicU64::new(0)),
            proxy_bell: Doorbell::new(),
            fills: AtomicU64::new(0),
            panic_text: core::array::from_fn(|_| AtomicU64::new(0)),
        }
    }

    /// Kernel: one more [`Fill`](crate::ring::Fill) is done, as far as it goes.
    pub fn count_fill(&self) {
        self.fills.fetch_add(1, Ordering::Release);
    }

    /// Proxy: how many were done.
    #[must_use]
    pub fn fills(&self) -> u64 {
        self.fills.load(Ordering::Acquire)
    }

    /// Proxy: writes the identification and the layout into a zeroed page.
    pub fn initialise(&self, layout: &Layout) {
        self.revision.store(REVISION, Ordering::Relaxed);
        for (cell, word) in self.layout.iter().zip(layout.to_words()) {
            cell.store(word, Ordering::Relaxed);
        }
        self.magic.store(MAGIC, Ordering::Release);
    }

    /// Kernel: the layout, if the page is one of this revision and the layout is possible. Read
    /// it once and keep it. Whether it [fits](Layout::fits) the region is a question of its own.
    /// (The proxy uses the layout that it made, never this one.)
    #[must_use]
    pub fn layout(&self) -> Option<Layout> {
        if self.magic.load(Ordering::Acquire) != MAGIC || self.revision.load(Ordering::Relaxed) != REVISION {
            return None;
        }
        Layout::from_words(core::array::from_fn(|i| self.layout[i].load(Ordering::Relaxed)))
    }

    /// The cell's state; `None` when the other side wrote nonsense.
    #[must_use]
    pub fn state(&self) -> Option<CellState> {
        CellState::from_word(self.state.load(Ordering::Acquire))
    }

    /// Moves the state on. `false`, with nothing changed, when `next` may not follow the state
    /// that the page holds: the first end wins.
    pub fn advance(&self, next: CellState) -> bool {
        let mut word = self.state.load(Ordering::Acquire);
        loop {
            if !CellState::from_word(word).is_some_and(|now| now.may_become(next)) {
                return false;
            }
            match self.state.compare_exchange(word, next as u32, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return true,
                Err(seen) => word = seen,
            }
        }
    }

    /// Kernel: records how the program ended. The first record stays; it counts only if the
    /// state could become [`CellState::Exited`], that is, if no failure came before.
    pub fn set_exit(&self, exit: Exit) {
        if self.exit.compare_exchange(0, exit.to_word() | 1 << 31, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            self.advance(CellState::Exited);
        }
    }

    /// How the program ended. Ask once the state is [`CellState::Exited`]: before, it may be
    /// about to end; when it is [`CellState::Failed`], the record does not count.
    #[must_use]
    pub fn exit(&self) -> Option<Exit> {
        let word = self.exit.load(Ordering::Acquire);
        (word & 1 << 31 != 0).then(|| Exit::from_word(word & 0xffff))
    }

    /// Kernel: leaves `message` (cut at [`PANIC_BYTES`]) for the proxy and declares the cell
    /// failed. The first message stays: a core that comes second returns at once, and the state
    /// becomes [`CellState::Failed`] when the first has written its message.
    pub fn set_panic(&self, message: &[u8]) {
        let len = message.len().min(PANIC_BYTES);
        if self.panic_len.compare_exchange(0, len as u32, Ordering::AcqRel, Ordering::Acquire).is_err() {
            return;
        }
        for (cell, chunk) in self.panic_text.iter().zip(message[..len].chunks(8)) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            cell.store(u64::from_le_bytes(word), Ordering::Relaxed);
        }
        self.advance(CellState::Failed);
    }

    /// The kernel's last words, complete once the state is [`CellState::Failed`]: copies them into
    /// `buffer` and gives the part that was filled. Bytes are as the kernel (or whoever overwrote it) left them, not necessarily UTF-8.
    pub fn panic_message<'b>(&self, buffer: &'b mut [u8; PANIC_BYTES]) -> &'b [u8] {
        for (cell, chunk) in self.panic_text.iter().zip(buffer.chunks_mut(8)) {
            chunk.copy_from_slice(&cell.load(Ordering::Relaxed).to_le_bytes());
        }
        let len = (self.panic_len.load(Ordering::Acquire) as usize).min(PANIC_BYTES);
        &buffer[..len]
    }
}

/// Why a core entered the kernel. Indexes [`CoreBlock`]'s counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Cause {
    /// A system call that the kernel answered itself.
    LocalCall = 0,
    /// A system call that went to the proxy.
    ForwardedCall = 1,
    /// A fault on memory that is filled on demand.
    PageFault = 2,
    /// A fault that became a signal for the program.
    ProgramFault = 3,
    /// The proxy announced a completion while the program ran (the program has a thread that
    /// waits for it).
    Doorbell = 4,
    /// The timer that shares the core among more than one runnable thread, or that a thread
    /// asked for.
    Timer = 5,
    /// Another core of the cell asked for attention.
    Kick = 6,
    /// A signal that came from outside the cell.
    Signal = 7,
    /// Anything nobody in the cell asked for.
    Involuntary = 8,
    /// The core had nothing to run and slept.
    Sleep = 9,
    /// A switch from one program thread to another.
    Switch = 10,
}

/// Number of [`Cause`]s.
pub const CAUSES: usize = 11;

impl Cause {
    /// All causes in the order of their counters.
    pub const ALL: [Cause; CAUSES] = [
        Cause::LocalCall,
        Cause::ForwardedCall,
        Cause::PageFault,
        Cause::ProgramFault,
        Cause::Doorbell,
        Cause::Timer,
        Cause::Kick,
        Cause::Signal,
        Cause::Involuntary,
        Cause::Sleep,
        Cause::Switch,
    ];

    /// The name that `--stats` prints.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Cause::LocalCall => "local calls",
            Cause::ForwardedCall => "forwarded calls",
            Cause::PageFault => "page faults",
            Cause::ProgramFault => "program faults",
            Cause::Doorbell => "completions",
            Cause::Timer => "timer",
            Cause::Kick => "kicks",
            Cause::Signal => "signals",
            Cause::Involuntary => "involuntary",
            Cause::Sleep => "sleeps",
            Cause::Switch => "switches",
        }
    }
}

/// What belongs to one core of the cell.
#[repr(C, align(64))]
#[derive(Debug)]
pub struct CoreBlock {
    /// Rung by the proxy when it has put something into this core's completion ring.
    pub bell: Doorbell,
    /// Number of the core on the host.
    pub cpu: AtomicU32,
    /// `process`: thread id of the core's thread, to interrupt it.
    pub host_tid: AtomicU32,
    /// `partition`: why the core is interrupted.
    pub reasons: Reasons,
    counters: [AtomicU64; CAUSES],
    calls: [AtomicU64; CALL_NUMBERS],
}

/// System call numbers that are counted one by one: all of Linux's.
pub const CALL_NUMBERS: usize = 512;

// SAFETY: atomics, `Doorbell` and `Reasons` throughout.
unsafe impl SharedLayout for CoreBlock {}

impl CoreBlock {
    /// Kernel, on that core only: one more entry for `cause`.
    pub fn count(&self, cause: Cause) {
        let counter = self.counter(cause);
        // A plain load and store: the core itself is the only writer.
        counter.store(counter.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    }

    /// Where entries for `cause` are counted: for that core only, as [`CoreBlock::count`].
    #[must_use]
    pub fn counter(&self, cause: Cause) -> &AtomicU64 {
        &self.counters[cause as usize]
    }

    /// Where system calls are counted, by number: for that core only, as [`CoreBlock::count_call`].
    #[must_use]
    pub fn call_counters(&self) -> &[AtomicU64; CALL_NUMBERS] {
        &self.calls
    }

    /// Kernel, on that core only: one more system call with this number.
    pub fn count_call(&self, nr: u64) {
        if let Some(counter) = usize::try_from(nr).ok().and_then(|nr| self.calls.get(nr)) {
            counter.store(counter.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
        }
    }

    /// System calls with this number so far.
    #[must_use]
    pub fn calls(&self, nr: u32) -> u64 {
        self.calls.get(nr as usize).map_or(0, |counter| counter.load(Ordering::Relaxed))
    }

    /// Entries for `cause` so far.
    #[must_use]
    pub fn counted(&self, cause: Cause) -> u64 {
        self.counters[cause as usize].load(Ordering::Relaxed)
    }
}

#[cfg(not(loom))]
const _: () = {
    use core::mem::offset_of;
    assert!(size_of::<ControlPage>() == 1280 && align_of::<ControlPage>() == 64);
    assert!(size_of::<ControlPage>() as u64 <= crate::layout::PAGE);
    assert!(offset_of!(ControlPage, magic) == 0);
    assert!(offset_of!(ControlPage, revision) == 8);
    assert!(offset_of!(ControlPage, state) == 12);
    assert!(offset_of!(ControlPage, exit) == 16);
    assert!(offset_of!(ControlPage, panic_len) == 20);
    assert!(offset_of!(ControlPage, layout) == 24);
    assert!(offset_of!(ControlPage, proxy_bell) == 128);
    assert!(offset_of!(ControlPage, fills) == 192);
    assert!(offset_of!(ControlPage, panic_text) == 200);
    assert!(size_of::<CoreBlock>() == 192 + 8 * CALL_NUMBERS && align_of::<CoreBlock>() == 64);
    assert!(offset_of!(CoreBlock, bell) == 0);
    assert!(offset_of!(CoreBlock, cpu) == 64);
    assert!(offset_of!(CoreBlock, host_tid) == 68);
    assert!(offset_of!(CoreBlock, reasons) == 72);
    assert!(offset_of!(CoreBlock, counters) == 80);
    assert!(offset_of!(CoreBlock, calls) == 80 + 8 * CAUSES);
};

const _: () = {
    let mut i = 0;
    while i < CAUSES {
        assert!(Cause::ALL[i] as usize == i, "every cause has a counter of its own");
        i += 1;
    }
};

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const STATES: [CellState; 5] =
        [CellState::Reserved, CellState::Booting, CellState::Running, CellState::Exited, CellState::Failed];

    fn page_in(state: CellState) -> ControlPage {
        let page = ControlPage::new();
        page.state.store(state as u32, Ordering::Relaxed);
        page
    }

    #[test]
    fn states_follow_each_other_as_the_protocol_says() {
        use CellState::{Booting, Exited, Failed, Reserved, Running};
        let allowed = [
            (Reserved, Booting),
            (Reserved, Failed),
            (Booting, Running),
            (Booting, Exited),
            (Booting, Failed),
            (Running, Exited),
            (Running, Failed),
        ];
        for from in STATES {
            for to in STATES {
                let page = page_in(from);
                let moved = page.advance(to);
                assert_eq!(moved, allowed.contains(&(from, to)), "{from:?} to {to:?}");
                assert_eq!(page.state(), Some(if moved { to } else { from }));
            }
        }
    }

    #[test]
    fn an_unknown_state_is_none_and_stays() {
        for word in [5, 1 << 31, u32::MAX] {
            let page = ControlPage::new();
            page.state.store(word, Ordering::Relaxed);
            assert_eq!(page.state(), None);
            for to in STATES {
                assert!(!page.advance(to));
            }
            assert_eq!(page.state.load(Ordering::Relaxed), word);
        }
    }

    #[test]
    fn every_end_survives_the_page() {
        let codes = (0..=255).map(Exit::Code);
        let signals = (1..=127).map(Exit::Signal);
        for exit in codes.chain(signals) {
            let page = page_in(CellState::Running);
            assert_eq!(page.exit(), None);
            page.set_exit(exit);
            assert_eq!((page.exit(), page.state()), (Some(exit), Some(CellState::Exited)));
        }
    }

    #[test]
    fn the_first_end_stays() {
        let page = page_in(CellState::Running);
        page.set_exit(Exit::Code(0));
        page.set_exit(Exit::Signal(9));
        page.set_panic(b"late");
        assert_eq!((page.exit(), page.state()), (Some(Exit::Code(0)), Some(CellState::Exited)));

        let page = page_in(CellState::Running);
        page.set_panic(b"first");
        page.set_panic(b"second");
        page.set_exit(Exit::Code(0));
        assert_eq!(page.state(), Some(CellState::Failed));
        assert_eq!(page.panic_message(&mut [0xff; PANIC_BYTES]), b"first");
    }

    #[test]
    fn panic_messages_of_any_length_survive_the_page() {
        let text: [u8; 2 * PANIC_BYTES] = core::array::from_fn(|i| i as u8);
        for len in [0, 1, 7, 8, 9, PANIC_BYTES - 1, PANIC_BYTES, PANIC_BYTES + 1, 2 * PANIC_BYTES] {
            let page = page_in(CellState::Booting);
            page.set_panic(&text[..len]);
            assert_eq!(page.state(), Some(CellState::Failed));
            assert_eq!(page.panic_message(&mut [0xff; PANIC_BYTES]), &text[..len.min(PANIC_BYTES)]);
        }
    }

    #[test]
    fn a_page_of_another_kind_has_no_layout() {
        let layout = Layout::new(3, 100, 1 << 20).expect("possible");
        let page = ControlPage::new();
        assert_eq!(page.layout(), None);
        page.initialise(&layout);
        assert_eq!(page.layout(), Some(layout));
        page.revision.store(REVISION + 1, Ordering::Relaxed);
        assert_eq!(page.layout(), None);
        page.initialise(&layout);
        page.magic.store(MAGIC ^ 1, Ordering::Relaxed);
        assert_eq!(page.layout(), None);
        page.initialise(&layout);
        page.layout[6].fetch_add(1, Ordering::Relaxed);
        assert_eq!(page.layout(), None);
    }

    #[test]
    fn counters_count_each_on_its_own() {
        let block = CoreBlock {
            bell: Doorbell::new(),
            cpu: AtomicU32::new(0),
            host_tid: AtomicU32::new(0),
            reasons: Reasons::new(),
            counters: core::array::from_fn(|_| AtomicU64::new(u64::MAX)),
            calls: core::array::from_fn(|_| AtomicU64::new(0)),
        };
        for (i, cause) in Cause::ALL.into_iter().enumerate() {
            for _ in 0..=i {
                block.count(cause);
            }
        }
        for (i, cause) in Cause::ALL.into_iter().enumerate() {
            assert_eq!(block.counted(cause), i as u64, "{}", cause.name());
        }
        for nr in [0, CALL_NUMBERS as u64 - 1, CALL_NUMBERS as u64, u64::MAX] {
            block.count_call(nr);
        }
        let counted = (0..=u32::MAX).take(CALL_NUMBERS + 1).map(|nr| block.calls(nr));
        assert!(counted.enumerate().all(|(nr, calls)| calls == u64::from(nr == 0 || nr == CALL_NUMBERS - 1)));
        assert_eq!(block.calls(u32::MAX), 0);
    }
}
