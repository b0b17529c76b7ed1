//! The needs of cells under Linux, on trees of files that stand for nodes.

use super::*;
use crate::doctor::fact::Verdict::{self, Missing, Note, Ok as Good, Unknown};
use crate::node::tests::Fixture;

fn seen(fact: &Fact, verdict: Verdict, words: &[&str]) {
    assert_eq!(fact.verdict, verdict, "{fact:?}");
    let text = format!("{} -> {}", fact.value, fact.cure.as_deref().unwrap_or_default());
    words.iter().for_each(|word| assert!(text.contains(word), "{word:?} in {fact:?}"));
}

#[test]
fn isolated_cores() {
    let root = Fixture::new();
    let of = || silence(&System::read(root.path()));
    root.file("proc/self/status", "Cpus_allowed_list:\t0\n");
    root.file("sys/devices/system/cpu/online", "0-3\n");
    root.file("sys/devices/system/cpu/isolated", "\n");
    let parameters = "isolcpus=managed_irq,domain,1-3 nohz_full=1-3";
    seen(&of(), Note, &["tick and tasks interrupt", parameters]);
    root.file("sys/devices/system/cpu/isolated", "2-3\n");
    root.file("sys/devices/system/cpu/nohz_full", "(null)\n");
    seen(&of(), Note, &["2-3, without tick: none", parameters]);
    root.file("sys/devices/system/cpu/nohz_full", "3\n");
    seen(&of(), Note, &["3, without tick", "taskset -c 3 tacet run"]);
    root.file("proc/self/status", "Cpus_allowed_list:\t0-3\n");
    seen(&of(), Good, &["`--cores 3-3`"]);
    root.file("sys/devices/system/cpu/isolated", "\n");
    root.file("sys/fs/cgroup/cpuset.cpus.isolated", "3\n");
    seen(&of(), Good, &["3, without tick"]);
    root.file("sys/devices/system/cpu/online", "0\n");
    root.file("sys/fs/cgroup/cpuset.cpus.isolated", "\n");
    assert_eq!(of().cure, None, "one core can't be isolated");
}

#[test]
fn the_watchdog() {
    let root = Fixture::new();
    let of = || watchdog(&System::read(root.path()));
    seen(&of(), Good, &["off"]);
    root.file("proc/sys/kernel/nmi_watchdog", "1\n");
    seen(&of(), Note, &["sudo sysctl kernel.nmi_watchdog=0"]);
    root.file("proc/sys/kernel/nmi_watchdog", "0\n");
    seen(&of(), Good, &["off"]);
}

#[test]
fn filters() {
    let root = Fixture::new();
    let of = || seccomp(&System::read(root.path()));
    seen(&of(), Missing, &["CONFIG_SECCOMP_FILTER"]);
    root.file("proc/self/status", "Seccomp:\t0\n");
    seen(&of(), Unknown, &["4.14"]);
    root.file("proc/sys/kernel/seccomp/actions_avail", "kill_process kill_thread errno allow\n");
    seen(&of(), Missing, &["trap"]);
    root.file("proc/sys/kernel/seccomp/actions_avail", "kill_process trap errno allow\n");
    seen(&of(), Good, &[]);
}

#[test]
fn limits() {
    let root = Fixture::new();
    seen(&address_space(&System::read(root.path())), Unknown, &[]);
    root.file(
        "proc/self/limits",
        "Max file size  1048576  unlimited  bytes\nMax address space  2147483648  unlimited  bytes\n",
    );
    seen(&address_space(&System::read(root.path())), Good, &["2 GiB for programs"]);
    seen(&file_size(&System::read(root.path())), Note, &["1 MiB", "ulimit -f unlimited"]);
    root.file("proc/self/limits", "Max address space  2147483648  4294967296  bytes\n");
    seen(&address_space(&System::read(root.path())), Note, &["4 GiB, hard", "ulimit -S -v"]);
    root.file("proc/self/limits", "Max file size  unlimited  unlimited\nMax address space  unlimited  unlimited\n");
    seen(&address_space(&System::read(root.path())), Good, &[]);
    seen(&file_size(&System::read(root.path())), Good, &[]);
}

#[test]
fn overcommit_modes() {
    let root = Fixture::new();
    for (mode, verdict) in [("0\n", Good), ("1\n", Good), ("2\n", Note)] {
        root.file("proc/sys/vm/overcommit_memory", mode);
        seen(&overcommit(&System::read(root.path())), verdict, &[]);
    }
}

#[test]
fn large_pages_for_shared_memory() {
    let root = Fixture::new();
    let of = || large_pages(&System::read(root.path()));
    seen(&of(), Note, &["CONFIG_TRANSPARENT_HUGEPAGE"]);
    root.file(SHMEM_SETTING, "always within_size advise [never] deny force\n");
    seen(&of(), Note, &["only root", "echo advise | sudo tee /sys/kernel/mm/transparent_hugepage/shmem_enabled"]);
    root.file("proc/self/status", "Uid:\t0\t0\t0\t0\n");
    seen(&of(), Good, &["while cells live"]);
    root.file(SHMEM_SETTING, "always within_size [advise] never deny force\n");
    seen(&of(), Good, &["given"]);
}

#[test]
fn virtual_machines() {
    let root = Fixture::new();
    let of = || {
        let system = System::read(root.path());
        [hardware_virtualisation(&system), dev_kvm(&system)]
    };
    root.file("proc/cpuinfo", "flags\t: fpu vmx\n");
    let [hardware, device] = of();
    seen(&hardware, Good, &["VMX"]);
    seen(&device, Missing, &["modprobe kvm_intel"]);
    root.file("proc/cpuinfo", "flags\t: fpu hypervisor\n");
    root.file("dev/kvm", "");
    let [hardware, device] = of();
    seen(&hardware, Note, &["nested"]);
    seen(&device, Good, &[]);
    let all = kvm(&System::read(root.path()));
    let test = all.iter().find(|fact| fact.check == "self-test").expect("is named");
    seen(test, Unknown, &["not built yet"]);
}
