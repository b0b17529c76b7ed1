//! The namespace of process numbers, `/proc/self/ns/pid`, of a program on bare cores (pid_namespaces(7)).
//!
//! Linux can't reach into the memory of such a program by the number of its process, though it can the other way
//! round. Libraries of messages take two processes for ones that can where their namespaces of process
//! numbers are the same file (UCX: `ucs_sys_get_ns`). So that of bare cores is another than Linux's, and the
//! same for all cells on them, which do reach each other.

use super::arguments::Arguments;
use super::call::Call;
use super::dispatch;
use super::host::{self, Outcome};
use super::paths;

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
