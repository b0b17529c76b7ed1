//! The kernel's own trace of one core, where root may have it: every switch of threads and every interrupt, with
//! times.
//!
//! An instance of our own leaves other tracing on the node alone, and is removed afterwards; one that a killed
//! tacet-bench has left is removed by the next. Source: Linux, Documentation/trace/ftrace.rst (*Instances*),
//! Documentation/trace/events.rst; the lines of the events in include/trace/events/sched.h, irq.h and
//! arch/x86/include/asm/trace/irq_vectors.h.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::machine::cpu_set::CpuSet;
use crate::tuning::system::{System, reason};

const PLACES: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];
const PREFIX: &str = "tacet-bench-why-";
const PATIENCE: Duration = Duration::from_secs(2);
const EVENTS: [&str; 5] =
    ["sched/sched_switch", "irq/irq_handler_entry", "irq/irq_handler_exit", "irq/softirq_entry", "irq/softirq_exit"];
/// Interrupts of the processor, by the labels of `/proc/interrupts`.
const VECTORS: [(&str, &str); 8] = [
    ("local_timer", "LOC"),
    ("reschedule", "RES"),
    ("call_function", "CAL"),
    ("call_function_single", "CAL"),
    ("irq_work", "IWI"),
    ("thermal_apic", "TRM"),
    ("threshold_apic", "THR"),
    ("deferred_error_apic", "DFR"),
];

/// A trace that goes on until it is read or dropped.
pub struct Trace {
    system: Arc<dyn System>,
    instance: String,
    core: usize,
}

/// What a trace tells.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Traced {
    /// Seconds in interrupts and softirqs by label.
    pub interrupts: BTreeMap<String, f64>,
    /// Threads that got the core, by number.
    pub threads: BTreeMap<u32, TracedThread>,
}

/// A thread in the trace.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TracedThread {
    /// Its name.
    pub name: String,
    /// How often it got the core.
    pub times: u64,
    /// Seconds that it had it, from the first switch on.
    pub seconds: f64,
}

impl Trace {
    /// The directory that a trace of this process would have. Why there can be none, where that is so.
    pub fn place(system: &dyn System) -> Result<String, String> {
        let listed = PLACES.iter().find_map(|place| {
            let instances = format!("{place}/instances");
            Some((system.list(&instances).ok()?, instances))
        });
        let Some((present, instances)) = listed else {
            return Err(format!("{} can't be read: mount tracefs, become root", PLACES[0]));
        };
        for old in present.iter().filter(|name| is_left_over(system, name)) {
            // One that stays is in nobody's way.
            let _ = system.remove_directory(&format!("{instances}/{old}"));
        }
        Ok(format!("{instances}/{PREFIX}{}", std::process::id()))
    }

    /// Starts it in the directory `instance`.
    pub fn start(system: Arc<dyn System>, instance: String, core: usize) -> Result<Self, String> {
        system.make_directory(&instance).map_err(|error| format!("{instance}: {}", reason(&error)))?;
        let trace = Self { system, instance, core };
        trace.set_up().map(|()| trace)
    }

    fn set_up(&self) -> Result<(), String> {
        let write = |file: &str, text: &str| {
            let path = format!("{}/{file}", self.instance);
            self.system.write(&path, text).map_err(|error| format!("{path}: {}", reason(&error)))
        };
        write("tracing_cpumask", &CpuSet::from_iter([self.core]).mask())?;
        for event in EVENTS {
            write(&format!("events/{event}/enable"), "1")?;
        }
        for (vector, _) in VECTORS {
            for edge in ["entry", "exit"] {
                // Kernels differ in which of these they have.
                let _ = write(&format!("events/irq_vectors/{vector}_{edge}/enable"), "1");
            }
        }
        Ok(())
    }

    /// Ends it.
    pub fn finish(self) -> Result<Traced, String> {
        let read = |file: &str| {
            let path = format!("{}/{file}", self.instance);
            self.system.read(&path).map_err(|error| format!("{path}: {}", reason(&error)))
        };
        let path = format!("{}/tracing_on", self.instance);
        self.system.write(&path, "0").map_err(|error| format!("{path}: {}", reason(&error)))?;
        let core = self.core;
        match lost(&read(&format!("per_cpu/cpu{core}/stats"))?) {
            0 => Ok(parse(&read(&format!("per_cpu/cpu{core}/trace"))?)),
            lost => Err(format!("the trace has lost {lost} events: watch for a shorter time")),
        }
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        if let Err(error) = remove(&*self.system, &self.instance) {
            eprintln!("tacet-bench: cannot remove {}: {}; remove it with rmdir", self.instance, reason(&error));
        }
    }
}

/// Removes the directory of a trace. As long as somebody has one of its files open, it is busy: for a moment, when a
/// signal comes while the trace is set up.
pub fn remove(system: &dyn System, instance: &str) -> io::Result<()> {
    let start = Instant::now();
    loop {
        match system.remove_directory(instance) {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy && start.elapsed() < PATIENCE => {
                thread::sleep(Duration::from_millis(5));
            }
            done => return done,
        }
    }
}

fn is_left_over(system: &dyn System, name: &str) -> bool {
    let process = name.strip_prefix(PREFIX).and_then(|number| number.parse::<u32>().ok());
    process.is_some_and(|process| system.list(&format!("/proc/{process}/task")).is_err())
}

/// Events that had no room.
fn lost(stats: &str) -> u64 {
    let of = |key: &str| stats.lines().find_map(|line| line.strip_prefix(key)?.trim().parse::<u64>().ok());
    of("overrun:").unwrap_or(0) + of("dropped events:").unwrap_or(0)
}

/// What the lines of a trace say together.
pub fn parse(text: &str) -> Traced {
    let mut traced = Traced::default();
    let mut open: BTreeMap<String, f64> = BTreeMap::new();
    let mut running: Option<(u32, f64)> = None;
    for (time, event, fields) in text.lines().filter_map(event) {
        if event == "sched_switch" {
            let Some((id, name)) = next_thread(fields) else { continue };
            if let Some((previous, since)) = running {
                traced.threads.entry(previous).or_default().seconds += time - since;
            }
            let thread = traced.threads.entry(id).or_default();
            name.clone_into(&mut thread.name);
            thread.times += 1;
            running = Some((id, time));
        } else if let Some(what) = event.strip_suffix("_entry") {
            open.insert(what.to_owned(), time);
        } else if let Some(what) = event.strip_suffix("_exit")
            && let (Some(since), Some(label)) = (open.remove(what), label(what, fields))
        {
            *traced.interrupts.entry(label).or_default() += time - since;
        }
    }
    // The idle thread.
    traced.threads.remove(&0);
    traced
}

/// Time, name and fields of `TASK-PID [CPU] FLAGS TIME: EVENT: FIELDS`. The task's name may contain anything: what
/// counts is the first bracket after which the rest is as it should be.
fn event(line: &str) -> Option<(f64, &str, &str)> {
    line.match_indices(" [").find_map(|(place, bracket)| {
        let (cpu, rest) = line[place + bracket.len()..].split_once("] ")?;
        cpu.parse::<u32>().ok()?;
        let mut parts = rest.splitn(3, ": ");
        let time = parts.next()?.split_whitespace().last()?.parse().ok()?;
        Some((time, parts.next()?, parts.next().unwrap_or_default()))
    })
}

/// `… ==> next_comm=NAME next_pid=N next_prio=N`.
fn next_thread(fields: &str) -> Option<(u32, &str)> {
    let (_, next) = fields.split_once(" ==> next_comm=")?;
    let (name, rest) = next.rsplit_once(" next_pid=")?;
    Some((rest.split_whitespace().next()?.parse().ok()?, name))
}

fn label(what: &str, fields: &str) -> Option<String> {
    match what {
        "irq_handler" => Some(fields.strip_prefix("irq=")?.split_whitespace().next()?.to_owned()),
        "softirq" => Some(fields.split_once("[action=")?.1.trim_end_matches(']').to_owned()),
        vector => VECTORS.iter().find(|(name, _)| *name == vector).map(|(_, label)| (*label).to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# tracer: nop
          <idle>-0       [003] d..2.    10.000100: sched_switch: prev_comm=swapper/3 prev_pid=0 prev_prio=120 prev_state=R ==> next_comm=my [1] prog next_pid=42 next_prio=120
 my [1] prog-42      [003] d.h1.    10.000200: local_timer_entry: vector=236
 my [1] prog-42      [003] d.h1.    10.000210: local_timer_exit: vector=236
 my [1] prog-42      [003] ..s1.    10.000211: softirq_entry: vec=7 [action=SCHED]
 my [1] prog-42      [003] d.h1.    10.000220: irq_handler_entry: irq=36 name=nvme0q3
 my [1] prog-42      [003] d.h1.    10.000225: irq_handler_exit: irq=36 ret=handled
 my [1] prog-42      [003] ..s1.    10.000251: softirq_exit: vec=7 [action=SCHED]
 my [1] prog-42      [003] d.h1.    10.000300: local_timer_entry: vector=236
 my [1] prog-42      [003] d.h1.    10.000305: local_timer_exit: vector=236
 my [1] prog-42      [003] d..2.    10.001100: sched_switch: prev_comm=my [1] prog prev_pid=42 prev_prio=120 prev_state=S ==> next_comm=kworker/3:1 next_pid=7 next_prio=120
     kworker/3:1-7       [003] d..2.    10.001350: sched_switch: prev_comm=kworker/3:1 prev_pid=7 prev_prio=120 prev_state=I ==> next_comm=swapper/3 next_pid=0 next_prio=120
          <idle>-0       [003] d.h1.    10.002000: call_function_exit: vector=252
";

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-9
    }

    #[test]
    fn a_trace_gives_times_by_source_and_by_thread() {
        let traced = parse(TEXT);
        let labels: Vec<&str> = traced.interrupts.keys().map(String::as_str).collect();
        assert_eq!(labels, ["36", "LOC", "SCHED"], "an end without a begin is none");
        assert!(close(traced.interrupts["LOC"], 15e-6) && close(traced.interrupts["36"], 5e-6));
        assert!(close(traced.interrupts["SCHED"], 40e-6));
        let threads: Vec<_> =
            traced.threads.iter().map(|(id, thread)| (*id, thread.name.as_str(), thread.times)).collect();
        assert_eq!(threads, [(7, "kworker/3:1", 1), (42, "my [1] prog", 1)]);
        assert!(close(traced.threads[&42].seconds, 0.001) && close(traced.threads[&7].seconds, 0.00025));
    }

    #[test]
    fn lost_events_are_counted() {
        assert_eq!(lost("entries: 5\noverrun: 0\ncommit overrun: 9\ndropped events: 0\n"), 0);
        assert_eq!(lost("entries: 5\noverrun: 3\ndropped events: 1\n"), 4);
    }
}
