//! Signals that end the process: what has to be done before is done, then the process ends of the signal.
//!
//! A thread waits for them, so that this is ordinary code and no signal handler. Handlers do not survive
//! exec: the programs that are measured have the default ones.

use std::fs;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

use crate::error::Failure;

/// What is still to be done; the process ends by calling what it is given.
type Action = Box<dyn FnOnce(&dyn Fn()) + Send>;

static ACTIONS: Mutex<Registry> = Mutex::new(Registry { is_waiting: false, actions: Vec::new() });

struct Registry {
    /// Whether the thread is there.
    is_waiting: bool,
    actions: Vec<(Turn, Action)>,
}

/// When an action runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Before those that put things back: it ends what uses them.
    First,
    /// After it.
    Last,
}

/// Adds `action`. When a signal has come the actions run, of the same turn the last one first. Each goes on to the
/// next, and at last to the end of the process, by calling what it is given: what it holds meanwhile, nobody else gets
/// any more.
pub fn before_dying(turn: Turn, action: impl FnOnce(&dyn Fn()) + Send + 'static) -> Result<(), Failure> {
    let mut registry = registry();
    registry.actions.push((turn, Box::new(action)));
    if !registry.is_waiting {
        wait_for_signals().map_err(|error| {
            Failure::new(format!("cannot wait for signals: {error}; check the limits of this shell"))
        })?;
        registry.is_waiting = true;
    }
    Ok(())
}

fn wait_for_signals() -> io::Result<()> {
    // What the caller has told this process to ignore (nohup), it goes on to ignore.
    let ignored = ignored(&fs::read_to_string("/proc/self/status").unwrap_or_default());
    let heeded = [SIGHUP, SIGINT, SIGQUIT, SIGTERM].into_iter().filter(|signal| ignored >> (signal - 1) & 1 == 0);
    let mut signals = Signals::new(heeded)?;
    let wait = move || {
        if let Some(signal) = signals.forever().next() {
            go_on(signal);
        }
    };
    thread::Builder::new().name("signals".to_owned()).spawn(wait)?;
    Ok(())
}

impl Registry {
    fn take(&mut self) -> Option<Action> {
        let first = self.actions.iter().rposition(|(turn, _)| *turn == Turn::First);
        let place = first.or_else(|| self.actions.len().checked_sub(1))?;
        Some(self.actions.remove(place).1)
    }
}

fn go_on(signal: i32) {
    let action = registry().take();
    match action {
        Some(action) => action(&|| go_on(signal)),
        None => {
            if emulate_default_handler(signal).is_err() {
                std::process::exit(128 + signal);
            }
        }
    }
}

/// A panic elsewhere is no reason to leave things behind.
fn registry() -> MutexGuard<'static, Registry> {
    ACTIONS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The mask of ignored signals in `/proc/PID/status` (proc(5)).
fn ignored(status: &str) -> u64 {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn what_uses_things_ends_before_they_are_put_back() {
        let done = Arc::new(Mutex::new(Vec::new()));
        let mut registry = Registry { is_waiting: true, actions: Vec::new() };
        for (name, turn) in [("a", Turn::First), ("b", Turn::Last), ("c", Turn::First), ("d", Turn::Last)] {
            let done = Arc::clone(&done);
            registry.actions.push((turn, Box::new(move |_| done.lock().unwrap().push(name))));
        }
        while let Some(action) = registry.take() {
            action(&|| {});
        }
        assert_eq!(*done.lock().unwrap(), ["c", "a", "d", "b"]);
    }

    #[test]
    fn ignored_signals_are_read() {
        assert_eq!(super::ignored("SigBlk:\t0000000000000000\nSigIgn:\t0000000000001001\n"), 0x1001);
        assert_eq!(super::ignored(""), 0);
    }
}
