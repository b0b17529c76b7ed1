//! Killed at every single change, while tuning and while putting back: the next one puts everything back.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;
use std::sync::Arc;

use super::must_not_wait;
use crate::tuning::fake::{Fake, Killed, UNIFIED};
use crate::tuning::state::State;
use crate::tuning::*;

/// Sets up and is killed at moment `count`; false when it came to its end.
fn killed_at(fake: &Fake, count: usize) -> bool {
    let state = State::at(fake.state());
    let lock = state.lock(must_not_wait).unwrap();
    let target = Target::of(fake, CpuSet::from_list("3").unwrap()).unwrap();
    fake.kill_at(count);
    let mut journal = state.begin(fake, &lock).unwrap();
    let done =
        catch_unwind(AssertUnwindSafe(|| steps(&mut Work { system: fake, journal: &mut journal, target: &target })));
    fake.kill_at(usize::MAX);
    match done {
        Ok(_) => false,
        Err(thrown) if thrown.is::<Killed>() => true,
        Err(other) => resume_unwind(other),
    }
}

/// As a comparison leaves the node that is killed in the middle of a run.
pub fn tuned_and_killed(fake: &Fake) {
    assert!(!killed_at(fake, usize::MAX));
}

/// Does the same as `std::process::id` in another process: membership of a dead one is nobody's.
fn forget_membership(fake: &Fake) {
    let path = PathBuf::from(format!("{UNIFIED}/tacet-bench/cgroup.procs"));
    if fake.read(&path.to_string_lossy()).is_ok() {
        let _ = fake.end_process(std::process::id());
        fake.ended.lock().unwrap().clear();
    }
}

fn without_this_process(
    mut files: std::collections::BTreeMap<String, String>,
) -> std::collections::BTreeMap<String, String> {
    files.remove("sys/fs/cgroup/user/shell/cgroup.procs");
    files
}

#[test]
fn killed_at_any_change_the_next_one_puts_everything_back() {
    let makers: [fn() -> Fake; 3] =
        [|| Fake::new().with_unified_groups(), || Fake::new().with_legacy_groups(), Fake::new];
    for make in makers {
        let mut count = 0;
        loop {
            let fake = make();
            let before = without_this_process(fake.dump());
            let killed = killed_at(&fake, count);
            if count > 6 {
                assert_ne!(without_this_process(fake.dump()), before, "moment {count}");
            }
            forget_membership(&fake);
            let recovered = State::at(fake.state()).recover(&fake).unwrap().unwrap();
            assert_eq!(recovered.given_back.failed, Vec::<String>::new(), "moment {count}");
            assert_eq!(recovered.given_back.left, Vec::<String>::new(), "moment {count}");
            assert_eq!(without_this_process(fake.dump()), before, "moment {count}");
            assert_eq!(State::at(fake.state()).recover(&fake).unwrap(), None);
            if !killed {
                break;
            }
            count += 1;
        }
        assert!(count > 24, "only {count} moments were tried");
    }
}

#[test]
fn killed_while_putting_back_the_next_one_goes_on() {
    for count in 0.. {
        let fake = Fake::new().with_unified_groups();
        let before = without_this_process(fake.dump());
        tuned_and_killed(&fake);
        forget_membership(&fake);
        fake.kill_at(count);
        let first = catch_unwind(AssertUnwindSafe(|| State::at(fake.state()).recover(&fake).unwrap()));
        fake.kill_at(usize::MAX);
        let second = State::at(fake.state()).recover(&fake).unwrap();
        assert_eq!(without_this_process(fake.dump()), before, "moment {count}");
        assert_eq!(first.is_ok(), second.is_none());
        if first.is_ok() {
            assert!(count > 20, "only {count} moments were tried");
            break;
        }
    }
}

#[test]
fn who_puts_back_from_within_the_partition_leaves_it() {
    let fake = Fake::new().with_unified_groups();
    tuned_and_killed(&fake);
    forget_membership(&fake);
    fake.put(&format!("{UNIFIED}/tacet-bench/cgroup.procs"), &std::process::id().to_string());
    let recovered = State::at(fake.state()).recover(&fake).unwrap().unwrap();
    assert_eq!(recovered.given_back.failed, Vec::<String>::new());
    assert!(fake.ended.lock().unwrap().is_empty());
    assert!(fake.read(&format!("{UNIFIED}/tacet-bench/cgroup.procs")).is_err());
}

#[test]
fn programs_left_in_the_partition_are_ended() {
    let fake = Fake::new().with_unified_groups();
    tuned_and_killed(&fake);
    forget_membership(&fake);
    fake.put(&format!("{UNIFIED}/tacet-bench/cgroup.procs"), "5000900");
    let recovered = State::at(fake.state()).recover(&fake).unwrap().unwrap();
    assert_eq!(recovered.given_back.failed, Vec::<String>::new());
    assert_eq!(*fake.ended.lock().unwrap(), [5_000_900].into());
}

#[test]
fn after_a_reboot_there_is_nothing_to_put_back() {
    let fake = Fake::new();
    tuned_and_killed(&fake);
    fake.put("/proc/sys/kernel/random/boot_id", "another-boot");
    fake.put("/proc/sys/vm/stat_interval", "7");
    let recovered = State::at(fake.state()).recover(&fake).unwrap().unwrap();
    assert_eq!(recovered.given_back, journal::GivenBack::default());
    assert_eq!(fake.text("/proc/sys/vm/stat_interval"), "7");
    assert!(!State::at(fake.state()).has_journal());
}

#[test]
fn what_somebody_else_changed_meanwhile_is_left_and_told() {
    let fake = Arc::new(Fake::new());
    tuned_and_killed(&fake);
    fake.put("/proc/sys/vm/stat_interval", "10");
    let recovered = State::at(fake.state()).recover(&*fake).unwrap().unwrap();
    let told = "/proc/sys/vm/stat_interval is 10 by now: somebody else has changed it from our 120; it was 1";
    assert_eq!(recovered.given_back.left, [told]);
    assert_eq!(fake.text("/proc/sys/vm/stat_interval"), "10");
    assert_eq!(fake.text("/proc/sys/kernel/soft_watchdog"), "1");
}

#[test]
fn what_cannot_be_put_back_is_told_and_stays_for_the_next_one() {
    let fake = Fake::new();
    let before = fake.dump();
    tuned_and_killed(&fake);
    fake.refuse("/proc/sys/vm/stat_interval", libc::EPERM);
    let recovered = State::at(fake.state()).recover(&fake).unwrap().unwrap();
    assert_eq!(recovered.given_back.failed, ["cannot write 1 to /proc/sys/vm/stat_interval: Operation not permitted"]);
    fake.refused.lock().unwrap().remove("/proc/sys/vm/stat_interval");
    let recovered = State::at(fake.state()).recover(&fake).unwrap().unwrap();
    assert_eq!(recovered.given_back, journal::GivenBack { count: 1, ..journal::GivenBack::default() });
    assert_eq!(fake.dump(), before);
}

#[test]
fn a_line_that_was_cut_off_was_not_done() {
    let fake = Fake::new();
    tuned_and_killed(&fake);
    let path = fake.state().join("journal");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text + r#"{"change":{"change":"value","path":"/pr"#).unwrap();
    let recovered = State::at(fake.state()).recover(&fake).unwrap().unwrap();
    assert_eq!(recovered.given_back.failed, Vec::<String>::new());
}

#[test]
fn a_journal_of_another_kind_is_refused_and_kept() {
    let fake = Fake::new();
    drop(State::at(fake.state()).lock(must_not_wait).unwrap());
    let path = fake.state().join("journal");
    std::fs::write(&path, "hello\n").unwrap();
    let failure = State::at(fake.state()).recover(&fake).unwrap_err();
    assert!(failure.to_string().contains("put that back by hand"), "{failure}");
    assert!(path.exists());
}
