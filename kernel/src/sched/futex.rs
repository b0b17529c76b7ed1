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
        true => foreign::wait_shared(futex.address, expected, deadline, bits),
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
    let inside = wake_inside(address, count, bits);
    if is_foreign { inside.count + foreign::wake_others(address, count, bits, inside) } else { inside.count }
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
    let ticket = enlist(&current_arc(), address, expected, bits)?.ok_or(Errno::EAGAIN)?;
    match wait::finish(&ticket, deadline, true) {
        Wake::Event => Ok(0),
        // A wake-up that has chosen this waiter counts, whatever else came first: the waker
        // relies on it and wakes nobody in its place.
        _ if !withdraw(&ticket) => Ok(0),
        Wake::Timeout => Err(Errno::ETIMEDOUT),
        Wake::Signal => Err(Errno::EINTR),
    }
}

/// The current thread begins to wait at `address`. `None` when that does not hold `expected`.
fn enlist(thread: &Arc<Thread>, address: u64, expected: u32, bits: u32) -> Result<Option<Ticket>, Errno> {
    // The word is touched before the bucket is locked, so that the load under the lock does
    // not have to fill memory first.
    user::load_u32(address)?;
    let ticket = thread.begin_wait();
    let mut queue = TABLE[bucket(address)].lock();
    match user::load_u32(address) {
        Ok(value) if value == expected => {
            thread.futex.store(address, Ordering::Relaxed);
            queue.push_back(Waiter { address, bits, ticket: ticket.clone() });
            Ok(Some(ticket))
        }
        other => {
            drop(queue);
            wait::cancel(&ticket);
            other.map(|_| None)
        }
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
    waiter.ticket.thread().futex.store(0, Ordering::SeqCst);
    Some(waiter)
}

/// Waiters of the cell that a call has found at a futex.
#[derive(Debug, Clone, Copy, Default)]
struct Inside {
    /// How many it has woken or moved.
    count: u64,
    /// How many of these sleep on the word in Linux too.
    asleep: u32,
    /// How many sleep there that it has left alone.
    left_asleep: u32,
}

impl Inside {
    /// Counts a waiter that has been taken out, which is when it looks for the last time whether it may sleep.
    fn found(&mut self, waiter: Waiter) -> Ticket {
        self.count += 1;
        self.asleep += u32::from(waiter.is_asleep());
        waiter.ticket
    }
}

impl Waiter {
    fn is_asleep(&self) -> bool {
        self.ticket.thread().asleep_in_linux.load(Ordering::SeqCst)
    }
}

/// Wakes up to `count` threads that wait at `address` for any of `bits`. Gives their number.
pub fn wake(address: u64, count: u32, bits: u32) -> u64 {
    wake_inside(address, count, bits).count
}

fn wake_inside(address: u64, count: u32, bits: u32) -> Inside {
    let mut inside = Inside::default();
    let mut tickets = Vec::new();
    {
        let mut queue = TABLE[bucket(address)].lock();
        let mut at = 0;
        while at < queue.len() {
            let waiter = &queue[at];
            if waiter.address == address && waiter.bits & bits != 0 && inside.count < u64::from(count) {
                tickets.extend(take_out(&mut queue, at).map(|waiter| inside.found(waiter)));
            } else {
                let fits = waiter.address == address && waiter.bits & bits != 0;
                inside.left_asleep += u32::from(fits && waiter.is_asleep());
                at += 1;
            }
        }
    }
    for ticket in &tickets {
        ticket.redeem(Wake::Event);
    }
    inside
}

/// Wakes threads that wait at `address`; nothing outside the cell does.
pub fn wake_address(address: u64, count: u32) {
    wake(address, count, ANY);
}

/// FUTEX_REQUEUE and FUTEX_CMP_REQUEUE: wakes up to `count` waiters of `from`, lets up to
/// `limit` others wait at `to` instead. Those that wait in memory of Linux are woken all alike, which a waiter
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
    let inside = requeue_inside(from, to, count, limit, expected)?;
    let all = count.saturating_add(limit);
    Ok(if is_foreign { inside.count + foreign::wake_others(from, all, ANY, inside) } else { inside.count })
}

fn requeue_inside(from: u64, to: u64, count: u32, limit: u32, expected: Option<u32>) -> Result<Inside, Errno> {
    let mut inside = Inside::default();
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
                tickets.extend(take_out(&mut queue, at).map(|waiter| inside.found(waiter)));
            } else if (moved.len() as u64) < u64::from(limit) {
                inside.count += 1;
                inside.asleep += u32::from(queue[at].is_asleep());
                moved.extend(queue.remove(at));
            } else {
                inside.left_asleep += u32::from(queue[at].is_asleep());
                at += 1;
            }
        }
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
    Ok(inside)
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
    use super::{ANY, Errno, Inside, Ordering, SysResult, Wake, current_arc, enlist, withdraw};
    use crate::mm;
    use crate::platform;
    use crate::sched::{this_core, timer, wait};

    /// Between looks at everything else that the core has to do.
    const LOOK_NS: u64 = 200_000;

    /// Whether the word lies in memory that other processes may share.
    #[must_use]
    pub fn is_foreign(address: u64) -> bool {
        mm::space().is_shared_foreign(address)
    }

    /// Wakes waiters outside the cell. Gives their number.
    pub fn wake(address: u64, count: u32) -> u64 {
        if is_foreign(address) { platform::get().wake_foreign(address, count, ANY) } else { 0 }
    }

    /// Wakes waiters outside the cell at a word that is known to be Linux's, where up to `count` are wanted and
    /// those `inside` it have been found. Gives their number.
    pub(super) fn wake_others(address: u64, count: u32, bits: u32, inside: Inside) -> u64 {
        let left = count.saturating_sub(inside.count as u32);
        let asleep = inside.asleep.saturating_add(inside.left_asleep);
        let host = platform::get();
        if left == 0 {
            // They have what they waited for, and would notice after a while.
            if inside.asleep != 0 {
                host.wake_foreign(address, inside.asleep, bits);
            }
            return 0;
        }
        // To Linux the sleepers of the cell are like any other.
        let wanted = left.saturating_add(asleep).min(i32::MAX as u32);
        let woken = host.wake_foreign(address, wanted, bits);
        woken.saturating_sub(asleep.into()).min(left.into())
    }

    /// Waits for a word that other processes may change or wake. Threads of the cell find the waiter where
    /// they find all; for all others the core sleeps on the word in Linux, for short stretches and only while it
    /// has nothing else to run. Else the thread takes turns with what computes there, as Linux would have it beside
    /// a thread that looks and yields.
    ///
    /// # Errors
    /// As for [`super::wait`].
    pub fn wait_shared(address: u64, expected: u32, deadline: Option<u64>, bits: u32) -> SysResult {
        let thread = current_arc();
        let mut is_first = true;
        loop {
            if deadline.is_some_and(|deadline| deadline <= platform::get().monotonic()) && !is_first {
                return Err(Errno::ETIMEDOUT);
            }
            let Some(ticket) = enlist(&thread, address, expected, bits)? else {
                return if is_first { Err(Errno::EAGAIN) } else { Ok(0) };
            };
            is_first = false;
            thread.looks.store(true, Ordering::SeqCst);
            let (woken, wake) = if this_core().any_queued(|other| !other.looks.load(Ordering::SeqCst)) {
                (false, wait::finish_turn(&ticket))
            } else {
                let woken = sleep_in_linux(&thread, address, expected, bits, deadline);
                // Everything else that this core has to do.
                (woken, wait::finish(&ticket, Some(0), true))
            };
            thread.looks.store(false, Ordering::SeqCst);
            let was_moved = thread.futex.load(Ordering::Relaxed) != address;
            // As for `wait`: a waker that has chosen this thread relies on it.
            if wake == Wake::Event || !withdraw(&ticket) || woken || was_moved {
                return Ok(0);
            }
            if wake == Wake::Signal {
                return Err(Errno::EINTR);
            }
        }
    }

    /// Sleeps on the word where other processes find the sleeper. `true` when somebody woke it.
    fn sleep_in_linux(thread: &super::Thread, address: u64, expected: u32, bits: u32, deadline: Option<u64>) -> bool {
        let host = platform::get();
        let ends = [deadline, timer::next(this_core()), Some(host.monotonic() + LOOK_NS)];
        let until = ends.into_iter().flatten().min().unwrap_or_default();
        thread.asleep_in_linux.store(true, Ordering::SeqCst);
        // A waker of the cell that came before looked for nobody there.
        let is_chosen = thread.futex.load(Ordering::SeqCst) != address;
        let woken = !is_chosen && host.wait_foreign(address, expected, bits, until);
        thread.asleep_in_linux.store(false, Ordering::SeqCst);
        woken
    }
}
