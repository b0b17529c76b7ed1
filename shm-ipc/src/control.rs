//! The control page: what the cell is, how it fares, and what each of its cores has seen.

use crate::doorbell::Doorbell;
use crate::layout::Layout;
use crate::region::SharedLayout;
use crate::sync::{AtomicU32, AtomicU64, Ordering};

/// "TacetCel" in little-endian ASCII.
pub const MAGIC: u64 = u64::from_le_bytes(*b"TacetCel");

/// Revision of everything in this crate that lies in shared memory. Kernel image and proxy are
/// built together; this guards against a mismatch all the same.
pub const REVISION: u32 = 1;

/// Bytes kept of a panic message.
pub const PANIC_BYTES: usize = 1024;

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
    /// By this signal.
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
    /// A POSIX-style wait status would not do for a panic: its text, in words.
    panic_text: [AtomicU64; PANIC_BYTES / 8],
}

// SAFETY: atomics and `Doorbell` throughout.
unsafe impl SharedLayout for ControlPage {}

impl ControlPage {
    /// Proxy: writes the identification and the layout into a zeroed page.
    pub fn initialise(&self, layout: &Layout) {
        self.revision.store(REVISION, Ordering::Relaxed);
        for (cell, word) in self.layout.iter().zip(layout.to_words()) {
            cell.store(word, Ordering::Relaxed);
        }
        self.magic.store(MAGIC, Ordering::Release);
    }

    /// Kernel: the layout, if the page is one of this revision and the layout is possible.
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

    /// Kernel: records how the program ended. The first record stays.
    pub fn set_exit(&self, exit: Exit) {
        if self.exit.compare_exchange(0, exit.to_word() | 1 << 31, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            self.advance(CellState::Exited);
        }
    }

    /// How the program ended, once the state is [`CellState::Exited`].
    #[must_use]
    pub fn exit(&self) -> Option<Exit> {
        let word = self.exit.load(Ordering::Acquire);
        (word & 1 << 31 != 0).then(|| Exit::from_word(word & 0xffff))
    }

    /// Kernel: leaves `message` for the proxy and declares the cell failed. The first message
    /// stays.
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

    /// The kernel's last words: copies them into `buffer` and gives the part that was filled.
    /// Bytes are as the kernel (or whoever overwrote it) left them, not necessarily UTF-8.
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
    counters: [AtomicU64; CAUSES],
}

// SAFETY: atomics and `Doorbell` throughout.
unsafe impl SharedLayout for CoreBlock {}

impl CoreBlock {
    /// Kernel, on that core only: one more entry for `cause`.
    pub fn count(&self, cause: Cause) {
        let counter = &self.counters[cause as usize];
        // A plain load and store: the core itself is the only writer.
        counter.store(counter.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    }

    /// Entries for `cause` so far.
    #[must_use]
    pub fn counted(&self, cause: Cause) -> u64 {
        self.counters[cause as usize].load(Ordering::Relaxed)
    }
}

#[cfg(not(loom))]
const _: () = {
    use core::mem::{offset_of, size_of};
    assert!(size_of::<ControlPage>() <= 4096);
    assert!(offset_of!(ControlPage, magic) == 0);
    assert!(offset_of!(ControlPage, revision) == 8);
    assert!(offset_of!(ControlPage, state) == 12);
    assert!(size_of::<CoreBlock>() == 192);
};
