//! Frames, translation and regions by themselves.

use std::collections::BTreeMap;

use proptest::prelude::*;
use shm_ipc::layout::{LARGE_PAGE, PAGE};

use crate::mm::policy::Policy;
use crate::mm::regions::{Kind, Regions, Vma};
use crate::mm::translation::{Run, Translation};
use crate::mm::{Frames, Stock};
use crate::platform::{Prot, Sharing};

#[test]
fn large_requests_lie_as_their_addresses_do() {
    let mut frames = Frames::new(Stock::small(LARGE_PAGE + PAGE..LARGE_PAGE * 17));
    let taken = frames.allocate(3 * LARGE_PAGE, 5 * PAGE, None).unwrap();
    assert_eq!(taken.len(), 1);
    assert!(taken[0].clean);
    assert_eq!(taken[0].frame % LARGE_PAGE, 5 * PAGE);
}

#[test]
fn small_requests_take_used_frames_first() {
    let mut frames = Frames::new(Stock::small(0..LARGE_PAGE * 4));
    let first = frames.allocate(8 * PAGE, 0, None).unwrap()[0];
    assert!(first.clean);
    frames.free(first.frame, first.len);
    let second = frames.allocate(4 * PAGE, 0, None).unwrap()[0];
    assert!(!second.clean);
    assert!(second.frame >= first.frame && second.end() <= first.end());
}

#[test]
fn what_is_wanted_beside_a_neighbour_goes_there() {
    let mut frames = Frames::new(Stock::small(0..LARGE_PAGE * 4));
    let near = frames.allocate(PAGE, 0, Some(7 * PAGE)).unwrap();
    assert_eq!((near.len(), near[0].frame), (1, 7 * PAGE));
    let taken = frames.allocate(PAGE, 0, Some(7 * PAGE)).unwrap();
    assert_ne!(taken[0].frame, 7 * PAGE);
}

#[test]
fn fragmented_memory_serves_in_pieces() {
    let mut frames = Frames::new(Stock::small(0..64 * PAGE));
    let all = frames.allocate(64 * PAGE, 0, None).unwrap();
    assert_eq!(all.len(), 1);
    for frame in (0..64).step_by(2) {
        frames.free(frame * PAGE, PAGE);
    }
    assert!(frames.allocate(33 * PAGE, 0, None).is_none());
    assert_eq!(frames.allocate(32 * PAGE, 0, None).unwrap().len(), 32);
    assert_eq!(frames.free_bytes(), 0);
}

proptest! {
    #[test]
    fn frames_never_overlap_or_leak(requests in prop::collection::vec((1u64..1200, 0u64..512, any::<bool>(), 0usize..8), 1..40)) {
        let total = 4096;
        let mut frames = Frames::new(Stock::small(0..total * PAGE));
        let mut held: Vec<(u64, u64)> = Vec::new();
        for (pages, virt, release, which) in requests {
            if release && !held.is_empty() {
                let (frame, len) = held.swap_remove(which % held.len());
                frames.free(frame, len);
            } else if let Some(taken) = frames.allocate(pages * PAGE, virt * PAGE, None) {
                prop_assert_eq!(taken.iter().map(|extent| extent.len).sum::<u64>(), pages * PAGE);
                held.extend(taken.iter().map(|extent| (extent.frame, extent.len)));
            } else {
                prop_assert!(frames.free_bytes() < pages * PAGE);
            }
            let free = frames.extents().map(|extent| (extent.frame, extent.len));
            let all: BTreeMap<u64, u64> = free.chain(held.iter().copied()).collect();
            let mut end = 0;
            for (frame, len) in all {
                prop_assert_eq!(frame, end);
                end += len;
            }
            prop_assert_eq!(end, total * PAGE);
        }
    }

    #[test]
    fn gaps_are_free_and_the_highest(taken in prop::collection::vec((0u64..64, 1u64..8), 0..12), pages in 1u64..20, unit in 0u32..5, phase in 0u64..16) {
        let (unit, phase) = (PAGE << unit, phase * PAGE);
        let mut regions = Regions::default();
        for (start, pages) in taken {
            let range = start * PAGE..(start + pages) * PAGE;
            regions.remove(range.clone());
            regions.insert(vma(range.start, range.end, Kind::Heap));
        }
        let window = 3 * PAGE..70 * PAGE;
        let fits = |start: u64| {
            start % unit == phase % unit
                && start >= window.start
                && start + pages * PAGE <= window.end
                && regions.is_free(start..start + pages * PAGE)
        };
        let best = (0..80).rev().map(|page| page * PAGE).find(|start| fits(*start));
        prop_assert_eq!(regions.gap(window.clone(), pages * PAGE, unit, phase), best);
    }
}

fn vma(start: u64, end: u64, kind: Kind) -> Vma {
    Vma { start, end, prot: Prot::READ, kind, policy: Policy::DEFAULT, locked: false }
}

#[test]
fn regions_split_and_merge_where_the_file_goes_on() {
    let file = |offset, id| Kind::File { sharing: Sharing::Private, offset, id };
    let mut regions = Regions::default();
    regions.insert(vma(0, 8 * PAGE, file(PAGE, 1)));
    regions.update(2 * PAGE..4 * PAGE, |vma| vma.prot = Prot::WRITE);
    let parts: Vec<_> = regions.iter().copied().collect();
    assert_eq!(parts.len(), 3);
    assert_eq!(parts[2].kind, file(5 * PAGE, 1));
    regions.update(0..8 * PAGE, |vma| vma.prot = Prot::READ);
    assert_eq!(regions.iter().count(), 1);
    regions.insert(vma(8 * PAGE, 9 * PAGE, file(9 * PAGE, 2)));
    assert_eq!(regions.iter().count(), 2, "another call's mapping is another region");
    assert!(regions.covers(PAGE..9 * PAGE) && !regions.covers(PAGE..10 * PAGE));
}

#[test]
fn translation_joins_and_cuts_runs() {
    let mut table = Translation::default();
    table.insert(Run { virt: 4 * PAGE, frame: 40 * PAGE, len: 2 * PAGE });
    table.insert(Run { virt: 2 * PAGE, frame: 38 * PAGE, len: 2 * PAGE });
    table.insert(Run { virt: 6 * PAGE, frame: 90 * PAGE, len: PAGE });
    assert_eq!(table.runs().count(), 2);
    assert_eq!(table.spans(0..10 * PAGE).first(), Some(&(2 * PAGE..7 * PAGE)));
    assert_eq!(table.spans(0..10 * PAGE).len(), 1);
    assert_eq!(table.frame_beside(&(7 * PAGE..8 * PAGE)), Some(91 * PAGE));
    assert_eq!(table.frame_beside(&(0..2 * PAGE)), Some(36 * PAGE));
    let removed = table.remove(3 * PAGE..5 * PAGE);
    assert_eq!(removed, [Run { virt: 3 * PAGE, frame: 39 * PAGE, len: 2 * PAGE }]);
    assert_eq!(table.holes(0..8 * PAGE), [0..2 * PAGE, 3 * PAGE..5 * PAGE, 7 * PAGE..8 * PAGE]);
    assert_eq!(table.hole_around(4 * PAGE, 0..9 * PAGE), 3 * PAGE..5 * PAGE);
    assert_eq!(table.find(5 * PAGE).unwrap().frame, 41 * PAGE);
}
