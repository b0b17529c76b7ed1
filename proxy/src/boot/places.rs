//! Where a program's addresses end.
//!
//! A program may ask for any address of its 47 bits, and some do, at random (MPICH for windows that lie at
//! the same place in all ranks). So as little as possible is taken from them: at the upper end, where
//! Linux has put what this process has of its own, and just below it.

use std::fs;
use std::io;

/// Linux puts nothing of its own choice between the program's image with its heap and this, but where
/// stacks are unlimited (`mmap_base`, arch/x86/mm/mmap.c).
const UPPER: u64 = 0x6000_0000_0000;
/// Bytes below what is there for what this process maps later.
const ROOM: u64 = 64 << 30;
/// What is chosen is a multiple of this.
pub const UNIT: u64 = 1 << 30;

/// The address from which on this process has, or will have, mappings of its own.
pub fn end() -> io::Result<u64> {
    let maps = fs::read_to_string("/proc/self/maps")?;
    end_by(&maps).ok_or_else(|| io::Error::other("/proc/self/maps shows no stack"))
}

fn end_by(maps: &str) -> Option<u64> {
    let start = |line: &str| u64::from_str_radix(line.split_once('-')?.0, 16).ok();
    // The vsyscall page is beyond the addresses of programs.
    let own = maps.lines().filter_map(start).filter(|start| (UPPER..1 << 47).contains(start)).min()?;
    Some((own - ROOM) / UNIT * UNIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn below_the_lowest_of_the_upper_part() {
        let maps = "555555554000-555555556000 r--p 00000000 00:00 0\n7f0012345000-7f0012346000 r--p 0 00:00 0\n\
                    7ffc00000000-7ffc00021000 rw-p 00000000 00:00 0 [stack]\n\
                    ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0 [vsyscall]\n";
        assert_eq!(end_by(maps), Some(0x7ef0_0000_0000));
        assert_eq!(end_by("555555554000-555555556000 r--p 00000000 00:00 0\n"), None);
    }

    #[test]
    fn nothing_of_this_process_is_below() {
        let end = end().expect("readable");
        assert!(end > UPPER && end.is_multiple_of(UNIT));
        let maps = fs::read_to_string("/proc/self/maps").expect("readable");
        for line in maps.lines() {
            let (start, rest) = line.split_once('-').expect("a range");
            let number = |text| u64::from_str_radix(text, 16).expect("a number");
            let (start, last) = (number(start), number(rest.split(' ').next().expect("an end")));
            assert!(last <= UPPER || start >= end, "{line}");
        }
    }
}
