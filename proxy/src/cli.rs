//! What the user types.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

use crate::node::cpus::{BadList, CpuSet};

/// Runs unmodified Linux programs on cores that are silent.
#[derive(Debug, Parser)]
#[command(name = "tacet", version, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Runs a program in a cell of its own
    Run(Run),
    /// Tells what this node can do, what is missing for more, and how to get it
    Doctor(Doctor),
    /// Lists your cells on this node
    Ps(Ps),
    /// Watches your cells on this node
    Top(Top),
    /// Gives back what dead cells left behind
    Reclaim(Reclaim),
}

const STATUSES: &str = "\
Exit status: that of the program; its death by a signal becomes the death of tacet by the same \
signal. Otherwise 2 for wrong usage, 70 when the kernel of the cell failed, 125 when tacet could \
not give what was asked for, 126 for a program that can't be executed, 127 for one that is not \
there.";

/// `tacet run`.
#[derive(Debug, Clone, Args)]
#[command(after_help = STATUSES)]
pub struct Run {
    /// How the cell is set apart from Linux
    #[arg(long, value_enum, default_value_t = Platform::Auto, value_name = "PLATFORM")]
    pub platform: Platform,

    /// Cores of the cell: how many (4), or which (0,2-3; core 1 alone is 1-1). Left out: this
    /// rank's share of the node
    #[arg(long, value_name = "N|LIST")]
    pub cores: Option<Cores>,

    /// Memory of the cell, at most: bytes, or with K, M, G, T, or % of what the node has. Left
    /// out: this rank's share of the node
    #[arg(long, value_name = "SIZE")]
    pub memory: Option<Size>,

    /// NUMA node of cores and memory
    #[arg(long, default_value_t = NumaChoice::Auto, value_name = "auto|N")]
    pub numa: NumaChoice,

    /// Tells on stderr, after the end, what the cell's cores were asked to do
    #[arg(long)]
    pub stats: bool,

    /// Tells what the cell would get, takes nothing and runs nothing
    #[arg(long)]
    pub dry_run: bool,

    /// How much to tell on stderr about what is decided
    #[arg(long, value_enum, default_value_t = Level::Warn, value_name = "LEVEL")]
    pub log: Level,

    /// The program and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "PROGRAM")]
    pub command: Vec<OsString>,
}

const DOCTOR_HELP: &str = "\
Looks only: takes nothing, changes nothing, and needs no privileges; what it can't see without \
them it calls unknown. What is missing is followed by the command or setting that supplies it.

Exit status: 0 when cells can run on at least one platform, 1 when they can't on any. Otherwise 2 \
for wrong usage, 125 when the configuration that --config names can't be used.";

/// `tacet doctor`.
#[derive(Debug, Args)]
#[command(after_help = DOCTOR_HELP)]
pub struct Doctor {
    /// Prints JSON, for machines
    #[arg(long)]
    pub json: bool,

    /// The administrator's configuration, instead of /etc/tacet.toml
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

const PS_HELP: &str = "\
CELL is the process number of the cell's proxy, PID that of the program. TOUCHED is how much of \
MEMORY has been used so far. STATE is reserved, booting, running, ended or failed as the cell \
itself says; dead when its proxy is gone and `tacet reclaim` has something to give back; corrupt \
when the cell says what makes no sense; unknown when it can't be looked at.";

/// `tacet ps`.
#[derive(Debug, Args)]
#[command(after_help = PS_HELP)]
pub struct Ps {
    /// Prints JSON, for machines
    #[arg(long)]
    pub json: bool,
}

const TOP_HELP: &str = "\
LOCAL/s are system calls that the cell's kernel answers itself, FORW/s those that are forwarded to \
Linux, FAULTS/s page faults, all by second; INVOL are entries into the kernel that nobody in the \
cell asked for, since its start. On a terminal the table is renewed until q or Ctrl-C; elsewhere one \
table follows the other.";

/// `tacet top`.
#[derive(Debug, Args)]
#[command(after_help = TOP_HELP)]
pub struct Top {
    /// A line for each core too
    #[arg(long)]
    pub cores: bool,

    /// Prints one table, after one interval, and ends
    #[arg(long, conflicts_with = "count")]
    pub once: bool,

    /// Ends after so many intervals
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub count: Option<u32>,

    /// From one look to the next: 0.1 to 3600
    #[arg(long, default_value = "1", value_name = "SECONDS")]
    pub interval: Interval,
}

const RECLAIM_HELP: &str = "\
A cell is dead when its proxy is gone without having given back what the cell held, because both \
it and its keeper were killed.

Exit status: 0 when everything was given back or there was nothing, 1 when something could not be \
given back.";

/// `tacet reclaim`.
#[derive(Debug, Args)]
#[command(after_help = RECLAIM_HELP)]
pub struct Reclaim {
    /// Tells what would be given back; gives nothing back
    #[arg(long)]
    pub dry_run: bool,
}

/// Time between two looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interval(pub Duration);

/// A text that is no time between two looks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a number of seconds from 0.1 to 3600")]
pub struct BadInterval(String);

impl FromStr for Interval {
    type Err = BadInterval;

    fn from_str(text: &str) -> Result<Self, BadInterval> {
        let seconds = text.parse().ok().filter(|seconds| (0.1..=3600.0).contains(seconds));
        seconds.map(|seconds| Interval(Duration::from_secs_f64(seconds))).ok_or_else(|| BadInterval(text.to_owned()))
    }
}

/// A platform by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Platform {
    /// The best that the node offers and allows
    Auto,
    /// A Linux process with pinned threads, fenced by seccomp
    Process,
    /// Bare cores taken out of Linux
    Partition,
    /// A virtual machine with pinned processors
    Kvm,
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Platform::Auto => "auto",
            Platform::Process => "process",
            Platform::Partition => "partition",
            Platform::Kvm => "kvm",
        })
    }
}

/// How much is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Level {
    Off,
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// Cores as the user asks for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cores {
    /// So many, of Tacet's choice.
    Count(u32),
    /// Exactly these.
    List(CpuSet),
}

/// A text that asks for no cores.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadCores {
    /// A count of zero or an empty list.
    #[error("a cell has at least one core")]
    None,
    /// Not a count and not a list either.
    #[error(transparent)]
    List(#[from] BadList),
}

impl FromStr for Cores {
    type Err = BadCores;

    fn from_str(text: &str) -> Result<Self, BadCores> {
        let cores = match text.parse() {
            Ok(count) => Cores::Count(count),
            Err(_) => Cores::List(text.parse()?),
        };
        match &cores {
            Cores::Count(0) => Err(BadCores::None),
            Cores::List(list) if list.is_empty() => Err(BadCores::None),
            _ => Ok(cores),
        }
    }
}

/// An amount of memory as the user asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// Bytes.
    Bytes(u64),
    /// Hundredths of what the node has.
    Percent(u8),
}

/// A text that is not a size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a size such as 512M, 2G or 50%")]
pub struct BadSize(String);

impl FromStr for Size {
    type Err = BadSize;

    fn from_str(text: &str) -> Result<Self, BadSize> {
        let bad = || BadSize(text.to_owned());
        if let Some(percent) = text.strip_suffix('%') {
            let percent = percent.parse().ok().filter(|percent| (1..=100).contains(percent));
            return percent.map(Size::Percent).ok_or_else(bad);
        }
        let shift = match text.chars().last().map(|letter| letter.to_ascii_uppercase()) {
            Some('K') => 10,
            Some('M') => 20,
            Some('G') => 30,
            Some('T') => 40,
            _ => 0,
        };
        let digits = if shift == 0 { text } else { &text[..text.len() - 1] };
        let number: u64 = digits.parse().map_err(|_| bad())?;
        let bytes = number.checked_mul(1 << shift).filter(|bytes| *bytes > 0);
        bytes.map(Size::Bytes).ok_or_else(bad)
    }
}

/// A NUMA node, or the one where the cores are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NumaChoice {
    /// Where the cores are.
    Auto,
    /// This one.
    Node(u32),
}

/// A text that names no NUMA node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither `auto` nor the number of a NUMA node")]
pub struct BadNuma(String);

impl FromStr for NumaChoice {
    type Err = BadNuma;

    fn from_str(text: &str) -> Result<Self, BadNuma> {
        match text {
            "auto" => Ok(NumaChoice::Auto),
            number => number.parse().map(NumaChoice::Node).map_err(|_| BadNuma(text.to_owned())),
        }
    }
}

impl fmt::Display for NumaChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NumaChoice::Auto => f.write_str("auto"),
            NumaChoice::Node(id) => write!(f, "{id}"),
        }
    }
}

/// clap's many lines about wrong usage as the one line that Tacet's errors have. `first` is the
/// first argument, which should be a subcommand.
pub fn one_line(error: &clap::Error, first: Option<&str>) -> String {
    let text = match error.kind() {
        // clap answers with the whole help.
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => "a subcommand is missing".to_owned(),
        _ => error.render().to_string(),
    };
    let is_advice = |part: &&str| part.starts_with("Usage:") || part.starts_with("For more information");
    let paragraphs = text.split("\n\n").take_while(|part| !is_advice(part));
    let said: Vec<&str> = paragraphs.flat_map(str::lines).map(str::trim).filter(|line| !line.is_empty()).collect();
    let said = said.join(" ");
    let said = said.strip_prefix("error: ").unwrap_or(&said).trim_end_matches('.');
    let command = Cli::command();
    let subcommand = first.and_then(|first| command.find_subcommand(first)).map(clap::Command::get_name);
    let words: Vec<&str> = ["tacet"].into_iter().chain(subcommand).chain(["--help"]).collect();
    format!("wrong usage: {said}; see `{}`", words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(words: &[&str]) -> Run {
        match Cli::try_parse_from([&["tacet", "run"], words].concat()).expect("right usage").command {
            Command::Run(run) => run,
            other => panic!("{other:?}"),
        }
    }

    fn wrong(words: &[&str]) -> String {
        let error = Cli::try_parse_from([&["tacet"], words].concat()).expect_err("wrong usage");
        assert_eq!(error.exit_code(), 2);
        one_line(&error, words.first().copied())
    }

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_program_takes_all_that_follows() {
        let parsed = run(&["--cores", "2", "--", "./a.out", "--stats", "-x", "--"]);
        assert_eq!(parsed.command, ["./a.out", "--stats", "-x", "--"]);
        assert!(!parsed.stats && parsed.cores == Some(Cores::Count(2)));
        assert_eq!(run(&["./a.out", "--stats"]).command, ["./a.out", "--stats"]);
        assert_eq!(run(&["--", "--stats"]).command, ["--stats"]);
    }

    #[test]
    fn counts_and_lists_of_cores() {
        let list = |text: &str| Cores::List(text.parse().expect("a list"));
        for (text, cores) in [("4", Cores::Count(4)), ("0,2-3", list("0,2-3")), ("1-1", list("1")), ("1,", list("1"))] {
            assert_eq!(text.parse(), Ok(cores));
        }
        for text in ["0", "", ",", "zero", "3-1", "-2"] {
            assert!(text.parse::<Cores>().is_err(), "{text}");
        }
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [("4096", 4096), ("2k", 2048), ("512M", 512 << 20), ("2G", 2 << 30), ("999T", 999 << 40)] {
            assert_eq!(text.parse(), Ok(Size::Bytes(bytes)));
        }
        assert_eq!("50%".parse(), Ok(Size::Percent(50)));
        for text in ["", "M", "0", "0G", "0%", "101%", "lots", "1.5G", "-1", "99999999T", "1é"] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
    }

    #[test]
    fn numa_nodes() {
        assert_eq!("auto".parse(), Ok(NumaChoice::Auto));
        assert_eq!("3".parse(), Ok(NumaChoice::Node(3)));
        assert!("north".parse::<NumaChoice>().is_err());
    }

    #[test]
    fn intervals() {
        for (text, milliseconds) in [("1", 1000), ("0.1", 100), ("2.5", 2500), ("3600", 3_600_000)] {
            assert_eq!(text.parse(), Ok(Interval(Duration::from_millis(milliseconds))));
        }
        for text in ["", "0", "0.09", "-1", "3601", "NaN", "inf", "1s"] {
            assert!(text.parse::<Interval>().is_err(), "{text}");
        }
    }

    #[test]
    fn wrong_usage_is_one_line_that_names_it() {
        for (words, named) in [
            (&["run", "--cores", "zero", "x"][..], "--cores"),
            (&["run", "--no-such-option", "x"], "--no-such-option"),
            (&["run", "--platform", "toaster", "x"], "toaster"),
            (&["run"], "PROGRAM"),
            (&["run", "--no-such-option", "x"], "tacet run --help"),
            (&["walk"], "walk"),
            (&["walk"], "`tacet --help`"),
            (&["ps", "--colour"], "tacet ps --help"),
            (&["top", "--interval", "0"], "0.1 to 3600"),
            (&["top", "--once", "--count", "2"], "--count"),
            (&["top", "--count", "0"], "--count"),
            (&["top", "--count", "0"], "tacet top --help"),
            (&["doctor", "--config"], "--config"),
            (&["reclaim", "7"], "'7'"),
            (&[], "subcommand"),
            (&[], "`tacet --help`"),
        ] {
            let line = wrong(words);
            assert!(!line.contains("more information") && !line.contains("Usage:"), "{line}");
            assert!(line.contains(named) && !line.contains('\n') && line.len() < 300, "{line}");
        }
    }
}
