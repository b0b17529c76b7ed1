//! From one thread to the next.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use shm_ipc::control::Cause;

use super::core::{Core, cores, this_core};
use super::thread::{Thread, current, current_arc};
use super::timer;
use super::wait::Wake;
use crate::{arch, entry, platform};

/// Makes `thread`, whose wait is over, runnable: on an idle core if there is one that it may use, else on
/// its own.
pub fn make_runnable(thread: &Arc<Thread>) {
    let core = place(thread);
    core.enqueue_woken(Arc::clone(thread));
    if core::ptr::eq(core, this_core()) {
        timer::woken(core);
    } else {
        core.attract();
    }
}

fn may_run_on(thread: &Thread, core: &Core) -> bool {
    thread.affinity.lock().contains(core.cpu)
}

/// The core for a thread that has become runnable. A thread whose kernel stack a core still
/// stands on stays with that core, which is about to leave it.
fn place(thread: &Arc<Thread>) -> &'static Core {
    let own = &cores()[thread.core.load(Ordering::SeqCst) as usize];
    if thread.is_on_core() {
        return own;
    }
    let own_fits = may_run_on(thread, own);
    let free = |core: &Core| core.idling.load(Ordering::SeqCst) && core.queue_is_empty();
    if own_fits && free(own) {
        return own;
    }
    let fitting = || cores().iter().filter(|core| may_run_on(thread, core));
    let chosen = fitting().find(|core| free(core)).or(own_fits.then_some(own));
    let chosen = chosen.or_else(|| fitting().min_by_key(|core| core.queue_len())).unwrap_or(own);
    thread.core.store(chosen.index, Ordering::SeqCst);
    chosen
}

/// Chooses the core for a new thread: a free one, else the one with the shortest queue.
pub fn place_new(thread: &Arc<Thread>) {
    let fitting = cores().iter().filter(|core| may_run_on(thread, core));
    let load = |core: &&Core| core.queue_len() + u32::from(!core.idling.load(Ordering::SeqCst));
    if let Some(core) = fitting.min_by_key(load) {
        thread.core.store(core.index, Ordering::SeqCst);
    }
}

/// A runnable thread for this core: from its own queue, else from another's.
fn next_thread(core: &Core) -> Option<Arc<Thread>> {
    while let Some(own) = core.dequeue(|thread| may_run_on(thread, core) || !thread.is_on_core()) {
        if may_run_on(&own, core) {
            return Some(own);
        }
        // Its affinity has changed while it stood here, and the core that it may use does not
        // come for it as long as it is busy.
        make_runnable(&own);
    }
    others(core).find_map(|other| other.dequeue(|thread| may_take(thread, core)))
}

fn others(core: &Core) -> impl Iterator<Item = &'static Core> {
    let own = core.index;
    cores().iter().filter(move |other| other.index != own)
}

fn may_take(thread: &Thread, core: &Core) -> bool {
    !thread.is_on_core() && may_run_on(thread, core)
}

/// Whether [`reschedule`] would find something to run here.
pub(super) fn has_work(core: &Core) -> bool {
    !core.queue_is_empty() || others(core).any(|other| other.any_queued(|thread| may_take(thread, core)))
}

/// Gives the core to the next runnable thread, or to the idle loop. Returns when the current
/// thread has the core (or another core) again. The current thread must be in a queue, have
/// begun to wait, or be dead.
pub fn reschedule() {
    let core = this_core();
    let next = next_thread(core).unwrap_or_else(|| Arc::clone(core.idle_thread()));
    if !core::ptr::eq(Arc::as_ptr(&next), current()) {
        switch_to(core, next);
    }
}

/// Lets other runnable threads of this core run first.
pub fn yield_now() {
    let core = this_core();
    if let Some(next) = next_thread(core) {
        core.enqueue(current_arc());
        switch_to(core, next);
    }
}

fn switch_to(core: &'static Core, next: Arc<Thread>) {
    let me = current();
    assert!(me.stack_is_intact(), "kernel stack of thread {} has overflowed", me.tid);
    if !me.is_idle() {
        me.vector.complete();
        me.own.bases.set(platform::get().segment_bases());
    }
    core.stretch.end(core.index, me);
    next.core.store(core.index, Ordering::SeqCst);
    next.set_on_core(true);
    let load = next.stack_pointer().load(Ordering::SeqCst);
    let previous = core.set_running(next);
    core.set_previous(previous);
    core.count(Cause::Switch);
    // SAFETY: `next` was runnable, so its stack pointer was kept by a switch or prepared, and
    // having come out of a queue it is no one else's. `me` stays valid: `previous` holds it
    // until `arrive` runs on the other stack.
    unsafe { arch::switch(me.stack_pointer().as_ptr(), load) };
    arrive();
}

/// First thing after a switch, on the stack that was switched to.
fn arrive() {
    let core = this_core();
    if let Some(previous) = core.take_previous() {
        // From here on another core may take it.
        previous.set_on_core(false);
        for ticket in core.take_deferred() {
            ticket.redeem(Wake::Event);
        }
    }
    let me = current();
    if !me.is_idle() {
        let bases = me.own.bases.get();
        if platform::get().segment_bases() != bases {
            platform::get().set_segment_bases(bases.0, bases.1);
        }
        super::rseq::arrived(me, core);
    }
}

/// Where a new thread of the program begins.
pub extern "C" fn start_user() -> ! {
    arrive();
    entry::leave()
}

/// Where the first thread begins: as [`start_user`], but in the kernel.
pub fn arrive_first() {
    arrive();
}

/// A core's way into the scheduler, once, from its boot stack.
pub fn start_core(core: &'static Core, first: Option<Arc<Thread>>) -> ! {
    // Made now in any case: later the program may have taken all memory.
    let idle = core.idle_thread();
    let first = first.unwrap_or_else(|| Arc::clone(idle));
    first.core.store(core.index, Ordering::SeqCst);
    first.set_on_core(true);
    core.stretch.begin(core.index);
    let load = first.stack_pointer().load(Ordering::SeqCst);
    core.set_running(first);
    let mut discarded = 0;
    // SAFETY: the stack was prepared and nobody runs on it. The boot stack is left for good.
    unsafe { arch::switch(&raw mut discarded, load) };
    unreachable!("nobody switches back to a boot stack");
}

/// The current thread, which is retired, gives its core away.
pub fn leave_for_good() -> ! {
    reschedule();
    unreachable!("a dead thread was made runnable");
}

/// Makes a new thread runnable on the core that was chosen for it.
pub fn start_on(core: &'static Core, thread: Arc<Thread>) {
    core.enqueue(thread);
    if !core::ptr::eq(core, this_core()) {
        core.attract();
    }
}

/// The current thread goes to a core that it may use, if it is not on one; returns there.
pub fn migrate() {
    let thread = current_arc();
    while !may_run_on(&thread, this_core()) {
        // Its next core is chosen when the wait ends, and that is possible only once this core
        // does not stand on its stack any more.
        let ticket = thread.begin_wait();
        this_core().defer(ticket.clone());
        super::wait::finish(&ticket, None, false);
    }
}
