//! Gives back what a cell has taken when its proxy is killed.
//!
//! SIGKILL leaves a proxy no moment to give anything back, and it is how launchers end the other
//! ranks when one has failed: an everyday event. So a second process, which does nothing else,
//! sleeps until the proxy is gone, then does what `tacet reclaim` does. It holds nothing of the
//! program's: no descriptors, no terminal, no working directory. When the proxy ends in order,
//! it ends the keeper, last of all.
//!
//! Where the keeper is killed too (a job's control group, say), the next `tacet` on the node is
//! the one who gives back.
//!
//! A cell of bare cores still runs when its proxy is dead, until its cores are brought back. Its
//! keeper therefore holds what its memory depends on, and leaves the job's control group, so that
//! what kills all of the job does not kill the keeper. A proxy that gives back in order has it let go
//! of that when no core uses it any more ([`Keeper::let_go`]), but may still be killed before it has
//! come to the end: so the keeper stays until the ledger's entry is gone.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::process::parent_id;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::bare::groups;
use super::ledger::Ledger;
use super::processes::Process;
use crate::descriptors::PrivateBand;
use crate::sys;

/// How long a process that ends may take to be gone.
const PATIENCE: Duration = Duration::from_secs(10);

/// The keeper of this process's lease.
#[derive(Debug)]
pub struct Keeper {
    process: libc::pid_t,
    /// A pipe that ends when the keeper has let go of what it holds, or is dead; none when it holds
    /// nothing.
    holds: Option<OwnedFd>,
}

/// The request to let go.
const LET_GO: libc::c_int = libc::SIGUSR1;

impl Keeper {
    /// Starts one for `proxy`, which is this process. All signals must be held back, and no
    /// other thread may have been started.
    pub fn start(ledger: &Ledger, proxy: Process) -> io::Result<Self> {
        Ok(Keeper { process: fork(ledger, proxy, &[])?, holds: None })
    }

    /// The same for a cell of bare cores: it keeps copies of the descriptors in `held` until no core uses
    /// any more what they stand for.
    pub fn start_holding(ledger: &Ledger, proxy: Process, held: &[RawFd], band: &PrivateBand) -> io::Result<Self> {
        let adopt = |fd| band.adopt(fd).map_err(io::Error::other);
        let (holds, held_open) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).map_err(io::Error::from)?;
        let (holds, held_open) = (adopt(holds)?, adopt(held_open)?);
        let process = fork(ledger, proxy, &[held, &[held_open.as_raw_fd()]].concat())?;
        Ok(Keeper { process, holds: Some(holds) })
    }

    /// Has it let go of what it holds, and waits for that. One that does not answer is ended: somebody has
    /// stopped it.
    pub fn let_go(&self) {
        let Some(holds) = &self.holds else { return };
        sys::send(self.process, LET_GO);
        let mut ends = [PollFd::new(holds.as_fd(), PollFlags::empty())];
        let patience = PollTimeout::try_from(PATIENCE).unwrap_or(PollTimeout::MAX);
        loop {
            match poll(&mut ends, patience) {
                Err(Errno::EINTR) => {}
                Ok(0) => break sys::kill(self.process),
                _ => break,
            }
        }
    }

    /// Its process.
    pub fn process(&self) -> io::Result<Process> {
        Process::read(self.process.cast_unsigned())
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        sys::kill(self.process);
        sys::reap_apart(self.process);
    }
}

fn fork(ledger: &Ledger, proxy: Process, held: &[RawFd]) -> io::Result<libc::pid_t> {
    match sys::fork_apart()? {
        Some(process) => Ok(process),
        None => {
            keep(ledger, proxy, held);
            sys::exit_at_once(0)
        }
    }
}

/// The keeper's life.
fn keep(ledger: &Ledger, proxy: Process, held: &[RawFd]) {
    if sys::become_keeper(held).is_err() {
        return;
    }
    if !held.is_empty() {
        groups::leave(Path::new("/"));
    }
    let mut held = held.iter();
    let mut let_go = || {
        for fd in held.by_ref() {
            sys::unpin_buffers(*fd);
            let _ = nix::unistd::close(*fd);
        }
    };
    // A signal comes when the parent dies; others may come too. If the parent died before that
    // was arranged, none comes, but it is not the parent any more.
    while parent_id() == proxy.pid {
        if let Ok((LET_GO, info)) = sys::next_signal()
            && sys::sender(&info).cast_unsigned() == proxy.pid
        {
            let_go();
        }
    }
    // The signal comes a moment before the process counts as dead.
    let start = Instant::now();
    while proxy.is_alive() && start.elapsed() < PATIENCE {
        thread::sleep(Duration::from_millis(1));
    }
    // Its own proxy's first; then those of others who have no keeper any more.
    let _ = ledger.lock().and_then(|locked| {
        locked.collect_kept(proxy, let_go)?;
        locked.collect()
    });
}
