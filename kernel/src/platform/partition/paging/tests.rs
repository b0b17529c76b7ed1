//! The tables against a map of single pages.

use core::ptr::NonNull;
use std::collections::BTreeMap;

use proptest::prelude::*;
use shm_ipc::bare::Run;

use super::*;

/// Bytes of memory for tables.
const BYTES: u64 = 512 * PAGE;
/// Where that memory is physically.
const PHYSICAL: u64 = 0x12_3000;
/// Where mappings go: across the border of a 1 GiB page.
const BASE: u64 = 0x4000_0000 - (4 << 20);
const LARGE: u64 = 2 << 20;

fn tables(bytes: u64) -> Tables {
    let memory: &'static mut [[u64; 512]] =
        Box::leak(vec![[0u64; 512]; (bytes / PAGE) as usize + 1].into_boxed_slice());
    let base = (memory.as_mut_ptr() as u64).next_multiple_of(PAGE);
    // SAFETY: leaked, page aligned, used by nobody else.
    let region = unsafe { Region::new(NonNull::new(base as *mut u8).expect("not null"), bytes) };
    let memory = Physical::new(vec![Run { offset: 0, physical: PHYSICAL, len: bytes }]).expect("one run");
    Tables::new(region, memory, 0, PAGE..bytes)
}

#[derive(Debug, Clone, Copy)]
enum Op {
    Map { page: u64, pages: u64, physical: u64, prot: u32 },
    Unmap { page: u64, pages: u64 },
    Protect { page: u64, pages: u64, prot: u32 },
}

fn op() -> impl Strategy<Value = Op> {
    // Often whole large pages, so that they are made and split.
    let place = || prop_oneof![(0..2048u64, 1..600u64), (0..4u64, 1..3u64).prop_map(|(at, n)| (at * 512, n * 512))];
    let prot = || prop_oneof![Just(0u32), Just(1), Just(3), Just(5)];
    prop_oneof![
        (place(), 0..64u64, prot()).prop_map(|((page, pages), block, prot)| {
            // In phase with large pages, or not.
            let physical = (1 << 32) + block * LARGE + if block % 3 == 0 { PAGE } else { page % 512 * PAGE };
            Op::Map { page, pages, physical, prot }
        }),
        place().prop_map(|(page, pages)| Op::Unmap { page, pages }),
        (place(), prot()).prop_map(|((page, pages), prot)| Op::Protect { page, pages, prot }),
    ]
}

fn at(page: u64) -> u64 {
    BASE + page * PAGE
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_page_is_what_was_said_last(ops in proptest::collection::vec(op(), 1..40)) {
        let mut tables = tables(BYTES);
        let mut model: BTreeMap<u64, (u64, Prot)> = BTreeMap::new();
        for op in ops {
            match op {
                Op::Map { page, pages, physical, prot } => {
                    let prot = Prot::from_bits_truncate(prot);
                    tables.unmap(at(page), pages * PAGE).expect("room");
                    tables.map(at(page), physical, pages * PAGE, prot).expect("room");
                    model.extend((0..pages).map(|i| (page + i, (physical + i * PAGE, prot))));
                }
                Op::Unmap { page, pages } => {
                    let known = tables.unmap(at(page), pages * PAGE).expect("room");
                    let gone: Vec<_> = (page..page + pages).filter_map(|page| model.remove(&page)).collect();
                    prop_assert_eq!(known, gone.iter().any(|(_, prot)| !prot.is_empty()));
                }
                Op::Protect { page, pages, prot } => {
                    let prot = Prot::from_bits_truncate(prot);
                    tables.protect(at(page), pages * PAGE, prot).expect("room");
                    model.range_mut(page..page + pages).for_each(|(_, entry)| entry.1 = prot);
                }
            }
            tables.flushed();
        }
        for page in 0..3000 {
            let found = tables.translate(at(page) + 5).map(|(physical, flags)| (physical - 5, prot_of(flags)));
            prop_assert_eq!(found, model.get(&page).copied(), "page {}", page);
        }
        tables.unmap(at(0), 3000 * PAGE).expect("room");
        tables.flushed();
        prop_assert_eq!(tables.left() as u64, BYTES / PAGE - 1 - RESERVE as u64, "every table came back");
    }
}

#[test]
fn the_largest_pages_are_used() {
    let mut tables = tables(BYTES);
    let before = tables.left();
    tables.map(LARGE, 3 * LARGE, LARGE, Prot::READ).expect("room");
    assert_eq!(before - tables.left(), 2, "no table of small pages");
    tables.map(2 * LARGE, 3 * LARGE + PAGE, LARGE, Prot::READ).expect("room");
    assert_eq!(before - tables.left(), 3, "out of phase");
}

#[test]
fn without_tables_mapping_fails_and_unmapping_does_not() {
    let mut tables = tables((RESERVE as u64 + 4) * PAGE);
    tables.map(LARGE, 3 * LARGE, LARGE, Prot::READ).expect("room");
    assert_eq!(tables.map(1 << 39, 0, PAGE, Prot::READ), Err(Full));
    assert_eq!(tables.unmap(LARGE + PAGE, PAGE), Ok(true), "split from the reserve");
    assert_eq!(tables.translate(LARGE + 2 * PAGE).map(|(physical, _)| physical), Some(3 * LARGE + 2 * PAGE));
    assert_eq!(tables.translate(LARGE + PAGE), None);
}
