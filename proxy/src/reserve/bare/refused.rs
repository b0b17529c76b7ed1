//! Why a cell can't get bare cores.

use std::io;

use super::cores::Stubborn;
use crate::descriptors::NoRoom;
use crate::node::Unreadable;
use crate::node::cpus::CpuSet;
use crate::reserve::memory::human;

/// Why a cell can't get bare cores or their memory.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// What Linux says about the machine.
    #[error(transparent)]
    Node(#[from] Unreadable),
    /// The proxy's own descriptors.
    #[error(transparent)]
    Descriptors(#[from] NoRoom),
    /// Not root.
    #[error(
        "--platform partition takes cores out of Linux, which only root may do; run it as root, or use --platform process"
    )]
    NotRoot,
    /// Kernel lockdown.
    #[error(
        "--platform partition: Linux is locked down ({mode}) and keeps even root from starting cores; turn Secure Boot off, or use --platform process"
    )]
    Lockdown {
        /// How far.
        mode: String,
    },
    /// All that could be taken is taken.
    #[error("no core is left for a bare cell: {} with Linux{}; end a cell or use --platform process", stay(.linux), others(.held))]
    NoCoreLeft {
        /// What stays with Linux.
        linux: CpuSet,
        /// What other cells hold.
        held: CpuSet,
    },
    /// `--cores N` with too large a number.
    #[error("--cores {asked}: only {} can be taken out of Linux ({there}); ask for fewer", .there.len())]
    TooManyCores {
        /// How many.
        asked: usize,
        /// What there is.
        there: CpuSet,
    },
    /// Linux can't do without the core.
    #[error(
        "--cores: core {cpu} can't be taken: it is, or shares a physical core with, core {first}, which Linux does not let go; leave it out"
    )]
    Fixed {
        /// Which was asked for.
        cpu: u32,
        /// What it would take with it.
        first: u32,
    },
    /// Another cell has it.
    #[error("--cores: {cores} held by other cells; cores {free} are free")]
    Held {
        /// Which.
        cores: CpuSet,
        /// Which are nobody's.
        free: CpuSet,
    },
    /// Nothing would be left for the proxy.
    #[error(
        "--cores: core {cpu} can't be taken: it is the last one on which Linux could run this cell's proxy; leave it out"
    )]
    LastService {
        /// Which.
        cpu: u32,
    },
    /// A core that was not planned for.
    #[error("core {cpu} is not one of those that this cell has claimed; please report this")]
    NotClaimed {
        /// Which.
        cpu: u32,
    },
    /// A core without APIC id.
    #[error("/proc/cpuinfo does not tell the APIC id of core {cpu}; use other cores with --cores")]
    NoApicId {
        /// Which.
        cpu: u32,
    },
    /// Linux does not take it offline.
    #[error("{0}; use other cores with --cores")]
    Stubborn(#[from] Stubborn),
    /// No room for large pages.
    #[error("NUMA node {numa} gives {} of {} in large pages: its memory is in use or in small pieces; ask for less with --memory, or free some (`echo 1 > /proc/sys/vm/compact_memory` may help)", human(.got << 21), human(.asked << 21))]
    NoLargePages {
        /// Which node.
        numa: u32,
        /// Pages of 2 MiB that are needed.
        asked: u64,
        /// How many of them there are.
        got: u64,
    },
    /// Linux has no 2 MiB pages.
    #[error(
        "the file system of 2 MiB pages can't be mounted at {path}: {error}; this Linux needs CONFIG_HUGETLBFS, and tacet the right to mount"
    )]
    NoMount {
        /// Where.
        path: String,
        /// What Linux said.
        error: io::Error,
    },
    /// No io_uring.
    #[error(
        "io_uring, which keeps memory in place, can't be used: {error}; `sysctl kernel.io_uring_disabled=0` allows it where it is there (Linux 5.19 or later)"
    )]
    NoRing {
        /// What Linux said.
        error: io::Error,
    },
    /// No way to write processor registers.
    #[error(
        "cannot use {path}: {error}; load the module `msr`, with the capability CAP_SYS_RAWIO and without msr.allow_writes=off"
    )]
    NoMsr {
        /// Which file.
        path: String,
        /// What Linux said.
        error: io::Error,
    },
    /// The interrupt controllers are switched off.
    #[error("core {cpu} does not use its local APIC (IA32_APIC_BASE is {base:#x}); start Linux without `nolapic`")]
    NoApic {
        /// Whose.
        cpu: u32,
        /// The register.
        base: u64,
    },
    /// The controllers' registers are memory that Linux does not let us map.
    #[error(
        "cannot map the APIC registers from {path}: {error}; in xAPIC mode, which this machine is in, Linux must be started with `iomem=relaxed`"
    )]
    NoApicPage {
        /// Which file.
        path: String,
        /// What Linux said.
        error: io::Error,
    },
    /// The first MiB can't be mapped.
    #[error("cannot map low memory from {path}: {error}; that takes CONFIG_DEVMEM and the capability CAP_SYS_RAWIO")]
    NoLowMemory {
        /// Which file.
        path: String,
        /// What Linux said.
        error: io::Error,
    },
    /// Nothing in the first MiB is free.
    #[error(
        "no two pages below 1 MiB are surely unused: cores can't be started; Linux 5.13 or later keeps that memory free. Use --platform process"
    )]
    NoLowPages,
    /// Another proxy does not end its boot.
    #[error("another tacet has been starting cores for {seconds} s and does not end; see `tacet ps`, and end it")]
    BootTaken {
        /// How long.
        seconds: u64,
    },
    /// Something that Linux refused and that has no advice of its own.
    #[error("cannot {what}: {error}; {advice}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What Linux said.
        error: io::Error,
        /// What may help.
        advice: &'static str,
    },
}

fn stay(linux: &CpuSet) -> String {
    if linux.len() == 1 { format!("core {linux} stays") } else { format!("cores {linux} stay") }
}

fn others(held: &CpuSet) -> String {
    if held.is_empty() { String::new() } else { format!(", other cells hold {held}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_say_what_why_and_what_to_do() {
        let set = |text: &str| text.parse().expect("a list");
        let none = Refused::NoCoreLeft { linux: set("0"), held: set("1-3") }.to_string();
        assert_eq!(
            none,
            "no core is left for a bare cell: core 0 stays with Linux, other cells hold 1-3; \
             end a cell or use --platform process"
        );
        let pages = Refused::NoLargePages { numa: 1, asked: 512, got: 100 }.to_string();
        assert!(pages.starts_with("NUMA node 1 gives 200 MiB of 1 GiB"), "{pages}");
    }
}
