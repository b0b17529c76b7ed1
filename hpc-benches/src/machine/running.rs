//! The programs that are being measured: a signal that ends this process ends them first, so that none goes on by
//! itself.

use std::io;
use std::process::Child;
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::time::Duration;

use super::dying::{self, Turn};
use super::host;

/// How long a program may take to end after SIGTERM: `tacet run` gives back what its cell had.
const PATIENCE: Duration = Duration::from_secs(5);

static RUNNING: Mutex<Vec<u32>> = Mutex::new(Vec::new());

/// A child that is ended when a signal ends this process. To be dropped before the child is waited for: until then
/// its number is its own.
pub struct Running {
    process: u32,
}

/// Starts a child by `spawn`.
pub fn start<T>(spawn: impl FnOnce() -> io::Result<(Child, T)>) -> io::Result<(Child, T, Running)> {
    static ONCE: Once = Once::new();
    // Without a thread that waits for signals they end this process as they do by default: no reason not to measure.
    ONCE.call_once(|| drop(dying::before_dying(Turn::First, end_all)));
    // No signal comes between the child's start and its being known.
    let mut running = running();
    let (child, with) = spawn()?;
    running.push(child.id());
    let process = child.id();
    Ok((child, with, Running { process }))
}

impl Drop for Running {
    fn drop(&mut self) {
        // Where a signal is ending this process, that comes first.
        running().retain(|&process| process != self.process);
    }
}

fn end_all(go_on: &dyn Fn()) {
    let running = running();
    for &process in &*running {
        host::end(process, PATIENCE);
    }
    go_on();
}

fn running() -> MutexGuard<'static, Vec<u32>> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}
