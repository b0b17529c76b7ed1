//! The unikernel of a Tacet cell.
//!
//! It runs one unmodified Linux program on a set of cores and answers the program's system
//! calls: memory, threads, signals and clocks itself, everything else through the proxy.
//! The floors, each using only those below it:
//!
//! ```text
//! bin/        one thin entry per platform
//! boot        start-up as typed steps
//! entry       where a system call or a trap of the program arrives
//! syscall/    one file per family of calls          loader/  ELF, auxv, initial stack
//! forward     marshal, wait, unmarshal: the only user of the rings
//! sched/      threads, cores, futexes, signals
//! mm/         frames, regions, checked access to program memory        time
//! platform/   what sets a cell apart from Linux: one trait, one maker per platform
//! arch/       registers, context switch, guarded copies                abi  Linux's numbers
//! ```
#![cfg_attr(not(test), no_std)]

extern crate alloc;

pub mod abi;
pub mod arch;
pub mod boot;
pub mod coredump;
pub mod entry;
pub mod forward;
pub mod loader;
pub mod mm;
pub mod platform;
pub mod sched;
pub mod syscall;
pub mod time;
