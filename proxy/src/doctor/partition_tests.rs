//! The needs of bare cores, on trees of files that stand for nodes.

use super::*;
use crate::doctor::fact::Verdict::{self, Missing, Note, Ok as Good, Unknown};
use crate::node::tests::Fixture;

/// Bits of IA32_APIC_BASE: enabled, bootstrap processor; then with x2APIC mode.
const XAPIC: u64 = 0xfee0_0900;
const X2APIC: u64 = 0xfee0_0d00;

/// A node of four cores on which everything is as bare cores need it.
fn good_node() -> Fixture {
    let root = Fixture::new();
    root.file("proc/self/status", "Uid:\t0\t0\t0\t0\nCapEff:\t000001ffffffffff\nSeccomp:\t0\n");
    root.file("proc/self/uid_map", "         0          0 4294967295\n");
    root.file("proc/self/mounts", "sysfs /sys sysfs rw 0 0\nudev /dev devtmpfs rw 0 0\n");
    root.file("proc/self/limits", "Max locked memory  8192  8192  bytes\n");
    root.file("proc/sys/kernel/osrelease", "6.1.0-13-amd64\n");
    root.file("proc/sys/kernel/io_uring_disabled", "0\n");
    root.file("proc/cmdline", "BOOT_IMAGE=/vmlinuz quiet\n");
    root.file("proc/cpuinfo", "apicid\t\t: 3\nflags\t\t: fpu x2apic\n");
    root.file("proc/filesystems", "nodev\ttmpfs\nnodev\thugetlbfs\n");
    root.file("sys/kernel/security/lockdown", "[none] integrity confidentiality\n");
    root.file("sys/devices/system/cpu/online", "0-3\n");
    root.file("sys/devices/system/node/online", "0-1\n");
    for cpu in 0..4 {
        root.file(&format!("sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list"), &format!("{cpu}\n"));
        if cpu > 0 {
            root.file(&format!("sys/devices/system/cpu/cpu{cpu}/online"), "1\n");
        }
    }
    for (node, cpus) in [(0, "0-1"), (1, "2-3")] {
        let node = format!("sys/devices/system/node/node{node}");
        root.file(&format!("{node}/cpulist"), cpus);
        root.file(&format!("{node}/meminfo"), "Node 0 MemTotal: 2097152 kB\nNode 0 MemFree: 1048576 kB\n");
        pool(&root, &format!("{node}/hugepages/hugepages-2048kB"), 8, 5);
    }
    root.file("proc/iomem", "00001000-0009fbff : System RAM\n00100000-7ffd9fff : System RAM\n");
    reserved_pages_are(&root, 0x9f);
    root.file("dev/mem", "");
    apic_base_is(&root, X2APIC);
    root
}

fn pool(root: &Fixture, folder: &str, all: u32, free: u32) {
    root.file(&format!("{folder}/nr_hugepages"), &format!("{all}\n"));
    root.file(&format!("{folder}/free_hugepages"), &format!("{free}\n"));
    root.file(&format!("{folder}/surplus_hugepages"), "0\n");
}

/// Flags of pages as in `/proc/kpageflags`: so many from the first that Linux keeps.
fn reserved_pages_are(root: &Fixture, count: usize) {
    let flags = (0..0x100).map(|page| if page < count { 1_u64 << 32 } else { 0 });
    let path = root.file("proc/kpageflags", "");
    std::fs::write(path, flags.flat_map(u64::to_ne_bytes).collect::<Vec<u8>>()).expect("own file");
}

fn apic_base_is(root: &Fixture, base: u64) {
    let path = root.file("dev/cpu/0/msr", "");
    std::fs::write(path, [&[0; 0x1b][..], &base.to_le_bytes()].concat()).expect("own file");
}

fn remove(root: &Fixture, path: &str) {
    std::fs::remove_file(root.path().join(path)).expect("own file");
}

fn seen(root: &Fixture, check: &str, verdict: Verdict, words: &[&str]) {
    let all = facts(&System::read(root.path()));
    let fact = all.iter().find(|fact| fact.check == check).unwrap_or_else(|| panic!("{check} in {all:?}"));
    assert_eq!(fact.verdict, verdict, "{fact:?}");
    assert!(
        matches!(fact.verdict, Good) || fact.cure.as_ref().is_some_and(|cure| !cure.is_empty()),
        "a cure: {fact:?}"
    );
    let text = format!("{} -> {}", fact.value, fact.cure.as_deref().unwrap_or_default());
    words.iter().for_each(|word| assert!(text.contains(word), "{word:?} in {fact:?}"));
}

#[test]
fn a_node_that_has_all() {
    let root = good_node();
    let all = facts(&System::read(root.path()));
    assert!(all.iter().all(|fact| fact.verdict == Good && fact.cure.is_none()), "{all:#?}");
    assert_eq!(all.iter().filter(|fact| fact.check.starts_with("NUMA node")).count(), 2);
}

#[test]
fn users_and_containers() {
    let root = good_node();
    root.file("proc/self/status", "Uid:\t1000\t1000\t1000\t1000\nCapEff:\t0000000000000000\nSeccomp:\t0\n");
    seen(&root, "root", Missing, &["user 1000", "sudo tacet run"]);
    seen(&root, "capabilities", Missing, &["CAP_SYS_ADMIN, CAP_SYS_RAWIO", "sudo tacet run"]);
    seen(&root, "locked memory", Missing, &["8 KiB at most", "sudo prlimit"]);
    // Docker's default set.
    root.file("proc/self/status", "Uid:\t0\t0\t0\t0\nCapEff:\t00000000a80425fb\nSeccomp:\t2\n");
    seen(&root, "root", Good, &["yes"]);
    seen(&root, "capabilities", Missing, &["CAP_SYS_RAWIO", "--privileged"]);
    seen(&root, "io_uring", Unknown, &["seccomp"]);
    root.file("proc/self/uid_map", "0 1000 65536\n");
    seen(&root, "user namespace", Missing, &["outside of the container"]);
}

#[test]
fn kernels() {
    let root = good_node();
    root.file("proc/sys/kernel/osrelease", "5.10.0-26-amd64\n");
    seen(&root, "kernel", Missing, &["5.10.0-26-amd64", "5.19"]);
    remove(&root, "proc/filesystems");
    seen(&root, "hugetlbfs", Missing, &["CONFIG_HUGETLBFS"]);
}

#[test]
fn lockdown_modes() {
    let root = good_node();
    root.file("sys/kernel/security/lockdown", "none [integrity] confidentiality\n");
    seen(&root, "lockdown", Missing, &["integrity", "Secure Boot"]);
    root.file("proc/cmdline", "quiet lockdown=integrity\n");
    seen(&root, "lockdown", Missing, &["without the kernel parameter lockdown="]);
    remove(&root, "sys/kernel/security/lockdown");
    seen(&root, "lockdown", Good, &["/dev/mem can be opened"]);
    remove(&root, "dev/mem");
    seen(&root, "lockdown", Unknown, &["mount -t securityfs"]);
    root.file("proc/self/mounts", "securityfs /sys/kernel/security securityfs rw 0 0\n");
    seen(&root, "lockdown", Good, &["not in this kernel"]);
}

#[test]
fn processors_that_can_be_given_up() {
    let root = good_node();
    seen(&root, "whole cores", Good, &["4 physical cores", "processors 1-3", "Linux keeps 0"]);
    root.file("proc/self/mounts", "sysfs /sys sysfs ro,nosuid 0 0\n");
    seen(&root, "CPU hotplug", Missing, &["read-only", "mount -o remount,rw /sys"]);
    for cpu in 1..4 {
        remove(&root, &format!("sys/devices/system/cpu/cpu{cpu}/online"));
    }
    seen(&root, "CPU hotplug", Missing, &["CONFIG_HOTPLUG_CPU"]);
    seen(&root, "whole cores", Missing, &["2 cores or more"]);
}

#[test]
fn siblings_go_together() {
    let root = good_node();
    for (cpu, siblings) in [(0, "0,2"), (1, "1,3"), (2, "0,2"), (3, "1,3")] {
        root.file(&format!("sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list"), siblings);
    }
    seen(&root, "whole cores", Good, &["2 physical cores of 4 processors", "processors 1,3", "Linux keeps 0,2"]);
}

#[test]
fn one_core_stays_even_if_all_could_go() {
    let root = good_node();
    root.file("sys/devices/system/cpu/cpu0/online", "1\n");
    seen(&root, "whole cores", Good, &["processors 1-3", "Linux keeps 0"]);
}

#[test]
fn processors_that_other_cells_have() {
    let root = good_node();
    root.file("sys/devices/system/cpu/online", "0-1\n");
    root.file("sys/devices/system/cpu/offline", "2-3\n");
    seen(&root, "whole cores", Good, &["without 2-3", "processors 1,"]);
    root.file("sys/devices/system/cpu/online", "0\n");
    root.file("sys/devices/system/cpu/offline", "1-3\n");
    seen(&root, "whole cores", Missing, &["without 1-3", "tacet ps"]);
}

#[test]
fn pages_below_1_mib() {
    let root = good_node();
    seen(&root, "low pages", Good, &["158 below 1 MiB"]);
    reserved_pages_are(&root, 8);
    seen(&root, "low pages", Missing, &["7 below 1 MiB", "5.13"]);
    remove(&root, "proc/kpageflags");
    seen(&root, "low pages", Missing, &["CONFIG_PROC_PAGE_MONITOR"]);
}

#[test]
fn apic_modes() {
    let root = good_node();
    seen(&root, "APIC mode", Good, &["x2APIC"]);
    apic_base_is(&root, XAPIC);
    seen(&root, "APIC mode", Missing, &["xAPIC", "iomem=relaxed"]);
    root.file("proc/cmdline", "quiet iomem=relaxed\n");
    seen(&root, "APIC mode", Good, &["xAPIC", "iomem=relaxed"]);
    apic_base_is(&root, 0xfee0_0000);
    seen(&root, "APIC mode", Missing, &["nolapic"]);
}

#[test]
fn the_apic_mode_without_msrs() {
    let root = good_node();
    root.file("lib/modules/6.1.0-13-amd64/modules.dep", "kernel/arch/x86/kernel/msr.ko:\n");
    remove(&root, "dev/cpu/0/msr");
    seen(&root, "APIC mode", Unknown, &["x2APIC", "modprobe msr"]);
    root.file("proc/cpuinfo", "apicid\t\t: 256\nflags\t\t: x2apic\n");
    seen(&root, "APIC mode", Good, &["x2APIC"]);
    root.file("proc/cpuinfo", "apicid\t\t: 1\nflags\t\t: fpu\n");
    seen(&root, "APIC mode", Missing, &["xAPIC", "iomem=relaxed"]);
    root.file("proc/cmdline", "iomem=relaxed\n");
    seen(&root, "APIC mode", Good, &["iomem=relaxed"]);
}

#[test]
fn msr_access() {
    let root = good_node();
    root.file("sys/module/msr/parameters/allow_writes", "off\n");
    seen(&root, "MSR access", Missing, &["refuses all writes", "echo on > /sys/module/msr/parameters/allow_writes"]);
    root.file("sys/module/msr/parameters/allow_writes", "default\n");
    seen(&root, "MSR access", Good, &["loaded"]);
    remove(&root, "dev/cpu/0/msr");
    seen(&root, "MSR access", Missing, &["mknod -m 600 /dev/cpu/0/msr c 202 0"]);
    std::fs::remove_dir_all(root.path().join("sys/module")).expect("own directory");
    seen(&root, "MSR access", Missing, &["no msr module in /lib/modules/6.1.0-13-amd64", "install"]);
    root.file("lib/modules/6.1.0-13-amd64/modules.dep", "kernel/arch/x86/kernel/msr.ko.xz:\n");
    seen(&root, "MSR access", Note, &["tacet run does that", "-> modprobe msr"]);
    root.file("proc/sys/kernel/modules_disabled", "1\n");
    seen(&root, "MSR access", Missing, &["loads no more modules", "reboot"]);
}

#[test]
fn memory_devices() {
    let root = good_node();
    remove(&root, "dev/mem");
    seen(&root, "/dev/mem", Missing, &["CONFIG_DEVMEM"]);
    root.file("proc/self/mounts", "tmpfs /dev tmpfs rw 0 0\n");
    seen(&root, "/dev/mem", Missing, &["mknod -m 600 /dev/mem c 1 1"]);
}

#[test]
fn io_uring_settings() {
    let root = good_node();
    root.file("proc/sys/kernel/io_uring_disabled", "2\n");
    seen(&root, "io_uring", Missing, &["sysctl kernel.io_uring_disabled=0"]);
    root.file("proc/sys/kernel/io_uring_disabled", "1\n");
    seen(&root, "io_uring", Good, &[]);
    remove(&root, "proc/sys/kernel/io_uring_disabled");
    seen(&root, "io_uring", Good, &["no setting"]);
}

#[test]
fn pools_of_huge_pages() {
    let root = good_node();
    seen(&root, "NUMA node 1", Good, &["1 GiB available of 2 GiB", "2 MiB pages: 5 free of 8"]);
    pool(&root, "sys/devices/system/node/node1/hugepages/hugepages-1048576kB", 2, 1);
    pool(&root, "sys/devices/system/node/node1/hugepages/hugepages-2048kB", 8, 0);
    let cure = "echo 520 > /sys/devices/system/node/node1/hugepages/hugepages-2048kB/nr_hugepages";
    seen(&root, "NUMA node 1", Note, &["1 GiB pages: 1 free of 2", cure]);
    seen(&root, "NUMA node 0", Good, &[]);
    std::fs::remove_dir_all(root.path().join("sys/devices/system/node/node0/hugepages")).expect("own directory");
    seen(&root, "NUMA node 0", Missing, &["CONFIG_HUGETLBFS"]);
}

#[test]
fn a_kernel_without_numa_has_one_pool() {
    let root = good_node();
    std::fs::remove_dir_all(root.path().join("sys/devices/system/node")).expect("own directory");
    pool(&root, "sys/kernel/mm/hugepages/hugepages-2048kB", 4, 4);
    seen(&root, "NUMA node 0", Good, &["2 MiB pages: 4 free of 4"]);
}

#[test]
fn nothing_to_read_is_unknown_or_missing_and_no_panic() {
    let root = Fixture::new();
    let all = facts(&System::read(root.path()));
    assert!(all.iter().all(|fact| fact.verdict != Good || fact.check == "io_uring"), "{all:#?}");
}
