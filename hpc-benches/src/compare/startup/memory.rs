//! What a running program takes of Linux's memory: the proportional set size (PSS) of all processes of the
//! launch, where a page that n processes share counts an n-th for each, and the huge pages that they hold,
//! which PSS leaves out (Linux, `Documentation/filesystems/proc.rst`, `smaps_rollup`).

use std::env;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::super::launch;
use super::super::side::Side;
use super::Found;
use crate::error::Failure;
use crate::machine::{host, scratch};
use crate::report::Measure;

const WAITS: &str = "probe waits";
const LOOK: Duration = Duration::from_millis(1);

/// Starts `command` and looks at its processes while the program runs; in a cell, then at the same program
/// by itself, to tell what the cell has beyond it.
pub fn measure(label: &str, side: &Side, command: &[OsString], limit: Duration) -> Result<Found, Failure> {
    let whole = match bytes_while_running(label, command, side.pin, limit)? {
        Ok(bytes) => bytes,
        Err(error) => return Ok(Found::none(unreadable(&error))),
    };
    let mut measures = vec![Measure::bytes("memory", whole)];
    if side.platform().is_none() {
        return Ok(Found { measures, reason: "there is no cell".to_owned() });
    }
    // The program with its one argument.
    let program = &command[command.len().saturating_sub(2)..];
    match bytes_while_running("the program by itself", program, side.core, limit)? {
        Ok(alone) => measures.push(Measure::bytes("memory-cell", whole - alone)),
        Err(error) => return Ok(Found { measures, reason: unreadable(&error) }),
    }
    Ok(Found::all(measures))
}

fn unreadable(error: &io::Error) -> String {
    format!("the memory of its processes can't be read: {error}")
}

/// The outer failure ends the comparison; the inner one is memory that can't be read.
fn bytes_while_running(
    label: &str,
    command: &[OsString],
    core: Option<usize>,
    limit: Duration,
) -> Result<io::Result<f64>, Failure> {
    let failure = |error: io::Error| {
        let line: Vec<_> = command.iter().map(|word| word.to_string_lossy()).collect();
        Failure::new(format!("{label}: {error}; to see it by itself, run: {}", line.join(" ")))
    };
    let mut errors = scratch::unnamed_file(&env::temp_dir()).map_err(failure)?;
    let mut waiting = Waiting::start(command, core, &errors, limit).map_err(|error| {
        let said = launch::content(&mut errors).unwrap_or_default();
        match launch::telling_line(command, &said) {
            Some(line) => failure(io::Error::other(format!("{error}, saying \"{}\"", line.trim()))),
            None => failure(error),
        }
    })?;
    let bytes = bytes_of_tree(Path::new("/proc"), waiting.child.id());
    waiting.end(limit).map_err(failure)?;
    Ok(bytes)
}

/// A program that has come to where it waits for the end of its input; killed on drop.
struct Waiting {
    child: Child,
}

impl Waiting {
    fn start(command: &[OsString], core: Option<usize>, errors: &File, limit: Duration) -> io::Result<Self> {
        let (program, arguments) = command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let stdout = scratch::unnamed_file(&env::temp_dir())?;
        let mut prepared = Command::new(program);
        prepared.args(arguments).stdin(Stdio::piped()).stdout(stdout.try_clone()?).stderr(errors.try_clone()?);
        let spawn = || {
            if let Some(core) = core {
                host::pin_this_thread(core)?;
            }
            prepared.spawn()
        };
        // The pin is the thread's, and so the child's.
        let child = thread::scope(|scope| scope.spawn(spawn).join())
            .unwrap_or_else(|_| Err(io::Error::other("the starting thread panicked")))?;
        let waiting = Self { child };
        let end = Instant::now() + limit;
        loop {
            if said_so_far(&stdout)?.lines().any(|line| line == WAITS) {
                return Ok(waiting);
            }
            if host::wait_for_exit(waiting.child.id(), LOOK)? {
                return Err(io::Error::other("ended before it had started to wait"));
            }
            if Instant::now() > end {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
    }

    fn end(&mut self, limit: Duration) -> io::Result<()> {
        drop(self.child.stdin.take());
        if !host::wait_for_exit(self.child.id(), limit)? {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let status = self.child.wait()?;
        if status.success() { Ok(()) } else { Err(io::Error::other(format!("it ended with {status}"))) }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        // Nothing can be done about a child that has ended by itself, as it has after `end`.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What is in the file. Its writer shares our offset, which is therefore left alone.
fn said_so_far(file: &File) -> io::Result<String> {
    let mut bytes = vec![0; usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The bytes of process `root` and of all that descend from it. Huge pages are those of the one that holds
/// most: the processes of a cell share them.
fn bytes_of_tree(proc: &Path, root: u32) -> io::Result<f64> {
    let parents = parents(proc)?;
    let mut tree = vec![root];
    let mut at = 0;
    while let Some(&process) = tree.get(at) {
        tree.extend(parents.iter().filter(|(_, parent)| *parent == process).map(|(child, _)| child));
        at += 1;
    }
    let mut set_size = 0.0;
    let mut huge = 0.0_f64;
    for process in tree {
        let text = fs::read_to_string(proc.join(process.to_string()).join("smaps_rollup"))?;
        let field = |name| kilobytes(&text, name).ok_or(io::Error::from(io::ErrorKind::InvalidData));
        set_size += field("Pss")?;
        huge = huge.max(field("Private_Hugetlb")? + field("Shared_Hugetlb")?);
    }
    Ok((set_size + huge) * 1024.0)
}

/// Every process and its parent.
fn parents(proc: &Path) -> io::Result<Vec<(u32, u32)>> {
    let mut parents = Vec::new();
    for entry in fs::read_dir(proc)? {
        let name = entry?.file_name();
        let Some(process) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
        // A process may have ended since the directory was read.
        let Ok(stat) = fs::read_to_string(proc.join(name).join("stat")) else { continue };
        parents.extend(parent(&stat).map(|parent| (process, parent)));
    }
    Ok(parents)
}

/// The fourth field of `/proc/PID/stat` (proc(5)); the second, the name, may hold spaces and parentheses.
fn parent(stat: &str) -> Option<u32> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

/// The value of `Name:   12 kB`.
fn kilobytes(text: &str, name: &str) -> Option<f64> {
    let value = |line: &str| line.strip_prefix(name)?.strip_prefix(':')?.trim().strip_suffix("kB")?.trim().parse().ok();
    text.lines().find_map(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::scratch::ScratchFolder;

    fn process(proc: &Path, id: u32, parent: u32, pss: u32, huge: u32) {
        let folder = proc.join(id.to_string());
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("stat"), format!("{id} (a) b (c) S {parent} 1 1\n")).unwrap();
        let rollup = format!(
            "1-2 ---p 0 0 [rollup]\nRss: 9999 kB\nPss:  {pss} kB\nPss_Anon: 7 kB\nShared_Hugetlb:  {huge} kB\nPrivate_Hugetlb:   0 kB\n"
        );
        fs::write(folder.join("smaps_rollup"), rollup).unwrap();
    }

    #[test]
    fn a_tree_is_the_sum_of_its_processes_and_the_largest_of_its_huge_pages() {
        let folder = ScratchFolder::new(&std::env::temp_dir()).unwrap();
        let proc = folder.path();
        fs::create_dir(proc.join("sys")).unwrap();
        process(proc, 10, 1, 100, 2048);
        process(proc, 11, 10, 20, 2048);
        process(proc, 12, 11, 3, 0);
        process(proc, 13, 1, 5000, 4096);
        assert_eq!(bytes_of_tree(proc, 10).unwrap(), (123.0 + 2048.0) * 1024.0);
        assert_eq!(bytes_of_tree(proc, 12).unwrap(), 3.0 * 1024.0);
        assert!(bytes_of_tree(proc, 99).is_err());
    }

    #[test]
    fn a_process_of_our_own_has_memory() {
        let command = ["sh", "-c", "echo probe waits; read x; exit 0"].map(OsString::from);
        let limit = Duration::from_secs(60);
        let bytes = bytes_while_running("a shell", &command, None, limit).unwrap().unwrap();
        assert!(bytes > 4096.0, "{bytes}");
        let gone = ["sh", "-c", "echo sh: no >&2"].map(OsString::from);
        let failure = bytes_while_running("a shell", &gone, None, limit).unwrap_err();
        assert!(failure.to_string().contains("ended before it had started to wait, saying \"sh: no\""), "{failure}");
    }
}
