//! Memory that another program is about to reach (process_vm_readv(2)), and that is filled when it is touched.
//!
//! To whoever copies, it is not there before, and nobody but this kernel can fill it. The request
//! comes by a ring, which may be looked at with locks held, so it waits here until the core has none.

use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};

use shm_ipc::ring::Fill;
use spin::Mutex;

use super::Access;
use crate::boot;
use crate::sched::core::{Core, pending};

/// The proxy asks for one at a time: more are none of its.
const MOST: usize = 16;

static ASKED: Mutex<Vec<Fill>> = Mutex::new(Vec::new());
static ANY: AtomicBool = AtomicBool::new(false);

/// A request has come to `core`, which sees to it when it next looks.
pub fn note(core: &Core, fill: Fill) {
    let mut asked = ASKED.lock();
    if asked.len() < MOST {
        asked.push(fill);
    }
    ANY.store(true, Ordering::Release);
    core.pending.fetch_or(pending::LOOK, Ordering::SeqCst);
}

/// Fills what was asked for, as far as the program could touch it itself. No lock is held.
pub fn serve() {
    if !ANY.load(Ordering::Relaxed) || !ANY.swap(false, Ordering::Acquire) {
        return;
    }
    let asked = core::mem::take(&mut *ASKED.lock());
    for Fill { at, len, write } in asked {
        let access = if write { Access::Write } else { Access::Read };
        super::space().pieces(at, len, access, &mut Vec::new());
        boot::control().count_fill();
    }
}
