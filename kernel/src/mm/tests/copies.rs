//! Private mappings of files where the platform reads them.

use shm_ipc::layout::{LARGE_PAGE, PAGE};

use super::platform::{TestPlatform, USER};
use super::{FRAMES, anon, check_books, file, file_bytes, fresh_reading, page_bytes};
use crate::abi::{Errno, linux};
use crate::mm::{Access, AddressSpace, Fault, MapRequest};
use crate::platform::Prot;

const AT: u64 = USER.start + (16 << 20);
/// Two pages and a bit.
const FILE: u64 = 2 * PAGE + 100;

fn map(space: &mut AddressSpace, at: u64, len: u64, prot: u32, offset: u64) -> Result<u64, Errno> {
    let fixed = linux::MAP_PRIVATE | linux::MAP_FIXED;
    space.mmap(&MapRequest { prot: Prot::from_bits_truncate(prot), ..file(at, len, fixed, 3, offset) })
}

/// A file of [`FILE`] bytes, mapped with two pages more than it has.
fn mapped(prot: u32) -> (AddressSpace, &'static TestPlatform, Vec<u8>) {
    let bytes = file_bytes(FILE);
    let (mut space, platform) = fresh_reading(bytes.clone());
    map(&mut space, AT, 5 * PAGE, prot, 0).unwrap();
    (space, platform, bytes)
}

#[test]
fn pages_hold_the_file_then_zeroes_then_nothing() {
    let (mut space, platform, bytes) = mapped(1);
    check_books(&space, platform);
    assert_eq!(page_bytes(&space, AT + PAGE).unwrap(), bytes[PAGE as usize..2 * PAGE as usize]);
    let last = page_bytes(&space, AT + 2 * PAGE).unwrap();
    assert_eq!(last[..100], bytes[2 * PAGE as usize..]);
    assert!(last[100..].iter().all(|byte| *byte == 0));
    assert_eq!(space.usage().1, FRAMES - 3 * PAGE);
    assert_eq!(space.handle_fault(AT + 2 * PAGE, Access::Read), Fault::Filled);
    assert_eq!(space.handle_fault(AT + 3 * PAGE, Access::Read), Fault::Bus);
    assert_eq!(space.handle_fault(AT + 3 * PAGE, Access::Write), Fault::Segv { code: linux::SEGV_ACCERR as i32 });
    let mut pieces = vec![];
    assert_eq!(space.pieces(AT, 5 * PAGE, Access::Read, &mut pieces), 3 * PAGE);
    let mut resident = [7; 5];
    assert_eq!(space.resident(AT, &mut resident), Ok(()));
    assert_eq!(resident, [1, 1, 1, 0, 0]);
    assert_eq!(space.lock_range(AT, 3 * PAGE, false, true), Ok(0));
    assert_eq!(space.lock_range(AT, 4 * PAGE, false, true), Err(Errno::ENOMEM));
    assert_eq!(space.lock_range(AT, 4 * PAGE, false, false), Ok(0));
    assert_eq!(space.madvise(AT, 3 * PAGE, linux::MADV_POPULATE_READ), Ok(0));
    assert_eq!(space.madvise(AT, 4 * PAGE, linux::MADV_POPULATE_READ), Err(Errno::EFAULT));
    assert_eq!(space.shared_files(AT..AT + 5 * PAGE), (vec![], true), "msync has nothing to write");
    assert!(!space.is_shared_foreign(AT));
}

#[test]
fn used_frames_are_cleared_behind_the_end() {
    let (mut space, platform, _) = mapped(3);
    space.mmap(&anon(AT, FRAMES, linux::MAP_FIXED)).unwrap();
    super::soil(&mut space, AT..AT + FRAMES);
    space.munmap(AT, FRAMES).unwrap();
    map(&mut space, AT, 5 * PAGE, 3, 0).unwrap();
    assert!(page_bytes(&space, AT + 2 * PAGE).unwrap()[100..].iter().all(|byte| *byte == 0));
    check_books(&space, platform);
}

#[test]
fn files_that_cannot_be_read_leave_what_was_there() {
    let (mut space, platform, bytes) = mapped(3);
    for (fd, errno) in [(-1, Errno::EBADF), (9, Errno::EACCES)] {
        let request = file(AT, 3 * PAGE, linux::MAP_PRIVATE | linux::MAP_FIXED, fd, 0);
        assert_eq!(space.mmap(&request), Err(errno));
        let huge = file(0, 16 * FRAMES, linux::MAP_PRIVATE, fd, 0);
        assert_eq!(space.mmap(&huge), Err(errno), "before memory is asked for");
    }
    assert_eq!(page_bytes(&space, AT).unwrap(), bytes[..PAGE as usize]);
    check_books(&space, platform);
}

#[test]
fn a_file_larger_than_memory_is_refused_and_a_short_one_is_not() {
    let (mut space, platform) = fresh_reading(file_bytes(FRAMES + 1));
    let all = file(0, 2 * FRAMES, linux::MAP_PRIVATE, 3, 0);
    assert_eq!(space.mmap(&all), Err(Errno::ENOMEM));
    assert_eq!((space.usage().1, space.regions().count(), platform.pages()), (FRAMES, 0, 0));
    assert!(space.mmap(&MapRequest { offset: PAGE, ..all }).is_ok(), "the rest of the file fits");
    check_books(&space, platform);
}

#[test]
fn a_library_is_mapped_over_itself_where_there_is_room_for_it_once() {
    let len = FRAMES - LARGE_PAGE;
    let (mut space, platform) = fresh_reading(file_bytes(len));
    map(&mut space, AT, len, 1, 0).unwrap();
    map(&mut space, AT + PAGE, len - PAGE, 5, PAGE).unwrap();
    check_books(&space, platform);
    assert_eq!(space.usage().1, LARGE_PAGE);
    assert_eq!(page_bytes(&space, AT + len - PAGE).unwrap(), file_bytes(len)[(len - PAGE) as usize..]);
}

#[test]
fn large_pages_are_used() {
    let (mut space, _) = fresh_reading(file_bytes(4 << 20));
    let at = space.mmap(&file(0, 4 << 20, linux::MAP_PRIVATE, 3, 0)).unwrap();
    for large in (at..at + (4 << 20)).step_by(LARGE_PAGE as usize) {
        let run = space.mapped.find(large).unwrap();
        assert!((run.frame + (large - run.virt)).is_multiple_of(LARGE_PAGE) && run.end() >= large + LARGE_PAGE);
    }
}

#[test]
fn memory_out_of_reach_holds_the_file_when_it_is_reached() {
    let (mut space, platform, bytes) = mapped(0);
    assert_eq!(space.mprotect(AT, 5 * PAGE, 3), Ok(0));
    assert_eq!(page_bytes(&space, AT).unwrap(), bytes[..PAGE as usize]);
    check_books(&space, platform);
}

#[test]
fn dontneed_shows_the_file() {
    let (mut space, platform, bytes) = mapped(3);
    space.write_frames(AT, b"x").unwrap();
    space.write_frames(AT + 2 * PAGE + 200, b"behind the end").unwrap();
    space.write_frames(AT + PAGE, b"stays").unwrap();
    assert_eq!(space.madvise(AT, PAGE, linux::MADV_DONTNEED), Ok(0));
    assert_eq!(space.madvise(AT + 2 * PAGE, 3 * PAGE, linux::MADV_DONTNEED), Ok(0));
    assert_eq!(page_bytes(&space, AT).unwrap(), bytes[..PAGE as usize]);
    assert_eq!(page_bytes(&space, AT + PAGE).unwrap()[..5], *b"stays");
    assert!(page_bytes(&space, AT + 2 * PAGE).unwrap()[100..].iter().all(|byte| *byte == 0));
    assert_eq!(space.handle_fault(AT + 3 * PAGE, Access::Read), Fault::Bus);
    assert_eq!(space.madvise(AT, PAGE, linux::MADV_FREE), Err(Errno::EINVAL));
    assert_eq!(space.madvise(AT, PAGE, linux::MADV_WIPEONFORK), Err(Errno::EINVAL));
    assert_eq!(space.madvise(AT, PAGE, linux::MADV_REMOVE), Err(Errno::EACCES));
    check_books(&space, platform);
}

#[test]
fn dontneed_sees_that_the_file_has_changed() {
    let (mut space, platform, _) = mapped(1);
    let longer: Vec<u8> = file_bytes(4 * PAGE + 1).iter().map(|byte| !byte).collect();
    platform.change_file(longer.clone());
    assert_eq!(space.madvise(AT, 5 * PAGE, linux::MADV_DONTNEED), Ok(0));
    check_books(&space, platform);
    for page in 0..4 {
        let at = (page * PAGE) as usize;
        assert_eq!(page_bytes(&space, AT + page * PAGE).unwrap(), longer[at..at + PAGE as usize]);
    }
    assert_eq!(page_bytes(&space, AT + 4 * PAGE).unwrap()[..2], [longer[4 * PAGE as usize], 0]);
    platform.change_file(longer[..PAGE as usize].to_vec());
    assert_eq!(space.madvise(AT, 5 * PAGE, linux::MADV_DONTNEED), Ok(0));
    assert_eq!(space.handle_fault(AT + PAGE, Access::Read), Fault::Bus);
    assert_eq!(space.usage().1, FRAMES - PAGE);
    check_books(&space, platform);
}

#[test]
fn a_file_is_kept_until_nothing_is_left_of_its_mapping() {
    let (mut space, platform, _) = mapped(1);
    let [first] = platform.kept()[..] else { panic!("one mapping") };
    space.munmap(AT + PAGE, PAGE).unwrap();
    let moved = space.mremap(AT + 2 * PAGE, 3 * PAGE, 3 * PAGE, 3, AT + (1 << 20)).unwrap();
    space.munmap(AT, PAGE).unwrap();
    assert_eq!(platform.kept(), [first]);
    map(&mut space, moved, 3 * PAGE, 1, 0).unwrap();
    assert!(platform.kept().len() == 1 && platform.kept() != [first], "another has taken its place");
    space.unmap_all();
    assert!(platform.kept().is_empty());
}

#[test]
fn copies_move_and_grow_beyond_the_end_only() {
    let (mut space, platform, bytes) = mapped(1);
    let moves = linux::MREMAP_MAYMOVE;
    assert_eq!(space.mremap(AT, 0, PAGE, moves, 0), Err(Errno::EINVAL));
    let moved = space.mremap(AT, 5 * PAGE, 9 * PAGE, moves | linux::MREMAP_FIXED, AT + (1 << 20)).unwrap();
    assert_eq!(page_bytes(&space, moved).unwrap(), bytes[..PAGE as usize]);
    assert_eq!(space.handle_fault(moved + 8 * PAGE, Access::Read), Fault::Bus);
    check_books(&space, platform);
    assert_eq!(space.mremap(moved, 9 * PAGE, PAGE, 0, 0), Ok(moved));
    assert_eq!(space.mremap(moved, PAGE, 2 * PAGE, moves, 0), Err(Errno::ENOMEM), "the file had more there");
    check_books(&space, platform);
    space.munmap(moved, PAGE).unwrap();
    assert_eq!(space.usage().1, FRAMES);
}
