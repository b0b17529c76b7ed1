//! What bare cores need: power over the machine, cores that Linux can give up, a way to start
//! them, and memory that stays where it is.

use std::io;
use std::os::unix::fs::FileExt;

use super::common::count;
use super::fact::Fact;
use super::system::{Capability, IPC_LOCK, SYS_ADMIN, SYS_RAWIO, System};
use crate::node::cpus::CpuSet;
use crate::node::low_memory::{self, PageFlags};
use crate::node::topology::Topology;
use crate::node::{huge, lockdown, processors};
use crate::reserve::bare::pagemap::PAGE;
use crate::reserve::memory::human;

/// Pages of the first MiB can be borrowed since 5.13, which gives none of them out; memory is kept
/// in place by buffers that are registered with io_uring as needed, which came with 5.19.
const FIRST_RELEASE: (u32, u32) = (5, 19);
/// Pages below 1 MiB that must be unused, in a row: two, and some around them (`reserve::bare::low`).
const LOW_PAGES: usize = 10;

/// All of it.
pub fn facts(system: &System) -> Vec<Fact> {
    let apic = apic_base(system);
    let mut facts = vec![root(system), capabilities(system), kernel(system), lockdown(system)];
    facts.extend(user_namespace(system));
    facts.extend([hotplug(system), spare_cores(system)]);
    let msr = msr(system, &apic);
    facts.extend([apic_mode(system, &apic, &msr), msr, dev_mem(system)]);
    facts.extend(low_pages(system));
    facts.push(io_uring(system));
    facts.extend(memory_by_numa_node(system));
    facts.extend([huge_page_files(system), locked_memory(system)]);
    facts
}

fn root(system: &System) -> Fact {
    match system.user() {
        Some(0) => Fact::ok("root", "yes"),
        Some(user) => Fact::missing("root", format!("no, user {user}"), "sudo tacet run ..."),
        None => Fact::unknown("root", "Linux does not say", "mount /proc"),
    }
}

fn capabilities(system: &System) -> Fact {
    const CHECK: &str = "capabilities";
    let named =
        |capabilities: &[Capability]| capabilities.iter().map(|capability| capability.1).collect::<Vec<_>>().join(", ");
    let needed = [SYS_ADMIN, SYS_RAWIO];
    let lacking: Vec<Capability> = needed.into_iter().filter(|capability| !system.has(*capability)).collect();
    match (lacking.is_empty(), system.is_root()) {
        (true, _) => Fact::ok(CHECK, named(&needed)),
        (false, true) => {
            let value = format!("without {}: root of a container", named(&lacking));
            Fact::missing(CHECK, value, "start the container with --privileged, or tacet outside of it")
        }
        (false, false) => Fact::missing(CHECK, format!("without {}", named(&lacking)), "sudo tacet run ..."),
    }
}

/// Root of a user namespace has all capabilities, over nothing.
fn user_namespace(system: &System) -> Option<Fact> {
    let map = system.text("proc/self/uid_map")?;
    let words: Vec<&str> = map.split_whitespace().collect();
    (words != ["0", "0", "4294967295"]).then(|| {
        let value = "one of its own: root in it has no power over the machine";
        Fact::missing("user namespace", value, "start tacet outside of the container")
    })
}

fn kernel(system: &System) -> Fact {
    const CHECK: &str = "kernel";
    let Some((text, release)) = system.release() else {
        return Fact::unknown(CHECK, "Linux does not say its release", "mount /proc");
    };
    let (major, minor) = FIRST_RELEASE;
    match release >= FIRST_RELEASE {
        true => Fact::ok(CHECK, format!("Linux {text}")),
        false => Fact::missing(CHECK, format!("Linux {text}"), format!("boot Linux {major}.{minor} or later")),
    }
}

fn lockdown(system: &System) -> Fact {
    const CHECK: &str = "lockdown";
    const FOLDER: &str = "sys/kernel/security";
    match lockdown::mode(system.root()).as_deref() {
        Some("none") => Fact::ok(CHECK, "none"),
        Some(mode) => {
            let is_asked_for = system.boot_parameters().iter().any(|word| word.starts_with("lockdown="));
            let cure = match is_asked_for {
                true => "boot without the kernel parameter lockdown=",
                false => "switch Secure Boot off in the firmware",
            };
            Fact::missing(CHECK, format!("{mode}: /dev/mem and MSRs can't be used"), cure)
        }
        // Lockdown refuses to open it, in either mode.
        _ if system.open("dev/mem").is_ok() => Fact::ok(CHECK, "none: /dev/mem can be opened"),
        _ if system.mount(&format!("/{FOLDER}")).is_some() => Fact::ok(CHECK, "none: not in this kernel"),
        _ => Fact::unknown(
            CHECK,
            format!("securityfs, where Linux would say, is not mounted on /{FOLDER}"),
            system.as_root(&format!("mount -t securityfs securityfs /{FOLDER}")),
        ),
    }
}

/// The processors that Linux can give up, of those on which it runs. Processor 0 stays in any case.
fn removable(system: &System) -> CpuSet {
    let online = system.cpus("sys/devices/system/cpu/online");
    let fixed = processors::fixed(system.root(), &online);
    online.without(&fixed).iter().filter(|cpu| *cpu != 0).collect()
}

fn hotplug(system: &System) -> Fact {
    const CHECK: &str = "CPU hotplug";
    let removable = removable(system);
    if removable.is_empty() {
        let value = "no processor can be taken out of Linux (no cpuN/online)";
        return Fact::missing(CHECK, value, "boot a kernel with CONFIG_HOTPLUG_CPU=y on more than one processor");
    }
    if system.mount("/sys").is_some_and(|mount| mount.is_read_only) {
        let value = format!("processors {removable}, but /sys is mounted read-only");
        return Fact::missing(CHECK, value, system.as_root("mount -o remount,rw /sys"));
    }
    Fact::ok(CHECK, format!("processors {removable}"))
}

/// Physical cores all of whose processors can be taken, where something is left to Linux.
fn spare_cores(system: &System) -> Fact {
    const CHECK: &str = "whole cores";
    let removable = removable(system);
    let online = system.cpus("sys/devices/system/cpu/online");
    let Ok(topology) = Topology::read(system.root(), &online) else {
        return Fact::unknown(CHECK, "Linux does not say which processors are siblings", "mount /sys");
    };
    let cores: CpuSet = topology.cpus.iter().map(|cpu| cpu.core).collect();
    let siblings = |core: u32| topology.cpus.iter().filter(move |cpu| cpu.core == core).map(|cpu| cpu.id);
    let whole = cores.iter().filter(|core| siblings(*core).all(|cpu| removable.contains(cpu)));
    let cpus: CpuSet = whole.flat_map(siblings).collect();
    let mut there = count(cores.len(), "physical core");
    if cores.len() < online.len() {
        there += &format!(" of {} (siblings go together)", count(online.len(), "processor"));
    }
    let offline = system.cpus("sys/devices/system/cpu/offline");
    if !offline.is_empty() {
        there += &format!(", without {offline}, which Linux does not run on");
    }
    match (cpus.is_empty(), offline.is_empty()) {
        (false, _) => {
            let left = online.without(&cpus);
            Fact::ok(CHECK, format!("{there}: cells can have processors {cpus}, Linux keeps {left}"))
        }
        (true, true) => Fact::missing(
            CHECK,
            format!("{there}, which Linux needs itself"),
            "a node, or a virtual machine, with 2 cores or more",
        ),
        (true, false) => Fact::missing(
            CHECK,
            format!("{there}; it needs what is left itself"),
            "end one of the cells that `tacet ps` shows, or bring processors back online",
        ),
    }
}

/// IA32_APIC_BASE (Intel SDM volume 3, 11.4.4) of processor 0.
fn apic_base(system: &System) -> io::Result<u64> {
    const IA32_APIC_BASE: u64 = 0x1b;
    let mut bytes = [0; 8];
    system.open("dev/cpu/0/msr")?.read_exact_at(&mut bytes, IA32_APIC_BASE)?;
    Ok(u64::from_le_bytes(bytes))
}

/// Bits of IA32_APIC_BASE: x2APIC mode (Intel SDM volume 3, 11.12.1), and whether there is an APIC.
const X2APIC_MODE: u64 = 1 << 10;
const APIC_ENABLED: u64 = 1 << 11;

fn apic_mode(system: &System, apic: &io::Result<u64>, msr: &Fact) -> Fact {
    const CHECK: &str = "APIC mode";
    let is_relaxed = system.boot_parameters().iter().any(|word| word == "iomem=relaxed");
    let with_xapic = |seen: &str| match is_relaxed {
        true => Fact::ok(CHECK, format!("{seen}; iomem=relaxed lets us use it")),
        false => Fact::missing(
            CHECK,
            format!("{seen}, whose registers Linux keeps to itself"),
            "boot with the kernel parameter iomem=relaxed",
        ),
    };
    match apic {
        Ok(base) if base & APIC_ENABLED == 0 => {
            Fact::missing(CHECK, "the local APIC is switched off", "boot without the kernel parameter nolapic")
        }
        Ok(base) if base & X2APIC_MODE != 0 => Fact::ok(CHECK, "x2APIC"),
        Ok(_) => with_xapic("xAPIC"),
        Err(_) if !system.has_flag("x2apic") => with_xapic("xAPIC: the processor has no other, or Linux was told so"),
        // 8 bits of xAPIC do not reach so far.
        Err(_) if system.highest_apic_id().is_some_and(|id| id > 0xff) => Fact::ok(CHECK, "x2APIC"),
        Err(_) if is_relaxed => Fact::ok(CHECK, "either: iomem=relaxed is set"),
        Err(_) => {
            let value = "the processor has x2APIC; whether Linux uses it can't be seen without MSR access";
            Fact { cure: msr.cure.clone(), ..Fact::unknown(CHECK, value, "") }
        }
    }
}

fn msr(system: &System, apic: &io::Result<u64>) -> Fact {
    const CHECK: &str = "MSR access";
    const WRITES: &str = "sys/module/msr/parameters/allow_writes";
    match apic {
        Ok(_) if system.text(WRITES).as_deref() == Some("off") => {
            Fact::missing(CHECK, "the msr module refuses all writes", system.write("on", WRITES))
        }
        Ok(_) => Fact::ok(CHECK, "the msr module is loaded"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => msr_module(system),
        Err(error) if !system.is_root() => {
            Fact::unknown(CHECK, format!("the msr module is loaded, but: {error}"), "sudo tacet doctor")
        }
        Err(error) => Fact::missing(
            CHECK,
            format!("/dev/cpu/0/msr: {error}"),
            "start tacet outside of the container; see also capabilities and lockdown above",
        ),
    }
}

/// Without `/dev/cpu/0/msr`: whether the module that makes it can be had.
fn msr_module(system: &System) -> Fact {
    const CHECK: &str = "MSR access";
    let Some((release, _)) = system.release() else {
        return Fact::unknown(CHECK, "Linux does not say its release", "mount /proc");
    };
    if system.exists("sys/module/msr") {
        let value = "the msr module is loaded, but there is no /dev/cpu/0/msr";
        let make = "sh -c 'mkdir -p /dev/cpu/0 && mknod -m 600 /dev/cpu/0/msr c 202 0'";
        return Fact::missing(CHECK, value, system.as_root(make));
    }
    let folder = format!("lib/modules/{release}");
    let is_there = ["modules.dep", "modules.builtin"].iter().any(|list| {
        let list = system.text(&format!("{folder}/{list}")).unwrap_or_default();
        list.lines().any(|line| line.contains("/msr.ko"))
    });
    if !is_there {
        let value = format!("no msr module in /{folder}");
        return Fact::missing(CHECK, value, format!("install the modules of Linux {release} (CONFIG_X86_MSR)"));
    }
    if system.number("proc/sys/kernel/modules_disabled") == Some(1) {
        let value = "the msr module is not loaded, and Linux loads no more modules";
        return Fact::missing(CHECK, value, "reboot without kernel.modules_disabled=1");
    }
    Fact::note(CHECK, "the msr module is not loaded: tacet run does that", system.as_root("modprobe msr"))
}

/// A page below 1 MiB, where cores start.
fn dev_mem(system: &System) -> Fact {
    const CHECK: &str = "/dev/mem";
    match system.open("dev/mem") {
        Ok(_) => Fact::ok(CHECK, "can be opened"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // Linux itself puts there what it has.
            let is_all = system.mount("/dev").is_some_and(|mount| mount.kind == "devtmpfs");
            match is_all {
                true => Fact::missing(CHECK, "not in this kernel", "boot a kernel with CONFIG_DEVMEM=y"),
                false => Fact::missing(CHECK, "not there", system.as_root("mknod -m 600 /dev/mem c 1 1")),
            }
        }
        Err(error) if !system.is_root() => Fact::unknown(CHECK, format!("there, but: {error}"), "sudo tacet doctor"),
        Err(error) => {
            let value = format!("there, but: {error}");
            Fact::missing(CHECK, value, "see capabilities and lockdown above: one of them forbids it")
        }
    }
}

/// Pages below 1 MiB that Linux gives to nobody. Only root is told.
fn low_pages(system: &System) -> Option<Fact> {
    const CHECK: &str = "low pages";
    if !system.is_root() {
        return None;
    }
    let Ok(flags) = PageFlags::open(system.root()) else {
        let cure = "boot a kernel with CONFIG_PROC_PAGE_MONITOR=y";
        return Some(Fact::missing(CHECK, "Linux does not tell them (no /proc/kpageflags)", cure));
    };
    let pages = low_memory::ranges(system.root()).unwrap_or_default().into_iter();
    let pages = pages.flat_map(|range| range.start.div_ceil(PAGE)..range.end / PAGE);
    let free = pages.filter(|page| flags.is_reserved(*page).unwrap_or(false)).count();
    Some(match free >= LOW_PAGES {
        true => Fact::ok(CHECK, format!("{free} below 1 MiB that Linux gives to nobody")),
        false => Fact::missing(
            CHECK,
            format!("{free} below 1 MiB that Linux gives to nobody; {LOW_PAGES} are needed"),
            "boot Linux 5.13 or later, without the kernel parameter memmap=",
        ),
    })
}

/// Memory is kept from moving by registering it as buffers.
fn io_uring(system: &System) -> Fact {
    const CHECK: &str = "io_uring";
    const SETTING: &str = "proc/sys/kernel/io_uring_disabled";
    let is_filtered = system.status("Seccomp") == Some("2");
    match system.number(SETTING) {
        Some(2) => Fact::missing(CHECK, "switched off", system.as_root("sysctl kernel.io_uring_disabled=0")),
        Some(1) if !system.has(SYS_ADMIN) => Fact::missing(CHECK, "for root only", "sudo tacet run ..."),
        _ if is_filtered => {
            let value = "a seccomp filter is in force here, which may refuse it";
            Fact::unknown(CHECK, value, "start tacet outside of the container")
        }
        Some(_) => Fact::ok(CHECK, "allowed"),
        // The setting came with Linux 6.6; before, whoever had it might use it.
        None => Fact::ok(CHECK, "allowed: Linux has no setting against it"),
    }
}

/// Free memory, and large pages set aside already.
fn memory_by_numa_node(system: &System) -> Vec<Fact> {
    match Topology::read(system.root(), &CpuSet::default()) {
        Ok(topology) => topology.numa.iter().map(|numa| numa_node(system, numa.id)).collect(),
        Err(_) => vec![Fact::unknown("NUMA nodes", "Linux does not say", "mount /sys")],
    }
}

/// Pages of 2 MiB that are suggested to be set aside: 1 GiB.
const EXAMPLE: u64 = 512;

fn numa_node(system: &System, id: u32) -> Fact {
    let check = format!("NUMA node {id}");
    let Ok(pool) = huge::Pool::read(system.root(), id) else {
        let value = "this kernel has no pages of 2 MiB";
        return Fact::missing(&check, value, "boot a kernel with CONFIG_HUGETLBFS=y");
    };
    let memory = huge::memory(system.root(), id).ok().flatten();
    let memory = memory.map(|memory| format!("{} available of {}", human(memory.available), human(memory.total)));
    let pages = |size: &str, free: u64, all: u64| format!("{size} pages: {free} free of {all}");
    let small = pages("2 MiB", pool.free, pool.total);
    let large = pages_of_1_gib(system, id).map(|(free, all)| pages("1 GiB", free, all));
    let value = [memory, Some(small), large].into_iter().flatten().collect::<Vec<_>>().join("; ");
    if pool.free > 0 {
        return Fact::ok(&check, value);
    }
    let file = huge::size_file(system.root(), id);
    let file = file.strip_prefix(system.root()).unwrap_or(&file);
    let more = system.write(&(pool.size() + EXAMPLE).to_string(), &file.to_string_lossy());
    Fact::note(&check, format!("{value}; a cell takes them when it starts, which scattered memory may refuse"), more)
}

/// Free and all.
fn pages_of_1_gib(system: &System, id: u32) -> Option<(u64, u64)> {
    let of_node = format!("sys/devices/system/node/node{id}/hugepages");
    let folder = if system.exists(&of_node) { of_node } else { "sys/kernel/mm/hugepages".to_owned() };
    let number = |file: &str| system.number(&format!("{folder}/hugepages-1048576kB/{file}"));
    Some((number("free_hugepages")?, number("nr_hugepages")?))
}

fn huge_page_files(system: &System) -> Fact {
    const CHECK: &str = "hugetlbfs";
    let known = system.text("proc/filesystems").unwrap_or_default();
    match known.lines().any(|line| line.split_whitespace().last() == Some("hugetlbfs")) {
        true => Fact::ok(CHECK, "in this kernel"),
        false => Fact::missing(CHECK, "not in this kernel", "boot a kernel with CONFIG_HUGETLBFS=y"),
    }
}

fn locked_memory(system: &System) -> Fact {
    const CHECK: &str = "locked memory";
    if system.has(IPC_LOCK) {
        return Fact::ok(CHECK, "unlimited, by CAP_IPC_LOCK");
    }
    match system.limit("Max locked memory") {
        Some((_, u64::MAX)) => Fact::ok(CHECK, "unlimited"),
        Some((_, hard)) => {
            let value = format!("{} at most, and no CAP_IPC_LOCK: more can't be kept from moving", human(hard));
            Fact::missing(CHECK, value, system.as_root("prlimit --pid $$ --memlock=unlimited:unlimited"))
        }
        None => Fact::unknown(CHECK, "Linux does not say", "mount /proc"),
    }
}

#[cfg(test)]
#[path = "partition_tests.rs"]
mod tests;
