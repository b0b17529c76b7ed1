//! Names of threads, written through `/proc/self/task/<number>/comm` (pthread_setname_np(3)).
//!
//! To Linux these are threads of the cell's process, if any: what is written there never comes to the
//! program's. So the kernel remembers which descriptor of the program's is such a file, and takes what is
//! written to it.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, Ordering};

use spin::Mutex;

use crate::abi::SysResult;
use crate::boot;
use crate::mm::user;
use crate::sched::current;
use crate::sched::thread::{self, Thread};
use shm_ipc::calls::Call;

const WRITE: u32 = 1;
const CLOSE: u32 = 3;
const DUP2: u32 = 33;
const DUP3: u32 = 292;
const CLOSE_RANGE: u32 = 436;

/// Longest name, with its end (`TASK_COMM_LEN`).
const NAME: usize = 16;

static OPEN: Mutex<BTreeMap<i32, Arc<Thread>>> = Mutex::new(BTreeMap::new());

/// Whether there are any: hardly a program names threads in this way.
static ANY: AtomicBool = AtomicBool::new(false);

/// The descriptor `fd` has been opened for writing under `path`.
pub fn opened(path: &[u8], fd: u64) {
    if let Some(thread) = named_by(path) {
        OPEN.lock().insert(fd as i32, thread);
        ANY.store(true, Ordering::SeqCst);
    }
}

/// The thread whose name a path is.
fn named_by(path: &[u8]) -> Option<Arc<Thread>> {
    let mut names = path.split(|byte| *byte == b'/').filter(|name| !name.is_empty() && *name != b".");
    let number = |name: &[u8]| core::str::from_utf8(name).ok().and_then(|name| name.parse::<u32>().ok());
    let is_own = |name: &[u8]| name == b"self" || number(name).map(u64::from) == Some(boot::facts().info.pid);
    if !path.starts_with(b"/") || names.next() != Some(b"proc") {
        return None;
    }
    let tid = match (names.next()?, names.next()?, names.next(), names.next(), names.next()) {
        (b"thread-self", b"comm", None, ..) => current().tid,
        (own, b"comm", None, ..) if is_own(own) => boot::facts().info.pid as u32,
        (own, b"task", Some(tid), Some(b"comm"), None) if is_own(own) => number(tid)?,
        _ => return None,
    };
    thread::find(tid)
}

/// Answers a call if it is about such a file; `None`: Linux is to answer it.
pub fn intercept(row: &'static Call, args: [u64; 6]) -> Option<SysResult> {
    if !ANY.load(Ordering::Relaxed) || current().lent.to().is_some() {
        return None;
    }
    match row.nr {
        WRITE => {
            let thread = OPEN.lock().get(&(args[0] as i32)).cloned()?;
            Some(rename(&thread, args[1], args[2]))
        }
        CLOSE | CLOSE_RANGE | DUP2 | DUP3 => {
            let gone = match row.nr {
                CLOSE => args[0]..=args[0],
                CLOSE_RANGE => args[0]..=args[1],
                _ => args[1]..=args[1],
            };
            OPEN.lock().retain(|fd, _| !gone.contains(&(*fd as u64)));
            None
        }
        _ => None,
    }
}

/// The program is replaced: its files of this kind are Linux's again.
pub fn forget_all() {
    OPEN.lock().clear();
}

/// `comm_write` in fs/proc/base.c: what is too long is cut, and taken all the same.
fn rename(thread: &Thread, at: u64, len: u64) -> SysResult {
    let mut name = [0; NAME];
    let taken = (len as usize).min(NAME - 1);
    user::copy_in(&mut name[..taken], at)?;
    *thread.name.lock() = name;
    Ok(len)
}
