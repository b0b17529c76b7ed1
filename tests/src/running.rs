//! A program under way: its output as it comes, a deadline, and nothing of it left at the end.
//!
//! Each program gets a process group of its own and a marker in its environment. When its time is
//! up, the whole group ends; when it has ended by itself, processes of the group or with the
//! marker that still live are strays.

use crate::process::{self, Process};
use crate::{SETTLE_LIMIT, platform, poll_until};
use nix::sys::signal::{SigHandler, Signal, kill, killpg, signal};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;
use std::fmt;
use std::io::{Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, Once, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// What a program gives on one of its output streams, collected as it comes.
#[derive(Clone, Default)]
struct Stream(Arc<(Mutex<Collected>, Condvar)>);

#[derive(Default)]
struct Collected {
    bytes: Vec<u8>,
    is_finished: bool,
}

impl Stream {
    fn collect(mut source: impl Read + Send + 'static) -> Stream {
        let stream = Stream::default();
        let shared = stream.clone();
        thread::spawn(move || {
            let mut block = vec![0; 1 << 16];
            loop {
                let count = source.read(&mut block).unwrap_or(0);
                let mut collected = shared.0.0.lock().expect("no reader panics");
                collected.bytes.extend_from_slice(&block[..count]);
                collected.is_finished = count == 0;
                shared.0.1.notify_all();
                if count == 0 {
                    return;
                }
            }
        });
        stream
    }

    /// Waits until `wanted` holds of what has come so far; false when the deadline or the end of
    /// the stream comes first.
    fn wait(&self, deadline: Instant, wanted: impl Fn(&Collected) -> bool) -> bool {
        let mut collected = self.0.0.lock().expect("no reader panics");
        loop {
            if wanted(&collected) {
                return true;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if collected.is_finished || left.is_zero() {
                return false;
            }
            collected = self.0.1.wait_timeout(collected, left).expect("no reader panics").0;
        }
    }

    fn bytes(&self) -> Vec<u8> {
        self.0.0.lock().expect("no reader panics").bytes.clone()
    }
}

/// A program that has been started.
pub struct Running {
    child: Child,
    command: String,
    marker: String,
    stdout: Stream,
    stderr: Stream,
    ended: mpsc::Receiver<()>,
    started: Instant,
    deadline: Instant,
    is_reaped: bool,
}

/// A shell without job control has what runs in its background ignore these, and programs inherit that.
fn default_signals() {
    static DONE: Once = Once::new();
    DONE.call_once(|| {
        for number in [Signal::SIGINT, Signal::SIGQUIT] {
            // SAFETY: no handler is installed, the default action takes the place of none.
            unsafe { signal(number, SigHandler::SigDfl) }.expect("a signal that has an action");
        }
    });
}

impl Running {
    /// Starts `command`; `input` goes to its standard input, which is `/dev/null` without.
    pub(crate) fn start(
        mut command: Command,
        input: Option<Vec<u8>>,
        is_input_kept_open: bool,
        limit: Duration,
    ) -> Running {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let value = format!("{}-{number}", std::process::id());
        let text = format!("{command:?}");
        let has_input = input.is_some() || is_input_kept_open;
        command.env("TACET_TEST_RUN", &value).process_group(0);
        command.stdin(if has_input { Stdio::piped() } else { Stdio::null() });
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        default_signals();
        let started = Instant::now();
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{text}: {error}"));
        let pid = Pid::from_raw(child.id().cast_signed());
        let (sender, ended) = mpsc::channel();
        thread::spawn(move || {
            // Without reaping: the number stays this program's until `child` is waited for.
            let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
            while waitid(Id::Pid(pid), flags) == Err(nix::errno::Errno::EINTR) {}
            let _ = sender.send(());
        });
        if let Some(bytes) = input
            && let Some(pipe) = child.stdin.take()
        {
            feed(pipe, bytes);
        }
        let stdout = Stream::collect(child.stdout.take().expect("stdout is a pipe"));
        let stderr = Stream::collect(child.stderr.take().expect("stderr is a pipe"));
        let marker = format!("TACET_TEST_RUN={value}");
        Running {
            child,
            command: text,
            marker,
            stdout,
            stderr,
            ended,
            started,
            deadline: started + platform::patience(limit),
            is_reaped: false,
        }
    }

    /// The number of the process: `tacet` itself where the run is in a cell.
    pub fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// Its standard input, where the case keeps it open.
    pub fn stdin(&mut self) -> &mut ChildStdin {
        self.child.stdin.as_mut().expect("the case keeps standard input open")
    }

    /// Waits until the program has written `text` on its standard output.
    ///
    /// # Panics
    /// When it has not by its deadline.
    pub fn wait_for(&self, text: &str) {
        let is_there =
            |collected: &Collected| collected.bytes.windows(text.len()).any(|window| window == text.as_bytes());
        if !self.stdout.wait(self.deadline, is_there) {
            panic!("{}\nnever said {text:?}\n{}", self.command, self.so_far());
        }
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid()), signal).unwrap_or_else(|error| panic!("{signal} to {}: {error}", self.command));
    }

    /// Waits for its end and gives what it did.
    ///
    /// # Panics
    /// When it does not end in time, or leaves processes behind.
    pub fn finish(self) -> Outcome {
        let (outcome, strays) = self.finish_with_strays();
        assert!(strays.is_empty(), "{outcome}\nleft processes behind: {strays:#?}");
        outcome
    }

    /// As [`Running::finish`], but gives the processes left behind; they have been ended.
    pub fn finish_with_strays(mut self) -> (Outcome, Vec<Process>) {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if self.ended.recv_timeout(left).is_err() {
            self.end_all();
            panic!("{}\ndid not end in {:?}\n{}", self.command, self.started.elapsed(), self.so_far());
        }
        let elapsed = self.started.elapsed();
        let strays = self.strays();
        self.end_all();
        let status = self.child.wait().expect("the child has ended");
        self.is_reaped = true;
        let drained = Instant::now() + platform::patience(SETTLE_LIMIT);
        let is_finished = |collected: &Collected| collected.is_finished;
        let is_closed = self.stdout.wait(drained, is_finished) && self.stderr.wait(drained, is_finished);
        assert!(is_closed, "{}\nsomebody still holds its output open\n{}", self.command, self.so_far());
        let (command, stdout, stderr) = (self.command.clone(), self.stdout.bytes(), self.stderr.bytes());
        (Outcome { command, stdout, stderr, status, elapsed }, strays)
    }

    /// The processes of this run that live on after its end, once the system has had time to
    /// take the others away.
    fn strays(&self) -> Vec<Process> {
        let find = || process::marked(&self.marker, self.pid());
        poll_until(SETTLE_LIMIT, || find().is_empty().then(Vec::new)).unwrap_or_else(find)
    }

    fn end_all(&self) {
        let _ = killpg(Pid::from_raw(self.pid()), Signal::SIGKILL);
        for process in process::marked(&self.marker, self.pid()) {
            let _ = kill(Pid::from_raw(process.pid), Signal::SIGKILL);
        }
    }

    fn so_far(&self) -> String {
        let (stdout, stderr) = (self.stdout.bytes(), self.stderr.bytes());
        format!("stdout:\n{}\nstderr:\n{}", abridged(&stdout), abridged(&stderr))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.is_reaped {
            self.end_all();
            let _ = self.child.wait();
        }
    }
}

fn feed(mut pipe: ChildStdin, bytes: Vec<u8>) {
    thread::spawn(move || {
        // A program may end without reading all of it.
        let _ = pipe.write_all(&bytes);
    });
}

/// What a program did.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The command line, for messages.
    pub command: String,
    /// What it wrote on standard output.
    pub stdout: Vec<u8>,
    /// What it wrote on standard error.
    pub stderr: Vec<u8>,
    /// How it ended.
    pub status: ExitStatus,
    /// How long it took.
    pub elapsed: Duration,
}

impl Outcome {
    /// Standard output as text.
    pub fn out(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Standard error as text.
    pub fn err(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// Exit status as a shell shows it: 128 and the signal for a program that a signal ended.
    pub fn shell_status(&self) -> i32 {
        self.status.code().or(self.status.signal().map(|signal| 128 + signal)).expect("a program exits or is killed")
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "{}\nended after {:?} with {}", self.command, self.elapsed, self.status)?;
        write!(formatter, "stdout:\n{}\nstderr:\n{}", abridged(&self.stdout), abridged(&self.stderr))
    }
}

/// The end of a long output: that is where it went wrong.
fn abridged(bytes: &[u8]) -> String {
    const MOST: usize = 6000;
    let text = String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(MOST)..]);
    if bytes.len() > MOST { format!("[{} bytes before]…{text}", bytes.len() - MOST) } else { text.into_owned() }
}
