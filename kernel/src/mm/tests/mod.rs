//! What holds the address space to Linux's manual.

mod copies;
mod errors;
mod model;
mod parts;
pub mod platform;
mod pool;
mod user;

use core::ops::Range;

use shm_ipc::layout::{LARGE_PAGE, PAGE};

use self::platform::TestPlatform;
use super::frames::Stock;
use super::regions::Kind;
use super::space::{AddressSpace, MapRequest};
use crate::abi::{Errno, linux};
use crate::platform::Prot;

/// Bytes of frames in most tests.
pub const FRAMES: u64 = 8 << 20;

/// An address space over [`FRAMES`] and the platform below it.
pub fn fresh() -> (AddressSpace, &'static TestPlatform) {
    let platform = TestPlatform::leaked(LARGE_PAGE + FRAMES);
    (AddressSpace::new(platform, Stock::small(LARGE_PAGE..LARGE_PAGE + FRAMES)), platform)
}

/// The same over a platform that reads private mappings of files from `file`.
pub fn fresh_reading(file: Vec<u8>) -> (AddressSpace, &'static TestPlatform) {
    let platform = TestPlatform::reading(LARGE_PAGE + FRAMES, file);
    (AddressSpace::new(platform, Stock::small(LARGE_PAGE..LARGE_PAGE + FRAMES)), platform)
}

/// The same, with `small` bytes of frames for small pages and `pool` bytes that can be mapped by
/// whole large pages only, of which [`FRAMES`] may be in use together.
pub fn fresh_pooled(small: u64, pool: u64) -> (AddressSpace, &'static TestPlatform) {
    let first = LARGE_PAGE + small;
    let pool = first..first + pool;
    let platform = TestPlatform::pooled(pool.end, pool.clone());
    let stock = Stock { small: LARGE_PAGE..first - PAGE, pool, limit: FRAMES };
    (AddressSpace::new(platform, stock), platform)
}

/// Bytes of a file, no two pages of which are the same.
pub fn file_bytes(len: u64) -> Vec<u8> {
    (0..len).map(|at| (at.wrapping_mul(0x9e37_79b9) >> 16) as u8 ^ (at / PAGE) as u8 | 1).collect()
}

/// The bytes of the page behind an address, if there is a frame.
pub fn page_bytes(space: &AddressSpace, addr: u64) -> Option<Vec<u8>> {
    let run = space.mapped.find(addr)?;
    let from = space.window.bytes(run.frame + (addr - run.virt), PAGE).unwrap();
    let mut page = vec![0; PAGE as usize];
    // SAFETY: a frame of the test's own memory, which nobody writes meanwhile.
    unsafe { page.as_mut_ptr().copy_from_nonoverlapping(from, PAGE as usize) };
    Some(page)
}

/// Lets [`user`](super::user) reach the memory of the test itself.
pub fn allow_host_memory() {
    super::USER_RANGE.call_once(|| 0x1000..1 << 47);
}

/// A request for private anonymous memory that may be read and written.
pub fn anon(addr: u64, len: u64, flags: u32) -> MapRequest {
    let flags = linux::MAP_PRIVATE | linux::MAP_ANONYMOUS | flags;
    MapRequest { addr, len, prot: Prot::READ | Prot::WRITE, flags, fd: -1, offset: 0 }
}

/// A request for a file.
pub fn file(addr: u64, len: u64, flags: u32, fd: i32, offset: u64) -> MapRequest {
    MapRequest { addr, len, prot: Prot::READ, flags, fd, offset }
}

/// Holds the books to each other and to what the platform has mapped.
pub fn check_books(space: &AddressSpace, platform: &TestPlatform) {
    let mut frames = std::collections::BTreeSet::new();
    let mut pages = 0;
    for vma in space.regions() {
        assert!(vma.start < vma.end && vma.start.is_multiple_of(PAGE) && vma.end.is_multiple_of(PAGE));
        assert!(space.holds(&vma.range()));
        for at in vma.range().step_by(PAGE as usize) {
            let run = space.mapped.find(at);
            let mapped = platform.page(at);
            match (run, mapped) {
                (None, None) => assert!(vma.kind.has_frames(), "{at:x}: pages of Linux are always mapped"),
                (Some(run), Some(page)) => {
                    let frame = run.frame + (at - run.virt);
                    assert!(vma.kind.has_frames());
                    assert_eq!((page.frame, page.prot), (Some(frame), vma.prot), "{at:x}");
                    assert!(frames.insert(frame), "frame {frame:x} has two owners");
                    pages += 1;
                }
                (None, Some(page)) => {
                    assert!(!vma.kind.has_frames() && page.frame.is_none());
                    assert_eq!(page.prot, vma.prot, "{at:x}");
                    pages += 1;
                }
                (Some(_), None) => panic!("{at:x} has a frame that is not mapped"),
            }
        }
    }
    assert_eq!(platform.pages(), pages, "something is mapped that nobody asked for");
    let copies = space.regions().filter_map(|vma| match vma.kind {
        Kind::FileCopy { id, .. } => Some(id),
        _ => None,
    });
    let copies: std::collections::BTreeSet<u64> = copies.collect();
    assert!(platform.kept().into_iter().eq(copies), "files are kept for as long as something shows them");
    let (total, free) = space.usage();
    let used: u64 = space.mapped.runs().map(|run| run.len).sum();
    assert_eq!(total, free + used + space.frames.parked_bytes(), "frames leak");
    for extent in space.frames.extents() {
        for frame in (extent.frame..extent.end()).step_by(PAGE as usize) {
            assert!(frames.insert(frame), "frame {frame:x} is free and mapped");
        }
    }
}

/// The first word behind an address, if there is a frame.
pub fn word(space: &AddressSpace, addr: u64) -> Option<u64> {
    let run = space.mapped.find(addr)?;
    let mut word = [0];
    assert!(space.window.read_words(run.frame + (addr - run.virt), &mut word));
    Some(word[0])
}

/// Fills memory behind addresses with something else than zeroes.
pub fn soil(space: &mut AddressSpace, range: Range<u64>) {
    for at in range.step_by(PAGE as usize) {
        space.write_frames(at, &[0xaa; PAGE as usize]).unwrap();
    }
}

/// The error that a call gave.
pub fn error<T: core::fmt::Debug>(result: Result<T, Errno>) -> Errno {
    result.expect_err("the call should have failed")
}
