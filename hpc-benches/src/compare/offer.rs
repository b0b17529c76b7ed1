//! Which platforms this node offers: process always, the others where `tacet doctor` says so and a cell has
//! started on them.
//!
//! Platforms that the user names are taken as they are: what they lack is a failure then, and not a gap.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use clap::ValueEnum;
use serde::Deserialize;

use super::launch;
use super::plan::Platform;
use super::result::WithoutPlatform;
use crate::error::Failure;

const DOCTOR_LIMIT: Duration = Duration::from_secs(60);
const TRIAL_LIMIT: Duration = Duration::from_secs(60);

/// What cells can be had on.
#[derive(Debug, PartialEq)]
pub struct Offer {
    /// The platforms to set against native.
    pub platforms: Vec<Platform>,
    /// The others, where nobody chose.
    pub without: Vec<WithoutPlatform>,
    /// Whether the user named them.
    is_asked_for: bool,
}

/// As much of `tacet doctor --json` as matters here.
#[derive(Deserialize)]
struct Examination {
    platforms: Vec<Outlook>,
}

#[derive(Deserialize)]
struct Outlook {
    platform: String,
    is_built: bool,
    /// `yes`, `no` or `unknown`.
    can_run: String,
    checks: Vec<Check>,
}

#[derive(Deserialize)]
struct Check {
    check: String,
    verdict: String,
}

impl Offer {
    /// The platforms `asked` for, else what `tacet` says of the node.
    pub fn of(asked: Option<&[Platform]>, tacet: &Path) -> Self {
        match asked {
            Some(platforms) => Self { platforms: platforms.to_vec(), without: Vec::new(), is_asked_for: true },
            None => Self::by(&examine(tacet)),
        }
    }

    fn by(examination: &Result<Examination, String>) -> Self {
        let mut offer = Self { platforms: Vec::new(), without: Vec::new(), is_asked_for: false };
        for &platform in Platform::value_variants() {
            match why_not(platform, examination) {
                None => offer.platforms.push(platform),
                Some(why) => offer.without.push(WithoutPlatform { platform: platform.name().to_owned(), why }),
            }
        }
        offer
    }

    /// Those on which a cell starts by `wrapper`, and why the others are left out. Only what nobody named is tried:
    /// a node may refuse what its doctor thinks possible, such as a core that somebody holds.
    pub fn tried(&self, wrapper: impl Fn(Platform) -> Vec<OsString>) -> (Vec<Platform>, Vec<WithoutPlatform>) {
        let mut without = Vec::new();
        let starts = |platform: &Platform| {
            if self.is_asked_for || *platform == Platform::Process {
                return true;
            }
            let trial = trial(&wrapper(*platform));
            trial.map_err(|why| without.push(WithoutPlatform { platform: platform.name().to_owned(), why })).is_ok()
        };
        let platforms = self.platforms.iter().copied().filter(starts).collect();
        (platforms, without)
    }
}

fn trial(wrapper: &[OsString]) -> Result<(), String> {
    let command = [wrapper, &["/bin/true".into()]].concat();
    let started = launch::run("a first cell", &command, None, TRIAL_LIMIT);
    started.map(|_| ()).map_err(|failure: Failure| failure.to_string())
}

/// What this `tacet` says of the node, or why it says nothing.
fn examine(tacet: &Path) -> Result<Examination, String> {
    let command = [tacet.into(), "doctor".into(), "--json".into()];
    let finished = launch::run("tacet doctor", &command, None, DOCTOR_LIMIT).map_err(|failure| failure.to_string())?;
    serde_json::from_str(&finished.stdout)
        .map_err(|error| format!("`{} doctor --json` says nothing that can be read: {error}", tacet.display()))
}

/// Why cells on `platform` are no side; process is one always, so that what is wrong with it is seen.
fn why_not(platform: Platform, examination: &Result<Examination, String>) -> Option<String> {
    if platform == Platform::Process {
        return None;
    }
    let examination = match examination {
        Ok(examination) => examination,
        Err(why) => return Some(why.clone()),
    };
    let Some(outlook) = examination.platforms.iter().find(|outlook| outlook.platform == platform.name()) else {
        return Some("this tacet does not know it".to_owned());
    };
    if !outlook.is_built {
        return Some("not built yet in this version of tacet".to_owned());
    }
    let of = |verdict: &str| -> Vec<&str> {
        let checks = outlook.checks.iter().filter(|check| check.verdict == verdict);
        checks.map(|check| check.check.as_str()).collect()
    };
    let (missing, unknown) = (of("missing").join(", "), of("unknown").join(", "));
    match (outlook.can_run.as_str(), missing.as_str(), unknown.as_str()) {
        ("yes", ..) => None,
        (_, "", "") => Some("`tacet doctor` says that cells can't run on it here".to_owned()),
        (_, "", unknown) => Some(format!("`tacet doctor` can't tell whether cells run on it here: {unknown}")),
        (_, missing, _) => Some(format!("this node lacks for it: {missing} (`tacet doctor` says how to get it)")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(text: &str) -> Offer {
        Offer::by(&serde_json::from_str(text).map_err(|error| error.to_string()))
    }

    fn platform(name: &str, is_built: bool, can_run: &str, checks: &str) -> String {
        format!(r#"{{"platform":"{name}","is_built":{is_built},"can_run":"{can_run}","checks":[{checks}]}}"#)
    }

    fn why(offer: &Offer, platform: &str) -> String {
        let without = offer.without.iter().find(|without| without.platform == platform);
        without.map_or_else(String::new, |without| without.why.clone())
    }

    #[test]
    fn what_the_doctor_allows_is_a_side() {
        let text = [platform("process", true, "yes", ""), platform("kvm", false, "no", "")].join(",");
        let partition = platform("partition", true, "yes", "");
        let all = offer(&format!(r#"{{"platforms":[{partition},{text}]}}"#));
        assert_eq!(all.platforms, [Platform::Process, Platform::Partition]);
        assert_eq!(why(&all, "kvm"), "not built yet in this version of tacet");

        let checks = r#"{"check":"root","verdict":"ok"},{"check":"/dev/mem","verdict":"missing"}"#;
        let partition = platform("partition", true, "no", checks);
        let some = offer(&format!(r#"{{"platforms":[{partition},{text}]}}"#));
        assert_eq!(some.platforms, [Platform::Process]);
        assert!(why(&some, "partition").starts_with("this node lacks for it: /dev/mem ("));

        let partition = platform("partition", true, "unknown", r#"{"check":"lockdown","verdict":"unknown"}"#);
        let unknown = offer(&format!(r#"{{"platforms":[{partition},{text}]}}"#));
        assert!(why(&unknown, "partition").ends_with("here: lockdown"));
    }

    #[test]
    fn without_a_word_of_the_doctor_there_is_process() {
        let offer = offer("no JSON");
        assert_eq!(offer.platforms, [Platform::Process]);
        assert_eq!(offer.without.len(), 2);
    }

    #[test]
    fn a_platform_that_starts_no_cell_is_left_out_unless_it_was_named() {
        let shell = |script: &str| ["/bin/sh", "-c", script].map(OsString::from).to_vec();
        let fails = |_| shell("echo tacet: core 1 is taken >&2; exit 3");
        let by_doctor =
            Offer { platforms: vec![Platform::Process, Platform::Partition], without: Vec::new(), is_asked_for: false };
        let (platforms, without) = by_doctor.tried(fails);
        assert_eq!(platforms, [Platform::Process]);
        assert!(without[0].why.contains("core 1 is taken"), "{without:?}");
        assert_eq!(by_doctor.tried(|_| shell("exit 0")).0, by_doctor.platforms);
        let named = Offer::of(Some(&[Platform::Partition]), Path::new("/nonexistent/tacet"));
        assert_eq!(named.tried(fails), (vec![Platform::Partition], Vec::new()));
    }
}
