//! Parameters of the suite, and the processes by which a comparison takes it.

use std::path::PathBuf;

use clap::Args;

use super::{ALL, Place};
use crate::error::Failure;

/// Parameters of the suite; both sides of a comparison get the same.
#[derive(Args, Clone, Debug, Default)]
#[group(id = "calls-settings")]
pub struct Settings {
    /// Folder for the file that the file measures read and write [default: the temporary folder]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Take these measures alone (names as the table prints them)
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub only: Vec<String>,
    /// Calls of each measure that lets the proxy fall asleep first; 2 ms each [default: 1001]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub asleep_calls: Option<u32>,
    /// Show medians in cycles of the time-stamp counter, too; JSON always has them
    #[arg(long)]
    pub cycles: bool,
}

/// The fewest that have a 99.9th percentile.
pub(super) const ASLEEP_CALLS: u32 = 1001;

impl Settings {
    /// The options of the processes that together measure what these settings ask for on one core.
    pub fn processes(&self) -> Vec<Vec<String>> {
        let alone = self.wanted(Place::Alone).into_iter().map(|name| self.process(name));
        self.shared_process(Place::Shared).into_iter().chain(alone).collect()
    }

    /// For each of [`Settings::processes`]: whether a run of it that does not count goes before.
    pub fn rehearsals(&self) -> Vec<bool> {
        let shared = self.shared_process(Place::Shared).map(|_| false);
        shared.into_iter().chain(self.wanted(Place::Alone).iter().map(|_| true)).collect()
    }

    /// The options of the process that measures what takes several cores.
    pub fn across(&self) -> Option<Vec<String>> {
        self.shared_process(Place::Across)
    }

    fn shared_process(&self, place: Place) -> Option<Vec<String>> {
        let names = self.wanted(place);
        (!names.is_empty()).then(|| self.process(&names.join(",")))
    }

    fn wanted(&self, place: Place) -> Vec<&'static str> {
        ALL.iter().filter(|entry| entry.place == place && self.wants(entry.name)).map(|entry| entry.name).collect()
    }

    fn process(&self, names: &str) -> Vec<String> {
        let folder = self.dir.iter().map(|dir| format!("--dir={}", dir.display()));
        let asleep = self.asleep_calls.iter().map(|calls| format!("--asleep-calls={calls}"));
        folder.chain(asleep).chain([format!("--only={names}")]).collect()
    }

    /// Refuses names that no measure has.
    pub fn check(&self) -> Result<(), Failure> {
        let unknown = |name: &&String| !ALL.iter().any(|entry| entry.name == *name);
        let Some(name) = self.only.iter().find(unknown) else {
            return Ok(());
        };
        let known: Vec<&str> = ALL.iter().map(|entry| entry.name).collect();
        let message = format!("no measure is named {name}; choose from {}", known.join(", "));
        Err(Failure::with_status(2, message))
    }

    /// Whether the measure of this name is asked for.
    pub(super) fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|wanted| wanted == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_touches_get_processes_of_their_own() {
        let only = ["write-1", "first-touch-1g-huge", "getppid"].map(str::to_owned).to_vec();
        let settings = Settings { dir: Some("/d".into()), only, asleep_calls: Some(9), ..Settings::default() };
        let options = |names| ["--dir=/d", "--asleep-calls=9", names];
        let expected = [options("--only=getppid,write-1"), options("--only=first-touch-1g-huge")];
        assert_eq!(settings.processes(), expected);
        assert_eq!(settings.rehearsals(), [false, true]);
        assert_eq!(Settings::default().processes().len(), 3);
        assert_eq!(Settings::default().rehearsals(), [false, true, true]);
    }

    #[test]
    fn what_takes_several_cores_is_taken_apart() {
        let only = |names: &[&str]| Settings {
            only: names.iter().map(|name| (*name).to_owned()).collect(),
            ..Settings::default()
        };
        let both = only(&["getpid", "wake-other-core"]);
        assert_eq!(both.processes(), [["--only=getpid"]]);
        assert_eq!(both.across(), Some(vec!["--only=wake-other-core".to_owned()]));
        assert_eq!(only(&["getpid"]).across(), None);
        assert!(only(&["wake-other-core"]).processes().is_empty());
        let all: Vec<String> = Settings::default().processes().concat();
        assert!(!all.iter().any(|argument| argument.contains("wake-other-core")));
    }

    #[test]
    fn an_unknown_name_is_refused_as_usage() {
        let settings = Settings { only: vec!["getppid".to_owned(), "getpip".to_owned()], ..Settings::default() };
        let failure = settings.check().unwrap_err();
        assert_eq!(failure.status(), 2);
        assert!(failure.to_string().contains("getpip"));
    }
}
