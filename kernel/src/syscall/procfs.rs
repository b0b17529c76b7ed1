//! What files in `/proc/<pid>` say of the program and Linux does not know.
//!
//! To Linux the program's process is the proxy, or its child, whose memory, names and threads are
//! not the program's. When a path that is opened may be one of these files, what the kernel has to
//! say goes along with the call ([`private::OWN_PROC`](shm_ipc::calls::private::OWN_PROC)); the
//! proxy, which sees what has really been opened, gives the program a file with that content
//! (`proxy/src/serve/procfs.rs`):
//!
//! ```text
//! maps smaps smaps_rollup        the areas of shm_ipc::maps
//! auxv cmdline environ comm statm   the content
//! task (the directory)           the threads' numbers, one a line
//! status, and /proc/meminfo      lines that replace those of the same key
//! stat                           lines of a field's number (proc(5)) and what it is
//! ```

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt::Write;

use zerocopy::IntoBytes;

use super::comm;
use super::marshal::build;
use super::renewed;
use crate::abi::{Errno, SysResult};
use crate::boot;
use crate::forward::PATH_MAX;
use crate::loader::{self, Started};
use crate::mm::{self, user};
use crate::sched::affinity::CpuSet;
use crate::sched::signal::{self, Action};
use crate::sched::thread::{self, Thread, current, current_arc};
use crate::sched::{process, this_core};
use shm_ipc::calls::{Call, Shape, private};
use shm_ipc::layout::PAGE;

const OPEN: u32 = 2;
const OPENAT: u32 = 257;

/// open(2), openat(2), openat2(2).
pub fn open(row: &'static Call, args: [u64; 6]) -> SysResult {
    let mut request = build(row, args)?;
    // As the program has it: what the request has names no thread.
    let path = path_of(row, args);
    let content = path.as_ref().and_then(|path| answer(path));
    let is_own = content.is_some();
    if let Some(content) = content {
        request.kernel_buffer(private::OWN_PROC, content);
    }
    let fd = request.run().result?;
    if let Some(path) = path.as_ref().filter(|_| is_own) {
        renewed::opened(path, fd);
    }
    if let Some(path) = path.filter(|path| path.ends_with(b"/comm") && writes(row, args)) {
        comm::opened(&path, fd);
    }
    Ok(fd)
}

/// Whether a file is opened for writing.
fn writes(row: &'static Call, args: [u64; 6]) -> bool {
    const ACCESS: u64 = 3;
    let flags = match row.nr {
        OPEN => args[1],
        OPENAT => args[2],
        // openat2: the first word of its structure.
        _ => user::read(args[2]).unwrap_or(0),
    };
    flags & ACCESS != 0
}

fn path_of(row: &'static Call, args: [u64; 6]) -> Option<Vec<u8>> {
    let at = row.args.iter().position(|shape| *shape == Shape::Path).map(|index| args[index])?;
    user::read_cstr(at, PATH_MAX).ok()
}

/// readlink(2), readlinkat(2) of the links that say who is asking: what the program's numbers are and
/// Linux does not know. `None` for any other.
pub fn read_link(row: &'static Call, args: [u64; 6]) -> Option<SysResult> {
    const READLINK: u32 = 89;
    const READLINKAT: u32 = 267;
    let (at, len) = match row.nr {
        READLINK => (args[1], args[2]),
        READLINKAT => (args[2], args[3]),
        _ => return None,
    };
    let target = own_link(&path_of(row, args)?)?;
    let target = &target.as_bytes()[..target.len().min(len as u32 as usize)];
    Some(user::copy_out(at, target).map(|()| target.len() as u64))
}

/// Where `/proc/self` and `/proc/thread-self` lead, if the path names one of them and not what it leads to.
fn own_link(path: &[u8]) -> Option<String> {
    let mut names = path.split(|byte| *byte == b'/').filter(|name| *name != b"." && !name.is_empty());
    let is_link = path.starts_with(b"/") && !path.ends_with(b"/") && !path.ends_with(b"/.");
    let (place, name, rest) = (names.next()?, names.next()?, names.next());
    if !is_link || place != b"proc" || rest.is_some() {
        return None;
    }
    let (pid, tid) = match current().lent.to() {
        Some(child) => (u64::from(child), child),
        None => (boot::facts().info.pid, current().tid),
    };
    match name {
        b"self" => Some(format!("{pid}")),
        b"thread-self" => Some(format!("{pid}/task/{tid}")),
        _ => None,
    }
}

/// What is to be said when this path turns out to be the program's own.
pub fn answer(path: &[u8]) -> Option<Vec<u8>> {
    let mut names = path.rsplit(|byte| *byte == b'/').filter(|name| *name != b"." && !name.is_empty());
    let content: fn(&Thread) -> Vec<u8> = match names.next()? {
        b"maps" | b"smaps" | b"smaps_rollup" => |_| mm::space().areas().as_bytes().to_vec(),
        b"auxv" => |_| started().auxiliary.as_bytes().to_vec(),
        b"cmdline" => |_| strings(&started().args),
        b"environ" => |_| strings(&started().env),
        b"task" => |_| threads(),
        // The proxy knows them; what is empty would not arrive.
        b"limits" => |_| alloc::vec![0],
        b"meminfo" => |_| meminfo().into_bytes(),
        b"statm" => |_| statm().into_bytes(),
        b"comm" => |thread| [name(thread).as_bytes(), b"\n"].concat(),
        b"status" => |thread| status(thread).into_bytes(),
        b"stat" => |thread| stat(thread).into_bytes(),
        _ => return None,
    };
    whose(names).map(|thread| content(&thread))
}

/// Which thread the rest of the path, from behind, is about: that of `task/<number>`, the caller for
/// `thread-self`, else the first one. `None` for a thread that is not there.
fn whose<'p>(mut names: impl Iterator<Item = &'p [u8]>) -> Option<Arc<Thread>> {
    let directory = names.next();
    let number = core::str::from_utf8(directory.unwrap_or_default()).ok().and_then(|name| name.parse().ok());
    match (directory, number) {
        (Some(b"thread-self"), _) => Some(current_arc()),
        // Relative to the directory `task`, or in it.
        (_, Some(number)) if names.next().is_none_or(|name| name == b"task") => thread::find(number),
        // The first thread may have ended: the process goes on.
        _ => Some(thread::find(boot::facts().info.pid as u32).unwrap_or_else(current_arc)),
    }
}

/// A path that names one of the cell's threads in `task`, of which Linux knows the first: that one stands for
/// all where what is asked for is not the content.
///
/// # Errors
/// `ENOENT` where there is no such thread.
pub fn known_to_linux(path: Vec<u8>) -> Result<Vec<u8>, Errno> {
    const TASK: &[u8] = b"/task/";
    if !path.starts_with(b"/proc/") {
        return Ok(path);
    }
    let Some(at) = path.windows(TASK.len()).position(|part| part == TASK).map(|at| at + TASK.len()) else {
        return Ok(path);
    };
    let len = path[at..].iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(path.len() - at);
    let number = core::str::from_utf8(&path[at..at + len]).ok().and_then(|name| name.parse().ok());
    match number {
        Some(number) if number >= thread::FIRST_TID => {
            thread::find(number).ok_or(Errno::ENOENT)?;
            let pid = format!("{}", boot::facts().info.pid);
            Ok([&path[..at], pid.as_bytes(), &path[at + len..]].concat())
        }
        _ => Ok(path),
    }
}

fn threads() -> Vec<u8> {
    let numbers: Vec<String> = thread::all().iter().map(|thread| format!("{}\n", thread.tid)).collect();
    numbers.concat().into_bytes()
}

/// The cell's memory, which is all that the program can have.
fn meminfo() -> String {
    let (total, free) = mm::space().usage();
    let lines = [("MemTotal", total), ("MemFree", free), ("MemAvailable", free), ("AnonPages", total - free)];
    let nothing = ["Buffers", "Cached", "SwapCached", "SwapTotal", "SwapFree", "SReclaimable", "KReclaimable", "Shmem"];
    let lines = lines.into_iter().chain(nothing.into_iter().map(|key| (key, 0)));
    lines.map(|(key, bytes)| format!("{:<16}{:>8} kB\n", format!("{key}:"), bytes >> 10)).collect()
}

/// Pages: all, those in memory, of these those of files, code, a zero, data, a zero (proc(5)).
fn statm() -> String {
    let sizes = mm::space().sizes();
    let pages = |bytes: u64| bytes / PAGE;
    let (size, resident) = (pages(sizes.mapped), pages(sizes.resident));
    let (shared, code, data) = (pages(sizes.of_linux), pages(sizes.code), pages(sizes.data + sizes.stack));
    format!("{size} {resident} {shared} {code} 0 {data} 0\n")
}

fn started() -> Arc<Started> {
    loader::started().unwrap_or_default()
}

/// Strings on the program's stack, as they are now. Linux says nothing either when they are gone.
fn strings(range: &core::ops::Range<u64>) -> Vec<u8> {
    let mut bytes = alloc::vec![0; (range.end - range.start) as usize];
    if user::copy_in(&mut bytes, range.start).is_ok() { bytes } else { Vec::new() }
}

fn name(thread: &Thread) -> String {
    let name = thread.name.lock();
    let len = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
    String::from_utf8_lossy(&name[..len]).into_owned()
}

/// `mask` as `/proc` writes sets of CPUs: words of 32 bits, the highest first, and ranges.
fn cpu_lists(set: &CpuSet) -> (String, String) {
    let bytes = set.to_bytes();
    let words = bytes.chunks(4).rev().map(|word| word.iter().rev().fold(0u32, |sum, byte| sum << 8 | u32::from(*byte)));
    let words: Vec<String> = words.map(|word| format!("{word:08x}")).collect();
    let mut list = String::new();
    let last = bytes.len() as u32 * 8;
    let mut cpu = 0;
    while cpu < last {
        let end = (cpu..last).find(|cpu| !set.contains(*cpu)).unwrap_or(last);
        if end > cpu {
            let comma = if list.is_empty() { "" } else { "," };
            let range = if end - cpu == 1 { format!("{comma}{cpu}") } else { format!("{comma}{cpu}-{}", end - 1) };
            list += &range;
        }
        cpu = end + 1;
    }
    (words.join(","), list)
}

/// Signals that are ignored and those that have a handler.
fn signal_sets() -> (u64, u64) {
    let handler = |signal: u8| signal::action_of(signal).handler;
    let set = |is_in: fn(u64) -> bool| {
        (1..=64).filter(|signal| is_in(handler(*signal))).fold(0, |set, signal| set | 1 << (signal - 1))
    };
    (set(|handler| handler == Action::IGNORE), set(|handler| handler > Action::IGNORE))
}

fn status(thread: &Thread) -> String {
    let sizes = mm::space().sizes();
    let (cpus, list) = cpu_lists(&thread.affinity.lock());
    let (ignored, caught) = signal_sets();
    let mut text = String::new();
    let mut line = |key: &str, value: &dyn core::fmt::Display| {
        // A string takes whatever is written to it.
        let _ = writeln!(text, "{key}:\t{value}");
    };
    line("Name", &name(thread));
    line("State", &"R (running)");
    line("Pid", &thread.tid);
    line("PPid", &boot::facts().info.ppid);
    line("Threads", &thread::count());
    line("NoNewPrivs", &super::identity::gains_nothing());
    // The filter is the platform's.
    line("Seccomp", &0);
    line("Seccomp_filters", &0);
    for (key, bytes) in [
        ("VmPeak", sizes.mapped),
        ("VmSize", sizes.mapped),
        ("VmLck", sizes.locked),
        ("VmHWM", sizes.resident),
        ("VmRSS", sizes.resident),
        ("VmData", sizes.data),
        ("VmStk", sizes.stack),
        ("VmExe", sizes.code),
        ("VmLib", 0),
        ("VmSwap", 0),
    ] {
        line(key, &format_args!("{:8} kB", bytes >> 10));
    }
    line("SigPnd", &format_args!("{:016x}", signal::pending_set(thread).0));
    line("SigBlk", &format_args!("{:016x}", thread.signals.lock().mask.0));
    line("SigIgn", &format_args!("{ignored:016x}"));
    line("SigCgt", &format_args!("{caught:016x}"));
    line("Cpus_allowed", &cpus);
    line("Cpus_allowed_list", &list);
    text
}

fn stat(thread: &Thread) -> String {
    let (started, sizes) = (started(), mm::space().sizes());
    let ticks = process::cpu_time() / (1_000_000_000 / boot::facts().info.clock_ticks.max(1));
    let mut text = format!("2 ({})\n3 R\n", name(thread));
    for (field, value) in [
        (1, u64::from(thread.tid)),
        (4, boot::facts().info.ppid),
        (14, ticks),
        (15, 0),
        (20, thread::count() as u64),
        (23, sizes.mapped),
        (24, sizes.resident / PAGE),
        (26, started.code.start),
        (27, started.code.end),
        (28, started.stack),
        (39, u64::from(this_core().cpu)),
        (47, started.heap),
        (48, started.args.start),
        (49, started.args.end),
        (50, started.env.start),
        (51, started.env.end),
    ] {
        let _ = writeln!(text, "{field} {value}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_of_cpus_as_proc_writes_them() {
        let text = |cpus: &[u32]| cpu_lists(&CpuSet::of(cpus.iter().copied()));
        assert_eq!(text(&[0]), ("00000000,00000001".into(), "0".into()));
        assert_eq!(text(&[1, 2, 3, 40]), ("00000100,0000000e".into(), "1-3,40".into()));
        assert_eq!(text(&[62, 63]), ("c0000000,00000000".into(), "62-63".into()));
    }
}
