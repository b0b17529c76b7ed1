//! What the proxy tells a kernel on bare cores beyond the [boot information](crate::boot).
//!
//! Behind the cell's layout, the region goes on with what only this platform has:
//!
//! ```text
//! bare        [Bare], the runs of physical memory, the APIC ids
//! clock       [ClockPage](crate::clock)
//! image       the kernel image, loaded and relocated
//! cores       for each core its own area: [CORE_BYTES]
//! tables      page tables: those that the proxy has made, then free pages
//! ```

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::region::Region;

/// Where the kernel sees the whole region.
pub const WINDOW: u64 = 0xffff_8000_0000_0000;
/// Where the kernel image lies.
pub const IMAGE: u64 = 0xffff_ffff_8000_0000;
/// Where the kernel sees the local APIC's registers, where they are memory.
pub const APIC: u64 = 0xffff_ffff_c000_0000;
/// Where Linux puts the proxy's image and heap, wherever in it (`ELF_ET_DYN_BASE` and 28 random
/// bits of pages): nothing of Linux can be mapped for the program there.
pub const PROXY: core::ops::Range<u64> = 0x5500_0000_0000..0x5700_0000_0000;

/// Bytes of a core's own area, and its alignment.
pub const CORE_BYTES: u64 = 512 << 10;
/// Bytes of each of the stacks in it, and their alignment. The first place holds the core's
/// tables instead of a stack.
pub const STACK_BYTES: u64 = 32 << 10;
/// Where in a core's area the stack that it starts on ends.
pub const START_STACK_END: u64 = CORE_BYTES;

/// Where things are. Offsets are into the region.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Bare {
    /// Offset of the [`Run`]s, and how many there are.
    pub runs: [u64; 2],
    /// Offset of the APIC ids of the cores, a word each.
    pub apic_ids: u64,
    /// Offset of the clock page.
    pub clock: u64,
    /// Offset and length of the image.
    pub image: [u64; 2],
    /// Offset of the cores' own areas.
    pub cores: u64,
    /// Offset of the page tables, their length, and how much of that is in use.
    pub tables: [u64; 3],
    /// Offset of the top table.
    pub root: u64,
    /// Physical address of the local APIC's registers; 0 where it is in x2APIC mode.
    pub apic: u64,
    /// XCR0 of Linux on this machine: the states that programs may use.
    pub xcr0: u64,
    /// IA32_PAT of Linux on this machine.
    pub pat: u64,
    /// A random number: whoever looks at the cell's memory from elsewhere knows by it that it is
    /// still this cell's.
    pub number: u64,
}

/// Contiguous physical memory. Runs follow each other in the region without a gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Run {
    /// Offset in the region.
    pub offset: u64,
    /// Physical address.
    pub physical: u64,
    /// Bytes.
    pub len: u64,
}

/// The runs of memory that consists of `chunks` of `bytes` each.
pub fn runs_of(chunks: impl IntoIterator<Item = u64>, bytes: u64) -> impl Iterator<Item = Run> {
    let mut chunks = chunks.into_iter().enumerate().map(move |(index, physical)| (index as u64 * bytes, physical));
    let mut next = chunks.next();
    core::iter::from_fn(move || {
        let (offset, physical) = next.take()?;
        let mut run = Run { offset, physical, len: bytes };
        for (offset, physical) in chunks.by_ref() {
            if physical != run.physical + run.len {
                next = Some((offset, physical));
                break;
            }
            run.len += bytes;
        }
        Some(run)
    })
}

/// Proxy: writes what describes the cell's bare part.
#[must_use]
pub fn write(region: &Region, at: u64, bare: &Bare) -> bool {
    region.write(at, bare.as_bytes())
}

/// Kernel: reads it; `None` when it does not lie in the region.
#[must_use]
pub fn read(region: &Region, at: u64) -> Option<Bare> {
    let mut bytes = [0; size_of::<Bare>()];
    region.read(at, &mut bytes).then(|| Bare::read_from_bytes(&bytes).ok())?
}

const _: () = {
    use core::mem::offset_of;
    assert!(offset_of!(Bare, runs) == 0);
    assert!(offset_of!(Bare, apic_ids) == 16);
    assert!(offset_of!(Bare, clock) == 24);
    assert!(offset_of!(Bare, image) == 32);
    assert!(offset_of!(Bare, cores) == 48);
    assert!(offset_of!(Bare, tables) == 56);
    assert!(offset_of!(Bare, root) == 80);
    assert!(offset_of!(Bare, apic) == 88);
    assert!(offset_of!(Bare, xcr0) == 96);
    assert!(offset_of!(Bare, pat) == 104);
    assert!(offset_of!(Bare, number) == 112);
    assert!(size_of::<Bare>() == 120);
    assert!(size_of::<Run>() == 24);
};

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn chunks_that_follow_each_other_are_one_run() {
        let runs: Vec<Run> = runs_of([0x40, 0x50, 0x70, 0x80, 0x10], 0x10).collect();
        let run = |offset, physical, len| Run { offset, physical, len };
        assert_eq!(runs, [run(0, 0x40, 0x20), run(0x20, 0x70, 0x20), run(0x40, 0x10, 0x10)]);
        assert_eq!(runs_of([], 0x10).count(), 0);
    }
}
