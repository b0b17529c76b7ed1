//! The side `native-tuned`: whether there is one, and its runs on a tuned Linux.

use clap::ValueEnum;

use super::workload::Workload;
use crate::error::Failure;
use crate::machine::cpu_set::CpuSet;
use crate::machine::threads::is_root;
use crate::tuning::report::{Outcome, Tuning};
use crate::tuning::state::{Lock, PLACE, State};
use crate::tuning::system::Linux;
use crate::tuning::{Target, Tuner, recovery};

/// Linux as a side of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Baseline {
    /// As the node has it: side `native`
    Default,
    /// Tuned for the measured cores, by this program, for as long as a run lasts: side `native-tuned`
    Tuned,
}

/// What the node gives of the sides asked for.
pub struct Baselines {
    tuner: Result<Tuner, String>,
    is_asked_for: bool,
    // Keeps the node untuned by others meanwhile.
    _shared: Option<Lock>,
}

/// What a suite gets.
pub enum Tuned<'b> {
    /// A side `native-tuned`.
    Side(&'b Tuner, Target),
    /// None, and why.
    Without(String),
    /// None, as asked for.
    NotWanted,
}

const NOT_WANTED: &str = "";

/// Refuses what can't be compared.
pub fn check(asked: Option<&[Baseline]>) -> Result<(), Failure> {
    const WHY: &str = "all sides are compared with native: give --baseline default,tuned, or default alone";
    match asked.is_some_and(|asked| !asked.contains(&Baseline::Default)) {
        true => Err(Failure::with_status(2, WHY)),
        false => Ok(()),
    }
}

impl Baselines {
    /// `asked`: by the user; by default both where that can be.
    pub fn prepare(asked: Option<&[Baseline]>) -> Result<Self, Failure> {
        let is_asked_for = asked.is_some_and(|asked| asked.contains(&Baseline::Tuned));
        let state = State::at(PLACE);
        let without = |why: &str, state: &State| {
            Ok(Self { tuner: Err(why.to_owned()), is_asked_for, _shared: state.share(tell)? })
        };
        if asked.is_some() && !is_asked_for {
            return without(NOT_WANTED, &state);
        }
        if !is_root() {
            const WHY: &str = "only root can tune the node's Linux";
            return match is_asked_for {
                true => Err(Failure::new(format!("{WHY}: run tacet-bench as root, or give --baseline default"))),
                false => without(WHY, &state),
            };
        }
        let tuner = state.lock(tell).and_then(|lock| {
            let linux = Linux::at("/");
            recovery::before_tuning(&state, &linux, &lock)?;
            Tuner::new(Box::new(linux), state.clone(), lock)
        });
        match tuner {
            Err(failure) if is_asked_for => Err(failure),
            Err(failure) => without(&failure.to_string(), &state),
            Ok(tuner) => Ok(Self { tuner: Ok(tuner), is_asked_for, _shared: None }),
        }
    }

    /// Whether this suite has a tuned side. The node is tuned and put back once, to see what it allows.
    pub fn of(&self, workload: &Workload, core: usize, allowed: &[usize]) -> Result<Tuned<'_>, Failure> {
        let tuner = match &self.tuner {
            Ok(tuner) => tuner,
            Err(why) if why == NOT_WANTED => return Ok(Tuned::NotWanted),
            Err(why) => return Ok(Tuned::Without(why.clone())),
        };
        let measured: CpuSet = match workload.runs_on_one_core() {
            true => CpuSet::from_iter([core]),
            false => allowed.iter().copied().collect(),
        };
        let target = tuner.target(measured)?;
        let tuning = tuner.rehearse(&target)?;
        if tuning.is_any_applied() {
            return Ok(Tuned::Side(tuner, target));
        }
        let why = why_nothing(&tuning);
        match self.is_asked_for {
            true => Err(Failure::new(format!("{why}; give --baseline default"))),
            false => Ok(Tuned::Without(why)),
        }
    }
}

impl Tuned<'_> {
    /// Whether there is such a side.
    pub fn is_side(&self) -> bool {
        matches!(self, Self::Side(..))
    }

    /// Why there is none although nobody said that there should not be.
    pub fn why_not(&self) -> Option<String> {
        match self {
            Self::Without(why) => Some(why.clone()),
            _ => None,
        }
    }

    /// Does `work` on the tuned node, and keeps what applied.
    pub fn during<T>(
        &self,
        tunings: &mut Vec<Tuning>,
        work: impl FnOnce() -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let Self::Side(tuner, target) = self else { return work() };
        let (done, tuning) = tuner.during(target, work)?;
        tunings.push(tuning);
        Ok(done)
    }
}

fn tell(why: &str) {
    eprintln!("tacet-bench: {why}");
}

fn why_nothing(tuning: &Tuning) -> String {
    let already = tuning.items.iter().filter(|item| item.outcome == Outcome::AlreadySo).count();
    let refused = tuning.items.iter().find(|item| item.outcome == Outcome::NotPossible);
    let first = refused.map_or_else(String::new, |item| format!(", the first of them {}: {}", item.name, item.detail));
    format!(
        "nothing of this node's Linux can be tuned: {already} of {} settings are so already, the others are not possible{first}",
        tuning.items.len()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tuning::report::Item;

    #[test]
    fn native_must_be_among_the_sides() {
        assert_eq!(check(Some(&[Baseline::Tuned])).unwrap_err().status(), 2);
        for sides in [None, Some(&[Baseline::Default][..]), Some(&[Baseline::Tuned, Baseline::Default])] {
            assert!(check(sides).is_ok());
        }
    }

    #[test]
    fn a_node_that_allows_nothing_says_why() {
        let items = vec![Item::already("a", "0"), Item::not_possible("b", "read-only"), Item::not_possible("c", "x")];
        let tuning = Tuning { measured: "1".to_owned(), isolated: "1".to_owned(), items };
        let why = why_nothing(&tuning);
        assert!(
            why.ends_with(
                "1 of 3 settings are so already, the others are not possible, the first of them b: read-only"
            ),
            "{why}"
        );
    }
}
