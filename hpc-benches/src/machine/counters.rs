//! What Linux counts on one core, read from `/proc`.
//!
//! The files are the node's and name cores by the host's numbers, natively as in a cell, so that both sides are
//! read the same way. Where Linux does not run a core (a cell on bare cores), it counts nothing there, and that
//! is said instead of zeros.
//!
//! Source of the formats: proc_interrupts(5), proc_softirqs(5), proc_stat(5), proc_pid_stat(5),
//! proc_pid_status(5), and Documentation/scheduler/sched-stats.rst of Linux.

use std::fs;
use std::path::{Path, PathBuf};

use super::calls;

/// A count with the name that its file gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    /// What is counted.
    pub name: String,
    /// How often it came since Linux started.
    pub count: u64,
}

/// What Linux keeps of a thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Task {
    /// Its number.
    pub id: u64,
    /// Time that it ran, in nanoseconds where Linux tells, else in clock ticks.
    pub ran: u64,
    /// How often it lost its core to another task.
    pub switches: u64,
    /// Time that it waited for a core though it could have run, in nanoseconds; none where Linux does not tell.
    pub waited_ns: Option<u64>,
    /// Page faults, minor and major.
    pub faults: u64,
}

/// The counters of one core at one moment; the reason where one can't be read.
#[derive(Clone, Debug)]
pub struct Counters {
    /// `/proc/interrupts`.
    pub interrupts: Result<Vec<Counted>, String>,
    /// `/proc/softirqs`.
    pub softirqs: Result<Vec<Counted>, String>,
    /// Time that the hypervisor took from this core, in clock ticks: `/proc/stat`.
    pub steal_ticks: Result<u64, String>,
    /// The measuring thread; in a cell all threads of its process that Linux has on the core, as one of them
    /// carries it.
    pub tasks: Result<Vec<Task>, String>,
}

/// A core whose counters are to be read twice.
pub struct Watched {
    core: usize,
    is_cell: bool,
    /// Why nothing is counted there: some files list cores that were taken out of Linux, with what was before.
    is_linux: Result<(), String>,
}

impl Watched {
    /// The calling thread on `core`.
    pub fn new(core: usize) -> Self {
        Self { core, is_cell: calls::tacet_ring_nop().is_ok(), is_linux: is_run_by_linux(core) }
    }

    /// Reads before what is measured: what changes fastest comes last.
    pub fn read_before(&self) -> Counters {
        let (steal_ticks, softirqs) = (self.steal(), self.softirqs());
        let tasks = self.tasks();
        Counters { steal_ticks, softirqs, tasks, interrupts: self.interrupts() }
    }

    /// Reads after it: what changes fastest comes first.
    pub fn read_after(&self) -> Counters {
        let interrupts = self.interrupts();
        let tasks = self.tasks();
        Counters { interrupts, tasks, softirqs: self.softirqs(), steal_ticks: self.steal() }
    }

    fn interrupts(&self) -> Result<Vec<Counted>, String> {
        self.is_linux.clone()?;
        column(&read("/proc/interrupts")?, self.core).ok_or_else(|| self.no_column("/proc/interrupts"))
    }

    fn softirqs(&self) -> Result<Vec<Counted>, String> {
        self.is_linux.clone()?;
        column(&read("/proc/softirqs")?, self.core).ok_or_else(|| self.no_column("/proc/softirqs"))
    }

    fn steal(&self) -> Result<u64, String> {
        self.is_linux.clone()?;
        steal_of(&read("/proc/stat")?, self.core).ok_or_else(|| self.no_column("/proc/stat"))
    }

    fn no_column(&self, file: &str) -> String {
        format!("{file} has nothing on core {}", self.core)
    }

    /// A cell's program has no Linux thread of its own.
    fn tasks(&self) -> Result<Vec<Task>, String> {
        self.is_linux.clone()?;
        if !self.is_cell {
            return task_in(Path::new("/proc/thread-self")).map(|(task, _)| vec![task]);
        }
        let folders = fs::read_dir("/proc/self/task").map_err(|error| format!("/proc/self/task: {error}"))?;
        Ok(folders
            .filter_map(|folder| task_in(&folder.ok()?.path()).ok())
            .filter(|(_, core)| *core == self.core)
            .map(|(task, _)| task)
            .collect())
    }
}

/// Whether Linux runs `core`; the reason why nothing can be known of it otherwise. Not by `online` of /sys, in which
/// a cell sees its own cores.
pub fn is_run_by_linux(core: usize) -> Result<(), String> {
    match read("/proc/stat") {
        Ok(stat) if steal_of(&stat, core).is_none() => {
            Err(format!("Linux does not run core {core} and counts nothing there"))
        }
        // Each file tells by itself what it has.
        Ok(_) | Err(_) => Ok(()),
    }
}

fn read(path: &str) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))
}

/// The task described in `folder`, and the core that it was on last.
fn task_in(folder: &Path) -> Result<(Task, usize), String> {
    let file = |name: &str| {
        let path: PathBuf = folder.join(name);
        fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))
    };
    let (stat, status) = (file("stat")?, file("status")?);
    let scheduled = file("schedstat").ok().and_then(|text| ran_and_waited(&text));
    let unknown = || format!("{} has another layout than proc(5) says", folder.display());
    let (mut task, core) = task_and_core(&stat).ok_or_else(unknown)?;
    task.switches = involuntary_switches(&status).ok_or_else(unknown)?;
    if let Some((ran, waited)) = scheduled {
        (task.ran, task.waited_ns) = (ran, Some(waited));
    }
    Ok((task, core))
}

/// The counts of `core` in a table with one column per core, under a line that names the cores. Lines with
/// fewer numbers than there are cores are not about cores. None when the core has no column.
fn column(text: &str, core: usize) -> Option<Vec<Counted>> {
    let mut lines = text.lines();
    let cores: Vec<&str> = lines.next()?.split_whitespace().collect();
    let place = cores.iter().position(|name| name.strip_prefix("CPU").is_some_and(|n| n.parse() == Ok(core)))?;
    Some(lines.filter_map(|line| counted(line, cores.len(), place)).collect())
}

fn counted(line: &str, cores: usize, place: usize) -> Option<Counted> {
    let (name, rest) = line.trim_start().split_once(':')?;
    let mut numbers = Vec::with_capacity(cores);
    let mut rest = rest.trim_start();
    for _ in 0..cores {
        let (number, after) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        numbers.push(number.parse::<u64>().ok()?);
        rest = after.trim_start();
    }
    // Of a device's line the action comes last, after chip and hardware number: the words of "Local timer
    // interrupts" belong together and have single spaces.
    let description = match name.parse::<u32>() {
        Ok(_) => rest.rsplit("  ").next().unwrap_or(rest).trim(),
        Err(_) => rest.trim(),
    };
    let name = if description.is_empty() { name.to_owned() } else { format!("{name} {description}") };
    Some(Counted { name, count: *numbers.get(place)? })
}

/// The eighth number of `cpuN` in `/proc/stat`.
fn steal_of(text: &str, core: usize) -> Option<u64> {
    let label = format!("cpu{core}");
    let columns =
        text.lines().map(str::split_whitespace).find_map(|mut words| (words.next()? == label).then_some(words));
    columns?.nth(7)?.parse().ok()
}

/// Number, page faults (minflt + majflt, fields 10 and 12), time (utime + stime, fields 14 and 15) and processor
/// (field 39) of a `stat` file. The name of the program, in parentheses, may hold spaces and parentheses itself.
fn task_and_core(stat: &str) -> Option<(Task, usize)> {
    let (id, _) = stat.split_once(' ')?;
    let (_, after_name) = stat.rsplit_once(')')?;
    // The first of these is field 3.
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    let (faults, ran) = (number(10)? + number(12)?, number(14)? + number(15)?);
    let task = Task { id: id.parse().ok()?, ran, faults, ..Task::default() };
    Some((task, usize::try_from(number(39)?).ok()?))
}

/// The first two numbers of `schedstat`: time on a core and time of waiting for one.
fn ran_and_waited(text: &str) -> Option<(u64, u64)> {
    let mut numbers = text.split_whitespace().map(|word| word.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

fn involuntary_switches(status: &str) -> Option<u64> {
    status.lines().find_map(|line| line.strip_prefix("nonvoluntary_ctxt_switches:"))?.trim().parse().ok()
}

#[cfg(test)]
#[path = "counters_tests.rs"]
mod tests;
