//! Other cores forget what they know of page tables that have changed.
//!
//! The core that has changed them asks all others and waits until each has answered. They answer
//! on the interrupt, which is not maskable: wherever they are, also in the kernel with locks held.
//! Only one core asks at a time: whoever holds the lock of the address space.

use core::sync::atomic::{AtomicU64, Ordering};

use alloc::vec::Vec;
use shm_ipc::reasons;
use spin::Once;
use x86_64::VirtAddr;
use x86_64::instructions::tlb;

use super::partition;

/// Pages that are forgotten one by one; for more, everything is.
const FEW: u64 = 32;
const PAGE: u64 = shm_ipc::layout::PAGE;

/// What to forget, and how often that has been asked for.
static START: AtomicU64 = AtomicU64::new(0);
static END: AtomicU64 = AtomicU64::new(0);
static ASKED: AtomicU64 = AtomicU64::new(0);

/// How many requests each core has answered: the number of the last one.
static ANSWERED: Once<Vec<AtomicU64>> = Once::new();

/// Boot: for so many cores, which know nothing yet.
pub fn prepare(cores: u32) {
    ANSWERED.call_once(|| (0..cores).map(|_| AtomicU64::new(0)).collect());
}

fn forget(start: u64, end: u64) {
    if (end - start) / PAGE > FEW {
        tlb::flush_all();
        return;
    }
    let mut at = start;
    while at < end {
        tlb::flush(VirtAddr::new_truncate(at));
        at += PAGE;
    }
}

/// All cores forget what they know of the range. With the lock of the address space held.
pub fn all(own: u32, start: u64, end: u64) {
    forget(start, end);
    let Some(answered) = ANSWERED.get().filter(|answered| answered.len() > 1) else { return };
    START.store(start, Ordering::Relaxed);
    END.store(end, Ordering::Relaxed);
    let number = ASKED.fetch_add(1, Ordering::SeqCst) + 1;
    answered[own as usize].store(number, Ordering::SeqCst);
    let others = || (0..answered.len()).filter(|index| *index != own as usize);
    for index in others() {
        partition().call(index as u32, reasons::TABLES);
    }
    for index in others() {
        while answered[index].load(Ordering::SeqCst) < number {
            core::hint::spin_loop();
        }
    }
}

/// The core with this index, in its handler, answers if it has been asked.
pub fn answer(own: u32) {
    let Some(mine) = ANSWERED.get().and_then(|answered| answered.get(own as usize)) else { return };
    let number = ASKED.load(Ordering::SeqCst);
    if mine.load(Ordering::Relaxed) < number {
        forget(START.load(Ordering::Relaxed), END.load(Ordering::Relaxed));
        mine.store(number, Ordering::SeqCst);
    }
}
