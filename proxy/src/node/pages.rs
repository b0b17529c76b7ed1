//! Large pages: what Linux gives to shared memory by itself, and the pools.

use std::fs;
use std::path::Path;

use super::{Unreadable, read_if_there};

/// The setting that decides on transparent large pages for memfds.
pub const SHMEM_SETTING: &str = "sys/kernel/mm/transparent_hugepage/shmem_enabled";

/// The setting of newer kernels for one size; `inherit` refers to [`SHMEM_SETTING`].
const SHMEM_2M_SETTING: &str = "sys/kernel/mm/transparent_hugepage/hugepages-2048kB/shmem_enabled";

/// Whether a memfd is given transparent large pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transparent {
    /// Yes, at least where they are asked for.
    Given,
    /// No, but changing [`SHMEM_SETTING`] from `never` would do.
    SwitchedOff,
    /// No, and changing that setting is not enough or not ours to do.
    Refused,
}

/// A pool of reserved large pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pool {
    /// Bytes of a page.
    pub page: u64,
    /// Pages in the pool.
    pub total: u64,
    /// Pages of it that nobody has.
    pub free: u64,
}

/// What the machine has of large pages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LargePages {
    /// Transparent ones, for memfds.
    pub transparent: Transparent,
    /// Reserved ones, by size.
    pub pools: Vec<Pool>,
}

impl LargePages {
    /// Reads it.
    pub fn read(root: &Path) -> Result<Self, Unreadable> {
        let setting = read_if_there(root, SHMEM_SETTING)?;
        let of_size = read_if_there(root, SHMEM_2M_SETTING)?;
        let transparent = transparent(setting.as_deref().and_then(selected), of_size.as_deref().and_then(selected));
        Ok(LargePages { transparent, pools: pools(root) })
    }
}

/// The word in brackets: the setting in force of `always [madvise] never`.
pub fn selected(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once('[')?;
    rest.split_once(']').map(|(word, _)| word)
}

fn transparent(setting: Option<&str>, of_size: Option<&str>) -> Transparent {
    let gives = |word| matches!(word, "always" | "within_size" | "advise" | "force");
    match (setting, of_size.unwrap_or("inherit")) {
        (Some("deny") | None, _) => Transparent::Refused,
        (_, word) if gives(word) => Transparent::Given,
        (Some(word), "inherit") if gives(word) => Transparent::Given,
        (Some("never"), "inherit") => Transparent::SwitchedOff,
        _ => Transparent::Refused,
    }
}

fn pools(root: &Path) -> Vec<Pool> {
    let directory = root.join("sys/kernel/mm/hugepages");
    let mut pools: Vec<Pool> = fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let kib: u64 = name.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()?;
            let number = |file: &str| fs::read_to_string(entry.path().join(file)).ok()?.trim().parse().ok();
            Some(Pool { page: kib << 10, total: number("nr_hugepages")?, free: number("free_hugepages")? })
        })
        .collect();
    pools.sort_by_key(|pool| pool.page);
    pools
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::tests::Fixture;

    #[test]
    fn settings() {
        use Transparent::{Given, Refused, SwitchedOff};
        for (setting, of_size, expected) in [
            (Some("never"), None, SwitchedOff),
            (Some("never"), Some("inherit"), SwitchedOff),
            (Some("never"), Some("never"), Refused),
            (Some("never"), Some("always"), Given),
            (Some("advise"), None, Given),
            (Some("advise"), Some("inherit"), Given),
            (Some("advise"), Some("never"), Refused),
            (Some("within_size"), None, Given),
            (Some("deny"), Some("always"), Refused),
            (None, None, Refused),
        ] {
            assert_eq!(transparent(setting, of_size), expected, "{setting:?} {of_size:?}");
        }
    }

    #[test]
    fn the_word_in_brackets() {
        assert_eq!(selected("always within_size advise [never] deny force\n"), Some("never"));
        assert_eq!(selected("never\n"), None);
    }

    #[test]
    fn pools_by_size() {
        let root = Fixture::new();
        root.file("sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages", "0\n");
        root.file("sys/kernel/mm/hugepages/hugepages-1048576kB/free_hugepages", "0\n");
        root.file("sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "8\n");
        root.file("sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "5\n");
        let pages = LargePages::read(root.path()).expect("readable");
        assert_eq!(pages.pools, [Pool { page: 2 << 20, total: 8, free: 5 }, Pool { page: 1 << 30, total: 0, free: 0 }]);
        assert_eq!(pages.transparent, Transparent::Refused);
    }
}
