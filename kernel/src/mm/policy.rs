//! NUMA policies, as far as one node has any.
//!
//! A cell's memory lies on one node. A policy that names this node is accepted and given back
//! when it is asked for; it changes nothing. See set_mempolicy(2) and Linux's `mm/mempolicy.c`.

use crate::abi::Errno;

/// `MPOL_*` of `linux/mempolicy.h`.
pub mod mode {
    /// The policy of the thread, or the local node.
    pub const DEFAULT: u16 = 0;
    /// This node first, others when it is full.
    pub const PREFERRED: u16 = 1;
    /// These nodes only.
    pub const BIND: u16 = 2;
    /// Pages in turn on these nodes.
    pub const INTERLEAVE: u16 = 3;
    /// The node of the core that touches the page.
    pub const LOCAL: u16 = 4;
    /// These nodes first, others when they are full.
    pub const PREFERRED_MANY: u16 = 5;
    /// `MPOL_F_STATIC_NODES | MPOL_F_RELATIVE_NODES | MPOL_F_NUMA_BALANCING`.
    pub const FLAGS: u16 = 0xe000;
}

const STATIC_NODES: u16 = 1 << 15;
const RELATIVE_NODES: u16 = 1 << 14;

/// A policy that was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Mode and its flags.
    pub mode: u16,
    /// Whether it names the cell's node.
    pub names_node: bool,
}

impl Policy {
    /// What there is when nobody said anything.
    pub const DEFAULT: Policy = Policy { mode: mode::DEFAULT, names_node: false };

    /// The policy of `mode` for a node mask.
    ///
    /// # Errors
    /// `EINVAL` for an unknown mode, or a mask that does not suit it.
    pub fn new(mode: u32, mask: Mask) -> Result<Policy, Errno> {
        let mode = Policy::check_mode(mode)?;
        let flags = mode & mode::FLAGS;
        let allowed = match (mode & !mode::FLAGS, mask) {
            (mode::DEFAULT, Mask::Empty) => flags == 0,
            (mode::LOCAL, Mask::Empty) => flags == 0,
            (mode::PREFERRED, Mask::Empty) => flags & (STATIC_NODES | RELATIVE_NODES) == 0,
            (mode::PREFERRED | mode::BIND | mode::INTERLEAVE | mode::PREFERRED_MANY, Mask::NamesNode) => true,
            _ => false,
        };
        // Without a node "preferred" is the local one (`mpol_new`).
        let mode = if (mode, mask) == (mode::PREFERRED, Mask::Empty) { mode::LOCAL } else { mode };
        let policy = Policy { mode, names_node: mask == Mask::NamesNode };
        if allowed { Ok(policy) } else { Err(Errno::EINVAL) }
    }

    /// A mode with its flags, before a mask is looked at (`sanitize_mpol_flags`).
    ///
    /// # Errors
    /// `EINVAL` for an unknown mode, or flags that exclude each other.
    pub fn check_mode(mode: u32) -> Result<u16, Errno> {
        let mode = u16::try_from(mode).map_err(|_| Errno::EINVAL)?;
        let flags = mode & mode::FLAGS;
        let exclude = flags & STATIC_NODES != 0 && flags & RELATIVE_NODES != 0;
        if exclude || mode & !mode::FLAGS > mode::PREFERRED_MANY { Err(Errno::EINVAL) } else { Ok(mode) }
    }

    /// Whether pages go to nodes in turn.
    #[must_use]
    pub fn interleaves(self) -> bool {
        self.mode & !mode::FLAGS == mode::INTERLEAVE
    }
}

/// What a node mask of the program says about the cell's node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mask {
    /// No node at all.
    Empty,
    /// The cell's node, perhaps among others.
    NamesNode,
    /// Other nodes only.
    OtherNodes,
}
