//! The kernel image: a static PIE with relative relocations only, loaded by hand.

use std::io;
use std::ptr;

use object::LittleEndian;
use object::elf::{self, FileHeader64};
use object::read::elf::{Dyn, FileHeader, ProgramHeader, Rela};

/// The image of the `process` platform.
pub const PROCESS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/kernel-process"));

type Header = FileHeader64<LittleEndian>;

const PAGE: u64 = 4096;

/// A loaded image.
#[derive(Debug, Clone, Copy)]
pub struct Loaded {
    /// Where it starts.
    pub base: u64,
    /// Bytes, whole pages.
    pub len: u64,
    /// Its entry.
    pub entry: u64,
}

fn malformed<E>(_: E) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the embedded kernel image is malformed")
}

/// Maps the image at `base`, which must be free, and relocates it.
///
/// # Errors
/// Those of mmap(2); `InvalidData` when the image is none.
pub fn load(image: &[u8], base: u64) -> io::Result<Loaded> {
    let endian = LittleEndian;
    let header = Header::parse(image).map_err(malformed)?;
    let segments = header.program_headers(endian, image).map_err(malformed)?;
    let loads = || segments.iter().filter(|s| s.p_type(endian) == elf::PT_LOAD);
    let end = loads().map(|s| s.p_vaddr(endian) + s.p_memsz(endian)).max().unwrap_or(0);
    let len = end.next_multiple_of(PAGE);
    let memory = map(base, len)?;
    for segment in loads() {
        let data = segment.data(endian, image).map_err(malformed)?;
        let at = segment.p_vaddr(endian) as usize;
        memory.get_mut(at..at + data.len()).ok_or(()).map_err(malformed)?.copy_from_slice(data);
    }
    relocate(memory, image, base)?;
    for segment in loads() {
        protect(base, segment.p_vaddr(endian), segment.p_memsz(endian), segment.p_flags(endian).0)?;
    }
    Ok(Loaded { base, len, entry: base + header.e_entry(endian) })
}

fn map(base: u64, len: u64) -> io::Result<&'static mut [u8]> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new mapping that replaces nothing.
    let at = unsafe { libc::mmap(base as *mut libc::c_void, len as usize, protection, flags, -1, 0) };
    if at == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: `len` fresh bytes that are nobody else's; the mapping stays.
    Ok(unsafe { std::slice::from_raw_parts_mut(at.cast(), len as usize) })
}

fn relocate(memory: &mut [u8], image: &[u8], base: u64) -> io::Result<()> {
    let endian = LittleEndian;
    let header = Header::parse(image).map_err(malformed)?;
    let segments = header.program_headers(endian, image).map_err(malformed)?;
    let dynamic = segments.iter().find_map(|s| s.dynamic(endian, image).ok().flatten()).unwrap_or(&[]);
    let entry = |tag: elf::DynamicTag| dynamic.iter().find(|d| d.d_tag(endian) == tag).map(|d| d.d_val(endian));
    let (Some(at), Some(size)) = (entry(elf::DT_RELA), entry(elf::DT_RELASZ)) else { return Ok(()) };
    let table: Vec<u8> = memory.get(at as usize..(at + size) as usize).ok_or(()).map_err(malformed)?.to_vec();
    let count = table.len() / size_of::<elf::Rela64<LittleEndian>>();
    let (relocations, _) =
        object::pod::slice_from_bytes::<elf::Rela64<LittleEndian>>(&table, count).map_err(malformed)?;
    for relocation in relocations {
        if relocation.r_type(endian, false) != elf::R_X86_64_RELATIVE {
            return Err(malformed(()));
        }
        let value = base.wrapping_add(relocation.r_addend(endian).cast_unsigned());
        let at = relocation.r_offset(endian) as usize;
        memory.get_mut(at..at + 8).ok_or(()).map_err(malformed)?.copy_from_slice(&value.to_le_bytes());
    }
    Ok(())
}

fn protect(base: u64, at: u64, len: u64, flags: u32) -> io::Result<()> {
    let start = (base + at) / PAGE * PAGE;
    let end = (base + at + len).next_multiple_of(PAGE);
    let bit = |flag: u32, protection| if flags & flag != 0 { protection } else { 0 };
    let protection =
        bit(elf::PF_R.0, libc::PROT_READ) | bit(elf::PF_W.0, libc::PROT_WRITE) | bit(elf::PF_X.0, libc::PROT_EXEC);
    // SAFETY: part of the mapping made by `map`, of which no reference is used any more.
    match unsafe { libc::mprotect(ptr::without_provenance_mut(start as usize), (end - start) as usize, protection) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
