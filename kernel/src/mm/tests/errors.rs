//! Errors and results, call by call, as the manual pages of section 2 have them.

use shm_ipc::layout::{LARGE_PAGE, PAGE};

use super::platform::USER;
use super::{FRAMES, anon, check_books, error, file, fresh, soil, word};
use crate::abi::{Errno, linux};
use crate::mm::policy::{Mask, Policy, mode};
use crate::mm::{Access, Fault, Kind, MapRequest, Piece};
use crate::platform::Prot;

/// The last page of 64 bits.
const LAST_PAGE: u64 = u64::MAX << 12;

const AT: u64 = USER.start + (16 << 20);

#[test]
fn mmap_errors() {
    let (mut space, platform) = fresh();
    let base = anon(AT, PAGE, 0);
    let fixed = linux::MAP_FIXED;
    let table = [
        (MapRequest { len: 0, ..base }, Errno::EINVAL),
        (MapRequest { len: u64::MAX, ..base }, Errno::ENOMEM),
        (MapRequest { offset: 1, ..base }, Errno::EINVAL),
        (MapRequest { flags: linux::MAP_ANONYMOUS, ..base }, Errno::EINVAL),
        (MapRequest { flags: linux::MAP_ANONYMOUS | linux::MAP_SHARED_VALIDATE, ..base }, Errno::EINVAL),
        (anon(AT + 1, PAGE, fixed), Errno::EINVAL),
        (anon(USER.end - PAGE, 2 * PAGE, fixed), Errno::ENOMEM),
        (anon(LAST_PAGE, 2 * PAGE, fixed), Errno::ENOMEM),
        (anon(0, PAGE, fixed), Errno::EPERM),
        (anon(0, LARGE_PAGE, linux::MAP_HUGETLB), Errno::ENOMEM),
        (anon(0, FRAMES + PAGE, 0), Errno::ENOMEM),
        (anon(0, USER.end, linux::MAP_NORESERVE), Errno::ENOMEM),
        (anon(0, PAGE, linux::MAP_32BIT), Errno::ENOMEM),
        (file(0, PAGE, linux::MAP_PRIVATE, -1, 0), Errno::EBADF),
        (file(0, PAGE, linux::MAP_SHARED, 9, 0), Errno::EACCES),
        (file(0, PAGE, 0, 3, 0), Errno::EINVAL),
        (file(0, PAGE, linux::MAP_SHARED | linux::MAP_HUGETLB, 3, 0), Errno::EINVAL),
        (file(0, PAGE, linux::MAP_SHARED_VALIDATE | linux::MAP_SYNC, 3, 0), Errno::EOPNOTSUPP),
        (file(AT, PAGE, linux::MAP_SHARED_VALIDATE | linux::MAP_FIXED_NOREPLACE, 3, 0), Errno::EOPNOTSUPP),
        (file(0, 2 * PAGE, linux::MAP_SHARED, 3, LAST_PAGE), Errno::EOVERFLOW),
    ];
    for (request, errno) in table {
        assert_eq!(space.mmap(&request), Err(errno), "{request:x?}");
    }
    assert_eq!(platform.pages(), 0);
    assert_eq!(space.mmap(&anon(AT, PAGE, linux::MAP_FIXED_NOREPLACE)), Ok(AT));
    assert_eq!(space.mmap(&anon(AT, PAGE, linux::MAP_FIXED_NOREPLACE)), Err(Errno::EEXIST));
    assert_eq!(space.mmap(&anon(AT, PAGE, fixed)), Ok(AT));
    check_books(&space, platform);
}

#[test]
fn a_file_that_cannot_be_mapped_leaves_what_was_there() {
    let (mut space, platform) = fresh();
    space.mmap(&anon(AT, PAGE, linux::MAP_FIXED)).unwrap();
    space.write_frames(AT, &7u64.to_le_bytes()).unwrap();
    assert_eq!(space.mmap(&file(AT, PAGE, linux::MAP_FIXED | linux::MAP_SHARED, 9, 0)), Err(Errno::EACCES));
    assert_eq!(word(&space, AT), Some(7));
    check_books(&space, platform);
}

#[test]
fn addresses_are_chosen_from_the_top_and_for_large_pages() {
    let (mut space, _) = fresh();
    let stack = space.map_stack(1 << 20).unwrap();
    let small = space.mmap(&anon(0, PAGE, 0)).unwrap();
    assert!(small < stack.start - 255 * PAGE, "the stack's guard is kept free");
    let large = space.mmap(&anon(0, 2 * LARGE_PAGE, 0)).unwrap();
    assert!(large < small && large.is_multiple_of(LARGE_PAGE));
    let run = space.mapped.find(large).unwrap();
    assert_eq!((run.virt, run.len), (large, 2 * LARGE_PAGE));
    assert!(run.frame.is_multiple_of(LARGE_PAGE));
    // A hint is taken if it is free, rounded up to a page.
    assert_eq!(space.mmap(&anon(AT - 5, PAGE, 0)), Ok(AT));
    assert_ne!(space.mmap(&anon(AT, PAGE, 0)), Ok(AT));
}

#[test]
fn what_is_mapped_is_zero_even_where_frames_were_used() {
    let (mut space, platform) = fresh();
    for _ in 0..3 {
        let at = space.mmap(&anon(0, FRAMES, 0)).unwrap();
        assert_eq!(space.usage().1, 0);
        for page in (at..at + FRAMES).step_by(PAGE as usize) {
            assert_eq!(word(&space, page), Some(0));
        }
        soil(&mut space, at..at + FRAMES);
        assert_eq!(space.munmap(at, FRAMES), Ok(0));
    }
    check_books(&space, platform);
}

#[test]
fn sparse_memory_is_filled_in_growing_blocks() {
    let (mut space, platform) = fresh();
    let at = space.mmap(&anon(0, 64 << 20, linux::MAP_NORESERVE)).unwrap();
    assert_eq!(platform.pages(), 0);
    assert_eq!(space.handle_fault(at, Access::Write), Fault::Filled);
    let first = platform.pages() as u64;
    assert!((1..=16).contains(&first));
    let mut faults = 1;
    for page in (at..at + (4 << 20)).step_by(PAGE as usize) {
        if space.mapped.find(page).is_none() {
            assert_eq!(space.handle_fault(page, Access::Read), Fault::Filled);
            faults += 1;
        }
    }
    assert!(faults < 100, "{faults} faults for 4 MiB");
    check_books(&space, platform);
    let mut page = at;
    while space.handle_fault(page, Access::Write) == Fault::Filled {
        page += PAGE;
    }
    assert_eq!(space.handle_fault(page, Access::Write), Fault::OutOfMemory);
    assert_eq!(space.usage().1, 0, "not before the last frame is used");
    check_books(&space, platform);
}

#[test]
fn memory_beyond_what_is_free_is_sparse() {
    let (mut space, platform) = fresh();
    space.mmap(&anon(0, 6 << 20, 0)).unwrap();
    let at = space.mmap(&anon(0, 6 << 20, 0)).unwrap();
    assert!(space.mapped.find(at).is_none());
    assert_eq!(space.handle_fault(at, Access::Write), Fault::Filled);
    check_books(&space, platform);
}

#[test]
fn faults() {
    let (mut space, platform) = fresh();
    let segv = |code: u32| Fault::Segv { code: code as i32 };
    assert_eq!(space.handle_fault(AT, Access::Read), segv(linux::SEGV_MAPERR));
    assert_eq!(space.handle_fault(u64::MAX, Access::Write), segv(linux::SEGV_MAPERR));
    space.mmap(&anon(AT, PAGE, linux::MAP_FIXED)).unwrap();
    assert_eq!(space.handle_fault(AT, Access::Exec), segv(linux::SEGV_ACCERR));
    assert_eq!(space.handle_fault(AT + 9, Access::Write), Fault::Filled);
    space.mprotect(AT, PAGE, 1).unwrap();
    assert_eq!(space.handle_fault(AT, Access::Write), segv(linux::SEGV_ACCERR));
    space.mprotect(AT, PAGE, 0).unwrap();
    assert_eq!(space.handle_fault(AT, Access::Read), segv(linux::SEGV_ACCERR));
    space.mmap(&file(AT, PAGE, linux::MAP_FIXED | linux::MAP_PRIVATE, 3, 0)).unwrap();
    assert_eq!(space.handle_fault(AT, Access::Read), Fault::Bus);
    assert_eq!(space.handle_fault(AT, Access::Write), segv(linux::SEGV_ACCERR));
    check_books(&space, platform);
}

#[test]
fn munmap_errors() {
    let (mut space, _) = fresh();
    assert_eq!(space.munmap(AT + 1, PAGE), Err(Errno::EINVAL));
    assert_eq!(space.munmap(AT, 0), Err(Errno::EINVAL));
    assert_eq!(space.munmap(AT, u64::MAX), Err(Errno::EINVAL));
    assert_eq!(space.munmap(USER.end, PAGE), Err(Errno::EINVAL));
    assert_eq!(space.munmap(AT, PAGE), Ok(0), "a hole is fine");
}

#[test]
fn mprotect_errors() {
    let (mut space, platform) = fresh();
    space.mmap(&anon(AT, 2 * PAGE, linux::MAP_FIXED)).unwrap();
    assert_eq!(space.mprotect(AT + 1, PAGE, 1), Err(Errno::EINVAL));
    assert_eq!(space.mprotect(AT, 0, 1), Ok(0));
    assert_eq!(space.mprotect(AT, PAGE, 0x40), Err(Errno::EINVAL));
    assert_eq!(space.mprotect(AT, u64::MAX, 1), Err(Errno::ENOMEM));
    assert_eq!(space.mprotect(AT - PAGE, 2 * PAGE, 1), Err(Errno::ENOMEM), "a hole first changes nothing");
    assert_eq!(platform.page(AT).unwrap().prot, Prot::READ | Prot::WRITE);
    assert_eq!(space.mprotect(AT, 3 * PAGE, 1), Err(Errno::ENOMEM), "a hole behind changes all before");
    assert_eq!(platform.page(AT + PAGE).unwrap().prot, Prot::READ);
    let grows = linux::PROT_GROWSDOWN;
    assert_eq!(space.mprotect(AT, PAGE, grows | linux::PROT_GROWSUP), Err(Errno::EINVAL));
    assert_eq!(space.mprotect(AT, PAGE, grows | 1), Err(Errno::EINVAL), "not a stack");
    let stack = space.map_stack(1 << 20).unwrap();
    assert_eq!(space.mprotect(stack.end - PAGE, PAGE, grows | 7), Ok(0));
    assert!(space.regions().any(|vma| vma.range() == stack && vma.prot == Prot::all()));
}

#[test]
fn inaccessible_memory_stays_sparse_when_it_becomes_accessible() {
    let (mut space, platform) = fresh();
    let at = space.mmap(&MapRequest { prot: Prot::empty(), ..anon(0, 64 << 20, 0) }).unwrap();
    assert_eq!(space.mprotect(at, 1 << 20, 3), Ok(0));
    assert_eq!(platform.pages(), 0);
    assert_eq!(space.handle_fault(at + (1 << 20) - 1, Access::Write), Fault::Filled);
    assert!(space.mapped.find(at + (1 << 20)).is_none(), "not beyond the protection");
    check_books(&space, platform);
}

#[test]
fn mremap_errors() {
    let (mut space, platform) = fresh();
    let (moves, fixed) = (linux::MREMAP_MAYMOVE, linux::MREMAP_FIXED | linux::MREMAP_MAYMOVE);
    space.mmap(&anon(AT, 4 * PAGE, linux::MAP_FIXED)).unwrap();
    space.mmap(&file(AT + 4 * PAGE, PAGE, linux::MAP_FIXED | linux::MAP_SHARED, 3, 0)).unwrap();
    let table = [
        (AT + 1, PAGE, PAGE, moves, 0, Errno::EINVAL),
        (AT, PAGE, 0, moves, 0, Errno::EINVAL),
        (AT, PAGE, PAGE, linux::MREMAP_FIXED, AT + (1 << 20), Errno::EINVAL),
        (AT, PAGE, PAGE, linux::MREMAP_DONTUNMAP, 0, Errno::EINVAL),
        (AT, PAGE, 2 * PAGE, moves | linux::MREMAP_DONTUNMAP, 0, Errno::EINVAL),
        (AT + 4 * PAGE, PAGE, PAGE, moves | linux::MREMAP_DONTUNMAP, 0, Errno::EINVAL),
        (AT + 4 * PAGE, PAGE, PAGE, fixed | linux::MREMAP_DONTUNMAP, AT, Errno::EINVAL),
        (AT, PAGE, PAGE, 8, 0, Errno::EINVAL),
        (AT - PAGE, PAGE, 2 * PAGE, moves, 0, Errno::EFAULT),
        (AT, 5 * PAGE, 6 * PAGE, moves, 0, Errno::EFAULT),
        (AT, 0, PAGE, moves, 0, Errno::EINVAL),
        (AT, PAGE, 2 * PAGE, 0, 0, Errno::ENOMEM),
        (AT, 4 * PAGE, FRAMES + 5 * PAGE, moves, 0, Errno::ENOMEM),
        (AT, 4 * PAGE, 2 * PAGE, fixed, AT + PAGE, Errno::EINVAL),
        (AT, PAGE, PAGE, fixed, USER.end, Errno::EINVAL),
        (AT, PAGE, PAGE, fixed, AT + (1 << 20) + 1, Errno::EINVAL),
    ];
    for (addr, old, new, flags, to, errno) in table {
        assert_eq!(space.mremap(addr, old, new, flags, to), Err(errno), "{addr:x} {old:x} {new:x} {flags} {to:x}");
        check_books(&space, platform);
    }
    // Shared memory may be mapped a second time.
    let twin = space.mremap(AT + 4 * PAGE, 0, PAGE, moves, 0).unwrap();
    assert_eq!(platform.page(twin).map(|page| page.source), Some((3, 0)));
    check_books(&space, platform);
}

#[test]
fn what_is_in_memory_moves_alone() {
    let (mut space, platform) = fresh();
    let flags = linux::MREMAP_MAYMOVE | linux::MREMAP_DONTUNMAP;
    space.mmap(&anon(AT, 3 * PAGE, linux::MAP_FIXED)).unwrap();
    space.write_frames(AT + PAGE, b"moved").unwrap();
    let frame = space.mapped.find(AT + PAGE).map(|run| run.frame + (AT + PAGE - run.virt));
    let moved = space.mremap(AT + PAGE, PAGE, PAGE, flags, 0).unwrap();
    assert_eq!(space.mapped.find(moved).map(|run| run.frame + (moved - run.virt)), frame);
    assert!(space.mapped.find(AT + PAGE).is_none() && platform.page(AT + PAGE).is_none());
    check_books(&space, platform);
    assert_eq!(space.handle_fault(AT + PAGE, Access::Write), Fault::Filled);
    let back = space.mremap(moved, PAGE, PAGE, flags | linux::MREMAP_FIXED, AT).unwrap();
    assert_eq!(space.mapped.find(back).map(|run| run.frame + (back - run.virt)), frame);
    assert_eq!(space.handle_fault(moved, Access::Read), Fault::Filled);
    check_books(&space, platform);
}

#[test]
fn mremap_keeps_contents_and_moves_frames() {
    let (mut space, platform) = fresh();
    let at = space.mmap(&anon(0, LARGE_PAGE, 0)).unwrap();
    space.write_frames(at + PAGE, &5u64.to_le_bytes()).unwrap();
    let frame = space.mapped.find(at).unwrap().frame;
    space.mmap(&anon(at + LARGE_PAGE, PAGE, linux::MAP_FIXED | linux::MAP_NORESERVE)).unwrap();
    let moved = space.mremap(at, LARGE_PAGE, 2 * LARGE_PAGE, linux::MREMAP_MAYMOVE, 0).unwrap();
    assert_ne!(moved, at);
    assert!(moved.is_multiple_of(LARGE_PAGE));
    assert_eq!(word(&space, moved + PAGE), Some(5));
    let run = space.mapped.find(moved).unwrap();
    assert_eq!((run.frame, run.len), (frame, 2 * LARGE_PAGE), "grown where the frames are");
    assert_eq!(space.mremap(moved, 2 * LARGE_PAGE, PAGE, 0, 0), Ok(moved));
    check_books(&space, platform);
}

#[test]
fn madvise_errors_and_effects() {
    let (mut space, platform) = fresh();
    space.mmap(&anon(AT, 2 * PAGE, linux::MAP_FIXED)).unwrap();
    let shared = MapRequest { flags: linux::MAP_SHARED | linux::MAP_ANONYMOUS | linux::MAP_FIXED, ..anon(0, PAGE, 0) };
    space.mmap(&MapRequest { addr: AT + 2 * PAGE, ..shared }).unwrap();
    space.mmap(&file(AT + 3 * PAGE, PAGE, linux::MAP_FIXED | linux::MAP_SHARED, 3, 0)).unwrap();
    soil(&mut space, AT..AT + 3 * PAGE);
    let table = [
        (AT + 1, PAGE, linux::MADV_DONTNEED, Err(Errno::EINVAL)),
        (AT, PAGE, 5, Err(Errno::EINVAL)),
        (AT, PAGE, 1234, Err(Errno::EINVAL)),
        (AT, 0, linux::MADV_DONTNEED, Ok(0)),
        (AT, u64::MAX, linux::MADV_DONTNEED, Err(Errno::EINVAL)),
        (AT, PAGE, linux::MADV_HWPOISON, Err(Errno::EPERM)),
        (AT, PAGE, linux::MADV_HUGEPAGE, Ok(0)),
        (AT, 5 * PAGE, linux::MADV_NORMAL, Err(Errno::ENOMEM)),
        (AT, 2 * PAGE, linux::MADV_FREE, Ok(0)),
        (AT, 3 * PAGE, linux::MADV_FREE, Err(Errno::EINVAL)),
        (AT + 3 * PAGE, PAGE, linux::MADV_FREE, Err(Errno::EINVAL)),
        (AT, PAGE, linux::MADV_REMOVE, Err(Errno::EINVAL)),
        (AT, 4 * PAGE, linux::MADV_DONTNEED, Ok(0)),
    ];
    for (addr, len, advice, expected) in table {
        assert_eq!(space.madvise(addr, len, advice), expected, "{addr:x} {len:x} {advice}");
    }
    assert_eq!((word(&space, AT), word(&space, AT + PAGE)), (Some(0), Some(0)));
    assert_ne!(word(&space, AT + 2 * PAGE), Some(0), "shared memory keeps what is in it");
    assert!(platform.advised().contains(&(AT + 3 * PAGE, PAGE, linux::MADV_DONTNEED)));
    assert_eq!(space.madvise(AT + 2 * PAGE, PAGE, linux::MADV_REMOVE), Ok(0));
    assert_eq!(word(&space, AT + 2 * PAGE), Some(0));
    check_books(&space, platform);
}

#[test]
fn a_large_dontneed_gives_frames_back() {
    let (mut space, platform) = fresh();
    let at = space.mmap(&anon(0, 4 << 20, 0)).unwrap();
    soil(&mut space, at..at + (4 << 20));
    assert_eq!(space.madvise(at, 4 << 20, linux::MADV_DONTNEED), Ok(0));
    assert_eq!(space.usage().1, FRAMES);
    assert_eq!(space.handle_fault(at + 5, Access::Write), Fault::Filled);
    assert_eq!(word(&space, at), Some(0));
    check_books(&space, platform);
}

#[test]
fn the_heap_moves_with_brk() {
    let (mut space, platform) = fresh();
    space.set_heap(AT + 100);
    assert_eq!(space.brk(0), AT + 100);
    assert_eq!(space.brk(AT + 50), AT + 100, "not below its start");
    assert_eq!(space.brk(AT + 5 * PAGE), AT + 5 * PAGE);
    soil(&mut space, AT + PAGE..AT + 5 * PAGE);
    assert_eq!(space.brk(AT + 2 * PAGE + 1), AT + 2 * PAGE + 1);
    assert!(space.regions.find(AT + 3 * PAGE).is_none());
    assert_eq!(space.brk(AT + 4 * PAGE), AT + 4 * PAGE);
    assert_eq!(word(&space, AT + 3 * PAGE), Some(0));
    assert_eq!(space.brk(AT + FRAMES * 2), AT + 4 * PAGE, "more than there is");
    space.mmap(&anon(AT + 6 * PAGE, PAGE, linux::MAP_FIXED)).unwrap();
    assert_eq!(space.brk(AT + 7 * PAGE), AT + 4 * PAGE, "something is in the way");
    assert_eq!(space.brk(u64::MAX), AT + 4 * PAGE);
    let heap: Vec<_> = space.regions().filter(|vma| vma.kind == Kind::Heap).collect();
    assert_eq!(heap.len(), 1);
    assert_eq!(space.mapped.runs().count(), 2, "the heap grows by the frames next to it");
    check_books(&space, platform);
}

#[test]
fn mincore_msync_mlock() {
    let (mut space, _) = fresh();
    let sparse = linux::MAP_FIXED | linux::MAP_NORESERVE;
    space.mmap(&anon(AT, 64 * PAGE, sparse)).unwrap();
    space.mmap(&file(AT + 64 * PAGE, PAGE, linux::MAP_FIXED | linux::MAP_SHARED, 3, 0)).unwrap();
    let mut pages = [9; 65];
    assert_eq!(space.resident(AT, &mut pages), Ok(()));
    assert!(pages[..64].iter().all(|page| *page == 0) && pages[64] == 1);
    assert_eq!(space.resident(AT + PAGE, &mut pages), Err(Errno::ENOMEM));
    assert_eq!(space.lock_range(AT + 5, 1, false, true), Ok(0));
    space.resident(AT, &mut pages).unwrap();
    assert_eq!(&pages[..2], &[1, 0]);
    assert_eq!(space.lock_range(AT, 66 * PAGE, false, true), Err(Errno::ENOMEM));
    assert_eq!(space.lock_range(AT, u64::MAX << 12, false, true), Err(Errno::EINVAL));
    assert_eq!(space.lock_range(AT, u64::MAX, false, true), Ok(0), "wraps to nothing, as on Linux");
    let (files, whole) = space.shared_files(AT..AT + 65 * PAGE);
    assert_eq!((files.first(), whole), (Some(&(AT + 64 * PAGE..AT + 65 * PAGE)), true));
    assert!(!space.shared_files(AT..AT + 66 * PAGE).1);
}

#[test]
fn segments() {
    let (mut space, platform) = fresh();
    let both = Prot::READ | Prot::WRITE;
    let at = space.map_segment(0, 4 * PAGE - 9, 4, both, false).unwrap();
    assert_eq!(space.map_segment(at, PAGE, 1, both, false), Err(Errno::EINVAL), "taken");
    assert_eq!(space.map_segment(USER.end, PAGE, 1, both, false), Err(Errno::ENOMEM));
    assert_eq!(space.map_segment(AT, 0, 1, both, false), Err(Errno::EINVAL));
    assert!(space.is_shared_foreign(at));
    // In parts, with something else between them, the segment is still detached as a whole.
    space.mprotect(at, PAGE, 1).unwrap();
    space.mmap(&anon(at + 2 * PAGE, PAGE, linux::MAP_FIXED)).unwrap();
    check_books(&space, platform);
    assert_eq!(space.unmap_segment(at + PAGE), Err(Errno::EINVAL));
    assert_eq!(space.unmap_segment(at), Ok(0));
    assert_eq!(space.unmap_segment(at), Err(Errno::EINVAL));
    assert_eq!(space.regions().count(), 1);
    assert_eq!(space.map_segment(at + 2 * PAGE, PAGE, 1, Prot::READ, true), Ok(at + 2 * PAGE));
    check_books(&space, platform);
}

#[test]
fn policies() {
    let (mut space, _) = fresh();
    let policy = |mode: u16, mask| Policy::new(u32::from(mode), mask);
    for (number, mask) in [
        (mode::DEFAULT, Mask::NamesNode),
        (mode::BIND, Mask::Empty),
        (mode::BIND, Mask::OtherNodes),
        (mode::INTERLEAVE, Mask::Empty),
        (mode::LOCAL, Mask::NamesNode),
        (6, Mask::NamesNode),
        (mode::BIND | 0xc000, Mask::NamesNode),
    ] {
        assert_eq!(policy(number, mask), Err(Errno::EINVAL), "{number} {mask:?}");
    }
    let bind = policy(mode::BIND, Mask::NamesNode).unwrap();
    let many = policy(mode::PREFERRED_MANY, Mask::NamesNode).unwrap();
    space.mmap(&anon(AT, 3 * PAGE, linux::MAP_FIXED)).unwrap();
    space.set_policy(many);
    assert_eq!(space.bind(AT + PAGE, PAGE, bind), Ok(0));
    assert_eq!(space.bind(AT, 4 * PAGE, bind), Err(Errno::EFAULT));
    assert_eq!(space.bind(AT + 1, PAGE, bind), Err(Errno::EINVAL));
    assert_eq!(space.policy(Some(AT + PAGE)), Ok(bind));
    assert_eq!(space.policy(Some(AT)), Ok(many));
    assert_eq!(space.policy(Some(AT + 3 * PAGE)), Err(Errno::EFAULT));
}

#[test]
fn pieces_stop_at_what_the_program_may_not_touch() {
    let (mut space, platform) = fresh();
    space.mmap(&anon(AT, 2 * PAGE, linux::MAP_FIXED)).unwrap();
    space.mmap(&file(AT + 2 * PAGE, 2 * PAGE, linux::MAP_FIXED | linux::MAP_SHARED, 3, 0)).unwrap();
    space.mmap(&anon(AT + 4 * PAGE, 64 * PAGE, linux::MAP_FIXED | linux::MAP_NORESERVE)).unwrap();
    let mut out = vec![];
    assert_eq!(space.pieces(AT + 10, 100 * PAGE, Access::Read, &mut out), 68 * PAGE - 10);
    let frame = space.mapped.find(AT).unwrap().frame;
    assert_eq!(out[0], Piece::Frames { frame: frame + 10, len: 2 * PAGE - 10 });
    assert_eq!(out[1], Piece::Foreign { addr: AT + 2 * PAGE, len: 2 * PAGE });
    check_books(&space, platform);
    out.clear();
    assert_eq!(space.pieces(AT + 10, 100 * PAGE, Access::Write, &mut out), 2 * PAGE - 10);
    assert_eq!(space.pieces(AT - 1, 2, Access::Read, &mut out), 0);
    assert_eq!(space.pieces(u64::MAX, u64::MAX, Access::Read, &mut out), 0);
    assert_eq!(space.pieces(AT, 0, Access::Read, &mut out), 0);
}

#[test]
fn pinned_frames_are_nobody_elses_until_the_call_is_back() {
    let (mut space, platform) = fresh();
    let at = space.mmap(&anon(0, 8 * PAGE, 0)).unwrap();
    let frame = space.mapped.find(at).unwrap().frame + PAGE;
    space.pin(frame, PAGE);
    space.pin(frame, PAGE);
    space.munmap(at, 8 * PAGE).unwrap();
    assert_eq!(space.usage().1, FRAMES - PAGE);
    check_books(&space, platform);
    space.unpin(frame, PAGE);
    assert_eq!(space.usage().1, FRAMES - PAGE);
    space.unpin(frame, PAGE);
    assert_eq!(space.usage().1, FRAMES);
    space.unpin(frame, PAGE);
    check_books(&space, platform);
}

#[test]
fn huge_numbers_are_answered() {
    let (mut space, _) = fresh();
    space.mmap(&anon(AT, PAGE, linux::MAP_FIXED)).unwrap();
    let large = [0, 1, PAGE, AT, USER.end, 1 << 63, u64::MAX - PAGE, LAST_PAGE, u64::MAX];
    for a in large {
        for b in large {
            for c in large {
                let _ = space.mremap(a, b, c, linux::MREMAP_MAYMOVE, a);
                let _ = space.mremap(a, b, c, linux::MREMAP_MAYMOVE | linux::MREMAP_FIXED, b);
                let _ = space.mmap(&file(a, b, linux::MAP_SHARED, 3, c));
            }
            let _ = space.mprotect(a, b, 1);
            let _ = space.madvise(a, b, linux::MADV_DONTNEED);
            let _ = space.lock_range(a, b, false, false);
            let _ = space.bind(a, b, Policy::DEFAULT);
            let _ =
                space.map_segment(a & !0xfff, b & 0xffff_f000, 1, Prot::READ, false).map(|at| space.munmap(at, PAGE));
            let _ = space.munmap(a, b);
            let _ = space.brk(a);
            let _ = error(space.write_frames(a | 1 << 62, &[0; 9]));
        }
    }
}
