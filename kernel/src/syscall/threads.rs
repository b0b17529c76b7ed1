//! Threads: clone(2), exit(2), futex(2) and what belongs to them.

use alloc::sync::Arc;

use super::{child_frame, named};
use crate::abi::{Errno, SysResult, linux};
use crate::mm::user;
use crate::sched::futex::{self, ANY, Futex};
use crate::sched::thread::{Thread, current, current_arc, find};
use crate::sched::{self, process, switch, this_core, vfork};
use crate::{boot, platform, time};

/// What the flags of a new thread must contain: a thread shares all that a cell has one of.
const THREAD_FLAGS: u64 =
    (linux::CLONE_VM | linux::CLONE_FS | linux::CLONE_FILES | linux::CLONE_SIGHAND | linux::CLONE_THREAD) as u64;

/// What makes a child of vfork(2): the parent's memory, and the parent waits.
const VFORK_FLAGS: u64 = (linux::CLONE_VM | linux::CLONE_VFORK) as u64;

/// The child has no signal handlers (clone(2)); beyond what fits into 32 bits.
const CLONE_CLEAR_SIGHAND: u64 = 1 << 32;

/// Flags with an effect here, or without any on Linux either.
const KNOWN_FLAGS: u64 = THREAD_FLAGS
    | (linux::CLONE_SYSVSEM
        | linux::CLONE_SETTLS
        | linux::CLONE_PARENT_SETTID
        | linux::CLONE_CHILD_CLEARTID
        | linux::CLONE_CHILD_SETTID
        | linux::CLONE_DETACHED
        | linux::CLONE_IO) as u64;

/// What clone(2) and clone3(2) have in common.
#[derive(Debug, Clone, Copy)]
struct CloneArgs {
    flags: u64,
    /// Sent to the parent when a child ends.
    exit_signal: u64,
    /// Stack pointer; 0 for the creator's.
    stack: u64,
    parent_tid: u64,
    child_tid: u64,
    tls: u64,
}

/// clone(2)
pub fn clone(args: [u64; 6]) -> SysResult {
    let [flags, stack, parent_tid, child_tid, tls, _] = args;
    const SIGNAL: u64 = 0xff;
    start(CloneArgs { flags: flags & !SIGNAL, exit_signal: flags & SIGNAL, stack, parent_tid, child_tid, tls })
}

/// clone3(2)
pub fn clone3(args: [u64; 6]) -> SysResult {
    const FIRST_VERSION: u64 = 64;
    let [at, size, ..] = args;
    if size < FIRST_VERSION {
        return Err(Errno::EINVAL);
    }
    if size > 4096 {
        return Err(Errno::E2BIG);
    }
    // struct clone_args: flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size,
    // tls, set_tid, set_tid_size, cgroup.
    let mut words = [0u64; 11];
    let bytes = (size as usize).min(size_of_val(&words));
    let mut raw = [0; 88];
    user::copy_in(&mut raw[..bytes], at)?;
    for (word, chunk) in words.iter_mut().zip(raw.chunks_exact(8)) {
        *word = chunk.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
    }
    let [flags, _pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, ..] = words;
    if flags & THREAD_FLAGS == THREAD_FLAGS && (exit_signal != 0 || set_tid != 0) {
        return Err(Errno::EINVAL);
    }
    if (stack == 0) != (stack_size == 0) {
        return Err(Errno::EINVAL);
    }
    start(CloneArgs { flags, exit_signal, stack: stack.wrapping_add(stack_size), parent_tid, child_tid, tls })
}

/// vfork(2)
pub fn vfork(_: [u64; 6]) -> SysResult {
    const SIGCHLD: u64 = 17;
    let flags = VFORK_FLAGS;
    start(CloneArgs { flags, exit_signal: SIGCHLD, stack: 0, parent_tid: 0, child_tid: 0, tls: 0 })
}

/// A child that borrows its parent's thread until it executes something.
fn start_child(args: CloneArgs) -> SysResult {
    const SIGCHLD: u64 = 17;
    let known = VFORK_FLAGS
        | CLONE_CLEAR_SIGHAND
        | u64::from(linux::CLONE_SETTLS | linux::CLONE_PARENT_SETTID | linux::CLONE_CHILD_SETTID)
        | u64::from(linux::CLONE_UNTRACED);
    if args.flags & !known != 0 || args.exit_signal != SIGCHLD || current().lent.to().is_some() {
        named::once(named::What::Process);
        return Err(Errno::ENOSYS);
    }
    let has = |flag: u64| args.flags & flag != 0;
    if has(linux::CLONE_SETTLS.into()) && args.tls >= platform::get().user_range().end {
        return Err(Errno::EPERM);
    }
    let tls = has(linux::CLONE_SETTLS.into()).then_some(args.tls);
    let pid = vfork::begin(current(), args.stack, tls, has(CLONE_CLEAR_SIGHAND))?;
    // Linux does not care either whether the places for the number can be written.
    let _ = store_tids(&args, pid);
    Ok(0)
}

fn start(args: CloneArgs) -> SysResult {
    if args.flags & (VFORK_FLAGS | u64::from(linux::CLONE_THREAD)) == VFORK_FLAGS {
        return start_child(args);
    }
    if args.flags & THREAD_FLAGS != THREAD_FLAGS {
        named::once(named::What::Process);
        return Err(Errno::ENOSYS);
    }
    if args.flags & !KNOWN_FLAGS != 0 {
        return Err(Errno::EINVAL);
    }
    let has = |flag: u32| args.flags & u64::from(flag) != 0;
    if current().lent.to().is_some() {
        named::once(named::What::Process);
        return Err(Errno::ENOSYS);
    }
    if has(linux::CLONE_SETTLS) && args.tls >= platform::get().user_range().end {
        // The CPU refuses to load some of these, and the kernel would be the one to find out.
        return Err(Errno::EPERM);
    }
    let creator = current();
    let pid = boot::facts().info.pid as u32;
    let child = Thread::new_child(creator, pid, child_frame(creator, args.stack)).ok_or(Errno::EAGAIN)?;
    let (fs, gs) = platform::get().segment_bases();
    child.own.bases.set((if has(linux::CLONE_SETTLS) { args.tls } else { fs }, gs));
    if has(linux::CLONE_CHILD_CLEARTID) {
        child.own.clear_tid.set(args.child_tid);
    }
    let stored = store_tids(&args, child.tid);
    if let Err(errno) = stored {
        child.retire();
        return Err(errno);
    }
    switch::place_new(&child);
    let tid = child.tid;
    make_runnable(child);
    Ok(u64::from(tid))
}

fn make_runnable(child: Arc<Thread>) {
    let core = &sched::cores()[child.core.load(core::sync::atomic::Ordering::SeqCst) as usize];
    switch::start_on(core, child);
}

fn store_tids(args: &CloneArgs, tid: u32) -> Result<(), Errno> {
    if args.flags & u64::from(linux::CLONE_PARENT_SETTID) != 0 {
        user::write(args.parent_tid, &tid)?;
    }
    if args.flags & u64::from(linux::CLONE_CHILD_SETTID) != 0 {
        user::write(args.child_tid, &tid)?;
    }
    Ok(())
}

/// exit(2)
pub fn exit(args: [u64; 6]) -> SysResult {
    if current().lent.to().is_some() {
        return vfork::exit(current(), args[0]);
    }
    process::exit_thread(args[0])
}

/// exit_group(2)
pub fn exit_group(args: [u64; 6]) -> SysResult {
    if current().lent.to().is_some() {
        return vfork::exit(current(), args[0]);
    }
    process::exit(args[0])
}

/// set_tid_address(2)
pub fn set_tid_address(args: [u64; 6]) -> SysResult {
    current().own.clear_tid.set(args[0]);
    Ok(u64::from(current().tid))
}

/// rseq(2)
pub fn rseq(args: [u64; 6]) -> SysResult {
    sched::rseq::register(current(), this_core(), args)
}

const ROBUST_HEAD_BYTES: u64 = 24;

/// set_robust_list(2)
pub fn set_robust_list(args: [u64; 6]) -> SysResult {
    let [head, len, ..] = args;
    if len != ROBUST_HEAD_BYTES {
        return Err(Errno::EINVAL);
    }
    current().own.robust_list.set(head);
    Ok(0)
}

/// get_robust_list(2)
pub fn get_robust_list(args: [u64; 6]) -> SysResult {
    let [tid, head, len, ..] = args;
    let thread = if tid == 0 { Some(current_arc()) } else { find(tid as u32) };
    let thread = thread.ok_or(Errno::ESRCH)?;
    user::write(len, &ROBUST_HEAD_BYTES)?;
    user::write(head, &thread.own.robust_list.get())?;
    Ok(0)
}

/// arch_prctl(2)
pub fn arch_prctl(args: [u64; 6]) -> SysResult {
    const SET_GS: u64 = 0x1001;
    const SET_FS: u64 = 0x1002;
    const GET_FS: u64 = 0x1003;
    const GET_GS: u64 = 0x1004;
    let [code, value, ..] = args;
    let (fs, gs) = platform::get().segment_bases();
    let end = platform::get().user_range().end;
    match code {
        SET_FS | SET_GS if value >= end => Err(Errno::EPERM),
        SET_FS => {
            platform::get().set_segment_bases(value, gs);
            Ok(0)
        }
        SET_GS => {
            platform::get().set_segment_bases(fs, value);
            Ok(0)
        }
        GET_FS => user::write(value, &fs).map(|()| 0),
        GET_GS => user::write(value, &gs).map(|()| 0),
        _ => Err(Errno::EINVAL),
    }
}

/// futex(2)
pub fn futex(args: [u64; 6]) -> SysResult {
    let [address, operation, value, timeout, second, third] = args;
    let operation = operation as u32;
    let value = value as u32;
    let command = operation & !(linux::FUTEX_PRIVATE_FLAG | linux::FUTEX_CLOCK_REALTIME);
    let shared = operation & linux::FUTEX_PRIVATE_FLAG == 0;
    if operation & linux::FUTEX_CLOCK_REALTIME != 0 && command != linux::FUTEX_WAIT_BITSET {
        return Err(Errno::ENOSYS);
    }
    let (address, second, limit) = (Futex { address, shared }, Futex { address: second, shared }, timeout as u32);
    match command {
        linux::FUTEX_WAIT | linux::FUTEX_WAIT_BITSET => {
            let bits = if command == linux::FUTEX_WAIT { ANY } else { third as u32 };
            let deadline = futex_deadline(command, operation, timeout)?;
            futex::wait_for(address, value, deadline, bits)
        }
        linux::FUTEX_WAKE => futex::wake_for(address, value, ANY),
        linux::FUTEX_WAKE_BITSET => futex::wake_for(address, value, third as u32),
        linux::FUTEX_REQUEUE | linux::FUTEX_CMP_REQUEUE => {
            let expected = (command == linux::FUTEX_CMP_REQUEUE).then_some(third as u32);
            futex::requeue(address, second, value, limit, expected)
        }
        linux::FUTEX_WAKE_OP => futex::wake_op(address, second, value, limit, third as u32),
        _ => Err(Errno::ENOSYS),
    }
}

/// FUTEX_WAIT's timeout is relative, FUTEX_WAIT_BITSET's absolute, on the clock that a flag names.
fn futex_deadline(command: u32, operation: u32, timeout: u64) -> Result<Option<u64>, Errno> {
    if timeout == 0 {
        return Ok(None);
    }
    let ns = time::read_timespec(timeout)?;
    let realtime = operation & linux::FUTEX_CLOCK_REALTIME != 0;
    let clock = if realtime { linux::CLOCK_REALTIME } else { linux::CLOCK_MONOTONIC };
    time::deadline(u64::from(clock), ns, command == linux::FUTEX_WAIT_BITSET).map(Some)
}
