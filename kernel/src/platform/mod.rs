//! What sets a cell apart from Linux.
//!
//! Everything above this floor calls [`Platform`] and never asks which one it is. A platform
//! maps memory where it is told, says what time it is, lets a core sleep, wakes others, and
//! carries a core into the program and back.

pub mod partition;
pub mod process;

use core::ops::Range;

use bitflags::bitflags;
use shm_ipc::region::Region;

use crate::abi::{Errno, SysResult};
use crate::arch::TrapFrame;

bitflags! {
    /// What the program may do with memory. The values are those of mmap(2).
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Prot: u32 {
        /// `PROT_READ`
        const READ = 1;
        /// `PROT_WRITE`
        const WRITE = 2;
        /// `PROT_EXEC`
        const EXEC = 4;
    }
}

/// Whether writes to a mapping of a file reach the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// `MAP_PRIVATE`: they stay in the cell.
    Private,
    /// `MAP_SHARED`: they reach the file and everybody who maps it.
    Shared,
}

/// What tells a program the time without a call (vdso(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vdso {
    /// The host's, at this address of the program's; 0 when there is none.
    Host(u64),
    /// An image of the kernel's own, at most a page, to be mapped behind the page that
    /// [`Platform::map_clock`] maps.
    Own(&'static [u8]),
}

/// What became of a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transfer {
    /// It is over.
    Done(SysResult),
    /// So many bytes have been transferred, the rest is to be forwarded.
    Rest(u64),
}

/// One way to set a cell apart from Linux.
///
/// Addresses are the program's virtual addresses, page aligned, within [`Platform::user_range`];
/// lengths are multiples of a page and not zero; frames are offsets into the cell's memory.
/// `at` need not be free: a mapping replaces what is there.
pub trait Platform: Sync {
    /// The cell's memory as the kernel sees it: frames are read and written through this.
    fn region(&self) -> Region;

    /// Addresses that the program may use. Nothing else of the cell lies there.
    fn user_range(&self) -> Range<u64>;

    /// Whether a frame that the cell has never touched costs the node memory when it is: then
    /// used frames are handed out again first.
    fn untouched_frames_cost(&self) -> bool;

    /// How many mappings there may be.
    fn mapping_limit(&self) -> usize;

    /// Maps frames.
    ///
    /// # Errors
    /// `ENOMEM` when the platform is out of room for mappings.
    fn map_frames(&self, at: u64, frame: u64, len: u64, prot: Prot) -> Result<(), Errno>;

    /// Maps part of a file that the program (or the proxy for it) has open.
    ///
    /// # Errors
    /// As mmap(2) for a file.
    fn map_file(&self, at: u64, len: u64, prot: Prot, fd: i32, offset: u64, sharing: Sharing) -> Result<(), Errno>;

    /// Whether [`Platform::map_file`] takes private mappings. Where it does not, what a private
    /// mapping of a file shows is read into frames ([`Platform::read_file`]).
    fn maps_private_files(&self) -> bool;

    /// Reads up to `len` bytes at `offset` of a file that the program (or the proxy for it) has
    /// open into frames from `frame` on. Gives how many there were: fewer at the file's end. It is
    /// called under the lock of the address space: it may wait for Linux, but not for that lock.
    ///
    /// # Errors
    /// As mmap(2) for a file that can't be mapped for reading, else as pread(2).
    fn read_file(&self, fd: i32, offset: u64, frame: u64, len: u64) -> Result<u64, Errno>;

    /// Keeps the file behind a private mapping that is read: the program may close the descriptor,
    /// and what it has mapped still has a name and can be read again. `copy` is the mapping's number.
    /// As [`Platform::read_file`], it and the two below are called under the lock of the address
    /// space.
    ///
    /// # Errors
    /// As mmap(2).
    fn keep_file(&self, copy: u64, fd: i32, offset: u64, len: u64) -> Result<(), Errno>;

    /// Reads a kept file again, up to `len` bytes at `offset`, not before the mapping's, into frames
    /// from `frame` on. Gives how many whole pages of it there are, in bytes.
    ///
    /// # Errors
    /// `EIO` when the file can't be read.
    fn read_kept(&self, copy: u64, offset: u64, frame: u64, len: u64) -> Result<u64, Errno>;

    /// Nothing is left of the mapping for which the file was kept.
    fn drop_file(&self, copy: u64);

    /// Maps a SysV shared-memory segment of Linux, which is `len` bytes long.
    ///
    /// # Errors
    /// As shmat(2).
    fn map_segment(&self, at: u64, len: u64, shmid: i32, read_only: bool) -> Result<(), Errno>;

    /// Removes all mappings in the range. Ranges that hold none are fine.
    fn unmap(&self, at: u64, len: u64);

    /// Changes what the program may do with what is mapped in the range.
    ///
    /// # Errors
    /// `EACCES` as mprotect(2), `ENOMEM` when the platform is out of room for mappings.
    fn protect(&self, at: u64, len: u64, prot: Prot) -> Result<(), Errno>;

    /// Moves a mapping of a file or segment, keeping what is in it, to `to`, growing or
    /// shrinking it to `new_len`. Never used for frames.
    ///
    /// # Errors
    /// As mremap(2).
    fn move_foreign(&self, from: u64, old_len: u64, to: u64, new_len: u64) -> Result<(), Errno>;

    /// Passes msync(2) on for a mapping of a file. `flags` are the call's.
    ///
    /// # Errors
    /// As msync(2).
    fn sync_foreign(&self, at: u64, len: u64, flags: u32) -> Result<(), Errno>;

    /// Says which pages of a mapping of a file are in memory, one byte each, as mincore(2). Where the platform
    /// pins what is mapped, all are.
    fn resident_foreign(&self, _at: u64, pages: &mut [u8]) {
        pages.fill(1);
    }

    /// Passes madvise(2) on for a mapping of a file. `advice` is the call's.
    ///
    /// # Errors
    /// As madvise(2).
    fn advise_foreign(&self, at: u64, len: u64, advice: u32) -> Result<(), Errno>;

    /// Nanoseconds of `CLOCK_MONOTONIC`.
    fn monotonic(&self) -> u64;

    /// Nanoseconds of `CLOCK_REALTIME`.
    fn realtime(&self) -> u64;

    /// Any clock that the host offers and that does not concern threads, in nanoseconds.
    ///
    /// # Errors
    /// `EINVAL` for a clock that is not known.
    fn host_clock(&self, id: u32) -> Result<u64, Errno>;

    /// CPU time that the host says a core of the cell has had; none where the core is the cell's alone.
    fn core_clock(&self, core: u32) -> Option<u64>;

    /// The vDSO that the program gets.
    fn vdso(&self) -> Vdso;

    /// Maps the page that an own vDSO reads, to be read only.
    ///
    /// # Errors
    /// `ENOMEM` when the platform is out of room for mappings, `ENODEV` when there is no such page.
    fn map_clock(&self, at: u64) -> Result<(), Errno>;

    /// Asks for a [`Timer`](shm_ipc::control::Cause::Timer) interrupt on this core at
    /// `deadline` (monotonic nanoseconds), replacing an earlier request; `None` takes it back.
    fn set_timer(&self, deadline: Option<u64>);

    /// Sleeps until this core's doorbell is rung, it is kicked or interrupted, or `deadline`
    /// (monotonic nanoseconds) has passed. Returns early for any reason or none. The doorbell
    /// must have been announced as asleep. What [`Platform::set_timer`] was asked for may be
    /// forgotten.
    fn sleep(&self, core: u32, deadline: Option<u64>);

    /// Sleeps on a word in memory mapped from Linux while it holds `expected`, at most until
    /// `until` (monotonic nanoseconds), for wake-ups with any of `bits`. `true` when somebody woke it there.
    fn wait_foreign(&self, address: u64, expected: u32, bits: u32, until: u64) -> bool;

    /// Wakes up to `count` sleepers, in any process, on a word in memory mapped from Linux, that
    /// wait for any of `bits`.
    fn wake_foreign(&self, address: u64, count: u32, bits: u32) -> u64;

    /// Copies between program memory and the memory of another process as process_vm_readv(2)
    /// or, with `write`, process_vm_writev(2) do, if a core of the cell can do that itself:
    /// `None` when it can't and the call is to be forwarded. Pieces are address and length.
    fn copy_peer(&self, write: bool, pid: u64, local: &[[u64; 2]], remote: &[[u64; 2]]) -> Option<SysResult>;

    /// Makes read(2), write(2), pread64(2) or pwrite64(2), number `nr`, of the program on a file of which
    /// [`Files`](shm_ipc::files::Files) says that the cell may use it, as far as a core can do that itself.
    /// The core does nothing else meanwhile.
    fn transfer(&self, _nr: u32, _args: [u64; 6]) -> Transfer {
        Transfer::Rest(0)
    }

    /// One step of a waiting loop that expects to wait shortly. Called also while this core waits
    /// for another one of the kernel.
    fn relax(&self);

    /// Interrupts the core with this index: it re-examines its run queue.
    fn kick(&self, core: u32);

    /// Wakes the proxy: its doorbell said that it sleeps.
    fn wake_proxy(&self);

    /// Base of the program's thread-local segment, and its counterpart `gs`.
    fn set_segment_bases(&self, fs: u64, gs: u64);

    /// The bases as the program has left them.
    fn segment_bases(&self) -> (u64, u64);

    /// A system call has come with these registers by a way that is slow
    /// ([`Trap::SlowCall`](crate::entry::Trap)). The platform may see to it that the next one from there
    /// does not.
    fn learn_call(&self, _frame: &TrapFrame) {}

    /// The program may write to `range` from now on.
    fn code_opened(&self, _range: Range<u64>) {}

    /// The program has been replaced by another (execve(2)): what was learnt of its code is void.
    fn forget_program(&self) {}

    /// Ends all cores. The control page says why.
    fn end(&self) -> !;
}

static PLATFORM: spin::Once<&'static dyn Platform> = spin::Once::new();

/// Boot: makes the platform known.
pub fn set(platform: &'static dyn Platform) {
    PLATFORM.call_once(|| platform);
}

/// The platform that this cell runs on.
///
/// # Panics
/// Before [`set`], which is the first thing that boot does.
pub fn get() -> &'static dyn Platform {
    *PLATFORM.get().expect("boot sets the platform first of all")
}
