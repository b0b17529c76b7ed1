//! Which shared libraries a program names (gABI chapter 5, "Dynamic Section").

use std::fs::File;
use std::io;

use object::LittleEndian;
use object::elf::{DT_NEEDED, DT_STRSZ, DT_STRTAB, DynamicTag, FileHeader64, PT_LOAD};
use object::read::elf::{Dyn, FileHeader, ProgramHeader};
use object::read::{ReadCache, ReadRef};

type Header = FileHeader64<LittleEndian>;

/// More than any program has.
const MOST_STRINGS: u64 = 16 << 20;

/// Their names; none for a static program, or one whose tables lead nowhere: that one the loader refuses.
pub fn libraries(file: &File) -> Vec<String> {
    read(file).unwrap_or_default()
}

fn read(file: &File) -> Option<Vec<String>> {
    let cache = ReadCache::new(Positioned { file, at: 0 });
    let header = Header::parse(&cache).ok()?;
    let endian = header.endian().ok()?;
    let segments = header.program_headers(endian, &cache).ok()?;
    let entries = segments.iter().find_map(|segment| segment.dynamic(endian, &cache).ok()?)?;
    let value =
        |tag: DynamicTag| entries.iter().find(|entry| entry.tag(endian) == tag).map(|entry| entry.d_val(endian));
    let (address, len) = (value(DT_STRTAB)?, value(DT_STRSZ)?.min(MOST_STRINGS));
    let within = |segment: &&object::elf::ProgramHeader64<LittleEndian>| {
        segment.p_type(endian) == PT_LOAD && address.wrapping_sub(segment.p_vaddr(endian)) < segment.p_filesz(endian)
    };
    let segment = segments.iter().find(within)?;
    let at = segment.p_offset(endian).checked_add(address - segment.p_vaddr(endian))?;
    let strings = (&cache).read_bytes_at(at, len).ok()?;
    let name = |at: u64| {
        let rest = strings.get(usize::try_from(at).ok()?..)?;
        let end = rest.iter().position(|byte| *byte == 0)?;
        String::from_utf8(rest[..end].to_vec()).ok()
    };
    let needed = entries.iter().filter(|entry| entry.tag(endian) == DT_NEEDED);
    Some(needed.filter_map(|entry| name(entry.d_val(endian))).collect())
}

/// The file read at places of its own: its position is the program's.
struct Positioned<'f> {
    file: &'f File,
    at: u64,
}

impl io::Read for Positioned<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = std::os::unix::fs::FileExt::read_at(self.file, buffer, self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

impl io::Seek for Positioned<'_> {
    fn seek(&mut self, to: io::SeekFrom) -> io::Result<u64> {
        let base = match to {
            io::SeekFrom::Start(at) => Some(at),
            io::SeekFrom::Current(by) => self.at.checked_add_signed(by),
            io::SeekFrom::End(by) => self.file.metadata()?.len().checked_add_signed(by),
        };
        self.at = base.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dynamic_program_names_the_c_library() {
        let own = File::open("/proc/self/exe").expect("there");
        let names = libraries(&own);
        assert!(names.iter().any(|name| name.starts_with("libc.so")), "{names:?}");
    }

    #[test]
    fn what_is_no_program_names_none() {
        assert!(libraries(&File::open("/etc/passwd").expect("there")).is_empty());
        assert!(libraries(&File::open("/dev/null").expect("there")).is_empty());
    }
}
