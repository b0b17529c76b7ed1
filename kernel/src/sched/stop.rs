//! Bringing the program's threads out of it: to stop (SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU) until SIGCONT, to end
//! it, to change its code.
//!
//! The thread that takes the signal brings the others out of the program, each of which waits here
//! before it goes back, and only then tells the proxy, whose process stops: whoever waits for it sees
//! a program that stands still. When the proxy goes on, so do they.

use alloc::vec::Vec;
use core::sync::atomic::{AtomicU8, Ordering};

use shm_ipc::calls::private;
use spin::Mutex;

use super::thread::{self, current_arc};
use super::wait::{self, Ticket, Wake};
use super::{cores, this_core};
use crate::forward::Request;
use crate::platform;

/// Whether the program is to stand still: 0, or a [`Reason`]. Changed under the lock of [`WAITING`].
static STOPPED: AtomicU8 = AtomicU8::new(0);

/// Why it is to stand still.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Reason {
    /// For a moment, while the kernel changes the program's code.
    Held = 1,
    /// Until SIGCONT.
    Signal = 2,
    /// For good.
    End = 3,
}

/// Threads that wait for it to go on.
static WAITING: Mutex<Vec<Ticket>> = Mutex::new(Vec::new());

/// Brings all other threads out of the program, for good unless [`STOPPED`] is taken back. The number of the
/// other's reason when another thread is about it already.
fn bring_out(reason: Reason) -> Result<(), u8> {
    {
        let _waiting = WAITING.lock();
        STOPPED.compare_exchange(0, reason as u8, Ordering::SeqCst, Ordering::SeqCst)?;
    }
    let own = this_core().index;
    for core in cores().iter().filter(|core| core.index != own) {
        core.attract();
        while core.in_program.load(Ordering::SeqCst) {
            platform::get().relax();
        }
    }
    Ok(())
}

/// The program is about to end: no other thread goes on, and all have left their cores, so that their
/// registers can be looked at. Does not return in a thread that comes second.
pub fn halt_others() {
    let me = current_arc();
    while bring_out(Reason::End).is_err() {
        wait_until_it_goes_on();
    }
    for thread in thread::all().iter().filter(|thread| thread.tid != me.tid) {
        while thread.is_on_core() {
            platform::get().relax();
        }
    }
}

/// The current thread has taken `signal`: stops the program, and comes back when it goes on.
pub fn stop(signal: u8) {
    while let Err(reason) = bring_out(Reason::Signal) {
        if reason != Reason::Held as u8 {
            // This one waits on its way to the program.
            return;
        }
        wait_until_it_goes_on();
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
        STOPPED.store(0, Ordering::SeqCst);
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
    bring_out(Reason::Held).ok().map(|()| Held(()))
}

/// The same, and waits for whoever else is about it. The caller has no lock.
pub fn hold_others_for_sure() -> Held {
    loop {
        if let Some(held) = hold_others() {
            return held;
        }
        wait_until_it_goes_on();
    }
}

/// On the way to the program: waits while that stands still. `true` when it did.
pub fn wait_until_it_goes_on() -> bool {
    if STOPPED.load(Ordering::SeqCst) == 0 {
        return false;
    }
    let thread = current_arc();
    let ticket = thread.begin_wait();
    {
        let mut waiting = WAITING.lock();
        if STOPPED.load(Ordering::SeqCst) != 0 {
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
