//! Where and how threads run: affinity, scheduling classes, the current CPU.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use crate::abi::{Errno, SysResult};
use crate::mm::user;
use crate::sched::affinity::CpuSet;
use crate::sched::thread::{Thread, current_arc, find};
use crate::sched::{self, this_core, yield_now};
use crate::{boot, forward};

/// sched_yield(2)
pub fn sched_yield(_: [u64; 6]) -> SysResult {
    forward::poll(this_core());
    yield_now();
    Ok(0)
}

fn target(tid: u64) -> Result<Arc<Thread>, Errno> {
    let tid = tid as u32;
    if tid.cast_signed() < 0 {
        return Err(Errno::EINVAL);
    }
    if tid == 0 { Ok(current_arc()) } else { find(tid).ok_or(Errno::ESRCH) }
}

/// The same for calls to which a negative number is just nobody's.
fn existing(tid: u64) -> Result<Arc<Thread>, Errno> {
    target(tid).map_err(|_| Errno::ESRCH)
}

/// sched_setaffinity(2)
pub fn sched_setaffinity(args: [u64; 6]) -> SysResult {
    let [tid, len, at, ..] = args;
    let mut bytes = alloc::vec![0; (len as u32 as usize).min(1024)];
    user::copy_in(&mut bytes, at)?;
    let thread = existing(tid)?;
    let wanted = CpuSet::from_bytes(&bytes).and(&boot::cell_cpus());
    if wanted.is_empty() {
        return Err(Errno::EINVAL);
    }
    *thread.affinity.lock() = wanted;
    if Arc::ptr_eq(&thread, &current_arc()) {
        sched::switch::migrate();
        return Ok(0);
    }
    // It moves when it next leaves the kernel; if it waits for a core, an idle one may take it.
    thread.attention.store(true, Ordering::SeqCst);
    for core in sched::cores() {
        if core.index != this_core().index {
            core.attract();
        }
    }
    Ok(0)
}

/// sched_getaffinity(2)
pub fn sched_getaffinity(args: [u64; 6]) -> SysResult {
    let [tid, len, at, ..] = args;
    let highest = sched::cores().iter().map(|core| core.cpu).max().unwrap_or(0);
    let len = u64::from(len as u32);
    if len % 8 != 0 || len * 8 <= u64::from(highest) {
        return Err(Errno::EINVAL);
    }
    let mut bytes = existing(tid)?.affinity.lock().to_bytes();
    // Linux tells the size of its own masks, which reach to the last possible CPU.
    let size = (highest as usize / 64 + 1) * 8;
    bytes.resize(size, 0);
    bytes.truncate(len as usize);
    user::copy_out(at, &bytes)?;
    Ok(bytes.len() as u64)
}

/// getcpu(2)
pub fn getcpu(args: [u64; 6]) -> SysResult {
    let [cpu, node, ..] = args;
    if cpu != 0 {
        user::write(cpu, &this_core().cpu)?;
    }
    if node != 0 {
        user::write(node, &(boot::facts().info.numa_node as u32))?;
    }
    Ok(0)
}

const SCHED_OTHER: u64 = 0;
const SCHED_FIFO: u64 = 1;
const SCHED_RR: u64 = 2;
const SCHED_BATCH: u64 = 3;
const SCHED_IDLE: u64 = 5;
const SCHED_DEADLINE: u64 = 6;

/// What is refused of a thread's number and a pointer before the one is looked for and the other
/// followed.
fn check_arguments(tid: u64, at: u64) -> Result<(), Errno> {
    if at == 0 || (tid as u32).cast_signed() < 0 { Err(Errno::EINVAL) } else { Ok(()) }
}

/// sched_setparam(2)
pub fn sched_setparam(args: [u64; 6]) -> SysResult {
    check_arguments(args[0], args[1])?;
    let priority: u32 = user::read(args[1])?;
    target(args[0])?;
    if priority == 0 { Ok(0) } else { Err(Errno::EINVAL) }
}

/// sched_getparam(2)
pub fn sched_getparam(args: [u64; 6]) -> SysResult {
    check_arguments(args[0], args[1])?;
    target(args[0])?;
    user::write(args[1], &0u32)?;
    Ok(0)
}

/// sched_setscheduler(2)
pub fn sched_setscheduler(args: [u64; 6]) -> SysResult {
    /// Of no meaning where there are no copies of a process.
    const SCHED_RESET_ON_FORK: u32 = 0x4000_0000;
    let policy = args[1] as u32;
    if policy.cast_signed() < 0 {
        return Err(Errno::EINVAL);
    }
    check_arguments(args[0], args[2])?;
    let priority: u32 = user::read(args[2])?;
    target(args[0])?;
    match u64::from(policy & !SCHED_RESET_ON_FORK) {
        SCHED_OTHER | SCHED_BATCH | SCHED_IDLE if priority == 0 => Ok(0),
        SCHED_FIFO | SCHED_RR if (1..=99).contains(&priority) => Err(Errno::EPERM),
        _ => Err(Errno::EINVAL),
    }
}

/// sched_getscheduler(2)
pub fn sched_getscheduler(args: [u64; 6]) -> SysResult {
    target(args[0])?;
    Ok(SCHED_OTHER)
}

/// Bytes of `struct sched_attr` at first, and as Linux 6.1 has it.
const ATTR_FIRST: u32 = 48;
const ATTR: u32 = 56;

/// sched_setattr(2)
pub fn sched_setattr(args: [u64; 6]) -> SysResult {
    let [tid, at, flags, ..] = args;
    if at == 0 || flags as u32 != 0 || (tid as u32).cast_signed() < 0 {
        return Err(Errno::EINVAL);
    }
    let size: u32 = user::read(at)?;
    let size = if size == 0 { ATTR_FIRST } else { size };
    if !(ATTR_FIRST..=4096).contains(&size) {
        user::write(at, &ATTR)?;
        return Err(Errno::E2BIG);
    }
    let [_, policy, _, _, _, priority]: [u32; 6] = user::read(at)?;
    target(tid)?;
    match u64::from(policy) {
        SCHED_OTHER | SCHED_BATCH | SCHED_IDLE if priority == 0 => Ok(0),
        SCHED_FIFO | SCHED_RR if (1..=99).contains(&priority) => Err(Errno::EPERM),
        SCHED_DEADLINE => Err(Errno::EPERM),
        _ => Err(Errno::EINVAL),
    }
}

/// sched_getattr(2)
pub fn sched_getattr(args: [u64; 6]) -> SysResult {
    let [tid, at, size, flags, ..] = args;
    let size = size as u32;
    if at == 0 || (tid as u32).cast_signed() < 0 || !(ATTR_FIRST..=4096).contains(&size) || flags as u32 != 0 {
        return Err(Errno::EINVAL);
    }
    target(tid)?;
    // Size; policy SCHED_OTHER, no flags, nice 0, no priority, no times, no clamps.
    let mut words = [0u32; ATTR as usize / 4];
    words[0] = size.min(ATTR);
    user::copy_out(at, &zerocopy::IntoBytes::as_bytes(&words)[..words[0] as usize])?;
    Ok(0)
}

/// sched_get_priority_max(2)
pub fn sched_get_priority_max(args: [u64; 6]) -> SysResult {
    priority_of(args[0], 99)
}

/// sched_get_priority_min(2)
pub fn sched_get_priority_min(args: [u64; 6]) -> SysResult {
    priority_of(args[0], 1)
}

/// What a class has for a bound of its priorities, if it has any: what could be asked for.
fn priority_of(policy: u64, bound: u64) -> SysResult {
    match u64::from(policy as u32) {
        SCHED_FIFO | SCHED_RR => Ok(bound),
        SCHED_OTHER | SCHED_BATCH | SCHED_IDLE | SCHED_DEADLINE => Ok(0),
        _ => Err(Errno::EINVAL),
    }
}

/// sched_rr_get_interval(2)
pub fn sched_rr_get_interval(args: [u64; 6]) -> SysResult {
    target(args[0])?;
    user::write(args[1], &crate::time::timespec(sched::timer::SLICE_NS))?;
    Ok(0)
}
