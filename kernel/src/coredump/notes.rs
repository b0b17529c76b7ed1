//! The notes of a core dump (`include/uapi/linux/elfcore.h`, `include/linux/elfcore.h`).

use alloc::vec::Vec;

use shm_ipc::layout::PAGE;
use zerocopy::IntoBytes;

use crate::arch;
use crate::boot;
use crate::loader;
use crate::mm::user;
use crate::platform;
use crate::sched::account;
use crate::sched::signal::SigInfo;
use crate::sched::thread::{self, Thread, current};
use crate::time;

const NT_PRSTATUS: u32 = 1;
const NT_FPREGSET: u32 = 2;
const NT_PRPSINFO: u32 = 3;
const NT_AUXV: u32 = 6;
const NT_X86_XSTATE: u32 = 0x202;
const NT_SIGINFO: u32 = 0x5349_4749;
const NT_FILE: u32 = 0x4649_4c45;

/// `struct user_i387_struct`: the legacy area of XSAVE.
const LEGACY: usize = 512;
/// Where an XSAVE area says, for debuggers, which components it has room for.
const XCR0: usize = 464;

/// All notes, of a process that ends by `info`, whose address space `maps` tells of in the words of
/// proc(5). The current thread comes first.
pub fn all(info: &SigInfo, maps: &[u8]) -> Vec<u8> {
    let mut notes = Vec::new();
    let me = current();
    of_thread(&mut notes, me, info);
    note(&mut notes, b"CORE", NT_PRPSINFO, &process_info(me));
    note(&mut notes, b"CORE", NT_SIGINFO, &info.0);
    if let Some(started) = loader::started() {
        note(&mut notes, b"CORE", NT_AUXV, started.auxiliary.as_bytes());
    }
    note(&mut notes, b"CORE", NT_FILE, &files(maps));
    registers(&mut notes, me);
    for thread in thread::all().iter().filter(|thread| thread.tid != me.tid) {
        of_thread(&mut notes, thread, info);
        registers(&mut notes, thread);
    }
    notes
}

fn note(to: &mut Vec<u8>, name: &[u8], kind: u32, content: &[u8]) {
    to.extend([name.len() as u32 + 1, content.len() as u32, kind].as_bytes());
    for part in [&[name, &[0]].concat(), content] {
        to.extend(part);
        to.resize(to.len().next_multiple_of(4), 0);
    }
}

/// `struct elf_prstatus`
fn of_thread(to: &mut Vec<u8>, thread: &Thread, info: &SigInfo) {
    let [.., error, code] = [0, 4, 8].map(|at| i32::from_le_bytes([0, 1, 2, 3].map(|byte| info.0[at + byte])));
    let facts = &boot::facts().info;
    let signals = thread.signals.lock();
    let mut bytes = Vec::new();
    bytes.extend([i32::from(info.signal()), code, error].as_bytes());
    bytes.extend([u16::from(info.signal()), 0].as_bytes());
    bytes.extend([signals.pending.set().0, signals.mask.0].as_bytes());
    bytes.extend([thread.tid, facts.ppid as u32, facts.pid as u32, facts.pid as u32].as_bytes());
    drop(signals);
    let used = time::timeval(account::cpu_time(thread));
    bytes.extend([used, [0; 2], [0; 2], [0; 2]].as_bytes());
    bytes.extend(general(thread).as_bytes());
    bytes.extend([1u32, 0].as_bytes());
    note(to, b"CORE", NT_PRSTATUS, &bytes);
}

/// `struct user_regs_struct`
fn general(thread: &Thread) -> [u64; 27] {
    // SAFETY: the registers of a thread that does not run: the current one, which is here, or one that
    // has been halted (`stop::halt_others`).
    let f = unsafe { *thread.frame() };
    let is_me = thread.tid == current().tid;
    let (fs, gs) = if is_me { platform::get().segment_bases() } else { thread.own.bases.get() };
    const NO_CALL: u64 = u64::MAX;
    [
        f.r15, f.r14, f.r13, f.r12, f.rbp, f.rbx, f.r11, f.r10, f.r9, f.r8, f.rax, f.rcx, f.rdx, f.rsi, f.rdi, NO_CALL,
        f.rip, f.cs, f.rflags, f.rsp, f.ss, fs, gs, 0, 0, 0, 0,
    ]
}

fn registers(to: &mut Vec<u8>, thread: &Thread) {
    let mut area = Vec::from(thread.vector.bytes());
    note(to, b"CORE", NT_FPREGSET, &area[..LEGACY]);
    area[XCR0..XCR0 + 8].copy_from_slice(&arch::vector_components().to_le_bytes());
    note(to, b"LINUX", NT_X86_XSTATE, &area);
}

/// `struct elf_prpsinfo`
fn process_info(thread: &Thread) -> Vec<u8> {
    const ARGUMENTS: usize = 80;
    let facts = &boot::facts().info;
    let mut bytes = alloc::vec![0, b'R', 0, 0, 0, 0, 0, 0];
    bytes.extend(0u64.to_le_bytes());
    bytes.extend([facts.ids[0] as u32, facts.ids[2] as u32].as_bytes());
    bytes.extend([facts.pid as u32, facts.ppid as u32, facts.pid as u32, facts.pid as u32].as_bytes());
    let first = thread::find(facts.pid as u32);
    bytes.extend(*first.as_deref().unwrap_or(thread).name.lock());
    let strings = loader::started().map(|started| started.args.clone()).unwrap_or_default();
    let mut text = alloc::vec![0; ((strings.end - strings.start) as usize).min(ARGUMENTS - 1)];
    // What the program has done to its arguments is its affair: then there are none.
    if user::copy_in(&mut text, strings.start).is_err() {
        text.clear();
    }
    text.iter_mut().filter(|byte| **byte == 0).for_each(|byte| *byte = b' ');
    text.resize(ARGUMENTS, 0);
    bytes.extend(text);
    bytes
}

/// Which files are mapped where: count and unit, three words each, then the names.
fn files(maps: &[u8]) -> Vec<u8> {
    let (mut words, mut names) = (Vec::new(), Vec::new());
    for line in maps.split(|byte| *byte == b'\n') {
        let Some((range, offset, name)) = mapped_file(line) else { continue };
        words.extend([range.start, range.end, offset / PAGE]);
        names.extend_from_slice(name);
        names.push(0);
    }
    let mut bytes = Vec::from([words.len() as u64 / 3, PAGE].as_bytes());
    bytes.extend(words.as_bytes());
    bytes.extend(names);
    bytes
}

/// A line of `/proc/<pid>/maps` that names a file: addresses, offset, name.
fn mapped_file(line: &[u8]) -> Option<(core::ops::Range<u64>, u64, &[u8])> {
    let text = core::str::from_utf8(line).ok()?;
    let at = text.find('/')?;
    let mut fields = text[..at].split_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let hex = |text: &str| u64::from_str_radix(text, 16).ok();
    let offset = hex(fields.nth(1)?)?;
    Some((hex(start)?..hex(end)?, offset, &line[at..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_come_from_maps() {
        let maps = b"1000-3000 r-xp 00002000 08:01 12 /bin/a b\n3000-4000 rw-p 00000000 00:00 0 \n5000-6000 rw-p 0 0:0 0 [heap]\n";
        let bytes = files(maps);
        let mut expected = Vec::from([1u64, PAGE, 0x1000, 0x3000, 2].as_bytes());
        expected.extend(b"/bin/a b\0");
        assert_eq!(bytes, expected);
    }

    #[test]
    fn notes_are_aligned() {
        let mut notes = Vec::new();
        note(&mut notes, b"CORE", 7, &[1, 2, 3]);
        assert_eq!(notes, [5, 0, 0, 0, 3, 0, 0, 0, 7, 0, 0, 0, b'C', b'O', b'R', b'E', 0, 0, 0, 0, 1, 2, 3, 0]);
    }
}
