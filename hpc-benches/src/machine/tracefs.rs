//! Linux's own trace of one core: every interrupt, exception, softirq and switch to another task, with the
//! time-stamp counter as its clock, so that it can be laid beside what a program saw.
//!
//! An own instance of the trace buffer is used: nobody else's tracing is touched. It is removed by a process that
//! waits for ours to end, so that it goes whatever ends us.
//!
//! Source: Documentation/trace/ftrace.rst and Documentation/trace/events.rst of Linux.

use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, process, thread};

use super::counters;
use crate::stats::causes::{Event, What};

/// Where tracefs is mounted: by itself, or as part of debugfs.
const ROOTS: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];
/// Events with a name of their own; those of `irq_vectors` are found by their ending.
const EVENTS: [&str; 6] = [
    "irq/irq_handler_entry",
    "irq/softirq_entry",
    "sched/sched_switch",
    "exceptions/page_fault_user",
    "exceptions/page_fault_kernel",
    "nmi/nmi_handler",
];
/// Room for a busy core, in KiB: what there always is, for each second, and at most.
const ROOM: u64 = 4096;
const ROOM_PER_SECOND: u64 = 1024;
const MOST_ROOM: u64 = 128 << 10;

/// How long an instance may be in use after the end of who used it.
const REMOVAL_LIMIT: Duration = Duration::from_secs(60);
const REMOVAL_PAUSE: Duration = Duration::from_millis(20);

/// A trace that is being taken.
pub struct Tracing {
    folder: PathBuf,
    core: usize,
    remover: Child,
}

impl Tracing {
    /// Begins to trace `core` for something like `seconds`. The reason where that can't be done here.
    pub fn start(core: usize, seconds: f64) -> Result<Self, String> {
        counters::is_run_by_linux(core)?;
        let root = ROOTS.into_iter().map(Path::new).find(|root| root.join("instances").is_dir()).ok_or(
            "tracefs is not mounted or may not be used; as root, run `mount -t tracefs none /sys/kernel/tracing`",
        )?;
        let folder = root.join("instances").join(format!("tacet-bench-{}-{core}", process::id()));
        fs::create_dir(&folder).map_err(|error| format!("{}: {error}; run it as root", folder.display()))?;
        let remover = start_remover(&folder).map_err(|error| {
            let _ = fs::remove_dir(&folder);
            format!("cannot start the process that removes {}: {error}", folder.display())
        })?;
        let tracing = Self { folder, core, remover };
        tracing.set_up(seconds)?;
        Ok(tracing)
    }

    fn set_up(&self, seconds: f64) -> Result<(), String> {
        let room = (ROOM + (seconds * ROOM_PER_SECOND as f64) as u64).min(MOST_ROOM);
        self.write("trace_clock", "x86-tsc")?;
        self.write("tracing_cpumask", &mask(self.core))?;
        self.write(&format!("per_cpu/cpu{}/buffer_size_kb", self.core), &room.to_string())?;
        // When the room is used up, what comes first is kept, and what is lost is counted.
        self.write("options/overwrite", "0")?;
        let mut enabled = 0;
        for event in EVENTS.into_iter().map(str::to_owned).chain(self.vectors()) {
            let file = format!("events/{event}/enable");
            if self.folder.join(&file).exists() {
                self.write(&file, "1")?;
                enabled += 1;
            }
        }
        if enabled == 0 { Err("this kernel has no trace events of interrupts".to_owned()) } else { Ok(()) }
    }

    /// The entries of all interrupt vectors that this kernel traces.
    fn vectors(&self) -> Vec<String> {
        let folders = fs::read_dir(self.folder.join("events/irq_vectors"));
        let names = folders.into_iter().flatten().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        names.filter(|name| name.ends_with("_entry")).map(|name| format!("irq_vectors/{name}")).collect()
    }

    fn write(&self, file: &str, text: &str) -> Result<(), String> {
        let path = self.folder.join(file);
        fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))
    }

    /// Ends the trace; its events in the order of time.
    pub fn stop(self) -> Result<Vec<Event>, String> {
        self.write("tracing_on", "0")?;
        let of_core = self.folder.join(format!("per_cpu/cpu{}", self.core));
        let read = |file: &str| {
            let path = of_core.join(file);
            fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))
        };
        match lost(&read("stats")?) {
            0 => Ok(read("trace")?.lines().filter_map(event).collect()),
            lost => Err(format!("the trace buffer was full and {lost} events are missing; give a smaller --seconds")),
        }
    }
}

impl Drop for Tracing {
    fn drop(&mut self) {
        // The remover sees its standard input end. What it can't remove, nobody can.
        drop(self.remover.stdin.take());
        let _ = self.remover.wait();
    }
}

/// A process of a group of its own: Ctrl-C is not for it.
fn start_remover(folder: &Path) -> io::Result<Child> {
    Command::new(env::current_exe()?)
        .args(["end-tracing", "--instance"])
        .arg(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
}

/// What the remover does: waits until standard input ends, because its parent is done or dead, and removes the
/// trace instance.
pub fn remove_when_input_ends(folder: &Path) -> io::Result<()> {
    let _ = io::stdin().read_to_end(&mut Vec::new());
    let start = Instant::now();
    loop {
        match fs::remove_dir(folder) {
            // A parent that was killed may still have a file of it open: its files are closed one by one.
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy && start.elapsed() < REMOVAL_LIMIT => {
                thread::sleep(REMOVAL_PAUSE);
            }
            result => return result,
        }
    }
}

/// The core as a mask of 32-bit words in hexadecimal, the highest first.
fn mask(core: usize) -> String {
    let words = vec!["00000000"; core / 32];
    let highest = format!("{:x}", 1_u32 << (core % 32));
    std::iter::once(highest.as_str()).chain(words).collect::<Vec<_>>().join(",")
}

/// Events that did not fit.
fn lost(stats: &str) -> u64 {
    let count = |line: &str| {
        let (name, count) = line.split_once(':')?;
        ["overrun", "dropped events"].contains(&name).then(|| count.trim().parse::<u64>().ok()).flatten()
    };
    stats.lines().filter_map(count).sum()
}

/// A line such as `  bash-77  [001] d.h.. 38076014516332: irq_handler_entry: irq=42 name=virtio3-tx`.
fn event(line: &str) -> Option<Event> {
    let (_, rest) = line.match_indices('[').find_map(|(at, _)| {
        let (number, rest) = line[at + 1..].split_once("] ")?;
        let is_core = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        is_core.then_some((number, rest))
    })?;
    // Times are flush right: any number of spaces precedes them.
    let (_flags, rest) = rest.split_once(' ')?;
    let (at, rest) = rest.trim_start().split_once(": ")?;
    let (name, details) = rest.split_once(": ").unwrap_or((rest.trim_end_matches(':'), ""));
    Some(Event { at: at.parse().ok()?, what: what(name, details)? })
}

fn what(name: &str, details: &str) -> Option<What> {
    let after = |key: &str| details.split_once(key).map(|(_, rest)| rest);
    Some(match name {
        // Names of tasks may hold spaces: the number that follows ends them.
        "sched_switch" => What::Switch(after("next_comm=")?.split(" next_pid=").next()?.to_owned()),
        "softirq_entry" => What::Softirq(after("action=")?.trim_end_matches(']').to_owned()),
        "irq_handler_entry" => {
            let number = after("irq=")?.split(' ').next()?;
            What::Entry(format!("interrupt {number} {}", after("name=")?.trim()))
        }
        "page_fault_user" | "page_fault_kernel" => What::Entry("page fault".to_owned()),
        "nmi_handler" => What::Entry("interrupt NMI".to_owned()),
        vector => What::Entry(format!("interrupt {}", vector.strip_suffix("_entry")?.replace('_', " "))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> (u64, What) {
        let event = event(line).unwrap_or_else(|| panic!("{line}"));
        (event.at, event.what)
    }

    #[test]
    fn lines_of_a_trace_are_events() {
        let entry = |name: &str| What::Entry(name.to_owned());
        let lines = [
            (
                " qemu-system-x86-23516   [001] d.h.. 38076014516332: irq_handler_entry: irq=42 name=virtio3-tx",
                (38_076_014_516_332, entry("interrupt 42 virtio3-tx")),
            ),
            (
                "          <idle>-0       [000] d.h1.             17: local_timer_entry: vector=236",
                (17, entry("interrupt local timer")),
            ),
            ("   x-1 [001] .Ns.. 5: softirq_entry: vec=9 [action=RCU]", (5, What::Softirq("RCU".to_owned()))),
            ("   x-1 [001] d.... 6: page_fault_user: address=0x7f ip=0x56 error_code=0x6", (6, entry("page fault"))),
            (
                "   a [b] c-1 [063] d..2. 7: sched_switch: prev_comm=a [b] c prev_pid=1 prev_prio=120 prev_state=R+ ==> \
                 next_comm=tokio rt next_pid=70 next_prio=110",
                (7, What::Switch("tokio rt".to_owned())),
            ),
        ];
        for (line, expected) in lines {
            assert_eq!(of(line), expected);
        }
    }

    #[test]
    fn a_core_that_linux_does_not_run_has_no_trace() {
        let reason = Tracing::start(100_000, 1.0).err().unwrap_or_default();
        assert!(reason.contains("Linux does not run core 100000"), "{reason}");
    }

    #[test]
    fn other_lines_are_none() {
        for line in ["# tracer: nop", "", "#           TASK-PID     CPU#  |||||  TIMESTAMP  FUNCTION", "x [y] z"] {
            assert!(event(line).is_none(), "{line}");
        }
    }

    #[test]
    fn masks_have_words_of_32_bits() {
        assert_eq!((mask(0), mask(5), mask(33)), ("1".to_owned(), "20".to_owned(), "2,00000000".to_owned()));
        assert_eq!(mask(95), "80000000,00000000,00000000");
    }

    #[test]
    fn lost_events_are_counted() {
        assert_eq!(lost("entries: 667\noverrun: 0\ncommit overrun: 5\ndropped events: 0\nread events: 0\n"), 0);
        assert_eq!(lost("entries: 667\noverrun: 3\ndropped events: 4\n"), 7);
    }
}
