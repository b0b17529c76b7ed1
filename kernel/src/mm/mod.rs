//! Memory: the cell's frames, the program's address space, checked access to it.
//!
//! ```text
//! user         copies between kernel and program
//! space        mmap, munmap, brk    protect, remap, advise, fault, pieces: its other calls
//! areas        what /proc/<pid> says of it
//! populate     which frames a region gets, and when     copies   of files, where those can't be mapped
//! regions      what the program has mapped (VMAs)       policy   what mbind said about it
//! translation  which frames lie behind which addresses
//! frames       which frames are free    zone   kept as extents    cut   those that come as large pages
//! ```
//!
//! One lock guards all of it: [`space`]. Nobody touches program memory while holding it, since
//! the fault that this may cause needs it too.

mod advise;
mod areas;
mod copies;
mod cut;
mod fault;
mod frames;
mod pieces;
pub mod policy;
mod populate;
mod protect;
mod regions;
mod remap;
mod space;
#[cfg(test)]
pub mod tests;
mod translation;
pub mod user;
mod zone;

use core::ops::Range;
use core::sync::atomic::{AtomicU64, Ordering};

use shm_ipc::layout::PAGE;
use spin::{Mutex, MutexGuard, Once};

pub use areas::Sizes;
pub use fault::{Access, Fault};
pub use frames::{Extent, Frames, Stock};
pub use pieces::Piece;
pub use regions::{Kind, Vma};
pub use space::{AddressSpace, MapRequest};

use crate::platform::Platform;

static SPACE: Once<Mutex<AddressSpace>> = Once::new();
static USER_RANGE: Once<Range<u64>> = Once::new();
static NUMA_NODE: AtomicU64 = AtomicU64::new(0);

/// Starts with an empty address space over `stock`. Later calls change nothing.
pub fn init(platform: &'static dyn Platform, stock: Stock) {
    USER_RANGE.call_once(|| platform.user_range());
    SPACE.call_once(|| Mutex::new(AddressSpace::new(platform, stock)));
}

/// The program's address space.
///
/// # Panics
/// Before [`init`]: a mistake of the kernel's own start-up.
#[must_use]
pub fn space() -> MutexGuard<'static, AddressSpace> {
    let space = SPACE.get().expect("mm::init comes first");
    loop {
        match space.try_lock() {
            Some(guard) => return guard,
            None => crate::platform::get().relax(),
        }
    }
}

/// Addresses that the program may use; none before [`init`].
#[must_use]
pub fn user_range() -> Range<u64> {
    USER_RANGE.get().cloned().unwrap_or(0..0)
}

/// Says which NUMA node of the host the frames lie on; without this, node 0.
pub fn set_numa_node(node: u64) {
    NUMA_NODE.store(node, Ordering::Relaxed);
}

/// NUMA node of the host that the frames lie on.
#[must_use]
pub fn numa_node() -> u64 {
    NUMA_NODE.load(Ordering::Relaxed)
}

/// Mends a fault of the program at `addr`, or says what it is.
#[must_use]
pub fn handle_fault(addr: u64, access: Access) -> Fault {
    space().handle_fault(addr, access)
}

/// Holds frames for a forwarded call, see [`AddressSpace::pin`]. Whoever has just resolved a
/// buffer calls that one instead, before letting go of the [`space`].
pub fn pin(frame: u64, len: u64) {
    space().pin(frame, len);
}

/// Ends one [`pin`] of the same frames.
pub fn unpin(frame: u64, len: u64) {
    space().unpin(frame, len);
}

/// Contiguous frames for the kernel itself, of whole pages, at an address that is a multiple of
/// `align`. What is in them is anything.
#[must_use]
pub fn kernel_pages(bytes: u64, align: u64) -> Option<*mut u8> {
    space().kernel_pages(bytes, align)
}

/// Gives back what [`kernel_pages`] gave for the same number of bytes.
pub fn free_kernel_pages(pages: *mut u8, bytes: u64) {
    space().free_kernel_pages(pages, bytes);
}

impl AddressSpace {
    fn kernel_pages(&mut self, bytes: u64, align: u64) -> Option<*mut u8> {
        let len = page_up(bytes).filter(|len| *len > 0)?;
        let base = self.window.bytes(0, 0)? as u64;
        let phase = base.wrapping_neg() % align.max(1);
        let extent = self.frames.allocate_contiguous(len, align, phase)?;
        self.window.bytes(extent.frame, extent.len)
    }

    fn free_kernel_pages(&mut self, pages: *mut u8, bytes: u64) {
        let (Some(len), Some(base)) = (page_up(bytes), self.window.bytes(0, 0)) else { return };
        let frame = (pages as u64).wrapping_sub(base as u64);
        if self.window.bytes(frame, len).is_some() {
            self.frames.free(frame, len);
        }
    }
}

/// `bytes` in whole pages; `None` beyond 64 bits.
fn page_up(bytes: u64) -> Option<u64> {
    bytes.checked_next_multiple_of(PAGE)
}

/// `bytes` in whole pages, 0 beyond 64 bits: calls whose length Linux lets wrap find nothing
/// to do then.
pub fn page_up_wrapping(bytes: u64) -> u64 {
    page_up(bytes).unwrap_or(0)
}

/// The pages of `len` bytes at `addr`, which is a page's; `None` if it is not, or if they do
/// not fit 64 bits.
fn pages_of(addr: u64, len: u64) -> Option<Range<u64>> {
    let end = addr.checked_add(page_up(len)?)?;
    addr.is_multiple_of(PAGE).then_some(addr..end)
}
