//! Cores go out of Linux and come back by its own switch for hotplug.
//!
//! Bringing a core back works in whatever state it is: Linux resets it first (INIT), then starts it
//! as it did at boot. Whatever ran on it until then is over.

use std::fs;
use std::io;
use std::path::Path;
use std::thread;
use std::time::Duration;

use crate::node::processors::{is_online, online_file};

/// How often Linux is asked again when it is busy with hotplug of its own.
const TRIES: u32 = 50;
/// How long to wait in between.
const PAUSE: Duration = Duration::from_millis(20);

/// A core that does not do what it is told.
#[derive(Debug, thiserror::Error)]
#[error("core {cpu} does not go {}: {error}", if *.online { "online" } else { "offline" })]
pub struct Stubborn {
    /// Linux's number.
    pub cpu: u32,
    /// What it was to be.
    online: bool,
    /// What Linux said.
    error: io::Error,
}

/// Takes a core out of Linux.
///
/// # Errors
/// No such switch (core 0, as a rule), or what Linux says: EBUSY where real-time tasks need it.
pub fn take_offline(root: &Path, cpu: u32) -> Result<(), Stubborn> {
    switch(root, cpu, false)
}

/// Gives a core back to Linux; one that it has already is fine.
pub fn bring_online(root: &Path, cpu: u32) -> Result<(), Stubborn> {
    switch(root, cpu, true).or_else(|stubborn| match is_online(root, cpu) {
        Some(true) => Ok(()),
        _ => Err(stubborn),
    })
}

fn switch(root: &Path, cpu: u32, online: bool) -> Result<(), Stubborn> {
    let path = online_file(root, cpu);
    let (value, stubborn) = (if online { "1" } else { "0" }, |error| Stubborn { cpu, online, error });
    let mut tries = 0;
    loop {
        // Not created when it is not there.
        let result = fs::File::options()
            .write(true)
            .open(&path)
            .and_then(|mut file| io::Write::write_all(&mut file, value.as_bytes()));
        match result {
            Ok(()) => break,
            Err(error) if tries < TRIES && may_pass(&error) => tries += 1,
            Err(error) => return Err(stubborn(error)),
        }
        thread::sleep(PAUSE);
    }
    match fs::read_to_string(&path).map_err(stubborn)?.trim() == value {
        true => Ok(()),
        false => Err(stubborn(io::Error::other("somebody else switched it back"))),
    }
}

/// Whether another try may have another outcome: EBUSY while hotplug is held up, EIO from a core
/// that did not answer in time, EINTR.
fn may_pass(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EBUSY | libc::EAGAIN | libc::EIO | libc::EINTR))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::tests::Fixture;

    #[test]
    fn there_and_back() {
        let root = Fixture::new();
        let file = root.file("sys/devices/system/cpu/cpu2/online", "1");
        let state = || fs::read_to_string(&file).expect("own file");
        take_offline(root.path(), 2).expect("possible");
        assert_eq!(state(), "0");
        bring_online(root.path(), 2).expect("possible");
        bring_online(root.path(), 2).expect("already there");
        assert_eq!(state(), "1");
    }

    #[test]
    fn a_core_without_a_switch_is_named() {
        let root = Fixture::new();
        root.file("sys/devices/system/cpu/cpu0/topology/core_id", "0");
        let line = take_offline(root.path(), 0).expect_err("no switch").to_string();
        assert!(line.starts_with("core 0 does not go offline: "), "{line}");
        assert!(!root.path().join("sys/devices/system/cpu/cpu0/online").exists());
    }
}
