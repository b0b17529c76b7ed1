//! Who the program is: numbers that Linux gave, and prctl(2).

use core::sync::atomic::{AtomicU64, Ordering};

use super::named;
use linux_raw_sys::prctl as linux_prctl;
use shm_ipc::layout::PAGE;

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

const LAST_CAPABILITY: u64 = 40;

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
/// swapped, never traced by its own threads, its timers are exact, its pages large anyway, and its ids
/// stay what they are.
static DEATH_SIGNAL: AtomicU64 = AtomicU64::new(0);
static DUMPABLE: AtomicU64 = AtomicU64::new(1);
static NO_NEW_PRIVILEGES: AtomicU64 = AtomicU64::new(0);
static TIMER_SLACK: AtomicU64 = AtomicU64::new(50_000);
static KEEP_CAPABILITIES: AtomicU64 = AtomicU64::new(0);
static NO_LARGE_PAGES: AtomicU64 = AtomicU64::new(0);
static MEMORY_ERRORS: AtomicU64 = AtomicU64::new(MEMORY_ERRORS_DEFAULT);

/// `PR_MCE_KILL_DEFAULT`
const MEMORY_ERRORS_DEFAULT: u64 = 2;

/// Whether a core dump may be left (PR_SET_DUMPABLE).
pub fn is_dumpable() -> bool {
    DUMPABLE.load(Ordering::Relaxed) == 1
}

/// What PR_SET_NO_NEW_PRIVS has set.
pub fn gains_nothing() -> u64 {
    NO_NEW_PRIVILEGES.load(Ordering::Relaxed)
}

/// prctl(2)
pub fn prctl(args: [u64; 6]) -> SysResult {
    const PR_SET_VMA: u32 = 0x5356_4d41;
    const PR_SET_PTRACER: u32 = 0x5961_6d61;
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
        linux_prctl::PR_GET_NO_NEW_PRIVS if args[1..5] == [0; 4] => Ok(gains_nothing()),
        linux_prctl::PR_SET_TIMERSLACK => exchange(&TIMER_SLACK, if value == 0 { 50_000 } else { value }),
        linux_prctl::PR_GET_TIMERSLACK => Ok(TIMER_SLACK.load(Ordering::Relaxed)),
        linux_prctl::PR_CAPBSET_READ if value <= LAST_CAPABILITY => Ok(1),
        linux_prctl::PR_GET_TID_ADDRESS => user::write(value, &current().own.clear_tid.get()).map(|()| 0),
        linux_prctl::PR_SET_KEEPCAPS if value <= 1 => exchange(&KEEP_CAPABILITIES, value),
        linux_prctl::PR_GET_KEEPCAPS => Ok(KEEP_CAPABILITIES.load(Ordering::Relaxed)),
        linux_prctl::PR_SET_THP_DISABLE if args[2..5] == [0; 3] => exchange(&NO_LARGE_PAGES, u64::from(value != 0)),
        linux_prctl::PR_GET_THP_DISABLE if args[1..5] == [0; 4] => Ok(NO_LARGE_PAGES.load(Ordering::Relaxed)),
        linux_prctl::PR_MCE_KILL if args[3..5] == [0; 2] => set_memory_errors(value, args[2]),
        linux_prctl::PR_MCE_KILL_GET if args[1..5] == [0; 4] => Ok(MEMORY_ERRORS.load(Ordering::Relaxed)),
        linux_prctl::PR_GET_TSC => user::write(value, &linux_prctl::PR_TSC_ENABLE).map(|()| 0),
        linux_prctl::PR_SET_TSC if value == u64::from(linux_prctl::PR_TSC_ENABLE) => Ok(0),
        linux_prctl::PR_SET_TIMING if value != 0 => Err(Errno::EINVAL),
        // Nobody's orphans come to a program in a cell.
        linux_prctl::PR_GET_CHILD_SUBREAPER => user::write(value, &0u32).map(|()| 0),
        linux_prctl::PR_SET_CHILD_SUBREAPER if value == 0 => Ok(0),
        // Statistical timing, no securebits, no filter: as they are at the start.
        linux_prctl::PR_GET_TIMING
        | linux_prctl::PR_SET_TIMING
        | linux_prctl::PR_GET_SECUREBITS
        | linux_prctl::PR_GET_SECCOMP => Ok(0),
        linux_prctl::PR_CAP_AMBIENT if args[3..5] == [0; 2] => ambient(value, args[2]),
        // A name for a mapping in /proc/self/maps, and Yama's permission: hints.
        PR_SET_VMA if value == 0 && args[2].is_multiple_of(PAGE) => Ok(0),
        PR_SET_PTRACER => Ok(0),
        option if is_known(option) => Err(Errno::EINVAL),
        // Options that Linux 6.1 knows; others are its EINVAL too.
        1..=LAST_OPTION => {
            named::once(named::What::Prctl(option));
            Err(Errno::EINVAL)
        }
        _ => Err(Errno::EINVAL),
    }
}

/// Options whose good arguments are served: others are Linux's EINVAL too.
fn is_known(option: u32) -> bool {
    matches!(
        option,
        linux_prctl::PR_SET_PDEATHSIG
            | linux_prctl::PR_SET_DUMPABLE
            | linux_prctl::PR_CAPBSET_READ
            | linux_prctl::PR_SET_NO_NEW_PRIVS
            | linux_prctl::PR_GET_NO_NEW_PRIVS
            | linux_prctl::PR_SET_KEEPCAPS
            | linux_prctl::PR_SET_THP_DISABLE
            | linux_prctl::PR_GET_THP_DISABLE
            | linux_prctl::PR_MCE_KILL
            | linux_prctl::PR_MCE_KILL_GET
            | linux_prctl::PR_CAP_AMBIENT
    )
}

/// PR_MCE_KILL: clear, or set to late, early or the default.
fn set_memory_errors(what: u64, policy: u64) -> SysResult {
    match (what, policy) {
        (0, 0) => exchange(&MEMORY_ERRORS, MEMORY_ERRORS_DEFAULT),
        (1, 0..=2) => exchange(&MEMORY_ERRORS, policy),
        _ => Err(Errno::EINVAL),
    }
}

/// PR_CAP_AMBIENT: the set is empty, and nothing may be put into it.
fn ambient(what: u64, capability: u64) -> SysResult {
    const IS_SET: u64 = 1;
    const RAISE: u64 = 2;
    const LOWER: u64 = 3;
    const CLEAR_ALL: u64 = 4;
    match what {
        CLEAR_ALL if capability == 0 => Ok(0),
        IS_SET | LOWER if capability <= LAST_CAPABILITY => Ok(0),
        RAISE if capability <= LAST_CAPABILITY => Err(Errno::EPERM),
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
