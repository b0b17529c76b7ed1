//! Signals that arrive at the proxy are the program's.
//!
//! All are blocked in every thread of the proxy; one thread takes them one by one and sends them
//! on to the cell's process, which is in a process group of its own: what the terminal sends to
//! the foreground reaches it only through us. What a signal then does, the cell's kernel decides.

use std::io;
use std::thread;

use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use shm_ipc::ring::SIGINFO_BYTES;

use crate::sys;

/// Blocks every signal in this thread and those that it starts. From here on none ends this
/// process before what it has taken is given back; they wait to be sent on.
pub fn hold() -> io::Result<()> {
    Ok(sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), None)?)
}

/// From here on, in a thread of its own, sends on what arrives to the process `child`, which
/// must not be waited for while this process lives: its number has to stay its own. Of the ends of
/// children, only those that `is_known`, which is told of all, reach the program, by `bring`.
pub fn forward(
    child: libc::pid_t,
    bring: impl Fn([u64; SIGINFO_BYTES / 8]) + Send + 'static,
    is_known: impl Fn(libc::pid_t) -> bool + Send + 'static,
) -> io::Result<()> {
    start(move |signal, info| {
        if signal == libc::SIGCHLD && info.si_code > 0 {
            // Sent on it would lose what it says of the child.
            if is_known(sys::sender(info)) {
                bring(sys::siginfo_words(info));
            }
            return;
        }
        if let Err(error) = sys::send_on(child, signal, info) {
            tracing::warn!("signal {signal} is not sent on to the program: {error}");
        }
    })
}

/// From here on, in a thread of its own, hands what arrives to `bring`, as the first bytes of its
/// `siginfo_t`: for a program that is no process of Linux. `is_known` as for [`forward`].
pub fn bring(
    bring: impl Fn([u64; SIGINFO_BYTES / 8]) + Send + 'static,
    is_known: impl Fn(libc::pid_t) -> bool + Send + 'static,
) -> io::Result<()> {
    start(move |signal, info| {
        if signal != libc::SIGCHLD || info.si_code <= 0 || is_known(sys::sender(info)) {
            bring(sys::siginfo_words(info));
        }
    })
}

fn start(take: impl Fn(i32, &libc::siginfo_t) + Send + 'static) -> io::Result<()> {
    let thread = thread::Builder::new().name("signals".into());
    thread.spawn(move || forward_all(&take)).map(drop)
}

fn forward_all(take: &impl Fn(i32, &libc::siginfo_t)) {
    loop {
        let (signal, info) = match sys::next_signal() {
            Ok(next) => next,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return tracing::error!("no signals are sent on to the program any more: {error}"),
        };
        take(signal, &info);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::signal::Signal;
    use std::os::unix::process::{CommandExt, ExitStatusExt};
    use std::process::Command;

    /// In a thread of its own: the mask is the thread's.
    #[test]
    fn held_signals_stay_held() {
        thread::spawn(|| {
            hold().expect("held");
            let mask = SigSet::thread_get_mask().expect("readable");
            assert!(mask.contains(Signal::SIGTERM) && mask.contains(Signal::SIGINT));
        })
        .join()
        .expect("no panic");
    }

    /// In a child process, before it executes anything.
    #[test]
    fn a_process_can_end_by_any_signal() {
        for signal in [libc::SIGTERM, libc::SIGKILL, libc::SIGSEGV, libc::SIGPIPE, libc::SIGRTMIN() + 3] {
            let mut command = Command::new("/bin/true");
            let end = move || {
                hold()?;
                sys::die_by(signal)
            };
            // SAFETY: the closure only makes system calls.
            let spawned = unsafe { command.pre_exec(end) }.status();
            // The child ends before it can say whether it executed anything, which counts as done.
            assert_eq!(spawned.expect("forked").signal(), Some(signal));
        }
    }
}
