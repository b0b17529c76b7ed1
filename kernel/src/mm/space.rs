//! The program's address space: mmap, munmap and brk.
//!
//! [`AddressSpace`] ties together what the program asked for ([`regions`](super::regions)), the
//! frames it has got for that ([`translation`](super::translation)), the frames that are left
//! ([`frames`](super::frames)) and the platform, which makes the mappings real. The other calls
//! are in files of their own: [`populate`](super::populate), [`protect`](super::protect),
//! [`copies`](super::copies), [`remap`](super::remap), [`advise`](super::advise),
//! [`fault`](super::fault), [`pieces`](super::pieces).
//!
//! Results and errors are those of Linux 6.1 (`mm/mmap.c`). What differs: a mapping that asks
//! for memory and can have it gets its frames at once; there is one owner of each frame.

use core::ops::Range;

use shm_ipc::layout::{LARGE_PAGE, PAGE};
use shm_ipc::region::Region;

use super::frames::{Frames, Stock};
use super::limits::{Limits, counts_as_data};
use super::policy::Policy;
use super::regions::{Kind, Regions, Vma};
use super::translation::Translation;
use super::{page_up, pages_of};
use crate::abi::{Errno, SysResult, linux};
use crate::platform::{Platform, Prot, Sharing};

/// Addresses below the main stack that nothing is mapped at unless the program insists:
/// Linux's `stack_guard_gap`.
pub(super) const STACK_GUARD: u64 = 256 * PAGE;

/// Where mappings end below the program's last address: `MIN_GAP` of Linux's `arch/x86/mm/mmap.c`, or a part of few
/// addresses.
fn room_above(range: &Range<u64>) -> u64 {
    (128 << 20).min((range.end - range.start) / 64)
}

/// The part of the address space that `MAP_32BIT` means: `arch/x86/kernel/sys_x86_64.c`.
const LOW_WINDOW: Range<u64> = 0x4000_0000..0x8000_0000;

/// Flags that every kind of mapping may have; Linux's `LEGACY_MAP_MASK`.
const LEGACY_FLAGS: u32 = linux::MAP_TYPE
    | linux::MAP_FIXED
    | linux::MAP_ANONYMOUS
    | linux::MAP_DENYWRITE
    | linux::MAP_EXECUTABLE
    | linux::MAP_GROWSDOWN
    | linux::MAP_LOCKED
    | linux::MAP_NORESERVE
    | linux::MAP_POPULATE
    | linux::MAP_NONBLOCK
    | linux::MAP_STACK
    | linux::MAP_HUGETLB
    | linux::MAP_32BIT
    | linux::MAP_HUGE_MASK << linux::MAP_HUGE_SHIFT;

/// The arguments of mmap(2).
#[derive(Debug, Clone, Copy)]
pub struct MapRequest {
    /// Where, or where about.
    pub addr: u64,
    /// Bytes.
    pub len: u64,
    /// What the program may do.
    pub prot: Prot,
    /// `MAP_*`.
    pub flags: u32,
    /// The file, unless anonymous.
    pub fd: i32,
    /// Where in the file.
    pub offset: u64,
}

/// What the program has mapped, and the frames of the cell.
pub struct AddressSpace {
    pub(super) platform: &'static dyn Platform,
    pub(super) window: Region,
    pub(super) range: Range<u64>,
    pub(super) regions: Regions,
    pub(super) mapped: Translation,
    pub(super) frames: Frames,
    /// Where the heap begins, and where brk(2) has put its end.
    heap: Range<u64>,
    /// Not to be mapped by chance.
    pub(super) guard: Range<u64>,
    next_id: u64,
    pub(super) policy: Policy,
    pub(super) limits: Limits,
    /// Whether mlockall(2) wants new mappings locked.
    pub(super) locks_new: bool,
}

impl AddressSpace {
    /// An empty address space over `stock`.
    #[must_use]
    pub fn new(platform: &'static dyn Platform, stock: Stock) -> Self {
        let range = platform.user_range();
        let frames = Frames::new(stock);
        AddressSpace {
            platform,
            window: platform.region(),
            regions: Regions::default(),
            mapped: Translation::default(),
            frames: if platform.untouched_frames_cost() { frames.reusing() } else { frames },
            heap: range.start..range.start,
            guard: range.end..range.end,
            range,
            next_id: 1,
            policy: Policy::DEFAULT,
            limits: Limits::default(),
            locks_new: false,
        }
    }

    /// Bytes of frames, and how many of them are free.
    #[must_use]
    pub fn usage(&self) -> (u64, u64) {
        (self.frames.total(), self.frames.free_bytes())
    }

    /// All regions, in order.
    pub fn regions(&self) -> impl Iterator<Item = &Vma> + '_ {
        self.regions.iter()
    }

    /// mmap(2).
    ///
    /// # Errors
    /// Those of mmap(2).
    pub fn mmap(&mut self, request: &MapRequest) -> SysResult {
        let MapRequest { prot, flags, fd, offset, .. } = *request;
        if !offset.is_multiple_of(PAGE) || request.len == 0 {
            return Err(Errno::EINVAL);
        }
        let len = page_up(request.len).ok_or(Errno::ENOMEM)?;
        self.check_mappings()?;
        if flags & linux::MAP_ANONYMOUS == 0 {
            let sharing = file_sharing(flags)?;
            if offset.checked_add(len).is_none() {
                return Err(Errno::EOVERFLOW);
            }
            let at = self.choose(request.addr, len, flags)?;
            self.check_limits_at(at..at + len, counts_as_data(prot, sharing == Sharing::Shared))?;
            self.map_file(at, len, prot, fd, offset, sharing)?;
            self.lock_new(at..at + len, flags);
            return Ok(at);
        }
        let shared = anonymous_shared(flags)?;
        if flags & linux::MAP_HUGETLB != 0 {
            return Err(no_huge_pages(request.addr, flags));
        }
        let sparse = linux::MAP_NORESERVE | linux::MAP_STACK | linux::MAP_GROWSDOWN;
        // What can't be written holds zeroes: Linux promises no memory for it either.
        let only_zeroes = !shared && !prot.contains(Prot::WRITE) && len > self.frames.free_bytes();
        let lazy = flags & sparse != 0 || prot.is_empty() || only_zeroes;
        if !lazy && len > self.frames.total() {
            return Err(Errno::ENOMEM);
        }
        let at = self.choose(request.addr, len, flags)?;
        self.check_limits_at(at..at + len, counts_as_data(prot, shared))?;
        let kind = match (shared, flags & linux::MAP_GROWSDOWN != 0) {
            (true, _) => Kind::SharedAnon { lazy, id: self.fresh_id() },
            (false, true) => Kind::Growing,
            (false, false) => Kind::Anon { lazy },
        };
        self.map_anon(at, len, prot, kind)?;
        if flags & (linux::MAP_POPULATE | linux::MAP_LOCKED) != 0 {
            self.fill_range(at..at + len);
        }
        self.lock_new(at..at + len, flags);
        Ok(at)
    }

    /// munmap(2).
    ///
    /// # Errors
    /// `EINVAL` for what is not a range of pages of the program.
    pub fn munmap(&mut self, addr: u64, len: u64) -> SysResult {
        let end = pages_of(addr, len).ok_or(Errno::EINVAL)?.end;
        if end == addr || end > self.range.end {
            return Err(Errno::EINVAL);
        }
        self.check_mappings()?;
        self.cut_out(addr..end)?;
        self.release(addr..end, false);
        Ok(0)
    }

    /// Whether there may be more mappings: a range in the middle of one makes three of it, and
    /// the platform must not be the one to find out that they are too many.
    ///
    /// # Errors
    /// `ENOMEM`, as on Linux.
    pub(super) fn check_mappings(&self) -> Result<(), Errno> {
        let mappings = self.regions.count() + self.mapped.count();
        if mappings < self.platform.mapping_limit() { Ok(()) } else { Err(Errno::ENOMEM) }
    }

    /// Where the heap begins: behind the program.
    pub fn set_heap(&mut self, start: u64) {
        self.heap = start..start;
    }

    /// brk(2): moves the end of the heap if it can, and says where it is.
    pub fn brk(&mut self, addr: u64) -> u64 {
        let (Some(old), Some(new)) = (page_up(self.heap.end), page_up(addr)) else { return self.heap.end };
        if addr < self.heap.start || new > self.range.end {
            return self.heap.end;
        }
        if new < old {
            if self.cut_out(new..old).is_err() {
                return self.heap.end;
            }
            self.release(new..old, false);
        } else if new > old {
            let room = self.is_free(old..new) && new - old <= self.frames.total();
            let room = room && self.check_limits(new - old, true).is_ok();
            if !room || self.map_anon(old, new - old, Prot::READ | Prot::WRITE, Kind::Heap).is_err() {
                return self.heap.end;
            }
        }
        self.heap.end = addr;
        addr
    }

    /// Reserves the main stack of `limit` bytes at the top of the program's addresses. It is
    /// filled when it is touched.
    ///
    /// # Errors
    /// `ENOMEM` when there is no room.
    pub fn map_stack(&mut self, limit: u64) -> Result<Range<u64>, Errno> {
        let len = page_up(limit).ok_or(Errno::ENOMEM)?;
        let top = self.range.end - STACK_GUARD.min(self.range.end);
        let at = self.regions.gap(self.range.start..top, len, PAGE, 0).ok_or(Errno::ENOMEM)?;
        self.map_anon(at, len, Prot::READ | Prot::WRITE, Kind::Stack)?;
        self.guard = at.saturating_sub(STACK_GUARD).max(self.range.start)..at;
        Ok(at..at + len)
    }

    /// Unmaps everything, for execve(2).
    pub fn unmap_all(&mut self) {
        self.release(self.range.clone(), false);
        self.heap = self.range.start..self.range.start;
        self.guard = self.range.end..self.range.end;
        self.policy = Policy::DEFAULT;
        self.locks_new = false;
    }

    /// `len` free bytes as high as possible, `phase` past a multiple of `unit`, and if they are
    /// enough for large pages, past a multiple of those.
    ///
    /// # Errors
    /// `ENOMEM` when there is no such gap.
    pub fn find_gap(&self, len: u64, unit: u64, phase: u64) -> SysResult {
        self.gap_within(self.range.start..self.top(), len, unit, phase).ok_or(Errno::ENOMEM)
    }

    /// Maps anonymous memory in place of whatever is there.
    ///
    /// # Errors
    /// `ENOMEM` when the platform can't map.
    pub fn map_anon(&mut self, at: u64, len: u64, prot: Prot, kind: Kind) -> Result<(), Errno> {
        let range = at..at + len;
        let fits = |space: &Self| space.frames.fits(len, at);
        let wanted = !kind.is_lazy() && !prot.is_empty();
        // Pages of Linux may stay until frames take their place; frames may not, as they are
        // free from here on.
        self.cut_out(range.clone())?;
        self.release(range.clone(), wanted && fits(self));
        self.regions.insert(Vma { start: at, end: at + len, prot, kind, policy: Policy::DEFAULT, locked: false });
        if wanted && fits(self) {
            let near = self.mapped.frame_beside(&range);
            if let Err(errno) = self.populate(range.clone(), prot, near) {
                self.regions.remove(range.clone());
                self.platform.unmap(at, len);
                return Err(errno);
            }
        }
        Ok(())
    }

    /// Maps a file in place of whatever is there, which stays if the file can't be mapped.
    ///
    /// # Errors
    /// Those of mmap(2).
    pub fn map_file(
        &mut self,
        at: u64,
        len: u64,
        prot: Prot,
        fd: i32,
        offset: u64,
        sharing: Sharing,
    ) -> Result<(), Errno> {
        self.cut(at..at + len)?;
        if sharing == Sharing::Private && !self.platform.maps_private_files() {
            return self.map_copy(at, len, prot, fd, offset);
        }
        self.platform.map_file(at, len, prot, fd, offset, sharing)?;
        let kind = Kind::File { sharing, offset, id: self.fresh_id() };
        self.enter_foreign(at, len, prot, kind);
        Ok(())
    }

    /// Maps a SysV segment of `len` bytes at `addr`, or anywhere for 0: shmat(2) with an
    /// address that is rounded already.
    ///
    /// # Errors
    /// Those of shmat(2).
    pub fn map_segment(&mut self, addr: u64, len: u64, shmid: i32, prot: Prot, replace: bool) -> SysResult {
        let len = page_up(len).filter(|len| *len > 0).ok_or(Errno::EINVAL)?;
        let at = if addr == 0 { self.choose(0, len, 0)? } else { addr };
        let end = at.checked_add(len).ok_or(Errno::EINVAL)?;
        if end > self.range.end {
            return Err(Errno::ENOMEM);
        }
        if at < self.range.start || !replace && !self.regions.is_free(at..end) {
            return Err(Errno::EINVAL);
        }
        self.check_limits_at(at..end, false)?;
        self.cut(at..end)?;
        self.platform.map_segment(at, len, shmid, !prot.contains(Prot::WRITE))?;
        if prot.contains(Prot::EXEC) {
            self.platform.protect(at, len, prot).inspect_err(|_| self.platform.unmap(at, len))?;
        }
        let kind = Kind::Segment { shmid, offset: 0, id: self.fresh_id() };
        self.enter_foreign(at, len, prot, kind);
        Ok(at)
    }

    /// shmdt(2): removes what is left of the segment that was attached at `addr`.
    ///
    /// # Errors
    /// `EINVAL` when none was.
    pub fn unmap_segment(&mut self, addr: u64) -> SysResult {
        let attached = self.regions.within(addr..self.range.end.max(addr)).find_map(|vma| match vma.kind {
            Kind::Segment { offset, id, .. } if vma.start - addr == offset => Some(id),
            _ => None,
        });
        let attached = attached.ok_or(Errno::EINVAL)?;
        let parts = self.regions.within(addr..self.range.end);
        let parts = parts.filter(|vma| matches!(vma.kind, Kind::Segment { id, .. } if id == attached));
        for part in parts.collect::<alloc::vec::Vec<_>>() {
            self.release(part.range(), false);
        }
        Ok(0)
    }

    /// Removes regions and frees their frames. `replaced` says that the caller maps something
    /// else over all of `range` at once, so that pages of Linux need no unmapping.
    pub(super) fn release(&mut self, range: Range<u64>, replaced: bool) {
        let gone = self.regions.remove(range.clone());
        let (Some(first), Some(last)) = (gone.first(), gone.last()) else { return };
        let runs = self.mapped.remove(range);
        let foreign = gone.iter().any(|vma| !vma.kind.has_frames());
        if !runs.is_empty() || foreign && !replaced {
            self.platform.unmap(first.start, last.end - first.start);
        }
        for run in runs {
            self.frames.free(run.frame, run.len);
        }
        self.let_files_go(&gone);
    }

    /// Whether nothing is mapped there and it is not the stack's guard.
    #[must_use]
    pub fn is_free(&self, range: Range<u64>) -> bool {
        let guarded = range.start < self.guard.end && self.guard.start < range.end;
        self.holds(&range) && !guarded && self.regions.is_free(range)
    }

    /// Whether these are addresses that the program may use.
    #[must_use]
    pub fn holds(&self, range: &Range<u64>) -> bool {
        range.start >= self.range.start && range.end <= self.range.end
    }

    /// Whether Linux's pages lie behind `addr` and other processes may see them too: where a
    /// futex is Linux's business.
    #[must_use]
    pub fn is_shared_foreign(&self, addr: u64) -> bool {
        self.regions.find(addr).is_some_and(|vma| !vma.kind.has_frames() && vma.kind.is_shared())
    }

    /// The same for a futex that is asked for as a shared one.
    ///
    /// # Errors
    /// `EFAULT` where there is nothing to be shared: no memory, or memory of one's own that is only to
    /// be read (`get_futex_key`).
    pub fn shared_word(&self, addr: u64) -> Result<bool, Errno> {
        let vma = self.regions.find(addr).ok_or(Errno::EFAULT)?;
        let is_own = matches!(vma.kind, Kind::Anon { .. } | Kind::Growing | Kind::Heap | Kind::Stack);
        if is_own && !vma.prot.contains(Prot::WRITE) {
            return Err(Errno::EFAULT);
        }
        Ok(!vma.kind.has_frames() && vma.kind.is_shared())
    }

    /// The highest gap, on large pages if `len` allows, else on any page.
    pub(super) fn gap_within(&self, window: Range<u64>, len: u64, unit: u64, phase: u64) -> Option<u64> {
        let large = if len >= LARGE_PAGE { LARGE_PAGE.max(unit) } else { unit };
        let exact = self.regions.gap(window.clone(), len, large, phase);
        exact.or_else(|| if large > unit { self.regions.gap(window, len, unit, phase) } else { None })
    }

    /// Where mappings that may be anywhere begin, downwards.
    pub(super) fn top(&self) -> u64 {
        self.guard.start.min(self.range.end - room_above(&self.range))
    }

    /// Where a mapping goes.
    fn choose(&self, addr: u64, len: u64, flags: u32) -> SysResult {
        if flags & (linux::MAP_FIXED | linux::MAP_FIXED_NOREPLACE) != 0 {
            let end = addr.checked_add(len).filter(|end| *end <= self.range.end).ok_or(Errno::ENOMEM)?;
            return match () {
                () if !addr.is_multiple_of(PAGE) => Err(Errno::EINVAL),
                () if addr < self.range.start => Err(Errno::EPERM),
                () if flags & linux::MAP_FIXED_NOREPLACE != 0 && !self.regions.is_free(addr..end) => Err(Errno::EEXIST),
                () => Ok(addr),
            };
        }
        let low = flags & linux::MAP_32BIT != 0;
        let top = if low { LOW_WINDOW.end.min(self.top()) } else { self.top() };
        if let Some(hint) = page_up(addr).filter(|hint| *hint != 0)
            && let Some(end) = hint.checked_add(len)
            && (!low || end <= top)
            && self.is_free(hint..end)
        {
            return Ok(hint);
        }
        let bottom = if low { LOW_WINDOW.start.max(self.range.start) } else { self.range.start };
        self.gap_within(bottom..top, len, PAGE, 0).ok_or(Errno::ENOMEM)
    }

    /// Books a mapping of Linux's pages that the platform has made already.
    fn enter_foreign(&mut self, at: u64, len: u64, prot: Prot, kind: Kind) {
        let range = at..at + len;
        let gone = self.regions.remove(range.clone());
        for run in self.mapped.remove(range) {
            self.frames.free(run.frame, run.len);
        }
        self.let_files_go(&gone);
        self.regions.insert(Vma { start: at, end: at + len, prot, kind, policy: Policy::DEFAULT, locked: false });
    }

    pub(super) fn fresh_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }
}

/// How a file is to be mapped.
fn file_sharing(flags: u32) -> Result<Sharing, Errno> {
    if flags & linux::MAP_HUGETLB != 0 {
        return Err(Errno::EINVAL);
    }
    match flags & linux::MAP_TYPE {
        linux::MAP_SHARED => Ok(Sharing::Shared),
        linux::MAP_SHARED_VALIDATE if flags & !LEGACY_FLAGS != 0 => Err(Errno::EOPNOTSUPP),
        linux::MAP_SHARED_VALIDATE => Ok(Sharing::Shared),
        linux::MAP_PRIVATE => Ok(Sharing::Private),
        _ => Err(Errno::EINVAL),
    }
}

/// What a Linux without a pool of huge pages says, which knows two sizes of them.
fn no_huge_pages(addr: u64, flags: u32) -> Errno {
    const GIANT_SHIFT: u32 = 30;
    let shift = flags >> linux::MAP_HUGE_SHIFT & linux::MAP_HUGE_MASK;
    let size = match shift {
        0 => LARGE_PAGE,
        GIANT_SHIFT => 1 << GIANT_SHIFT,
        _ if 1 << shift == LARGE_PAGE => LARGE_PAGE,
        _ => return Errno::EINVAL,
    };
    let fixed = flags & (linux::MAP_FIXED | linux::MAP_FIXED_NOREPLACE) != 0;
    if fixed && !addr.is_multiple_of(size) { Errno::EINVAL } else { Errno::ENOMEM }
}

/// Whether an anonymous mapping is to be shared.
fn anonymous_shared(flags: u32) -> Result<bool, Errno> {
    match flags & linux::MAP_TYPE {
        linux::MAP_SHARED if flags & linux::MAP_GROWSDOWN == 0 => Ok(true),
        linux::MAP_PRIVATE => Ok(false),
        _ => Err(Errno::EINVAL),
    }
}
