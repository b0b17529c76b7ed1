//! Tuning a fake node and putting it back.

pub mod killed;
mod locks;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::fake::{Fake, LEGACY, Spec, UNIFIED};
use super::report::Outcome;
use super::state::State;
use super::*;

fn must_not_wait(why: &str) {
    panic!("{why}");
}

fn tuner(fake: &Arc<Fake>) -> Tuner {
    let state = State::at(fake.state());
    let lock = state.lock(must_not_wait).unwrap();
    Tuner::with(Box::new(Arc::clone(fake)), state, lock, Duration::ZERO)
}

fn core_3(tuner: &Tuner) -> Target {
    tuner.target(CpuSet::from_list("3").unwrap()).unwrap()
}

#[track_caller]
fn assert_item(tuning: &Tuning, name: &str, outcome: Outcome, detail: &str) {
    let item = tuning.items.iter().find(|item| item.name == name).unwrap_or_else(|| panic!("no item {name}"));
    assert_eq!((item.outcome, item.detail.as_str()), (outcome, detail), "{name}");
}

/// The three kinds of nodes.
fn nodes() -> [Fake; 3] {
    [Fake::new().with_unified_groups(), Fake::new().with_legacy_groups(), Fake::new()]
}

#[test]
fn a_node_is_tuned_during_the_work_and_as_before_after_it() {
    for fake in nodes().map(Arc::new) {
        let before = fake.dump();
        let tuner = tuner(&fake);
        let target = core_3(&tuner);
        let ((), tuning) = tuner
            .during(&target, || {
                assert_eq!(fake.text("/sys/kernel/mm/transparent_hugepage/enabled"), "[always] madvise never");
                assert_eq!(fake.text("/proc/irq/10/smp_affinity_list"), "0-2");
                assert_eq!(fake.text("/proc/irq/11/smp_affinity_list"), "0-2");
                assert_eq!(fake.text("/proc/irq/default_smp_affinity"), "7");
                assert_eq!(fake.text("/sys/devices/virtual/workqueue/cpumask"), "7");
                assert_eq!(fake.text("/sys/class/net/eth0/queues/rx-0/rps_cpus"), "0");
                assert_eq!(fake.cores_of(1, 1), "0-2");
                assert_eq!(fake.cores_of(5_000_310, 5_000_310), "0-2");
                assert_eq!(fake.cores_of(5_000_300, 5_000_300), "3");
                Ok(())
            })
            .unwrap();
        assert_eq!(fake.dump(), before);
        assert!(!State::at(fake.state()).has_journal());
        assert_item(&tuning, "large pages (THP)", Outcome::Applied, "always, was madvise");
        assert_item(&tuning, "vm.stat_interval", Outcome::Applied, "120, was 1");
        assert_item(&tuning, "NMI watchdog", Outcome::AlreadySo, "0");
        assert_item(&tuning, "frequency governor", Outcome::Applied, "performance, was schedutil");
        assert_item(&tuning, "workqueues", Outcome::Applied, "unbound work on 0-2, was 0-3");
        let refused = "2 moved to 0-2; not moved (Input/output error): 13 managed";
        assert_item(&tuning, "interrupts", Outcome::Applied, refused);
        assert_item(&tuning, "rcu_nocbs", Outcome::AlreadySo, "booted with it, for 3");
        let not_booted = "the node was not booted with it: boot with nohz_full=3";
        assert_item(&tuning, "nohz_full", Outcome::NotPossible, not_booted);
        let missing = "this kernel has no /sys/kernel/mm/ksm/run";
        assert_item(&tuning, "page merging (KSM)", Outcome::NotPossible, missing);
    }
}

#[test]
fn cores_are_isolated_by_what_control_groups_there_are() {
    let [unified, legacy, none] = nodes().map(Arc::new);
    let isolated_by = |fake: &Arc<Fake>, look: &dyn Fn()| {
        let tuner = tuner(fake);
        let target = core_3(&tuner);
        let tuning = tuner.during(&target, || {
            look();
            Ok(())
        });
        tuning.unwrap().1
    };
    let tuning = isolated_by(&unified, &|| {
        assert_eq!(unified.text(&format!("{UNIFIED}/tacet-bench/cpuset.cpus.partition")), "isolated");
        assert_eq!(unified.text(&format!("{UNIFIED}/tacet-bench/cgroup.procs")), std::process::id().to_string());
    });
    let detail = "isolated partition /sys/fs/cgroup/tacet-bench of 3";
    assert_item(&tuning, "isolated cpuset", Outcome::Applied, detail);

    let tuning = isolated_by(&legacy, &|| {
        assert_eq!(legacy.text(&format!("{LEGACY}/cpuset.sched_load_balance")), "0");
        assert_eq!(legacy.text(&format!("{LEGACY}/tacet-bench/cpuset.sched_load_balance")), "0");
        assert_eq!(legacy.text(&format!("{LEGACY}/tacet-bench-rest/cpuset.cpus")), "0-2");
        assert_eq!(legacy.cores_of(5_000_210, 5_000_210), "3", "pinned by its owner");
    });
    let detail = "cpuset /sys/fs/cgroup/cpuset/tacet-bench of 3, load balanced on 0-2";
    assert_item(&tuning, "isolated cpuset", Outcome::Applied, detail);
    let left = "3 moved to 0-2; pinned there by their owners and left: pinned (5000210)";
    assert_item(&tuning, "processes", Outcome::Applied, left);
    let bound = "2 moved to 0-2; 2 bound to the core by Linux stay";
    assert_item(&tuning, "kernel threads", Outcome::Applied, bound);

    let tuning = isolated_by(&none, &|| {});
    let missing = "no control groups with the cpuset controller are mounted";
    assert_item(&tuning, "isolated cpuset", Outcome::NotPossible, missing);
}

#[test]
fn a_partition_that_linux_does_not_accept_is_undone_and_told() {
    let fake = Arc::new(Fake::new().with_unified_groups());
    *fake.partition_reason.lock().unwrap() = Some("Parent is not a partition root".to_owned());
    let tuner = tuner(&fake);
    let before = fake.dump();
    let look = || {
        assert_eq!(fake.text(&format!("{UNIFIED}/cgroup.subtree_control")), "cpu io");
        assert!(fake.read(&format!("{UNIFIED}/tacet-bench/cpuset.cpus")).is_err());
        Ok(())
    };
    let ((), tuning) = tuner.during(&core_3(&tuner), look).unwrap();
    let why = "/sys/fs/cgroup/tacet-bench/cpuset.cpus.partition says 'root invalid (Parent is not a partition root)'";
    assert_item(&tuning, "isolated cpuset", Outcome::NotPossible, why);
    assert_eq!(fake.dump(), before);
}

#[test]
fn a_cpuset_of_others_that_balances_over_the_core_is_named() {
    let fake = Arc::new(Fake::new().with_legacy_groups());
    fake.put(&format!("{LEGACY}/docker/cpuset.cpus"), "0-3");
    fake.put(&format!("{LEGACY}/docker/cpuset.sched_load_balance"), "1");
    let tuner = tuner(&fake);
    let tuning = tuner.rehearse(&core_3(&tuner)).unwrap();
    let why = "the cpuset docker has load balanced on these cores";
    assert_item(&tuning, "isolated cpuset", Outcome::NotPossible, why);
}

#[test]
fn siblings_are_kept_free_and_all_cores_leave_nothing_to_isolate() {
    let fake = Arc::new(Fake::new().with_unified_groups());
    fake.put("/sys/devices/system/cpu/cpu3/topology/thread_siblings_list", "1,3");
    let tuner = tuner(&fake);
    let tuning = tuner.rehearse(&core_3(&tuner)).unwrap();
    assert_eq!((tuning.measured.as_str(), tuning.isolated.as_str()), ("3", "1,3"));

    let before = fake.dump();
    let all = tuner.target(CpuSet::from_list("0-3").unwrap()).unwrap();
    let tuning = tuner.rehearse(&all).unwrap();
    assert_eq!(tuning.isolated, "");
    let none_left = "the suite runs on all cores (0-3): none is left for the rest of Linux";
    for name in ["isolated cpuset", "processes", "kernel threads", "interrupts", "interrupts to come", "workqueues"] {
        assert_item(&tuning, name, Outcome::NotPossible, none_left);
    }
    assert_item(&tuning, "vm.stat_interval", Outcome::Applied, "120, was 1");
    assert_eq!(fake.dump(), before);
}

#[test]
fn several_cores_keep_their_load_balancing() {
    let fake = Arc::new(Fake::new().with_unified_groups());
    let tuner = tuner(&fake);
    let two = tuner.target(CpuSet::from_list("2-3").unwrap()).unwrap();
    let tuning = tuner.rehearse(&two).unwrap();
    let detail = "root partition /sys/fs/cgroup/tacet-bench of 2-3";
    assert_item(&tuning, "isolated cpuset", Outcome::Applied, detail);
}

#[test]
fn workers_that_lose_their_cores_by_linux_are_told() {
    let fake = Fake::new();
    let set = |text| CpuSet::from_list(text).unwrap();
    let snapshot = threads::Snapshot::take(&fake, &set("3"), &set("0-3"));
    let worker =
        |cores| Spec { id: 5_000_320, process: 5_000_320, parent: 2, name: "kworker/u9:0", flags: 0x0420_0000, cores };
    assert!(snapshot.workers_that_linux_moved(&fake).is_empty());
    fake.spawn(&worker("0-2"));
    assert_eq!(snapshot.workers_that_linux_moved(&fake), ["kworker/u9:0".to_owned()].into());
}

#[test]
fn threads_born_meanwhile_get_what_their_ancestors_might_have() {
    let fake = Arc::new(Fake::new());
    let tuner = tuner(&fake);
    let born = |id, process, parent, cores| fake.spawn(&Spec { id, process, parent, name: "new", flags: 0, cores });
    let work = || {
        born(5_000_401, 5_000_100, 1, "0-2"); // a thread of sshd
        born(5_000_402, 5_000_402, 5_000_100, "0-2"); // a child of sshd
        born(5_000_403, 5_000_403, 5_000_402, "0-2"); // and one of that
        born(5_000_404, 5_000_404, 5_000_200, "2"); // a child of the pinned daemon
        born(5_000_405, 5_000_405, 1, "1"); // has asked for a core of its own
        Ok(())
    };
    tuner.during(&core_3(&tuner), work).unwrap();
    let cores = [
        (5_000_100, 5_000_401),
        (5_000_402, 5_000_402),
        (5_000_403, 5_000_403),
        (5_000_404, 5_000_404),
        (5_000_405, 5_000_405),
    ];
    assert_eq!(cores.map(|(process, id)| fake.cores_of(process, id)), ["0-3", "0-3", "0-3", "2", "1"]);
}

#[test]
fn a_failure_and_a_panic_in_the_work_put_back_too() {
    let fake = Arc::new(Fake::new().with_unified_groups());
    let before = fake.dump();
    let tuner = tuner(&fake);
    let target = core_3(&tuner);
    let failed: Result<((), Tuning), _> = tuner.during(&target, || Err(Failure::new("the run failed")));
    assert_eq!(failed.unwrap_err().to_string(), "the run failed");
    assert_eq!(fake.dump(), before);
    let both: Result<((), Tuning), _> = tuner.during(&target, || {
        fake.refuse("/proc/sys/vm/stat_interval", libc::EPERM);
        Err(Failure::with_status(127, "the run failed"))
    });
    let both = both.unwrap_err();
    assert_eq!(both.status(), 127);
    assert!(both.to_string().starts_with("the run failed; and the node's Linux is not put back completely"), "{both}");
    fake.refused.lock().unwrap().remove("/proc/sys/vm/stat_interval");
    assert!(State::at(fake.state()).recover_locked(&*fake, &tuner.shared.lock).unwrap().is_some());
    assert_eq!(fake.dump(), before);
    let panicked =
        catch_unwind(AssertUnwindSafe(move || tuner.during::<()>(&target, || panic!("on purpose")).map(drop)));
    assert!(panicked.is_err());
    assert_eq!(fake.dump(), before);
}
