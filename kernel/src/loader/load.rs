//! A program's segments in memory.
//!
//! Reading and mapping are two steps: [`Program::read`] takes from a file all that it needs
//! (and may wait for the file), [`load`] maps (under the lock of the address space) and never
//! waits.
//!
//! Pages that the file alone fills are mapped from it, so that all cells share them with Linux.
//! The page in which a segment's data ends and its zeroes begin is a frame with a copy of the
//! data, and so the file's mapping never has to be written, whatever its protection.

use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use super::elf::{FILE_HEADER, Headers, Image, PHENT, Segment};
use crate::abi::Errno;
use crate::mm::{AddressSpace, Kind};
use crate::platform::Sharing;

/// Where a relocatable program goes: as on Linux without randomisation (`ELF_ET_DYN_BASE`,
/// two thirds of the address space).
const PROGRAM_BASE: u64 = 0x5555_5555_4000;

/// A program's file.
pub trait Source {
    /// Its descriptor, for [`Platform::map_file`](crate::platform::Platform::map_file).
    fn fd(&self) -> i32;

    /// Reads bytes from `offset` on; fewer than asked for only at the end of the file.
    ///
    /// # Errors
    /// Those of pread(2).
    fn read_at(&self, offset: u64, to: &mut [u8]) -> Result<usize, Errno>;
}

/// What is read from a program's file before it is mapped.
#[derive(Debug)]
pub struct Program {
    fd: i32,
    image: Image,
    /// What each segment's last page has of the file, see [`Segment::tail`].
    tails: Vec<Vec<u8>>,
    interpreter: Option<Vec<u8>>,
}

impl Program {
    /// Reads a program's headers.
    ///
    /// # Errors
    /// `ENOEXEC` when it is no program for this machine, or those of reading.
    pub fn read(source: &dyn Source) -> Result<Program, Errno> {
        let headers = Headers::parse(&read_exact(source, 0, FILE_HEADER)?)?;
        headers.offset.checked_add(headers.table_len() as u64).ok_or(Errno::ENOEXEC)?;
        let image = Image::parse(headers, &read_exact(source, headers.offset, headers.table_len())?)?;
        let tail = |segment: &Segment| match segment.tail() {
            Some((offset, len)) => read_exact(source, offset, len),
            None => Ok(Vec::new()),
        };
        let tails = image.segments.iter().map(tail).collect::<Result<_, _>>()?;
        let interpreter = match &image.interpreter {
            Some(range) => Some(path(read_exact(source, range.start, (range.end - range.start) as usize)?)?),
            None => None,
        };
        Ok(Program { fd: source.fd(), image, tails, interpreter })
    }

    /// Path of the interpreter (the dynamic linker) that the program asks for, without a zero
    /// byte.
    #[must_use]
    pub fn interpreter(&self) -> Option<&[u8]> {
        self.interpreter.as_deref()
    }

    /// Whether the program wants to run code on its stack.
    #[must_use]
    pub fn wants_exec_stack(&self) -> bool {
        self.image.exec_stack
    }
}

/// Where a program lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoadedImage {
    /// The program's own first instruction, `AT_ENTRY`.
    pub entry: u64,
    /// Its program headers, `AT_PHDR`.
    pub phdr: u64,
    /// How many there are, `AT_PHNUM`.
    pub phnum: u64,
    /// Bytes of one, `AT_PHENT`.
    pub phent: u64,
    /// What was added to the program's addresses.
    pub base: u64,
    /// Where the interpreter lies, `AT_BASE`; 0 without one.
    pub interp_base: u64,
    /// Where to start: the interpreter's entry, or the program's.
    pub start_ip: u64,
    /// Where the heap begins.
    pub heap_start: u64,
}

/// Maps a program and its interpreter, and puts the heap behind the program.
///
/// # Errors
/// `ENOMEM` when there is no room or no memory for it, those of mapping its file.
pub fn load(space: &mut AddressSpace, program: &Program, interpreter: Option<&Program>) -> Result<LoadedImage, Errno> {
    let image = &program.image;
    let base = place_program(space, image)?;
    map(space, program, base)?;
    let heap_start = image.span().end.wrapping_add(base);
    space.set_heap(heap_start);
    let entry = image.headers.entry.wrapping_add(base);
    let (interp_base, start_ip) = match interpreter {
        None => (0, entry),
        Some(linker) => {
            let base = place_interpreter(space, &linker.image)?;
            map(space, linker, base)?;
            (base, linker.image.headers.entry.wrapping_add(base))
        }
    };
    Ok(LoadedImage {
        entry,
        phdr: if image.phdr == 0 { 0 } else { image.phdr.wrapping_add(base) },
        phnum: u64::from(image.headers.count),
        phent: PHENT,
        base,
        interp_base,
        start_ip,
        heap_start,
    })
}

/// The base of a program: none if its addresses are fixed, Linux's usual one if it is free.
fn place_program(space: &mut AddressSpace, image: &Image) -> Result<u64, Errno> {
    if !image.headers.relocatable {
        return Ok(0);
    }
    let span = image.span();
    let start = PROGRAM_BASE.next_multiple_of(image.align());
    let hint = start.checked_add(span.start % image.align()).ok_or(Errno::ENOMEM)?;
    let end = hint.checked_add(span.end - span.start).ok_or(Errno::ENOMEM)?;
    if space.is_free(hint..end) { Ok(hint.wrapping_sub(span.start)) } else { place_high(space, &span, image.align()) }
}

/// The base of an interpreter: where mappings go.
fn place_interpreter(space: &mut AddressSpace, image: &Image) -> Result<u64, Errno> {
    if image.headers.relocatable { place_high(space, &image.span(), image.align()) } else { Ok(0) }
}

fn place_high(space: &AddressSpace, span: &Range<u64>, align: u64) -> Result<u64, Errno> {
    let at = space.find_gap(span.end - span.start, align, span.start % align)?;
    Ok(at.wrapping_sub(span.start))
}

/// Maps the segments of a program at `base`.
fn map(space: &mut AddressSpace, program: &Program, base: u64) -> Result<(), Errno> {
    for (segment, tail) in program.image.segments.iter().zip(&program.tails) {
        let pages = place(space, &segment.pages(), base)?;
        let file = place(space, &segment.file_pages(), base)?;
        if !file.is_empty() {
            let (len, offset) = (file.end - file.start, segment.page_offset());
            space.map_file(file.start, len, segment.prot, program.fd, offset, Sharing::Private)?;
        }
        if file.end < pages.end {
            // Enough for the copy even if the program may only look at it.
            space.map_anon(file.end, pages.end - file.end, segment.prot, Kind::Anon { lazy: false })?;
            if !tail.is_empty() {
                space.write_frames(file.end, tail)?;
            }
        }
    }
    Ok(())
}

/// Where pages of the file's addresses lie, if the program may have that part.
fn place(space: &AddressSpace, pages: &Range<u64>, base: u64) -> Result<Range<u64>, Errno> {
    let (start, end) = (pages.start.wrapping_add(base), pages.end.wrapping_add(base));
    if start <= end && space.holds(&(start..end)) { Ok(start..end) } else { Err(Errno::ENOMEM) }
}

/// `len` bytes, which are there.
fn read_exact(source: &dyn Source, offset: u64, len: usize) -> Result<Vec<u8>, Errno> {
    let mut bytes = vec![0; len];
    let mut done = 0;
    while done < len {
        match source.read_at(offset + done as u64, &mut bytes[done..])? {
            0 => return Err(Errno::ENOEXEC),
            more => done += more.min(len - done),
        }
    }
    Ok(bytes)
}

/// The path in a `PT_INTERP`: its last byte must be zero.
fn path(mut bytes: Vec<u8>) -> Result<Vec<u8>, Errno> {
    match bytes.pop() {
        Some(0) => {
            bytes.truncate(bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len()));
            Ok(bytes)
        }
        _ => Err(Errno::ENOEXEC),
    }
}
