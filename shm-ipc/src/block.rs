//! The argument block of a forwarded call.
//!
//! A call's scalar arguments travel as they are. A pointer argument travels as a list of
//! *segments*, pieces of cell memory by offset and length: the payload is never copied through
//! the ring. The kernel writes the block into its own part of the cell's memory; the proxy
//! copies it out once, checks every piece against the frames, and works on that copy.
//!
//! ```text
//! word 0..8     arguments a0..a7 (a6, a7: what a call needs beyond the six of Linux)
//! word 8..16    per argument: first segment (low 32 bits), number of segments (high 32 bits)
//! word 16       number of segments in all
//! word 17..     the segments: offset, length
//! ```

use core::fmt;

use crate::layout::{Layout, PAGE};
use crate::region::Region;

/// Arguments of a call on the wire.
pub const ARGS: usize = 8;

const HEADER_WORDS: usize = 2 * ARGS + 1;

/// Most segments in a block that takes one page.
pub const PAGE_SEGMENTS: usize = (PAGE as usize / 8 - HEADER_WORDS) / 2;

/// Most segments in any block: `IOV_MAX` of Linux, the most that one call can use.
pub const MAX_SEGMENTS: usize = 1024;

/// A piece of cell memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Segment {
    /// Where it starts, in bytes from the start of the region.
    pub offset: u64,
    /// Its length in bytes.
    pub len: u64,
}

/// Which segments belong to an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    /// Index of the first.
    pub first: u32,
    /// How many.
    pub count: u32,
}

impl Span {
    fn to_word(self) -> u64 {
        u64::from(self.first) | u64::from(self.count) << 32
    }

    fn from_word(word: u64) -> Self {
        Span { first: word as u32, count: (word >> 32) as u32 }
    }
}

/// Bytes that a block of `segments` segments takes.
#[must_use]
pub fn block_bytes(segments: usize) -> u64 {
    8 * (HEADER_WORDS + 2 * segments) as u64
}

/// Kernel: writes a block at `offset`. `false`, with nothing written, when it does not fit the
/// region, `offset` is not a multiple of eight, or there are more than [`MAX_SEGMENTS`].
#[must_use]
pub fn write(region: &Region, offset: u64, args: &[u64; ARGS], spans: &[Span; ARGS], segments: &[Segment]) -> bool {
    if segments.len() > MAX_SEGMENTS || region.bytes(offset, block_bytes(segments.len())).is_none() {
        return false;
    }
    let mut header = [0; HEADER_WORDS];
    header[..ARGS].copy_from_slice(args);
    header[ARGS..2 * ARGS].copy_from_slice(&spans.map(Span::to_word));
    header[2 * ARGS] = segments.len() as u64;
    region.write_words(offset, &header)
        && segments.iter().enumerate().all(|(i, s)| region.write_words(offset + block_bytes(i), &[s.offset, s.len]))
}

/// What is wrong with a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadBlock {
    /// The block itself is not in cell memory.
    Place {
        /// Its alleged offset.
        offset: u64,
    },
    /// It claims more segments than a call can have.
    Segments {
        /// The claim.
        count: u64,
    },
    /// A segment is not within the frames.
    Segment(Segment),
    /// An argument names segments that the block does not have. (Arguments may share segments.)
    Span {
        /// Index of the argument.
        arg: usize,
    },
}

impl fmt::Display for BadBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadBlock::Place { offset } => write!(f, "argument block at {offset:#x} is outside the cell's memory"),
            BadBlock::Segments { count } => write!(f, "argument block claims {count} segments"),
            BadBlock::Segment(s) => write!(f, "segment {:#x}+{:#x} is outside the cell's frames", s.offset, s.len),
            BadBlock::Span { arg } => write!(f, "argument {arg} names segments that are not there"),
        }
    }
}

/// The proxy's checked copy of a block.
#[derive(Debug, Clone)]
pub struct Block {
    /// The arguments.
    pub args: [u64; ARGS],
    spans: [Span; ARGS],
    segments: [Segment; MAX_SEGMENTS],
}

impl Block {
    /// An empty block, to be filled by [`Block::read`]; it is large, so keep and reuse it.
    #[must_use]
    pub fn empty() -> Self {
        Block { args: [0; ARGS], spans: [Span::default(); ARGS], segments: [Segment::default(); MAX_SEGMENTS] }
    }

    /// Copies the block at `offset` and checks it: every segment lies within the frames, every
    /// span within the segments. On error the content is unspecified, yet never unchecked: what
    /// [`Block::segments`] gives has passed a check, of this block or of an earlier one.
    ///
    /// `layout` is the proxy's own, not one read back from the control page.
    ///
    /// # Errors
    /// [`BadBlock`] names what the kernel got wrong.
    pub fn read(&mut self, region: &Region, layout: &Layout, offset: u64) -> Result<(), BadBlock> {
        let mut header = [0; HEADER_WORDS];
        if !region.read_words(offset, &mut header) {
            return Err(BadBlock::Place { offset });
        }
        let count = header[2 * ARGS];
        if count > MAX_SEGMENTS as u64 {
            return Err(BadBlock::Segments { count });
        }
        if region.bytes(offset, block_bytes(count as usize)).is_none() {
            return Err(BadBlock::Place { offset });
        }
        self.args.copy_from_slice(&header[..ARGS]);
        for (i, slot) in self.segments[..count as usize].iter_mut().enumerate() {
            let mut words = [0; 2];
            if !region.read_words(offset + block_bytes(i), &mut words) {
                return Err(BadBlock::Place { offset });
            }
            let segment = Segment { offset: words[0], len: words[1] };
            let end = segment.offset.checked_add(segment.len).ok_or(BadBlock::Segment(segment))?;
            if segment.offset < layout.frames || end > layout.end.min(region.len()) {
                return Err(BadBlock::Segment(segment));
            }
            *slot = segment;
        }
        for (arg, word) in header[ARGS..2 * ARGS].iter().enumerate() {
            let span = Span::from_word(*word);
            if u64::from(span.first) + u64::from(span.count) > count {
                return Err(BadBlock::Span { arg });
            }
            self.spans[arg] = span;
        }
        Ok(())
    }

    /// The segments of argument `arg`, in order.
    #[must_use]
    pub fn segments(&self, arg: usize) -> &[Segment] {
        let span = self.spans[arg];
        &self.segments[span.first as usize..][..span.count as usize]
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;
    use crate::region::tests::region;

    /// Room for a block of any size.
    const BYTES: u64 = 8 * PAGE;

    /// A layout whose frames are `PAGE..BYTES`.
    fn layout() -> Layout {
        Layout { frames: PAGE, end: BYTES, ..Layout::new(1, 0, PAGE).expect("possible") }
    }

    fn segment() -> impl Strategy<Value = Segment> {
        (PAGE..=BYTES).prop_flat_map(|offset| (0..=BYTES - offset).prop_map(move |len| Segment { offset, len }))
    }

    fn content() -> impl Strategy<Value = (Vec<Segment>, [Span; ARGS])> {
        proptest::collection::vec(segment(), 0..=MAX_SEGMENTS).prop_flat_map(|segments| {
            let count = segments.len() as u32;
            let span = (0..=count)
                .prop_flat_map(move |first| (0..=count - first).prop_map(move |count| Span { first, count }));
            (Just(segments), proptest::array::uniform8(span))
        })
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(args: [u64; ARGS], (segments, spans) in content(), place in 0..64_u64) {
            let region = region(BYTES);
            let offset = 8 * place;
            prop_assert!(write(&region, offset, &args, &spans, &segments));
            let mut block = Block::empty();
            prop_assert_eq!(block.read(&region, &layout(), offset), Ok(()));
            prop_assert_eq!(block.args, args);
            for (arg, span) in spans.iter().enumerate() {
                prop_assert_eq!(block.segments(arg), &segments[span.first as usize..][..span.count as usize]);
            }
        }

        #[test]
        fn segments_outside_the_frames_are_refused(good in segment(), offset: u64, len: u64, low in 0..PAGE) {
            let region = region(BYTES);
            let mut block = Block::empty();
            for bad in [Segment { offset, len }, Segment { offset: low, len: len % PAGE }] {
                if bad.offset >= PAGE && bad.offset.checked_add(bad.len).is_some_and(|end| end <= BYTES) {
                    continue;
                }
                prop_assert!(write(&region, 0, &[0; ARGS], &[Span::default(); ARGS], &[good, bad]));
                prop_assert_eq!(block.read(&region, &layout(), 0), Err(BadBlock::Segment(bad)));
            }
        }
    }

    #[test]
    fn a_segment_may_end_with_the_frames_but_not_behind() {
        let region = region(BYTES);
        let mut block = Block::empty();
        let mut read = |offset, len| {
            assert!(write(&region, 0, &[0; ARGS], &[Span::default(); ARGS], &[Segment { offset, len }]));
            block.read(&region, &layout(), 0)
        };
        for (offset, len) in [(PAGE, BYTES - PAGE), (BYTES, 0), (BYTES - 1, 1), (PAGE, 0)] {
            assert_eq!(read(offset, len), Ok(()), "{offset:#x}+{len:#x}");
        }
        for (offset, len) in [(PAGE - 1, 1), (BYTES, 1), (BYTES - 1, 2), (PAGE, u64::MAX), (u64::MAX, 1), (0, 0)] {
            assert_eq!(read(offset, len), Err(BadBlock::Segment(Segment { offset, len })));
        }
    }

    #[test]
    fn the_region_bounds_a_layout_that_is_too_large() {
        let region = region(BYTES);
        let segment = Segment { offset: BYTES, len: 1 };
        let larger = Layout { end: BYTES + PAGE, ..layout() };
        assert!(write(&region, 0, &[0; ARGS], &[Span::default(); ARGS], &[segment]));
        assert_eq!(Block::empty().read(&region, &larger, 0), Err(BadBlock::Segment(segment)));
    }

    #[test]
    fn spans_beyond_the_segments_are_refused() {
        let region = region(BYTES);
        let mut block = Block::empty();
        for bad in [(0, 3), (2, 1), (3, 0), (u32::MAX, 0), (0, u32::MAX), (u32::MAX, u32::MAX)] {
            let mut spans = [Span { first: 0, count: 2 }; ARGS];
            spans[5] = Span { first: bad.0, count: bad.1 };
            assert!(write(&region, 0, &[0; ARGS], &spans, &[Segment { offset: PAGE, len: 1 }; 2]));
            assert_eq!(block.read(&region, &layout(), 0), Err(BadBlock::Span { arg: 5 }));
        }
    }

    #[test]
    fn blocks_that_do_not_fit_are_refused() {
        let region = region(BYTES);
        let mut block = Block::empty();
        let (args, spans) = ([1; ARGS], [Span::default(); ARGS]);
        let segments = [Segment { offset: PAGE, len: 8 }; MAX_SEGMENTS + 1];
        assert!(!write(&region, 0, &args, &spans, &segments), "more than a call can have");
        for (offset, count) in [(4, 0), (BYTES - 128, 0), (BYTES - block_bytes(9) + 8, 9), (u64::MAX - 7, 0)] {
            assert!(!write(&region, offset, &args, &spans, &segments[..count]), "{count} segments at {offset:#x}");
        }
        assert_eq!(block.read(&region, &layout(), BYTES - 128), Err(BadBlock::Place { offset: BYTES - 128 }));
        assert_eq!(block.read(&region, &layout(), 4), Err(BadBlock::Place { offset: 4 }));

        let last = BYTES - block_bytes(9);
        assert!(write(&region, last, &args, &spans, &segments[..9]));
        assert_eq!(block.read(&region, &layout(), last), Ok(()));
        let count = last + 16 * ARGS as u64;
        assert!(region.write_words(count, &[10]));
        assert_eq!(block.read(&region, &layout(), last), Err(BadBlock::Place { offset: last }));
        assert!(region.write_words(count, &[MAX_SEGMENTS as u64 + 1]));
        let claim = BadBlock::Segments { count: MAX_SEGMENTS as u64 + 1 };
        assert_eq!(block.read(&region, &layout(), last), Err(claim));
    }

    #[test]
    fn a_page_holds_as_many_segments_as_it_says() {
        assert!(block_bytes(PAGE_SEGMENTS) <= PAGE && block_bytes(PAGE_SEGMENTS + 1) > PAGE);
    }
}
