//! Which frames lie behind which addresses of the program.
//!
//! The kernel's own page table, by runs instead of by pages: addresses that follow each other
//! with frames that follow each other are one entry, so a process of a few hundred mappings has
//! a few hundred entries however large they are.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops::Range;

/// Addresses and the frames behind them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// First address.
    pub virt: u64,
    /// First frame.
    pub frame: u64,
    /// Bytes.
    pub len: u64,
}

impl Run {
    /// Address behind the last.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.virt + self.len
    }

    /// Offset behind the last frame.
    #[must_use]
    pub fn frame_end(&self) -> u64 {
        self.frame + self.len
    }

    /// The part of the run within `range`, which it touches.
    #[must_use]
    fn clipped(&self, range: &Range<u64>) -> Run {
        let virt = self.virt.max(range.start);
        Run { virt, frame: self.frame + (virt - self.virt), len: self.end().min(range.end) - virt }
    }
}

/// The runs of an address space.
#[derive(Debug, Default)]
pub struct Translation {
    runs: BTreeMap<u64, Run>,
}

impl Translation {
    /// Number of runs.
    #[must_use]
    pub fn count(&self) -> usize {
        self.runs.len()
    }

    /// The run that holds `addr`.
    #[must_use]
    pub fn find(&self, addr: u64) -> Option<Run> {
        self.runs.range(..=addr).next_back().map(|(_, run)| *run).filter(|run| run.end() > addr)
    }

    /// The runs in `range`, cut at its ends.
    pub fn within(&self, range: Range<u64>) -> impl Iterator<Item = Run> + '_ {
        let first = self.find(range.start).map_or(range.start, |run| run.virt);
        let end = range.end.max(first);
        self.runs.range(first..end).map(move |(_, run)| run.clipped(&range))
    }

    /// The runs in `range` with neighbours joined, whatever their frames: what one change of
    /// protection can cover.
    #[must_use]
    pub fn spans(&self, range: Range<u64>) -> Vec<Range<u64>> {
        let mut spans: Vec<Range<u64>> = Vec::new();
        for run in self.within(range) {
            match spans.last_mut() {
                Some(last) if last.end == run.virt => last.end = run.end(),
                _ => spans.push(run.virt..run.end()),
            }
        }
        spans
    }

    /// The addresses in `range` without frames.
    #[must_use]
    pub fn holes(&self, range: Range<u64>) -> Vec<Range<u64>> {
        let mut holes = Vec::new();
        let mut at = range.start;
        for span in self.spans(range.clone()) {
            if span.start > at {
                holes.push(at..span.start);
            }
            at = span.end;
        }
        if at < range.end {
            holes.push(at..range.end);
        }
        holes
    }

    /// The largest stretch around `addr`, which has no frame, that has none within `range`.
    #[must_use]
    pub fn hole_around(&self, addr: u64, range: Range<u64>) -> Range<u64> {
        let below = self.runs.range(..=addr).next_back().map_or(range.start, |(_, run)| run.end());
        let above = self.runs.range(addr..).next().map_or(range.end, |(_, run)| run.virt);
        below.max(range.start)..above.min(range.end)
    }

    /// Whether `range` has frames for at least `enough` bytes, and if not, for how many.
    #[must_use]
    pub fn filled(&self, range: Range<u64>, enough: u64) -> u64 {
        let mut filled = 0;
        for run in self.within(range) {
            filled += run.len;
            if filled >= enough {
                return enough;
            }
        }
        filled
    }

    /// Where frames for `range` would have to lie to join those behind the addresses next to
    /// it.
    #[must_use]
    pub fn frame_beside(&self, range: &Range<u64>) -> Option<u64> {
        if let Some((_, before)) = self.runs.range(..range.start).next_back()
            && before.end() == range.start
        {
            return Some(before.frame_end());
        }
        self.runs.get(&range.end)?.frame.checked_sub(range.end - range.start)
    }

    /// Enters a run. Nothing may be there.
    pub fn insert(&mut self, mut run: Run) {
        if let Some((_, before)) = self.runs.range(..run.virt).next_back()
            && before.end() == run.virt
            && before.frame_end() == run.frame
        {
            run = Run { len: before.len + run.len, ..*before };
        }
        if let Some(after) = self.runs.get(&run.end())
            && after.frame == run.frame_end()
        {
            let after = *after;
            self.runs.remove(&after.virt);
            run.len += after.len;
        }
        self.runs.insert(run.virt, run);
    }

    /// Removes what is in `range` and gives it.
    pub fn remove(&mut self, range: Range<u64>) -> Vec<Run> {
        let removed: Vec<Run> = self.within(range.clone()).collect();
        for part in &removed {
            let Some(whole) = self.find(part.virt) else { continue };
            self.runs.remove(&whole.virt);
            if whole.virt < part.virt {
                let before = whole.clipped(&(whole.virt..part.virt));
                self.runs.insert(before.virt, before);
            }
            if whole.end() > part.end() {
                let after = whole.clipped(&(part.end()..whole.end()));
                self.runs.insert(after.virt, after);
            }
        }
        removed
    }

    /// All runs.
    #[cfg(test)]
    pub fn runs(&self) -> impl Iterator<Item = Run> + '_ {
        self.runs.values().copied()
    }
}
