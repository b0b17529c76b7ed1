//! Stopping the program (SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU) until SIGCONT.
//!
//! The thread that takes the signal brings the others out of the program, each of which waits here
//! before it goes back, and only then tells the proxy, whose process stops: whoever waits for it sees
//! a program that stands still. When the proxy goes on, so do they.

use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};

use shm_ipc::calls::private;
use spin::Mutex;

use super::thread::{self, current_arc};
use super::wait::{self, Ticket, Wake};
use super::{cores, this_core};
use crate::forward::Request;
use crate::platform;

/// Whether the program is to stand still. Changed under the lock of [`WAITING`].
static STOPPED: AtomicBool = AtomicBool::new(false);

/// Threads that wait for it to go on.
static WAITING: Mutex<Vec<Ticket>> = Mutex::new(Vec::new());

/// Brings all other threads out of the program, for good unless [`STOPPED`] is taken back. `false` when
/// another thread is about it already.
fn bring_out() -> bool {
    {
        let _waiting = WAITING.lock();
        if STOPPED.swap(true, Ordering::SeqCst) {
            return false;
        }
    }
    let own = this_core().index;
    for core in cores().iter().filter(|core| core.index != own) {
        core.attract();
        while core.in_program.load(Ordering::SeqCst) {
            platform::get().relax();
        }
    }
    true
}

/// The program is about to end: no other thread goes on, and all have left their cores, so that their
/// registers can be looked at. Does not return in a thread that comes second.
pub fn halt_others() {
    let me = current_arc();
    if !bring_out() {
        wait::finish(&me.begin_wait(), None, false);
    }
    for thread in thread::all().iter().filter(|thread| thread.tid != me.tid) {
        while thread.is_on_core() {
            platform::get().relax();
        }
    }
}

/// The current thread has taken `signal`: stops the program, and comes back when it goes on.
pub fn stop(signal: u8) {
    if !bring_out() {
        // This one waits on its way to the program.
        return;
    }
    let mut request = Request::kernel(private::STOP);
    request.set(0, u64::from(signal));
    // Stopping can't fail in a way that the program could do anything about.
    let _ = request.run();
    let_go_on();
}

fn let_go_on() {
    let waiting = {
        let mut waiting = WAITING.lock();
        STOPPED.store(false, Ordering::SeqCst);
        core::mem::take(&mut *waiting)
    };
    for ticket in waiting {
        ticket.redeem(Wake::Event);
    }
}

/// No other core is in the program while this is there.
#[derive(Debug)]
pub struct Held(());

impl Drop for Held {
    fn drop(&mut self) {
        let_go_on();
    }
}

/// Brings all other cores out of the program for a moment; `None` when somebody else is about it already.
pub fn hold_others() -> Option<Held> {
    bring_out().then_some(Held(()))
}

/// On the way to the program: waits while that stands still. `true` when it did.
pub fn wait_until_it_goes_on() -> bool {
    if !STOPPED.load(Ordering::SeqCst) {
        return false;
    }
    let thread = current_arc();
    let ticket = thread.begin_wait();
    {
        let mut waiting = WAITING.lock();
        if STOPPED.load(Ordering::SeqCst) {
            waiting.push(ticket.clone());
        } else {
            drop(waiting);
            wait::cancel(&ticket);
            return true;
        }
    }
    wait::finish(&ticket, None, false);
    true
}
