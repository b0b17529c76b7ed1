//! Interrupts and softirqs in words.
//!
//! Source: the names in Linux, arch/x86/kernel/irq.c (`arch_show_interrupts`) and kernel/softirq.c
//! (`softirq_to_name`); the remedies in Documentation/admin-guide/kernel-per-CPU-kthreads.rst,
//! Documentation/timers/no_hz.rst and Documentation/core-api/irq/irq-affinity.rst.

use super::counters::Row;
use super::disturbance::{Advice, Disturbance, Source};
use super::observation::{Observation, Place};

/// All interrupts.
pub fn interrupts(seen: &Observation) -> Vec<Disturbance> {
    let told = seen.interrupts.iter().map(|row| {
        let told = match row.label.parse::<u32>() {
            Ok(number) => device(&seen.place, number, row, seen.seconds),
            Err(_) => {
                let (source, name, advice) = special(&seen.place, row);
                advice.counted(source, &name, row.count, seen.seconds)
            }
        };
        Disturbance { milliseconds: seen.milliseconds_of(&row.label), ..told }
    });
    told.collect()
}

fn device(place: &Place, number: u32, row: &Row, seconds: f64) -> Disturbance {
    let name = format!("interrupt {number} ({})", row.description);
    let words = "a device interrupts this core";
    let advice = match place.others.is_empty() {
        true => Advice::new(words, "there is no other core to send it to"),
        false => Advice::new(
            words,
            "send it to other cores; where Linux refuses (a managed interrupt of a multi-queue device), boot with \
             isolcpus=managed_irq,CORE or give the device fewer queues",
        )
        .by(format!("echo {} > /proc/irq/{number}/smp_affinity_list", place.others)),
    };
    advice.counted(Source::DeviceInterrupt, &name, row.count, seconds)
}

fn special(place: &Place, row: &Row) -> (Source, String, Advice) {
    let core = place.core;
    let (source, name, advice) = match row.label.as_str() {
        "LOC" => (Source::TimerTick, "local timer interrupts", timer(place)),
        "RES" => (
            Source::InterProcessorInterrupt,
            "rescheduling interrupts",
            Advice::new(
                "other cores woke threads that were to run here",
                "keep threads away: an isolated cpuset, or the affinity of the threads named here",
            ),
        ),
        "CAL" => (
            Source::InterProcessorInterrupt,
            "function call interrupts",
            Advice::new(
                "other cores had this one run something: expedited RCU, membarrier(2), changed kernel code, \
                 readers of its frequency or its counters",
                "stop monitoring that reads each core; make RCU grace periods normal ones",
            )
            .by("echo 1 > /sys/kernel/rcu_normal"),
        ),
        "TLB" => (
            Source::InterProcessorInterrupt,
            "TLB shootdowns",
            Advice::new(
                "mappings changed that this core may have cached: munmap(2) and the like in another thread of the \
                 same program, NUMA balancing, compaction",
                "keep the program from giving memory back while it computes; switch NUMA balancing and proactive \
                 compaction off",
            )
            .by("sysctl kernel.numa_balancing=0 vm.compaction_proactiveness=0"),
        ),
        "NMI" | "PMI" => (
            Source::MachineInterrupt,
            if row.label == "NMI" { "non-maskable interrupts" } else { "performance monitoring interrupts" },
            Advice::new("the NMI watchdog, or somebody who samples with perf(1)", "switch the watchdog off, end perf")
                .by("sysctl kernel.nmi_watchdog=0"),
        ),
        "IWI" => (
            Source::InterProcessorInterrupt,
            "IRQ work interrupts",
            Advice::new(
                "Linux put work off to the next moment that interrupts were possible: RCU, tracing, printk, the tick",
                "end tracing and perf; what RCU and the tick cause goes with nohz_full",
            ),
        ),
        "MCE" | "MCP" => (
            Source::MachineInterrupt,
            if row.label == "MCE" { "machine check exceptions" } else { "machine check polls" },
            Advice::new(
                "Linux looks for errors that the hardware corrected, or the hardware reported one",
                "see the errors in the kernel's log (dmesg), and stop the polling",
            )
            .by(format!("echo 0 > /sys/devices/system/machinecheck/machinecheck{core}/check_interval")),
        ),
        "TRM" | "THR" | "DFR" => (
            Source::MachineInterrupt,
            "thermal and error threshold interrupts",
            Advice::new(
                "the hardware became too hot, or counted too many corrected errors",
                "see to its cooling, and read dmesg",
            ),
        ),
        "HYP" | "HVS" | "HRE" => (
            Source::MachineInterrupt,
            "hypervisor interrupts",
            Advice::new(
                "the hypervisor below sent this core an event",
                "ask who runs the host; it can't be had from here",
            ),
        ),
        "PIN" | "NPI" | "PIW" => (
            Source::MachineInterrupt,
            "posted interrupts",
            Advice::new(
                "a virtual machine of this node has a processor on this core",
                "move its processor threads to other cores",
            ),
        ),
        label => (
            Source::MachineInterrupt,
            label,
            Advice::new(
                row.description.clone(),
                "no remedy is known to tacet-bench: see Linux's arch/x86/kernel/irq.c",
            ),
        ),
    };
    (source, name.to_owned(), advice)
}

fn timer(place: &Place) -> Advice {
    let core = place.core;
    match place.tickless.contains(core) {
        true => Advice::new(
            "the node was booted with nohz_full for this core, so these are ticks while more than one thread wanted \
             to run here, the remaining tick per second, or timers of programs",
            "leave one thread alone on the core, and end what sets timers there",
        ),
        false => Advice::new(
            "the tick by which Linux counts time and schedules (250 per second in most kernels, 100 or 1000 in \
             others), and timers of programs",
            format!("boot with nohz_full={core} rcu_nocbs={core} and run a single thread there"),
        ),
    }
}

/// All softirqs.
pub fn softirqs(seen: &Observation) -> Vec<Disturbance> {
    let advised = seen.softirqs.iter().map(|row| {
        let name = format!("softirq {}", row.label);
        Disturbance {
            milliseconds: seen.milliseconds_of(&row.label),
            ..softirq(&seen.place, &row.label).counted(Source::Softirq, &name, row.count, seen.seconds)
        }
    });
    advised.collect()
}

fn softirq(place: &Place, label: &str) -> Advice {
    let core = place.core;
    match label {
        "TIMER" | "HRTIMER" => Advice::new(
            "timers that ran out on this core, looked for at each tick",
            "keep threads that sleep with a timeout away, and boot with nohz_full; timers that were set elsewhere stay there with",
        )
        .by("sysctl kernel.timer_migration=0"),
        "SCHED" => Advice::new(
            "the scheduler looks at each tick whether load should be moved between cores",
            "take the core out of load balancing: a partition of control groups with cpuset.cpus.partition=isolated, or isolcpus at boot",
        ),
        "RCU" if place.offloaded.contains(core) => Advice::new(
            "RCU keeps its books on this core; its callbacks run elsewhere (rcu_nocbs)",
            "fewer calls into Linux on this core",
        ),
        "RCU" => Advice::new(
            "memory that Linux freed is given back after a grace period, on the core that freed it",
            format!("boot with rcu_nocbs={core}"),
        ),
        "NET_RX" | "NET_TX" => Advice::new(
            "packets of the network, taken on the core whose interrupt announced them, or steered to it (RPS)",
            format!("send the interrupts of the network devices elsewhere, and take core {core} out of /sys/class/net/*/queues/rx-*/rps_cpus"),
        ),
        "BLOCK" | "IRQ_POLL" => Advice::new(
            "requests to disks that were done",
            "send the interrupts of the disks elsewhere; completions follow the core that asked unless rq_affinity is 0",
        )
        .by("for queue in /sys/block/*/queue/rq_affinity; do echo 0 > $queue; done"),
        "TASKLET" | "HI" => Advice::new("what drivers put off in their interrupts", "send the interrupts of the devices elsewhere"),
        _ => Advice::new("work that an interrupt put off", "send the interrupts of the devices elsewhere"),
    }
}
