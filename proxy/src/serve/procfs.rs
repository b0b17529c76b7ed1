//! Files in `/proc/<pid>` that are about the program and not about the process that Linux knows.
//!
//! What the kernel knows comes with the call that opens such a file
//! (`kernel/src/syscall/procfs.rs`). Here it becomes text in Linux's format (proc(5)), joined with
//! what only Linux knows: names and numbers of files, and everything else of `status` and `stat`. The
//! program gets a file in memory with it in place of Linux's. It says how things are when it is
//! opened, or read again from its beginning.

mod smaps;

use std::ffi::CStr;
use std::fmt::Write;
use std::fs::{self, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use shm_ipc::calls::private;
use shm_ipc::maps::{self, Area};
use zerocopy::FromBytes;

use super::call::Call;
use super::host::{self, Arg, Errno, Outcome};
use super::{limits, paths};

/// Permissions of what the program gets.
const READ_ONLY: u32 = 0o444;

/// `task/<number>/` of a thread of the cell's own is not there in Linux: the rest of the path is
/// looked for in the process.
pub fn without_thread(rest: Vec<u8>) -> Vec<u8> {
    let mut names = rest.splitn(3, |byte| *byte == b'/');
    match (names.next(), names.next(), names.next()) {
        (Some(b"task"), Some(number), Some(name)) if number.iter().all(u8::is_ascii_digit) => name.to_vec(),
        _ => rest,
    }
}

/// If `fd`, just opened, is one of these files: makes it one with the program's content.
pub fn replace(call: &Call<'_, '_>, fd: i64, close_on_exec: i32) -> Result<(), Errno> {
    let child = call.service.cell.child;
    // Whatever Linux can't name is none of them.
    let Ok(link) = fs::read_link(format!("/proc/self/fd/{fd}")) else { return Ok(()) };
    let link = std::ffi::CString::new(link.into_os_string().into_encoded_bytes()).unwrap_or_default();
    let name = match paths::own_proc(&link, child).or_else(|| call_it_own(call, &link)) {
        Some(rest) => without_thread(rest),
        // Not the process's own, but what it says is.
        None if link.to_bytes() == b"/proc/meminfo" => b"meminfo".to_vec(),
        None => return Ok(()),
    };
    let said = call.copy_in(private::OWN_PROC, call.len(private::OWN_PROC))?;
    if name == b"task" {
        return show_threads(call, fd, close_on_exec, &said);
    }
    match content(call, &name, said)? {
        Some(content) => put_in_place(fd, close_on_exec, &name, &content),
        None => Ok(()),
    }
}

/// The file is about to be read again from its beginning, with what the kernel has to say now.
pub fn renew(call: &Call<'_, '_>) -> Outcome {
    const OTHER: Errno = Errno(libc::ENOENT);
    let path = format!("/proc/self/fd/{}", call.int(0));
    let failed = |error: std::io::Error| Errno(error.raw_os_error().unwrap_or(libc::EIO));
    let link = fs::read_link(&path).map_err(|_| OTHER)?;
    let said = call.copy_in(private::OWN_PROC, call.len(private::OWN_PROC))?;
    if call.service.cell.threads.as_ref() == Some(&link) {
        lay_out_threads(&link, &String::from_utf8_lossy(&said)).map_err(failed)?;
        return Ok(0);
    }
    // As `put_in_place` made it.
    let name = link.to_str().and_then(|link| link.strip_prefix("/memfd:")?.strip_suffix(" (deleted)")).ok_or(OTHER)?;
    if fs::metadata(&path).map_err(failed)?.permissions().mode() & 0o7777 != READ_ONLY {
        return Err(OTHER);
    }
    let content = content(call, name.as_bytes(), said)?.ok_or(OTHER)?;
    rewrite(Path::new(&path), &content).map_err(failed)?;
    Ok(0)
}

/// What the program's file `name` has, if it is one of these.
fn content(call: &Call<'_, '_>, name: &[u8], said: Vec<u8>) -> Result<Option<Vec<u8>>, Errno> {
    let child = call.service.cell.child;
    let linux = || {
        // What led here through the proxy's own directory is the program's all the same.
        let path = if name == b"meminfo" { "/proc/meminfo".into() } else { proc_file(child, name) };
        fs::read_to_string(path).map_err(|error| Errno(error.raw_os_error().unwrap_or(libc::EIO)))
    };
    Ok(Some(match name {
        b"maps" => maps(call, &said)?.into_bytes(),
        b"smaps" | b"smaps_rollup" => {
            let linux = linux_smaps(call)?;
            let lines = joined(lines(call, &said, &linux));
            let text = if name == b"smaps" { smaps::text(&lines, &linux) } else { smaps::rollup(&lines, &linux) };
            text.into_bytes()
        }
        b"limits" => limits::listed(call, &linux()?).into_bytes(),
        b"status" | b"meminfo" => with_lines(&linux()?, &String::from_utf8_lossy(&said)).into_bytes(),
        b"stat" => {
            let job = job(&fs::read_to_string("/proc/self/stat").unwrap_or_default());
            with_fields(&linux()?, &(job + &String::from_utf8_lossy(&said))).into_bytes()
        }
        b"auxv" | b"cmdline" | b"environ" | b"comm" | b"statm" => said,
        _ => return Ok(None),
    }))
}

/// What follows the proxy's own directory in `/proc`, where Linux took the one for "self" in the middle of
/// a path; not where the program named the process.
fn call_it_own(call: &Call<'_, '_>, link: &CStr) -> Option<Vec<u8>> {
    let own = host::own_pid();
    let rest = paths::own_proc(link, own)?;
    let at = usize::from(i64::from(call.nr) == libc::SYS_openat || i64::from(call.nr) == libc::SYS_openat2);
    let path = call.copy_in(at, call.len(at)).ok()?;
    let path = path.split(|byte| *byte == 0).next().unwrap_or_default();
    let names_it = path.split(|byte| *byte == b'/').any(|name| name == own.to_string().as_bytes());
    (!names_it).then_some(rest)
}

fn proc_file(pid: libc::pid_t, name: &[u8]) -> String {
    format!("/proc/{pid}/{}", String::from_utf8_lossy(name))
}

/// Group, session and terminal are the proxy's (fields 5 to 8 of proc_pid_stat(5)).
fn job(linux: &str) -> String {
    let after_name = linux.rsplit_once(')').map_or("", |(_, rest)| rest);
    let fields = after_name.split_whitespace().zip(3..).filter(|(_, number)| (5..=8).contains(number));
    fields.map(|(value, number)| format!("{number} {value}\n")).collect()
}

fn linux_smaps(call: &Call<'_, '_>) -> Result<String, Errno> {
    let path = format!("/proc/{}/smaps", call.service.cell.child);
    fs::read_to_string(path).map_err(|error| Errno(error.raw_os_error().unwrap_or(libc::EIO)))
}

/// Gives `fd` to a directory that has the threads as `/proc/<pid>/task` would: as they are now.
fn show_threads(call: &Call<'_, '_>, fd: i64, close_on_exec: i32, numbers: &[u8]) -> Result<(), Errno> {
    let Some(place) = call.service.cell.threads.as_deref() else { return Ok(()) };
    lay_out_threads(place, &String::from_utf8_lossy(numbers))
        .map_err(|error| Errno(error.raw_os_error().unwrap_or(libc::EIO)))?;
    let path = std::ffi::CString::new(place.as_os_str().as_encoded_bytes()).unwrap_or_default();
    let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC;
    let (here, flags, none) = (Arg::number(libc::AT_FDCWD as u64), Arg::number(flags as u64), Arg::null());
    let directory = host::call(libc::SYS_openat as u32, &[here, Arg::text(&path), flags, none, none, none])?;
    let placed = host::numbers(libc::SYS_dup3, &[directory, fd, i64::from(close_on_exec)]);
    let _ = host::numbers(libc::SYS_close, &[directory]);
    placed.map(drop)
}

/// Makes the directories below `place` those that `numbers` has, a line each.
fn lay_out_threads(place: &Path, numbers: &str) -> std::io::Result<()> {
    fs::create_dir_all(place)?;
    for entry in fs::read_dir(place)? {
        let name = entry?.file_name();
        if !numbers.lines().any(|number| name == number) {
            fs::remove_dir(place.join(name))?;
        }
    }
    for number in numbers.lines() {
        match fs::create_dir(place.join(number)) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// The path in `/proc` that `path`, relative to the directory `fd`, stands for when that is the one of
/// [`show_threads`].
pub fn below_threads(call: &Call<'_, '_>, fd: i32, path: &[u8]) -> Option<Vec<u8>> {
    let place = call.service.cell.threads.as_deref()?;
    if path.starts_with(b"/") || fd == libc::AT_FDCWD {
        return None;
    }
    let link = fs::read_link(format!("/proc/self/fd/{fd}")).ok()?;
    (link == place).then(|| [b"/proc/self/task/", path].concat())
}

/// Gives `fd` to a file in memory that can only be read.
pub fn put_in_place(fd: i64, close_on_exec: i32, name: &[u8], content: &[u8]) -> Result<(), Errno> {
    let name = std::ffi::CString::new(name).unwrap_or_default();
    let (flags, none) = (Arg::number(u64::from(libc::MFD_CLOEXEC)), Arg::null());
    let file = host::call(libc::SYS_memfd_create as u32, &[Arg::text(&name), flags, none, none, none, none])?;
    let filled = fill(file, content).or_else(|errno| fill_beyond_limit(file, content, errno)).and_then(|()| {
        host::numbers(libc::SYS_fchmod, &[file, READ_ONLY.into()])?;
        let path = std::ffi::CString::new(format!("/proc/self/fd/{file}")).unwrap_or_default();
        let (here, flags) =
            (Arg::number(libc::AT_FDCWD as u64), Arg::number((libc::O_RDONLY | libc::O_CLOEXEC) as u64));
        host::call(libc::SYS_openat as u32, &[here, Arg::text(&path), flags, none, none, none])
    });
    let _ = host::numbers(libc::SYS_close, &[file]);
    let readable = filled?;
    let placed = host::numbers(libc::SYS_dup3, &[readable, fd, i64::from(close_on_exec)]);
    let _ = host::numbers(libc::SYS_close, &[readable]);
    placed.map(drop)
}

/// Gives such a file other content, for all who have it open.
fn rewrite(path: &Path, content: &[u8]) -> std::io::Result<()> {
    fs::set_permissions(path, Permissions::from_mode(READ_ONLY | 0o200))?;
    let written = fs::File::options().write(true).open(path).and_then(|mut file| {
        file.write_all(content)?;
        file.set_len(content.len() as u64)
    });
    fs::set_permissions(path, Permissions::from_mode(READ_ONLY))?;
    written
}

fn fill(file: i64, content: &[u8]) -> Result<(), Errno> {
    let mut left = content;
    while !left.is_empty() {
        let (fd, len, none) = (Arg::number(file as u64), Arg::number(left.len() as u64), Arg::null());
        let written = host::call(libc::SYS_write as u32, &[fd, Arg::input(left), len, none, none, none])?;
        left = &left[(written as usize).min(left.len())..];
    }
    Ok(())
}

/// RLIMIT_FSIZE is meant for what the program writes, and the proxy has it too: another process, which has
/// it no more, fills the same file.
fn fill_beyond_limit(file: i64, content: &[u8], errno: Errno) -> Result<(), Errno> {
    if errno.0 != libc::EFBIG {
        return Err(errno);
    }
    let Some(pid) = host::fork()? else {
        let filled = limits::lift_file_size().and_then(|()| {
            host::numbers(libc::SYS_lseek, &[file, 0, 0])?;
            fill(file, content)
        });
        host::exit(i32::from(filled.is_err()))
    };
    let mut status = [0xff; 4];
    let none = Arg::null;
    let args = [Arg::number(pid as u64), Arg::output(&mut status), none(), none(), none(), none()];
    while host::call(libc::SYS_wait4 as u32, &args) == Err(Errno(libc::EINTR)) {}
    if status == [0; 4] { Ok(()) } else { Err(errno) }
}

/// `status` of Linux with the lines that the kernel has.
fn with_lines(linux: &str, ours: &str) -> String {
    let key = |line: &str| line.split(':').next().map(str::to_owned);
    let mut text = String::new();
    for line in linux.lines() {
        let better = ours.lines().find(|ours| key(ours) == key(line));
        text += better.unwrap_or(line);
        text.push('\n');
    }
    text
}

/// `stat` of Linux with the fields that the kernel has.
fn with_fields(linux: &str, ours: &str) -> String {
    // The second field is in parentheses and may hold anything.
    let Some((before, rest)) = linux.trim_end().rsplit_once(')') else { return linux.to_owned() };
    let (pid, name) = before.split_once(" (").unwrap_or((before, ""));
    let name = format!("({name})");
    let mut fields: Vec<&str> = [pid, &name].into_iter().chain(rest.split_whitespace()).collect();
    for line in ours.lines() {
        let Some((number, value)) = line.split_once(' ') else { continue };
        let field = number.parse::<usize>().ok().and_then(|number| fields.get_mut(number.wrapping_sub(1)));
        if let Some(field) = field {
            *field = value;
        }
    }
    fields.join(" ") + "\n"
}

/// A line of Linux's own list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Known<'t> {
    start: u64,
    end: u64,
    /// Bytes of the cell's own memory in it; `None`: the memory is Linux's.
    resident: Option<u64>,
    permissions: &'t str,
    offset: u64,
    /// Device and inode.
    file: String,
    name: &'t str,
}

impl<'t> Known<'t> {
    fn parse(line: &'t str) -> Option<Self> {
        let mut fields = line.splitn(6, ' ');
        let (start, end) = fields.next()?.split_once('-')?;
        let hex = |text| u64::from_str_radix(text, 16).ok();
        let permissions = fields.next()?;
        let offset = hex(fields.next()?)?;
        let file = format!("{} {}", fields.next()?, fields.next()?);
        let name = fields.next().unwrap_or_default().trim_start();
        Some(Known { start: hex(start)?, end: hex(end)?, resident: None, permissions, offset, file, name })
    }

    fn write(&self, text: &mut String) {
        let Known { start, end, permissions, offset, file, name, resident: _ } = self;
        let head = format!("{start:08x}-{end:08x} {permissions} {offset:08x} {file} ");
        // A string takes whatever is written to it.
        let _ = if name.is_empty() { writeln!(text, "{head}") } else { writeln!(text, "{head:73}{name}") };
    }
}

fn maps(call: &Call<'_, '_>, areas: &[u8]) -> Result<String, Errno> {
    let cell = &call.service.cell;
    let linux = fs::read_to_string(format!("/proc/{}/maps", cell.child));
    let linux = linux.map_err(|error| Errno(error.raw_os_error().unwrap_or(libc::EIO)))?;
    let mut text = String::new();
    joined(lines(call, areas, &linux)).iter().for_each(|line| line.write(&mut text));
    Ok(text)
}

/// What `areas` says, in lines as Linux's `maps`, or `smaps`, which is `linux`.
fn lines<'t>(call: &Call<'_, '_>, areas: &[u8], linux: &'t str) -> Vec<Known<'t>> {
    let cell = &call.service.cell;
    let known: Vec<Known<'_>> = linux.lines().filter_map(Known::parse).collect();
    let areas = areas.chunks_exact(size_of::<Area>()).filter_map(|bytes| Area::read_from_bytes(bytes).ok());
    let copy = |number| call.service.copies.address(number);
    let mut all: Vec<Known<'_>> = areas.map(|area| line_of(&area, &known, copy)).collect();
    if cell.bare.is_none() {
        // The program has these from Linux.
        all.extend(known.iter().filter(|known| is_linuxs(known.name)).cloned());
    }
    all.sort_by_key(|line| line.start);
    all
}

fn is_linuxs(name: &str) -> bool {
    name.starts_with("[vdso") || name.starts_with("[vvar") || name == "[vsyscall]"
}

/// An area, with device, inode and name of its file by what Linux knows: of the same address, or, for
/// a copy, of the address where this process has the file.
fn line_of<'t>(area: &Area, known: &[Known<'t>], copy: impl Fn(u64) -> Option<u64>) -> Known<'t> {
    let at = match area.kind {
        maps::LINUX_PRIVATE | maps::LINUX_SHARED => Some(area.start),
        maps::COPY => copy(area.number),
        _ => None,
    };
    let linux = at.and_then(|at| known.iter().find(|line| (line.start..line.end).contains(&at)));
    let nothing = "00:00 0".to_owned();
    let (file, name) = match (linux, area.kind) {
        (Some(line), _) => (line.file.clone(), line.name),
        (None, maps::HEAP) => (nothing, "[heap]"),
        (None, maps::STACK) => (nothing, "[stack]"),
        (None, maps::VDSO) => (nothing, "[vdso]"),
        (None, maps::VVAR) => (nothing, "[vvar]"),
        (None, maps::SHARED_ANONYMOUS) => (format!("00:01 {}", area.number), "/dev/zero (deleted)"),
        (None, _) => (nothing, ""),
    };
    let is_shared = matches!(area.kind, maps::SHARED_ANONYMOUS | maps::LINUX_SHARED);
    let is_linuxs = matches!(area.kind, maps::LINUX_PRIVATE | maps::LINUX_SHARED);
    Known {
        start: area.start,
        end: area.end,
        resident: (!is_linuxs).then_some(area.resident),
        permissions: permissions(area.prot, is_shared),
        offset: area.offset,
        file,
        name,
    }
}

fn permissions(prot: u32, is_shared: bool) -> &'static str {
    const ALL: [[&str; 2]; 8] = [
        ["---p", "---s"],
        ["r--p", "r--s"],
        ["-w-p", "-w-s"],
        ["rw-p", "rw-s"],
        ["--xp", "--xs"],
        ["r-xp", "r-xs"],
        ["-wxp", "-wxs"],
        ["rwxp", "rwxs"],
    ];
    ALL[(prot & 7) as usize][usize::from(is_shared)]
}

/// Neighbours of private memory without a file are one to Linux, however they came to be.
fn joined(lines: Vec<Known<'_>>) -> Vec<Known<'_>> {
    let mut all: Vec<Known<'_>> = Vec::with_capacity(lines.len());
    for line in lines {
        match all.last_mut() {
            Some(last)
                if last.end == line.start
                    && last.permissions == line.permissions
                    && last.name.is_empty()
                    && line.name.is_empty()
                    && last.file == line.file
                    && line.permissions.ends_with('p') =>
            {
                last.end = line.end;
                last.resident = last.resident.zip(line.resident).map(|(one, other)| one + other);
            }
            _ => all.push(line),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_out_as_they_went_in() {
        let own = fs::read_to_string("/proc/self/maps").expect("there");
        let mut text = String::new();
        for line in own.lines() {
            Known::parse(line).expect(line).write(&mut text);
        }
        assert_eq!(text, own);
    }

    #[test]
    fn areas_get_the_files_that_linux_knows() {
        let text =
            "1000-3000 rw-s 00005000 00:12 77          /dev/shm/a b (deleted)\n9000-a000 r--p 00000000 08:01 5  /lib/x";
        let known: Vec<_> = text.lines().filter_map(Known::parse).collect();
        let area = |start, kind, number, prot| Area {
            start,
            end: start + 0x1000,
            offset: 0x6000,
            number,
            resident: 0,
            prot,
            kind,
        };
        let print = |area: Area| {
            let mut text = String::new();
            line_of(&area, &known, |number| (number == 3).then_some(0x9000)).write(&mut text);
            text
        };
        let name = |text: String| text.get(73..).map(str::to_owned);
        assert!(print(area(0x2000, maps::LINUX_SHARED, 0, 3)).starts_with("00002000-00003000 rw-s 00006000 00:12 77 "));
        assert_eq!(name(print(area(0x2000, maps::LINUX_SHARED, 0, 3))).as_deref(), Some("/dev/shm/a b (deleted)\n"));
        assert_eq!(name(print(area(0x5000, maps::COPY, 3, 5))).as_deref(), Some("/lib/x\n"));
        assert!(print(area(0x5000, maps::COPY, 4, 5)).ends_with(" 00:00 0 \n"), "unknown number");
        assert_eq!(name(print(area(0x7000, maps::STACK, 0, 3))).as_deref(), Some("[stack]\n"));
        assert_eq!(print(area(0x1000, maps::ANONYMOUS, 0, 0)), "00001000-00002000 ---p 00006000 00:00 0 \n");
    }

    #[test]
    fn neighbours_without_a_file_are_one() {
        let text = "1000-2000 rw-p 00000000 00:00 0 \n2000-3000 rw-p 00000000 00:00 0 \n3000-4000 r--p 00000000 00:00 0 \n4000-5000 rw-p 00000000 00:00 0 [heap]";
        let lines = joined(text.lines().filter_map(Known::parse).collect());
        assert_eq!(lines.iter().map(|line| line.start).collect::<Vec<_>>(), [0x1000, 0x3000, 0x4000]);
    }

    #[test]
    fn what_the_kernel_knows_goes_into_linuxs_text() {
        let status =
            with_lines("Name:\ttacet\nUmask:\t0022\nVmPeak:\t 1 kB\n", "Name:\tprog\nVmPeak:\t 9 kB\nOther:\t1\n");
        assert_eq!(status, "Name:\tprog\nUmask:\t0022\nVmPeak:\t 9 kB\n");
        assert_eq!(with_fields("7 (a) b) S 1 2\n", "2 (c d)\n4 9\n99 1\n"), "7 (c d) S 9 2\n");
        assert_eq!(with_fields("7 (a (b)) S 1\n", "3 R\n"), "7 (a (b)) R 1\n");
    }

    #[test]
    fn threads_are_taken_out_of_paths() {
        let without = |path: &str| String::from_utf8(without_thread(path.as_bytes().to_vec())).expect("ASCII");
        assert_eq!(without("task/4194305/maps"), "maps");
        assert_eq!(without("maps"), "maps");
        assert_eq!(without("task/x/maps"), "task/x/maps");
        assert_eq!(without("task/12"), "task/12");
    }
}
