//! How large the sets are: by the last-level cache and the memory that is there.
//!
//! Both sides of a comparison must do the same work, so `compare` settles the sizes once and hands
//! them to all sides.

use std::fs;

use crate::machine::mapping::PageKind;
use crate::machine::meminfo;

pub(super) const MIB: usize = 1 << 20;

/// What STREAM asks for: arrays of at least four times the sum of the last-level caches used
/// (J. D. McCalpin, STREAM, rules for runs).
const ARRAY_TO_CACHE: usize = 4;
const LARGEST_CHASE: usize = 512 * MIB;

/// What the machine has, in bytes; none where it does not tell.
#[derive(Clone, Copy, Debug)]
pub struct Machine {
    /// Last-level cache of the core.
    pub cache: Option<usize>,
    /// Memory that a program can have without swapping.
    pub available: Option<usize>,
}

impl Machine {
    /// The machine seen from `core`.
    pub fn of(core: Option<usize>) -> Self {
        let available = meminfo::available().map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
        Self { cache: core.and_then(last_level_cache), available }
    }

    /// Size of an array of STREAM in MiB.
    pub fn array_mib(self) -> Option<usize> {
        Some((self.cache? * ARRAY_TO_CACHE).div_ceil(MIB))
    }

    /// Size of the set of random access and page sizes in MiB: a power of two.
    pub fn set_mib(self) -> Option<usize> {
        self.array_mib().map(usize::next_power_of_two)
    }

    /// Size of the largest set of the pointer chase in MiB: a power of two, a quarter of the memory at
    /// most.
    pub fn chase_mib(self) -> usize {
        let most = self.available.map_or(LARGEST_CHASE, |bytes| LARGEST_CHASE.min(bytes / 4));
        1 << (most / MIB).max(1).ilog2()
    }

    /// Refuses what would take more than three quarters of the memory. A pool is apart from it.
    pub fn require(self, bytes: usize, kind: PageKind) -> Result<(), String> {
        match self.available {
            Some(available) if kind.pool_page().is_none() && bytes > available / 4 * 3 => Err(format!(
                "needs {} MiB, which is more than three quarters of the {} MiB available; give smaller sizes",
                bytes / MIB,
                available / MIB
            )),
            _ => Ok(()),
        }
    }
}

/// The largest cache of data that `core` has a share of (Documentation/ABI/testing/sysfs-devices-system-cpu).
fn last_level_cache(core: usize) -> Option<usize> {
    let caches = fs::read_dir(format!("/sys/devices/system/cpu/cpu{core}/cache")).ok()?;
    let size = |folder: &std::path::Path| cache_size(&fs::read_to_string(folder.join("size")).ok()?);
    caches.filter_map(|entry| size(&entry.ok()?.path())).max()
}

/// `32768K`, also with `M`.
fn cache_size(text: &str) -> Option<usize> {
    let text = text.trim();
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let unit = match unit {
        "" => 1,
        "K" => 1024,
        "M" => MIB,
        _ => return None,
    };
    digits.parse::<usize>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_sizes_of_caches() {
        assert_eq!(cache_size("32768K\n"), Some(32 * MIB));
        assert_eq!(cache_size("96M"), Some(96 * MIB));
        assert_eq!(cache_size("512"), Some(512));
        assert_eq!(cache_size("1G?"), None);
    }

    #[test]
    fn sizes_follow_from_cache_and_memory() {
        let machine = Machine { cache: Some(24 * MIB), available: Some(8192 * MIB) };
        assert_eq!((machine.array_mib(), machine.set_mib(), machine.chase_mib()), (Some(96), Some(128), 512));
        let small = Machine { cache: None, available: Some(700 * MIB) };
        assert_eq!((small.array_mib(), small.set_mib(), small.chase_mib()), (None, None, 128));
    }

    #[test]
    fn too_much_is_refused_and_unknown_memory_is_not() {
        let machine = Machine { cache: None, available: Some(100 * MIB) };
        assert!(machine.require(75 * MIB, PageKind::Default).is_ok());
        assert!(machine.require(76 * MIB, PageKind::Default).unwrap_err().contains("needs 76 MiB"));
        assert!(Machine { cache: None, available: None }.require(usize::MAX, PageKind::Small).is_ok());
        assert!(machine.require(76 * MIB, PageKind::Pool2M).is_ok());
    }
}
