//! ELF headers, as far as starting a program needs them.
//!
//! Pure: bytes in, typed facts or an error out. Whatever the file holds, nothing here panics.
//! Source: System V ABI, chapters 4 and 5; what Linux accepts, `fs/binfmt_elf.c`.

use alloc::vec::Vec;
use core::ops::Range;

use object::elf;
use shm_ipc::layout::PAGE;
use zerocopy::{FromBytes, Immutable, KnownLayout};

use crate::abi::Errno;
use crate::platform::Prot;

/// `e_phentsize` of the only kind there is.
pub const PHENT: u64 = size_of::<ProgramHeader>() as u64;

/// Most bytes of program headers: as Linux.
const MAX_HEADERS: u64 = 65536;

/// Longest path of an interpreter.
const PATH_MAX: u64 = 4096;

/// The file header, `Elf64_Ehdr`.
#[derive(FromBytes, Immutable, KnownLayout)]
#[repr(C)]
struct FileHeader {
    ident: [u8; 16],
    kind: u16,
    machine: u16,
    version: u32,
    entry: u64,
    headers: u64,
    sections: u64,
    flags: u32,
    header_len: u16,
    phent: u16,
    phnum: u16,
    shent: u16,
    shnum: u16,
    shstrndx: u16,
}

/// One program header, `Elf64_Phdr`.
#[derive(FromBytes, Immutable, KnownLayout)]
#[repr(C)]
struct ProgramHeader {
    kind: u32,
    flags: u32,
    offset: u64,
    vaddr: u64,
    paddr: u64,
    file_len: u64,
    mem_len: u64,
    align: u64,
}

/// Bytes that [`Headers::parse`] wants.
pub const FILE_HEADER: usize = size_of::<FileHeader>();

/// What the file header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Headers {
    /// Whether addresses are relative to a base that the loader chooses (`ET_DYN`).
    pub relocatable: bool,
    /// First instruction.
    pub entry: u64,
    /// Where in the file the program headers lie.
    pub offset: u64,
    /// How many there are.
    pub count: u16,
}

impl Headers {
    /// Checks the file header.
    ///
    /// # Errors
    /// `ENOEXEC` when the file is not an executable for this machine.
    pub fn parse(bytes: &[u8]) -> Result<Headers, Errno> {
        let (header, _) = FileHeader::read_from_prefix(bytes).map_err(|_| Errno::ENOEXEC)?;
        let [m0, m1, m2, m3, class, data, ..] = header.ident;
        let right = [m0, m1, m2, m3] == elf::ELFMAG
            && class == elf::ELFCLASS64.0
            && data == elf::ELFDATA2LSB.0
            && header.machine == elf::EM_X86_64.0
            && u64::from(header.phent) == PHENT
            && header.phnum > 0
            && u64::from(header.phnum) * PHENT <= MAX_HEADERS;
        let relocatable = header.kind == elf::ET_DYN.0;
        if !right || !(relocatable || header.kind == elf::ET_EXEC.0) {
            return Err(Errno::ENOEXEC);
        }
        Ok(Headers { relocatable, entry: header.entry, offset: header.headers, count: header.phnum })
    }

    /// Bytes of program headers.
    #[must_use]
    pub fn table_len(&self) -> usize {
        usize::from(self.count) * PHENT as usize
    }
}

/// Memory that the file wants, `PT_LOAD`. Addresses are before relocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// First address.
    pub vaddr: u64,
    /// Where in the file its contents begin.
    pub offset: u64,
    /// Bytes from the file.
    pub file_len: u64,
    /// Bytes in all; what the file does not give is zero.
    pub mem_len: u64,
    /// What the program may do.
    pub prot: Prot,
    /// A power of two, at least a page.
    pub align: u64,
}

impl Segment {
    fn parse(header: &ProgramHeader) -> Result<Segment, Errno> {
        let mut prot = Prot::empty();
        prot.set(Prot::READ, header.flags & elf::PF_R.0 != 0);
        prot.set(Prot::WRITE, header.flags & elf::PF_W.0 != 0);
        prot.set(Prot::EXEC, header.flags & elf::PF_X.0 != 0);
        // A wish that is no power of two is no wish, as for Linux.
        let align = if header.align.is_power_of_two() { header.align.max(PAGE) } else { PAGE };
        let end = header.vaddr.checked_add(header.mem_len).and_then(|end| end.checked_next_multiple_of(PAGE));
        let file_end = header.offset.checked_add(header.file_len);
        let possible = end.is_some()
            && file_end.is_some()
            && header.file_len <= header.mem_len
            && header.vaddr % PAGE == header.offset % PAGE;
        if !possible {
            return Err(Errno::EINVAL);
        }
        Ok(Segment {
            vaddr: header.vaddr,
            offset: header.offset,
            file_len: header.file_len,
            mem_len: header.mem_len,
            prot,
            align,
        })
    }

    /// The pages of the segment.
    #[must_use]
    pub fn pages(&self) -> Range<u64> {
        self.vaddr / PAGE * PAGE..(self.vaddr + self.mem_len).next_multiple_of(PAGE)
    }

    /// Those pages that the file alone fills. A page that begins with the file and goes on with
    /// zeroes is not among them.
    #[must_use]
    pub fn file_pages(&self) -> Range<u64> {
        let end = self.vaddr + self.file_len;
        let start = self.vaddr / PAGE * PAGE;
        let end = if self.mem_len > self.file_len { end / PAGE * PAGE } else { end.next_multiple_of(PAGE) };
        if self.file_len == 0 { start..start } else { start..end.max(start) }
    }

    /// Where in the file the segment's first page begins.
    #[must_use]
    pub fn page_offset(&self) -> u64 {
        self.offset / PAGE * PAGE
    }

    /// What the file gives to the page that goes on with zeroes: where in the file, and bytes.
    #[must_use]
    pub fn tail(&self) -> Option<(u64, usize)> {
        let start = self.file_pages().end;
        let end = self.vaddr + self.file_len;
        if self.file_len == 0 || end <= start {
            return None;
        }
        Some((self.page_offset() + (start - self.pages().start), (end - start) as usize))
    }
}

/// What the program headers say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// What the file header says.
    pub headers: Headers,
    /// Memory, in ascending order of addresses. Never empty.
    pub segments: Vec<Segment>,
    /// Where in the file the interpreter's path lies, its zero byte included.
    pub interpreter: Option<Range<u64>>,
    /// Address of the program headers in memory, 0 when they are not there.
    pub phdr: u64,
    /// Whether the program wants to run code on its stack.
    pub exec_stack: bool,
}

impl Image {
    /// Checks the program headers. `table` is what lies at [`Headers::offset`].
    ///
    /// # Errors
    /// `ENOEXEC` or `EINVAL` when they are no program's.
    pub fn parse(headers: Headers, table: &[u8]) -> Result<Image, Errno> {
        let mut image = Image { headers, segments: Vec::new(), interpreter: None, phdr: 0, exec_stack: false };
        let mut rest = table;
        for _ in 0..headers.count {
            let (header, more) = ProgramHeader::read_from_prefix(rest).map_err(|_| Errno::ENOEXEC)?;
            rest = more;
            image.enter(&header)?;
        }
        let ascending = image.segments.windows(2).all(|pair| pair[0].vaddr + pair[0].mem_len <= pair[1].vaddr);
        if image.segments.is_empty() || !ascending {
            return Err(Errno::ENOEXEC);
        }
        if image.phdr == 0 {
            image.phdr = image.phdr_in_segments().unwrap_or(0);
        }
        Ok(image)
    }

    fn enter(&mut self, header: &ProgramHeader) -> Result<(), Errno> {
        match elf::ProgramType(header.kind) {
            elf::PT_LOAD if header.mem_len > 0 => self.segments.push(Segment::parse(header)?),
            elf::PT_INTERP if self.interpreter.is_none() => {
                let end = header.offset.checked_add(header.file_len).ok_or(Errno::ENOEXEC)?;
                if !(2..=PATH_MAX).contains(&header.file_len) {
                    return Err(Errno::ENOEXEC);
                }
                self.interpreter = Some(header.offset..end);
            }
            elf::PT_PHDR => self.phdr = header.vaddr,
            elf::PT_GNU_STACK => self.exec_stack = header.flags & elf::PF_X.0 != 0,
            _ => {}
        }
        Ok(())
    }

    fn phdr_in_segments(&self) -> Option<u64> {
        let at = self.headers.offset;
        let holder = self.segments.iter().find(|s| (s.offset..s.offset + s.file_len).contains(&at))?;
        Some(holder.vaddr + (at - holder.offset))
    }

    /// The pages from the first segment's to the last one's.
    #[must_use]
    pub fn span(&self) -> Range<u64> {
        let start = self.segments.first().map_or(0, |first| first.pages().start);
        let end = self.segments.last().map_or(0, |last| last.pages().end);
        start..end.max(start)
    }

    /// The largest alignment that a segment asks for.
    #[must_use]
    pub fn align(&self) -> u64 {
        self.segments.iter().map(|segment| segment.align).max().unwrap_or(PAGE)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use proptest::prelude::*;

    use super::*;

    fn image_of(bytes: &[u8]) -> Result<Image, Errno> {
        let headers = Headers::parse(bytes)?;
        let start = usize::try_from(headers.offset).map_err(|_| Errno::ENOEXEC)?;
        let end = start.checked_add(headers.table_len()).ok_or(Errno::ENOEXEC)?;
        Image::parse(headers, bytes.get(start..end).ok_or(Errno::ENOEXEC)?)
    }

    /// The beginning of a good program: this one.
    fn good() -> Vec<u8> {
        let mut bytes = vec![0; 4096];
        std::fs::File::open("/proc/self/exe").unwrap().read_exact(&mut bytes).unwrap();
        bytes
    }

    /// What the loader relies on, whatever the file says.
    fn check(image: &Image) {
        let span = image.span();
        assert!(image.align().is_power_of_two() && image.align() >= PAGE);
        for segment in &image.segments {
            let (pages, file) = (segment.pages(), segment.file_pages());
            assert!(pages.start >= span.start && pages.end <= span.end && !pages.is_empty());
            assert!(file.start == pages.start && file.end <= pages.end);
            if let Some((offset, len)) = segment.tail() {
                assert!(len as u64 <= PAGE && offset + len as u64 == segment.offset + segment.file_len);
                assert!(file.end < pages.end);
            }
        }
    }

    #[test]
    fn programs_of_this_machine() {
        let mut seen = 0;
        for path in ["/bin/true", "/bin/sh", "/usr/bin/env", "/lib64/ld-linux-x86-64.so.2", "/proc/self/exe"] {
            let Ok(bytes) = std::fs::read(path) else { continue };
            let image = image_of(&bytes).unwrap_or_else(|errno| panic!("{path}: {errno}"));
            check(&image);
            let runs = |segment: &&Segment| segment.prot.contains(Prot::EXEC);
            let text = image.segments.iter().find(runs).expect("something to run");
            assert!((text.vaddr..text.vaddr + text.mem_len).contains(&image.headers.entry), "{path}");
            assert_ne!(image.phdr, 0, "{path}");
            assert!(!image.exec_stack, "{path}");
            if let Some(range) = image.interpreter {
                assert!(bytes[range.start as usize..range.end as usize].starts_with(b"/lib"));
            }
            seen += 1;
        }
        assert!(seen > 0);
    }

    #[test]
    fn what_is_no_program() {
        let with = |at: usize, byte: u8| {
            let mut bytes = good();
            bytes[at] = byte;
            image_of(&bytes)
        };
        assert!(with(5, 1).is_ok(), "the unchanged file");
        assert_eq!(image_of(b"#!/bin/sh\n"), Err(Errno::ENOEXEC));
        assert_eq!(image_of(&[]), Err(Errno::ENOEXEC));
        // Magic, class, byte order, type, machine, size and number of program headers.
        for (at, byte) in [(0, 0), (4, 1), (5, 2), (16, 4), (18, 3), (54, 0x37), (57, 0xff)] {
            assert_eq!(with(at, byte), Err(Errno::ENOEXEC), "byte {at}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4096, ..ProptestConfig::default() })]

        #[test]
        fn any_change_of_a_program_is_answered(changes in prop::collection::vec((0usize..1024, any::<u8>()), 1..12)) {
            let mut bytes = good();
            for (at, byte) in changes {
                bytes[at] = byte;
            }
            if let Ok(image) = image_of(&bytes) {
                check(&image);
            }
        }

        #[test]
        fn any_program_headers_are_answered(table in prop::collection::vec(any::<[u64; 7]>(), 1..6), kind in 0u16..2) {
            let headers = Headers { relocatable: kind == 1, entry: 0, offset: 64, count: table.len() as u16 };
            let words = table.iter().flat_map(|&[flags, offset, vaddr, paddr, file, mem, align]| {
                // Mostly PT_LOAD, and mostly numbers that pass the first checks.
                let page = vaddr % PAGE;
                [flags << 32 | 1, offset / PAGE * PAGE + page, vaddr, paddr, file % 65536, mem >> (align % 64), align]
            });
            let bytes: Vec<u8> = words.chain([0]).flat_map(u64::to_le_bytes).collect();
            if let Ok(image) = Image::parse(headers, &bytes) {
                check(&image);
            }
        }
    }
}
