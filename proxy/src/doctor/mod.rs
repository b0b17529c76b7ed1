//! `tacet doctor`: what each platform needs, what this node has, and what would supply the rest.
//!
//! [`system`] reads the machine, the other modules judge it, [`text`] prints the judgement.
//! Nothing is taken and nothing changed; whoever has no privileges sees less, and is told so.

mod common;
mod fact;
mod hosted;
mod partition;
mod system;
mod text;

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::cli::{Doctor, Platform};
use crate::config::{Config, ConfigError};
use crate::error::Error;
use crate::platform::{self, Choice};
use crate::reserve::ledger;
use fact::{Fact, Verdict};
use system::System;

/// Exit status when cells can run on no platform.
const NO_PLATFORM: u8 = 1;

/// All that was looked at.
#[derive(Debug)]
struct Examination {
    /// What every platform needs.
    common: Vec<Fact>,
    /// What each needs besides, the best first.
    platforms: Vec<(Platform, Vec<Fact>)>,
}

/// What can be said of a platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outlook {
    /// Cells run on it.
    Yes,
    /// They don't.
    No,
    /// Something about it can't be seen from here.
    Unknown,
}

impl Outlook {
    fn name(self) -> &'static str {
        match self {
            Outlook::Yes => "yes",
            Outlook::No => "no",
            Outlook::Unknown => "unknown",
        }
    }
}

impl Examination {
    fn of(root: &Path, config: &Result<Config, ConfigError>, ledger: &Path) -> Self {
        let system = System::read(root);
        let common = common::facts(&system, config, ledger);
        let mut bare = partition::facts(&system);
        bare.push(hosted::watchdog(&system));
        let platforms = vec![
            (Platform::Partition, bare),
            (Platform::Kvm, hosted::kvm(&system)),
            (Platform::Process, hosted::process(&system)),
        ];
        Examination { common, platforms }
    }

    /// What a platform needs, the common needs included.
    fn needs(&self, platform: Platform) -> impl Iterator<Item = &Fact> {
        let own = self.platforms.iter().filter(move |(name, _)| *name == platform);
        self.common.iter().chain(own.flat_map(|(_, facts)| facts))
    }

    /// The names of its needs that are not met, as far as is known.
    fn unmet(&self, platform: Platform) -> Vec<String> {
        self.needs(platform).filter(|fact| fact.is_unmet()).map(|fact| fact.check.clone()).collect()
    }

    fn outlook(&self, platform: Platform) -> Outlook {
        let has = |verdict| self.needs(platform).any(|fact| fact.verdict == verdict);
        match (platform::is_built(platform), has(Verdict::Missing), has(Verdict::Unknown)) {
            (false, ..) | (_, true, _) => Outlook::No,
            (.., true) => Outlook::Unknown,
            _ => Outlook::Yes,
        }
    }

    /// What `auto` takes; nothing while the configuration can't be used.
    fn choice(&self, config: &Result<Config, ConfigError>) -> Option<Choice> {
        config.as_ref().ok().map(|config| platform::choose(config, |platform| self.unmet(platform)))
    }

    fn can_run(&self) -> bool {
        self.platforms.iter().any(|(platform, _)| self.outlook(*platform) != Outlook::No)
    }
}

/// The platform for a cell that was asked for: the named one, or what `auto` takes on this node by
/// what its administrator has decided.
///
/// # Errors
/// A platform that is not built; a configuration that can't be used.
pub fn choose(asked: Platform, root: &Path) -> Result<Choice, Error> {
    match asked {
        Platform::Auto => {
            let config = Config::of_node(root)?;
            let unmet = |platform| Examination::of(root, &Ok(config), &place_of_ledger()).unmet(platform);
            Ok(platform::choose(&config, unmet))
        }
        named if platform::is_built(named) => Ok(Choice { platform: named, passed_over: Vec::new() }),
        other => Err(Error::NotBuilt(other)),
    }
}

/// Examines this node: what to print, and the exit status.
///
/// # Errors
/// Those of a configuration that the user has named. That of the node is part of the examination.
pub fn doctor(options: &Doctor, root: &Path) -> Result<(String, u8), ConfigError> {
    let config = match &options.config {
        Some(path) => Ok(Config::read(path)?),
        None => Config::of_node(root),
    };
    let examination = Examination::of(root, &config, &place_of_ledger());
    let choice = examination.choice(&config);
    let told = match options.json {
        true => as_json(&examination, choice.as_ref()),
        false => text::text(&examination, choice.as_ref()),
    };
    Ok((told, if examination.can_run() { 0 } else { NO_PLATFORM }))
}

/// This user's ledger, below the root of the file tree.
fn place_of_ledger() -> PathBuf {
    let place = ledger::place_of_this_user();
    place.strip_prefix("/").unwrap_or(&place).to_owned()
}

fn as_json(examination: &Examination, choice: Option<&Choice>) -> String {
    let platforms = examination.platforms.iter().map(|(platform, facts)| {
        json!({
            "platform": platform.to_string(),
            "is_built": platform::is_built(*platform),
            "can_run": examination.outlook(*platform).name(),
            "checks": facts,
        })
    });
    let choice = choice.map(|choice| {
        let why = |(platform, why): &(Platform, String)| json!({ "platform": platform.to_string(), "why": why });
        json!({
            "platform": choice.platform.to_string(),
            "passed_over": choice.passed_over.iter().map(why).collect::<Vec<_>>(),
        })
    });
    let all = json!({
        "auto": choice,
        "can_run": examination.can_run(),
        "common": examination.common,
        "platforms": platforms.collect::<Vec<Value>>(),
    });
    format!("{all:#}\n")
}

#[cfg(test)]
#[path = "doctor_tests.rs"]
mod tests;
