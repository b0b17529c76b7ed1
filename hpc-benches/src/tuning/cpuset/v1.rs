//! Scheduling domains of the cpuset controller, version 1.
//!
//! The scheduler balances load within the cpusets that ask for it. So the topmost one stops asking, one set of
//! ours asks for it on the cores that are left, and another has the isolated cores. Nobody has to be a member
//! of either: domains are of cores, and threads are kept away by their affinity.
//!
//! Source: Linux, Documentation/admin-guide/cgroup-v1/cpusets.rst, 1.7 *What is sched_load_balance?*

use super::refused;
use crate::machine::cpu_set::CpuSet;
use crate::tuning::change::{Change, Kind};
use crate::tuning::work::{Changed, Work};

const BALANCE: &str = "cpuset.sched_load_balance";

/// Makes the two sets below the mount point `top`.
pub fn isolate(work: &mut Work, top: &str) -> Result<String, String> {
    if let Some(other) = other_set_with_balance(work, top) {
        return Err(format!("the cpuset {other} has load balanced on these cores"));
    }
    // A single core has nothing to balance with.
    let balanced = work.target.measured.len() > 1;
    let (isolated, others) = (work.target.isolated.clone(), work.target.others());
    let own = format!("{top}/tacet-bench");
    make_set(work, top, &format!("{own}-rest"), &others, true)?;
    make_set(work, top, &own, &isolated, balanced)?;
    match work.change(&format!("{top}/{BALANCE}"), Kind::Plain, "0") {
        Changed::No(why) => Err(why),
        _ => Ok(format!("cpuset {own} of {isolated}, load balanced on {others}")),
    }
}

fn make_set(work: &mut Work, top: &str, path: &str, cores: &CpuSet, balanced: bool) -> Result<(), String> {
    work.journal.record(Change::Group { path: path.to_owned() }).map_err(refused("journal"))?;
    work.system.make_directory(path).map_err(refused(path))?;
    let memory = work.system.read(&format!("{top}/cpuset.mems")).map_err(refused(&format!("{top}/cpuset.mems")))?;
    let balanced = u8::from(balanced).to_string();
    for (file, value) in [("cpuset.cpus", &cores.to_string()), ("cpuset.mems", &memory), (BALANCE, &balanced)] {
        let file = format!("{path}/{file}");
        work.system.write(&file, value).map_err(refused(&file))?;
    }
    Ok(())
}

/// A set of somebody else's that would join an isolated core to others in one scheduling domain.
fn other_set_with_balance(work: &Work, top: &str) -> Option<String> {
    let read = |set: &str, file: &str| work.system.read(&format!("{top}/{set}/{file}")).ok();
    work.system.list(top).ok()?.into_iter().find(|set| {
        let cores = read(set, "cpuset.cpus").and_then(|text| CpuSet::from_list(&text)).unwrap_or_default();
        cores.touches(&work.target.isolated) && read(set, BALANCE).as_deref() == Some("1")
    })
}
