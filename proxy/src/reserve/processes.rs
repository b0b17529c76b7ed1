//! Processes by number *and* start: numbers are used again.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;

use serde::{Deserialize, Serialize};

use crate::sys;

/// Where process numbers mean something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Here {
    /// This run of Linux.
    pub boot: String,
    /// The namespace of process numbers: that of a container, for example.
    pub pid_namespace: u64,
}

impl Here {
    /// That of this process.
    pub fn read() -> io::Result<Self> {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned();
        let pid_namespace = fs::metadata("/proc/self/ns/pid")?.ino();
        Ok(Here { boot, pid_namespace })
    }
}

/// One process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// When it started, in clock ticks since Linux did.
    pub started: u64,
}

impl Process {
    /// The process that has this number now.
    pub fn read(pid: u32) -> io::Result<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let (_, started) = parse(&text).ok_or_else(|| io::Error::other("/proc/PID/stat is not understood"))?;
        Ok(Process { pid, started })
    }

    /// Whether it still runs. A zombie does not.
    pub fn is_alive(&self) -> bool {
        let text = fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        parse(&text).is_some_and(|(state, started)| started == self.started && !matches!(state, 'Z' | 'X'))
    }

    /// Ends it, if it still runs.
    pub fn kill(&self) -> io::Result<()> {
        let Some(handle) = sys::process_handle(self.pid)? else { return Ok(()) };
        // Asked once more with the handle held: from now on the number can't change its owner.
        if self.is_alive() { sys::signal_process(&handle, libc::SIGKILL, None) } else { Ok(()) }
    }
}

/// State and start of a process from its `stat`: fields 3 and 22 of proc_pid_stat(5). The name
/// before them may hold anything, parentheses too.
fn parse(text: &str) -> Option<(char, u64)> {
    let (_, fields) = text.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((state, fields.nth(18)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn stat_with_an_odd_name() {
        let text = "7 (a) b) c) S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4711 99 0";
        assert_eq!(parse(text), Some(('S', 4711)));
        assert_eq!(parse("7 (x) S 1"), None);
        assert_eq!(parse(""), None);
    }

    #[test]
    fn this_process_is_alive_and_no_other_with_its_number() {
        let own = Process::read(std::process::id()).expect("proc is mounted");
        assert!(own.is_alive());
        assert!(!Process { started: own.started + 1, ..own }.is_alive());
    }

    #[test]
    fn a_process_is_ended_but_not_its_successor() {
        let mut child = Command::new("sleep").arg("600").spawn().expect("sleep is there");
        let process = Process::read(child.id()).expect("proc is mounted");
        Process { started: process.started + 1, ..process }.kill().expect("nothing to do");
        assert!(process.is_alive());
        process.kill().expect("ours");
        assert!(!child.wait().expect("ours").success());
        assert!(!process.is_alive());
        process.kill().expect("nothing to do");
    }

    #[test]
    fn a_zombie_is_not_alive() {
        let mut child = Command::new("true").spawn().expect("true is there");
        let process = Process::read(child.id()).expect("proc is mounted");
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while process.is_alive() && std::time::Instant::now() < deadline {
            std::thread::yield_now();
        }
        assert!(!process.is_alive() && Process::read(process.pid).is_ok(), "not yet waited for");
        child.wait().expect("ours");
    }
}
