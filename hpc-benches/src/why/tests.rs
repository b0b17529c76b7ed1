//! Explanations of synthetic nodes: files before and after, in a temporary directory.

use std::fs;

use super::disturbance::{Disturbance, Source};
use super::observation::{Observation, Place, Snapshot};
use super::report::Report;
use super::threads::{Ran, Sample};
use crate::machine::cpu_set::CpuSet;
use crate::machine::record::Recorder;
use crate::machine::scratch::ScratchFolder;
use crate::output::Text;
use crate::tuning::system::Linux;

/// A node of four processors, two of a physical core: 0 with 2, 1 with 3.
struct Node {
    folder: ScratchFolder,
}

impl Node {
    fn new() -> Self {
        let node = Self { folder: ScratchFolder::new(&std::env::temp_dir()).unwrap() };
        node.put("sys/devices/system/cpu/cpu3/topology/thread_siblings_list", "1,3");
        node.put("sys/devices/system/cpu/nohz_full", "(null)");
        node.put("proc/cmdline", "quiet");
        fs::create_dir_all(node.folder.path().join("proc/irq/36/nvme0q3")).unwrap();
        node.tables([100, 50, 7, 1000, 0], [10, 20], [100, 0, 500, 0], 40);
        node
    }

    fn put(&self, path: &str, text: &str) {
        let place = self.folder.path().join(path);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::write(place, text).unwrap();
    }

    fn linux(&self) -> Linux {
        Linux::at(self.folder.path())
    }

    /// Interrupts (36, RES, TLB, LOC, MCE), softirqs (RCU, SCHED) and ticks (user, steal, idle; of the sibling:
    /// user) of core 3; calls of its scheduler.
    fn tables(&self, interrupts: [u64; 5], softirqs: [u64; 2], [user, steal, idle, sibling]: [u64; 4], calls: u64) {
        let [device, res, tlb, loc, mce] = interrupts;
        let row = |label: &str, count, words: &str| format!("{label:>4}: 9 9 9 {count} {words}\n");
        let table = "CPU0 CPU1 CPU2 CPU3\n".to_owned()
            + &row("36", device, "PCI-MSI 5-edge nvme0q3")
            + &row("RES", res, "Rescheduling interrupts")
            + &row("TLB", tlb, "TLB shootdowns")
            + &row("LOC", loc, "Local timer interrupts")
            + &row("MCE", mce, "Machine check exceptions");
        self.put("proc/interrupts", &table);
        let [rcu, sched] = softirqs;
        self.put(
            "proc/softirqs",
            &("CPU0 CPU1 CPU2 CPU3\n".to_owned() + &row("RCU", rcu, "") + &row("SCHED", sched, "")),
        );
        self.put("proc/stat", &format!("cpu1 {sibling} 0 0 500 0 0 0 0\ncpu3 {user} 0 0 {idle} 0 0 0 {steal}\n"));
        self.put("proc/schedstat", &format!("version 15\ncpu3 0 0 {calls} 0 0\n"));
    }

    fn place(&self) -> Place {
        Place::of(&self.linux(), 3, &CpuSet::from_list("0-3").unwrap())
    }

    fn observe(&self, meanwhile: impl FnOnce(&Self), threads: &[Vec<Sample>]) -> Observation {
        let (linux, place) = (self.linux(), self.place());
        let before = Snapshot::take(&linux, &place, true);
        meanwhile(self);
        let after = Snapshot::take(&linux, &place, true);
        Observation::between(&linux, place, [&before, &after], threads, 5.0)
    }
}

fn report(seen: &Observation) -> Report {
    Report::of(seen, Recorder::start(None).finish())
}

#[track_caller]
fn find<'r>(report: &'r Report, name: &str) -> &'r Disturbance {
    let all: Vec<&str> = report.disturbances.iter().map(|disturbance| disturbance.name.as_str()).collect();
    report.disturbances.iter().find(|disturbance| disturbance.name == name).unwrap_or_else(|| panic!("{name}: {all:?}"))
}

fn ran(id: u32, name: &str, cores: &str, times: u64, seconds: f64) -> Ran {
    Ran {
        id,
        process: id,
        name: name.to_owned(),
        is_of_the_kernel: false,
        is_bound: false,
        cores: CpuSet::from_list(cores).unwrap(),
        times,
        seconds,
        is_at_most: false,
    }
}

fn of_the_kernel(is_bound: bool, ran: Ran) -> Ran {
    Ran { is_of_the_kernel: true, is_bound, ..ran }
}

#[test]
fn sources_are_ranked_by_count_with_what_would_remove_each() {
    let node = Node::new();
    let meanwhile = |node: &Node| node.tables([150, 57, 7, 2250, 1], [30, 320], [350, 25, 575, 200], 140);
    let report = report(&node.observe(meanwhile, &[]));
    let told: Vec<_> = report.disturbances.iter().map(|d| (d.name.as_str(), d.count)).collect();
    let expected = [
        ("local timer interrupts", Some(1250)),
        ("softirq SCHED", Some(300)),
        ("interrupt 36 (nvme0q3)", Some(50)),
        ("softirq RCU", Some(20)),
        ("rescheduling interrupts", Some(7)),
        ("machine check exceptions", Some(1)),
        ("sibling 1", None),
        ("hypervisor steal", None),
    ];
    assert_eq!(told, expected, "what did not happen (TLB) is not told");
    let tick = find(&report, "local timer interrupts");
    assert_eq!((tick.source, tick.per_second), (Source::TimerTick, Some(250.0)));
    assert_eq!(tick.remedy, "boot with nohz_full=3 rcu_nocbs=3 and run a single thread there");
    let device = find(&report, "interrupt 36 (nvme0q3)");
    assert_eq!(device.command.as_deref(), Some("echo 0,2 > /proc/irq/36/smp_affinity_list"));
    assert_eq!(find(&report, "hypervisor steal").milliseconds, Some(250.0));
    let check = find(&report, "machine check exceptions").command.clone().unwrap();
    assert_eq!(check, "echo 0 > /sys/devices/system/machinecheck/machinecheck3/check_interval");
}

#[test]
fn a_busy_sibling_is_told_with_its_load() {
    let node = Node::new();
    // The sibling: 2 s of user time, and its idle time stands still.
    let report =
        report(&node.observe(|node| node.tables([100, 50, 7, 1000, 0], [10, 20], [600, 0, 500, 200], 40), &[]));
    let sibling = find(&report, "sibling 1");
    assert_eq!(sibling.source, Source::SmtSibling);
    assert_eq!(sibling.milliseconds, Some(5000.0));
    assert!(sibling.words.contains("shares the physical core with 3 and was busy 100 % of the time"));
    assert_eq!(sibling.command.as_deref(), Some("echo 0 > /sys/devices/system/cpu/cpu1/online"));
    assert_eq!(report.disturbances.len(), 1);
    assert!(report.notes.iter().all(|note| !note.contains("idle core")));
}

#[test]
fn a_core_booted_without_tick_gets_other_words() {
    let node = Node::new();
    node.put("sys/devices/system/cpu/nohz_full", "3");
    let report = report(&node.observe(|node| node.tables([100, 50, 7, 1005, 0], [11, 20], [600, 0, 500, 0], 40), &[]));
    assert!(find(&report, "local timer interrupts").words.starts_with("the node was booted with nohz_full"));
    assert!(find(&report, "softirq RCU").words.contains("its callbacks run elsewhere"));
}

#[test]
fn a_clock_that_changed_is_told_with_its_governor() {
    let node = Node::new();
    let cpufreq = "sys/devices/system/cpu/cpu3/cpufreq";
    for (file, text) in
        [("scaling_cur_freq", "1200000"), ("cpuinfo_max_freq", "3000000"), ("scaling_governor", "schedutil")]
    {
        node.put(&format!("{cpufreq}/{file}"), text);
    }
    let seen = node.observe(|node| node.put(&format!("{cpufreq}/scaling_cur_freq"), "2400000"), &[]);
    let changed = report(&seen);
    let frequency = find(&changed, "frequency");
    let words =
        "the clock of the core went from 1200 to 2400 MHz, of 3000 MHz that it can have; the governor is schedutil";
    assert_eq!(frequency.words, words);
    let command = "echo performance > /sys/devices/system/cpu/cpu3/cpufreq/scaling_governor";
    assert_eq!(frequency.command.as_deref(), Some(command));

    let steady = report(&node.observe(|_| {}, &[]));
    assert!(steady.disturbances.iter().all(|disturbance| disturbance.source != Source::Frequency));
}

#[test]
fn the_program_that_had_the_core_is_not_a_disturbance() {
    let node = Node::new();
    let mut seen = node.observe(|_| {}, &[]);
    seen.threads = vec![
        ran(700, "simulation", "3", 12, 4.5),
        ran(800, "backup", "0-3", 30, 0.25),
        Ran { id: 801, process: 800, is_at_most: true, ..ran(801, "backup", "0-3", 10, 0.25) },
        ran(900, "daemon", "3", 5, 0.001),
        of_the_kernel(true, ran(40, "kworker/3:1-events", "3", 6, 0.002)),
        of_the_kernel(false, ran(41, "kcompactd0", "0-3", 4, 0.002)),
        of_the_kernel(true, ran(42, "kworker/u9:0", "0-3", 3, 0.002)),
        of_the_kernel(true, ran(43, "ksoftirqd/3", "3", 2, 0.002)),
    ];
    let report = report(&seen);
    let main = report.main.as_ref().unwrap();
    assert_eq!((main.name.as_str(), main.thread, main.percent), ("simulation", 700, Some(90.0)));
    assert!(report.disturbances.iter().all(|disturbance| !disturbance.name.contains("simulation")));
    let command = |name: &str| find(&report, name).command.clone();
    let backup = find(&report, "process backup (800), 2 threads");
    assert_eq!((backup.count, backup.milliseconds, backup.at_most), (Some(40), Some(500.0), true));
    assert_eq!(backup.command.as_deref(), Some("taskset -apc 0,2 800"));
    assert!(find(&report, "process daemon (900)").words.contains("pinned to this core"));
    assert_eq!(command("kernel thread kworker/3:1-events (40)").as_deref(), Some("sysctl vm.stat_interval=120"));
    assert_eq!(command("kernel thread kcompactd0 (41)").as_deref(), Some("taskset -pc 0,2 41"));
    let unbound = command("kernel thread kworker/u9:0 (42)");
    assert_eq!(unbound.as_deref(), Some("echo 5 > /sys/devices/virtual/workqueue/cpumask"));
    assert!(find(&report, "kernel thread ksoftirqd/3 (43)").remedy.contains("softirqs"));
}

#[test]
fn an_idle_core_and_unseen_switches_are_noted() {
    let node = Node::new();
    let mut seen = node.observe(|node| node.tables([100, 50, 7, 1010, 0], [10, 20], [110, 0, 990, 0], 75), &[]);
    seen.threads = vec![ran(900, "daemon", "3", 5, 0.001)];
    let report = report(&seen);
    assert_eq!(report.main, None);
    assert!(report.notes[0].starts_with("the core was idle 98 % of the time"), "{:?}", report.notes);
    assert!(report.notes[1].starts_with("the scheduler was called 30 times more often"), "{:?}", report.notes);
}

#[test]
fn a_trace_gives_lengths_and_its_lack_is_told() {
    use super::trace::Traced;
    let node = Node::new();
    let meanwhile = |node: &Node| node.tables([150, 50, 7, 2250, 0], [10, 320], [350, 0, 750, 0], 75);
    let seen = node.observe(meanwhile, &[]);
    let lengths = [("LOC".to_owned(), 0.0125), ("36".to_owned(), 0.0005)].into();
    let traced = report(&seen.clone().with_trace(Ok(Traced { interrupts: lengths, ..Traced::default() }), &[]));
    assert_eq!(find(&traced, "local timer interrupts").milliseconds, Some(12.5));
    assert_eq!(find(&traced, "interrupt 36 (nvme0q3)").milliseconds, Some(0.5));
    assert_eq!(find(&traced, "softirq SCHED").milliseconds, None);
    assert!(traced.text().contains("local timer interrupts: 1250 times, 250.0 per second, 12.50 ms\n"));
    let without = report(&seen.with_trace(Err("mount tracefs".to_owned()), &[]));
    assert_eq!(without.not_read.last().unwrap().why, "mount tracefs");
    assert_eq!(find(&without, "local timer interrupts").milliseconds, None);
}

#[test]
fn what_cannot_be_read_is_told_with_its_reason() {
    let node = Node::new();
    fs::remove_file(node.folder.path().join("proc/schedstat")).unwrap();
    node.put("proc/softirqs", "CPU0 CPU1\n RCU: 1 2\n");
    let report = report(&node.observe(|_| {}, &[]));
    let told: Vec<_> = report.not_read.iter().map(|missing| (missing.what.as_str(), missing.why.as_str())).collect();
    assert_eq!(told[0], ("softirqs", "/proc/softirqs has nothing for this core"));
    assert_eq!(told[1].1, "/proc/schedstat: No such file or directory");
    assert!(told[2].1.ends_with("scaling_cur_freq: No such file or directory"));
    assert_eq!(told.len(), 3);
    assert!(report.text().contains("not read: softirqs: /proc/softirqs has nothing for this core\n"));
}

#[test]
fn the_text_has_the_frequent_with_commands_and_the_rare_by_name() {
    let node = Node::new();
    let mut seen = node.observe(|node| node.tables([150, 51, 7, 2250, 0], [10, 20], [600, 0, 500, 0], 40), &[]);
    seen.watched_from = Some(0);
    let text = report(&seen).text();
    assert!(text.contains("core:    3, watched for 5.0 s from core 0\n"), "{text}");
    assert!(text.contains("  1. local timer interrupts: 1250 times, 250.0 per second\n"), "{text}");
    assert!(text.contains("\n  2. interrupt 36 (nvme0q3): 50 times, 10.00 per second\n"), "{text}");
    assert!(text.contains("\n        echo 0,2 > /proc/irq/36/smp_affinity_list\n"), "{text}");
    assert!(
        text.contains("\nless than once per second, each: rescheduling interrupts (--json has all of them)\n"),
        "{text}"
    );
    let silent = report(&node.observe(|_| {}, &[])).text();
    assert!(silent.contains("Nothing that Linux counts disturbed it.\n"), "{silent}");
}
