//! Faults on the program's memory.

use shm_ipc::layout::{LARGE_PAGE, PAGE};

use super::limits::counts_as_data;
use super::regions::{Kind, Vma};
use super::space::{AddressSpace, STACK_GUARD};
use crate::abi::linux;
use crate::platform::Prot;

/// What an instruction wanted of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// To read it.
    Read,
    /// To write it.
    Write,
    /// To run it.
    Exec,
}

impl Access {
    /// Whether memory of this protection allows it. On x86-64 what can be written or run can
    /// be read.
    #[must_use]
    pub fn is_allowed(self, prot: Prot) -> bool {
        match self {
            Access::Read => !prot.is_empty(),
            Access::Write => prot.contains(Prot::WRITE),
            Access::Exec => prot.contains(Prot::EXEC),
        }
    }
}

/// What became of a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The instruction can be tried again.
    Filled,
    /// The program may not do that: SIGSEGV with this `si_code`.
    Segv {
        /// `SEGV_MAPERR` or `SEGV_ACCERR`.
        code: i32,
    },
    /// There is nothing behind the mapping, such as beyond the end of a file: SIGBUS.
    Bus,
    /// The program may do that, but the cell's memory is used up.
    OutOfMemory,
}

impl AddressSpace {
    /// Mends a fault of the program at `addr`, or says what it is.
    pub fn handle_fault(&mut self, addr: u64, access: Access) -> Fault {
        let Some(vma) = self.regions.find(addr).or_else(|| self.grow_down(addr)) else {
            return Fault::Segv { code: linux::SEGV_MAPERR as i32 };
        };
        if !access.is_allowed(vma.prot) {
            return Fault::Segv { code: linux::SEGV_ACCERR as i32 };
        }
        if !vma.kind.has_frames() || self.is_beyond_file(&vma, addr) {
            return Fault::Bus;
        }
        if self.ensure_frame(&vma, addr) { Fault::Filled } else { Fault::OutOfMemory }
    }

    /// Lets the region behind `addr` begin there, if it is one that grows and may (`expand_downwards` and
    /// `acct_stack_growth` in mm/mmap.c).
    fn grow_down(&mut self, addr: u64) -> Option<Vma> {
        let (before, behind) = self.regions.around(addr);
        let vma = behind.filter(|vma| vma.kind == Kind::Growing)?;
        let start = addr / PAGE * PAGE;
        let is_close = |vma: Vma| {
            let grows = matches!(vma.kind, Kind::Growing | Kind::Stack);
            !grows && !vma.prot.is_empty() && start - vma.end < STACK_GUARD
        };
        if start < self.range.start || before.is_some_and(is_close) || !self.may_grow_to(vma.end - start) {
            return None;
        }
        self.check_limits(vma.start - start, counts_as_data(vma.prot, false)).ok()?;
        self.map_anon(start, vma.start - start, vma.prot, Kind::Growing).ok()?;
        self.regions.find(addr)
    }

    /// Sees to it that there is a frame behind `addr` of `vma` and that it is mapped.
    fn ensure_frame(&mut self, vma: &Vma, addr: u64) -> bool {
        let Some(run) = self.mapped.find(addr) else {
            return self.fill_at(vma, addr).is_ok();
        };
        // Another core was faster, or the platform failed half way through a change: saying it
        // once more is right in both cases.
        let page = if self.frames.is_pooled(run.frame) { LARGE_PAGE } else { PAGE };
        let at = addr / page * page;
        let frame = run.frame.wrapping_add(at).wrapping_sub(run.virt);
        let protected = self.platform.protect(at, page, vma.prot);
        protected.or_else(|_| self.platform.map_frames(at, frame, page, vma.prot)).is_ok()
    }
}
