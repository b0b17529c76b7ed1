//! A proxy that is killed leaves nothing in the ledger, without anybody's help; and proxies that
//! start in the same moment do not lose each other's entries.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(20);

/// Both tests look at the one ledger of this user.
static TURN: Mutex<()> = Mutex::new(());

/// Where the ledger of this user is: see `reserve/ledger.rs`.
fn ledger() -> PathBuf {
    let user = nix::unistd::geteuid().as_raw();
    match std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|dir| dir.is_dir()) {
        _ if user == 0 => PathBuf::from("/run/tacet"),
        Some(dir) => dir.join("tacet"),
        None => PathBuf::from(format!("/tmp/tacet-{user}")),
    }
}

fn entry_of(process: u32) -> PathBuf {
    ledger().join(format!("cell-{process}.json"))
}

fn sleeper() -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tacet"));
    command.args(["run", "--memory", "64M", "--", "/bin/sleep", "600"]).stdin(Stdio::null()).stdout(Stdio::null());
    command.spawn().expect("tacet was built")
}

fn until(what: &str, holds: impl Fn() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < LIMIT, "{what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// The keeper and the cell's process.
fn children(process: u32) -> Vec<PathBuf> {
    let list = fs::read_to_string(format!("/proc/{process}/task/{process}/children")).unwrap_or_default();
    list.split_whitespace().map(|pid| Path::new("/proc").join(pid)).collect()
}

/// Ended, though perhaps not yet waited for by whoever inherited it.
fn is_gone(process: &Path) -> bool {
    let stat = fs::read_to_string(process.join("stat")).unwrap_or_default();
    stat.rsplit_once(')').is_none_or(|(_, fields)| fields.trim_start().starts_with('Z'))
}

#[test]
fn a_killed_proxy_leaves_nothing() {
    let _turn = TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let mut proxy = sleeper();
    let entry = entry_of(proxy.id());
    until("the cell is noted", || fs::read_to_string(&entry).is_ok_and(|text| !text.contains("\"child\":null")));
    let children = children(proxy.id());
    assert_eq!(children.len(), 2, "{children:?}");
    proxy.kill().expect("ours");
    proxy.wait().expect("ours");
    until("the entry goes", || !entry.exists());
    until("the processes go", || children.iter().all(|process| is_gone(process)));
}

#[test]
fn proxies_of_the_same_moment_keep_their_entries() {
    let _turn = TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let mut proxies: Vec<Child> = (0..8).map(|_| sleeper()).collect();
    let entries: BTreeSet<PathBuf> = proxies.iter().map(|proxy| entry_of(proxy.id())).collect();
    until("all are entered", || entries.iter().all(|entry| entry.exists()));
    for proxy in &mut proxies {
        assert!(proxy.try_wait().expect("ours").is_none(), "all run");
        proxy.kill().expect("ours");
    }
    for mut proxy in proxies {
        proxy.wait().expect("ours");
    }
    until("all entries go", || entries.iter().all(|entry| !entry.exists()));
}
