//! Gives back what a cell has taken when its proxy is killed.
//!
//! SIGKILL leaves a proxy no moment to give anything back, and it is how launchers end the other
//! ranks when one has failed: an everyday event. So a second process, which does nothing else,
//! sleeps until the proxy is gone, then does what `tacet reclaim` does. It holds nothing of the
//! program's: no descriptors, no terminal, no working directory. When the proxy ends in order,
//! it ends the keeper first.
//!
//! Where the keeper is killed too (a job's control group, say), the next `tacet` on the node is
//! the one who gives back.

use std::io;
use std::os::unix::process::parent_id;
use std::thread;
use std::time::{Duration, Instant};

use super::ledger::Ledger;
use super::processes::Process;
use crate::sys;

/// How long a process that ends may take to be gone.
const PATIENCE: Duration = Duration::from_secs(10);

/// The keeper of this process's lease.
#[derive(Debug)]
pub struct Keeper {
    process: libc::pid_t,
}

impl Keeper {
    /// Starts one for `proxy`, which is this process. All signals must be held back, and no
    /// other thread may have been started.
    pub fn start(ledger: &Ledger, proxy: Process) -> io::Result<Self> {
        match sys::fork_apart()? {
            Some(process) => Ok(Keeper { process }),
            None => {
                keep(ledger, proxy);
                sys::exit_at_once(0)
            }
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        sys::kill(self.process);
        sys::reap_apart(self.process);
    }
}

/// The keeper's life.
fn keep(ledger: &Ledger, proxy: Process) {
    if sys::become_keeper().is_err() {
        return;
    }
    // A signal comes when the parent dies; others may come too. If the parent died before that
    // was arranged, none comes, but it is not the parent any more.
    while parent_id() == proxy.pid {
        let _ = sys::next_signal();
    }
    // The signal comes a moment before the process counts as dead.
    let start = Instant::now();
    while proxy.is_alive() && start.elapsed() < PATIENCE {
        thread::sleep(Duration::from_millis(1));
    }
    let _ = ledger.lock().and_then(|locked| locked.collect());
}
