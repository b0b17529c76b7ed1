//! Restartable sequences (rseq(2), `include/uapi/linux/rseq.h`).
//!
//! A thread registers a structure in which the kernel keeps the number of the CPU that the
//! thread runs on. A critical section that the thread has entered is abandoned when the thread
//! loses its core, or gets a signal, within it.

use super::core::Core;
use super::thread::Thread;
use crate::abi::{Errno, SysResult};
use crate::mm::user;

const LEN: u64 = 32;
const UNREGISTER: u64 = 1;
const CPU_ID_START: u64 = 0;
const CPU_ID: u64 = 4;
const CS: u64 = 8;
const UNINITIALISED: u32 = u32::MAX;

/// A thread's registration; `at` is 0 when there is none.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rseq {
    at: u64,
    signature: u32,
    /// Another thread has had the core since: the structure is out of date.
    moved: bool,
}

/// rseq(2).
///
/// # Errors
/// As the manual has them.
pub fn register(thread: &Thread, core: &Core, args: [u64; 6]) -> SysResult {
    let [at, len, flags, signature, ..] = args;
    let now = thread.own.rseq.get();
    if flags == UNREGISTER {
        if now.at == 0 || now.at != at || len != LEN {
            return Err(Errno::EINVAL);
        }
        if now.signature != signature as u32 {
            return Err(Errno::EPERM);
        }
        thread.own.rseq.set(Rseq::default());
        user::write(at + CPU_ID_START, &0u32)?;
        user::write(at + CPU_ID, &UNINITIALISED)?;
        return Ok(0);
    }
    if flags != 0 {
        return Err(Errno::EINVAL);
    }
    if now.at != 0 {
        let same = now.at == at && now.signature == signature as u32 && len == LEN;
        return Err(if same { Errno::EBUSY } else { Errno::EINVAL });
    }
    if len != LEN || !at.is_multiple_of(LEN) {
        return Err(Errno::EINVAL);
    }
    user::write(at + CPU_ID_START, &core.cpu)?;
    user::write(at + CPU_ID, &core.cpu)?;
    thread.own.rseq.set(Rseq { at, signature: signature as u32, moved: false });
    Ok(0)
}

/// The thread has got a core after another thread had it.
pub(super) fn arrived(thread: &Thread, _core: &Core) {
    let now = thread.own.rseq.get();
    if now.at != 0 {
        thread.own.rseq.set(Rseq { moved: true, ..now });
    }
}

/// A signal is about to be delivered: a critical section counts as left.
pub(super) fn signalled(thread: &Thread) {
    let now = thread.own.rseq.get();
    if now.at != 0 {
        thread.own.rseq.set(Rseq { moved: true, ..now });
    }
}

/// On the way to the program: brings the structure up to date and abandons a critical section.
///
/// # Errors
/// When the structure is not accessible or malformed; Linux then sends SIGSEGV.
pub fn update(thread: &Thread, core: &Core) -> Result<(), Errno> {
    let now = thread.own.rseq.get();
    if !now.moved {
        return Ok(());
    }
    thread.own.rseq.set(Rseq { moved: false, ..now });
    user::write(now.at + CPU_ID_START, &core.cpu)?;
    user::write(now.at + CPU_ID, &core.cpu)?;
    let section: u64 = user::read(now.at + CS)?;
    if section != 0 {
        abandon(thread, now, section)?;
    }
    Ok(())
}

fn abandon(thread: &Thread, rseq: Rseq, section: u64) -> Result<(), Errno> {
    // struct rseq_cs: version, flags, start_ip, post_commit_offset, abort_ip.
    let [_, start, length, abort]: [u64; 4] = user::read(section)?;
    let frame = thread.frame();
    // SAFETY: the thread's own registers, on its own way out of the kernel.
    let rip = unsafe { (*frame).rip };
    if rip.wrapping_sub(start) < length {
        let signature: u32 = user::read(abort.wrapping_sub(4))?;
        if signature != rseq.signature {
            return Err(Errno::EINVAL);
        }
        // SAFETY: as above.
        unsafe { (*frame).rip = abort };
    }
    user::write(rseq.at + CS, &0u64)
}
