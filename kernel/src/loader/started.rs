//! What is remembered of how the program was started, for `/proc/<pid>`.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;

use spin::Mutex;

/// Addresses and words that a program was started with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Started {
    /// Its code, from the first segment that may be run to the end of the last.
    pub code: Range<u64>,
    /// Where its heap begins.
    pub heap: u64,
    /// The stack pointer that it began with.
    pub stack: u64,
    /// The strings of its arguments.
    pub args: Range<u64>,
    /// The strings of its environment.
    pub env: Range<u64>,
    /// The auxiliary vector, with its end.
    pub auxiliary: Vec<u64>,
}

static STARTED: Mutex<Option<Arc<Started>>> = Mutex::new(None);

/// How the program was started; `None` before it is.
pub fn started() -> Option<Arc<Started>> {
    STARTED.lock().clone()
}

/// A program is started.
pub(super) fn remember(started: Started) {
    *STARTED.lock() = Some(Arc::new(started));
}
