//! Files in `/proc` that stay open and are read again from their beginning: they say how things are then.
//!
//! What the program was given when it opened them ([`procfs`](super::procfs)) is a file in memory, or a directory
//! with its threads. Before it is read from the beginning the proxy is told what to put there now.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};

use spin::Mutex;

use super::procfs;
use crate::forward::Request;
use crate::sched::thread::current;
use shm_ipc::calls::{Call, private};

const LSEEK: u32 = 8;
const PREAD64: u32 = 17;

/// By descriptor, the path that it was opened by. What was closed since stays until the number is used again: the
/// proxy looks at what the descriptor is.
static OPEN: Mutex<BTreeMap<i32, Vec<u8>>> = Mutex::new(BTreeMap::new());

/// Whether there are any.
static ANY: AtomicBool = AtomicBool::new(false);

/// The descriptor `fd` may be such a file.
pub fn opened(path: &[u8], fd: u64) {
    OPEN.lock().insert(fd as i32, path.to_vec());
    ANY.store(true, Ordering::Relaxed);
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
    // Where that is not possible it stays what it was.
    let _ = request.run();
}
