//! Who the program is: numbers that Linux gave, and prctl(2).

use core::sync::atomic::{AtomicU64, Ordering};

use super::named;
use linux_raw_sys::prctl as linux_prctl;

use crate::abi::{Errno, SysResult};
use crate::boot;
use crate::mm::user;
use crate::sched::current;

/// getpid(2)
pub fn getpid(_: [u64; 6]) -> SysResult {
    Ok(current().lent.to().map_or(boot::facts().info.pid, u64::from))
}

/// getppid(2)
pub fn getppid(_: [u64; 6]) -> SysResult {
    let info = &boot::facts().info;
    Ok(if current().lent.to().is_some() { info.pid } else { info.ppid })
}

/// gettid(2)
pub fn gettid(_: [u64; 6]) -> SysResult {
    Ok(u64::from(current().lent.to().unwrap_or(current().tid)))
}

/// getuid(2)
pub fn getuid(_: [u64; 6]) -> SysResult {
    Ok(boot::facts().info.ids[0])
}

/// geteuid(2)
pub fn geteuid(_: [u64; 6]) -> SysResult {
    Ok(boot::facts().info.ids[1])
}

/// getgid(2)
pub fn getgid(_: [u64; 6]) -> SysResult {
    Ok(boot::facts().info.ids[2])
}

/// getegid(2)
pub fn getegid(_: [u64; 6]) -> SysResult {
    Ok(boot::facts().info.ids[3])
}

/// A user's ids do not change: what the program asks for must be what it has. Where `-1` stands for
/// "leave it", `wanted` has none.
fn stay(wanted: impl IntoIterator<Item = u64>, has: [u64; 2]) -> SysResult {
    let fits = |id: u64| has.contains(&id);
    let invalid = u64::from(u32::MAX);
    let mut wanted = wanted.into_iter().map(|id| u64::from(id as u32));
    match wanted.find(|id| !fits(*id)) {
        None => Ok(0),
        Some(id) if id == invalid => Err(Errno::EINVAL),
        Some(_) => {
            if users()[1] == 0 {
                named::once(named::What::OtherUser);
            }
            Err(Errno::EPERM)
        }
    }
}

fn stated(ids: &[u64]) -> impl Iterator<Item = u64> {
    ids.iter().copied().filter(|id| *id as u32 != u32::MAX)
}

fn users() -> [u64; 2] {
    let [real, effective, ..] = boot::facts().info.ids;
    [real, effective]
}

fn groups() -> [u64; 2] {
    let [_, _, real, effective] = boot::facts().info.ids;
    [real, effective]
}

/// setuid(2)
pub fn setuid(args: [u64; 6]) -> SysResult {
    stay([args[0]], users())
}

/// setgid(2)
pub fn setgid(args: [u64; 6]) -> SysResult {
    stay([args[0]], groups())
}

/// setreuid(2)
pub fn setreuid(args: [u64; 6]) -> SysResult {
    stay(stated(&args[..2]), users())
}

/// setregid(2)
pub fn setregid(args: [u64; 6]) -> SysResult {
    stay(stated(&args[..2]), groups())
}

/// setresuid(2)
pub fn setresuid(args: [u64; 6]) -> SysResult {
    stay(stated(&args[..3]), users())
}

/// setresgid(2)
pub fn setresgid(args: [u64; 6]) -> SysResult {
    stay(stated(&args[..3]), groups())
}

/// setgroups(2)
pub fn setgroups(_: [u64; 6]) -> SysResult {
    Err(Errno::EPERM)
}

/// setfsuid(2)
pub fn setfsuid(_: [u64; 6]) -> SysResult {
    Ok(users()[1])
}

/// setfsgid(2)
pub fn setfsgid(_: [u64; 6]) -> SysResult {
    Ok(groups()[1])
}

static PERSONALITY: AtomicU64 = AtomicU64::new(0);

/// personality(2)
pub fn personality(args: [u64; 6]) -> SysResult {
    const QUERY: u32 = 0xffff_ffff;
    /// Addresses are never random here.
    const ADDR_NO_RANDOMIZE: u32 = 0x0004_0000;
    match args[0] as u32 {
        QUERY => Ok(PERSONALITY.load(Ordering::Relaxed)),
        wanted if wanted & !ADDR_NO_RANDOMIZE == 0 => Ok(PERSONALITY.swap(u64::from(wanted), Ordering::Relaxed)),
        _ => Err(Errno::EINVAL),
    }
}

/// What prctl(2) sets and tells again without the kernel having to act on it: a cell is not
/// swapped, never traced by its own threads, and its timers are exact.
static DEATH_SIGNAL: AtomicU64 = AtomicU64::new(0);
static DUMPABLE: AtomicU64 = AtomicU64::new(1);
static NO_NEW_PRIVILEGES: AtomicU64 = AtomicU64::new(0);
static TIMER_SLACK: AtomicU64 = AtomicU64::new(50_000);
/// A wish about the host's pages; the cell's are its own.
static THP_DISABLE: AtomicU64 = AtomicU64::new(0);

/// Whether a core dump may be left (PR_SET_DUMPABLE).
pub fn is_dumpable() -> bool {
    DUMPABLE.load(Ordering::Relaxed) == 1
}

/// prctl(2)
pub fn prctl(args: [u64; 6]) -> SysResult {
    const PR_SET_VMA: u32 = 0x5356_4d41;
    const PR_SET_PTRACER: u32 = 0x5961_6d61;
    const LAST_CAPABILITY: u64 = 40;
    const LAST_OPTION: u32 = 64;
    let [option, value, ..] = args;
    match option as u32 {
        linux_prctl::PR_SET_NAME => set_name(value),
        linux_prctl::PR_GET_NAME => user::copy_out(value, &*current().name.lock()).map(|()| 0),
        linux_prctl::PR_SET_PDEATHSIG if value <= 64 => exchange(&DEATH_SIGNAL, value),
        linux_prctl::PR_GET_PDEATHSIG => user::write(value, &(DEATH_SIGNAL.load(Ordering::Relaxed) as u32)).map(|()| 0),
        linux_prctl::PR_SET_DUMPABLE if value <= 1 => exchange(&DUMPABLE, value),
        linux_prctl::PR_GET_DUMPABLE => Ok(DUMPABLE.load(Ordering::Relaxed)),
        linux_prctl::PR_SET_NO_NEW_PRIVS if value == 1 && args[2..5] == [0; 3] => exchange(&NO_NEW_PRIVILEGES, 1),
        linux_prctl::PR_GET_NO_NEW_PRIVS => Ok(NO_NEW_PRIVILEGES.load(Ordering::Relaxed)),
        linux_prctl::PR_SET_TIMERSLACK => exchange(&TIMER_SLACK, if value == 0 { 50_000 } else { value }),
        linux_prctl::PR_GET_TIMERSLACK => Ok(TIMER_SLACK.load(Ordering::Relaxed)),
        linux_prctl::PR_SET_THP_DISABLE if args[2..5] == [0; 3] => exchange(&THP_DISABLE, u64::from(value != 0)),
        linux_prctl::PR_GET_THP_DISABLE if args[1..5] == [0; 4] => Ok(THP_DISABLE.load(Ordering::Relaxed)),
        linux_prctl::PR_SET_THP_DISABLE | linux_prctl::PR_GET_THP_DISABLE => Err(Errno::EINVAL),
        linux_prctl::PR_CAPBSET_READ if value <= LAST_CAPABILITY => Ok(1),
        // A name for a mapping in /proc/self/maps, and Yama's permission: hints.
        PR_SET_VMA | PR_SET_PTRACER => Ok(0),
        linux_prctl::PR_SET_PDEATHSIG | linux_prctl::PR_SET_DUMPABLE | linux_prctl::PR_CAPBSET_READ => {
            Err(Errno::EINVAL)
        }
        // Options that Linux 6.1 knows; others are its EINVAL too.
        1..=LAST_OPTION => {
            named::once(named::What::Prctl(option));
            Err(Errno::EINVAL)
        }
        _ => Err(Errno::EINVAL),
    }
}

fn exchange(slot: &AtomicU64, value: u64) -> SysResult {
    slot.store(value, Ordering::Relaxed);
    Ok(0)
}

fn set_name(at: u64) -> SysResult {
    let mut name = [0; 16];
    let bytes = match user::read_cstr(at, 16) {
        Ok(bytes) => bytes,
        // Longer names are cut.
        Err(Errno::ENAMETOOLONG) => {
            let mut cut = alloc::vec![0; 15];
            user::copy_in(&mut cut, at)?;
            cut
        }
        Err(errno) => return Err(errno),
    };
    let len = bytes.len().min(15);
    name[..len].copy_from_slice(&bytes[..len]);
    *current().name.lock() = name;
    Ok(0)
}
