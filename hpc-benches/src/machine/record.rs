//! The record that every run keeps of its machine: a number without one proves nothing.
//!
//! What a machine does not tell is `None`, never a guess.

use std::env;
use std::fs;

use serde::{Deserialize, Serialize};

use super::{date, emulation};

/// The machine and what else it did while the run went on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Environment {
    /// Start of the run, UTC.
    pub date: String,
    /// The command line of this process.
    pub command_line: Vec<String>,
    /// Version of this program.
    pub version: String,
    /// CPU model of `/proc/cpuinfo`.
    pub cpu_model: Option<String>,
    /// Whether the CPU says that a hypervisor is below.
    pub virtual_machine: Option<bool>,
    /// Whether the processor is emulated in software: only counts mean something.
    #[serde(default, skip_serializing_if = "is_false")]
    pub emulated: bool,
    /// Release of the Linux kernel.
    pub kernel: Option<String>,
    /// What Linux keeps time by.
    pub clock_source: Option<String>,
    /// Frequency governor of the core measured.
    pub governor: Option<String>,
    /// Load averages (1, 5, 15 minutes) before the run.
    pub load_before: Option<[f64; 3]>,
    /// Load averages after the run.
    pub load_after: Option<[f64; 3]>,
    /// Share of all CPU time that the hypervisor took during the run, in percent.
    pub steal_percent: Option<f64>,
}

/// A run in progress.
pub struct Recorder {
    environment: Environment,
    cpu_time_before: Option<CpuTime>,
}

/// Sums of the `cpu` line of `/proc/stat`, in clock ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct CpuTime {
    total: u64,
    steal: u64,
}

impl Recorder {
    /// Notes the machine as it is before the run on `core`.
    pub fn start(core: Option<usize>) -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").ok();
        let cpuinfo_field = |key| cpuinfo.as_deref().and_then(|text| field(text, key));
        let environment = Environment {
            date: date::now(),
            command_line: env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            cpu_model: cpuinfo_field("model name").map(str::to_owned),
            virtual_machine: cpuinfo_field("flags")
                .map(|flags| flags.split_whitespace().any(|flag| flag == "hypervisor")),
            emulated: emulation::is_emulated(cpuinfo_field("model name")),
            kernel: read_line("/proc/sys/kernel/osrelease"),
            clock_source: read_line("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
            governor: core.and_then(governor_of),
            load_before: load(),
            load_after: None,
            steal_percent: None,
        };
        Self { environment, cpu_time_before: cpu_time() }
    }

    /// Adds the machine as it is after the run.
    pub fn finish(self) -> Environment {
        let steal_percent =
            self.cpu_time_before.zip(cpu_time()).and_then(|(before, after)| steal_percent(before, after));
        Environment { load_after: load(), steal_percent, ..self.environment }
    }
}

/// CPU model of `/proc/cpuinfo`.
pub fn cpu_model() -> Option<String> {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").ok()?;
    field(&cpuinfo, "model name").map(str::to_owned)
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_false(value: &bool) -> bool {
    !value
}

fn governor_of(core: usize) -> Option<String> {
    read_line(&format!("/sys/devices/system/cpu/cpu{core}/cpufreq/scaling_governor"))
}

fn read_line(path: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.trim();
    (!line.is_empty()).then(|| line.to_owned())
}

fn load() -> Option<[f64; 3]> {
    parse_load(&fs::read_to_string("/proc/loadavg").ok()?)
}

fn cpu_time() -> Option<CpuTime> {
    parse_cpu_time(&fs::read_to_string("/proc/stat").ok()?)
}

/// The value of `key : value`, first occurrence (proc(5), cpuinfo).
fn field<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.trim() == key)
        .map(|(_, value)| value.trim())
}

/// The three averages of `/proc/loadavg` (proc(5)).
fn parse_load(text: &str) -> Option<[f64; 3]> {
    let mut averages = text.split_whitespace().map(|word| word.parse().ok());
    Some([averages.next()??, averages.next()??, averages.next()??])
}

/// The sums of the first line of `/proc/stat`: user, nice, system, idle, iowait, irq, softirq,
/// steal. Guest time, which follows, is part of user time (proc(5)).
fn parse_cpu_time(text: &str) -> Option<CpuTime> {
    let columns = text.lines().next()?.strip_prefix("cpu ")?;
    let ticks: Vec<u64> = columns.split_whitespace().take(8).map(|word| word.parse().ok()).collect::<Option<_>>()?;
    Some(CpuTime { total: ticks.iter().sum(), steal: *ticks.get(7)? })
}

fn steal_percent(before: CpuTime, after: CpuTime) -> Option<f64> {
    let total = after.total.checked_sub(before.total)?;
    let steal = after.steal.checked_sub(before.steal)?;
    (total > 0).then(|| steal as f64 / total as f64 * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_fields_of_cpuinfo() {
        let text = "processor\t: 0\nmodel name\t: Some CPU @ 2.0GHz\nflags\t\t: fpu hypervisor\n";
        assert_eq!(field(text, "model name"), Some("Some CPU @ 2.0GHz"));
        assert_eq!(field(text, "flags"), Some("fpu hypervisor"));
        assert_eq!(field(text, "missing"), None);
    }

    #[test]
    fn reads_load_averages() {
        assert_eq!(parse_load("0.25 1.50 2.00 1/81 3280\n"), Some([0.25, 1.5, 2.0]));
        assert_eq!(parse_load("0.25 x"), None);
    }

    #[test]
    fn steal_is_a_share_of_the_time_between() {
        let before = parse_cpu_time("cpu  100 0 100 700 0 0 0 100 50 0\ncpu0 1\n").unwrap();
        let expected = CpuTime { total: 1000, steal: 100 };
        assert_eq!(before, expected);
        let after = parse_cpu_time("cpu  200 0 200 1450 0 0 0 150 50 0\n").unwrap();
        assert_eq!(steal_percent(before, after), Some(5.0));
        assert_eq!(steal_percent(before, before), None);
        assert_eq!(steal_percent(after, before), None);
    }

    #[test]
    fn a_foreign_stat_file_is_not_guessed_at() {
        assert_eq!(parse_cpu_time("intr 5\n"), None);
        assert_eq!(parse_cpu_time("cpu 1 2 3\n"), None);
    }
}
