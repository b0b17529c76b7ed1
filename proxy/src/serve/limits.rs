//! Resource limits. That of descriptors is the program's own affair: the process's real one is
//! higher, to make room for the proxy. So are those that the kernel keeps to: on memory, and on bare cores on CPU
//! time ([`crate::limits`]). All others are the cell's process's; that of the size of files is the
//! proxy's too, which writes for the program.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::call::Call;
use super::host::{self, Arg, Errno, Outcome};
use crate::limits::Inherited;

/// Columns of `/proc/<pid>/limits`: a name, two numbers, a unit.
const NAME: usize = 26;
const NUMBER: usize = 21;

const NOFILE: i32 = libc::RLIMIT_NOFILE as i32;
const FSIZE: i32 = libc::RLIMIT_FSIZE as i32;
const CPU: i32 = libc::RLIMIT_CPU as i32;

/// Whether the kernel keeps to the limit.
fn is_kept(call: &Call<'_, '_>, resource: i32) -> bool {
    const OF_MEMORY: [i32; 2] = [libc::RLIMIT_AS as i32, libc::RLIMIT_DATA as i32];
    OF_MEMORY.contains(&resource) || resource == CPU && call.service.cell.bare.is_some()
}

/// Limits that Linux is not told of, as far as there are any.
#[derive(Debug, Default)]
pub struct Kept(Mutex<BTreeMap<i32, [u8; 16]>>);

impl Kept {
    /// Those that the program starts with.
    pub fn of(all: &[Inherited]) -> Self {
        let entry = |limit: &Inherited| (limit.resource, bytes(limit.soft, limit.hard));
        Kept(Mutex::new(all.iter().map(entry).collect()))
    }

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
    let hard = u64::from_ne_bytes(hard);
    let both = bytes(hard, hard);
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
    let before;
    if call.is_own(pid) && resource == NOFILE {
        let descriptors = call.descriptors();
        let (soft, hard) = descriptors.limit();
        before = bytes(soft, hard);
        if let Some(wanted) = wanted {
            descriptors.set_limit(host::u64_at(&wanted, 0), host::u64_at(&wanted, 8), is_privileged())?;
        }
    } else if call.is_own(pid) && is_kept(call, resource) {
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

/// A `struct rlimit`.
fn bytes(soft: u64, hard: u64) -> [u8; 16] {
    let mut both = [0; 16];
    both[..8].copy_from_slice(&soft.to_ne_bytes());
    both[8..].copy_from_slice(&hard.to_ne_bytes());
    both
}

/// `/proc/<pid>/limits` of the cell's process, with the limits that are not Linux's (`proc_pid_limits` in fs/proc/base.c).
pub fn listed(call: &Call<'_, '_>, linux: &str) -> String {
    let kept = call.service.limits.all();
    let own = |name: &str| match name {
        "Max open files" => Some(call.descriptors().limit()),
        _ => {
            let resource = match name {
                "Max cpu time" => CPU,
                "Max data size" => libc::RLIMIT_DATA as i32,
                "Max address space" => libc::RLIMIT_AS as i32,
                _ => return None,
            };
            kept.get(&resource).map(|limit| (host::u64_at(limit, 0), host::u64_at(limit, 8)))
        }
    };
    let number = |limit| if limit == u64::MAX { "unlimited".to_owned() } else { format!("{limit}") };
    let mut text = String::new();
    for line in linux.lines() {
        let (name, rest) = line.split_at_checked(NAME).unwrap_or((line, ""));
        text += &match own(name.trim_end()) {
            Some((soft, hard)) => {
                let unit = rest.get(2 * NUMBER..).unwrap_or_default();
                format!("{name}{:NUMBER$}{:NUMBER$}{unit}\n", number(soft), number(hard))
            }
            None => format!("{line}\n"),
        };
    }
    text
}

fn is_privileged() -> bool {
    host::numbers(libc::SYS_geteuid, &[]) == Ok(0)
}
