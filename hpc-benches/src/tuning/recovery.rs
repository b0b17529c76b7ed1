//! Putting back what a killed tacet-bench has left, unasked at the next start and by `tacet-bench restore`.

use super::journal::GivenBack;
use super::state::{Lock, PLACE, Recovered, State};
use super::system::{Linux, System};
use crate::error::Failure;
use crate::machine::threads::is_root;

/// At the start of every command. What can't be put back is no reason not to do what was asked for: it is told,
/// and only who tunes the node himself insists on it.
pub fn at_start() {
    let state = State::at(PLACE);
    if !state.has_journal() || !is_root() {
        return;
    }
    match state.recover(&Linux::at("/")) {
        Ok(None) => {}
        Ok(Some(recovered)) => eprintln!("tacet-bench: {}", words(&recovered)),
        Err(failure) => eprintln!("tacet-bench: {failure}"),
    }
}

/// Before a tuning begins: the node must be as its owner wants it.
pub fn before_tuning(state: &State, system: &dyn System, lock: &Lock) -> Result<(), Failure> {
    match state.recover_locked(system, lock)? {
        None => Ok(()),
        Some(recovered) => {
            eprintln!("tacet-bench: {}", words(&recovered));
            incomplete(&recovered.given_back)
        }
    }
}

/// `tacet-bench restore`: what is to be printed.
pub fn restore() -> Result<String, Failure> {
    restore_at(&State::at(PLACE), &Linux::at("/"), is_root())
}

fn restore_at(state: &State, system: &dyn System, is_root: bool) -> Result<String, Failure> {
    if !state.has_journal() {
        return Ok("nothing to put back: no tacet-bench has left this node tuned".to_owned());
    }
    if !is_root {
        return Err(Failure::new("a tacet-bench of root's has tuned this node; run tacet-bench restore as root"));
    }
    match state.recover(system)? {
        Some(recovered) => {
            let words = words(&recovered);
            incomplete(&recovered.given_back).map(|()| words)
        }
        None => {
            let owner = state.owner().map_or_else(String::new, |owner| format!(" ({})", owner.process));
            Err(Failure::new(format!(
                "another tacet-bench{owner} is at work and puts everything back itself; wait for its end, or end it with SIGTERM"
            )))
        }
    }
}

/// A failure when something is not put back.
pub(super) fn incomplete(given_back: &GivenBack) -> Result<(), Failure> {
    match given_back.failed.is_empty() {
        true => Ok(()),
        false => Err(Failure::new(format!(
            "the node's Linux is not put back completely: {}; see what holds it, then run: tacet-bench restore",
            given_back.failed.join("; ")
        ))),
    }
}

fn words(recovered: &Recovered) -> String {
    let Recovered { process, date, given_back } = recovered;
    let mut text = format!(
        "put back what tacet-bench {process}, which was killed, had changed on this node at {date}: {} changes",
        given_back.count
    );
    for left in &given_back.left {
        text += &format!("; left as it is: {left}");
    }
    for failed in &given_back.failed {
        text += &format!("; NOT put back: {failed}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tuning::fake::Fake;
    use crate::tuning::tests::killed::tuned_and_killed;

    #[test]
    fn restore_says_what_it_did() {
        let fake = Fake::new();
        let state = State::at(fake.state());
        let restore = |is_root| restore_at(&state, &fake, is_root).map_err(|failure| failure.to_string());
        assert!(restore(true).unwrap().starts_with("nothing to put back"));
        tuned_and_killed(&fake);
        assert!(restore(false).unwrap_err().ends_with("as root"));
        let words = restore(true).unwrap();
        let process = std::process::id();
        assert!(words.starts_with(&format!("put back what tacet-bench {process}, which was killed")), "{words}");
        assert!(restore(true).unwrap().starts_with("nothing to put back"));
    }

    #[test]
    fn restore_leaves_a_living_owner_alone_and_tells_what_fails() {
        let fake = Fake::new();
        let state = State::at(fake.state());
        tuned_and_killed(&fake);
        let lock = state.lock(|why| panic!("{why}")).unwrap();
        let failure = restore_at(&state, &fake, true).unwrap_err().to_string();
        assert!(failure.contains("is at work"), "{failure}");
        drop(lock);
        fake.refuse("/proc/sys/vm/stat_interval", libc::EACCES);
        let failure = restore_at(&state, &fake, true).unwrap_err().to_string();
        assert!(failure.contains("cannot write 1 to /proc/sys/vm/stat_interval: Permission denied"), "{failure}");
    }
}
