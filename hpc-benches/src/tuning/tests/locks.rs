//! Several tacet-bench at once.

use super::must_not_wait;
use crate::tuning::fake::Fake;
use crate::tuning::report::{Item, Outcome};
use crate::tuning::state::State;
use crate::tuning::*;

#[test]
fn two_comparisons_that_tune_take_turns() {
    let fake = Fake::new();
    let state = State::at(fake.state());
    let first = state.lock(must_not_wait).unwrap();
    let (waits, waiting) = std::sync::mpsc::channel();
    let second = std::thread::spawn(move || state.lock(|_| waits.send(()).unwrap()).unwrap());
    waiting.recv().unwrap();
    assert!(!second.is_finished());
    drop(first);
    second.join().unwrap();
}

#[test]
fn comparisons_that_do_not_tune_share_and_the_tuner_waits_for_them() {
    let fake = Fake::new();
    let state = State::at(fake.state());
    assert!(state.share(must_not_wait).unwrap().is_none(), "nobody has ever tuned");
    drop(state.lock(must_not_wait).unwrap());
    let one = state.share(must_not_wait).unwrap();
    let other = state.share(must_not_wait).unwrap();
    assert!(one.is_some() && other.is_some());
    let (waits, waiting) = std::sync::mpsc::channel();
    let tuner = std::thread::spawn(move || state.lock(|_| waits.send(()).unwrap()).unwrap());
    waiting.recv().unwrap();
    drop((one, other));
    tuner.join().unwrap();
}

#[test]
fn the_journal_of_a_living_owner_is_left_alone() {
    let fake = Fake::new();
    let state = State::at(fake.state());
    let lock = state.lock(must_not_wait).unwrap();
    let mut journal = state.begin(&fake, &lock).unwrap();
    let target = Target::of(&fake, CpuSet::from_list("3").unwrap()).unwrap();
    let items: Vec<Item> = steps(&mut Work { system: &fake, journal: &mut journal, target: &target });
    assert!(items.iter().any(|item| item.outcome == Outcome::Applied));
    let tuned = fake.dump();
    assert_eq!(state.recover(&fake).unwrap(), None);
    assert_eq!(fake.dump(), tuned);
    assert_eq!(state.owner().unwrap().process, std::process::id());
}
