//! The file system that the memory of bare cells lies in: a hugetlbfs of our own.
//!
//! Memory that has a name outlives its proxy and its keeper, as it must: the cores run on it until
//! somebody brings them back.

use std::fs;
use std::io;
use std::path::Path;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::statfs::{HUGETLBFS_MAGIC, statfs};

/// Mounts it, unless it is mounted already.
pub fn ensure(path: &Path) -> io::Result<()> {
    match fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    if is_mounted(path)? {
        return Ok(());
    }
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    Ok(mount(Some("tacet"), path, Some("hugetlbfs"), flags, Some("pagesize=2M,mode=0700"))?)
}

/// Unmounts it, unless there are files in it that nobody has accounted for: a core may run on
/// them.
pub fn remove(path: &Path) -> io::Result<()> {
    if !path.exists() {
        return Ok(());
    }
    if is_mounted(path)? {
        if fs::read_dir(path)?.next().is_some() {
            return Err(io::Error::other("there are files in it that no cell of the ledger has"));
        }
        // Detached: a keeper that is about to end may have a file open for a moment more.
        umount2(path, MntFlags::MNT_DETACH)?;
    }
    fs::remove_dir(path)
}

fn is_mounted(path: &Path) -> io::Result<bool> {
    Ok(statfs(path)?.filesystem_type() == HUGETLBFS_MAGIC)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::tests::Fixture;

    #[test]
    fn removing_what_is_not_mounted() {
        let root = Fixture::new();
        let path = root.path().join("huge");
        remove(&path).expect("nothing to do");
        fs::create_dir(&path).expect("own directory");
        remove(&path).expect("an empty directory");
        assert!(!path.exists());
    }
}
