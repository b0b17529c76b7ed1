//! As much of ELF as tells whether the kernel will load a file: gABI chapters 4 and 5.

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use super::{Refusal, read_at_most};

const HEADER: usize = 64;
const PROGRAM_HEADER: usize = 56;
/// Linux takes no more bytes of program headers: `load_elf_phdrs`.
const MOST_PROGRAM_HEADER_BYTES: usize = 65_536;
const PT_LOAD: u32 = 1;
const PT_INTERP: u32 = 3;
const PATH_MAX: u64 = 4096;

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

/// Checks that `file`, `length` bytes long, can be loaded.
pub fn check(file: &File, length: u64, path: &Path) -> Result<(), Refusal> {
    let refuse = |why| Refusal::Format { path: path.to_owned(), why };
    let mut header = [0; HEADER];
    let count = read_at_most(file, &mut header, 0, path)?;
    if let Some(why) = fault(&header[..count]) {
        return Err(refuse(why));
    }
    let (offset, entries) = (u64_at(&header, 32), usize::from(u16_at(&header, 56)));
    let bytes = entries * PROGRAM_HEADER;
    if usize::from(u16_at(&header, 54)) != PROGRAM_HEADER || bytes == 0 || bytes > MOST_PROGRAM_HEADER_BYTES {
        return Err(refuse("its ELF program headers have an impossible size"));
    }
    if offset.checked_add(bytes as u64).is_none_or(|end| end > length) {
        return Err(refuse("its ELF program headers lie outside the file"));
    }
    let mut headers = vec![0; bytes];
    if read_at_most(file, &mut headers, offset, path)? < bytes {
        return Err(refuse("its ELF program headers lie outside the file"));
    }
    let of_type = |wanted: u32| headers.chunks_exact(PROGRAM_HEADER).find(move |h| h[..4] == wanted.to_le_bytes());
    if of_type(PT_LOAD).is_none() {
        return Err(refuse("an ELF file with nothing to load"));
    }
    match of_type(PT_INTERP) {
        Some(header) => check_interpreter(file, u64_at(header, 8), u64_at(header, 32), path),
        None => Ok(()),
    }
}

/// What is wrong with the first 64 bytes.
pub fn fault(header: &[u8]) -> Option<&'static str> {
    if !header.starts_with(b"\x7fELF") {
        return Some("not an ELF program");
    }
    if header.len() < HEADER {
        return Some("a truncated ELF file");
    }
    match (header[4], header[5], u16_at(header, 18), u16_at(header, 16)) {
        (1, ..) => Some("a 32-bit ELF program"),
        (2, 1, 62, 2 | 3) => None,
        (2, 1, 62, _) => Some("an ELF file but not a program"),
        (2, ..) => Some("an ELF program, but not for x86-64"),
        _ => Some("an ELF file of no known class"),
    }
}

/// A dynamic program whose interpreter is missing is "not found" to a shell.
fn check_interpreter(file: &File, offset: u64, length: u64, path: &Path) -> Result<(), Refusal> {
    let refuse = || Refusal::Format { path: path.to_owned(), why: "its ELF interpreter has an impossible name" };
    if !(2..=PATH_MAX).contains(&length) {
        return Err(refuse());
    }
    let mut name = vec![0; length as usize];
    let is_whole = read_at_most(file, &mut name, offset, path)? == name.len();
    if !is_whole || name.pop() != Some(0) {
        return Err(refuse());
    }
    let interpreter = PathBuf::from(OsString::from_vec(name));
    match interpreter.metadata() {
        Ok(_) => Ok(()),
        Err(_) => Err(Refusal::NoInterpreter { program: path.to_owned(), interpreter }),
    }
}
