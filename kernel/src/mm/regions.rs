//! What the program has mapped: its regions, Linux's VMAs.
//!
//! A [`Vma`] says what may be done with a range of addresses and what lies behind it. Whether
//! frames lie behind it *already* is the business of [`translation`](super::translation).
//! Regions are split and merged at any page boundary; equal neighbours are always merged, so
//! the map is the same whatever the order of calls that led to it.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops::Range;

use super::policy::Policy;
use crate::platform::{Prot, Sharing};

/// What lies behind a region.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Private anonymous memory: frames. A lazy one is filled when it is touched.
    Anon {
        /// Filled when touched.
        lazy: bool,
    },
    /// The same, filled when touched, and longer when what lies just before it is (`MAP_GROWSDOWN`).
    Growing,
    /// Shared anonymous memory: frames as well, as there is nobody to share them with.
    SharedAnon {
        /// Filled when touched.
        lazy: bool,
        /// Which call of mmap made it.
        id: u64,
    },
    /// Code of the kernel's own beside the program's, which the program is not told of: a frame.
    Stub,
    /// What brk(2) moves: frames.
    Heap,
    /// The main thread's stack: frames, filled when touched.
    Stack,
    /// A file of Linux.
    File {
        /// Whether writes reach the file.
        sharing: Sharing,
        /// Offset in the file.
        offset: u64,
        /// Which call of mmap made it.
        id: u64,
    },
    /// What a file held when it was mapped privately where the platform can't map the file
    /// itself: frames, except beyond the file's end.
    FileCopy {
        /// Offset in the file.
        offset: u64,
        /// Where the file ended, in bytes, if the mapping came that far; else `u64::MAX`.
        file_end: u64,
        /// Whether the program could ever write there.
        written: bool,
        /// Which call of mmap made it.
        id: u64,
    },
    /// The page that the kernel's own vDSO reads. It is the kernel's as well: nobody gets to write it.
    Vvar,
    /// The kernel's own vDSO: a frame with a copy of it.
    Vdso,
    /// A SysV segment of Linux.
    Segment {
        /// Its identifier.
        shmid: i32,
        /// Offset in the segment.
        offset: u64,
        /// Which call of shmat made it.
        id: u64,
    },
}

impl Kind {
    /// Whether the memory is the cell's own frames, as against pages of Linux.
    #[must_use]
    pub fn has_frames(self) -> bool {
        !matches!(self, Kind::File { .. } | Kind::Segment { .. } | Kind::Vvar)
    }

    /// Whether frames come when they are touched and not before.
    #[must_use]
    pub fn is_lazy(self) -> bool {
        matches!(self, Kind::Anon { lazy: true } | Kind::SharedAnon { lazy: true, .. } | Kind::Growing | Kind::Stack)
    }

    /// Whether it is a copy of a file: what has no frame there lies beyond the file's end and
    /// never gets one.
    #[must_use]
    pub fn is_copy(self) -> bool {
        matches!(self, Kind::FileCopy { .. })
    }

    /// Whether the program asked for shared memory.
    #[must_use]
    pub fn is_shared(self) -> bool {
        matches!(self, Kind::SharedAnon { .. } | Kind::File { sharing: Sharing::Shared, .. } | Kind::Segment { .. })
    }

    /// The same, seen `by` bytes further on.
    #[must_use]
    pub fn advanced(self, by: u64) -> Kind {
        match self {
            Kind::File { sharing, offset, id } => Kind::File { sharing, offset: offset.wrapping_add(by), id },
            Kind::Segment { shmid, offset, id } => Kind::Segment { shmid, offset: offset.wrapping_add(by), id },
            Kind::FileCopy { offset, file_end, written, id } => {
                Kind::FileCopy { offset: offset.wrapping_add(by), file_end, written, id }
            }
            other => other,
        }
    }
}

/// One region.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vma {
    /// First address.
    pub start: u64,
    /// Address behind the last.
    pub end: u64,
    /// What the program may do.
    pub prot: Prot,
    /// What lies behind it.
    pub kind: Kind,
    /// What mbind(2) said.
    pub policy: Policy,
    /// Whether mlock(2) was said of it.
    pub locked: bool,
}

impl Vma {
    /// Its addresses.
    #[must_use]
    pub fn range(&self) -> Range<u64> {
        self.start..self.end
    }

    /// The part of it within `range`, which it touches.
    #[must_use]
    pub fn clipped(&self, range: &Range<u64>) -> Vma {
        let start = self.start.max(range.start);
        Vma { start, end: self.end.min(range.end), kind: self.kind.advanced(start - self.start), ..*self }
    }

    /// Whether `next` goes on where this one ends, in every respect.
    fn continues_in(&self, next: &Vma) -> bool {
        self.end == next.start
            && self.prot == next.prot
            && self.policy == next.policy
            && self.locked == next.locked
            && self.kind.advanced(self.end - self.start) == next.kind
    }
}

/// The regions of an address space.
#[derive(Debug, Default)]
pub struct Regions {
    map: BTreeMap<u64, Vma>,
}

impl Regions {
    /// Number of regions.
    #[must_use]
    pub fn count(&self) -> usize {
        self.map.len()
    }

    /// The region that holds `addr`.
    #[must_use]
    pub fn find(&self, addr: u64) -> Option<Vma> {
        self.map.range(..=addr).next_back().map(|(_, vma)| *vma).filter(|vma| vma.end > addr)
    }

    /// The regions next to `addr`, where there is none: the last before it and the first behind it.
    pub fn around(&self, addr: u64) -> (Option<Vma>, Option<Vma>) {
        let before = self.map.range(..=addr).next_back().map(|(_, vma)| *vma);
        (before, self.map.range(addr..).next().map(|(_, vma)| *vma))
    }

    /// The regions in `range`, cut at its ends.
    pub fn within(&self, range: Range<u64>) -> impl Iterator<Item = Vma> + '_ {
        let first = self.find(range.start).map_or(range.start, |vma| vma.start);
        let end = range.end.max(first);
        self.map.range(first..end).map(move |(_, vma)| vma.clipped(&range))
    }

    /// Whether nothing is mapped in `range`.
    #[must_use]
    pub fn is_free(&self, range: Range<u64>) -> bool {
        self.within(range).next().is_none()
    }

    /// Whether every address of `range` is mapped.
    #[must_use]
    pub fn covers(&self, range: Range<u64>) -> bool {
        let mut at = range.start;
        for vma in self.within(range.clone()) {
            if vma.start != at {
                return false;
            }
            at = vma.end;
        }
        at >= range.end
    }

    /// Enters a region, merging it with its neighbours. Nothing may be there.
    pub fn insert(&mut self, mut vma: Vma) {
        if let Some((_, before)) = self.map.range(..vma.start).next_back()
            && before.continues_in(&vma)
        {
            vma = Vma { end: vma.end, ..*before };
        }
        if let Some(after) = self.map.get(&vma.end)
            && vma.continues_in(after)
        {
            let after = *after;
            self.map.remove(&after.start);
            vma.end = after.end;
        }
        self.map.insert(vma.start, vma);
    }

    /// Removes what is in `range` and gives it.
    pub fn remove(&mut self, range: Range<u64>) -> Vec<Vma> {
        let removed: Vec<Vma> = self.within(range).collect();
        for part in &removed {
            let Some(whole) = self.find(part.start) else { continue };
            self.map.remove(&whole.start);
            if whole.start < part.start {
                self.map.insert(whole.start, Vma { end: part.start, ..whole });
            }
            if whole.end > part.end {
                self.map.insert(part.end, whole.clipped(&(part.end..whole.end)));
            }
        }
        removed
    }

    /// Changes every region in `range`, splitting those that reach beyond it.
    pub fn update(&mut self, range: Range<u64>, change: impl Fn(&mut Vma)) {
        for mut vma in self.remove(range) {
            change(&mut vma);
            self.insert(vma);
        }
    }

    /// The highest `len` free bytes in `window` that begin `phase` past a multiple of `unit`.
    #[must_use]
    pub fn gap(&self, window: Range<u64>, len: u64, unit: u64, phase: u64) -> Option<u64> {
        let fit = |low: u64, high: u64| {
            let start = high.checked_sub(len)?;
            let start = start.checked_sub((start % unit + unit - phase % unit) % unit)?;
            (start >= low).then_some(start)
        };
        let mut top = window.end;
        for vma in self.map.range(..window.end).rev().map(|(_, vma)| vma) {
            if vma.end < top
                && let Some(start) = fit(vma.end.max(window.start), top)
            {
                return Some(start);
            }
            top = top.min(vma.start);
            if top <= window.start {
                return None;
            }
        }
        fit(window.start, top)
    }

    /// All regions, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Vma> + '_ {
        self.map.values()
    }
}
