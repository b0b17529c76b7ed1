//! What the environment says of the run: on which platform the cells are, and how slow the machine is.
//!
//! | variable | |
//! | --- | --- |
//! | `TACET_TEST_PLATFORM` | `partition`: cells on bare cores, one each unless the test says otherwise |
//! | `TACET_TEST_SLOWDOWN` | a number that every deadline is multiplied by |
//! | `TACET_TEST_REDUCTION` | a number that the amounts of data are divided by |

use crate::node;
use std::ffi::{OsStr, OsString};
use std::time::Duration;

/// Memory of a cell on bare cores, where the case names none: it is really taken.
const MEMORY: &str = "256M";

/// The name of a platform in a test's environment, where it is not the default.
pub fn name() -> Option<String> {
    std::env::var("TACET_TEST_PLATFORM").ok().filter(|name| !name.is_empty())
}

/// Whether cells are on bare cores.
pub fn is_partition() -> bool {
    name().as_deref() == Some("partition")
}

fn number(variable: &str) -> u32 {
    let Ok(text) = std::env::var(variable) else { return 1 };
    text.parse().ok().filter(|number| *number > 0).unwrap_or_else(|| panic!("{variable}={text}: a number from 1 on"))
}

/// A deadline on this machine.
pub fn patience(limit: Duration) -> Duration {
    limit * number("TACET_TEST_SLOWDOWN")
}

/// An amount of data on this machine.
pub fn reduced(amount: u64) -> u64 {
    amount / u64::from(number("TACET_TEST_REDUCTION"))
}

/// `--cores` for a cell of `count` cores: the first ones, or any where the first one can't be had.
pub fn cores(count: usize) -> [String; 2] {
    // A single number would be how many.
    let list = format!("0-{}", count.saturating_sub(1));
    ["--cores".to_owned(), if is_partition() { count.to_string() } else { list }]
}

/// `tacet run` with these options and what the platform adds, up to the program.
pub fn tacet_run<S: AsRef<OsStr>>(options: &[S]) -> Vec<OsString> {
    let mut words = vec![node::tacet().into_os_string(), "run".into()];
    let has = |name: &str| options.iter().any(|option| option.as_ref() == name);
    if let Some(name) = name()
        && !has("--platform")
    {
        words.extend(["--platform".into(), name.into()]);
        if !has("--cores") {
            words.extend(["--cores".into(), "1".into()]);
        }
        if !has("--memory") {
            words.extend(["--memory".into(), MEMORY.into()]);
        }
    }
    words.extend(options.iter().map(|option| option.as_ref().to_owned()));
    words.push("--".into());
    words
}
