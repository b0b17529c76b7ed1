//! The contract between the two sides of a cell, defined once and used by both.
//!
//! A cell's memory is one shared region that kernel and proxy both map, at different addresses.
//! Everything here therefore speaks in *offsets* from the start of that region. The region opens
//! with the [control page](control), followed by [boot information](boot), one block of
//! counters and doorbell per core, one submission and one completion [ring] per core, and
//! then the frames that the kernel hands out ([`layout`]).
//!
//! Whatever lies in the region is an *allegation* of the other side: it is loaded through
//! atomics, copied, checked, and only then used. No reference to plain data in the region is
//! ever formed, so a peer that writes anything anywhere can cause an error, not undefined
//! behaviour.
//!
//! [`calls`] is the table of Linux system calls: how each is handled and what its arguments are.
//! The kernel marshals by it ([`block`]), the proxy unmarshals by it, and the compatibility page
//! is printed from it.
//!
//! `docs/protocol.md` tells how all of it plays together, and what each side checks.
#![no_std]

#[cfg(test)]
extern crate std;

#[cfg(not(loom))]
pub mod bare;
pub mod block;
pub mod boot;
pub mod calls;
#[cfg(not(loom))]
pub mod clock;
pub mod control;
pub mod doorbell;
pub mod files;
pub mod layout;
pub mod maps;
pub mod reasons;
pub mod region;
pub mod ring;
mod sync;
