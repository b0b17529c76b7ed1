//! Which platform a cell is to have.
//!
//! A platform that is asked for by name is taken or refused. `auto` takes the best that is
//! built, allowed and possible here, and knows why not a better one. Bare cores it takes only
//! where the node's administrator has said so: nobody's workstation loses cores by surprise.

use std::fmt;

use crate::cli::Platform;
use crate::config::Config;

/// All platforms, the best first.
pub const BEST_FIRST: [Platform; 3] = [Platform::Partition, Platform::Kvm, Platform::Process];

/// What this version has no code for.
pub const NOT_BUILT: &str = "not built yet in this version";

/// What it has.
const BUILT: [Platform; 2] = [Platform::Partition, Platform::Process];

/// Whether this version can run cells on it.
pub fn is_built(platform: Platform) -> bool {
    BUILT.contains(&platform)
}

/// What `auto` takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// The platform.
    pub platform: Platform,
    /// The better ones, and why each was passed over.
    pub passed_over: Vec<(Platform, String)>,
}

impl fmt::Display for Choice {
    /// `process; not partition: no; not kvm: no`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.platform)?;
        self.passed_over.iter().try_for_each(|(platform, why)| write!(f, "; not {platform}: {why}"))
    }
}

/// What `auto` takes, by what the administrator allows and what this node does not have:
/// `unmet` names the needs of a platform that are not met. It is asked only where that decides.
/// `process` is the last resort whatever it needs; its start says what is missing.
pub fn choose(config: &Config, unmet: impl Fn(Platform) -> Vec<String>) -> Choice {
    choose_among(&BUILT, config, unmet)
}

fn choose_among(built: &[Platform], config: &Config, unmet: impl Fn(Platform) -> Vec<String>) -> Choice {
    let why_not = |platform: Platform| {
        if !built.contains(&platform) {
            return Some(NOT_BUILT.to_owned());
        }
        not_allowed(platform, config).or_else(|| {
            let unmet = unmet(platform);
            (!unmet.is_empty()).then(|| format!("needs not met: {} (see `tacet doctor`)", unmet.join(", ")))
        })
    };
    let mut passed_over = Vec::new();
    for platform in BEST_FIRST.into_iter().filter(|platform| *platform != Platform::Process) {
        match why_not(platform) {
            Some(why) => passed_over.push((platform, why)),
            None => return Choice { platform, passed_over },
        }
    }
    Choice { platform: Platform::Process, passed_over }
}

/// Why `auto` may not take it although it could.
fn not_allowed(platform: Platform, config: &Config) -> Option<String> {
    let is_allowed = platform != Platform::Partition || config.partition.auto;
    (!is_allowed)
        .then(|| "the administrator has not allowed it (`[partition] auto = true` in /etc/tacet.toml)".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Partition;

    const ALLOWED: Config = Config { partition: Partition { auto: true } };

    fn none(_: Platform) -> Vec<String> {
        Vec::new()
    }

    #[test]
    fn what_is_not_built_is_passed_over() {
        let text = choose_among(&[Platform::Process], &ALLOWED, none).to_string();
        let expected = "process; not partition: not built yet in this version; not kvm: not built yet in this version";
        assert_eq!(text, expected);
        assert!(is_built(choose(&ALLOWED, none).platform));
    }

    #[test]
    fn bare_cores_need_the_administrators_word() {
        let choice = choose_among(&BEST_FIRST, &Config::default(), none);
        assert_eq!(choice.platform, Platform::Kvm);
        let line = choice.to_string();
        assert!(line.contains("/etc/tacet.toml") && line.contains("auto = true"), "{line}");
        let allowed = choose_among(&BEST_FIRST, &ALLOWED, none);
        assert_eq!(allowed, Choice { platform: Platform::Partition, passed_over: Vec::new() });
    }

    #[test]
    fn needs_decide_and_are_named() {
        let unmet = |platform| if platform == Platform::Kvm { none(platform) } else { vec!["a".into(), "b".into()] };
        let choice = choose_among(&BEST_FIRST, &ALLOWED, unmet);
        assert_eq!(choice.to_string(), "kvm; not partition: needs not met: a, b (see `tacet doctor`)");
    }

    #[test]
    fn the_last_resort_is_taken_whatever_it_needs() {
        let choice = choose_among(&BEST_FIRST, &ALLOWED, |_| vec!["x".to_owned()]);
        assert_eq!((choice.platform, choice.passed_over.len()), (Platform::Process, 2));
    }
}
