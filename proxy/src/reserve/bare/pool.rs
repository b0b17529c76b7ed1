//! The pool of 2 MiB pages of a NUMA node: raised by what a cell lacks, lowered by as much.
//!
//! Several cells and other programs use a pool at once, so what is noted is a difference, and all
//! of this happens under the ledger's lock. While the size is being changed, the note has the size
//! without our pages: whoever finds it later, because we were killed half way, sees from the size
//! that is there how many of the pages are ours.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::record::{PoolShare, Record};
use super::{Note, Refused};
use crate::node::Unreadable;
use crate::node::huge::{self, Pool};
use crate::reserve::Error;

/// How long pages may take to become free after their last user let go of them: io_uring does so
/// on its own time (`io_ring_exit_work`, io_uring/io_uring.c) when the ring is closed by the death of
/// its owner and of the keeper, who would have unpinned them.
const PATIENCE: Duration = Duration::from_secs(10);

/// Sees to it that `pages` pages can be had.
pub fn raise(root: &Path, numa: u32, pages: u64, record: &mut Record, note: &mut Note) -> Result<(), Error> {
    // In this order: other cells touch what they were promised meanwhile, and a page that is in
    // neither number any more is not taken for one that can be had.
    let promised = huge::promised(root).map_err(Refused::from)?;
    let pool = Pool::read(root, numa).map_err(Refused::from)?;
    let lacking = pages.saturating_sub(pool.usable(promised));
    if lacking == 0 {
        return Ok(());
    }
    let size = pool.size();
    record.pool = Some(PoolShare { numa, pages: lacking, without: Some(size) });
    note(record)?;
    let reached = set_size(root, numa, size + lacking).map_err(Refused::from)?;
    if reached < size + lacking {
        // What was reached of it is given back with everything else.
        let got = pages - (size + lacking - reached);
        return Err(Refused::NoLargePages { numa, asked: pages, got }.into());
    }
    record.pool = Some(PoolShare { numa, pages: lacking, without: None });
    Ok(note(record)?)
}

/// Lowers the pool by what it was raised by. Pages that others use by now leave it with their
/// users.
pub fn lower(root: &Path, record: &mut Record, note: &mut Note) -> Result<(), String> {
    let Some(share) = record.pool else { return Ok(()) };
    let explain = |error: Unreadable| error.to_string();
    let pool = Pool::read(root, share.numa).map_err(explain)?;
    let pages = match share.without {
        Some(without) => pool.size().saturating_sub(without).min(share.pages),
        None => share.pages,
    };
    if pages > 0 {
        wait_for_free(root, share.numa, pages);
        let without = Pool::read(root, share.numa).map_err(explain)?.size().saturating_sub(pages);
        record.pool = Some(PoolShare { numa: share.numa, pages, without: Some(without) });
        note(record).map_err(|error| error.to_string())?;
        let reached = set_size(root, share.numa, without).map_err(explain)?;
        if reached > without {
            return Err(format!("it has {reached} pages instead of {without}"));
        }
    }
    record.pool = None;
    note(record).map_err(|error| error.to_string())
}

/// A pool that is lowered while its pages are in use has pages beyond its size for a while, which
/// makes all arithmetic with it harder, for Linux too.
fn wait_for_free(root: &Path, numa: u32, pages: u64) {
    let start = Instant::now();
    while Pool::read(root, numa).is_ok_and(|pool| pool.free < pages) && start.elapsed() < PATIENCE {
        thread::sleep(Duration::from_millis(2));
    }
}

/// Sets the size; gives the size that this led to. Linux takes pages beyond the size of *other*
/// nodes into account (`set_max_huge_pages`, mm/hugetlb.c, differs between versions): what was
/// missed by is tried to be made up for.
fn set_size(root: &Path, numa: u32, size: u64) -> Result<u64, Unreadable> {
    let file = huge::size_file(root, numa);
    let mut asked = size;
    let mut reached = Pool::read(root, numa)?.size();
    for _ in 0..3 {
        if let Err(error) = fs::write(&file, asked.to_string()) {
            tracing::debug!("cannot write {asked} to {}: {error}", file.display());
        }
        let before = reached;
        reached = Pool::read(root, numa)?.size();
        if reached == size || reached == before {
            break;
        }
        asked = asked.saturating_add(size).saturating_sub(reached);
    }
    Ok(reached)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::tests::Fixture;
    use crate::reserve::ledger::LedgerError;
    use std::path::PathBuf;

    const POOL: &str = "sys/devices/system/node/node1/hugepages/hugepages-2048kB";

    /// A pool whose size is whatever is written to it.
    fn pool(total: u64, free: u64) -> (Fixture, PathBuf) {
        let root = Fixture::new();
        root.file("sys/kernel/mm/hugepages/hugepages-2048kB/resv_hugepages", "0\n");
        root.file(&format!("{POOL}/free_hugepages"), &format!("{free}\n"));
        root.file(&format!("{POOL}/surplus_hugepages"), "0\n");
        let size = root.file(&format!("{POOL}/nr_hugepages"), &format!("{total}\n"));
        (root, size)
    }

    fn text(path: &Path) -> String {
        fs::read_to_string(path).expect("own file").trim().to_owned()
    }

    fn silent(_: &Record) -> Result<(), LedgerError> {
        Ok(())
    }

    #[test]
    fn what_lacks_is_added_and_taken_away() {
        let (root, size) = pool(10, 4);
        let mut record = Record::default();
        let mut noted = Vec::new();
        let mut note = |record: &Record| {
            noted.push((record.pool, text(&size)));
            Ok(())
        };
        raise(root.path(), 1, 20, &mut record, &mut note).expect("possible");
        assert_eq!(text(&size), "26", "4 of 20 were free");
        let share = |without| Some(PoolShare { numa: 1, pages: 16, without });
        assert_eq!(noted, [(share(Some(10)), "10".to_owned()), (share(None), "26".to_owned())], "noted before");
        // Another cell has raised it by 5 meanwhile, and all is free again.
        fs::write(&size, "31").expect("own file");
        root.file(&format!("{POOL}/free_hugepages"), "25\n");
        lower(root.path(), &mut record, &mut silent).expect("possible");
        assert_eq!((text(&size).as_str(), record.pool), ("15", None));
    }

    #[test]
    fn free_pages_are_used_first() {
        let (root, size) = pool(10, 10);
        let mut record = Record::default();
        raise(root.path(), 1, 10, &mut record, &mut silent).expect("possible");
        assert_eq!((text(&size).as_str(), record.pool), ("10", None));
        root.file("sys/kernel/mm/hugepages/hugepages-2048kB/resv_hugepages", "3\n");
        raise(root.path(), 1, 10, &mut record, &mut silent).expect("possible");
        assert_eq!(text(&size), "13", "three are promised to others");
    }

    /// What a process killed half way leaves: the note, and a size that got somewhere or nowhere.
    #[test]
    fn half_a_change_is_undone() {
        for (reached, expected) in [(10, "10"), (13, "10"), (26, "10"), (40, "24"), (8, "8")] {
            let (root, size) = pool(reached, reached);
            let mut record =
                Record { pool: Some(PoolShare { numa: 1, pages: 16, without: Some(10) }), ..Record::default() };
            lower(root.path(), &mut record, &mut silent).expect("possible");
            assert_eq!(text(&size), expected, "it had got to {reached}");
        }
    }

    #[test]
    fn a_size_that_can_not_be_reached_is_told() {
        let (root, size) = pool(10, 0);
        fs::remove_file(&size).expect("own file");
        // Reads as 10 whatever is written to it.
        fs::create_dir(root.path().join("real")).expect("own directory");
        let mut record = Record::default();
        root.file(&format!("{POOL}/nr_hugepages"), "10\n");
        let mut permissions = fs::metadata(&size).expect("own file").permissions();
        permissions.set_readonly(true);
        fs::set_permissions(&size, permissions).expect("own file");
        let result = raise(root.path(), 1, 20, &mut record, &mut silent);
        if !nix::unistd::geteuid().is_root() {
            assert!(result.expect_err("read only").to_string().contains("0 bytes of 40 MiB"));
            assert_eq!(record.pool, Some(PoolShare { numa: 1, pages: 20, without: Some(10) }));
        }
    }
}
