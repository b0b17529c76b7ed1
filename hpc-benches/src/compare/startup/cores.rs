//! When Linux has the core again that a cell took out of it.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::super::launch;
use super::super::side::Side;
use super::Found;
use super::probe::{self, Passage};
use crate::compare::Platform;
use crate::error::Failure;
use crate::machine::clock::Clock;
use crate::machine::tsc;
use crate::report::Measure;

const NAME: &str = "cores-back";
/// How long after the end of `tacet` the core may still be away.
const PATIENCE: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_micros(100);

/// How a core came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    /// It was never away.
    Never,
    /// It went and was not seen again.
    Gone,
    /// It was online again at this reading of the counter.
    Back(u64),
}

/// Runs `command`; takes the time from the program's exit until the core is online.
pub fn measure(
    clock: &Clock,
    label: &str,
    side: &Side,
    command: &[OsString],
    limit: Duration,
) -> Result<Found, Failure> {
    let core = match (side.platform(), side.core) {
        (None, _) => return Ok(Found::none("Linux has its cores all the time")),
        (Some(Platform::Partition), Some(core)) => core,
        (Some(platform), _) => return Ok(Found::none(format!("{} takes no core out of Linux", platform.name()))),
    };
    let file = PathBuf::from(format!("/sys/devices/system/cpu/cpu{core}/online"));
    let ended = AtomicBool::new(false);
    let (finished, seen) = thread::scope(|scope| {
        let watch = scope.spawn(|| watch(|| fs::read_to_string(&file).ok(), &ended, PATIENCE));
        let finished = launch::run(label, command, side.pin, limit);
        ended.store(true, Ordering::Release);
        (finished, watch.join().unwrap_or(Seen::Never))
    });
    let passage = Passage::read(&side.name, &finished?.stdout)?;
    Ok(match seen {
        Seen::Never => Found::none(format!("core {core} was not seen to leave Linux")),
        Seen::Gone => Found::none(format!("core {core} did not come back within {} s", PATIENCE.as_secs())),
        Seen::Back(at) => Found {
            measures: probe::nanoseconds(clock, passage.exit, at)
                .map(|nanoseconds| Measure::time(NAME, vec![nanoseconds]))
                .into_iter()
                .collect(),
            reason: probe::COUNTERS_DIFFER.to_owned(),
        },
    })
}

/// Looks at the core until it has been away and is back, or for `patience` after the end.
fn watch(online: impl Fn() -> Option<String>, ended: &AtomicBool, patience: Duration) -> Seen {
    let mut gone = false;
    let mut end: Option<Instant> = None;
    loop {
        match (online().as_deref().map(str::trim), gone) {
            (Some("0"), _) => gone = true,
            (Some("1"), true) => return Seen::Back(tsc::end()),
            _ => {}
        }
        if end.is_none() && ended.load(Ordering::Acquire) {
            end = Some(Instant::now());
        }
        match end {
            Some(_) if !gone => return Seen::Never,
            Some(end) if end.elapsed() > patience => return Seen::Gone,
            _ => thread::sleep(LOOK),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// What a core says that is online, then away, then online.
    fn replay(states: &[&'static str]) -> impl Fn() -> Option<String> {
        let at = Cell::new(0);
        let states = states.to_vec();
        move || {
            let state = states[at.get().min(states.len() - 1)];
            at.set(at.get() + 1);
            Some(format!("{state}\n"))
        }
    }

    #[test]
    fn a_core_that_went_and_came_is_back() {
        let before = tsc::end();
        let seen = watch(replay(&["1", "1", "0", "0", "1"]), &AtomicBool::new(false), PATIENCE);
        assert!(matches!(seen, Seen::Back(at) if at > before), "{seen:?}");
    }

    #[test]
    fn a_core_that_stays_away_is_gone() {
        let seen = watch(replay(&["1", "0"]), &AtomicBool::new(true), Duration::ZERO);
        assert_eq!(seen, Seen::Never, "the end came before it left");
        let seen = watch(replay(&["0"]), &AtomicBool::new(true), Duration::ZERO);
        assert_eq!(seen, Seen::Gone);
    }
}
