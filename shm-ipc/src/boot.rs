//! What the proxy tells the kernel at start: written once, before the kernel runs.
//!
//! The fixed part is [`BootInfo`]; the strings follow it: `argc` arguments, `envc` environment
//! entries, then the path that was executed, each ended by a zero byte.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::layout::Layout;
use crate::region::Region;

/// Identity, limits and hardware facts. All values are as the program should see them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct BootInfo {
    /// The program's process id: a real one, see DESIGN on identity.
    pub pid: u64,
    /// Process id of whoever started the program.
    pub ppid: u64,
    /// User ids: real, effective; then group ids: real, effective.
    pub ids: [u64; 4],
    /// Number of arguments.
    pub argc: u64,
    /// Number of environment entries.
    pub envc: u64,
    /// Bytes of strings behind this structure.
    pub strings_len: u64,
    /// Descriptor of the program's file, one of the proxy's own.
    pub exec_fd: u64,
    /// First descriptor that is the proxy's own, and how many are.
    pub private_fds: [u64; 2],
    /// `AT_HWCAP` and `AT_HWCAP2` of the host.
    pub hwcap: [u64; 2],
    /// `AT_CLKTCK`: ticks per second in times(2).
    pub clock_ticks: u64,
    /// `AT_MINSIGSTKSZ`: bytes of the largest signal frame on this CPU.
    pub min_sigstack: u64,
    /// Address of the host's vDSO in the cell's address space; 0 when there is none.
    pub vdso: u64,
    /// Address of its clock_gettime; 0 when it falls back to system calls on this machine.
    pub vdso_clock: u64,
    /// Soft limit of the stack in bytes; `u64::MAX` when unlimited.
    pub stack_limit: u64,
    /// Random bytes: the first 16 are `AT_RANDOM`'s, the others seed the kernel.
    pub random: [u8; 64],
    /// NUMA node of the memory.
    pub numa_node: u64,
    /// How long a core polls its rings before it sleeps, in nanoseconds. 0 where proxy and
    /// cell share cores.
    pub spin_ns: u64,
    /// Start and length of the kernel image in the cell's address space (`process`).
    pub image: [u64; 2],
    /// Address at which the kernel maps the whole cell memory (`process`).
    pub window: u64,
    /// Signals that the program inherits as ignored and as blocked, bit n - 1 for signal n.
    pub ignored_signals: u64,
    /// See `ignored_signals`.
    pub blocked_signals: u64,
    /// Start and length of what the kernel must leave mapped besides itself (`process`: vDSO
    /// and its data).
    pub keep: [u64; 2],
    /// Descriptor of the cell's memory, one of the proxy's own (`process`).
    pub memory_fd: u64,
    /// Bits, see the constants below.
    pub flags: u64,
    /// Offset of what a kernel on bare cores is told besides ([`crate::bare`]); 0 elsewhere.
    pub bare: u64,
    /// Offset and length of the memory that can be mapped by whole large pages only, both multiples
    /// of one; it ends with the layout. Zero where there is none (`process`).
    pub pool: [u64; 2],
    /// Descriptor of that memory, one of the proxy's own (`process`).
    pub pool_fd: u64,
    /// Bytes of the frames, all kinds together, that may be in use at once; `u64::MAX` for all.
    pub frames_limit: u64,
    /// End of the program's addresses. From here on are the kernel (`process`), or mappings of the proxy's
    /// own, which has those that it makes for the program at the program's addresses (`partition`).
    pub user_end: u64,
    /// RLIMIT_AS and RLIMIT_DATA that the program starts with, in bytes; `u64::MAX` for none.
    pub memory_limits: [u64; 2],
    /// RLIMIT_CPU that the kernel keeps to, soft and hard, in seconds; `u64::MAX` for none (always on
    /// `process`, where Linux does).
    pub time_limit: [u64; 2],
}

/// In [`BootInfo::flags`]: ask the host for transparent large pages.
pub const FLAG_TRANSPARENT_LARGE_PAGES: u64 = 1;
/// In [`BootInfo::flags`]: name unsupported calls on stderr.
pub const FLAG_NAME_UNSUPPORTED: u64 = 2;

/// Bytes that the boot information takes for strings of `strings_len` bytes.
///
/// An impossible `strings_len` gives a length that no layout has room for.
#[must_use]
pub fn boot_len(strings_len: u64) -> u64 {
    (size_of::<BootInfo>() as u64).saturating_add(strings_len)
}

/// Proxy: writes `info` and `strings`. `false` when they do not fit the layout.
#[must_use]
pub fn write(region: &Region, layout: &Layout, info: &BootInfo, strings: &[u8]) -> bool {
    info.strings_len == strings.len() as u64
        && boot_len(info.strings_len) <= layout.boot_len
        && region.write(layout.boot, info.as_bytes())
        && region.write(layout.boot + size_of::<BootInfo>() as u64, strings)
}

/// Kernel: the information, and the offset of its strings. `None` when the layout is larger
/// than the region, or the strings than their place.
#[must_use]
pub fn read(region: &Region, layout: &Layout) -> Option<(BootInfo, u64)> {
    if !layout.fits(region) {
        return None;
    }
    let mut bytes = [0; size_of::<BootInfo>()];
    if !region.read(layout.boot, &mut bytes) {
        return None;
    }
    let info = BootInfo::read_from_bytes(&bytes).ok()?;
    (boot_len(info.strings_len) <= layout.boot_len).then_some((info, layout.boot + size_of::<BootInfo>() as u64))
}

const _: () = {
    use core::mem::offset_of;
    assert!(offset_of!(BootInfo, pid) == 0);
    assert!(offset_of!(BootInfo, ppid) == 8);
    assert!(offset_of!(BootInfo, ids) == 16);
    assert!(offset_of!(BootInfo, argc) == 48);
    assert!(offset_of!(BootInfo, envc) == 56);
    assert!(offset_of!(BootInfo, strings_len) == 64);
    assert!(offset_of!(BootInfo, exec_fd) == 72);
    assert!(offset_of!(BootInfo, private_fds) == 80);
    assert!(offset_of!(BootInfo, hwcap) == 96);
    assert!(offset_of!(BootInfo, clock_ticks) == 112);
    assert!(offset_of!(BootInfo, min_sigstack) == 120);
    assert!(offset_of!(BootInfo, vdso) == 128);
    assert!(offset_of!(BootInfo, vdso_clock) == 136);
    assert!(offset_of!(BootInfo, stack_limit) == 144);
    assert!(offset_of!(BootInfo, random) == 152);
    assert!(offset_of!(BootInfo, numa_node) == 216);
    assert!(offset_of!(BootInfo, spin_ns) == 224);
    assert!(offset_of!(BootInfo, image) == 232);
    assert!(offset_of!(BootInfo, window) == 248);
    assert!(offset_of!(BootInfo, ignored_signals) == 256);
    assert!(offset_of!(BootInfo, blocked_signals) == 264);
    assert!(offset_of!(BootInfo, keep) == 272);
    assert!(offset_of!(BootInfo, memory_fd) == 288);
    assert!(offset_of!(BootInfo, flags) == 296);
    assert!(offset_of!(BootInfo, bare) == 304);
    assert!(offset_of!(BootInfo, pool) == 312);
    assert!(offset_of!(BootInfo, pool_fd) == 328);
    assert!(offset_of!(BootInfo, frames_limit) == 336);
    assert!(offset_of!(BootInfo, user_end) == 344);
    assert!(offset_of!(BootInfo, memory_limits) == 352);
    assert!(offset_of!(BootInfo, time_limit) == 368);
    assert!(size_of::<BootInfo>() == 384 && align_of::<BootInfo>() == 8);
};

#[cfg(all(test, not(loom)))]
mod tests {
    use std::vec;

    use proptest::prelude::*;

    use super::*;
    use crate::layout::PAGE;
    use crate::region::tests::region;

    const INFO: u64 = size_of::<BootInfo>() as u64;

    /// A region of `bytes` bytes, and a layout that ends with it.
    fn cell(boot_len: u64, bytes: u64) -> (Region, Layout) {
        (region(bytes), Layout { end: bytes, ..Layout::new(1, boot_len, 0).expect("possible") })
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(
            bytes in proptest::collection::vec(any::<u8>(), size_of::<BootInfo>()),
            strings in proptest::collection::vec(any::<u8>(), 0..3 * PAGE as usize),
            spare in 0..PAGE,
        ) {
            let mut info = BootInfo::read_from_bytes(&bytes).expect("any bytes are one");
            info.strings_len = strings.len() as u64;
            let (region, layout) = cell(boot_len(info.strings_len) + spare, 9 * PAGE);
            prop_assert!(write(&region, &layout, &info, &strings));
            let (read, at) = read(&region, &layout).expect("it was written");
            prop_assert_eq!(read, info);
            let mut copy = vec![0; strings.len()];
            prop_assert!(region.read(at, &mut copy));
            prop_assert_eq!(copy, strings);
        }
    }

    fn info(strings_len: u64) -> BootInfo {
        BootInfo { strings_len, ..BootInfo::read_from_bytes(&[0; size_of::<BootInfo>()]).expect("zeros are one") }
    }

    #[test]
    fn strings_that_do_not_fit_are_not_written() {
        let (region, layout) = cell(boot_len(3), 3 * PAGE);
        assert!(write(&region, &layout, &info(3), b"abc"));
        assert!(!write(&region, &layout, &info(4), b"abcd"));
        assert!(!write(&region, &layout, &info(2), b"abc"), "another length than it says");
        assert_eq!(read(&region, &layout), Some((info(3), layout.boot + INFO)));
    }

    #[test]
    fn impossible_lengths_are_not_read() {
        let (region, layout) = cell(boot_len(3), 3 * PAGE);
        for strings_len in [4, PAGE, u64::MAX - INFO, u64::MAX - INFO + 1, u64::MAX] {
            assert!(region.write(layout.boot, info(strings_len).as_bytes()));
            assert_eq!(read(&region, &layout), None, "{strings_len:#x}");
        }
    }

    #[test]
    fn a_layout_larger_than_the_region_is_not_read() {
        let (region, layout) = cell(boot_len(0), 3 * PAGE);
        assert!(write(&region, &layout, &info(0), b""));
        assert!(read(&region, &layout).is_some());
        assert_eq!(read(&region, &Layout { end: 3 * PAGE + 1, ..layout }), None);
    }
}
