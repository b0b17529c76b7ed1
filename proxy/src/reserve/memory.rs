//! How much memory a cell gets, and getting it.
//!
//! The memory is one memfd, and a second one where a part comes from the pool of large pages
//! ([`shared_pool`](super::shared_pool)). The first is sparse: what the cell never touches costs nothing, so the
//! default is generous. But no cell may promise its program more than the machine has.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use shm_ipc::layout::LARGE_PAGE;

use crate::cli::Size;
use crate::descriptors::PrivateBand;
use crate::error;
use crate::node::memory::Memory;
use crate::reserve::Error;
use crate::reserve::shared_pool::PoolMemory;
use crate::sys::{self, Binding};

/// Less than this and kernel, program and C library have no room.
pub const LEAST: u64 = 32 << 20;

/// Decides how many bytes a cell gets, for itself and its program, in whole large pages.
pub fn amount(asked: Option<Size>, there: Memory, local_ranks: u32) -> Result<u64, Error> {
    let available = there.available.min(there.total);
    let bytes = match asked {
        Some(Size::Bytes(bytes)) => bytes,
        Some(Size::Percent(percent)) => there.total / 100 * u64::from(percent),
        // A tenth stays for Linux.
        None => available / 10 * 9 / u64::from(local_ranks.max(1)),
    };
    if bytes > available {
        return Err(Error::TooMuchMemory { asked: bytes, available });
    }
    if bytes < LEAST {
        return Err(Error::TooLittleMemory { bytes });
    }
    Ok(bytes / LARGE_PAGE * LARGE_PAGE)
}

/// How the memory of a cell is made up, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parts {
    /// What the cell may use.
    pub memory: u64,
    /// What it may use in pages of any size.
    pub small: u64,
    /// What it may use in pages of the pool.
    pub pool: u64,
}

/// Most that may come from the pool, as a multiple of what comes in pages of any size: the kernel's
/// own memory, and all that is small, have to be there.
const MOST_POOL: u64 = 16;

/// The same as [`amount`] where up to `pool` bytes can be had of the pool, which Linux counts to
/// no other memory. What was asked for comes from there as far as possible, but all of it may be
/// had in pages of any size while the machine has them: nobody knows which the program will want.
pub fn parts(asked: Option<Size>, there: Memory, local_ranks: u32, pool: u64) -> Result<Parts, Error> {
    if pool == 0 {
        let memory = amount(asked, there, local_ranks)?;
        return Ok(Parts { memory, small: memory, pool: 0 });
    }
    let Some(asked) = asked else {
        let small = amount(None, there, local_ranks)?;
        let pool = pool.min(small.saturating_mul(MOST_POOL));
        return Ok(Parts { memory: small + pool, small, pool });
    };
    let available = there.available.min(there.total);
    let with_pool = Memory { total: there.total, available: available.saturating_add(pool) };
    let with_pool = Memory { total: with_pool.total.max(with_pool.available), ..with_pool };
    let asked = match asked {
        Size::Percent(percent) => Size::Bytes(there.total / 100 * u64::from(percent)),
        bytes => bytes,
    };
    let memory = amount(Some(asked), with_pool, local_ranks)?;
    let small = memory.min(available / LARGE_PAGE * LARGE_PAGE);
    let pool = pool.min(memory).min(small.saturating_mul(MOST_POOL));
    if small < LEAST || small + pool < memory {
        return Err(Error::TooMuchMemory { asked: memory, available: small + pool });
    }
    Ok(Parts { memory, small, pool })
}

/// The memory of a cell: a file that kernel and proxy map, and perhaps one of the pool that they
/// map over its end.
#[derive(Debug)]
pub struct CellMemory {
    file: OwnedFd,
    pool: Option<PoolMemory>,
}

impl CellMemory {
    /// Takes `bytes` of it, from a NUMA node if one is given, besides what has been taken of the
    /// pool.
    pub fn take(
        bytes: u64,
        binding: Option<(u32, Binding)>,
        pool: Option<PoolMemory>,
        band: &PrivateBand,
    ) -> Result<Self, error::Error> {
        let failed = |what| {
            let advice = "see `ulimit -a` and the control group's limits";
            move |error: io::Error| error::Error::System { what, error, advice }
        };
        let file = memfd_create(c"tacet-cell", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)
            .map_err(|errno| failed("make the cell's memory")(errno.into()))?;
        let file = band.adopt(file)?;
        set_size(&file, bytes).map_err(failed("size the cell's memory"))?;
        if let Some((numa, binding)) = binding {
            sys::bind_memory(&file, bytes, numa, binding).map_err(failed("bind the cell's memory to its NUMA node"))?;
        }
        let adopt = |PoolMemory { file, bytes }| band.adopt(file).map(|file| PoolMemory { file, bytes });
        let pool = pool.map(adopt).transpose()?;
        Ok(CellMemory { file, pool })
    }

    /// What comes from the pool.
    pub fn pool(&self) -> Option<&PoolMemory> {
        self.pool.as_ref()
    }

    /// Bytes of it that have been touched.
    pub fn touched(&self) -> io::Result<u64> {
        Ok(touched(&self.file)? + self.touched_of_pool()?)
    }

    /// Bytes of what comes from the pool that have been touched.
    pub fn touched_of_pool(&self) -> io::Result<u64> {
        self.pool.as_ref().map_or(Ok(0), |pool| touched(&pool.file))
    }
}

fn touched(file: impl AsFd) -> io::Result<u64> {
    let status = nix::sys::stat::fstat(file)?;
    // st_blocks counts units of 512 bytes, whatever the file system: stat(3type).
    Ok(u64::try_from(status.st_blocks).unwrap_or(0) * 512)
}

impl AsFd for CellMemory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Sets the size for good: nobody who gets hold of the file can cut it under our mapping.
pub fn set_size(file: impl AsFd, bytes: u64) -> io::Result<()> {
    let length = i64::try_from(bytes).map_err(io::Error::other)?;
    nix::unistd::ftruncate(&file, length)?;
    let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals))?;
    Ok(())
}

/// Bytes as people write them.
pub fn human(bytes: u64) -> String {
    const UNITS: [(&str, u64); 4] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match UNITS.iter().find(|(_, unit)| bytes >= *unit) {
        Some((name, unit)) if bytes.is_multiple_of(*unit) => format!("{} {name}", bytes / unit),
        Some((name, unit)) => format!("{:.1} {name}", bytes as f64 / *unit as f64),
        None => format!("{bytes} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;
    const THERE: Memory = Memory { total: 16 * GIB, available: 10 * GIB };

    #[test]
    fn by_default_nine_tenths_for_all_ranks_together() {
        assert_eq!(amount(None, THERE, 1).expect("enough"), 9 * GIB);
        assert_eq!(amount(None, THERE, 4).expect("enough"), 9 * GIB / 4);
        assert_eq!(amount(None, THERE, 0).expect("enough"), 9 * GIB);
        assert_eq!(amount(None, THERE, 7).expect("enough") % LARGE_PAGE, 0);
    }

    #[test]
    fn as_asked_while_it_is_there() {
        assert_eq!(amount(Some(Size::Bytes(10 * GIB)), THERE, 4).expect("enough"), 10 * GIB);
        assert_eq!(amount(Some(Size::Percent(25)), THERE, 4).expect("enough") / LARGE_PAGE, 4 * GIB / LARGE_PAGE - 1);
        let error = amount(Some(Size::Bytes(10 * GIB + 1)), THERE, 1).expect_err("not there");
        assert!(error.to_string().contains("10 GiB"), "{error}");
        assert!(amount(Some(Size::Percent(100)), THERE, 1).is_err());
        assert!(amount(Some(Size::Bytes(u64::MAX)), THERE, 1).is_err());
    }

    #[test]
    fn too_little_is_told() {
        assert!(matches!(amount(Some(Size::Bytes(LEAST - 1)), THERE, 1), Err(Error::TooLittleMemory { .. })));
        assert!(amount(None, Memory { total: GIB, available: LEAST }, 1).is_err());
        assert_eq!(amount(Some(Size::Bytes(LEAST)), THERE, 1).expect("just enough"), LEAST);
    }

    #[test]
    fn the_pool_comes_on_top_of_what_linux_has() {
        let parts = |asked, pool| parts(asked, THERE, 1, pool).expect("enough");
        assert_eq!(parts(None, 0), Parts { memory: 9 * GIB, small: 9 * GIB, pool: 0 });
        assert_eq!(parts(None, 2 * GIB), Parts { memory: 11 * GIB, small: 9 * GIB, pool: 2 * GIB });
        assert_eq!(parts(Some(Size::Bytes(GIB)), 2 * GIB), Parts { memory: GIB, small: GIB, pool: GIB });
        assert_eq!(parts(Some(Size::Bytes(4 * GIB)), GIB), Parts { memory: 4 * GIB, small: 4 * GIB, pool: GIB });
        let most = Parts { memory: 13 * GIB, small: 10 * GIB, pool: 4 * GIB };
        assert_eq!(parts(Some(Size::Bytes(13 * GIB)), 4 * GIB), most);
    }

    #[test]
    fn small_pages_are_needed_whatever_the_pool_has() {
        let asked = Some(Size::Bytes(20 * GIB));
        assert!(parts(asked, THERE, 1, 9 * GIB).is_err());
        let poor = Memory { total: 64 * GIB, available: 64 << 20 };
        assert!(parts(asked, poor, 1, 32 * GIB).is_err());
        assert_eq!(
            parts(None, Memory { total: 64 * GIB, available: GIB }, 1, 60 * GIB).expect("enough").pool % LARGE_PAGE,
            0
        );
    }

    #[test]
    fn sizes_as_people_write_them() {
        for (bytes, text) in [(512, "512 bytes"), (2048, "2 KiB"), (3 << 29, "1.5 GiB"), (999 << 40, "999 TiB")] {
            assert_eq!(human(bytes), text);
        }
    }

    #[test]
    fn memory_is_sparse_and_keeps_its_size() {
        let file = memfd_create(c"test", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING).expect("memfd");
        set_size(&file, 64 << 20).expect("sized");
        assert!(nix::unistd::ftruncate(&file, 0).is_err(), "sealed");
        sys::bind_memory(&file, 64 << 20, 0, Binding::Preferred).expect("every machine has node 0");
        let memory = CellMemory { file, pool: None };
        assert_eq!(memory.touched().expect("fstat"), 0);
        nix::unistd::write(&memory, &[1]).expect("written");
        let touched = memory.touched().expect("fstat");
        assert!((4096..=LARGE_PAGE).contains(&touched), "{touched}");
    }
}
