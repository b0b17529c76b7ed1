//! Resource limits. That of descriptors is the program's own affair: the process's real one is
//! higher, to make room for the proxy. Those of memory are the kernel's, which maps it: of what Linux would
//! count, the cell's process has much more mapped than the program. All others are the cell's process's;
//! that of the size of files is the proxy's too, which writes for the program.

use std::sync::atomic::{AtomicU64, Ordering};

use super::call::Call;
use super::host::{self, Arg, Errno, Outcome};

const NOFILE: i32 = libc::RLIMIT_NOFILE as i32;
const FSIZE: i32 = libc::RLIMIT_FSIZE as i32;

/// RLIMIT_AS and RLIMIT_DATA as the program has set them: soft and hard of each.
#[derive(Debug)]
pub struct MemoryLimits([[AtomicU64; 2]; 2]);

impl Default for MemoryLimits {
    fn default() -> Self {
        MemoryLimits(
            [libc::RLIMIT_AS, libc::RLIMIT_DATA].map(|resource| own_limit(resource as i32).map(AtomicU64::new)),
        )
    }
}

impl MemoryLimits {
    /// Soft and hard, if the resource is one of these.
    fn of(&self, resource: i32) -> Option<&[AtomicU64; 2]> {
        match resource as u32 {
            libc::RLIMIT_AS => Some(&self.0[0]),
            libc::RLIMIT_DATA => Some(&self.0[1]),
            _ => None,
        }
    }

    /// Makes them those of this process, which is about to be the program's child.
    pub fn take(&self) {
        for (resource, limit) in [libc::RLIMIT_AS, libc::RLIMIT_DATA].into_iter().zip(&self.0) {
            let bytes = bytes_of(limit.each_ref().map(|word| word.load(Ordering::Relaxed)));
            let none = Arg::null;
            let args = [Arg::number(0), Arg::number(resource.into()), Arg::input(&bytes), none(), none(), none()];
            // Equal or lower limits are never refused.
            let _ = host::call(libc::SYS_prlimit64 as u32, &args);
        }
    }
}

/// Soft and hard limit of this process.
fn own_limit(resource: i32) -> [u64; 2] {
    let mut bytes = [0xff; 16];
    let none = Arg::null;
    let args = [Arg::number(0), Arg::number(resource as u64), none(), Arg::output(&mut bytes), none(), none()];
    let _ = host::call(libc::SYS_prlimit64 as u32, &args);
    [host::u64_at(&bytes, 0), host::u64_at(&bytes, 8)]
}

/// This process may write files as large as it can ever have been allowed to.
pub fn lift_file_size() -> Result<(), Errno> {
    let [_, hard] = own_limit(FSIZE);
    let bytes = bytes_of([hard; 2]);
    let none = Arg::null;
    let args = [Arg::number(0), Arg::number(FSIZE as u64), Arg::input(&bytes), none(), none(), none()];
    host::call(libc::SYS_prlimit64 as u32, &args).map(drop)
}

/// `struct rlimit`
fn bytes_of([soft, hard]: [u64; 2]) -> [u8; 16] {
    (u128::from(hard) << 64 | u128::from(soft)).to_le_bytes()
}

/// Sets and tells a limit that Linux has no part in (`do_prlimit` in kernel/sys.c).
fn exchange(limit: &[AtomicU64; 2], wanted: Option<[u8; 16]>) -> Result<[u8; 16], Errno> {
    let [soft, hard] = limit;
    let before = [soft, hard].map(|word| word.load(Ordering::Relaxed));
    if let Some(wanted) = wanted {
        let wanted = [host::u64_at(&wanted, 0), host::u64_at(&wanted, 8)];
        if wanted[0] > wanted[1] {
            return Err(Errno(libc::EINVAL));
        }
        if wanted[1] > before[1] && !is_privileged() {
            return Err(Errno(libc::EPERM));
        }
        soft.store(wanted[0], Ordering::Relaxed);
        hard.store(wanted[1], Ordering::Relaxed);
    }
    Ok(bytes_of(before))
}

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
    } else if let (true, Some(limit)) =
        (call.is_own(pid) && !call.service.stands_in, call.service.memory_limits.of(resource))
    {
        before = exchange(limit, wanted)?;
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
