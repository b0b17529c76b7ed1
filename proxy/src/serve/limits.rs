//! Resource limits. That of descriptors is the program's own affair: the process's real one is
//! higher, to make room for the proxy. So are those on memory, which the kernel keeps: Linux would count
//! the whole of the cell's memory. All others are the cell's process's; that of the size of files is the
//! proxy's too, which writes for the program.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::call::Call;
use super::host::{self, Arg, Errno, Outcome};

const NOFILE: i32 = libc::RLIMIT_NOFILE as i32;
const FSIZE: i32 = libc::RLIMIT_FSIZE as i32;
const OF_MEMORY: [i32; 2] = [libc::RLIMIT_AS as i32, libc::RLIMIT_DATA as i32];

/// Limits that Linux is not told of, as far as the program has set them.
#[derive(Debug, Default)]
pub struct Kept(Mutex<BTreeMap<i32, [u8; 16]>>);

impl Kept {
    /// What a child of the program inherits.
    pub fn inherited(&self) -> Self {
        Kept(Mutex::new(self.all()))
    }

    fn all(&self) -> BTreeMap<i32, [u8; 16]> {
        // One entry is put in at a time.
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, resource: i32, limit: [u8; 16]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(resource, limit);
    }

    /// Makes them this process's, which is about to execute something; gives what they were.
    pub fn impose(&self) -> Vec<(i32, [u8; 16])> {
        let all = self.all();
        all.iter()
            .filter_map(|(resource, limit)| Some((*resource, exchange(0, *resource, Some(limit)).ok()?)))
            .collect()
    }
}

/// Takes limits back, as far as Linux lets this process.
pub fn restore(limits: &[(i32, [u8; 16])]) {
    for (resource, limit) in limits {
        let _ = exchange(0, *resource, Some(limit));
    }
}

/// prlimit64(2) of a process of Linux.
fn exchange(pid: i32, resource: i32, new: Option<&[u8; 16]>) -> Result<[u8; 16], Errno> {
    let mut before = [0; 16];
    let [pid, resource] = [pid as u64, resource as u64].map(Arg::number);
    let new = new.map_or(Arg::null(), |bytes| Arg::input(bytes));
    let args = [pid, resource, new, Arg::output(&mut before), Arg::null(), Arg::null()];
    host::call(libc::SYS_prlimit64 as u32, &args)?;
    Ok(before)
}

/// This process may write files as large as it can ever have been allowed to.
pub fn lift_file_size() -> Result<(), Errno> {
    let own = exchange(0, FSIZE, None)?;
    let hard: [u8; 8] = own[8..].try_into().unwrap_or([0xff; 8]);
    let both = [hard, hard].concat().try_into().unwrap_or(own);
    exchange(0, FSIZE, Some(&both)).map(drop)
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
    } else if call.is_own(pid) && OF_MEMORY.contains(&resource) {
        before = match call.service.limits.all().get(&resource) {
            Some(kept) => *kept,
            None => exchange(call.service.cell.child, resource, None)?,
        };
        if let Some(wanted) = wanted {
            check(&before, &wanted)?;
            call.service.limits.set(resource, wanted);
        }
    } else {
        let pid = if pid == 0 { call.service.cell.child } else { pid };
        before = exchange(pid, resource, wanted.as_ref())?;
        if let (Some(wanted), true, FSIZE) = (&wanted, call.is_own(pid), resource) {
            exchange(0, FSIZE, Some(wanted))?;
        }
    }
    if let Some(index) = old {
        call.copy_out(index, 0, &before)?;
    }
    Ok(0)
}

/// As `do_prlimit` in kernel/sys.c.
fn check(before: &[u8; 16], wanted: &[u8; 16]) -> Result<(), Errno> {
    let (soft, hard) = (host::u64_at(wanted, 0), host::u64_at(wanted, 8));
    match () {
        () if soft > hard => Err(Errno(libc::EINVAL)),
        () if hard > host::u64_at(before, 8) && !is_privileged() => Err(Errno(libc::EPERM)),
        () => Ok(()),
    }
}

fn is_privileged() -> bool {
    host::numbers(libc::SYS_geteuid, &[]) == Ok(0)
}
