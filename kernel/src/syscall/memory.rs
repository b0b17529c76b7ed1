//! Calls about memory: thin shells around [`mm`].

use alloc::vec;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};

use linux::membarrier_cmd as barrier;
use shm_ipc::layout::PAGE;

use super::{marshal, named};
use crate::abi::{Errno, SysResult, linux};
use crate::forward::Request;
use crate::mm::policy::{Mask, Policy};
use crate::mm::{self, Kind, MapRequest, user};
use crate::platform::{self, Prot};
use crate::sched::current;

const GETPGID: u32 = 121;

/// The low half of an argument, which is all that Linux looks at for an `int`.
fn low(arg: u64) -> u32 {
    arg as u32
}

/// mmap(2).
pub fn mmap(args: [u64; 6]) -> SysResult {
    let [addr, len, prot, flags, fd, offset] = args;
    let prot = Prot::from_bits_truncate(low(prot));
    if low(flags) & linux::MAP_ANONYMOUS == 0 && current().lent.to().is_some() {
        // Its descriptors are those of another process.
        named::once(named::What::ChildMaps);
        return Err(Errno::ENOSYS);
    }
    let fd = low(fd) as i32;
    let mapped = mm::space().mmap(&MapRequest { addr, len, prot, flags: low(flags), fd, offset });
    // Linux looks for the file before it looks at anything else but the offset.
    let has_file = low(flags) & linux::MAP_ANONYMOUS == 0 && offset.is_multiple_of(PAGE);
    mapped.map_err(|errno| if has_file { marshal::unless_closed(fd, errno) } else { errno })
}

/// mprotect(2).
pub fn mprotect([addr, len, prot, ..]: [u64; 6]) -> SysResult {
    // Bits that do not exist are refused wherever they are.
    let bits = u32::try_from(prot).unwrap_or(u32::MAX);
    let result = mm::space().mprotect(addr, len, bits)?;
    if bits & Prot::WRITE.bits() != 0 {
        platform::get().code_opened(addr..addr.saturating_add(len).next_multiple_of(PAGE));
    }
    Ok(result)
}

/// munmap(2).
pub fn munmap([addr, len, ..]: [u64; 6]) -> SysResult {
    mm::space().munmap(addr, len)
}

/// brk(2): gives the end of the heap, moved or not.
pub fn brk([addr, ..]: [u64; 6]) -> SysResult {
    Ok(mm::space().brk(addr))
}

/// mremap(2).
pub fn mremap([addr, old_len, new_len, flags, new_addr, _]: [u64; 6]) -> SysResult {
    let flags = u32::try_from(flags).map_err(|_| Errno::EINVAL)?;
    mm::space().mremap(addr, old_len, new_len, flags, new_addr)
}

/// msync(2).
pub fn msync([addr, len, flags, ..]: [u64; 6]) -> SysResult {
    const BOTH: u32 = linux::MS_ASYNC | linux::MS_SYNC;
    let flags = low(flags);
    if flags & !(BOTH | linux::MS_INVALIDATE) != 0 || flags & BOTH == BOTH || !addr.is_multiple_of(PAGE) {
        return Err(Errno::EINVAL);
    }
    let end = addr.checked_add(mm::page_up_wrapping(len)).ok_or(Errno::ENOMEM)?;
    let (files, whole) = {
        let space = mm::space();
        if flags & linux::MS_INVALIDATE != 0 && space.is_locked(addr..end) {
            return Err(Errno::EBUSY);
        }
        space.shared_files(addr..end)
    };
    for file in files {
        platform::get().sync_foreign(file.start, file.end - file.start, flags)?;
    }
    if whole { Ok(0) } else { Err(Errno::ENOMEM) }
}

/// mincore(2).
pub fn mincore([addr, len, out, ..]: [u64; 6]) -> SysResult {
    /// Pages that are looked at under one lock.
    const STEP: u64 = 4096;
    if !addr.is_multiple_of(PAGE) {
        return Err(Errno::EINVAL);
    }
    let len = len.checked_next_multiple_of(PAGE).ok_or(Errno::ENOMEM)?;
    let is_programs = addr.checked_add(len).is_some_and(|end| end <= mm::user_range().end);
    if !is_programs {
        return Err(Errno::ENOMEM);
    }
    let pages = len / PAGE;
    if out.checked_add(pages).is_none_or(|end| end > mm::user_range().end) {
        return Err(Errno::EFAULT);
    }
    let mut done = 0;
    while done < pages {
        let mut resident = vec![0; STEP.min(pages - done) as usize];
        mm::space().resident(addr + done * PAGE, &mut resident)?;
        user::copy_out(out + done, &resident)?;
        done += resident.len() as u64;
    }
    Ok(0)
}

/// madvise(2).
pub fn madvise([addr, len, advice, ..]: [u64; 6]) -> SysResult {
    mm::space().madvise(addr, len, low(advice))
}

/// mlock(2): the cell's memory is resident anyway.
pub fn mlock([addr, len, ..]: [u64; 6]) -> SysResult {
    mm::space().lock_range(addr, len, true, true)
}

/// mlock2(2).
pub fn mlock2([addr, len, flags, ..]: [u64; 6]) -> SysResult {
    match low(flags) {
        0 => mm::space().lock_range(addr, len, true, true),
        linux::MLOCK_ONFAULT => mm::space().lock_range(addr, len, true, false),
        _ => Err(Errno::EINVAL),
    }
}

/// munlock(2).
pub fn munlock([addr, len, ..]: [u64; 6]) -> SysResult {
    mm::space().lock_range(addr, len, false, false)
}

/// mlockall(2).
pub fn mlockall([flags, ..]: [u64; 6]) -> SysResult {
    let known = linux::MCL_CURRENT | linux::MCL_FUTURE | linux::MCL_ONFAULT;
    let flags = low(flags);
    if flags & !known != 0 || flags & (linux::MCL_CURRENT | linux::MCL_FUTURE) == 0 {
        return Err(Errno::EINVAL);
    }
    mm::space().lock_all(flags & linux::MCL_CURRENT != 0, flags & linux::MCL_FUTURE != 0);
    Ok(0)
}

/// munlockall(2).
pub fn munlockall(_: [u64; 6]) -> SysResult {
    mm::space().unlock_all();
    Ok(0)
}

/// shmat(2) of a segment that has `size` bytes.
pub fn shmat(shmid: i32, addr: u64, flags: u32, size: u64) -> SysResult {
    const READ_ONLY: u32 = 0o10000;
    const ROUND: u32 = 0o20000;
    const REPLACE: u32 = 0o40000;
    const EXEC: u32 = 0o100_000;
    let replace = flags & REPLACE != 0;
    let at = match addr % PAGE {
        0 => addr,
        _ if flags & ROUND != 0 => addr / PAGE * PAGE,
        _ => return Err(Errno::EINVAL),
    };
    if at == 0 && replace {
        return Err(Errno::EINVAL);
    }
    let mut prot = Prot::READ;
    prot.set(Prot::WRITE, flags & READ_ONLY == 0);
    prot.set(Prot::EXEC, flags & EXEC != 0);
    mm::space().map_segment(at, size, shmid, prot, replace)
}

/// shmdt(2).
pub fn shmdt([addr, ..]: [u64; 6]) -> SysResult {
    if !addr.is_multiple_of(PAGE) {
        return Err(Errno::EINVAL);
    }
    mm::space().unmap_segment(addr)
}

/// Most nodes that a mask of the program may speak of: a page of bits, as on Linux.
const MAX_MASK_BITS: u64 = PAGE * 8;

/// Reads a node mask of `max - 1` bits, which is how Linux counts.
fn read_mask(mask: u64, max: u64, node: u64) -> Result<Mask, Errno> {
    let bits = max.wrapping_sub(1);
    if mask == 0 || max == 0 || bits == 0 {
        return Ok(Mask::Empty);
    }
    if bits > MAX_MASK_BITS {
        return Err(Errno::EINVAL);
    }
    let mut words: Vec<u64> = vec![0; bits.div_ceil(64) as usize];
    user::copy_in(zerocopy::IntoBytes::as_mut_bytes(words.as_mut_slice()), mask)?;
    if let Some(last) = words.last_mut().filter(|_| !bits.is_multiple_of(64)) {
        *last &= (1 << (bits % 64)) - 1;
    }
    let named = words.get((node / 64) as usize).is_some_and(|word| word >> (node % 64) & 1 == 1);
    Ok(match named {
        true => Mask::NamesNode,
        false if words.iter().all(|word| *word == 0) => Mask::Empty,
        false => Mask::OtherNodes,
    })
}

/// set_mempolicy(2) in a cell on `node`.
pub fn set_mempolicy([mode, mask, max, ..]: [u64; 6]) -> SysResult {
    Policy::check_mode(low(mode))?;
    let policy = Policy::new(low(mode), read_mask(mask, max, mm::numa_node())?)?;
    mm::space().set_policy(policy);
    Ok(0)
}

/// mbind(2).
pub fn mbind([addr, len, mode, mask, max, flags]: [u64; 6]) -> SysResult {
    const STRICT_OR_MOVE: u32 = 1 | 2;
    const MOVE_ALL: u32 = 4;
    let flags = low(flags);
    Policy::check_mode(low(mode))?;
    let mask = read_mask(mask, max, mm::numa_node())?;
    if flags & !(STRICT_OR_MOVE | MOVE_ALL) != 0 {
        return Err(Errno::EINVAL);
    }
    if flags & MOVE_ALL != 0 && !is_root() {
        return Err(Errno::EPERM);
    }
    let policy = Policy::new(low(mode), mask)?;
    mm::space().bind(addr, len, policy)
}

/// get_mempolicy(2).
pub fn get_mempolicy([mode_out, mask_out, max, addr, flags, _]: [u64; 6]) -> SysResult {
    const NODE: u64 = 1;
    const ADDR: u64 = 2;
    const ALLOWED: u64 = 4;
    let node = mm::numa_node();
    let at_addr = flags & ADDR != 0;
    if flags & !(NODE | ADDR | ALLOWED) != 0
        || mask_out != 0 && max <= node
        || flags & ALLOWED != 0 && flags & (NODE | ADDR) != 0
        || flags & ALLOWED == 0 && !at_addr && addr != 0
    {
        return Err(Errno::EINVAL);
    }
    let (mode, names_node) = if flags & ALLOWED != 0 {
        (0, true)
    } else {
        let policy = mm::space().policy(at_addr.then_some(addr))?;
        if flags & NODE == 0 {
            (u32::from(policy.mode), policy.names_node)
        } else if at_addr || policy.interleaves() {
            (node as u32, policy.names_node)
        } else {
            return Err(Errno::EINVAL);
        }
    };
    if mode_out != 0 {
        user::write(mode_out, &mode)?;
    }
    if mask_out != 0 {
        write_mask(mask_out, max, names_node.then_some(node))?;
    }
    Ok(0)
}

/// Writes a node mask of `max - 1` bits in whole words.
fn write_mask(to: u64, max: u64, node: Option<u64>) -> Result<(), Errno> {
    let bits = max.saturating_sub(1).next_multiple_of(64);
    if bits > MAX_MASK_BITS {
        return Err(Errno::EINVAL);
    }
    let mut words: Vec<u64> = vec![0; (bits / 64) as usize];
    if let Some(node) = node
        && let Some(word) = words.get_mut((node / 64) as usize)
    {
        *word |= 1 << (node % 64);
    }
    user::write(to, words.as_slice())
}

/// move_pages(2): where pages are, and that they stay there.
pub fn move_pages([pid, count, pages, nodes, status, flags]: [u64; 6]) -> SysResult {
    const MOVE: u32 = 2;
    const MOVE_ALL: u32 = 4;
    if low(flags) & !(MOVE | MOVE_ALL) != 0 {
        return Err(Errno::EINVAL);
    }
    if low(flags) & MOVE_ALL != 0 && !is_root() {
        return Err(Errno::EPERM);
    }
    check_own(pid)?;
    let node = mm::numa_node();
    for index in 0..count {
        let page: u64 = user::read(pages.wrapping_add(8 * index))?;
        if nodes != 0 {
            let wanted: u32 = user::read(nodes.wrapping_add(4 * index))?;
            if u64::from(wanted) != node {
                let is_node = wanted.cast_signed() >= 0 && is_online(wanted);
                return Err(if is_node { Errno::EACCES } else { Errno::ENODEV });
            }
        }
        let mut there = [0];
        let is_there = mm::space().resident(page / PAGE * PAGE, &mut there);
        let tells = match (is_there, there) {
            (Ok(()), [1]) => node as i32,
            (Ok(()), _) => -i32::from(Errno::ENOENT.0),
            (Err(_), _) => -i32::from(Errno::EFAULT.0),
        };
        user::write(status.wrapping_add(4 * index), &tells)?;
    }
    Ok(0)
}

/// Whether the machine has such a node: the cell's is the only one that the program is shown.
fn is_online(node: u32) -> bool {
    u64::from(node) == mm::numa_node()
}

fn is_root() -> bool {
    crate::boot::facts().info.ids[1] == 0
}

/// Whether `pid` is the program's own process. Of others nothing is moved.
fn check_own(pid: u64) -> Result<(), Errno> {
    let pid = u64::from(low(pid));
    if pid == 0 || pid == crate::boot::facts().info.pid {
        return Ok(());
    }
    // Whether there is such a process Linux knows.
    let mut request = Request::kernel(GETPGID);
    request.set(0, pid);
    request.run().result.and(Err(Errno::EPERM))
}

/// migrate_pages(2): from and to the one node there is, nothing moves.
pub fn migrate_pages([pid, max, old, new, ..]: [u64; 6]) -> SysResult {
    let node = mm::numa_node();
    read_mask(old, max, node)?;
    let to = read_mask(new, max, node)?;
    check_own(pid)?;
    match to {
        Mask::NamesNode => Ok(0),
        Mask::OtherNodes if is_root() => Err(Errno::EINVAL),
        Mask::OtherNodes => Err(Errno::EPERM),
        Mask::Empty => Err(Errno::EINVAL),
    }
}

/// pkey_mprotect(2) on a processor without protection keys.
pub fn pkey_mprotect([addr, len, prot, key, ..]: [u64; 6]) -> SysResult {
    if low(key) == u32::MAX { mprotect([addr, len, prot, 0, 0, 0]) } else { Err(Errno::EINVAL) }
}

/// pkey_alloc(2) on a processor without protection keys.
pub fn pkey_alloc([flags, rights, ..]: [u64; 6]) -> SysResult {
    const RIGHTS: u64 = 3;
    Err(if flags != 0 || rights & !RIGHTS != 0 { Errno::EINVAL } else { Errno::ENOSPC })
}

/// pkey_free(2) on a processor without protection keys.
pub fn pkey_free(_: [u64; 6]) -> SysResult {
    Err(Errno::EINVAL)
}

static BARRIER_REGISTERED: AtomicBool = AtomicBool::new(false);

static CORES_REGISTERED: AtomicBool = AtomicBool::new(false);

/// membarrier(2): `GLOBAL` and `PRIVATE` come to the same for the only process of a cell. An interrupt
/// serialises the core too, which is what `SYNC_CORE` adds.
pub fn membarrier([command, flags, ..]: [u64; 6]) -> SysResult {
    const QUERY: u32 = barrier::MEMBARRIER_CMD_QUERY as u32;
    const GLOBAL: u32 = barrier::MEMBARRIER_CMD_GLOBAL as u32;
    const PRIVATE: u32 = barrier::MEMBARRIER_CMD_PRIVATE_EXPEDITED as u32;
    const REGISTER: u32 = barrier::MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED as u32;
    const OF_ALL: u32 = barrier::MEMBARRIER_CMD_GLOBAL_EXPEDITED as u32;
    const REGISTER_ALL: u32 = barrier::MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED as u32;
    const CORES: u32 = barrier::MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE as u32;
    const REGISTER_CORES: u32 = barrier::MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE as u32;
    if low(flags) != 0 {
        return Err(Errno::EINVAL);
    }
    match low(command) {
        QUERY => return Ok(u64::from(GLOBAL | OF_ALL | REGISTER_ALL | PRIVATE | REGISTER | CORES | REGISTER_CORES)),
        REGISTER_ALL => {}
        REGISTER_CORES => CORES_REGISTERED.store(true, Ordering::SeqCst),
        CORES if !CORES_REGISTERED.load(Ordering::SeqCst) => return Err(Errno::EPERM),
        REGISTER => BARRIER_REGISTERED.store(true, Ordering::SeqCst),
        PRIVATE if !BARRIER_REGISTERED.load(Ordering::SeqCst) => return Err(Errno::EPERM),
        PRIVATE | GLOBAL | OF_ALL | CORES => everybody_fences()?,
        _ => return Err(Errno::EINVAL),
    }
    Ok(0)
}

/// Makes every core that runs the program pass a full barrier: whatever the platform, it can
/// take away a page that was in use only by interrupting all cores that may still hold its
/// translation.
fn everybody_fences() -> Result<(), Errno> {
    let prot = Prot::READ | Prot::WRITE;
    let page = {
        let mut space = mm::space();
        let at = space.find_gap(PAGE, PAGE, 0)?;
        space.map_anon(at, PAGE, prot, Kind::Anon { lazy: false })?;
        at
    };
    core::sync::atomic::fence(Ordering::SeqCst);
    let touched = user::write(page, &1u8);
    let revoked = mm::space().mprotect(page, PAGE, 0);
    mm::space().munmap(page, PAGE)?;
    touched.and(revoked.map(drop))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_masks() {
        mm::tests::allow_host_memory();
        let words = [0u64, 1 << 3, 0];
        let at = words.as_ptr() as u64;
        // Linux looks at one bit less than it is told.
        for (max, node, expected) in [
            (0, 67, Mask::Empty),
            (1, 67, Mask::Empty),
            (65, 67, Mask::Empty),
            (68, 67, Mask::Empty),
            (69, 67, Mask::NamesNode),
            (193, 67, Mask::NamesNode),
            (193, 1, Mask::OtherNodes),
            (193, 500, Mask::OtherNodes),
        ] {
            assert_eq!(read_mask(at, max, node), Ok(expected), "{max} {node}");
        }
        assert_eq!(read_mask(0, 64, 0), Ok(Mask::Empty));
        assert_eq!(read_mask(at, MAX_MASK_BITS + 2, 0), Err(Errno::EINVAL));
        assert_eq!(read_mask(at, u64::MAX, 0), Err(Errno::EINVAL));
        assert_eq!(read_mask(1 << 60, 64, 0), Err(Errno::EFAULT));
        let mut out = [u64::MAX; 3];
        assert_eq!(write_mask(out.as_mut_ptr() as u64, 129, Some(67)), Ok(()));
        assert_eq!(out, [0, 8, u64::MAX]);
        assert_eq!(write_mask(out.as_mut_ptr() as u64, 129, None), Ok(()));
        assert_eq!(out, [0, 0, u64::MAX]);
    }

    #[test]
    fn arguments_that_need_no_memory() {
        assert_eq!(mlockall([0; 6]), Err(Errno::EINVAL));
        assert_eq!(mlockall([4, 0, 0, 0, 0, 0]), Err(Errno::EINVAL));
        assert_eq!(msync([1, 0, 0, 0, 0, 0]), Err(Errno::EINVAL));
        assert_eq!(msync([0, 0, 5, 0, 0, 0]), Err(Errno::EINVAL));
        assert_eq!(msync([PAGE, u64::MAX << 12, 4, 0, 0, 0]), Err(Errno::ENOMEM));
        assert_eq!(mbind([0, 0, 0, 0, 0, 8]), Err(Errno::EINVAL));
        assert_eq!(get_mempolicy([0, 0, 0, 0, 8, 0]), Err(Errno::EINVAL));
        assert_eq!(get_mempolicy([0, 0, 0, 1, 0, 0]), Err(Errno::EINVAL));
        assert_eq!(shmat(1, 1, 0, PAGE), Err(Errno::EINVAL));
        assert_eq!(shmat(1, 0, 0o40000, PAGE), Err(Errno::EINVAL));
        assert_eq!(membarrier([0, 1, 0, 0, 0, 0]), Err(Errno::EINVAL));
        assert_eq!(membarrier([8, 0, 0, 0, 0, 0]), Err(Errno::EPERM));
        assert_eq!(membarrier([0, 0, 0, 0, 0, 0]), Ok(1 | 2 | 4 | 8 | 16 | 32 | 64));
        assert_eq!(membarrier([1 << 9, 0, 0, 0, 0, 0]), Err(Errno::EINVAL));
    }
}
