//! A rank of Open MPI that nobody has launched.
//!
//! Open MPI starts a daemon by fork(2) for such a rank, which a cell has not, unless a parameter says that the rank
//! stays alone: `ess_singleton_isolated` (its `orte/mca/ess/singleton`). Parameters come from the environment, which is
//! the program's, and from files, which the library reads when it begins (`opal/mca/base/mca_base_var.c`). So once
//! the library is loaded, by whatever program and however late, it finds the parameter in the node's file. Whoever
//! says otherwise in the environment or in a file of their own is left their way: both come before the node's.

use std::ffi::CStr;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

use super::host::{self, Errno, Outcome};
use super::procfs;

/// The part of the library that has the daemon.
const LIBRARY: &[u8] = b"libopen-rte.so";

/// The node's parameters, in a directory that the library was built for.
const PARAMETERS: &[u8] = b"openmpi-mca-params.conf";

const ISOLATED: &[u8] = b"# Said by tacet: a cell can't fork a daemon.\ness_singleton_isolated = 1\n";

/// A program that may be such a rank.
#[derive(Debug, Default)]
pub struct Unlaunched {
    has_library: AtomicBool,
}

impl Unlaunched {
    /// What the program gets for `opened`, the outcome of opening `path` with `flags`.
    pub fn opened(&self, path: &CStr, flags: i32, opened: Outcome) -> Outcome {
        let name = path.to_bytes().rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        if name.starts_with(LIBRARY) && opened.is_ok() {
            self.has_library.store(true, Ordering::Relaxed);
        }
        let only_reads = flags & (libc::O_ACCMODE | libc::O_PATH | libc::O_CREAT | libc::O_DIRECTORY) == libc::O_RDONLY;
        if name != PARAMETERS || !only_reads || !self.has_library.load(Ordering::Relaxed) {
            return opened;
        }
        match opened {
            Ok(fd) => extend(fd, flags),
            // A node without parameters.
            Err(Errno(libc::ENOENT)) => extend(host::open_empty()?, flags),
            Err(errno) => Err(errno),
        }
    }
}

/// Puts the parameter before those of the file `fd`: what is said later holds.
fn extend(fd: i64, flags: i32) -> Outcome {
    let others = fs::read(format!("/proc/self/fd/{fd}")).unwrap_or_default();
    procfs::put_in_place(fd, flags & libc::O_CLOEXEC, PARAMETERS, &[ISOLATED, &others].concat())?;
    Ok(fd)
}
