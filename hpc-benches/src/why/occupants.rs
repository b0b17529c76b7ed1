//! Threads that ran on the core, in words; and which of them the core is there for.
//!
//! Source: Linux, Documentation/admin-guide/kernel-per-CPU-kthreads.rst.

use std::collections::BTreeMap;

use super::disturbance::{Advice, Disturbance, Source};
use super::observation::{Observation, Place};
use super::threads::Ran;

/// A thread that had more than half of the time is what the core is there for, and not what disturbs it.
const MAIN_SHARE: f64 = 0.5;

/// The thread that the others disturbed, if there is one.
pub fn main_thread(seen: &Observation) -> Option<&Ran> {
    let most = seen.threads.iter().max_by(|a, b| a.seconds.total_cmp(&b.seconds))?;
    (!most.is_of_the_kernel && most.seconds > MAIN_SHARE * seen.seconds).then_some(most)
}

/// All others, the threads of a program together.
pub fn threads(seen: &Observation) -> Vec<Disturbance> {
    let main = main_thread(seen).map(|main| main.id);
    let others = || seen.threads.iter().filter(|ran| Some(ran.id) != main);
    let mut programs: BTreeMap<u32, Vec<&Ran>> = BTreeMap::new();
    for ran in others().filter(|ran| !ran.is_of_the_kernel) {
        programs.entry(ran.process).or_default().push(ran);
    }
    let kernel = others().filter(|ran| ran.is_of_the_kernel).map(|ran| kernel_disturbance(seen, ran));
    kernel.chain(programs.values().map(|threads| program(seen, threads))).collect()
}

fn kernel_disturbance(seen: &Observation, ran: &Ran) -> Disturbance {
    let name = format!("kernel thread {} ({})", ran.name, ran.id);
    Disturbance {
        at_most: ran.is_at_most,
        milliseconds: Some(ran.seconds * 1e3),
        ..kernel_thread(&seen.place, ran).counted(Source::KernelThread, &name, ran.times, seen.seconds)
    }
}

/// `threads`: those of one process; at least one.
fn program(seen: &Observation, threads: &[&Ran]) -> Disturbance {
    let (first, process) = (threads[0], threads[0].process);
    let name = &threads.iter().find(|ran| ran.id == process).unwrap_or(&first).name;
    let name = match threads.len() {
        1 if first.id == process => format!("process {name} ({process})"),
        1 => format!("process {name} ({process}), thread {}", first.id),
        several => format!("process {name} ({process}), {several} threads"),
    };
    let times = threads.iter().map(|ran| ran.times).sum();
    Disturbance {
        at_most: threads.iter().any(|ran| ran.is_at_most),
        milliseconds: Some(threads.iter().map(|ran| ran.seconds * 1e3).sum()),
        ..process_advice(&seen.place, threads).counted(Source::Process, &name, times, seen.seconds)
    }
}

fn process_advice(place: &Place, threads: &[&Ran]) -> Advice {
    let words = "a program that Linux let run here";
    let command = match threads {
        [thread] => format!("taskset -pc {} {}", place.others, thread.id),
        _ => format!("taskset -apc {} {}", place.others, threads[0].process),
    };
    let is_pinned = threads.iter().any(|ran| ran.cores.len() == 1);
    match (place.others.is_empty(), is_pinned) {
        (true, _) => Advice::new(words, "there is no other core to send it to"),
        (false, true) => {
            Advice::new("a program that somebody pinned to this core", "start it with another affinity, or move it")
                .by(command)
        }
        (false, false) => Advice::new(words, "move it, or keep all programs away by an isolated cpuset").by(command),
    }
}

fn kernel_thread(place: &Place, ran: &Ran) -> Advice {
    let core = place.core;
    let family = ran.name.split(['/', ':', '-']).next().unwrap_or_default();
    match family {
        "ksoftirqd" => {
            Advice::new("softirqs that came faster than the interrupts could do them", "remove the softirqs named here")
        }
        "kworker" if ran.name.starts_with("kworker/u") => {
            Advice::new("work that is bound to no core", "take the core out of the mask of unbound work")
                .by(format!("echo {} > /sys/devices/virtual/workqueue/cpumask", place.others.mask()))
        }
        "kworker" => Advice::new(
            "work that is bound to this core: the counters of vm.stat_interval once a second, and what was queued by \
             calls and interrupts here; the end of the worker's name says of which queue",
            "make the counters rarer, keep calls and interrupts away",
        )
        .by("sysctl vm.stat_interval=120"),
        "migration" => Advice::new(
            "Linux stopped the core to move its threads, or to change code of the kernel",
            "do not change affinities or load modules and probes meanwhile",
        ),
        "rcuc" => Advice::new("RCU's callbacks on this core", format!("boot with rcu_nocbs={core}")),
        "cpuhp" => Advice::new("the core was brought online or offline", "leave it online"),
        _ if ran.is_bound => Advice::new(
            "a thread that Linux binds to this core",
            "see Linux, Documentation/admin-guide/kernel-per-CPU-kthreads.rst",
        ),
        _ if place.others.is_empty() => Advice::new("a thread of Linux's own", "there is no other core to send it to"),
        _ => Advice::new("a thread of Linux's own that may run elsewhere", "move it")
            .by(format!("taskset -pc {} {}", place.others, ran.id)),
    }
}
