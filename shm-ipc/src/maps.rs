//! What the kernel tells of the program's memory for `/proc/<pid>/maps` and `smaps`.
//!
//! The kernel knows what is mapped where, Linux knows the files: the kernel sends its regions along
//! with the call that opens the file, and the proxy writes the lines (proc(5)).

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Private memory without a file.
pub const ANONYMOUS: u32 = 0;
/// What brk(2) moves.
pub const HEAP: u32 = 1;
/// The main thread's stack.
pub const STACK: u32 = 2;
/// Shared memory without a file. `number` tells one such mapping from another.
pub const SHARED_ANONYMOUS: u32 = 3;
/// A private mapping of Linux's, at this very address in the program's process.
pub const LINUX_PRIVATE: u32 = 4;
/// A shared mapping of Linux's, at this very address in the program's process.
pub const LINUX_SHARED: u32 = 5;
/// A copy of a file that the proxy keeps by `number` (`KEEP_FILE`).
pub const COPY: u32 = 6;
/// The kernel's own vDSO.
pub const VDSO: u32 = 7;
/// What the kernel's own vDSO reads.
pub const VVAR: u32 = 8;

/// A range of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Area {
    /// First address.
    pub start: u64,
    /// Address behind the last.
    pub end: u64,
    /// Offset in the file.
    pub offset: u64,
    /// See the kinds.
    pub number: u64,
    /// Bytes that have memory of the cell's; 0 where the memory is Linux's.
    pub resident: u64,
    /// `PROT_*`
    pub prot: u32,
    /// One of the constants above.
    pub kind: u32,
}

const _: () = {
    use core::mem::offset_of;
    assert!(offset_of!(Area, offset) == 16);
    assert!(offset_of!(Area, prot) == 40);
    assert!(size_of::<Area>() == 48);
};
