//! Core dumps: what a program leaves when a signal ends it that says so (core(5)).
//!
//! The file is Linux's (`fs/coredump.c`, `fs/binfmt_elf.c`): an ELF file with notes about the process and
//! each of its threads, and the program's memory. It is written through the proxy, with the program's
//! rights and limits, where `/proc/sys/kernel/core_pattern` says. Only Linux can feed the program of a
//! pattern that pipes dumps: then the file is called `core`, and is named together with the program.
//!
//! What goes in: all that has no file, and private mappings of files that are not code, since they may
//! have been written. Code is found in its file (`NT_FILE` names it), shared files are where they were.

mod notes;

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Range;

use shm_ipc::layout::PAGE;
use zerocopy::IntoBytes;

use crate::abi::Errno;
use crate::forward::{self, Direction, Request};
use crate::mm;
use crate::platform::{Prot, Sharing};
use crate::sched::signal::{SigInfo, number};
use crate::sched::thread::Thread;
use crate::sched::{current, stop};
use crate::syscall::{identity, proc_file};
use crate::{boot, platform};

const CLOSE: u32 = 3;
const PWRITE64: u32 = 18;
const FTRUNCATE: u32 = 77;
const GETRLIMIT: u32 = 97;
const OPENAT: u32 = 257;

/// Most bytes of memory that are written at once.
const STEP: u64 = 16 << 20;

const EHDR: u64 = 64;
const PHDR: u64 = 56;
const PT_LOAD: u32 = 1;
const PT_NOTE: u32 = 4;

/// Whether the default action of a signal is to leave a core dump (signal(7)).
fn dumps(signal: u8) -> bool {
    const QUIT: u8 = 3;
    const XCPU: u8 = 24;
    const XFSZ: u8 = 25;
    let faults = [number::ILL, number::TRAP, number::ABRT, number::BUS, number::FPE, number::SEGV, number::SYS];
    faults.contains(&signal) || [QUIT, XCPU, XFSZ].contains(&signal)
}

/// The program ends by this signal, taken by the current thread: leaves a core dump, if it is to.
pub fn leave(info: &SigInfo) {
    if !dumps(info.signal()) || !identity::is_dumpable() {
        return;
    }
    let limit = limit();
    if limit == 0 {
        return;
    }
    stop::halt_others();
    match place(info).and_then(|place| write(info, limit, &place).map(|()| place)) {
        Ok(Place { path, handler: None }) => forward::notice(&format!("core dumped to {path}")),
        Ok(Place { path, handler: Some(program) }) => forward::notice(&format!(
            "core dumped to {path}: /proc/sys/kernel/core_pattern wants it piped to {program}, which Linux does for \
             its own processes only"
        )),
        Err(errno) => forward::notice(&format!("no core dump: {errno}; see core(5)")),
    }
}

/// Where the dump goes.
struct Place {
    path: String,
    /// The program that Linux would have piped it to.
    handler: Option<String>,
}

/// RLIMIT_CORE in force; none when that can't be found out.
fn limit() -> u64 {
    const RLIMIT_CORE: u64 = 4;
    let mut request = Request::kernel(GETRLIMIT);
    request.set(0, RLIMIT_CORE);
    request.kernel_buffer(1, alloc::vec![0; 16]);
    if request.run().result.is_err() {
        return 0;
    }
    request.kernel_bytes(0)[..8].iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
}

fn write(info: &SigInfo, limit: u64, place: &Place) -> Result<(), Errno> {
    let file = File::create(&place.path)?;
    let segments = segments();
    let notes = notes::all(info, &proc_file::maps().unwrap_or_default());
    let table = EHDR + PHDR * (segments.len() as u64 + 1);
    let data = (table + notes.len() as u64).next_multiple_of(PAGE);
    let mut head = header(segments.len() as u16 + 1);
    head.extend(program_header(PT_NOTE, 0, table, 0, notes.len() as u64, 0));
    let mut at = data;
    for segment in &segments {
        let len = segment.range.end - segment.range.start;
        let kept = if segment.is_kept { len } else { 0 };
        head.extend(program_header(PT_LOAD, flags(segment.prot), at, segment.range.start, kept, len));
        at += kept;
    }
    head.extend(notes);
    file.write(0, head, limit)?;
    let mut to = data;
    for segment in segments.iter().filter(|segment| segment.is_kept) {
        file.write_memory(segment, to, limit)?;
        to += segment.range.end - segment.range.start;
    }
    file.end_at(to.min(limit))
}

/// A part of the program's memory.
struct Segment {
    range: Range<u64>,
    prot: Prot,
    /// Whether its content goes into the file.
    is_kept: bool,
}

fn segments() -> Vec<Segment> {
    use crate::mm::Kind;
    let space = mm::space();
    let segment = |vma: &mm::Vma| {
        let is_kept = match vma.kind {
            Kind::File { sharing: Sharing::Private, .. } | Kind::FileCopy { .. } => !vma.prot.contains(Prot::EXEC),
            Kind::File { .. } | Kind::Vvar => false,
            _ => true,
        };
        Segment { range: vma.range(), prot: vma.prot, is_kept: is_kept && !vma.prot.is_empty() }
    };
    space.regions().map(segment).collect()
}

/// `p_flags` have the bits of mmap(2) in another order.
fn flags(prot: Prot) -> u32 {
    let bit = |has: Prot, flag: u32| if prot.contains(has) { flag } else { 0 };
    bit(Prot::READ, 4) | bit(Prot::WRITE, 2) | bit(Prot::EXEC, 1)
}

fn header(segments: u16) -> Vec<u8> {
    const ET_CORE: u16 = 4;
    const EM_X86_64: u16 = 62;
    let mut bytes = alloc::vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    bytes.extend(ET_CORE.to_le_bytes());
    bytes.extend(EM_X86_64.to_le_bytes());
    bytes.extend(1u32.to_le_bytes());
    // No entry; program headers behind this one; no sections, no flags.
    bytes.extend([0u64, EHDR, 0].as_bytes());
    bytes.extend(0u32.to_le_bytes());
    bytes.extend([EHDR as u16, PHDR as u16, segments, 0, 0, 0].as_bytes());
    bytes
}

fn program_header(kind: u32, flags: u32, offset: u64, at: u64, kept: u64, len: u64) -> Vec<u8> {
    let align = if kind == PT_LOAD { PAGE } else { 4 };
    let mut bytes = Vec::from([kind, flags].as_bytes());
    bytes.extend([offset, at, 0, kept, len, align].as_bytes());
    bytes
}

/// The file that is written.
struct File(u64);

impl File {
    fn create(path: &str) -> Result<File, Errno> {
        const AT_FDCWD: u64 = -100i64 as u64;
        /// O_CREAT | O_RDWR | O_TRUNC | O_NOFOLLOW | O_CLOEXEC
        const FLAGS: u64 = 0o100 | 0o2 | 0o1000 | 0o400_000 | 0o2_000_000;
        let mut request = Request::kernel(OPENAT);
        request.set(0, AT_FDCWD);
        request.kernel_buffer(1, [path.as_bytes(), &[0]].concat());
        request.set(2, FLAGS);
        request.set(3, 0o600);
        request.run().result.map(File)
    }

    fn request(&self, len: u64, at: u64) -> Request {
        Request::new(PWRITE64, [self.0, 0, len, at, 0, 0])
    }

    /// Writes `bytes` at offset `at`, as far as `limit` lets it.
    fn write(&self, at: u64, mut bytes: Vec<u8>, limit: u64) -> Result<(), Errno> {
        bytes.truncate(limit.saturating_sub(at).try_into().unwrap_or(usize::MAX));
        let mut done = 0;
        while done < bytes.len() {
            let mut request = self.request((bytes.len() - done) as u64, at + done as u64);
            request.kernel_buffer(1, bytes[done..].to_vec());
            match request.run().result? {
                0 => return Err(Errno::EIO),
                count => done += count as usize,
            }
        }
        Ok(())
    }

    /// Writes a part of the program's memory, which begins at offset `to`. What was never touched
    /// becomes a hole.
    fn write_memory(&self, segment: &Segment, to: u64, limit: u64) -> Result<(), Errno> {
        let mut at = segment.range.start;
        while at < segment.range.end {
            let len = STEP.min(segment.range.end - at);
            let mut there = alloc::vec![0; (len / PAGE) as usize];
            mm::space().resident(at, &mut there)?;
            for run in there.chunk_by(|a, b| a == b).scan(at, |from, pages| {
                let start = *from;
                *from += pages.len() as u64 * PAGE;
                Some((start..*from, pages[0] != 0))
            }) {
                if run.1 {
                    self.write_pages(run.0.clone(), to + (run.0.start - segment.range.start), limit)?;
                }
            }
            at += len;
        }
        Ok(())
    }

    fn write_pages(&self, range: Range<u64>, to: u64, limit: u64) -> Result<(), Errno> {
        let mut at = range.start;
        let end = range.start + (range.end - range.start).min(limit.saturating_sub(to));
        while at < end {
            let mut request = self.request(end - at, to + (at - range.start));
            let covered = request.buffer(1, at, end - at, Direction::In)?;
            request.set(2, covered);
            // Pages of a file that ends before its mapping can't be read: they stay a hole.
            match if covered == 0 { Err(Errno::EFAULT) } else { request.run().result } {
                Ok(0) => return Err(Errno::EIO),
                Ok(count) => at += count,
                Err(Errno::EFAULT) => at += PAGE,
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }

    fn end_at(&self, len: u64) -> Result<(), Errno> {
        let mut request = Request::kernel(FTRUNCATE);
        request.set(0, self.0);
        request.set(1, len);
        request.run().result.map(drop)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let mut request = Request::kernel(CLOSE);
        request.set(0, self.0);
        // Nothing can be done about a descriptor that does not close.
        let _ = request.run();
    }
}

/// Where the file goes: `core_pattern` with its specifiers replaced. What is to be piped goes where Linux
/// puts dumps unless it is told otherwise.
fn place(info: &SigInfo) -> Result<Place, Errno> {
    let read = |path: &str| proc_file::read(path).map(|bytes| String::from_utf8_lossy(&bytes).trim_end().into());
    let pattern: String = read("/proc/sys/kernel/core_pattern")?;
    let handler = pattern.strip_prefix('|').map(|program| program.split(' ').next().unwrap_or_default().into());
    let pattern = if handler.is_some() { "core" } else { &pattern };
    let uses_pid: String = read("/proc/sys/kernel/core_uses_pid").unwrap_or_default();
    let pid = boot::facts().info.pid;
    let mut path = String::new();
    let mut letters = pattern.chars();
    let mut has_pid = false;
    while let Some(letter) = letters.next() {
        if letter != '%' {
            path.push(letter);
            continue;
        }
        let specifier = letters.next();
        has_pid |= specifier == Some('p');
        path += &replacement(specifier, info);
    }
    if !has_pid && uses_pid != "0" && !uses_pid.is_empty() {
        path += &format!(".{pid}");
    }
    if path.is_empty() { Err(Errno::EINVAL) } else { Ok(Place { path, handler }) }
}

fn replacement(specifier: Option<char>, info: &SigInfo) -> String {
    let facts = &boot::facts().info;
    let name = |thread: &Thread| {
        let name = thread.name.lock();
        let len = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
        String::from_utf8_lossy(&name[..len]).replace('/', "!")
    };
    match specifier {
        Some('%') => "%".into(),
        Some('p' | 'P') => format!("{}", facts.pid),
        Some('i' | 'I') => format!("{}", current().tid),
        Some('u') => format!("{}", facts.ids[0]),
        Some('g') => format!("{}", facts.ids[2]),
        Some('d') => "1".into(),
        Some('s') => format!("{}", info.signal()),
        Some('t') => format!("{}", platform::get().realtime() / crate::time::SECOND),
        Some('e' | 'f') => name(current()),
        Some('h') => host_name(),
        Some('c') => format!("{}", limit()),
        // Linux leaves unknown ones out.
        _ => String::new(),
    }
}

fn host_name() -> String {
    let name = proc_file::read("/proc/sys/kernel/hostname").unwrap_or_default();
    String::from_utf8_lossy(&name).trim_end().into()
}
