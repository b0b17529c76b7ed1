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

/// Kernel: writes a block at `offset`. `false` when it does not fit the region.
#[must_use]
pub fn write(region: &Region, offset: u64, args: &[u64; ARGS], spans: &[Span; ARGS], segments: &[Segment]) -> bool {
    let spans = spans.map(Span::to_word);
    let mut at = offset + 8 * HEADER_WORDS as u64;
    for segment in segments {
        if !region.write_words(at, &[segment.offset, segment.len]) {
            return false;
        }
        at += 16;
    }
    region.write_words(offset, args)
        && region.write_words(offset + 8 * ARGS as u64, &spans)
        && region.write_words(offset + 16 * ARGS as u64, &[segments.len() as u64])
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
    /// An argument names segments that the block does not have.
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
    count: usize,
    segments: [Segment; MAX_SEGMENTS],
}

impl Block {
    /// An empty block, to be filled by [`Block::read`]; it is large, so keep and reuse it.
    #[must_use]
    pub fn empty() -> Self {
        Block {
            args: [0; ARGS],
            spans: [Span::default(); ARGS],
            count: 0,
            segments: [Segment::default(); MAX_SEGMENTS],
        }
    }

    /// Copies the block at `offset` and checks it: every segment lies within the frames, every
    /// span within the segments. On error the content is unspecified.
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
        self.count = count as usize;
        self.args.copy_from_slice(&header[..ARGS]);
        for i in 0..self.count {
            let mut words = [0; 2];
            let at = offset + 8 * (HEADER_WORDS + 2 * i) as u64;
            if !region.read_words(at, &mut words) {
                return Err(BadBlock::Place { offset });
            }
            let segment = Segment { offset: words[0], len: words[1] };
            let end = segment.offset.checked_add(segment.len).ok_or(BadBlock::Segment(segment))?;
            if segment.offset < layout.frames || end > layout.end.min(region.len()) {
                return Err(BadBlock::Segment(segment));
            }
            self.segments[i] = segment;
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
