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
use crate::platform::{Prot, Sharing};

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

    /// The descriptor of its file.
    #[must_use]
    pub fn fd(&self) -> i32 {
        self.fd
    }

    /// Path of the interpreter (the dynamic linker) that the program asks for, without a zero
    /// byte.
    #[must_use]
    pub fn interpreter(&self) -> Option<&[u8]> {
        self.interpreter.as_deref()
    }

    /// Addresses of its code when it lies at `base`: from the first segment that may be run to the
    /// end of the last.
    #[must_use]
    pub fn code(&self, base: u64) -> Range<u64> {
        let code = || self.image.segments.iter().filter(|segment| segment.prot.contains(Prot::EXEC));
        let start = code().map(|segment| segment.vaddr).min().unwrap_or(0);
        let end = code().map(|segment| segment.vaddr + segment.file_len).max().unwrap_or(0);
        start.wrapping_add(base)..end.wrapping_add(base)
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

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::FileExt;

    use proptest::prelude::*;
    use shm_ipc::layout::PAGE;

    use super::*;
    use crate::mm::tests::platform::{TestPlatform, USER};
    use crate::mm::tests::{check_books, fresh, fresh_reading, page_bytes, word};
    use crate::mm::{Access, Piece};

    struct Opened(File);

    impl Source for Opened {
        fn fd(&self) -> i32 {
            3
        }

        fn read_at(&self, offset: u64, to: &mut [u8]) -> Result<usize, Errno> {
            // In small steps, as a file may be read.
            let step = to.len().min(100);
            self.0.read_at(&mut to[..step], offset).map_err(|_| Errno::EIO)
        }
    }

    struct Bytes(Vec<u8>);

    impl Source for Bytes {
        fn fd(&self) -> i32 {
            3
        }

        fn read_at(&self, offset: u64, to: &mut [u8]) -> Result<usize, Errno> {
            let rest = usize::try_from(offset).ok().and_then(|at| self.0.get(at..)).unwrap_or(&[]);
            let len = rest.len().min(to.len());
            to[..len].copy_from_slice(&rest[..len]);
            Ok(len)
        }
    }

    /// A program with one segment of data and zeroes behind it, and nothing else.
    fn small_program(kind: u16, vaddr: u64, file_len: u64, mem_len: u64) -> Vec<u8> {
        let header = |bytes: &mut Vec<u8>, words: &[(u64, usize)]| {
            for (value, len) in words {
                bytes.extend(&value.to_le_bytes()[..*len]);
            }
        };
        let mut bytes = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        header(&mut bytes, &[(u64::from(kind), 2), (62, 2), (1, 4), (vaddr + 120, 8), (64, 8), (0, 8), (0, 4)]);
        header(&mut bytes, &[(64, 2), (56, 2), (1, 2), (0, 2), (0, 2), (0, 2)]);
        header(&mut bytes, &[(1, 4), (7, 4), (0, 8), (vaddr, 8), (vaddr, 8), (file_len, 8), (mem_len, 8), (PAGE, 8)]);
        bytes.resize(file_len as usize, 0xcc);
        bytes
    }

    fn load_small(bytes: Vec<u8>) -> (AddressSpace, &'static TestPlatform, Result<LoadedImage, Errno>) {
        let (mut space, platform) = fresh();
        let loaded = Program::read(&Bytes(bytes)).and_then(|program| load(&mut space, &program, None));
        check_books(&space, platform);
        (space, platform, loaded)
    }

    #[test]
    fn data_ends_and_zeroes_begin_within_a_page() {
        let at = USER.start + (1 << 20);
        let (mut space, platform, loaded) = load_small(small_program(2, at, 2 * PAGE + 8, 5 * PAGE));
        let loaded = loaded.unwrap();
        assert_eq!((loaded.base, loaded.entry, loaded.start_ip), (0, at + 120, at + 120));
        assert_eq!((loaded.phdr, loaded.phnum, loaded.phent, loaded.interp_base), (at + 64, 1, 56, 0));
        assert_eq!(platform.page(at + PAGE).map(|page| (page.source, page.prot)), Some(((3, PAGE), Prot::all())));
        assert_eq!(word(&space, at + 2 * PAGE), Some(0xcccc_cccc_cccc_cccc));
        assert_eq!(word(&space, at + 2 * PAGE + 8), Some(0));
        assert_eq!(word(&space, at + 4 * PAGE), Some(0));
        assert_eq!(space.regions().count(), 2);
        assert_eq!((loaded.heap_start, space.brk(0)), (at + 5 * PAGE, at + 5 * PAGE));
        // The kernel can reach all of it for forwarded calls.
        let mut pieces = vec![];
        assert_eq!(space.pieces(at, 5 * PAGE, Access::Write, &mut pieces), 5 * PAGE);
        assert!(matches!(pieces[..], [Piece::Foreign { .. }, Piece::Frames { .. }]));
    }

    #[test]
    fn data_that_fills_its_pages_and_programs_of_zeroes_only() {
        let at = USER.start + (1 << 20);
        let (space, _, loaded) = load_small(small_program(2, at, 2 * PAGE, 2 * PAGE));
        assert_eq!((loaded.unwrap().heap_start, space.regions().count()), (at + 2 * PAGE, 1));
        let (space, _, loaded) = load_small(small_program(2, at, 200, 201));
        assert!(loaded.is_ok());
        assert_eq!(space.regions().count(), 1);
        assert_eq!(word(&space, at + 192), Some(0xcccc_cccc_cccc_cccc));
        assert_eq!(word(&space, at + 200), Some(0));
    }

    #[test]
    fn places_that_a_program_cannot_have() {
        for at in [0, USER.end, USER.end - PAGE, 1 << 47, u64::MAX << 20] {
            let (space, platform, loaded) = load_small(small_program(2, at, PAGE, 3 * PAGE));
            assert_eq!(loaded.unwrap_err(), Errno::ENOMEM, "{at:x}");
            assert_eq!((space.regions().count(), platform.pages()), (0, 0));
        }
        let (_, _, loaded) = load_small(small_program(3, 0, PAGE, 1 << 40));
        assert_eq!(loaded.unwrap_err(), Errno::ENOMEM);
    }

    #[test]
    fn a_real_program_and_its_linker() {
        let Ok(file) = File::open("/bin/sh") else { return };
        let program = Program::read(&Opened(file)).unwrap();
        let path = String::from_utf8(program.interpreter().expect("a dynamic program").to_vec()).unwrap();
        let linker = Program::read(&Opened(File::open(path).unwrap())).unwrap();
        let (mut space, platform) = fresh();
        let stack = space.map_stack(1 << 20).unwrap();
        let loaded = load(&mut space, &program, Some(&linker)).unwrap();
        check_books(&space, platform);
        assert!(loaded.interp_base.is_multiple_of(PAGE) && loaded.interp_base < stack.start);
        let prot_at = |addr: u64| space.regions().find(|vma| vma.range().contains(&addr)).map(|vma| vma.prot);
        let runs = |addr| prot_at(addr).is_some_and(|prot| prot.contains(Prot::EXEC));
        assert!(runs(loaded.entry) && runs(loaded.start_ip) && loaded.entry != loaded.start_ip);
        assert!(prot_at(loaded.phdr).is_some());
        assert!(loaded.heap_start > loaded.entry);
        space.unmap_all();
        assert_eq!(platform.pages(), 0);
    }

    #[test]
    fn a_program_that_is_read_is_the_one_that_is_mapped() {
        let at = USER.start + (1 << 20);
        for (file_len, mem_len) in [(2 * PAGE + 8, 5 * PAGE), (2 * PAGE, 2 * PAGE), (200, 201)] {
            let bytes = small_program(2, at, file_len, mem_len);
            let program = Program::read(&Bytes(bytes.clone())).unwrap();
            let (mut space, platform) = fresh_reading(bytes.clone());
            assert!(load(&mut space, &program, None).is_ok());
            check_books(&space, platform);
            let mut expected = bytes;
            expected.resize(mem_len.next_multiple_of(PAGE) as usize, 0);
            for (page, expected) in (at..).step_by(PAGE as usize).zip(expected.chunks(PAGE as usize)) {
                assert_eq!(page_bytes(&space, page).as_deref(), Some(expected), "{page:x}");
            }
            let mut pieces = vec![];
            assert_eq!(space.pieces(at, mem_len, Access::Write, &mut pieces), mem_len);
            assert!(pieces.iter().all(|piece| matches!(piece, Piece::Frames { .. })));
        }
    }

    #[test]
    fn a_file_that_ends_too_early() {
        let whole = small_program(2, USER.start, 2 * PAGE + 8, 5 * PAGE);
        for len in [0, 63, 64, 119, 2 * PAGE as usize + 7] {
            let cut = Program::read(&Bytes(whole[..len].to_vec()));
            assert_eq!(cut.err(), Some(Errno::ENOEXEC), "{len}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 1024, ..ProptestConfig::default() })]

        #[test]
        fn any_program_is_loaded_or_refused(changes in prop::collection::vec((0usize..120, any::<u8>()), 0..6), kind in 2u16..4) {
            let mut bytes = small_program(kind, USER.start, PAGE + 100, 3 * PAGE);
            for (at, byte) in changes {
                bytes[at] = byte;
            }
            let (mut space, platform, _) = load_small(bytes);
            space.unmap_all();
            prop_assert_eq!(platform.pages(), 0);
            platform.retire();
        }
    }
}
