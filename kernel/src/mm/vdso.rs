//! The kernel's own vDSO in the program's address space.

use shm_ipc::layout::PAGE;

use super::policy::Policy;
use super::regions::{Kind, Vma};
use super::space::AddressSpace;
use crate::abi::SysResult;
use crate::platform::{Prot, Vdso};

impl AddressSpace {
    /// Sees to it that the program has a vDSO, if the platform has one. Gives its address, or 0.
    ///
    /// # Errors
    /// `ENOMEM` when there is no room for it.
    pub fn map_vdso(&mut self) -> SysResult {
        let image = match self.platform.vdso() {
            Vdso::Host(at) => return Ok(at),
            Vdso::Own(image) => image,
        };
        let vvar = self.find_gap(2 * PAGE, PAGE, 0)?;
        let vdso = vvar + PAGE;
        self.platform.map_clock(vvar)?;
        let page =
            Vma { start: vvar, end: vdso, prot: Prot::READ, kind: Kind::Vvar, policy: Policy::DEFAULT, locked: false };
        self.regions.insert(page);
        self.map_anon(vdso, PAGE, Prot::READ | Prot::EXEC, Kind::Vdso)?;
        self.write_frames(vdso, image)?;
        Ok(vdso)
    }
}
