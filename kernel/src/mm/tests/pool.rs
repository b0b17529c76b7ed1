//! Frames that can be mapped by whole large pages only.

use shm_ipc::layout::{LARGE_PAGE, PAGE};

use super::platform::TestPlatform;
use super::{FRAMES, anon, check_books, file, fresh_pooled, soil, word};
use crate::abi::{Errno, linux};
use crate::mm::{Access, AddressSpace, Fault};

/// A place for three large pages.
const AT: u64 = 32 << 20;

/// Three large pages, all of them of the pool and none of them zero.
fn three() -> (AddressSpace, &'static TestPlatform) {
    let (mut space, platform) = fresh_pooled(FRAMES + LARGE_PAGE, FRAMES);
    space.mmap(&anon(AT, 3 * LARGE_PAGE, linux::MAP_FIXED)).unwrap();
    soil(&mut space, AT..AT + 3 * LARGE_PAGE);
    assert_eq!(pooled(&space), 3);
    (space, platform)
}

/// How many large pages of the pool are mapped.
fn pooled(space: &AddressSpace) -> u64 {
    let runs = space.mapped.runs().filter(|run| space.frames.is_pooled(run.frame));
    runs.map(|run| run.len).sum::<u64>() / LARGE_PAGE
}

fn is_soiled(space: &AddressSpace, addr: u64) -> bool {
    word(space, addr) == Some(0xaaaa_aaaa_aaaa_aaaa)
}

#[test]
fn only_whole_large_pages_come_from_the_pool() {
    let (mut space, platform) = fresh_pooled(FRAMES, 3 * LARGE_PAGE);
    space.mmap(&anon(AT - PAGE, 2 * LARGE_PAGE, linux::MAP_FIXED)).unwrap();
    assert_eq!(pooled(&space), 1);
    check_books(&space, platform);
    assert_eq!(space.frames.zones(), (FRAMES - PAGE - LARGE_PAGE, 2 * LARGE_PAGE));
    space.mmap(&anon(0, LARGE_PAGE - PAGE, 0)).unwrap();
    assert_eq!(pooled(&space), 1);
    assert!(space.mmap(&anon(0, FRAMES + PAGE, 0)).is_err(), "more than may be in use");
    space.mmap(&anon(0, space.usage().1, 0)).unwrap();
    assert_eq!(space.usage().1, 0);
    assert!(space.frames.zones().0 > 0, "more than may be used is there");
    check_books(&space, platform);
}

#[test]
fn a_call_that_cuts_a_large_page_keeps_what_is_around_it() {
    let middle = AT + LARGE_PAGE;
    type Call = fn(&mut AddressSpace) -> Result<u64, Errno>;
    let calls: [(Call, u64); 6] = [
        (|space| space.munmap(AT + LARGE_PAGE + PAGE, PAGE), 2),
        (|space| space.mprotect(AT + LARGE_PAGE + PAGE, PAGE, 1), 2),
        (|space| space.mmap(&anon(AT + LARGE_PAGE + PAGE, PAGE, linux::MAP_FIXED)), 2),
        (|space| space.mmap(&file(AT + LARGE_PAGE + PAGE, PAGE, linux::MAP_FIXED | linux::MAP_PRIVATE, 3, 0)), 2),
        (|space| space.mremap(AT + LARGE_PAGE + PAGE, PAGE, 2 * PAGE, 1, 0), 2),
        (|space| space.munmap(AT + PAGE, LARGE_PAGE), 1),
    ];
    for (call, whole) in calls {
        let (mut space, platform) = three();
        call(&mut space).unwrap();
        assert_eq!(pooled(&space), whole);
        for page in [AT, middle + 2 * PAGE, middle + LARGE_PAGE - PAGE, middle + LARGE_PAGE] {
            assert!(is_soiled(&space, page), "{page:x}");
        }
        check_books(&space, platform);
        space.unmap_all();
        assert_eq!(space.usage(), (FRAMES, FRAMES));
        platform.retire();
    }
}

#[test]
fn a_call_that_cuts_nothing_leaves_large_pages_whole() {
    let (mut space, platform) = three();
    space.mprotect(AT + LARGE_PAGE, LARGE_PAGE, 1).unwrap();
    space.munmap(AT + 2 * LARGE_PAGE, LARGE_PAGE).unwrap();
    let moved = space.mremap(AT, LARGE_PAGE, 2 * LARGE_PAGE, linux::MREMAP_MAYMOVE, 0).unwrap();
    assert_eq!(pooled(&space), 3);
    assert!(is_soiled(&space, moved) && word(&space, moved + LARGE_PAGE) == Some(0));
    assert_eq!(space.madvise(moved, 2 * LARGE_PAGE, linux::MADV_DONTNEED), Ok(0));
    assert_eq!(pooled(&space), 1);
    check_books(&space, platform);
}

#[test]
fn a_move_that_changes_the_place_in_a_large_page_replaces_it() {
    let (mut space, platform) = three();
    let fixed = linux::MREMAP_MAYMOVE | linux::MREMAP_FIXED;
    let to = AT + 8 * LARGE_PAGE + PAGE;
    assert_eq!(space.mremap(AT, 3 * LARGE_PAGE, 3 * LARGE_PAGE, fixed, to), Ok(to));
    assert!(is_soiled(&space, to) && is_soiled(&space, to + 3 * LARGE_PAGE - PAGE));
    assert_eq!(pooled(&space), 0);
    check_books(&space, platform);
}

#[test]
fn a_buffer_of_a_call_under_way_is_not_moved() {
    let (mut space, platform) = three();
    let frame = space.mapped.find(AT).unwrap().frame;
    space.pin(frame + 5 * PAGE, PAGE);
    assert_eq!(space.munmap(AT, PAGE), Err(Errno::ENOMEM));
    assert_eq!(space.mprotect(AT, PAGE, 1), Err(Errno::ENOMEM));
    assert_eq!(space.munmap(AT + LARGE_PAGE, PAGE), Ok(0), "another large page");
    assert!(is_soiled(&space, AT));
    check_books(&space, platform);
    // All of it may go; nobody gets any of it before the call is back.
    assert_eq!(space.munmap(AT, LARGE_PAGE), Ok(0));
    assert_eq!(space.frames.parked_bytes(), LARGE_PAGE);
    check_books(&space, platform);
    space.unpin(frame + 5 * PAGE, PAGE);
    assert_eq!(space.frames.parked_bytes(), 0);
    check_books(&space, platform);
}

#[test]
fn without_small_pages_nothing_is_cut_and_large_ones_are_filled() {
    let (mut space, platform) = fresh_pooled(LARGE_PAGE, 3 * LARGE_PAGE);
    space.mmap(&anon(AT, 3 * LARGE_PAGE, linux::MAP_FIXED | linux::MAP_NORESERVE)).unwrap();
    space.mmap(&anon(0, LARGE_PAGE - PAGE, 0)).unwrap();
    assert_eq!(space.frames.zones().0, 0);
    assert_eq!(space.handle_fault(AT + 5 * PAGE, Access::Write), Fault::Filled);
    assert_eq!(pooled(&space), 1);
    assert_eq!(space.munmap(AT + PAGE, PAGE), Err(Errno::ENOMEM));
    assert_eq!(space.mprotect(AT + PAGE, PAGE, 1), Err(Errno::ENOMEM));
    check_books(&space, platform);
    assert_eq!(space.munmap(AT, LARGE_PAGE), Ok(0));
    check_books(&space, platform);
}

#[test]
fn a_platform_that_fails_half_way_leaves_the_large_page() {
    for mappings in 0..2 {
        let (mut space, platform) = three();
        platform.fail_after(mappings);
        let result = space.munmap(AT + 2 * PAGE, PAGE);
        assert_eq!(result.is_err(), mappings < 2, "{mappings}");
        assert!(is_soiled(&space, AT) && is_soiled(&space, AT + LARGE_PAGE - PAGE));
        check_books(&space, platform);
    }
}
