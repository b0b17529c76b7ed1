//! Reading and writing files on the core itself, where the platform can do that.

use shm_ipc::calls::Call;
use shm_ipc::control::Cause;

use super::marshal;
use crate::abi::SysResult;
use crate::boot;
use crate::platform::{self, Transfer};
use crate::sched::{current, this_core};

const READ: u32 = 0;
const WRITE: u32 = 1;
const PREAD64: u32 = 17;
const PWRITE64: u32 = 18;

/// The result of a transfer that went by without the proxy, if it did. It holds up its core: so not where
/// another thread waits for that, nor for a child with descriptors of its own.
pub fn attempt(row: &'static Call, args: [u64; 6]) -> Option<SysResult> {
    let is_transfer = matches!(row.nr, READ | WRITE | PREAD64 | PWRITE64);
    if !is_transfer || !boot::files().has(args[0] as i32) {
        return None;
    }
    if !this_core().queue_is_empty() || current().lent.to().is_some() {
        return None;
    }
    match platform::get().transfer(row.nr, args) {
        Transfer::Done(result) => {
            this_core().count(Cause::LocalCall);
            Some(result)
        }
        Transfer::Rest(0) => None,
        Transfer::Rest(done) => {
            this_core().count(Cause::ForwardedCall);
            Some(go_on(row, args, done))
        }
    }
}

/// Forwards what is left. Something has been transferred: that is what counts if nothing follows.
fn go_on(row: &'static Call, args: [u64; 6], done: u64) -> SysResult {
    let [fd, at, len, offset, ..] = args;
    let rest = marshal::forward(row, [fd, at + done, len - done, offset.wrapping_add(done), 0, 0]);
    Ok(done + rest.unwrap_or(0))
}
