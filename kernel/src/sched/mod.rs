//! Threads and cores.
//!
//! Cooperative, per core, without a tick. A core runs one thread and nothing comes; only a
//! core with more runnable threads than one, or with a thread that asked for a time, arms a
//! timer. Waiting means: announce the [wait](wait), switch to another thread or to the core's
//! idle loop, and be made runnable by whoever ends the wait.

pub mod account;
pub mod affinity;
pub mod core;
pub mod futex;
pub mod idle;
pub mod posix_timer;
pub mod process;
pub mod queue;
pub mod rseq;
pub mod signal;
pub mod stop;
pub mod switch;
pub mod thread;
pub mod timer;
pub mod vfork;
pub mod wait;

pub use self::core::{Core, cores, this_core};
pub use switch::{reschedule, yield_now};
pub use thread::{Thread, current};
