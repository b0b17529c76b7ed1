//! Settings that concern the whole node or one core, each a file with a value.
//!
//! Source: Linux, Documentation/admin-guide/kernel-per-CPU-kthreads.rst (what runs on a core by itself, and
//! what keeps it away), admin-guide/sysctl/kernel.rst and vm.rst, admin-guide/mm/transhuge.rst and ksm.rst,
//! admin-guide/pm/cpufreq.rst, core-api/workqueue.rst, networking/scaling.rst,
//! arch/x86/x86_64/machinecheck.rst, ABI/testing/sysfs-devices-power.

use std::collections::BTreeSet;

use super::change::Kind;
use super::report::Item;
use super::threads::few;
use super::work::{Changed, Work};
use crate::machine::cpu_set::CpuSet;

struct Setting {
    name: &'static str,
    path: &'static str,
    kind: Kind,
    value: &'static str,
}

const fn plain(name: &'static str, path: &'static str, value: &'static str) -> Setting {
    Setting { name, path, kind: Kind::Plain, value }
}

/// Of the whole node.
const NODE: &[Setting] = &[
    Setting {
        name: "large pages (THP)",
        path: "/sys/kernel/mm/transparent_hugepage/enabled",
        kind: Kind::Choice,
        value: "always",
    },
    // The counters of each core are folded together by a work item on that core, each second by default.
    plain("vm.stat_interval", "/proc/sys/vm/stat_interval", "120"),
    plain("soft lockup watchdog", "/proc/sys/kernel/soft_watchdog", "0"),
    plain("NMI watchdog", "/proc/sys/kernel/nmi_watchdog", "0"),
    // Timers stay where they were set, and do not gather on the core that is busy.
    plain("timer migration", "/proc/sys/kernel/timer_migration", "0"),
    // Takes mappings away to see who touches what: page faults.
    plain("NUMA balancing", "/proc/sys/kernel/numa_balancing", "0"),
    plain("proactive compaction", "/proc/sys/vm/compaction_proactiveness", "0"),
    plain("page merging (KSM)", "/sys/kernel/mm/ksm/run", "0"),
    // Expedited grace periods interrupt every core.
    plain("expedited RCU", "/sys/kernel/rcu_normal", "1"),
];

/// Of each measured core.
const CORE: &[Setting] = &[
    plain("frequency governor", "cpufreq/scaling_governor", "performance"),
    // "n/a": no latency of waking up is acceptable, so the core does not sleep deeply.
    plain("idle latency limit", "power/pm_qos_resume_latency_us", "n/a"),
];

/// Applies those of the whole node.
pub fn of_the_node(work: &mut Work) -> Vec<Item> {
    let mut items: Vec<Item> =
        NODE.iter().map(|s| item(s.name, s.value, work.change(s.path, s.kind, s.value))).collect();
    items.push(machine_check_polling(work));
    items
}

fn item(name: &str, value: &str, changed: Changed) -> Item {
    match changed {
        Changed::From(old) => Item::applied(name, format!("{value}, was {old}")),
        Changed::Already => Item::already(name, value),
        Changed::No(why) => Item::not_possible(name, why),
    }
}

/// One value for all cores, shown in the directory of each.
fn machine_check_polling(work: &mut Work) -> Item {
    let core = work.target.measured.iter().next().unwrap_or(0);
    let path = format!("/sys/devices/system/machinecheck/machinecheck{core}/check_interval");
    item("machine check polling", "0", work.change(&path, Kind::Plain, "0"))
}

/// Applies those of the measured cores.
pub fn of_the_cores(work: &mut Work) -> Vec<Item> {
    let cores: Vec<usize> = work.target.measured.iter().collect();
    let setting = |setting: &Setting| {
        let results = cores.iter().map(|core| {
            let path = format!("/sys/devices/system/cpu/cpu{core}/{}", setting.path);
            work.change(&path, setting.kind, setting.value)
        });
        together(setting, results.collect())
    };
    CORE.iter().map(setting).collect()
}

/// One item for several cores: what failed on one is not had.
fn together(setting: &Setting, results: Vec<Changed>) -> Item {
    let mut old = BTreeSet::new();
    for result in results {
        match result {
            Changed::From(value) => drop(old.insert(value)),
            Changed::Already => {}
            failed @ Changed::No(_) => return item(setting.name, setting.value, failed),
        }
    }
    match old.is_empty() {
        true => Item::already(setting.name, setting.value),
        false => Item::applied(setting.name, format!("{}, was {}", setting.value, few(&old))),
    }
}

/// Keeps work that is bound to no core off the isolated ones.
pub fn workqueues(work: &mut Work) -> Item {
    const NAME: &str = "workqueues";
    const MASK: &str = "/sys/devices/virtual/workqueue/cpumask";
    if let Some(why) = work.target.why_not_isolated() {
        return Item::not_possible(NAME, why);
    }
    let now = work.system.read(MASK).ok().and_then(|text| CpuSet::from_mask(&text));
    let wanted = now.unwrap_or_else(|| work.target.online.clone()).minus(&work.target.isolated);
    let wanted = if wanted.is_empty() { work.target.others() } else { wanted };
    match work.change(MASK, Kind::Mask, &wanted.mask()) {
        Changed::From(old) => {
            let old = CpuSet::from_mask(&old).map_or(old, |set| set.to_string());
            Item::applied(NAME, format!("unbound work on {wanted}, was {old}"))
        }
        Changed::Already => Item::already(NAME, format!("unbound work on {wanted}")),
        Changed::No(why) => Item::not_possible(NAME, why),
    }
}

/// Receive packet steering spreads the work of the network over the cores of a mask.
pub fn packet_steering(work: &mut Work) -> Item {
    const NAME: &str = "packet steering (RPS)";
    const NETWORK: &str = "/sys/class/net";
    if let Some(why) = work.target.why_not_isolated() {
        return Item::not_possible(NAME, why);
    }
    let (mut moved, mut refused) = (BTreeSet::new(), BTreeSet::new());
    for device in work.system.list(NETWORK).unwrap_or_default() {
        let queues = format!("{NETWORK}/{device}/queues");
        for queue in work.system.list(&queues).unwrap_or_default().iter().filter(|name| name.starts_with("rx-")) {
            let path = format!("{queues}/{queue}/rps_cpus");
            let mask = work.system.read(&path).ok().and_then(|text| CpuSet::from_mask(&text));
            let Some(mask) = mask.filter(|mask| mask.touches(&work.target.isolated)) else { continue };
            match work.change(&path, Kind::Mask, &mask.minus(&work.target.isolated).mask()) {
                Changed::No(why) => drop(refused.insert(why)),
                _ => drop(moved.insert(format!("{device} {queue}"))),
            }
        }
    }
    match (moved.is_empty(), refused.is_empty()) {
        (true, true) => Item::already(NAME, "no queue steers packets there"),
        (false, true) => Item::applied(NAME, format!("away from there: {}", few(&moved))),
        (_, false) => Item::not_possible(NAME, few(&refused)),
    }
}
