//! The host's vDSO (vdso(7)): where it lies, and whether its clock can be trusted to stay in
//! user space.

use std::fs;
use std::ops::Range;

use object::read::elf::ElfFile64;
use object::{Endianness, Object, ObjectSymbol};

/// The vDSO of this process, and so of its forked children.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Vdso {
    /// Its ELF header; 0 when there is none.
    pub base: u64,
    /// Address of its clock_gettime; 0 when that may fall back to a system call.
    pub clock: u64,
    /// Its mapping with that of its data.
    pub keep: Range<u64>,
}

/// Clock sources that the vDSO reads itself (`arch/x86/include/asm/vdso/clocksource.h`).
const IN_USER_SPACE: [&str; 3] = ["tsc", "kvm-clock", "hyperv_clocksource_tsc_page"];

/// Finds the vDSO.
pub fn find() -> Vdso {
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let Some((image, keep)) = parse(&maps) else { return Vdso::default() };
    let source = fs::read_to_string("/sys/devices/system/clocksource/clocksource0/current_clocksource");
    let fast = source.is_ok_and(|source| IN_USER_SPACE.contains(&source.trim()));
    let clock = if fast { clock_gettime(&image).unwrap_or(0) } else { 0 };
    Vdso { base: image.start, clock, keep }
}

/// The mapping of the vDSO, and the range that takes in its data too.
fn parse(maps: &str) -> Option<(Range<u64>, Range<u64>)> {
    let range = |line: &str| {
        let (start, end) = line.split_ascii_whitespace().next()?.split_once('-')?;
        Some(u64::from_str_radix(start, 16).ok()?..u64::from_str_radix(end, 16).ok()?)
    };
    let image = maps.lines().find(|line| line.ends_with("[vdso]")).and_then(range)?;
    let ours = |line: &&str| line.ends_with("[vdso]") || line.contains("[vvar");
    let all: Vec<Range<u64>> = maps.lines().filter(ours).filter_map(range).collect();
    let start = all.iter().map(|r| r.start).min()?;
    let end = all.iter().map(|r| r.end).max()?;
    Some((image, start..end))
}

fn clock_gettime(image: &Range<u64>) -> Option<u64> {
    // SAFETY: the kernel maps the vDSO readable into every process, for good.
    let bytes = unsafe { std::slice::from_raw_parts(image.start as *const u8, (image.end - image.start) as usize) };
    let file: ElfFile64<'_, Endianness> = ElfFile64::parse(bytes).ok()?;
    let symbol = file.dynamic_symbols().find(|symbol| symbol.name() == Ok("__vdso_clock_gettime"))?;
    Some(image.start + symbol.address())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_are_understood() {
        let maps = "7ffd0000-7ffd8000 rw-p 0 00:00 0 [stack]\n\
                    7fff1000-7fff5000 r--p 0 00:00 0 [vvar]\n\
                    7fff5000-7fff7000 r--p 0 00:00 0 [vvar_vclock]\n\
                    7fff7000-7fff9000 r-xp 0 00:00 0 [vdso]\n";
        assert_eq!(parse(maps), Some((0x7fff_7000..0x7fff_9000, 0x7fff_1000..0x7fff_9000)));
        assert_eq!(parse("0-1 r--p 0 0:0 0 [heap]"), None);
    }

    #[test]
    fn this_machines_vdso_has_a_clock() {
        let maps = fs::read_to_string("/proc/self/maps").expect("maps can be read");
        if let Some((image, _)) = parse(&maps) {
            assert!(clock_gettime(&image).is_some_and(|at| image.contains(&at)));
        }
    }
}
