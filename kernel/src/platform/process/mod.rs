//! The `process` platform: the cell is a Linux process, fenced by seccomp.
//!
//! ```text
//! 0x0000_0001_0000   the program's addresses, up to the last 1 or 2 TiB, and the cell's memory less
//!                    kernel image
//!                    the window: the whole cell memory
//! 0x7xxx_xxxx_xxxx   the host's vDSO and its data, wherever they are
//! ```
//!
//! Each core is one pinned thread. The cell's memory is one memfd, or two where a part of it comes
//! from the host's pool of huge pages; what a page table is elsewhere are the host's mappings of
//! them. Traps are the host's signals ([`traps`]), system
//! calls of the program arrive as SIGSYS ([`fence`]). Kernel and program share an address
//! space: the fence keeps the program from Linux, nothing keeps it from the kernel's memory.

pub mod fence;
mod host;
mod segments;
mod sites;
mod start;
mod transfer;
mod traps;
mod vdso;

use core::ops::Range;
use core::sync::atomic::Ordering;

use shm_ipc::boot::{BootInfo, FLAG_TRANSPARENT_LARGE_PAGES};
use shm_ipc::layout::{LARGE_PAGE, PAGE};
use shm_ipc::region::Region;
use spin::Once;

use super::{Platform, Prot, Sharing, Transfer, Vdso};
use crate::abi::{Errno, SysResult};
use crate::arch::TrapFrame;
use crate::sched;
use host::{MAP_PRIVATE, MAP_SHARED, nr};

pub use start::{enter, read};

/// Gives up before there is a cell to report to, or after it has been told.
pub fn refuse() -> ! {
    host::exit_group(125)
}

/// Mappings that a cell may have: with room to spare below the host's default
/// (`vm.max_map_count`, 65530), as each of ours is at most one of its.
const MAPPINGS: usize = 60_000;

/// Lowest address that a program gets (the host's `vm.mmap_min_addr`).
const LOWEST: u64 = 0x1_0000;

/// Signal that interrupts a core: a completion has come, or another core wants attention. One
/// of the two that glibc keeps for itself, so no program uses it between processes.
pub const INTERRUPT_SIGNAL: u64 = 32;

/// Signal of a core's timer.
const TIMER_SIGNAL: u64 = 33;

/// The platform.
#[derive(Debug)]
pub struct Process {
    info: BootInfo,
    region: Region,
    fast_segments: bool,
    vdso: vdso::Clock,
}

static PROCESS: Once<Process> = Once::new();

/// Bit in `AT_HWCAP2`: the host lets programs use RDFSBASE and its relatives.
const HWCAP2_FSGSBASE: u64 = 2;

impl Process {
    fn create(info: BootInfo, region: Region) -> &'static Process {
        let fast_segments = info.hwcap[1] & HWCAP2_FSGSBASE != 0;
        PROCESS.call_once(|| Process { info, region, fast_segments, vdso: vdso::Clock::at(info.vdso_clock) })
    }

    /// Whether `address` lies in the kernel image.
    fn in_image(&self, address: u64) -> bool {
        address.wrapping_sub(self.info.image[0]) < self.info.image[1]
    }

    /// Whether a core that was interrupted there was in the kernel: in its image, or in the
    /// host's vDSO on a kernel stack, from where the kernel reads the clock.
    fn is_kernel(&self, rip: u64, rsp: u64) -> bool {
        let lies_in = |address: u64, [start, len]: [u64; 2]| address.wrapping_sub(start) < len;
        let window = [self.info.window, self.region.len()];
        self.in_image(rip) || (lies_in(rip, self.info.keep) && lies_in(rsp, window))
    }

    fn advise_large(&self, at: u64, len: u64) {
        const MADV_HUGEPAGE: u64 = 14;
        if self.info.flags & FLAG_TRANSPARENT_LARGE_PAGES != 0 && len >= LARGE_PAGE {
            // SAFETY: a hint about memory that was just mapped. If the host declines, the
            // memory is what it was.
            let _ = unsafe { host::call(nr::MADVISE, [at, len, MADV_HUGEPAGE, 0, 0, 0]) };
        }
    }
}

impl Platform for Process {
    fn region(&self) -> Region {
        self.region
    }

    fn user_range(&self) -> Range<u64> {
        LOWEST..self.info.user_end
    }

    fn untouched_frames_cost(&self) -> bool {
        true
    }

    fn mapping_limit(&self) -> usize {
        MAPPINGS
    }

    fn map_frames(&self, at: u64, frame: u64, len: u64, prot: Prot) -> Result<(), Errno> {
        let [pool, pool_len] = self.info.pool;
        let pooled = frame.wrapping_sub(pool) < pool_len;
        let (fd, offset) = if pooled { (self.info.pool_fd, frame - pool) } else { (self.info.memory_fd, frame) };
        // SAFETY: the caller maps within the user range, where nothing of the kernel lies.
        unsafe { host::mmap_fixed(at, len, u64::from(prot.bits()), MAP_SHARED, fd, offset)? };
        if !pooled {
            self.advise_large(at, len);
        }
        Ok(())
    }

    fn map_file(&self, at: u64, len: u64, prot: Prot, fd: i32, offset: u64, sharing: Sharing) -> Result<(), Errno> {
        let private = self.info.private_fds;
        let own = u64::from(fd.cast_unsigned()).wrapping_sub(private[0]) < private[1];
        if own && fd != crate::loader::exec::program_fd() {
            return Err(Errno::EBADF);
        }
        let flags = if sharing == Sharing::Private { MAP_PRIVATE } else { MAP_SHARED };
        let fd = i64::from(fd).cast_unsigned();
        // SAFETY: as in `map_frames`.
        unsafe { host::mmap_fixed(at, len, u64::from(prot.bits()), flags, fd, offset) }
    }

    fn maps_private_files(&self) -> bool {
        true
    }

    fn read_file(&self, _fd: i32, _offset: u64, _frame: u64, _len: u64) -> Result<u64, Errno> {
        // The host maps them.
        Err(Errno::ENODEV)
    }

    fn keep_file(&self, _copy: u64, _fd: i32, _offset: u64, _len: u64) -> Result<(), Errno> {
        Err(Errno::ENODEV)
    }

    fn read_kept(&self, _copy: u64, _offset: u64, _frame: u64, _len: u64) -> Result<u64, Errno> {
        Err(Errno::ENODEV)
    }

    fn drop_file(&self, _copy: u64) {}

    fn map_segment(&self, at: u64, _len: u64, shmid: i32, read_only: bool) -> Result<(), Errno> {
        const SHM_RDONLY: u64 = 0o10000;
        const SHM_REMAP: u64 = 0o40000;
        let flags = SHM_REMAP | if read_only { SHM_RDONLY } else { 0 };
        // SAFETY: as in `map_frames`.
        unsafe { host::call(nr::SHMAT, [i64::from(shmid).cast_unsigned(), at, flags, 0, 0, 0]).map(|_| ()) }
    }

    fn unmap(&self, at: u64, len: u64) {
        // SAFETY: the caller unmaps within the user range, and holds no reference into it.
        let unmapped = unsafe { host::munmap(at, len) };
        assert!(unmapped.is_ok(), "the host can't unmap {at:#x}+{len:#x}: {unmapped:?}");
    }

    fn protect(&self, at: u64, len: u64, prot: Prot) -> Result<(), Errno> {
        // SAFETY: as in `map_frames`.
        unsafe { host::call(nr::MPROTECT, [at, len, u64::from(prot.bits()), 0, 0, 0]).map(|_| ()) }
    }

    fn move_foreign(&self, from: u64, old_len: u64, to: u64, new_len: u64) -> Result<(), Errno> {
        const MREMAP_MAYMOVE: u64 = 1;
        const MREMAP_FIXED: u64 = 2;
        // The same place means: change the size there.
        let flags = if from == to { 0 } else { MREMAP_MAYMOVE | MREMAP_FIXED };
        // SAFETY: both ranges lie in the user range.
        unsafe { host::call(nr::MREMAP, [from, old_len, new_len, flags, to, 0]).map(|_| ()) }
    }

    fn sync_foreign(&self, at: u64, len: u64, flags: u32) -> Result<(), Errno> {
        // SAFETY: writes memory to its file, changes none.
        unsafe { host::call(nr::MSYNC, [at, len, u64::from(flags), 0, 0, 0]).map(|_| ()) }
    }

    fn resident_foreign(&self, at: u64, pages: &mut [u8]) {
        let len = pages.len() as u64 * PAGE;
        // SAFETY: the host fills the bytes, one for each page.
        let told = unsafe { host::call(nr::MINCORE, [at, len, pages.as_mut_ptr() as u64, 0, 0, 0]) };
        if told.is_err() {
            // It is the host's mapping all the same: it is only the host that does not tell.
            pages.fill(1);
        }
    }

    fn advise_foreign(&self, at: u64, len: u64, advice: u32) -> Result<(), Errno> {
        // SAFETY: concerns program memory only.
        unsafe { host::call(nr::MADVISE, [at, len, u64::from(advice), 0, 0, 0]).map(|_| ()) }
    }

    fn monotonic(&self) -> u64 {
        self.vdso.read(crate::abi::linux::CLOCK_MONOTONIC)
    }

    fn realtime(&self) -> u64 {
        self.vdso.read(crate::abi::linux::CLOCK_REALTIME)
    }

    fn host_clock(&self, id: u32) -> Result<u64, Errno> {
        host::clock_gettime(id)
    }

    fn core_clock(&self, core: u32) -> Option<u64> {
        // That of a thread (MAKE_THREAD_CPUCLOCK and CPUCLOCK_SCHED in include/linux/posix-timers.h).
        const THREAD_CPUTIME: u32 = 6;
        let tid = sched::cores().get(core as usize)?.block.host_tid.load(Ordering::Relaxed);
        host::clock_gettime(!tid << 3 | THREAD_CPUTIME).ok()
    }

    fn vdso(&self) -> Vdso {
        Vdso::Host(self.info.vdso)
    }

    fn map_clock(&self, _at: u64) -> Result<(), Errno> {
        Err(Errno::ENODEV)
    }

    fn set_timer(&self, deadline: Option<u64>) {
        traps::set_timer(sched::this_core().index, deadline);
    }

    fn sleep(&self, core: u32, deadline: Option<u64>) {
        use shm_ipc::doorbell::Attention;
        let word = sched::cores()[core as usize].block.bell.futex();
        host::futex_wait(word.as_ptr() as u64, Attention::Asleep as u32, deadline);
    }

    fn wait_foreign(&self, address: u64, expected: u32, bits: u32, until: u64) -> bool {
        host::futex_wait_for(address, expected, Some(until), bits)
    }

    fn wake_foreign(&self, address: u64, count: u32, bits: u32) -> u64 {
        host::futex_wake_for(address, count, bits)
    }

    fn copy_peer(&self, write: bool, pid: u64, local: &[[u64; 2]], remote: &[[u64; 2]]) -> Option<SysResult> {
        let user = self.user_range();
        let outside = |&[at, len]: &[u64; 2]| at < user.start || at.checked_add(len).is_none_or(|end| end > user.end);
        if local.iter().any(outside) {
            return None;
        }
        let number = if write { nr::PROCESS_VM_WRITEV } else { nr::PROCESS_VM_READV };
        let (here, there) = (local.as_ptr() as u64, remote.as_ptr() as u64);
        let args = [pid, here, local.len() as u64, there, remote.len() as u64, 0];
        // SAFETY: the local pieces lie in the user range, where nothing of the kernel's is; the other
        // process's memory is not ours.
        Some(unsafe { host::call(number, args) })
    }

    fn transfer(&self, nr: u32, args: [u64; 6]) -> Transfer {
        transfer::transfer(nr, args, self.user_range())
    }

    fn relax(&self) {
        if self.info.spin_ns == 0 {
            // SAFETY: gives the core to whoever else wants it.
            let _ = unsafe { host::call(nr::SCHED_YIELD, [0; 6]) };
        } else {
            core::hint::spin_loop();
        }
    }

    fn kick(&self, core: u32) {
        let block = sched::cores()[core as usize].block;
        // Asleep or running the program: the one is woken, the other interrupted.
        host::futex_wake(block.bell.futex().as_ptr() as u64, 1);
        let tid = u64::from(block.host_tid.load(Ordering::Relaxed));
        // SAFETY: a signal to a thread of our own.
        let _ = unsafe { host::call(nr::TGKILL, [self.info.pid, tid, INTERRUPT_SIGNAL, 0, 0, 0]) };
    }

    fn wake_proxy(&self) {
        let word = crate::boot::control().proxy_bell.futex();
        host::futex_wake(word.as_ptr() as u64, 1);
    }

    fn set_segment_bases(&self, fs: u64, gs: u64) {
        segments::set(self.fast_segments, fs, sites::gs_for(gs));
    }

    fn segment_bases(&self) -> (u64, u64) {
        let (fs, gs) = segments::get(self.fast_segments);
        (fs, sites::gs_seen(gs))
    }

    fn learn_call(&self, frame: &TrapFrame) {
        sites::learn(self, frame);
    }

    fn code_opened(&self, range: Range<u64>) {
        // A place is known by its end.
        const LONGEST: u64 = 16;
        sites::restore(range.start..range.end.saturating_add(LONGEST));
    }

    fn forget_program(&self) {
        sites::forget();
    }

    fn end(&self) -> ! {
        host::exit_group(0)
    }
}
