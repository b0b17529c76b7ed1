//! Tests of the ledger, on directories and settings of their own.

use super::*;
use crate::node::tests::Fixture;
use std::process::Command;
use std::sync::Barrier;

const SETTING: &str = "always [never] advise\n";

fn ledger(root: &Fixture) -> Ledger {
    Ledger::at(&root.path().join("ledger")).expect("own directory")
}

fn holding(cores: &str) -> Holding {
    Holding {
        program: "/bin/x".into(),
        rank: None,
        platform: "process".into(),
        cores: cores.parse().expect("a list"),
        memory: 1 << 30,
        bare: None,
        job: None,
    }
}

/// An entry of a process that has ended.
fn dead_entry(settings: Vec<Setting>) -> Entry {
    let mut child = Command::new("sleep").arg("600").spawn().expect("sleep is there");
    let proxy = Process::read(child.id()).expect("proc is mounted");
    child.kill().expect("ours");
    child.wait().expect("ours");
    Entry { proxy, settings, ..Entry::of_this_process(holding("0")).expect("readable") }
}

/// An entry of a process that lives until the guard is dropped.
fn living_entry(settings: Vec<Setting>) -> (Entry, impl Drop) {
    struct Guard(std::process::Child);
    impl Drop for Guard {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
    let guard = Guard(Command::new("sleep").arg("600").spawn().expect("sleep is there"));
    let proxy = Process::read(guard.0.id()).expect("proc is mounted");
    (Entry { proxy, settings, ..Entry::of_this_process(holding("1")).expect("readable") }, guard)
}

fn setting(path: &Path) -> Setting {
    Setting { path: path.to_owned(), old: "never".into(), new: "advise".into() }
}

/// A setting's file keeps what is written: brackets are Linux's doing.
fn set(path: &Path, word: &str) {
    fs::write(path, format!("[{word}]")).expect("own file");
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).expect("own file")
}

fn names(root: &Fixture) -> Vec<String> {
    let files = fs::read_dir(root.path().join("ledger")).expect("own directory");
    let mut names: Vec<String> =
        files.map(|file| file.expect("own directory").file_name().to_string_lossy().into_owned()).collect();
    names.retain(|name| name != "lock");
    names.sort();
    names
}

#[test]
fn a_lease_is_seen_while_it_lives() {
    let root = Fixture::new();
    let ledger = ledger(&root);
    let lease = ledger.lock().expect("lock").enter(holding("2-3")).expect("entered");
    let entries = ledger.lock().expect("lock").living().expect("listed");
    assert_eq!(entries.len(), 1);
    assert_eq!((entries[0].cores.to_string().as_str(), entries[0].proxy.pid), ("2-3", std::process::id()));
    drop(lease);
    assert!(names(&root).is_empty());
}

#[test]
fn the_child_is_noted() {
    let root = Fixture::new();
    let ledger = ledger(&root);
    let mut lease = ledger.lock().expect("lock").enter(holding("0")).expect("entered");
    lease.set_child(std::process::id()).expect("noted");
    let entries = ledger.lock().expect("lock").living().expect("listed");
    assert_eq!(entries[0].child.map(|child| child.pid), Some(std::process::id()));
}

#[test]
fn the_memory_is_noted_and_entries_without_it_are_read() {
    let root = Fixture::new();
    let ledger = ledger(&root);
    let mut lease = ledger.lock().expect("lock").enter(holding("0")).expect("entered");
    lease.set_memory_file("/proc/7/fd/9".into()).expect("noted");
    let entry = ledger.lock().expect("lock").living().expect("listed").remove(0);
    assert_eq!(entry.memory_file.as_deref(), Some(Path::new("/proc/7/fd/9")));
    let mut older = serde_json::to_value(&entry).expect("serialises");
    older.as_object_mut().expect("an object").remove("memory_file");
    assert_eq!(serde_json::from_value::<Entry>(older).expect("parses").memory_file, None);
}

#[test]
fn dead_cells_are_collected_and_living_ones_are_not() {
    let root = Fixture::new();
    let ledger = ledger(&root);
    let dead = dead_entry(Vec::new());
    let (living, _guard) = living_entry(Vec::new());
    let locked = ledger.lock().expect("lock");
    locked.write(&dead).expect("written");
    locked.write(&living).expect("written");
    assert_eq!(locked.living().expect("listed"), std::slice::from_ref(&living));
    assert_eq!(locked.collect().expect("collected"), [dead]);
    assert_eq!(locked.entries().expect("listed"), [living]);
}

/// Whatever the moment is at which its keeper dies too, a dead cell is given back.
#[test]
fn a_keeper_that_dies_meanwhile_leaves_nothing() {
    let root = Fixture::new();
    let ledger = ledger(&root);
    let dead = dead_entry(Vec::new());
    // Others, that nobody here can judge: to read them takes some of the time in which the keeper dies.
    let of_container = || {
        let entry = Entry::of_this_process(holding("2")).expect("readable");
        Entry { here: Here { pid_namespace: 1, ..entry.here.clone() }, ..entry }
    };
    for pid in (1..200).filter(|pid| *pid != dead.proxy.pid) {
        let proxy = Process { pid, started: 1 };
        ledger.lock().expect("lock").write(&Entry { proxy, ..of_container() }).expect("written");
    }
    let others = names(&root);
    for round in 0..40 {
        let mut keeper = Command::new("sleep").arg("600").spawn().expect("sleep is there");
        let process = Process::read(keeper.id()).expect("proc is mounted");
        ledger.lock().expect("lock").write(&Entry { keeper: Some(process), ..dead.clone() }).expect("written");
        let collected = std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_micros(round * 200));
                keeper.kill().expect("ours");
                keeper.wait().expect("ours");
            });
            ledger.lock_cleared().expect("lock").1.len()
        });
        assert_eq!(collected, 1, "round {round}");
        assert_eq!(names(&root), others, "round {round}");
    }
}

#[test]
fn what_is_left_of_a_dead_cell_is_ended() {
    let root = Fixture::new();
    let ledger = ledger(&root);
    let mut orphan = Command::new("sleep").arg("600").spawn().expect("sleep is there");
    let child = Process::read(orphan.id()).expect("proc is mounted");
    let locked = ledger.lock().expect("lock");
    locked.write(&Entry { child: Some(child), ..dead_entry(Vec::new()) }).expect("written");
    assert_eq!(locked.collect().expect("collected").len(), 1);
    assert!(!orphan.wait().expect("ours").success());
}

#[test]
fn entries_of_another_run_of_linux_are_dead_and_those_of_another_container_are_not() {
    let root = Fixture::new();
    let ledger = ledger(&root);
    let file = root.file("setting", "[advise]");
    let (mut rebooted, _guard) = living_entry(vec![setting(&file)]);
    rebooted.here.boot = "another".into();
    let mut elsewhere = dead_entry(Vec::new());
    elsewhere.here.pid_namespace += 1;
    let locked = ledger.lock().expect("lock");
    locked.write(&rebooted).expect("written");
    locked.write(&elsewhere).expect("written");
    assert_eq!(locked.collect().expect("collected").len(), 1);
    assert_eq!(locked.living().expect("listed"), [elsewhere]);
    assert_eq!(text(&file), "[advise]", "a setting of that run is not restored in this one");
}

#[test]
fn a_setting_is_restored_by_its_lease() {
    let root = Fixture::new();
    let ledger = ledger(&root);
    let file = root.file("setting", SETTING);
    let locked = ledger.lock().expect("lock");
    let mut lease = locked.enter(holding("0")).expect("entered");
    assert!(locked.change(&mut lease, &file, "advise").expect("changed"));
    assert_eq!(lease.settings(), [setting(&file)]);
    assert_eq!(text(&file), "advise");
    drop(locked);
    set(&file, "advise");
    drop(lease);
    assert_eq!(text(&file), "never");
}

#[test]
fn the_last_holder_restores_the_value_from_before_the_first() {
    let root = Fixture::new();
    let ledger = ledger(&root);
    let file = root.file("setting", "[advise]");
    let (other, guard) = living_entry(vec![setting(&file)]);
    let locked = ledger.lock().expect("lock");
    locked.write(&other).expect("written");
    let mut lease = locked.enter(holding("0")).expect("entered");
    assert!(locked.change(&mut lease, &file, "advise").expect("changed"));
    set(&file, "advise");
    drop(locked);
    drop(lease);
    assert_eq!(text(&file), "[advise]", "the other cell still needs it");
    drop(guard);
    ledger.lock().expect("lock").collect().expect("collected");
    assert_eq!(text(&file), "never");
}

#[test]
fn what_an_administrator_has_set_since_stays() {
    let root = Fixture::new();
    let ledger = ledger(&root);
    let file = root.file("setting", "[always]");
    let locked = ledger.lock().expect("lock");
    locked.write(&dead_entry(vec![setting(&file)])).expect("written");
    assert_eq!(locked.collect().expect("collected").len(), 1);
    assert_eq!(text(&file), "[always]");
}

#[test]
fn what_can_not_be_restored_stays_in_the_ledger() {
    let root = Fixture::new();
    let ledger = ledger(&root);
    let gone = root.path().join("gone");
    let locked = ledger.lock().expect("lock");
    locked.write(&dead_entry(vec![setting(&gone)])).expect("written");
    assert!(locked.collect().expect("collected").is_empty());
    assert_eq!(locked.entries().expect("listed").len(), 1);
    set(&gone, "advise");
    assert_eq!(locked.collect().expect("collected").len(), 1);
    assert_eq!(text(&gone), "never");
}

#[test]
fn a_setting_that_may_not_be_changed_is_not_noted() {
    let root = Fixture::new();
    let ledger = ledger(&root);
    let locked = ledger.lock().expect("lock");
    let mut lease = locked.enter(holding("0")).expect("entered");
    // Readable, with a value in brackets, and writable for nobody, not even root.
    let refused = locked.change(&mut lease, Path::new("/sys/block/none/scheduler"), "x");
    assert!(refused.is_err(), "not there");
    assert!(lease.settings().is_empty());
    drop(locked);
}

#[test]
fn damaged_entries_are_set_aside() {
    let root = Fixture::new();
    let ledger = ledger(&root);
    let whole = serde_json::to_string(&dead_entry(Vec::new())).expect("serialises");
    root.file("ledger/cell-1.json", "{\"format\":1,");
    root.file("ledger/cell-2.json", "");
    root.file("ledger/cell-3.json", &whole.replacen("\"format\":2", "\"format\":99", 1));
    root.file("ledger/cell-4.json", &whole);
    fs::write(root.path().join("ledger/cell-5.json"), [0xff, 0xfe]).expect("own file");
    root.file("ledger/cell-6.draft", "left by a proxy that was killed while it wrote");
    let locked = ledger.lock().expect("lock");
    assert!(locked.entries().expect("listed").is_empty());
    let aside: Vec<String> = (1..=5).map(|n| format!("cell-{n}.unreadable")).collect();
    assert_eq!(names(&root).iter().filter(|name| name.ends_with(".unreadable")).cloned().collect::<Vec<_>>(), aside);
    assert!(locked.entries().expect("listed").is_empty(), "and is named once");
}

#[test]
fn a_directory_that_others_can_write_to_is_refused() {
    let root = Fixture::new();
    let open = root.path().join("open");
    fs::create_dir(&open).expect("own directory");
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).expect("own directory");
    assert!(matches!(Ledger::at(&open), Err(LedgerError::NotOurs(_))));
    let link = root.path().join("link");
    std::os::unix::fs::symlink(root.path(), &link).expect("own directory");
    assert!(matches!(Ledger::at(&link), Err(LedgerError::NotOurs(_))));
    assert!(Ledger::at(&root.path().join("no/such/parent")).is_err());
}

#[test]
fn where_the_ledger_is() {
    let root = Fixture::new();
    let runtime = root.path().as_os_str();
    assert_eq!(place(0, Some(runtime)), Path::new("/run/tacet"));
    assert_eq!(place(7, Some(runtime)), root.path().join("tacet"));
    assert_eq!(place(7, Some(OsStr::new("/no/such/directory"))), Path::new("/tmp/tacet-7"));
    assert_eq!(place(7, None), Path::new("/tmp/tacet-7"));
}

/// What proxies of one mpirun do: look at what is taken and take something else, at once.
#[test]
fn starters_of_the_same_moment_see_each_other() {
    const STARTERS: usize = 16;
    let root = Fixture::new();
    let ledger = ledger(&root);
    let barrier = Barrier::new(STARTERS);
    // Entries are per process, so the threads enter in the name of processes of their own.
    let starters: Vec<_> = (0..STARTERS).map(|_| living_entry(Vec::new())).collect();
    let taken: Vec<u32> = std::thread::scope(|scope| {
        let threads: Vec<_> = starters
            .iter()
            .map(|(entry, _guard)| {
                let (ledger, barrier) = (&ledger, &barrier);
                scope.spawn(move || {
                    barrier.wait();
                    let locked = ledger.lock().expect("lock");
                    let held = locked.living().expect("listed");
                    let free = (0..).find(|cpu| held.iter().all(|entry| !entry.cores.contains(*cpu)));
                    let cpu = free.expect("endless");
                    locked.write(&Entry { cores: [cpu].into_iter().collect(), ..entry.clone() }).expect("written");
                    cpu
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    let distinct: CpuSet = taken.iter().copied().collect();
    assert_eq!(distinct, (0..STARTERS as u32).collect(), "{taken:?}");
}
