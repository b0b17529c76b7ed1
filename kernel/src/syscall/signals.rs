//! Signals: the calls. What they act on is `sched::signal`.

use alloc::sync::Arc;

use shm_ipc::calls::private;

use super::times;
use crate::abi::{Errno, SysResult};
use crate::forward::Request;
use crate::mm::user;
use crate::sched::signal::{self, Action, AltStack, SigInfo, SigSet, StackT};
use crate::sched::thread::{Thread, current, current_arc, find};
use crate::sched::vfork;
use crate::sched::wait::{self, Wake};
use crate::{boot, platform, time};

const SIGSET_BYTES: u64 = 8;

/// rt_sigaction(2)
pub fn rt_sigaction(args: [u64; 6]) -> SysResult {
    let [number, new, old, size, ..] = args;
    let number = u64::from(number as u32);
    if size != SIGSET_BYTES {
        return Err(Errno::EINVAL);
    }
    let action: Option<Action> = if new == 0 { None } else { Some(user::read(new)?) };
    let was = match vfork::exchange_action(current(), number, action) {
        Some(of_child) => of_child?,
        None => exchange_action(number, action)?,
    };
    if old != 0 {
        user::write(old, &was)?;
    }
    Ok(0)
}

/// What is done about children that end is said to whoever waits for them: which have ended before?
fn exchange_action(number: u64, action: Option<Action>) -> Result<Action, Errno> {
    let before = signal::children_vanish();
    let was = signal::exchange_action(number, action)?;
    let after = signal::children_vanish();
    if before != after {
        let mut request = Request::kernel(private::CHILDREN_VANISH);
        request.set(0, u64::from(after));
        // Without children there is nothing to be said.
        let _ = request.run();
    }
    Ok(was)
}

/// rt_sigprocmask(2)
pub fn rt_sigprocmask(args: [u64; 6]) -> SysResult {
    const BLOCK: u64 = 0;
    const UNBLOCK: u64 = 1;
    const SET: u64 = 2;
    let [how, new, old, size, ..] = args;
    if size != SIGSET_BYTES {
        return Err(Errno::EINVAL);
    }
    let thread = current();
    let was = thread.signals.lock().mask;
    if new != 0 {
        let set = SigSet(user::read(new)?);
        let mask = match u64::from(how as u32) {
            BLOCK => was.or(set),
            UNBLOCK => was.without(set),
            SET => set,
            _ => return Err(Errno::EINVAL),
        };
        thread.signals.lock().mask = mask.blockable();
        signal::refresh(thread);
    }
    if old != 0 {
        user::write(old, &was.0)?;
    }
    Ok(0)
}

/// rt_sigpending(2)
pub fn rt_sigpending(args: [u64; 6]) -> SysResult {
    if args[1] > SIGSET_BYTES {
        return Err(Errno::EINVAL);
    }
    user::copy_out(args[0], &signal::pending_set(current()).0.to_le_bytes()[..args[1] as usize])?;
    Ok(0)
}

/// Replaces the mask for the time of a call; the way out of the kernel brings the old one back.
pub fn replace_mask(at: u64, size: u64) -> Result<(), Errno> {
    if at == 0 {
        return Ok(());
    }
    if size != SIGSET_BYTES {
        return Err(Errno::EINVAL);
    }
    let mask = SigSet(user::read(at)?).blockable();
    let thread = current();
    let old = core::mem::replace(&mut thread.signals.lock().mask, mask);
    thread.own.saved_mask.set(Some(old));
    signal::refresh(thread);
    Ok(())
}

/// rt_sigsuspend(2)
pub fn rt_sigsuspend(args: [u64; 6]) -> SysResult {
    match args[1] {
        SIGSET_BYTES if args[0] == 0 => return Err(Errno::EFAULT),
        SIGSET_BYTES => {}
        _ => return Err(Errno::EINVAL),
    }
    replace_mask(args[0], args[1])?;
    times::wait_for_signal()
}

/// pause(2)
pub fn pause(_: [u64; 6]) -> SysResult {
    times::wait_for_signal()
}

/// rt_sigtimedwait(2)
pub fn rt_sigtimedwait(args: [u64; 6]) -> SysResult {
    let [set, info, timeout, size, ..] = args;
    if size != SIGSET_BYTES {
        return Err(Errno::EINVAL);
    }
    let wanted = SigSet(user::read(set)?).blockable();
    let deadline = match timeout {
        0 => None,
        at => Some(platform::get().monotonic().saturating_add(time::read_timespec(at)?)),
    };
    let taken = take_awaited(wanted, deadline)?;
    if info != 0 {
        user::write(info, &taken.0)?;
    }
    Ok(u64::from(taken.signal()))
}

/// Takes the next signal out of `wanted`, waiting for one until `deadline`.
///
/// # Errors
/// `EAGAIN` after the deadline, `EINTR` when another signal is to be delivered.
pub fn take_awaited(wanted: SigSet, deadline: Option<u64>) -> Result<SigInfo, Errno> {
    let thread = current_arc();
    let taken = loop {
        thread.signals.lock().awaited = wanted;
        let taken = signal::dequeue_for(&thread, wanted);
        if taken.is_some() {
            break taken.ok_or(Errno::EAGAIN);
        }
        let woken = wait::sleep_until(&thread, deadline);
        if let Some(taken) = signal::dequeue_for(&thread, wanted) {
            break Ok(taken);
        }
        match woken {
            Wake::Timeout => break Err(Errno::EAGAIN),
            _ if signal::is_due(&thread) => break Err(Errno::EINTR),
            _ => {}
        }
    };
    thread.signals.lock().awaited = SigSet::default();
    // What has come since the last look was meant for this thread, which does not take it now.
    signal::refresh(&thread);
    taken
}

/// sigaltstack(2)
pub fn sigaltstack(args: [u64; 6]) -> SysResult {
    const MIN_BYTES: u64 = 2048;
    let [new, old, ..] = args;
    let thread = current();
    let now = thread.own.alt_stack.get();
    // SAFETY: the thread's own registers, within its own system call.
    let rsp = unsafe { (*thread.frame()).rsp };
    let inside = now.flags & AltStack::DISABLE == 0 && now.holds(rsp);
    if new != 0 {
        let wanted: StackT = user::read(new)?;
        let wanted = AltStack::from(wanted);
        let mode = wanted.flags & !AltStack::AUTODISARM;
        if inside {
            return Err(Errno::EPERM);
        }
        let is_none = |stack: &AltStack| stack.at == 0 && stack.size == 0;
        match mode {
            // Nothing changes: not looked at more closely.
            0 if is_none(&wanted) && is_none(&now) => {}
            AltStack::DISABLE => thread.own.alt_stack.set(AltStack::disabled()),
            0 | AltStack::ON_STACK => {
                // One too small for a frame is found when a signal comes, as on Linux.
                if wanted.size < MIN_BYTES {
                    return Err(Errno::ENOMEM);
                }
                let flags = wanted.flags & AltStack::AUTODISARM;
                thread.own.alt_stack.set(AltStack { flags, ..wanted });
            }
            _ => return Err(Errno::EINVAL),
        }
    }
    if old != 0 {
        let flags = now.flags | if inside { AltStack::ON_STACK } else { 0 };
        user::write(old, &StackT::from(AltStack { flags, ..now }))?;
    }
    Ok(0)
}

fn own_pid() -> u32 {
    boot::facts().info.pid as u32
}

fn number(raw: u64) -> Result<u8, Errno> {
    u8::try_from(raw as u32).ok().filter(|number| *number <= signal::number::MAX).ok_or(Errno::EINVAL)
}

/// Sends through Linux.
fn send_outside(pid: u64, tid: u64, signal: u64, info: Option<&SigInfo>) -> SysResult {
    let mut request = Request::new(private::SIGNAL, [pid, signal, 0, tid, 0, 0]);
    if let Some(info) = info {
        request.kernel_buffer(2, info.0.to_vec());
    }
    request.run().result
}

/// kill(2)
pub fn kill(args: [u64; 6]) -> SysResult {
    let [pid, raw, ..] = args;
    let signal = number(raw)?;
    if is_lent_to(pid) {
        return vfork::take_if_any(current(), signal);
    }
    if !names_process(pid) {
        return send_outside(u64::from(pid as u32), 0, raw, None);
    }
    if signal == 0 {
        return Ok(0);
    }
    signal::send_process(SigInfo::user(signal, own_pid(), boot::facts().info.ids[0] as u32));
    Ok(0)
}

/// Whether a number means this process: that of any of its threads does.
fn names_process(pid: u64) -> bool {
    pid as u32 == own_pid() || find(pid as u32).is_some()
}

/// Whether the current thread is the child with this number, before it executes anything.
fn is_lent_to(pid: u64) -> bool {
    current().lent.to() == Some(pid as u32)
}

/// The thread `tid`, of process `pid` if that is given.
fn target(pid: Option<u64>, tid: u64) -> Result<Option<Arc<Thread>>, Errno> {
    let tid = tid as u32;
    if tid.cast_signed() <= 0 || pid.is_some_and(|pid| (pid as u32).cast_signed() <= 0) {
        return Err(Errno::EINVAL);
    }
    match pid {
        Some(pid) if pid as u32 != own_pid() => Ok(None),
        Some(_) => find(tid).map(Some).ok_or(Errno::ESRCH),
        None => Ok(find(tid)),
    }
}

fn send_to(thread: Option<Arc<Thread>>, pid: u64, tid: u64, raw: u64) -> SysResult {
    let signal = number(raw)?;
    let Some(thread) = thread else { return send_outside(pid, tid, raw, None) };
    if signal != 0 {
        let info = SigInfo::thread(signal, own_pid(), boot::facts().info.ids[0] as u32);
        if !signal::send_thread(&thread, info) {
            return Err(Errno::EAGAIN);
        }
    }
    Ok(0)
}

/// tgkill(2)
pub fn tgkill(args: [u64; 6]) -> SysResult {
    let [pid, tid, raw, ..] = args;
    if is_lent_to(pid) {
        return vfork::take_if_any(current(), number(raw)?);
    }
    send_to(target(Some(pid), tid)?, u64::from(pid as u32), u64::from(tid as u32), raw)
}

/// tkill(2)
pub fn tkill(args: [u64; 6]) -> SysResult {
    let [tid, raw, ..] = args;
    if is_lent_to(tid) {
        return vfork::take_if_any(current(), number(raw)?);
    }
    send_to(target(None, tid)?, u64::from(tid as u32), u64::from(tid as u32), raw)
}

/// The siginfo of a queueing call; a program may not pretend to be the kernel to others.
fn queued_info(signal: u8, at: u64) -> Result<SigInfo, Errno> {
    /// `struct kernel_siginfo`: of the rest Linux takes nothing.
    const KNOWN: usize = 48;
    let mut bytes = [0; 128];
    user::copy_in(&mut bytes[..KNOWN], at)?;
    Ok(SigInfo::raw(signal.max(1), bytes))
}

/// rt_sigqueueinfo(2)
pub fn rt_sigqueueinfo(args: [u64; 6]) -> SysResult {
    let [pid, raw, at, ..] = args;
    let signal = number(raw)?;
    let info = queued_info(signal, at)?;
    if !names_process(pid) {
        return send_outside(u64::from(pid as u32), 0, raw, Some(&info));
    }
    if signal != 0 && !signal::send_process(info) {
        return Err(Errno::EAGAIN);
    }
    Ok(0)
}

/// rt_tgsigqueueinfo(2)
pub fn rt_tgsigqueueinfo(args: [u64; 6]) -> SysResult {
    let [pid, tid, raw, at, ..] = args;
    let signal = number(raw)?;
    let info = queued_info(signal, at)?;
    let Some(thread) = target(Some(pid), tid)? else { return Err(Errno::ESRCH) };
    if signal != 0 && !signal::send_thread(&thread, info) {
        return Err(Errno::EAGAIN);
    }
    Ok(0)
}
