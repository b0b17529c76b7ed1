//! Leaving the control groups of a job, so that what ends the job does not end its keepers.

use std::fs;
use std::path::{Path, PathBuf};

/// Moves this process into the root of every hierarchy of control groups that is mounted. Where
/// that is refused it stays where it is, and the next `tacet` has to do what a killed keeper can't.
pub fn leave(root: &Path) {
    let mounts = fs::read_to_string(root.join("proc/self/mountinfo")).unwrap_or_default();
    for mount in hierarchies(&mounts) {
        // Zero is whoever writes it: Documentation/admin-guide/cgroup-v2.rst.
        let procs = root.join(mount.strip_prefix("/").unwrap_or(&mount)).join("cgroup.procs");
        if let Err(error) = fs::write(&procs, "0") {
            tracing::debug!("cannot write to {}: {error}", procs.display());
        }
    }
}

/// Where control groups are mounted, by the text of `/proc/self/mountinfo`: the fifth field is the
/// place, and what follows ` - ` starts with the type (proc_pid_mountinfo(5)).
fn hierarchies(mounts: &str) -> Vec<PathBuf> {
    let hierarchy = |line: &str| {
        let (mount, source) = line.split_once(" - ")?;
        let is_one = matches!(source.split(' ').next()?, "cgroup" | "cgroup2");
        is_one.then(|| mount.split(' ').nth(4).map(PathBuf::from))?
    };
    mounts.lines().filter_map(hierarchy).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::tests::Fixture;

    #[test]
    fn both_versions_are_left() {
        let root = Fixture::new();
        let mounts = "24 1 0:22 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw\n\
                      25 1 0:23 / /sys/fs/cgroup/freezer rw - cgroup cgroup rw,freezer\n\
                      26 1 0:24 / /tmp rw - tmpfs tmpfs rw\n";
        root.file("proc/self/mountinfo", mounts);
        let files = ["sys/fs/cgroup/cgroup.procs", "sys/fs/cgroup/freezer/cgroup.procs"];
        let files = files.map(|path| root.file(path, ""));
        leave(root.path());
        assert!(files.iter().all(|path| fs::read_to_string(path).is_ok_and(|text| text == "0")));
        assert!(!root.path().join("tmp/cgroup.procs").exists());
    }
}
