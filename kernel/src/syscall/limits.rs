//! Resource limits (getrlimit(2)): the proxy knows them, the kernel keeps to those of memory, and on bare
//! cores to that of CPU time.

use crate::abi::{Errno, linux};
use crate::forward::Request;
use crate::sched::posix_timer;
use crate::sched::thread::current;
use crate::{boot, mm};
use shm_ipc::boot::BootInfo;

const SETRLIMIT: u32 = 160;
const PRLIMIT64: u32 = 302;

/// The soft limit in force.
///
/// # Errors
/// `EINVAL` when there is no such resource.
pub fn soft(resource: u32) -> Result<u64, Errno> {
    both(resource).map(|[soft, _]| soft)
}

/// Soft and hard limit.
fn both(resource: u32) -> Result<[u64; 2], Errno> {
    const GETRLIMIT: u32 = 97;
    let mut request = Request::kernel(GETRLIMIT);
    request.set(0, resource.into());
    request.kernel_buffer(1, alloc::vec![0xff; 16]);
    request.run().result?;
    let mut words = request.kernel_bytes(0).chunks_exact(8).filter_map(|word| word.try_into().ok());
    let mut next = || words.next().map(u64::from_ne_bytes).ok_or(Errno::EIO);
    Ok([next()?, next()?])
}

/// Those that the program starts with.
pub fn begin(info: &BootInfo) {
    let [all, data] = info.memory_limits;
    let mut space = mm::space();
    space.set_limit(linux::RLIMIT_AS, all);
    space.set_limit(linux::RLIMIT_DATA, data);
    space.set_limit(linux::RLIMIT_STACK, info.stack_limit);
    drop(space);
    let [soft, hard] = info.time_limit;
    if soft != u64::MAX {
        posix_timer::set_time_limit(soft, hard);
    }
}

/// The program has set a limit, by the call `nr` if that is one that does.
pub fn changed(nr: u32, args: [u64; 6]) {
    let (pid, resource, new) = match nr {
        SETRLIMIT => (0, args[0] as u32, args[1]),
        PRLIMIT64 => (args[0] as u32, args[1] as u32, args[2]),
        _ => return,
    };
    let is_own = (pid == 0 || pid == boot::facts().info.pid as u32) && current().lent.to().is_none();
    let is_kept = match resource {
        linux::RLIMIT_AS | linux::RLIMIT_DATA | linux::RLIMIT_STACK => true,
        linux::RLIMIT_CPU => boot::facts().info.bare != 0,
        _ => false,
    };
    if !is_own || !is_kept || new == 0 {
        return;
    }
    match (resource, both(resource)) {
        (linux::RLIMIT_CPU, Ok([soft, hard])) => posix_timer::set_time_limit(soft, hard),
        (_, Ok([soft, _])) => mm::space().set_limit(resource, soft),
        // A limit that can be set can be asked for.
        (_, Err(_)) => {}
    }
}
