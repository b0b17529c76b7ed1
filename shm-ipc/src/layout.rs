//! Where things lie in the cell's memory.
//!
//! ```text
//! 0        control page
//! 4096     boot information and its strings
//! cores    one CoreBlock per core
//! rings    per core: submission ring, completion ring
//! frames   the memory that the kernel hands out, to the end of the region
//! ```

use crate::control::{ControlPage, CoreBlock};
use crate::region::Region;
use crate::ring::Ring;

/// Unit of everything that is mapped.
pub const PAGE: u64 = 4096;

/// Alignment of the frames, so that they can be mapped by large pages.
pub const LARGE_PAGE: u64 = 2 << 20;

/// Most cores a cell may have.
pub const MAX_CORES: u32 = 1024;

/// Offsets into the cell's memory, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Number of cores of the cell.
    pub cores: u32,
    /// Start of the boot information.
    pub boot: u64,
    /// Bytes of boot information, strings included.
    pub boot_len: u64,
    /// Start of the array of [`CoreBlock`]s.
    pub core_blocks: u64,
    /// Start of the rings.
    pub rings: u64,
    /// Start of the frames, a multiple of [`LARGE_PAGE`].
    pub frames: u64,
    /// End of the frames and of the region.
    pub end: u64,
}

const RING_BYTES: u64 = size_of::<Ring>() as u64;

const fn round_up(value: u64, unit: u64) -> Option<u64> {
    match value.checked_add(unit - 1) {
        Some(sum) => Some(sum / unit * unit),
        None => None,
    }
}

impl Layout {
    /// Words that [`Layout::to_words`] makes.
    pub const WORDS: usize = 7;

    /// Lays out a cell of `cores` cores with `frame_bytes` of memory for the program.
    /// `None` when there are no cores, too many of them, or the sum does not fit 64 bits.
    #[must_use]
    pub fn new(cores: u32, boot_len: u64, frame_bytes: u64) -> Option<Self> {
        if cores == 0 || cores > MAX_CORES {
            return None;
        }
        let boot = PAGE;
        let core_blocks = round_up(boot.checked_add(boot_len)?, PAGE)?;
        let rings = round_up(core_blocks.checked_add(size_of::<CoreBlock>() as u64 * u64::from(cores))?, PAGE)?;
        let frames = round_up(rings.checked_add(2 * RING_BYTES * u64::from(cores))?, LARGE_PAGE)?;
        let end = round_up(frames.checked_add(frame_bytes)?, PAGE)?;
        Some(Layout { cores, boot, boot_len, core_blocks, rings, frames, end })
    }

    /// For the control page.
    #[must_use]
    pub fn to_words(&self) -> [u64; Self::WORDS] {
        [u64::from(self.cores), self.boot, self.boot_len, self.core_blocks, self.rings, self.frames, self.end]
    }

    /// The layout that `words` allege, if it is one that [`Layout::new`] makes.
    #[must_use]
    pub fn from_words(words: [u64; Self::WORDS]) -> Option<Self> {
        let [cores, _, boot_len, _, _, frames, end] = words;
        let layout = Layout::new(u32::try_from(cores).ok()?, boot_len, end.checked_sub(frames)?)?;
        (layout.to_words() == words).then_some(layout)
    }

    /// Bytes that the kernel may hand out.
    #[must_use]
    pub fn frame_bytes(&self) -> u64 {
        self.end - self.frames
    }

    /// The control page of `region`.
    #[must_use]
    pub fn control(region: &Region) -> Option<&'static ControlPage> {
        region.get(0)
    }

    /// The block of the core with this index.
    #[must_use]
    pub fn core_block(&self, region: &Region, core: u32) -> Option<&'static CoreBlock> {
        if core >= self.cores {
            return None;
        }
        region.get(self.core_blocks + size_of::<CoreBlock>() as u64 * u64::from(core))
    }

    /// The ring of calls from the core with this index.
    #[must_use]
    pub fn submissions(&self, region: &Region, core: u32) -> Option<&'static Ring> {
        self.ring(region, core, 0)
    }

    /// The ring of answers to the core with this index.
    #[must_use]
    pub fn completions(&self, region: &Region, core: u32) -> Option<&'static Ring> {
        self.ring(region, core, 1)
    }

    fn ring(&self, region: &Region, core: u32, which: u64) -> Option<&'static Ring> {
        if core >= self.cores {
            return None;
        }
        region.get(self.rings + RING_BYTES * (2 * u64::from(core) + which))
    }
}
