//! Reading and writing files without the proxy: the cell shares its descriptors, so a core can make these
//! calls itself. It leaves them to the proxy where that is better: when the program's memory is not there
//! yet, and when the call was interrupted.

use core::ops::Range;

use super::host::{self, nr};
use crate::abi::{Errno, SysResult};
use crate::mm;
use crate::platform::Transfer;

/// Linux's MAX_RW_COUNT: no call transfers more at once.
const MOST: u64 = 0x7fff_f000;

/// Makes the call `number` if the program's memory lies in `user`.
pub fn transfer(number: u32, args: [u64; 6], user: Range<u64>) -> Transfer {
    let (at, len) = (args[1], args[2]);
    let end = at.checked_add(len);
    if len > MOST || at < user.start || end.is_none_or(|end| end > user.end) {
        return Transfer::Rest(0);
    }
    let number = u64::from(number);
    if matches!(number, nr::WRITE | nr::PWRITE64) { write(number, args, at, len) } else { read(number, args, len) }
}

/// How a call ended that transferred nothing.
fn failed(errno: Errno) -> Transfer {
    match errno {
        Errno::EFAULT | Errno::EINTR => Transfer::Rest(0),
        other => Transfer::Done(Err(other)),
    }
}

/// Linux stops where memory is missing, and once it has read something that looks like the end of the
/// file: reading on tells.
fn read(number: u64, args: [u64; 6], len: u64) -> Transfer {
    let mut done = 0;
    loop {
        match make(number, args, done, len - done) {
            Ok(0) => return Transfer::Done(Ok(done)),
            Ok(count) if done + count == len => return Transfer::Done(Ok(len)),
            Ok(count) => done += count,
            Err(errno) if done == 0 => return failed(errno),
            Err(Errno::EFAULT | Errno::EINTR) => return Transfer::Rest(done),
            Err(_) => return Transfer::Done(Ok(done)),
        }
    }
}

/// Linux also stops where memory is missing, but to go on in any case would be wrong: at a limit of the
/// file's size the next attempt brings a signal. So the memory is looked at.
fn write(number: u64, args: [u64; 6], at: u64, len: u64) -> Transfer {
    match make(number, args, 0, len) {
        Ok(count) if count < len && !mm::space().is_there(at + count) => Transfer::Rest(count),
        Ok(count) => Transfer::Done(Ok(count)),
        Err(errno) => failed(errno),
    }
}

fn make(number: u64, args: [u64; 6], done: u64, len: u64) -> SysResult {
    let [fd, at, _, offset, ..] = args;
    // SAFETY: the caller has seen that the memory lies in the user range, where nothing of the kernel's
    // is. The fence sees to it that the descriptor is one of the program's.
    unsafe { host::call(number, [fd, at + done, len, offset.wrapping_add(done), 0, 0]) }
}
