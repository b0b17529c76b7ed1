//! Copying between processes: process_vm_readv(2), process_vm_writev(2).

use alloc::vec::Vec;

use shm_ipc::calls::Call;
use shm_ipc::control::Cause;

use super::identity;
use super::marshal::{build, read_iovecs};
use super::special::{PROCESS_VM_READV, PROCESS_VM_WRITEV};
use crate::abi::{Errno, SysResult};
use crate::forward::Direction;
use crate::mm::{self, Access, Piece, user};
use crate::platform;
use crate::sched::this_core;

/// Pieces on each side that [`attempt`] takes: MPI libraries pass one.
const FEW: usize = 4;

/// The result where the core could copy all of it at once. Most often the memory is all there; where it is
/// not, Linux says so, or stops there, and [`forward`] does it again.
pub fn attempt(row: &'static Call, args: [u64; 6]) -> Option<SysResult> {
    let [pid, local, local_count, remote, remote_count, flags] = args;
    if !matches!(row.nr, PROCESS_VM_READV | PROCESS_VM_WRITEV) || flags != 0 {
        return None;
    }
    let (mut here, mut there) = ([[0; 2]; FEW], [[0; 2]; FEW]);
    let here = read_few(&mut here, local, local_count)?;
    let there = read_few(&mut there, remote, remote_count)?;
    let wanted = total(here).min(total(there));
    match platform::get().copy_peer(row.nr == PROCESS_VM_WRITEV, pid, here, there)? {
        Ok(copied) if copied == wanted => {
            this_core().count(Cause::LocalCall);
            Some(Ok(copied))
        }
        Err(errno) if errno != Errno::EFAULT => Some(Err(errno)),
        _ => None,
    }
}

/// Bytes of all pieces.
fn total(pairs: &[[u64; 2]]) -> u64 {
    pairs.iter().fold(0, |sum, [_, len]| sum.saturating_add(*len))
}

fn read_few(room: &mut [[u64; 2]; FEW], at: u64, count: u64) -> Option<&[[u64; 2]]> {
    let pairs = room.get_mut(..count as usize)?;
    for (index, pair) in (0..).zip(pairs.iter_mut()) {
        *pair = user::read(at.wrapping_add(16 * index)).ok()?;
    }
    Some(pairs)
}

/// The call, whatever it takes; in the order in which Linux looks at it (`process_vm_rw` in
/// mm/process_vm_access.c).
pub fn forward(row: &'static Call, mut args: [u64; 6]) -> SysResult {
    const MAX_IOVECS: u64 = 1024;
    // Of the one number Linux looks at the lower half, of the other at all.
    args[2] &= u64::from(u32::MAX);
    let [pid, local, local_count, remote, remote_count, flags] = args;
    if flags != 0 || local_count > MAX_IOVECS {
        return Err(Errno::EINVAL);
    }
    let write = row.nr == PROCESS_VM_WRITEV;
    let pieces = read_iovecs(local, local_count)?;
    if total(&pieces) == 0 {
        return Ok(0);
    }
    if remote_count > MAX_IOVECS {
        return Err(Errno::EINVAL);
    }
    let remote_pairs = read_pairs(remote, remote_count)?;
    let (from, to) = (Access::Read, Access::Write);
    let held = hold(&pieces, if write { from } else { to });
    // To Linux, memory of the program's own that is filled on demand is not there before.
    let _held_too = (identity::getpid([0; 6]) == Ok(pid)).then(|| hold(&remote_pairs, if write { to } else { from }));
    if let Some(_held) = held
        && let Some(result) = platform::get().copy_peer(write, pid, &pieces, &remote_pairs)
    {
        let is_short = result.is_ok_and(|copied| copied < total(&pieces).min(total(&remote_pairs)));
        if result != Err(Errno::EFAULT) && !is_short {
            return result;
        }
        // The proxy can have memory of other cells filled first.
    }
    let mut request = build(row, args)?;
    request.structure(3, remote, 16 * remote_count, Direction::In)?;
    request.run().result
}

/// Frames that stay where they are for as long as this lives.
struct Held(Vec<Piece>);

impl Drop for Held {
    fn drop(&mut self) {
        for piece in &self.0 {
            if let Piece::Frames { frame, len } = *piece {
                mm::unpin(frame, len);
            }
        }
    }
}

/// Holds the memory behind the pieces, if the program may access all of them; what is filled on
/// demand is filled. `None` otherwise.
fn hold(pieces: &[[u64; 2]], access: Access) -> Option<Held> {
    let mut parts = Vec::new();
    let mut space = mm::space();
    if !pieces.iter().all(|&[at, len]| space.pieces(at, len, access, &mut parts) == len) {
        return None;
    }
    for piece in &parts {
        if let Piece::Frames { frame, len } = *piece {
            space.pin(frame, len);
        }
    }
    Some(Held(parts))
}

/// Addresses and lengths that mean something to another process only.
///
/// # Errors
/// `EINVAL` for a length that is negative to Linux, `EFAULT`.
fn read_pairs(at: u64, count: u64) -> Result<Vec<[u64; 2]>, Errno> {
    let pair = |i| user::read(at.wrapping_add(16 * i));
    let checked = |pair: [u64; 2]| if pair[1] > i64::MAX as u64 { Err(Errno::EINVAL) } else { Ok(pair) };
    (0..count).map(|i| pair(i).and_then(checked)).collect()
}
