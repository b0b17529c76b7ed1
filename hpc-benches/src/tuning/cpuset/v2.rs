//! A partition of control groups, version 2.
//!
//! Source: Linux, Documentation/admin-guide/cgroup-v2.rst, *Cpuset*. An `isolated` partition (Linux 6.1) has
//! no load balancing: right for one program on one core. Several cores need the balancing of a `root` partition,
//! or all threads that do not pin themselves would stay on one of them.

use super::refused;
use crate::tuning::change::Change;
use crate::tuning::work::Work;

const GROUP: &str = "tacet-bench";

/// Makes the partition below the mount point `top` and moves this process into it.
pub fn isolate(work: &mut Work, top: &str) -> Result<String, String> {
    enable_controller(work, top)?;
    let group = format!("{top}/{GROUP}");
    work.journal.record(Change::Group { path: group.clone() }).map_err(refused("journal"))?;
    work.system.make_directory(&group).map_err(refused(&group))?;
    let cores = work.target.isolated.to_string();
    let file = format!("{group}/cpuset.cpus");
    work.system.write(&file, &cores).map_err(refused(&file))?;
    let kind = make_partition(work, &group)?;
    enter(work, top, &group)?;
    Ok(format!("{kind} partition {group} of {cores}"))
}

fn enable_controller(work: &mut Work, top: &str) -> Result<(), String> {
    let path = format!("{top}/cgroup.subtree_control");
    let now = work.system.read(&path).map_err(refused(&path))?;
    if now.split_whitespace().any(|name| name == "cpuset") {
        return Ok(());
    }
    let change = Change::Controller { directory: top.to_owned(), name: "cpuset".to_owned() };
    work.journal.record(change).map_err(refused("journal"))?;
    work.system.write(&path, "+cpuset").map_err(refused(&path))
}

/// The first kind that Linux accepts. It writes a reason behind a partition that is none.
fn make_partition(work: &Work, group: &str) -> Result<&'static str, String> {
    let path = format!("{group}/cpuset.cpus.partition");
    let kinds: &[&str] = if work.target.measured.len() == 1 { &["isolated", "root"] } else { &["root"] };
    let mut why = String::new();
    for kind in kinds {
        why = match work.system.write(&path, kind).and_then(|()| work.system.read(&path)) {
            Ok(now) if now == *kind => return Ok(kind),
            Ok(now) => format!("{path} says '{now}'"),
            Err(error) => refused(&path)(error),
        };
    }
    Err(why)
}

fn enter(work: &mut Work, top: &str, group: &str) -> Result<(), String> {
    let own = work.system.read("/proc/self/cgroup").map_err(refused("/proc/self/cgroup"))?;
    let path = own.lines().find_map(|line| line.strip_prefix("0::"));
    let path = path.ok_or("/proc/self/cgroup has no group of version 2")?.trim_end_matches('/');
    let process = std::process::id();
    let change = Change::Member { process, from: format!("{top}{path}/cgroup.procs") };
    work.journal.record(change).map_err(refused("journal"))?;
    let file = format!("{group}/cgroup.procs");
    work.system.write(&file, &process.to_string()).map_err(refused(&file))
}
