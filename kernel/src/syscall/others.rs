//! Calls that the kernel answers for the program and Linux for everybody else.
//!
//! A child of vfork is a process of Linux (`sched/vfork`): who it is and where it may run is not its parent's
//! business, though it has the parent's thread. And the classes and cores of processes outside the cell are
//! Linux's to tell and to change.

use shm_ipc::calls::{Call, prctl};
use shm_ipc::control::Cause;

use super::marshal;
use crate::abi::SysResult;
use crate::sched::this_core;
use crate::sched::thread::{self, current};

const PRCTL: u32 = 157;

/// Has Linux answer a call of the kernel's, if that is what the call is about. The rows in question are those
/// that have shapes, and those that ask who the caller is.
pub fn attempt(row: &'static Call, mut args: [u64; 6]) -> Option<SysResult> {
    let child = current().lent.to();
    if row.args.is_empty() && !(child.is_some() && asks_who(row.nr)) {
        return None;
    }
    if is_about_a_process(row.nr) {
        let pid = args[0] as u32;
        match child {
            // The stand-in is meant.
            Some(child) if pid == 0 || pid == child => args[0] = 0,
            None if pid == 0 => return None,
            _ if pid.cast_signed() < 0 || thread::find(pid).is_some() => return None,
            _ => {}
        }
    } else if child.is_none() || (row.nr == PRCTL && !prctl::is_of_a_process(args[0])) {
        return None;
    }
    this_core().count(Cause::ForwardedCall);
    Some(marshal::forward(row, args))
}

/// getuid, getgid, geteuid, getegid
fn asks_who(nr: u32) -> bool {
    matches!(nr, 102 | 104 | 107 | 108)
}

/// The sched_* calls: the first argument says whose.
fn is_about_a_process(nr: u32) -> bool {
    matches!(nr, 142..=145 | 148 | 203 | 204 | 315)
}
