//! Which frames of the cell's memory are free.
//!
//! A *frame* is a page of the cell's memory, named by its offset there. Free frames are kept as
//! extents, each either *clean* (never handed out since the cell began, so still zero, and on
//! most platforms not even backed by memory yet) or *dirty* (must be cleared before a program
//! sees it): see [`zone`](super::zone).
//!
//! Part of the memory may come from Linux's pool of huge pages. Its frames can only be mapped,
//! protected and unmapped in whole large pages, so they lie in a zone of their own, from which
//! only what is aligned and whole is taken; the ends of a range, and all that is small, come from
//! the other zone. What both have may be more than the cell may use at once: the small zone is as
//! large as it can be, so that memory that was promised can be had in either shape.
//!
//! A frame whose address a forwarded call holds is *pinned*. If it is freed meanwhile it is
//! parked, and nobody gets it before the call has come back.

use alloc::vec::Vec;
use core::ops::Range;

use shm_ipc::layout::{LARGE_PAGE, PAGE};

pub use super::zone::Extent;
use super::zone::Zone;

/// The frames that a cell has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stock {
    /// Those that can be mapped page by page.
    pub small: Range<u64>,
    /// Those that can be mapped by whole large pages only: behind the others, and not next to
    /// them, so that no run of frames has both. Empty where there are none.
    pub pool: Range<u64>,
    /// Bytes that may be in use at once.
    pub limit: u64,
}

impl Stock {
    /// All of `range`, page by page.
    #[must_use]
    pub fn small(range: Range<u64>) -> Self {
        Stock { limit: range.end.saturating_sub(range.start), pool: range.end..range.end, small: range }
    }
}

/// The free frames of a cell.
#[derive(Debug)]
pub struct Frames {
    /// Bytes that may be in use at once, and are.
    limit: u64,
    used: u64,
    small: Zone,
    pool: Zone,
    pool_range: Range<u64>,
    pins: Vec<Range<u64>>,
    parked: Vec<Range<u64>>,
}

/// The whole large pages of `range`, which may be none.
fn whole_large(range: Range<u64>) -> Range<u64> {
    let start = range.start.next_multiple_of(LARGE_PAGE);
    start..(range.end / LARGE_PAGE * LARGE_PAGE).max(start)
}

impl Frames {
    /// All of the stock is free and clean. Incomplete pages at its ends are not used.
    #[must_use]
    pub fn new(stock: Stock) -> Self {
        let start = stock.small.start.next_multiple_of(PAGE);
        let small = start..(stock.small.end / PAGE * PAGE).max(start);
        let pool_range = whole_large(stock.pool);
        let (small, pool) = (Zone::new(small), Zone::new(pool_range.clone()));
        let limit = (stock.limit / PAGE * PAGE).min(small.free_bytes() + pool.free_bytes());
        Frames { limit, used: 0, small, pool, pool_range, pins: Vec::new(), parked: Vec::new() }
    }

    /// From here on large requests take used frames before untouched ones, see
    /// [`Zone::reusing`]. Not those of the pool: they have been set apart already.
    #[must_use]
    pub fn reusing(self) -> Self {
        Frames { small: self.small.reusing(), ..self }
    }

    /// Bytes of all frames that may be in use, those that are included.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.limit
    }

    /// Bytes that may still be taken, if they can be had in the shape that is wanted
    /// ([`Frames::fits`]).
    #[must_use]
    pub fn free_bytes(&self) -> u64 {
        self.limit.saturating_sub(self.used)
    }

    /// Whether [`Frames::allocate`] has `len` bytes for `virt`.
    #[must_use]
    pub fn fits(&self, len: u64, virt: u64) -> bool {
        len <= self.free_bytes() && len - self.pool_part(len, virt).1 <= self.small.free_bytes()
    }

    /// Takes `len` bytes of frames to be mapped at `virt`, in as few extents as possible: whole
    /// large pages from the pool while it has some, the rest as [`Zone::allocate`] does. `near`
    /// is where they would join what is mapped beside them. `None`, with nothing taken, when
    /// there are too few.
    #[must_use]
    pub fn allocate(&mut self, len: u64, virt: u64, near: Option<u64>) -> Option<Vec<Extent>> {
        if !self.fits(len, virt) {
            return None;
        }
        let (head, pooled) = self.pool_part(len, virt);
        let mut extents = Vec::new();
        let mut done = 0;
        for (len, from_pool) in [(head, false), (pooled, true), (len - head - pooled, false)] {
            if len > 0 {
                let zone = if from_pool { &mut self.pool } else { &mut self.small };
                extents.extend(zone.allocate(len, virt + done, near.map(|near| near + done))?);
                done += len;
            }
        }
        self.used += len;
        Some(extents)
    }

    /// Which part of `len` bytes at `virt` comes from the pool: bytes before it, bytes of it.
    fn pool_part(&self, len: u64, virt: u64) -> (u64, u64) {
        let whole = whole_large(virt..virt + len);
        let pooled = (whole.end - whole.start).min(self.pool.free_bytes());
        if pooled == 0 { (len, 0) } else { (whole.start - virt, pooled) }
    }

    /// Takes `len` bytes that can be mapped page by page at `virt`, to put the contents of a
    /// large page of the pool there. That one is given back at once, so for a moment more may
    /// be in use than should.
    #[must_use]
    pub fn allocate_for_pooled(&mut self, len: u64, virt: u64) -> Option<Vec<Extent>> {
        let extents = self.small.allocate(len, virt, None)?;
        self.used += len;
        Some(extents)
    }

    /// Whether a frame can be mapped as part of a large page only.
    #[must_use]
    pub fn is_pooled(&self, frame: u64) -> bool {
        self.pool_range.contains(&frame)
    }

    /// Whether a forwarded call holds any of these frames.
    #[must_use]
    pub fn is_pinned(&self, frames: Range<u64>) -> bool {
        self.pins.iter().any(|pin| pin.start < frames.end && frames.start < pin.end)
    }

    /// Gives frames back. Those that are pinned become free when they are unpinned, and so does
    /// all of a large page of the pool of which a part is.
    pub fn free(&mut self, frame: u64, len: u64) {
        let (mut at, end) = (frame, frame + len);
        while at < end {
            let held = self.pins.iter().map(|pin| self.held(pin));
            let pin = held.filter(|pin| pin.end > at && pin.start < end).min_by_key(|pin| pin.start);
            let Some(pin) = pin else {
                self.put(at, end - at);
                return;
            };
            if pin.start > at {
                self.put(at, pin.start - at);
                at = pin.start;
            }
            let stop = pin.end.min(end);
            self.parked.push(at..stop);
            at = stop;
        }
    }

    /// What can't be given away because of a pin.
    fn held(&self, pin: &Range<u64>) -> Range<u64> {
        if self.is_pooled(pin.start) {
            pin.start / LARGE_PAGE * LARGE_PAGE..pin.end.next_multiple_of(LARGE_PAGE)
        } else {
            pin.clone()
        }
    }

    fn put(&mut self, frame: u64, len: u64) {
        let zone = if self.is_pooled(frame) { &mut self.pool } else { &mut self.small };
        zone.put_dirty(frame, len);
        self.used -= len;
    }

    /// Holds frames for a forwarded call: until [`Frames::unpin`] nobody else gets them.
    pub fn pin(&mut self, frame: u64, len: u64) {
        self.pins.push(frame..frame + len);
    }

    /// Ends one [`Frames::pin`] of the same frames.
    pub fn unpin(&mut self, frame: u64, len: u64) {
        let Some(index) = self.pins.iter().position(|pin| *pin == (frame..frame + len)) else { return };
        self.pins.swap_remove(index);
        for parked in core::mem::take(&mut self.parked) {
            self.free(parked.start, parked.end - parked.start);
        }
    }

    /// Free extents in order, for tests.
    #[cfg(test)]
    pub fn extents(&self) -> impl Iterator<Item = Extent> + '_ {
        self.small.extents().chain(self.pool.extents())
    }

    /// Bytes that are free in each zone, for tests.
    #[cfg(test)]
    pub fn zones(&self) -> (u64, u64) {
        (self.small.free_bytes(), self.pool.free_bytes())
    }

    /// Bytes parked until their pins go, for tests.
    #[cfg(test)]
    pub fn parked_bytes(&self) -> u64 {
        self.parked.iter().map(|range| range.end - range.start).sum()
    }
}

#[cfg(test)]
mod reuse_tests {
    use super::*;

    #[test]
    fn used_frames_come_first_where_untouched_ones_cost() {
        for (frames, expected) in [
            (Frames::new(Stock::small(0..16 * LARGE_PAGE)), false),
            (Frames::new(Stock::small(0..16 * LARGE_PAGE)).reusing(), true),
        ] {
            let mut frames = frames;
            let first = frames.allocate(2 * LARGE_PAGE, 0, None).expect("there is room")[0];
            frames.free(first.frame, first.len);
            let again = frames.allocate(2 * LARGE_PAGE, 0, None).expect("there is room")[0];
            assert_eq!(again.frame == first.frame, expected);
            assert_eq!(again.clean, !expected);
        }
    }
}
