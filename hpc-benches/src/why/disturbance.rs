//! A source that disturbed the core, in words, with what would remove it.

use serde::Serialize;

/// What kind of source it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// The timer of the core itself.
    TimerTick,
    /// A device.
    DeviceInterrupt,
    /// Another core.
    InterProcessorInterrupt,
    /// NMIs, thermal events, machine checks and the like.
    MachineInterrupt,
    /// Work that interrupts left behind.
    Softirq,
    /// A thread of Linux's own.
    KernelThread,
    /// A thread of a program.
    Process,
    /// Another processor of the same physical core.
    SmtSibling,
    /// The clock of the core.
    Frequency,
    /// The hypervisor.
    Steal,
}

/// One source.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Disturbance {
    /// Its kind.
    pub source: Source,
    /// Its name.
    pub name: String,
    /// How often; none for what can't be counted.
    pub count: Option<u64>,
    /// Count and milliseconds are upper bounds.
    pub at_most: bool,
    /// Times per second.
    pub per_second: Option<f64>,
    /// How long altogether, where that is known.
    pub milliseconds: Option<f64>,
    /// What it is.
    pub words: String,
    /// What would remove it.
    pub remedy: String,
    /// The command that does, where one does at once. It needs root.
    pub command: Option<String>,
}

/// What is known of a kind of disturbance.
pub struct Advice {
    /// What it is.
    pub words: String,
    /// What would remove it.
    pub remedy: String,
    /// The command.
    pub command: Option<String>,
}

impl Advice {
    /// Without a command.
    pub fn new(words: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { words: words.into(), remedy: remedy.into(), command: None }
    }

    /// With the command that does it.
    pub fn by(self, command: impl Into<String>) -> Self {
        Self { command: Some(command.into()), ..self }
    }

    /// The disturbance that came `count` times within `seconds`.
    pub fn counted(self, source: Source, name: &str, count: u64, seconds: f64) -> Disturbance {
        Disturbance {
            count: Some(count),
            per_second: (seconds > 0.0).then(|| count as f64 / seconds),
            ..self.uncounted(source, name)
        }
    }

    /// The disturbance that nobody counts.
    pub fn uncounted(self, source: Source, name: &str) -> Disturbance {
        Disturbance {
            source,
            name: name.to_owned(),
            count: None,
            at_most: false,
            per_second: None,
            milliseconds: None,
            words: self.words,
            remedy: self.remedy,
            command: self.command,
        }
    }
}
