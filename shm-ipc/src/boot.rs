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
}

/// In [`BootInfo::flags`]: ask the host for transparent large pages.
pub const FLAG_TRANSPARENT_LARGE_PAGES: u64 = 1;
/// In [`BootInfo::flags`]: name unsupported calls on stderr.
pub const FLAG_NAME_UNSUPPORTED: u64 = 2;

/// Bytes that the boot information takes for strings of `strings_len` bytes.
#[must_use]
pub fn boot_len(strings_len: u64) -> u64 {
    size_of::<BootInfo>() as u64 + strings_len
}

/// Proxy: writes `info` and `strings`. `false` when they do not fit the layout.
#[must_use]
pub fn write(region: &Region, layout: &Layout, info: &BootInfo, strings: &[u8]) -> bool {
    info.strings_len == strings.len() as u64
        && boot_len(info.strings_len) <= layout.boot_len
        && region.write(layout.boot, info.as_bytes())
        && region.write(layout.boot + size_of::<BootInfo>() as u64, strings)
}

/// Kernel: the information, and the offset of its strings.
#[must_use]
pub fn read(region: &Region, layout: &Layout) -> Option<(BootInfo, u64)> {
    let mut bytes = [0; size_of::<BootInfo>()];
    if !region.read(layout.boot, &mut bytes) {
        return None;
    }
    let info = BootInfo::read_from_bytes(&bytes).ok()?;
    (boot_len(info.strings_len) <= layout.boot_len).then_some((info, layout.boot + size_of::<BootInfo>() as u64))
}

const _: () = assert!(size_of::<BootInfo>().is_multiple_of(8));
