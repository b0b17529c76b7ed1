//! What UCX, by which MPICH and Open MPI send, goes by on bare cores.
//!
//! Linux can't reach into the memory of a program there by the number of its process, though it can the other way
//! round. UCX takes two processes for ones that can where their namespaces of process numbers are the same
//! file, `/proc/self/ns/pid` (`ucs_sys_get_ns`, pid_namespaces(7)). So that of bare cores is another than Linux's, and
//! the same for all cells on them, which do reach each other.
//!
//! Where it finds that they can't, it adds TCP to shared memory for long messages; and MPICH (4.0.2 with UCX 1.13,
//! natively too: `UCX_TLS=posix,sysv,tcp,self` hangs one in four runs) waits for ever at its end when one rank has
//! closed its connections before the other's have come about. So where all ranks of a job are on this node, the
//! file that UCX reads first says that there is no TCP. Whoever says otherwise, there, in a file of their own or in
//! the environment, is left their way.

use std::ffi::CStr;
use std::fs;

use super::arguments::Arguments;
use super::call::Call;
use super::dispatch;
use super::host::{self, Errno, Outcome};
use super::{paths, procfs};

/// What sets the inode apart from all that Linux gives away, which count up from 0xf0000000 (`PROC_DYNAMIC_FIRST`)
/// or are fixed and just below.
const BARE: u64 = 1 << 30;

/// Whether the path in argument `at` leads to the file.
fn is_meant(call: &Call<'_, '_>, at: usize) -> bool {
    call.service.cell.bare.is_some()
        && Arguments::new(call).is_ok_and(|arguments| {
            arguments.text(at).and_then(|path| paths::own_proc(path, call.service.cell.child)).as_deref()
                == Some(b"ns/pid")
        })
}

/// stat, newfstatat and statx.
pub fn status(call: &mut Call<'_, '_>) -> Outcome {
    let nr = i64::from(call.nr);
    let (path, flags, buffer, inode_at) = match nr {
        libc::SYS_stat => (0, 0, 1, host::INO_AT),
        libc::SYS_newfstatat => (1, call.int(3), 2, host::INO_AT),
        _ => (1, call.int(2), 4, std::mem::offset_of!(libc::statx, stx_ino)),
    };
    let is_meant = flags & libc::AT_SYMLINK_NOFOLLOW == 0 && is_meant(call, path);
    let result = dispatch::by_table(call, nr)?;
    if is_meant {
        let file = call.copy_in(buffer, (inode_at + 8) as u64)?;
        let inode = host::u64_at(&file, inode_at) ^ BARE;
        call.copy_out(buffer, inode_at as u64, &inode.to_ne_bytes())?;
    }
    Ok(result)
}

/// What readlink(2) of the path in argument `at` says, if it is the file: `pid:[4026531836]`, with the inode.
pub fn target(call: &Call<'_, '_>, at: usize) -> Option<String> {
    if !is_meant(call, at) {
        return None;
    }
    let linux = std::fs::read_link(format!("/proc/{}/ns/pid", call.service.cell.child)).ok()?;
    let inode: u64 = linux.to_str()?.strip_prefix("pid:[")?.strip_suffix(']')?.parse().ok()?;
    Some(format!("pid:[{}]", inode ^ BARE))
}

const CONFIGURATION: &[u8] = b"/etc/ucx/ucx.conf";

/// The setting that says by what UCX may send.
const TRANSPORTS: &str = "UCX_TLS";

const NO_TCP: &[u8] = b"# Said by tacet: all ranks are on this node.\nUCX_TLS=^tcp\n";

/// What the program gets for `opened`, the outcome of opening `path` with `flags`.
pub fn opened(call: &Call<'_, '_>, path: &CStr, flags: i32, opened: Outcome) -> Outcome {
    let only_reads = flags & (libc::O_ACCMODE | libc::O_PATH | libc::O_CREAT | libc::O_DIRECTORY) == libc::O_RDONLY;
    if !call.service.cell.has_whole_job || path.to_bytes() != CONFIGURATION || !only_reads {
        return opened;
    }
    let fd = match opened {
        // A node without configuration.
        Err(Errno(libc::ENOENT)) => host::open_empty()?,
        other => other?,
    };
    let own = fs::read_to_string(format!("/proc/self/fd/{fd}")).unwrap_or_default();
    if !own.lines().any(|line| line.trim_start().starts_with(TRANSPORTS)) {
        procfs::put_in_place(fd, flags & libc::O_CLOEXEC, b"ucx.conf", &[NO_TCP, own.as_bytes()].concat())?;
    }
    Ok(fd)
}
