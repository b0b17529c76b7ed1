//! Running a command to its end: pinned if asked for, with its output kept, under a deadline.
//!
//! Output goes to unnamed files and not to pipes: no thread of ours runs beside the measured
//! program, and a program can't be held up by what it prints.

use std::env;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::Failure;
use crate::machine::running::{self, Running};
use crate::machine::{host, scratch, tsc};

/// A command that ended well.
pub struct Finished {
    /// What it printed.
    pub stdout: String,
    /// What it wrote to its standard error.
    pub stderr: String,
    /// From just before it was started until its end was seen.
    pub elapsed: Duration,
    /// The time-stamp counter when its end was seen.
    pub end: u64,
}

/// Runs `command` on `core`, or wherever Linux puts it. Everything but status 0 is a failure,
/// told with `label` and what the command wrote last to its standard error.
pub fn run(label: &str, command: &[OsString], core: Option<usize>, limit: Duration) -> Result<Finished, Failure> {
    let broken = |error: io::Error| {
        let line = printable(command);
        Failure::new(format!(
            "cannot run {label} ({line}): {error}; check the temporary folder and the limits of this shell"
        ))
    };
    let (program, arguments) = command.split_first().ok_or_else(|| broken(io::ErrorKind::InvalidInput.into()))?;
    let folder = env::temp_dir();
    let mut stdout = scratch::unnamed_file(&folder).map_err(broken)?;
    let mut stderr = scratch::unnamed_file(&folder).map_err(broken)?;
    let mut prepared = Command::new(program);
    prepared
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(stdout.try_clone().map_err(broken)?)
        .stderr(stderr.try_clone().map_err(broken)?);

    let (mut child, start, running) = spawn(&mut prepared, core).map_err(|error| {
        Failure::cannot_start(&program.to_string_lossy(), &error, "check that it is installed and executable")
    })?;
    let ended = host::wait_for_exit(child.id(), limit);
    let end = tsc::end();
    let elapsed = start.elapsed();
    if !matches!(ended, Ok(true)) {
        // Nothing can be done about a child that has just ended by itself.
        let _ = child.kill();
    }
    drop(running);
    let status = child.wait().map_err(broken)?;
    if !ended.map_err(broken)? {
        let (line, seconds) = (printable(command), limit.as_secs());
        return Err(Failure::new(format!(
            "{label} did not end within {seconds} s and was killed ({line}); run it by itself, or give more with --timeout"
        )));
    }
    if !status.success() {
        let errors = content(&mut stderr).map_err(broken)?;
        return Err(unsuccessful(label, command, status, &errors));
    }
    let (stdout, stderr) = (content(&mut stdout).map_err(broken)?, content(&mut stderr).map_err(broken)?);
    Ok(Finished { stdout, stderr, elapsed, end })
}

/// Starts the child from a thread that is pinned, so that it inherits the pin and this process
/// keeps its own affinity.
fn spawn(command: &mut Command, core: Option<usize>) -> io::Result<(Child, Instant, Running)> {
    let start = |command: &mut Command| {
        running::start(|| {
            let start = Instant::now();
            Ok((command.spawn()?, start))
        })
    };
    let Some(core) = core else {
        return start(command);
    };
    let pinned = || {
        host::pin_this_thread(core)?;
        start(command)
    };
    thread::scope(|scope| scope.spawn(pinned).join())
        .unwrap_or_else(|_| Err(io::Error::other("the starting thread panicked")))
}

/// Everything the child wrote. Its descriptor shares the offset with ours, hence the rewind.
pub fn content(file: &mut File) -> io::Result<String> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn unsuccessful(label: &str, command: &[OsString], status: ExitStatus, errors: &str) -> Failure {
    let how = match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with status {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "did not end normally".to_owned(),
    };
    let said = match telling_line(command, errors) {
        Some(line) => format!(", saying \"{}\"", line.trim()),
        None => String::new(),
    };
    let line = printable(command);
    Failure::new(format!("{label} {how}{said}; to see it by itself, run: {line}"))
}

/// The last line that begins with the name of a program of the command: launchers add words of their own
/// after what the program said. Else the last line.
pub fn telling_line<'a>(command: &[OsString], errors: &'a str) -> Option<&'a str> {
    let names: Vec<_> = command.iter().filter_map(|word| Path::new(word).file_name()?.to_str()).collect();
    let by_name = |line: &&str| line.split_once(": ").is_some_and(|(start, _)| names.contains(&start));
    let lines = || errors.lines().filter(|line| !line.trim().is_empty());
    lines().rfind(by_name).or_else(|| lines().next_back())
}

fn printable(command: &[OsString]) -> String {
    let words: Vec<_> = command.iter().map(|word| word.to_string_lossy()).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn shell(script: &str) -> Vec<OsString> {
        ["sh", "-c", script].map(OsString::from).to_vec()
    }

    fn failure_of(script: &str, limit: Duration) -> String {
        let failed = run("side native", &shell(script), None, limit);
        failed.err().map(|f| f.to_string()).unwrap_or_default()
    }

    #[test]
    fn output_is_kept() {
        let finished = run("side native", &shell("echo out; echo err >&2"), None, LONG).unwrap();
        assert_eq!(finished.stdout, "out\n");
        assert!(finished.elapsed > Duration::ZERO);
    }

    #[test]
    fn a_pinned_command_runs_on_its_core_alone() {
        let core = *host::allowed_cores().unwrap().last().unwrap();
        let before = host::allowed_cores().unwrap();
        let script = "grep Cpus_allowed_list /proc/self/status";
        let finished = run("side native", &shell(script), Some(core), LONG).unwrap();
        assert_eq!(finished.stdout.split_whitespace().last(), Some(core.to_string().as_str()));
        assert_eq!(host::allowed_cores().unwrap(), before);
    }

    #[test]
    fn a_failure_says_status_and_last_line() {
        let message = failure_of("echo one >&2; echo two >&2; exit 7", LONG);
        assert!(message.contains("side native ended with status 7, saying \"two\""));
        let message = failure_of("kill -9 $$", LONG);
        assert!(message.contains("was ended by signal 9;"));
    }

    #[test]
    fn what_a_program_says_is_found_before_what_its_launcher_adds() {
        let command = ["mpirun", "-np", "2", "/x/bench"].map(OsString::from);
        let errors = "bench: needs 2 ranks\n-----\nExit code: 2\n-----\n\n";
        assert_eq!(telling_line(&command, errors), Some("bench: needs 2 ranks"));
        assert_eq!(telling_line(&command, "other: x\n-----\n"), Some("-----"));
        assert_eq!(telling_line(&command, "\n"), None);
    }

    #[test]
    fn a_hanging_command_is_killed() {
        let message = failure_of("exec sleep 60", Duration::from_millis(10));
        assert!(message.contains("did not end within 0 s and was killed"));
    }

    #[test]
    fn a_missing_command_is_127() {
        let failed = run("side native", &["/nonexistent/x".into()], None, LONG);
        assert_eq!(failed.err().unwrap().status(), 127);
    }
}
