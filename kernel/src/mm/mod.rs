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
pub mod asked;
mod code;
mod copies;
mod cut;
mod fault;
mod frames;
mod limits;
mod locks;
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
mod vdso;
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

/// Memory for the kernel itself, whole pages, at an address that is a multiple of `align`, a power of
/// two. What is in it is anything. It comes from the heap: the frames of the program are never the
/// kernel's, so that whoever writes to one at the wrong moment, from another cell, harms the program
/// alone. `None` when [`limit_kernel_pages`] is reached.
#[must_use]
pub fn kernel_pages(bytes: u64, align: u64) -> Option<*mut u8> {
    let layout = kernel_layout(bytes, align)?;
    let len = layout.size() as u64;
    let taken = KERNEL_PAGES.fetch_add(len, Ordering::Relaxed) + len;
    if taken <= KERNEL_LIMIT.load(Ordering::Relaxed) {
        // SAFETY: the layout's size is not zero.
        let pages = unsafe { alloc::alloc::alloc(layout) };
        if !pages.is_null() {
            return Some(pages);
        }
    }
    KERNEL_PAGES.fetch_sub(len, Ordering::Relaxed);
    None
}

/// Bytes of [`kernel_pages`], and how many there may be.
static KERNEL_PAGES: AtomicU64 = AtomicU64::new(0);
static KERNEL_LIMIT: AtomicU64 = AtomicU64::new(u64::MAX);

/// Says how much of the heap [`kernel_pages`] may take: a program that starts too many threads gets an
/// error, and the kernel goes on.
pub fn limit_kernel_pages(bytes: u64) {
    KERNEL_LIMIT.store(bytes, Ordering::Relaxed);
}

/// Gives back what [`kernel_pages`] gave for the same number of bytes and alignment.
///
/// # Safety
/// It was, and nobody uses it any more.
pub unsafe fn free_kernel_pages(pages: *mut u8, bytes: u64, align: u64) {
    if let Some(layout) = kernel_layout(bytes, align) {
        // SAFETY: the caller's promise; the layout is the same.
        unsafe { alloc::alloc::dealloc(pages, layout) };
        KERNEL_PAGES.fetch_sub(layout.size() as u64, Ordering::Relaxed);
    }
}

fn kernel_layout(bytes: u64, align: u64) -> Option<core::alloc::Layout> {
    let len = page_up(bytes).filter(|len| *len > 0)?;
    core::alloc::Layout::from_size_align(len as usize, align.max(PAGE) as usize).ok()
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
