//! Resource limits. That of descriptors is the program's own affair: the process's real one is
//! higher, to make room for the proxy. All others are the cell's process's; that of the size of files is the
//! proxy's too, which writes for the program.

use super::call::Call;
use super::host::{self, Arg, Errno, Outcome};

const NOFILE: i32 = libc::RLIMIT_NOFILE as i32;
const FSIZE: i32 = libc::RLIMIT_FSIZE as i32;

/// prlimit64(2)
pub fn prlimit(call: &Call<'_, '_>) -> Outcome {
    limits(call, call.int(0), call.int(1), Some(2), Some(3))
}

/// getrlimit(2)
pub fn getrlimit(call: &Call<'_, '_>) -> Outcome {
    limits(call, 0, call.int(0), None, Some(1))
}

/// setrlimit(2)
pub fn setrlimit(call: &Call<'_, '_>) -> Outcome {
    limits(call, 0, call.int(0), Some(1), None)
}

/// A null pointer means "not wanted" to prlimit64 and an error to the older calls.
fn buffer(call: &Call<'_, '_>, at: Option<usize>) -> Result<Option<usize>, Errno> {
    let Some(index) = at else { return Ok(None) };
    if call.len(index) == 16 {
        return Ok(at);
    }
    if call.word(index) == 0 && i64::from(call.nr) == libc::SYS_prlimit64 { Ok(None) } else { Err(Errno(libc::EFAULT)) }
}

fn limits(call: &Call<'_, '_>, pid: i32, resource: i32, new: Option<usize>, old: Option<usize>) -> Outcome {
    let (new, old) = (buffer(call, new)?, buffer(call, old)?);
    let wanted = new.map(|index| call.structure::<16>(index)).transpose()?;
    let mut before = [0; 16];
    if call.is_own(pid) && resource == NOFILE {
        let descriptors = call.descriptors();
        let (soft, hard) = descriptors.limit();
        before[..8].copy_from_slice(&soft.to_ne_bytes());
        before[8..].copy_from_slice(&hard.to_ne_bytes());
        if let Some(wanted) = wanted {
            descriptors.set_limit(host::u64_at(&wanted, 0), host::u64_at(&wanted, 8), is_privileged())?;
        }
    } else {
        let pid = if pid == 0 { call.service.cell.child } else { pid };
        let args = [
            Arg::number(pid as u64),
            Arg::number(resource as u64),
            wanted.as_ref().map_or(Arg::null(), |bytes| Arg::input(bytes)),
            Arg::output(&mut before),
            Arg::null(),
            Arg::null(),
        ];
        call.inline(libc::SYS_prlimit64, &args)?;
        if let (Some(wanted), true, FSIZE) = (&wanted, call.is_own(pid), resource) {
            let none = Arg::null;
            let args = [Arg::number(0), Arg::number(FSIZE as u64), Arg::input(wanted), none(), none(), none()];
            call.inline(libc::SYS_prlimit64, &args)?;
        }
    }
    if let Some(index) = old {
        call.copy_out(index, 0, &before)?;
    }
    Ok(0)
}

fn is_privileged() -> bool {
    host::numbers(libc::SYS_geteuid, &[]) == Ok(0)
}
