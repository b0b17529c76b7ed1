//! Files in `/proc` that stay open and are read again from their beginning: they say how things are then.
//!
//! What the program was given when it opened them ([`procfs`](super::procfs)) is a file in memory, or a directory
//! with its threads. Before it is read from the beginning the proxy is told what to put there now.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};

use spin::Mutex;

use super::procfs;
use crate::abi::Errno;
use crate::forward::Request;
use crate::sched::thread::current;
use shm_ipc::calls::{Call, private};

const LSEEK: u32 = 8;
const PREAD64: u32 = 17;

/// By descriptor, the path that it was opened by. What was closed since stays until the proxy says that the
/// descriptor is something else by now.
static OPEN: Mutex<BTreeMap<i32, Vec<u8>>> = Mutex::new(BTreeMap::new());

/// Whether there are any.
static ANY: AtomicBool = AtomicBool::new(false);

/// The descriptor `fd` may be such a file.
pub fn opened(path: &[u8], fd: u64) {
    OPEN.lock().insert(fd as i32, path.to_vec());
    ANY.store(true, Ordering::Relaxed);
}

/// A call that the program has made gave it the descriptor `new`, which may be a copy of such a file's.
pub fn duplicated(row: &'static Call, args: [u64; 6], new: u64) {
    const DUP: [u32; 3] = [32, 33, 292];
    const FCNTL: u32 = 72;
    const F_DUPFD: u32 = 0;
    const F_DUPFD_CLOEXEC: u32 = 1030;
    let by_fcntl = row.nr == FCNTL && matches!(args[1] as u32, F_DUPFD | F_DUPFD_CLOEXEC);
    if !(by_fcntl || DUP.contains(&row.nr)) || !ANY.load(Ordering::Relaxed) {
        return;
    }
    let mut open = OPEN.lock();
    if let Some(path) = open.get(&(args[0] as i32)).cloned() {
        open.insert(new as i32, path);
    }
}

/// The program makes this call.
pub fn before(row: &'static Call, args: [u64; 6]) {
    let [fd, second, whence, offset, ..] = args;
    let is_from_beginning = match row.nr {
        LSEEK => second == 0 && whence as u32 == 0,
        PREAD64 => offset == 0,
        _ => false,
    };
    if !is_from_beginning || !ANY.load(Ordering::Relaxed) || current().lent.to().is_some() {
        return;
    }
    let path = OPEN.lock().get(&(fd as i32)).cloned();
    let Some(content) = path.and_then(|path| procfs::answer(&path)) else { return };
    let mut request = Request::kernel(private::RENEW);
    request.set(0, fd);
    request.kernel_buffer(private::OWN_PROC, content);
    // Where it is not possible for another reason it stays what it was.
    if request.run().result == Err(Errno::ENOENT) {
        OPEN.lock().remove(&(fd as i32));
    }
}
