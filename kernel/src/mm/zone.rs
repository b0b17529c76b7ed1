//! Free frames of one kind, as extents.
//!
//! Two orders are kept: by place, to merge neighbours, and by size, to find a fit without a
//! search.
//!
//! Small requests are cut from the upper end of the smallest dirty extent that fits, large ones
//! from the lower end of a clean one, aligned for large pages: so the two don't break up each
//! other's room. Where untouched frames cost the node memory, large ones prefer dirty extents
//! too ([`Zone::reusing`]): a program that maps and unmaps again and again does not grow.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use shm_ipc::layout::LARGE_PAGE;

/// Contiguous frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Offset of the first.
    pub frame: u64,
    /// Bytes.
    pub len: u64,
    /// Whether they still are as the cell found them: zero.
    pub clean: bool,
}

impl Extent {
    /// Offset behind the last frame.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.frame + self.len
    }

    fn size_key(&self) -> (bool, u64, u64) {
        (self.clean, self.len, self.frame)
    }

    /// The lowest place for `len` bytes within the extent that is `phase` past a multiple of
    /// `unit`.
    fn fit(&self, len: u64, unit: u64, phase: u64) -> Option<u64> {
        let ahead = (phase % unit + unit - self.frame % unit) % unit;
        let start = self.frame.checked_add(ahead)?;
        (start.checked_add(len)? <= self.end()).then_some(start)
    }
}

/// Free frames.
#[derive(Debug, Default)]
pub struct Zone {
    free_bytes: u64,
    free: BTreeMap<u64, Extent>,
    by_size: BTreeSet<(bool, u64, u64)>,
    /// Large requests prefer frames that were used before.
    reuse: bool,
}

impl Zone {
    /// All of `range`, whole pages, is free and clean.
    #[must_use]
    pub fn new(range: Range<u64>) -> Self {
        let mut zone = Zone::default();
        if !range.is_empty() {
            zone.put(Extent { frame: range.start, len: range.end - range.start, clean: true });
        }
        zone
    }

    /// From here on large requests take used frames before untouched ones: right where an
    /// untouched frame costs the node memory, although the used one must be cleared.
    #[must_use]
    pub fn reusing(self) -> Self {
        Zone { reuse: true, ..self }
    }

    /// Bytes that are free.
    #[must_use]
    pub fn free_bytes(&self) -> u64 {
        self.free_bytes
    }

    /// Takes `len` bytes of frames to be mapped at `virt`, in as few extents as possible and
    /// placed for large pages when `len` allows. `near` is where they would join what is mapped
    /// beside them. `None`, with nothing taken, when there are too few.
    #[must_use]
    pub fn allocate(&mut self, len: u64, virt: u64, near: Option<u64>) -> Option<Vec<Extent>> {
        if len > self.free_bytes {
            return None;
        }
        let large = len >= LARGE_PAGE;
        if let Some(start) = near
            && (!large || start % LARGE_PAGE == virt % LARGE_PAGE)
            && let Some(extents) = self.take(start, len)
        {
            return Some(extents);
        }
        let whole = if large { self.take_large(len, virt) } else { self.take_small(len) };
        Some(match whole {
            Some(extent) => vec![extent],
            None => self.take_pieces(len, virt),
        })
    }

    /// Free extents in order, for tests.
    #[cfg(test)]
    pub fn extents(&self) -> impl Iterator<Item = Extent> + '_ {
        self.free.values().copied()
    }

    fn take_small(&mut self, len: u64) -> Option<Extent> {
        let found = [false, true]
            .into_iter()
            .find_map(|clean| self.by_size.range((clean, len, 0)..=(clean, u64::MAX, u64::MAX)).next().copied());
        let (_, found_len, frame) = found?;
        Some(self.carve(frame, frame + found_len - len, len))
    }

    fn take_large(&mut self, len: u64, virt: u64) -> Option<Extent> {
        self.take_fit(len, LARGE_PAGE, virt % LARGE_PAGE, [!self.reuse, self.reuse])
    }

    fn take_fit(&mut self, len: u64, unit: u64, phase: u64, order: [bool; 2]) -> Option<Extent> {
        let (extent, start) = order.into_iter().find_map(|clean| {
            let fitting = self.by_size.range((clean, len, 0)..=(clean, u64::MAX, u64::MAX));
            fitting
                .map(|&(clean, len, frame)| Extent { frame, len, clean })
                .find_map(|extent| Some((extent, extent.fit(len, unit, phase)?)))
        })?;
        Some(self.carve(extent.frame, start, len))
    }

    /// `len` bytes, no more than are free, from the largest extents there are.
    fn take_pieces(&mut self, len: u64, virt: u64) -> Vec<Extent> {
        let mut pieces = Vec::new();
        let mut done = 0;
        while done < len {
            let Some(largest) = self.largest() else { break };
            let start = match largest.fit(LARGE_PAGE, LARGE_PAGE, (virt + done) % LARGE_PAGE) {
                Some(aligned) if len - done >= LARGE_PAGE => aligned,
                _ => largest.frame,
            };
            let piece = self.carve(largest.frame, start, (len - done).min(largest.end() - start));
            done += piece.len;
            pieces.push(piece);
        }
        pieces
    }

    fn largest(&self) -> Option<Extent> {
        let last = |clean| self.by_size.range((clean, 0, 0)..=(clean, u64::MAX, u64::MAX)).next_back();
        let &(clean, len, frame) = [last(true), last(false)].into_iter().flatten().max_by_key(|(_, len, _)| *len)?;
        Some(Extent { frame, len, clean })
    }

    /// Takes exactly these frames if all of them are free.
    fn take(&mut self, start: u64, len: u64) -> Option<Vec<Extent>> {
        let end = start.checked_add(len)?;
        let mut parts = Vec::new();
        let mut at = start;
        while at < end {
            let (_, extent) = self.free.range(..=at).next_back()?;
            if extent.end() <= at {
                return None;
            }
            let stop = extent.end().min(end);
            parts.push((extent.frame, at, stop - at));
            at = stop;
        }
        Some(parts.into_iter().map(|(extent, at, len)| self.carve(extent, at, len)).collect())
    }

    /// Takes `start .. start + len` out of the free extent that begins at `extent`.
    fn carve(&mut self, extent: u64, start: u64, len: u64) -> Extent {
        let taken = Extent { frame: start, len, clean: false };
        let Some(whole) = self.remove(extent) else { return taken };
        if start > whole.frame {
            self.put(Extent { len: start - whole.frame, ..whole });
        }
        if taken.end() < whole.end() {
            self.put(Extent { frame: taken.end(), len: whole.end() - taken.end(), ..whole });
        }
        Extent { clean: whole.clean, ..taken }
    }

    /// Gives used frames back.
    pub fn put_dirty(&mut self, frame: u64, len: u64) {
        let mut extent = Extent { frame, len, clean: false };
        let before = self.free.range(..frame).next_back().map(|(_, before)| *before);
        if let Some(before) = before.filter(|before| !before.clean && before.end() == frame) {
            self.remove(before.frame);
            extent.frame = before.frame;
            extent.len += before.len;
        }
        let after = self.free.get(&extent.end()).copied();
        if let Some(after) = after.filter(|after| !after.clean) {
            self.remove(after.frame);
            extent.len += after.len;
        }
        self.put(extent);
    }

    fn put(&mut self, extent: Extent) {
        self.free.insert(extent.frame, extent);
        self.by_size.insert(extent.size_key());
        self.free_bytes += extent.len;
    }

    fn remove(&mut self, frame: u64) -> Option<Extent> {
        let extent = self.free.remove(&frame)?;
        self.by_size.remove(&extent.size_key());
        self.free_bytes -= extent.len;
        Some(extent)
    }
}
