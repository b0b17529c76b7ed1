//! The `partition` platform: bare cores that were taken out of Linux.
//!
//! ```text
//! 0x0000_0001_0000        the program's addresses (ring 3), up to the last 1 or 2 TiB
//! 0xffff_8000_0000_0000   the window: the whole cell memory
//! 0xffff_ffff_8000_0000   kernel image
//! 0xffff_ffff_c000_0000   the local APIC, where its registers are memory
//! ```
//!
//! The kernel has its own page tables ([`paging`]), descriptor tables and stacks ([`cpu`]), and
//! takes traps itself ([`traps`]). Nothing of Linux is mapped but the pages of files and segments
//! that the program shares with others ([`foreign`]).

mod apic;
mod clock;
mod cpu;
mod foreign;
mod paging;
mod physical;
mod shootdown;
mod start;
mod traps;
mod vdso;

use core::arch::asm;
use core::ops::Range;
use core::sync::atomic::Ordering;

use alloc::vec::Vec;
use shm_ipc::doorbell::Attention;
use shm_ipc::layout::PAGE;
use shm_ipc::reasons;
use shm_ipc::region::Region;
use spin::{Mutex, Once};

use super::{Platform, Prot, Sharing, Vdso};
use crate::abi::{Errno, SysResult};
use crate::sched;
use clock::Clock;
use foreign::Source;
use paging::{Full, Tables};

pub use start::{announce, enter, enter_other, read, refuse};

/// Lowest address that a program gets, as on Linux (`vm.mmap_min_addr`).
const LOWEST: u64 = 0x1_0000;

/// Linux's default for mappings of a process (`vm.max_map_count`).
const MAPPINGS: usize = 65_530;

/// Tables below which no further mapping is accepted: unmapping a part of a large page takes up
/// to two of them at each end.
const FEW_TABLES: usize = 16;

/// The platform.
#[derive(Debug)]
pub struct Partition {
    region: Region,
    /// End of the program's addresses.
    user_end: u64,
    clock: Clock,
    /// Offset of the page with the clocks, on which there is nothing else.
    clock_at: u64,
    /// By index of the core.
    apic_ids: Vec<u32>,
    tables: Mutex<Tables>,
    /// Ranges that show pages of Linux.
    foreign: Mutex<Vec<Range<u64>>>,
    /// Whether Linux can send interrupts to the cell's cores at little risk (x2APIC).
    wakes: bool,
}

static PARTITION: Once<Partition> = Once::new();

/// The platform, once it is there.
fn partition() -> &'static Partition {
    PARTITION.get().expect("boot makes the platform first of all")
}

impl From<Full> for Errno {
    fn from(_: Full) -> Errno {
        Errno::ENOMEM
    }
}

impl Partition {
    /// Interrupts a core of the cell, which finds out why: a bit of [`reasons`].
    fn call(&self, core: u32, reason: u32) {
        if sched::cores()[core as usize].block.reasons.note(reason) {
            apic::send(self.apic_ids[core as usize]);
        }
    }

    /// Cores forget what was mapped in the range, before anything of it is used otherwise.
    fn flush(&self, tables: &mut Tables, at: u64, len: u64) {
        shootdown::all(sched::this_core().index, at, at + len);
        tables.flushed();
    }

    /// Maps pieces of physical memory one after the other from `at` on.
    fn map_pieces(
        &self,
        at: u64,
        len: u64,
        prot: Prot,
        mut piece: impl FnMut(u64) -> Option<(u64, u64)>,
    ) -> Result<(), Errno> {
        let mut tables = self.tables.lock();
        let mut known = tables.unmap(at, len)?;
        let mut done = 0;
        while done < len {
            let (physical, most) = piece(done).ok_or(Errno::EFAULT)?;
            let part = most.min(len - done);
            match tables.map(at + done, physical, part, prot) {
                Ok(replaced) => known |= replaced,
                Err(full) => {
                    // What was mapped of it goes again: nothing is left half done.
                    let _ = tables.unmap(at, len);
                    self.flush(&mut tables, at, len);
                    return Err(full.into());
                }
            }
            done += part;
        }
        if known {
            self.flush(&mut tables, at, len);
        }
        Ok(())
    }

    /// Maps the pages that Linux has given for the range.
    fn map_pages(&self, at: u64, len: u64, there: u64, prot: Prot) -> Result<(), Errno> {
        let there = there.next_multiple_of(PAGE).min(len);
        foreign::pages(at, there, |at, physical| match physical {
            // Nothing there: a touch is a fault.
            0 => Ok(()),
            _ => self.tables.lock().map(at, physical, PAGE, prot).map(|_| ()).map_err(Errno::from),
        })
    }

    fn map_source(&self, source: Source, at: u64, len: u64, prot: Prot, read_only: bool) -> Result<(), Errno> {
        // First the new one: if it can't be had, what is there stays.
        let there = foreign::map(source, at, len, read_only)?;
        self.clear(at, len, false);
        self.foreign.lock().push(at..at + len);
        self.map_pages(at, len, there, prot).inspect_err(|_| self.unmap(at, len))
    }

    /// Clears the tables for a range; `release`: what Linux had there is given back as well.
    fn clear(&self, at: u64, len: u64, release: bool) {
        {
            let mut tables = self.tables.lock();
            let known = tables.unmap(at, len);
            // The number of mappings is limited such that this can't be.
            let known = known.expect("tables are kept for splitting large pages");
            if known {
                self.flush(&mut tables, at, len);
            }
        }
        let end = at + len;
        let mut foreign = self.foreign.lock();
        let touched = foreign.iter().any(|range| range.start < end && at < range.end);
        if !touched {
            return;
        }
        let old = core::mem::take(&mut *foreign);
        for range in old {
            let parts = [range.start..range.end.min(at), range.start.max(end)..range.end];
            foreign.extend(parts.into_iter().filter(|part| !part.is_empty()));
        }
        drop(foreign);
        if release {
            self::foreign::unmap(at, len);
        }
    }
}

impl Platform for Partition {
    fn region(&self) -> Region {
        self.region
    }

    fn user_range(&self) -> Range<u64> {
        LOWEST..self.user_end
    }

    fn untouched_frames_cost(&self) -> bool {
        false
    }

    fn mapping_limit(&self) -> usize {
        if self.tables.lock().left() < FEW_TABLES { 0 } else { MAPPINGS }
    }

    fn map_frames(&self, at: u64, frame: u64, len: u64, prot: Prot) -> Result<(), Errno> {
        self.map_pieces(at, len, prot, |done| start::memory().of(frame + done))
    }

    fn map_file(&self, at: u64, len: u64, prot: Prot, fd: i32, offset: u64, _sharing: Sharing) -> Result<(), Errno> {
        self.map_source(Source::File(fd, offset), at, len, prot, !prot.contains(Prot::WRITE))
    }

    fn maps_private_files(&self) -> bool {
        false
    }

    fn read_file(&self, fd: i32, offset: u64, frame: u64, len: u64) -> Result<u64, Errno> {
        foreign::read(fd, offset, frame, len)
    }

    fn keep_file(&self, copy: u64, fd: i32, offset: u64, len: u64) -> Result<(), Errno> {
        foreign::keep(copy, fd, offset, len)
    }

    fn read_kept(&self, copy: u64, offset: u64, frame: u64, len: u64) -> Result<u64, Errno> {
        foreign::read_kept(copy, offset, frame, len)
    }

    fn drop_file(&self, copy: u64) {
        foreign::drop_file(copy);
    }

    fn map_segment(&self, at: u64, len: u64, shmid: i32, read_only: bool) -> Result<(), Errno> {
        let prot = if read_only { Prot::READ } else { Prot::READ | Prot::WRITE };
        self.map_source(Source::Segment(shmid), at, len, prot, read_only)
    }

    fn unmap(&self, at: u64, len: u64) {
        self.clear(at, len, true);
    }

    fn protect(&self, at: u64, len: u64, prot: Prot) -> Result<(), Errno> {
        let mut tables = self.tables.lock();
        if tables.protect(at, len, prot)? {
            self.flush(&mut tables, at, len);
        }
        Ok(())
    }

    fn move_foreign(&self, from: u64, old_len: u64, to: u64, new_len: u64) -> Result<(), Errno> {
        let prot = {
            let tables = self.tables.lock();
            tables.translate(from).map_or(Prot::READ, |(_, flags)| paging::prot_of(flags))
        };
        let there = foreign::remap(from, old_len, to, new_len)?;
        self.clear(from, old_len, false);
        self.clear(to, new_len, false);
        self.foreign.lock().push(to..to + new_len);
        self.map_pages(to, new_len, there, prot)
    }

    fn sync_foreign(&self, at: u64, len: u64, flags: u32) -> Result<(), Errno> {
        foreign::sync(at, len, flags)
    }

    fn advise_foreign(&self, _at: u64, _len: u64, _advice: u32) -> Result<(), Errno> {
        // The pages are pinned: there is nothing to read ahead or to drop.
        Ok(())
    }

    fn monotonic(&self) -> u64 {
        self.clock.monotonic()
    }

    fn realtime(&self) -> u64 {
        self.clock.realtime()
    }

    fn host_clock(&self, id: u32) -> Result<u64, Errno> {
        foreign::clock(id)
    }

    fn core_clock(&self, _core: u32) -> Option<u64> {
        None
    }

    fn vdso(&self) -> Vdso {
        Vdso::Own(vdso::image())
    }

    fn map_clock(&self, at: u64) -> Result<(), Errno> {
        self.map_pieces(at, PAGE, Prot::READ, |_| start::memory().of(self.clock_at))
    }

    fn set_timer(&self, deadline: Option<u64>) {
        match deadline {
            Some(deadline) => apic::set_timer(deadline.saturating_sub(self.monotonic())),
            None => apic::stop_timer(),
        }
    }

    fn sleep(&self, core: u32, deadline: Option<u64>) {
        let own = &sched::cores()[core as usize];
        let bell = own.block.bell.futex();
        let timer = deadline.filter(|_| self.wakes);
        if timer.is_some() {
            self.set_timer(timer);
        }
        while bell.load(Ordering::SeqCst) == Attention::Asleep as u32
            && own.pending.load(Ordering::SeqCst) == 0
            && deadline.is_none_or(|deadline| self.monotonic() < deadline)
        {
            if self.wakes {
                traps::halt(&own.pending, bell, Attention::Asleep as u32);
            } else {
                core::hint::spin_loop();
            }
        }
        if timer.is_some() {
            apic::stop_timer();
        }
    }

    fn wait_foreign(&self, address: u64, expected: u32, bits: u32, until: u64) -> bool {
        foreign::wait(address, expected, bits, until)
    }

    fn wake_foreign(&self, address: u64, count: u32, bits: u32) -> u64 {
        foreign::wake(address, count, bits)
    }

    fn copy_peer(&self, _write: bool, _pid: u64, _local: &[[u64; 2]], _remote: &[[u64; 2]]) -> Option<SysResult> {
        None
    }

    fn relax(&self) {
        core::hint::spin_loop();
    }

    fn kick(&self, core: u32) {
        self.call(core, reasons::CORE);
    }

    fn wake_proxy(&self) {
        // The proxy looks by itself, at growing intervals.
    }

    fn set_segment_bases(&self, fs: u64, gs: u64) {
        // SAFETY: FSGSBASE is on; the kernel uses neither segment while these are loaded.
        unsafe { asm!("wrfsbase {}", "wrgsbase {}", in(reg) fs, in(reg) gs, options(nomem, nostack, preserves_flags)) };
    }

    fn segment_bases(&self) -> (u64, u64) {
        let (fs, gs): (u64, u64);
        // SAFETY: as above.
        unsafe {
            asm!("rdfsbase {}", "rdgsbase {}", out(reg) fs, out(reg) gs, options(nomem, nostack, preserves_flags))
        };
        (fs, gs)
    }

    fn end(&self) -> ! {
        // The proxy sees it in the control page and stops the other cores.
        cpu::park()
    }
}
