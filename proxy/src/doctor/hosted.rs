//! What the platforms need whose cells stay under Linux: `kvm` and `process`.
//!
//! Cells run on both without any tuning of the node. What is noted here decides how often Linux
//! interrupts them.

use std::fs::OpenOptions;
use std::io;

use super::fact::Fact;
use super::system::System;
use crate::node::cpus::CpuSet;
use crate::node::pages::{LargePages, SHMEM_SETTING, Transparent};
use crate::reserve::memory::human;
use crate::reserve::shared_pool;

/// What virtual machines need.
pub fn kvm(system: &System) -> Vec<Fact> {
    let mut facts = vec![hardware_virtualisation(system), dev_kvm(system)];
    // Only a guest that ran can tell: there are /dev/kvm that run ring 0 wrongly.
    let value = "whether guests run well on /dev/kvm can't be told: the self-test is not built yet in this version";
    facts.push(Fact { cure: None, ..Fact::unknown("self-test", value, "") });
    facts.extend([silence(system), watchdog(system)]);
    facts
}

/// What Linux processes need.
pub fn process(system: &System) -> Vec<Fact> {
    let mut facts = vec![seccomp(system), address_space(system), file_size(system), overcommit(system)];
    facts.extend([large_pages(system), thread_switches(system), silence(system), watchdog(system)]);
    facts
}

fn hardware_virtualisation(system: &System) -> Fact {
    const CHECK: &str = "virtualisation";
    match (system.has_flag("svm"), system.has_flag("vmx"), system.is_virtual()) {
        (true, ..) => Fact::ok(CHECK, "SVM"),
        (_, true, _) => Fact::ok(CHECK, "VMX"),
        (.., true) => Fact::note(
            CHECK,
            "none in the processors of this virtual machine",
            "switch nested virtualisation on for it in its hypervisor",
        ),
        _ => Fact::note(CHECK, "none in this processor", "switch virtualisation (SVM, VT-x) on in the firmware"),
    }
}

fn dev_kvm(system: &System) -> Fact {
    const CHECK: &str = "/dev/kvm";
    // Opening it starts nothing.
    match OpenOptions::new().read(true).write(true).open(system.root().join("dev/kvm")) {
        Ok(_) => Fact::ok(CHECK, "there, and may be used"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let module = if system.has_flag("vmx") { "kvm_intel" } else { "kvm_amd" };
            Fact::missing(CHECK, "not there", system.as_root(&format!("modprobe {module}")))
        }
        Err(error) => Fact::missing(CHECK, format!("there, but: {error}"), "sudo usermod -aG kvm $USER"),
    }
}

/// Processors that Linux leaves alone, and how to have some.
fn silence(system: &System) -> Fact {
    const CHECK: &str = "isolated cores";
    let isolated =
        system.cpus("sys/devices/system/cpu/isolated").or(&system.cpus("sys/fs/cgroup/cpuset.cpus.isolated"));
    let tickless = system.cpus("sys/devices/system/cpu/nohz_full");
    let online = system.cpus("sys/devices/system/cpu/online");
    let both = isolated.and(&tickless);
    if both.is_empty() {
        let named = |set: &CpuSet| if set.is_empty() { "none".to_owned() } else { set.to_string() };
        let value = match (isolated.is_empty(), tickless.is_empty()) {
            (true, true) => "none: Linux's tick and tasks interrupt programs".to_owned(),
            _ => format!("{}, without tick: {}; none is both", named(&isolated), named(&tickless)),
        };
        let rest: CpuSet = online.iter().skip(1).collect();
        if rest.is_empty() {
            return Fact::remark(CHECK, value);
        }
        let cure = format!("boot with the kernel parameters isolcpus=managed_irq,domain,{rest} nohz_full={rest}");
        return Fact::note(CHECK, value, cure);
    }
    let allowed: CpuSet = system.status("Cpus_allowed_list").and_then(|list| list.parse().ok()).unwrap_or_default();
    match both.is_subset(&allowed) {
        true => Fact::ok(CHECK, format!("{both}, without tick: `--cores {}` takes them", as_cores(&both))),
        false => Fact::note(
            CHECK,
            format!("{both}, without tick; Linux keeps this shell off them"),
            format!("taskset -c {both} tacet run ..."),
        ),
    }
}

/// A list as `--cores` wants it, where a number alone is a count.
fn as_cores(cpus: &CpuSet) -> String {
    match (cpus.len(), cpus.first()) {
        (1, Some(only)) => format!("{only}-{only}"),
        _ => cpus.to_string(),
    }
}

/// The watchdog for locked-up processors interrupts each of them every few seconds.
pub fn watchdog(system: &System) -> Fact {
    const CHECK: &str = "NMI watchdog";
    match system.number("proc/sys/kernel/nmi_watchdog") {
        Some(0) | None => Fact::ok(CHECK, "off"),
        Some(_) => Fact::note(
            CHECK,
            "on: interrupts every core from time to time, and takes a performance counter",
            system.as_root("sysctl kernel.nmi_watchdog=0"),
        ),
    }
}

fn seccomp(system: &System) -> Fact {
    const CHECK: &str = "seccomp filters";
    const ACTIONS: &str = "proc/sys/kernel/seccomp/actions_avail";
    let without = "boot a kernel with CONFIG_SECCOMP_FILTER=y";
    match system.text(ACTIONS) {
        Some(actions) if actions.split_whitespace().any(|action| action == "trap") => Fact::ok(CHECK, "can trap"),
        Some(_) => Fact::missing(CHECK, "can't trap", without),
        None if system.status("Seccomp").is_some() => {
            Fact::unknown(CHECK, "Linux does not say which (before 4.14)", "tacet run true")
        }
        None => Fact::missing(CHECK, "not in this kernel", without),
    }
}

fn address_space(system: &System) -> Fact {
    const CHECK: &str = "address space";
    match system.limit("Max address space") {
        None => Fact::unknown(CHECK, "Linux does not say", "mount /proc"),
        Some((u64::MAX, _)) => Fact::ok(CHECK, "unlimited"),
        // The program is kept to it, the cell is not.
        Some((soft, u64::MAX)) => Fact::ok(CHECK, format!("{} for programs", human(soft))),
        Some((_, hard)) => Fact::note(
            CHECK,
            format!("{}, hard: a cell's memory and all that its program maps must fit, twice", human(hard)),
            "ulimit -S -v in place of ulimit -v, which sets the hard limit too",
        ),
    }
}

/// The cell's memory is a file to Linux.
fn file_size(system: &System) -> Fact {
    const CHECK: &str = "file size";
    match system.limit("Max file size") {
        None => Fact::unknown(CHECK, "Linux does not say", "mount /proc"),
        Some((u64::MAX, _)) => Fact::ok(CHECK, "unlimited"),
        Some((soft, _)) => Fact::note(
            CHECK,
            format!("{}: a cell can't have more memory than that", human(soft)),
            "ulimit -f unlimited",
        ),
    }
}

fn overcommit(system: &System) -> Fact {
    const CHECK: &str = "overcommit";
    match system.number("proc/sys/vm/overcommit_memory") {
        Some(2) => Fact::note(
            CHECK,
            "never (vm.overcommit_memory=2): programs with large sparse mappings may be refused memory",
            system.as_root("sysctl vm.overcommit_memory=0"),
        ),
        Some(mode) => Fact::ok(CHECK, format!("vm.overcommit_memory={mode}")),
        None => Fact::unknown(CHECK, "Linux does not say", "mount /proc"),
    }
}

fn large_pages(system: &System) -> Fact {
    const CHECK: &str = "large pages";
    let setting = system.text(SHMEM_SETTING);
    let pool = shared_pool::spare(system.root(), None).unwrap_or(0);
    let transparent = LargePages::read(system.root()).map_or(Transparent::Refused, |pages| pages.transparent);
    match (transparent, setting) {
        (Transparent::Given, _) => Fact::ok(CHECK, "transparent ones, given to shared memory"),
        (Transparent::SwitchedOff, _) if system.is_root() => {
            Fact::ok(CHECK, "transparent ones, by changing shmem_enabled to advise while cells live")
        }
        (_, Some(_)) if pool > 0 => Fact::ok(CHECK, format!("{} of the pool of reserved ones free", human(pool))),
        (_, Some(_)) => Fact::note(
            CHECK,
            "none: Linux gives none to shared memory, and only root may change that",
            system.write("advise", SHMEM_SETTING),
        ),
        (_, None) => Fact::note(CHECK, "none: not in this kernel", "boot a kernel with CONFIG_TRANSPARENT_HUGEPAGE=y"),
    }
}

fn thread_switches(system: &System) -> Fact {
    const CHECK: &str = "FSGSBASE";
    match system.has_flag("fsgsbase") {
        true => Fact::ok(CHECK, "yes"),
        false => Fact::remark(CHECK, "no: switches between threads of one core cost a system call"),
    }
}

#[cfg(test)]
#[path = "hosted_tests.rs"]
mod tests;
