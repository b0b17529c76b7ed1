//! Signals that end the process: what has to be done before is done, then the process ends of the signal.
//!
//! A thread waits for them, so that this is ordinary code and no signal handler. Handlers do not survive
//! exec: the programs that are measured have the default ones.

use std::fs;
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

use crate::error::Failure;

/// Starts the thread. `action` runs when a signal has come, and ends the process by calling what it is given.
pub fn before_dying(action: impl FnOnce(&dyn Fn()) + Send + 'static) -> Result<(), Failure> {
    let failed = |error: std::io::Error| {
        Failure::new(format!("cannot wait for signals: {error}; check the limits of this shell"))
    };
    // What the caller has told this process to ignore (nohup), it goes on to ignore.
    let ignored = ignored(&fs::read_to_string("/proc/self/status").unwrap_or_default());
    let heeded = [SIGHUP, SIGINT, SIGQUIT, SIGTERM].into_iter().filter(|signal| ignored >> (signal - 1) & 1 == 0);
    let mut signals = Signals::new(heeded).map_err(failed)?;
    let wait = move || {
        if let Some(signal) = signals.forever().next() {
            action(&|| {
                if emulate_default_handler(signal).is_err() {
                    std::process::exit(128 + signal);
                }
            });
        }
    };
    thread::Builder::new().name("signals".to_owned()).spawn(wait).map_err(failed)?;
    Ok(())
}

/// The mask of ignored signals in `/proc/PID/status` (proc(5)).
fn ignored(status: &str) -> u64 {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    #[test]
    fn ignored_signals_are_read() {
        assert_eq!(super::ignored("SigBlk:\t0000000000000000\nSigIgn:\t0000000000001001\n"), 0x1001);
        assert_eq!(super::ignored(""), 0);
    }
}
