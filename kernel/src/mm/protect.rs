//! mprotect(2).

use shm_ipc::layout::PAGE;

use super::pages_of;
use super::regions::{Kind, Vma};
use super::space::AddressSpace;
use crate::abi::{Errno, SysResult, linux};
use crate::platform::Prot;

impl AddressSpace {
    /// Changes what the program may do in a range. As on Linux, what lies before a hole has
    /// been changed when the call fails because of it.
    ///
    /// # Errors
    /// Those of mprotect(2).
    pub fn mprotect(&mut self, addr: u64, len: u64, bits: u32) -> SysResult {
        const GROWS: u32 = linux::PROT_GROWSDOWN | linux::PROT_GROWSUP;
        if bits & GROWS == GROWS || !addr.is_multiple_of(PAGE) {
            return Err(Errno::EINVAL);
        }
        if len == 0 {
            return Ok(0);
        }
        let end = pages_of(addr, len).ok_or(Errno::ENOMEM)?.end;
        if bits & !(Prot::all().bits() | linux::PROT_SEM | GROWS) != 0 {
            return Err(Errno::EINVAL);
        }
        self.check_mappings()?;
        let prot = Prot::from_bits_truncate(bits);
        let mut at = addr;
        if bits & GROWS != 0 {
            let vma = self.regions.find(addr).ok_or(Errno::ENOMEM)?;
            if !matches!(vma.kind, Kind::Stack | Kind::Growing) || bits & linux::PROT_GROWSUP != 0 {
                return Err(Errno::EINVAL);
            }
            at = vma.start;
        }
        while at < end {
            let vma = self.regions.find(at).ok_or(Errno::ENOMEM)?.clipped(&(at..end));
            self.protect_part(&vma, prot)?;
            at = vma.end;
        }
        Ok(0)
    }

    /// Changes the protection of one region or a part of it.
    fn protect_part(&mut self, vma: &Vma, prot: Prot) -> Result<(), Errno> {
        if vma.prot == prot {
            return Ok(());
        }
        if vma.kind == Kind::Vvar && prot.contains(Prot::WRITE) {
            return Err(Errno::EACCES);
        }
        if vma.kind.has_frames() {
            self.cut(vma.range())?;
            for span in self.mapped.spans(vma.range()) {
                self.platform.protect(span.start, span.end - span.start, prot)?;
            }
        } else {
            self.platform.protect(vma.start, vma.end - vma.start, prot)?;
        }
        self.regions.update(vma.range(), |vma| {
            vma.prot = prot;
            if let Kind::FileCopy { written, .. } = &mut vma.kind {
                *written |= prot.contains(Prot::WRITE);
            }
        });
        Ok(())
    }
}
