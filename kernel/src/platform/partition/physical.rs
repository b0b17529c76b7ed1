//! Where the cell's memory lies physically.
//!
//! The region is contiguous for both sides; the huge pages that it consists of need not be.
//! They come as runs: neighbours in the region that are neighbours physically.

use alloc::vec::Vec;

use shm_ipc::bare::Run;

/// Translates between offsets in the region and physical addresses.
#[derive(Debug)]
pub struct Physical {
    /// By offset, without gaps.
    runs: Vec<Run>,
    /// Indices of `runs` by physical address.
    order: Vec<usize>,
}

impl Physical {
    /// Of runs that follow each other in the region. `None` when they don't, or overlap.
    #[must_use]
    pub fn new(runs: Vec<Run>) -> Option<Self> {
        let follows = |pair: &[Run]| pair[0].offset.checked_add(pair[0].len) == Some(pair[1].offset);
        if runs.first()?.offset != 0 || !runs.windows(2).all(follows) {
            return None;
        }
        let mut order: Vec<usize> = (0..runs.len()).collect();
        order.sort_unstable_by_key(|index| runs[*index].physical);
        let apart = |pair: &[usize]| {
            let (a, b) = (&runs[pair[0]], &runs[pair[1]]);
            a.physical.checked_add(a.len).is_some_and(|end| end <= b.physical)
        };
        order.windows(2).all(apart).then_some(Physical { runs, order })
    }

    /// The physical address of an offset, and how many bytes follow it contiguously.
    #[must_use]
    pub fn of(&self, offset: u64) -> Option<(u64, u64)> {
        let index = self.runs.partition_point(|run| run.offset <= offset).checked_sub(1)?;
        let run = &self.runs[index];
        let into = offset - run.offset;
        (into < run.len).then(|| (run.physical + into, run.len - into))
    }

    /// The offset of a physical address of the cell's memory.
    #[must_use]
    pub fn offset(&self, physical: u64) -> Option<u64> {
        let at = self.order.partition_point(|index| self.runs[*index].physical <= physical).checked_sub(1)?;
        let run = &self.runs[self.order[at]];
        let into = physical - run.physical;
        (into < run.len).then_some(run.offset + into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(offset: u64, physical: u64, len: u64) -> Run {
        Run { offset, physical, len }
    }

    #[test]
    fn both_ways() {
        let memory = Physical::new(vec![run(0, 0x9000, 0x1000), run(0x1000, 0x4000, 0x2000)]).expect("possible");
        for (offset, physical, left) in [(0, 0x9000, 0x1000), (0xfff, 0x9fff, 1), (0x1000, 0x4000, 0x2000)] {
            assert_eq!(memory.of(offset), Some((physical, left)));
            assert_eq!(memory.offset(physical), Some(offset));
        }
        for outside in [0x3fff, 0x6000, 0x8fff, 0xa000, 0, u64::MAX] {
            assert_eq!(memory.offset(outside), None, "{outside:#x}");
        }
        assert_eq!(memory.of(0x3000), None);
    }

    #[test]
    fn impossible_memory() {
        assert!(Physical::new(vec![]).is_none());
        assert!(Physical::new(vec![run(0x1000, 0, 0x1000)]).is_none(), "does not begin at 0");
        assert!(Physical::new(vec![run(0, 0, 0x1000), run(0x2000, 0x8000, 0x1000)]).is_none(), "a gap");
        assert!(Physical::new(vec![run(0, 0x1000, 0x2000), run(0x2000, 0x2000, 0x1000)]).is_none(), "overlap");
    }
}
