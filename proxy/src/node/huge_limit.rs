//! How much of the pools of 2 MiB pages the control groups of this process let it have.
//!
//! A group may limit what is promised (`rsvd`) and what is touched. Linux refuses a mapping for the
//! first, but kills with SIGBUS for the second: so both are looked at before anything is taken.

use std::path::Path;

use super::{Unreadable, read_if_there};

/// How a version of control groups names things.
struct Version {
    mount: &'static str,
    limits: [[&'static str; 2]; 2],
}

/// Documentation/admin-guide/cgroup-v2.rst, HugeTLB.
const V2: Version = Version {
    mount: "sys/fs/cgroup",
    limits: [["hugetlb.2MB.max", "hugetlb.2MB.current"], ["hugetlb.2MB.rsvd.max", "hugetlb.2MB.rsvd.current"]],
};
/// Documentation/admin-guide/cgroup-v1/hugetlb.rst
const V1: Version = Version {
    mount: "sys/fs/cgroup/hugetlb",
    limits: [
        ["hugetlb.2MB.limit_in_bytes", "hugetlb.2MB.usage_in_bytes"],
        ["hugetlb.2MB.rsvd.limit_in_bytes", "hugetlb.2MB.rsvd.usage_in_bytes"],
    ],
};

/// Bytes that may still be had, by all groups from ours up to the root; `u64::MAX` without limits.
pub fn allowance(root: &Path) -> Result<u64, Unreadable> {
    let groups = read_if_there(root, "proc/self/cgroup")?.unwrap_or_default();
    let mut least = u64::MAX;
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let version = match controllers {
            "" => &V2,
            list if list.split(',').any(|name| name == "hugetlb") => &V1,
            _ => continue,
        };
        for group in Path::new(path.trim_start_matches('/')).ancestors() {
            let directory = root.join(version.mount).join(group);
            // "max" is no number: no limit.
            let number = |name: &str| std::fs::read_to_string(directory.join(name)).ok()?.trim().parse::<u64>().ok();
            for [limit, usage] in version.limits {
                if let Some(limit) = number(limit) {
                    least = least.min(limit.saturating_sub(number(usage).unwrap_or(0)));
                }
            }
        }
    }
    Ok(least)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::tests::Fixture;

    #[test]
    fn the_tightest_limit_counts() {
        let root = Fixture::new();
        root.file("proc/self/cgroup", "0::/job/step\n");
        assert_eq!(allowance(root.path()).expect("readable"), u64::MAX);
        root.file("sys/fs/cgroup/job/step/hugetlb.2MB.max", "max\n");
        root.file("sys/fs/cgroup/job/hugetlb.2MB.max", "20971520\n");
        root.file("sys/fs/cgroup/job/hugetlb.2MB.current", "4194304\n");
        assert_eq!(allowance(root.path()).expect("readable"), 16_777_216);
        root.file("sys/fs/cgroup/job/step/hugetlb.2MB.rsvd.max", "2097152\n");
        assert_eq!(allowance(root.path()).expect("readable"), 2_097_152);
    }

    #[test]
    fn version_1_limits_as_well() {
        let root = Fixture::new();
        root.file("proc/self/cgroup", "9:name=systemd:/\n4:hugetlb:/box\n0::/\n");
        root.file("sys/fs/cgroup/hugetlb/box/hugetlb.2MB.limit_in_bytes", "4194304\n");
        root.file("sys/fs/cgroup/hugetlb/box/hugetlb.2MB.usage_in_bytes", "8388608\n");
        assert_eq!(allowance(root.path()).expect("readable"), 0);
    }
}
