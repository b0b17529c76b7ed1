//! What a core does when it has nothing to run.

use core::sync::atomic::Ordering;

use shm_ipc::control::Cause;
use shm_ipc::doorbell::Attention;

use super::core::{Core, pending, this_core};
use super::{signal, switch, timer};
use crate::{forward, mm, platform};

/// The idle loop: polls, for as long as it pays, then sleeps until something comes.
pub extern "C" fn run() -> ! {
    switch::arrive_first();
    let core = this_core();
    loop {
        core.idling.store(true, Ordering::SeqCst);
        wait_for_work(core);
        core.idling.store(false, Ordering::SeqCst);
        switch::reschedule();
    }
}

/// Whether there is something to run or to act on. Acts on completions, deadlines, signals.
fn look(core: &Core) -> bool {
    if core.pending.swap(0, Ordering::SeqCst) & pending::TIMER != 0 {
        timer::fired(core);
    }
    forward::poll(core);
    mm::asked::serve();
    timer::expire(core);
    signal::drain_inbox(core);
    switch::has_work(core)
}

fn wait_for_work(core: &Core) {
    let host = platform::get();
    let spin = crate::boot::spin_ns();
    loop {
        let until = host.monotonic() + spin;
        loop {
            if look(core) {
                return;
            }
            if spin == 0 || host.monotonic() >= until {
                break;
            }
            host.relax();
        }
        core.block.bell.announce(Attention::Asleep);
        if look(core) {
            core.block.bell.polling();
            return;
        }
        core.count(Cause::Sleep);
        host.sleep(core.index, timer::next(core));
        core.stretch.begin(core.index);
        timer::forgotten(core);
        core.block.bell.polling();
    }
}
