//! The kernel image: a static PIE with relative relocations only, loaded by hand.

use std::io;
use std::ptr;

use object::LittleEndian;
use object::elf::{self, FileHeader64};
use object::read::elf::{Dyn, FileHeader, ProgramHeader, Rela};

/// The image of the `process` platform.
pub const PROCESS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/kernel-process"));
/// The image of the `partition` platform.
pub const PARTITION: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/kernel-partition"));

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

/// A part of a loaded image, whole pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// Where it starts, from the image's beginning.
    pub at: u64,
    /// Bytes.
    pub len: u64,
    /// Whether it is written.
    pub is_writable: bool,
    /// Whether it is executed.
    pub is_executable: bool,
}

/// Maps the image at `base`, which must be free, and relocates it.
///
/// # Errors
/// Those of mmap(2); `InvalidData` when the image is none.
pub fn load(image: &[u8], base: u64) -> io::Result<Loaded> {
    let memory = map(base, size(image)?)?;
    let loaded = place(image, base, memory)?;
    for segment in segments(image)? {
        protect(base, &segment)?;
    }
    Ok(loaded)
}

/// Bytes that the image takes in memory, whole pages.
///
/// # Errors
/// `InvalidData` when the image is none.
pub fn size(image: &[u8]) -> io::Result<u64> {
    Ok(segments(image)?.iter().map(|segment| segment.at + segment.len).max().unwrap_or(0))
}

/// The image's parts.
///
/// # Errors
/// `InvalidData` when the image is none.
pub fn segments(image: &[u8]) -> io::Result<Vec<Segment>> {
    let endian = LittleEndian;
    let header = Header::parse(image).map_err(malformed)?;
    let all = header.program_headers(endian, image).map_err(malformed)?;
    let loads = all.iter().filter(|s| s.p_type(endian) == elf::PT_LOAD);
    let segment = |s: &elf::ProgramHeader64<LittleEndian>| {
        let at = s.p_vaddr(endian) / PAGE * PAGE;
        let len = (s.p_vaddr(endian) + s.p_memsz(endian)).next_multiple_of(PAGE) - at;
        let has = |flag: u32| s.p_flags(endian).0 & flag != 0;
        Segment { at, len, is_writable: has(elf::PF_W.0), is_executable: has(elf::PF_X.0) }
    };
    Ok(loads.map(segment).collect())
}

/// Puts the image into `memory`, which is zero, for a place at `base`.
///
/// # Errors
/// `InvalidData` when the image is none or does not fit.
pub fn place(image: &[u8], base: u64, memory: &mut [u8]) -> io::Result<Loaded> {
    let endian = LittleEndian;
    let header = Header::parse(image).map_err(malformed)?;
    let segments = header.program_headers(endian, image).map_err(malformed)?;
    for segment in segments.iter().filter(|s| s.p_type(endian) == elf::PT_LOAD) {
        let data = segment.data(endian, image).map_err(malformed)?;
        let at = segment.p_vaddr(endian) as usize;
        memory.get_mut(at..at + data.len()).ok_or(()).map_err(malformed)?.copy_from_slice(data);
    }
    relocate(memory, image, base)?;
    Ok(Loaded { base, len: memory.len() as u64, entry: base + header.e_entry(endian) })
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

fn protect(base: u64, segment: &Segment) -> io::Result<()> {
    let bit = |is: bool, protection| if is { protection } else { 0 };
    let protection =
        libc::PROT_READ | bit(segment.is_writable, libc::PROT_WRITE) | bit(segment.is_executable, libc::PROT_EXEC);
    let at = ptr::without_provenance_mut((base + segment.at) as usize);
    // SAFETY: part of the mapping made by `map`, of which no reference is used any more.
    match unsafe { libc::mprotect(at, segment.len as usize, protection) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
