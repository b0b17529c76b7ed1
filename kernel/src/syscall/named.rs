//! What is not supported is named, once each, on stderr.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use alloc::format;

use shm_ipc::boot::FLAG_NAME_UNSUPPORTED;
use shm_ipc::calls::Call;

use crate::{boot, forward};

/// Something that the program asked for and does not get.
#[derive(Debug, Clone, Copy)]
pub enum What {
    /// A system call.
    Call(&'static Call),
    /// The 32-bit entry.
    Entry32,
    /// An ioctl request.
    Ioctl(u64),
    /// An option of prctl(2).
    Prctl(u64),
    /// clone(2) without the flags of a thread, or of a child as of vfork(2).
    Process,
    /// execve(2) when the first thread has ended.
    LateExec,
    /// A file mapped by a child of vfork.
    ChildMaps,
    /// Root wants to be somebody else.
    OtherUser,
}

static CALLS: [AtomicU64; 8] = [const { AtomicU64::new(0) }; 8];
static OTHERS: [AtomicBool; 7] = [const { AtomicBool::new(false) }; 7];

/// Whether this is the first time.
fn first(what: What) -> bool {
    let other = |index: usize| !OTHERS[index].swap(true, Ordering::Relaxed);
    match what {
        What::Call(call) => {
            let bit = 1 << (call.nr % 64);
            let word = &CALLS[call.nr as usize / 64 % CALLS.len()];
            word.fetch_or(bit, Ordering::Relaxed) & bit == 0
        }
        What::Entry32 => other(0),
        What::Ioctl(_) => other(1),
        What::Prctl(_) => other(2),
        What::Process => other(3),
        What::LateExec => other(4),
        What::ChildMaps => other(5),
        What::OtherUser => other(6),
    }
}

/// Names it, unless that has been done or is switched off.
pub fn once(what: What) {
    if !first(what) || boot::facts().info.flags & FLAG_NAME_UNSUPPORTED == 0 {
        return;
    }
    let text = match what {
        What::Call(call) => {
            let note = if call.note.is_empty() { "" } else { "; " };
            format!(
                "the program called {} (system call {}), which is not supported: it got ENOSYS{note}{}",
                call.name, call.nr, call.note
            )
        }
        What::Entry32 => {
            "the program used int 0x80, the 32-bit system call entry, which is not supported: it got ENOSYS".into()
        }
        What::Ioctl(request) => {
            format!("the program used ioctl request {request:#x}, which is not known: it got ENOTTY")
        }
        What::Prctl(option) => format!("the program used prctl option {option}, which is not supported: it got EINVAL"),
        What::Process => {
            "the program asked for a copy of itself (fork, or clone other than for threads and vfork), which is \
             not supported: it got ENOSYS; what uses posix_spawn, system or popen works"
                .into()
        }
        What::LateExec => "the program called execve when its first thread had ended, which is not supported: it got \
                           ENOSYS; let the first thread wait for the others"
            .into(),
        What::ChildMaps => {
            "a child of vfork mapped a file before it executed anything, which is not supported: it got ENOSYS".into()
        }
        What::OtherUser => "the program wanted to become another user, which is not supported: it got EPERM; start \
                            tacet as that user"
            .into(),
    };
    forward::notice(&text);
}
