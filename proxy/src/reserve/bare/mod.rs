//! Bare cores and their memory: taken out of a running Linux, and given back to it.

// The boot of this platform, which is to use all of this, comes next.
#![allow(dead_code)]

use std::io;
use std::marker::PhantomData;
use std::ptr::NonNull;

use crate::descriptors::PrivateBand;
use crate::node::cpus::CpuSet;
use crate::reserve::Error;
use crate::reserve::ledger::Lease;

/// How the processors are addressed by each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApicMode {
    /// By 32-bit numbers and model-specific registers.
    X2,
    /// By 8-bit numbers and memory-mapped registers.
    X1,
}

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Linux's numbers of the cores: those that the plan claims, or some of them.
    pub cores: &'a CpuSet,
    /// The NUMA node of the memory.
    pub numa: u32,
    /// How much memory: a multiple of 2 MiB.
    pub bytes: u64,
}

/// Bare cores and their memory, taken from Linux. Gives all of it back when dropped, in the right
/// order.
#[derive(Debug)]
pub struct Bare {
    base: NonNull<u8>,
    len: u64,
    chunks: Vec<u64>,
    apic_ids: Vec<u32>,
    apic_mode: ApicMode,
}

// SAFETY: the memory is mapped for as long as this lives, whoever looks at it; everything else
// is data.
unsafe impl Send for Bare {}
// SAFETY: as above.
unsafe impl Sync for Bare {}

impl Bare {
    /// Takes everything, each thing written into the lease's ledger entry before it is taken. On
    /// error all is given back. No other thread may have been started.
    pub fn take(_wanted: &Wanted<'_>, _lease: &mut Lease, _band: &PrivateBand) -> Result<Bare, Error> {
        unimplemented!("comes next")
    }

    /// The memory, mapped contiguously in this process: `len` bytes, aligned to 2 MiB. Nobody may
    /// use it once this is dropped.
    pub fn base(&self) -> NonNull<u8> {
        self.base
    }

    /// Bytes of memory.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// The physical address of each 2 MiB of it, in the order of the mapping at [`Bare::base`].
    pub fn chunks(&self) -> &[u64] {
        &self.chunks
    }

    /// The APIC ids of the cores, in the order of their numbers.
    pub fn apic_ids(&self) -> &[u32] {
        &self.apic_ids
    }

    /// How they are addressed.
    pub fn apic_mode(&self) -> ApicMode {
        self.apic_mode
    }

    /// Takes two contiguous pages below 1 MiB to start cores in. One proxy of a node can hold
    /// them at a time; others wait. What was in them is put back on drop.
    pub fn low(&self) -> Result<LowPages<'_>, Error> {
        unimplemented!("comes next")
    }

    /// Resets core `index` and lets it start at page `vector` below 1 MiB: INIT, 10 ms, SIPI.
    pub fn start_core(&self, _index: usize, _vector: u8) -> Result<(), Error> {
        unimplemented!("comes next")
    }

    /// Sends a fixed interrupt to core `index`.
    pub fn interrupt(&self, _index: usize, _vector: u8) -> io::Result<()> {
        unimplemented!("comes next")
    }

    /// Makes core `index` stand still: INIT without SIPI.
    pub fn stop_core(&self, _index: usize) -> io::Result<()> {
        unimplemented!("comes next")
    }

    /// Pins pages of shared memory (tmpfs, hugetlbfs, memfd) that this process has mapped at
    /// `at..at + len`, writable, in whole pages.
    pub fn pin(&self, _at: u64, _len: u64) -> io::Result<Pinned> {
        unimplemented!("comes next")
    }
}

/// Two contiguous pages below 1 MiB.
#[derive(Debug)]
pub struct LowPages<'b> {
    physical: u32,
    _bare: PhantomData<&'b Bare>,
}

impl LowPages<'_> {
    /// The physical address of the first.
    pub fn physical(&self) -> u32 {
        self.physical
    }

    /// Writes into them. Panics when that would reach beyond their end.
    pub fn write(&mut self, _offset: usize, _bytes: &[u8]) {
        unimplemented!("comes next")
    }
}

/// Pages of shared memory that stay where they are while this lives.
#[derive(Debug)]
pub struct Pinned {
    physical: Vec<u64>,
}

impl Pinned {
    /// The physical address of each 4 KiB page.
    pub fn physical(&self) -> &[u64] {
        &self.physical
    }
}
