//! What serving a cell on bare cores needs of those who hold them.

use std::io;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use crate::reserve::bare::{ApicMode, Bare, Pinned};

/// The bare cores of a cell, until they are given back. Threads of the proxy that are away in a
/// call may outlive the cell: they find nothing here then.
#[derive(Debug)]
pub struct Held {
    bare: RwLock<Option<Bare>>,
    /// Whether cores that sleep are woken by an interrupt.
    wakes: bool,
    user_end: u64,
}

impl Held {
    /// Holds `bare`, whose program's addresses end at `user_end`.
    pub fn new(bare: Bare, user_end: u64) -> Self {
        let wakes = bare.apic_mode() == ApicMode::X2;
        Held { bare: RwLock::new(Some(bare)), wakes, user_end }
    }

    fn lock(&self) -> RwLockReadGuard<'_, Option<Bare>> {
        self.bare.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether cores that sleep are woken by an interrupt. If not, they look by themselves.
    pub fn wakes(&self) -> bool {
        self.wakes
    }

    /// End of the program's addresses. This process may have mappings of its own from there on.
    pub fn user_end(&self) -> u64 {
        self.user_end
    }

    /// Interrupts a core of the cell, whose block says why.
    pub fn interrupt(&self, index: u32) -> io::Result<()> {
        match &*self.lock() {
            Some(bare) => bare.interrupt(index as usize),
            None => Ok(()),
        }
    }

    /// Pins shared memory that this process has mapped.
    pub fn pin(&self, at: u64, len: u64) -> io::Result<Pinned> {
        match &*self.lock() {
            Some(bare) => bare.pin(at, len),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Takes the cores out, to be given back. From here on nothing of them is used.
    pub fn take(&self) -> Option<Bare> {
        self.bare.write().unwrap_or_else(PoisonError::into_inner).take()
    }
}
