//! Where things lie in the cell's memory.
//!
//! ```text
//! 0        control page
//! 4096     descriptors that the cell may use itself (see `files`)
//! 8192     boot information and its strings
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
    /// Start of [`Files`](crate::files::Files).
    pub const FILES: u64 = PAGE;

    /// Words that [`Layout::to_words`] makes.
    pub const WORDS: usize = 7;

    /// Lays out a cell of `cores` cores with `frame_bytes` of memory for the program.
    /// `None` when there are no cores, too many of them, or the sum does not fit 64 bits.
    #[must_use]
    pub fn new(cores: u32, boot_len: u64, frame_bytes: u64) -> Option<Self> {
        if cores == 0 || cores > MAX_CORES {
            return None;
        }
        let boot = Self::FILES + PAGE;
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

    /// Whether all of it lies in `region`. Whoever got the layout from the control page asks
    /// this once, before handing out frames.
    #[must_use]
    pub fn fits(&self, region: &Region) -> bool {
        self.end <= region.len()
    }

    /// Bytes that the kernel may hand out.
    #[must_use]
    pub fn frame_bytes(&self) -> u64 {
        self.end - self.frames
    }

    /// Part of the memory that the kernel keeps for its heap, from the first frame on, which is
    /// where everything lies that it makes for itself while the program runs: a 32nd, between 16 MiB
    /// and 1 GiB. What is not used of it costs nothing.
    #[must_use]
    pub fn heap_bytes(&self) -> u64 {
        let share = self.frame_bytes() / 32;
        share.clamp(16 << 20, 1 << 30).min(self.frame_bytes() / 2) & !(LARGE_PAGE - 1)
    }

    /// The frames that are for programs, and for nothing of the kernel's.
    #[must_use]
    pub fn program_frames(&self) -> core::ops::Range<u64> {
        self.frames + self.heap_bytes()..self.end
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

#[cfg(all(test, not(loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn order(layout: &Layout) {
        let cores = u64::from(layout.cores);
        assert!(size_of::<ControlPage>() as u64 <= Layout::FILES);
        assert!(Layout::FILES + size_of::<crate::files::Files>() as u64 <= layout.boot);
        assert!(layout.boot + layout.boot_len <= layout.core_blocks);
        assert!(layout.core_blocks + cores * size_of::<CoreBlock>() as u64 <= layout.rings);
        assert!(layout.rings + cores * 2 * RING_BYTES <= layout.frames);
        assert!(layout.frames <= layout.end);
        for (start, unit) in [
            (layout.boot, PAGE),
            (layout.core_blocks, PAGE),
            (layout.rings, PAGE),
            (layout.frames, LARGE_PAGE),
            (layout.end, PAGE),
        ] {
            assert!(start.is_multiple_of(unit), "{start:#x} in {layout:?}");
        }
    }

    proptest! {
        #[test]
        fn parts_follow_each_other(cores in 1..=MAX_CORES, boot_len in 0..1_u64 << 40, frames in 0..1_u64 << 60) {
            let layout = Layout::new(cores, boot_len, frames).expect("possible");
            order(&layout);
            prop_assert!((frames..frames + PAGE).contains(&layout.frame_bytes()));
            prop_assert_eq!(Layout::from_words(layout.to_words()), Some(layout));
        }

        #[test]
        fn any_limits_give_a_layout_or_none(cores: u32, boot_len: u64, frames: u64) {
            if let Some(layout) = Layout::new(cores % (MAX_CORES + 2), boot_len, frames) {
                order(&layout);
            }
        }

        #[test]
        fn any_words_are_refused_or_a_layout(words: [u64; Layout::WORDS], at in 0..Layout::WORDS) {
            prop_assert_eq!(Layout::from_words(words).is_some_and(|layout| layout.to_words() != words), false);
            let layout = Layout::new(4, 5000, 1 << 20).expect("possible");
            let mut near = layout.to_words();
            near[at] = words[at];
            if let Some(other) = Layout::from_words(near) {
                order(&other);
                prop_assert_eq!(other.to_words(), near);
            }
        }
    }

    #[test]
    fn limits() {
        assert!(Layout::new(0, 0, PAGE).is_none());
        assert!(Layout::new(MAX_CORES, 0, PAGE).is_some());
        assert!(Layout::new(MAX_CORES + 1, 0, PAGE).is_none());
        for (boot_len, frames) in [(u64::MAX, 0), (u64::MAX - PAGE, 0), (0, u64::MAX), (u64::MAX / 2, u64::MAX / 2)] {
            assert!(Layout::new(1, boot_len, frames).is_none(), "{boot_len:#x} {frames:#x}");
        }
        let words = Layout::new(1, 0, PAGE).expect("possible").to_words();
        let with =
            |at: usize, word| Layout::from_words(core::array::from_fn(|i| if i == at { word } else { words[i] }));
        assert!(with(0, 1 << 32 | 1).is_none(), "cores do not fit 32 bits");
        assert!(with(0, u64::from(MAX_CORES) + 1).is_none());
        assert!(with(6, words[5] - 1).is_none(), "ends before the frames");
        assert!(with(6, words[6] + 1).is_none(), "part of a page");
        assert!(with(1, words[1] + PAGE).is_none());
    }

    #[test]
    fn a_layout_of_one_core_by_hand() {
        let layout = Layout::new(1, 5000, PAGE + 1).expect("possible");
        // Boot information takes two pages, the core's block two, the rings less than 2 MiB.
        let words = [1, 2 * PAGE, 5000, 4 * PAGE, 6 * PAGE, LARGE_PAGE, LARGE_PAGE + 2 * PAGE];
        assert_eq!(layout.to_words(), words);
    }
}
