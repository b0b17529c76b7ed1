//! Futexes (futex(2), `kernel/futex/`).
//!
//! Private ones, and shared ones in the cell's own memory, are known by their address: a cell
//! has one address space. For memory that is mapped from Linux, waiters may also be outside
//! the cell; see [`foreign`].

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use spin::{Mutex, MutexGuard};

use super::thread::{Thread, current_arc};
use super::wait::{self, Ticket, Wake};
use crate::abi::{Errno, SysResult};
use crate::mm::{self, user};

/// A thread that waits, and for which wake-ups.
#[derive(Debug)]
struct Waiter {
    address: u64,
    bits: u32,
    ticket: Ticket,
}

const BUCKETS: usize = 256;

static TABLE: [Mutex<VecDeque<Waiter>>; BUCKETS] = [const { Mutex::new(VecDeque::new()) }; BUCKETS];

fn bucket(address: u64) -> usize {
    // Fibonacci hashing of the word's index.
    ((address >> 2).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as usize % BUCKETS
}

/// Matches every wake-up.
pub const ANY: u32 = u32::MAX;

fn check(address: u64) -> Result<(), Errno> {
    if address.is_multiple_of(4) { Ok(()) } else { Err(Errno::EINVAL) }
}

/// A futex as a call names it.
#[derive(Debug, Clone, Copy)]
pub struct Futex {
    /// Of the word.
    pub address: u64,
    /// Whether other processes may know it too: `FUTEX_PRIVATE_FLAG` was not given.
    pub shared: bool,
}

impl Futex {
    /// Whether the futex is Linux's business. What Linux looks at before it looks for waiters
    /// (`get_futex_key`): a private one needs no memory for that.
    fn is_foreign(self) -> Result<bool, Errno> {
        check(self.address)?;
        if self.address.checked_add(4).is_none_or(|end| end > mm::user_range().end) {
            return Err(Errno::EFAULT);
        }
        if !self.shared {
            return Ok(false);
        }
        user::load_u32(self.address)?;
        mm::space().shared_word(self.address)
    }
}

/// FUTEX_WAIT_BITSET.
///
/// # Errors
/// As for [`wait`].
pub fn wait_for(futex: Futex, expected: u32, deadline: Option<u64>, bits: u32) -> SysResult {
    if bits == 0 {
        return Err(Errno::EINVAL);
    }
    match futex.is_foreign()? {
        true => foreign::wait_shared(futex.address, expected, deadline),
        false => wait(futex.address, expected, deadline, bits),
    }
}

/// FUTEX_WAKE_BITSET.
///
/// # Errors
/// `EFAULT`, `EINVAL`.
pub fn wake_for(futex: Futex, count: u32, bits: u32) -> SysResult {
    if bits == 0 {
        return Err(Errno::EINVAL);
    }
    let is_foreign = futex.is_foreign()?;
    Ok(wake_known(futex.address, is_foreign, at_least_one(count), bits))
}

/// Linux counts whom it has woken before it looks whether that is enough, in an `int`.
fn at_least_one(count: u32) -> u32 {
    if count.cast_signed() < 1 { 1 } else { count }
}

fn wake_known(address: u64, is_foreign: bool, count: u32, bits: u32) -> u64 {
    let inside = wake(address, count, bits);
    let left = count.saturating_sub(inside as u32);
    if is_foreign && left != 0 { inside + foreign::wake_some(address, left, bits) } else { inside }
}

/// Waits at `address` as long as it holds `expected`.
///
/// # Errors
/// `EAGAIN` when it does not, `ETIMEDOUT`, `EINTR`, `EFAULT`, `EINVAL`.
pub fn wait(address: u64, expected: u32, deadline: Option<u64>, bits: u32) -> SysResult {
    check(address)?;
    if bits == 0 {
        return Err(Errno::EINVAL);
    }
    let thread = current_arc();
    // The word is touched before the bucket is locked, so that the load under the lock does
    // not have to fill memory first.
    user::load_u32(address)?;
    let ticket = thread.begin_wait();
    {
        let mut queue = TABLE[bucket(address)].lock();
        match user::load_u32(address) {
            Ok(value) if value == expected => {
                thread.futex.store(address, Ordering::Relaxed);
                queue.push_back(Waiter { address, bits, ticket: ticket.clone() });
            }
            other => {
                drop(queue);
                wait::cancel(&ticket);
                other?;
                return Err(Errno::EAGAIN);
            }
        }
    }
    match wait::finish(&ticket, deadline, true) {
        Wake::Event => Ok(0),
        // A wake-up that has chosen this waiter counts, whatever else came first: the waker
        // relies on it and wakes nobody in its place.
        _ if !withdraw(&ticket) => Ok(0),
        Wake::Timeout => Err(Errno::ETIMEDOUT),
        Wake::Signal => Err(Errno::EINTR),
    }
}

/// Takes a waiter out that stopped waiting. `false` when a wake-up has done so before.
fn withdraw(ticket: &Ticket) -> bool {
    loop {
        let address = ticket.thread().futex.load(Ordering::Relaxed);
        if address == 0 {
            return false;
        }
        let mut queue = TABLE[bucket(address)].lock();
        if let Some(at) = queue.iter().position(|waiter| waiter.ticket.same(ticket)) {
            take_out(&mut queue, at);
            return true;
        }
        // It has been woken, or moved to another queue, since the address was read.
    }
}

fn take_out(queue: &mut VecDeque<Waiter>, at: usize) -> Option<Waiter> {
    let waiter = queue.remove(at)?;
    waiter.ticket.thread().futex.store(0, Ordering::Relaxed);
    Some(waiter)
}

/// Wakes up to `count` threads that wait at `address` for any of `bits`. Gives their number.
pub fn wake(address: u64, count: u32, bits: u32) -> u64 {
    let mut tickets = Vec::new();
    {
        let mut queue = TABLE[bucket(address)].lock();
        let mut at = 0;
        while at < queue.len() && (tickets.len() as u64) < u64::from(count) {
            if queue[at].address == address && queue[at].bits & bits != 0 {
                tickets.extend(take_out(&mut queue, at).map(|waiter| waiter.ticket));
            } else {
                at += 1;
            }
        }
    }
    for ticket in &tickets {
        ticket.redeem(Wake::Event);
    }
    tickets.len() as u64
}

/// Wakes threads that wait at `address`; nothing outside the cell does.
pub fn wake_address(address: u64, count: u32) {
    wake(address, count, ANY);
}

/// FUTEX_REQUEUE and FUTEX_CMP_REQUEUE: wakes up to `count` waiters of `from`, lets up to
/// `limit` others wait at `to` instead. Those that wait in Linux are woken all alike, which a waiter
/// has to expect at any time.
///
/// # Errors
/// `EAGAIN` when `from` does not hold `expected`; `EFAULT`, `EINVAL`.
pub fn requeue(from: Futex, to: Futex, count: u32, limit: u32, expected: Option<u32>) -> SysResult {
    if count.cast_signed() < 0 || limit.cast_signed() < 0 {
        return Err(Errno::EINVAL);
    }
    let is_foreign = from.is_foreign()?;
    to.is_foreign()?;
    let (from, to) = (from.address, to.address);
    if expected.is_some() {
        user::load_u32(from)?;
    }
    let touched = requeue_inside(from, to, count, limit, expected)?;
    let left = count.saturating_add(limit).saturating_sub(touched as u32);
    Ok(if is_foreign && left != 0 { touched + foreign::wake_some(from, left, ANY) } else { touched })
}

fn requeue_inside(from: u64, to: u64, count: u32, limit: u32, expected: Option<u32>) -> SysResult {
    let touched;
    let mut moved = Vec::new();
    let mut tickets = Vec::new();
    {
        let (mut queue, mut target) = lock_both(bucket(from), bucket(to));
        if let Some(expected) = expected
            && user::load_u32(from)? != expected
        {
            return Err(Errno::EAGAIN);
        }
        let mut at = 0;
        while at < queue.len() {
            if queue[at].address != from {
                at += 1;
            } else if (tickets.len() as u64) < u64::from(count) {
                tickets.extend(take_out(&mut queue, at).map(|waiter| waiter.ticket));
            } else if (moved.len() as u64) < u64::from(limit) {
                moved.extend(queue.remove(at));
            } else {
                break;
            }
        }
        touched = (tickets.len() + moved.len()) as u64;
        let target = target.as_deref_mut().unwrap_or(&mut queue);
        for mut waiter in moved {
            waiter.address = to;
            waiter.ticket.thread().futex.store(to, Ordering::Relaxed);
            target.push_back(waiter);
        }
    }
    for ticket in tickets {
        ticket.redeem(Wake::Event);
    }
    Ok(touched)
}

type Queue = MutexGuard<'static, VecDeque<Waiter>>;

/// Two buckets, locked in the order of their numbers; the second only if it is another one.
fn lock_both(first: usize, second: usize) -> (Queue, Option<Queue>) {
    if second < first {
        let other = TABLE[second].lock();
        return (TABLE[first].lock(), Some(other));
    }
    (TABLE[first].lock(), (first != second).then(|| TABLE[second].lock()))
}

/// FUTEX_WAKE_OP: changes the word at `second`, wakes waiters of `first`, and those of
/// `second` if the old value compares as asked.
///
/// # Errors
/// `EFAULT`, `EINVAL`; `ENOSYS` for an operation that is none.
pub fn wake_op(first: Futex, second: Futex, count: u32, count2: u32, operation: u32) -> SysResult {
    let foreign = [first.is_foreign()?, second.is_foreign()?];
    let (first, second) = (first.address, second.address);
    let old = change(second, operation)?;
    let holds = compares(old, operation)?;
    let mut woken = wake_known(first, foreign[0], at_least_one(count), ANY);
    if holds {
        woken += wake_known(second, foreign[1], at_least_one(count2), ANY);
    }
    Ok(woken)
}

/// A field of 12 bits of FUTEX_WAKE_OP's operation, with its sign.
fn operand(field: u32) -> u32 {
    (((field & 0xfff) << 20).cast_signed() >> 20).cast_unsigned()
}

/// Changes the word at `second` as the operation says. Gives what it held before.
fn change(second: u64, operation: u32) -> Result<u32, Errno> {
    let argument = operand(operation >> 12);
    let argument = if operation >> 31 != 0 { 1u32.wrapping_shl(argument) } else { argument };
    loop {
        let old = user::load_u32(second)?;
        let new = match operation >> 28 & 7 {
            0 => argument,
            1 => old.wrapping_add(argument),
            2 => old | argument,
            3 => old & !argument,
            4 => old ^ argument,
            _ => return Err(Errno::ENOSYS),
        };
        if user::cas_u32(second, old, new)? == old {
            return Ok(old);
        }
    }
}

/// Whether the old value compares as the operation asks.
fn compares(old: u32, operation: u32) -> Result<bool, Errno> {
    let (old, with) = (old.cast_signed(), operand(operation).cast_signed());
    Ok(match operation >> 24 & 15 {
        0 => old == with,
        1 => old != with,
        2 => old < with,
        3 => old <= with,
        4 => old > with,
        5 => old >= with,
        _ => return Err(Errno::ENOSYS),
    })
}

const OWNER_DIED: u32 = 1 << 30;
const WAITERS: u32 = 1 << 31;
const TID: u32 = OWNER_DIED - 1;
/// Linux's ROBUST_LIST_LIMIT: a list may be circular.
const ROBUST_LIMIT: usize = 2048;

/// Marks the robust futexes that `thread` still holds (`Documentation/locking/robust-futex-ABI`).
pub fn leave_robust_list(thread: &Arc<Thread>) {
    let head = thread.own.robust_list.replace(0);
    if head != 0 {
        // A list that is not readable is the program's own loss.
        let _ = walk_robust_list(thread.tid, head);
    }
}

fn walk_robust_list(tid: u32, head: u64) -> Result<(), Errno> {
    let [mut entry, offset, pending]: [u64; 3] = user::read(head)?;
    for _ in 0..ROBUST_LIMIT {
        if entry & !1 == head {
            break;
        }
        // Read on before the lock is released: its memory may go away then.
        let next: u64 = user::read(entry & !1)?;
        if entry & !1 != pending & !1 {
            release(tid, (entry & !1).wrapping_add(offset))?;
        }
        entry = next;
    }
    if pending & !1 != 0 {
        release(tid, (pending & !1).wrapping_add(offset))?;
    }
    Ok(())
}

fn release(tid: u32, word: u64) -> Result<(), Errno> {
    check(word)?;
    loop {
        let value = user::load_u32(word)?;
        if value & TID != tid {
            return Ok(());
        }
        if user::cas_u32(word, value, value & WAITERS | OWNER_DIED)? == value {
            if value & WAITERS != 0 {
                wake(word, 1, ANY);
                foreign::wake(word, 1);
            }
            return Ok(());
        }
    }
}

/// Futexes in memory that is mapped from Linux: other processes may wait on them or wake them.
pub mod foreign {
    use super::{ANY, Errno, SysResult, Wake, current_arc, user, wait};
    use crate::mm;
    use crate::platform;

    /// Between looks at the word while other threads of the core want to run.
    const LOOK_NS: u64 = 200_000;

    /// Whether the word lies in memory that other processes may share.
    #[must_use]
    pub fn is_foreign(address: u64) -> bool {
        mm::space().is_shared_foreign(address)
    }

    /// Wakes waiters outside the cell. Gives their number.
    pub fn wake(address: u64, count: u32) -> u64 {
        if is_foreign(address) { wake_some(address, count, ANY) } else { 0 }
    }

    /// The same at a word that is known to be Linux's. The platform knows nothing of `bits`: then
    /// all are woken, the right ones among them.
    pub fn wake_some(address: u64, count: u32, bits: u32) -> u64 {
        let count = if bits == ANY { count } else { i32::MAX as u32 };
        platform::get().wake_foreign(address, count)
    }

    /// Waits for a word that other processes may change. The platform sleeps on it for short
    /// stretches, in between the core serves its rings and other threads.
    ///
    /// # Errors
    /// As for [`super::wait`].
    pub fn wait_shared(address: u64, expected: u32, deadline: Option<u64>) -> SysResult {
        let host = platform::get();
        let first = user::load_u32(address)?;
        if first != expected {
            return Err(Errno::EAGAIN);
        }
        let thread = current_arc();
        loop {
            let now = host.monotonic();
            if deadline.is_some_and(|deadline| deadline <= now) {
                return Err(Errno::ETIMEDOUT);
            }
            let until = deadline.unwrap_or(u64::MAX).min(now + LOOK_NS);
            let woken = host.wait_foreign(address, expected, until);
            if woken || user::load_u32(address)? != expected {
                return Ok(0);
            }
            // One look at everything else that this core has to do.
            let ticket = thread.begin_wait();
            if wait::finish(&ticket, Some(0), true) == Wake::Signal {
                return Err(Errno::EINTR);
            }
        }
    }
}
