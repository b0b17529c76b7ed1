//! Resource limits (getrlimit(2)): the proxy knows them, the kernel keeps those of memory.

use crate::abi::{Errno, linux};
use crate::forward::Request;
use crate::sched::thread::current;
use crate::{boot, mm};

const SETRLIMIT: u32 = 160;
const PRLIMIT64: u32 = 302;

/// The soft limit in force.
///
/// # Errors
/// `EINVAL` when there is no such resource.
pub fn soft(resource: u32) -> Result<u64, Errno> {
    const GETRLIMIT: u32 = 97;
    let mut request = Request::kernel(GETRLIMIT);
    request.set(0, resource.into());
    request.kernel_buffer(1, alloc::vec![0xff; 16]);
    request.run().result?;
    let soft = request.kernel_bytes(0).first_chunk().copied();
    soft.map(u64::from_ne_bytes).ok_or(Errno::EIO)
}

/// The program has set a limit, by the call `nr` if that is one that does.
pub fn changed(nr: u32, args: [u64; 6]) {
    let (pid, resource, new) = match nr {
        SETRLIMIT => (0, args[0] as u32, args[1]),
        PRLIMIT64 => (args[0] as u32, args[1] as u32, args[2]),
        _ => return,
    };
    let is_own = (pid == 0 || pid == boot::facts().info.pid as u32) && current().lent.to().is_none();
    let is_kept = matches!(resource, linux::RLIMIT_AS | linux::RLIMIT_DATA);
    if is_own
        && is_kept
        && new != 0
        && let Ok(bytes) = soft(resource)
    {
        mm::space().set_limit(resource, bytes);
    }
}
