//! The machine under the benchmarks. All unsafe code of this crate lives in seven modules here:
//! [`tsc`] (the counter), [`calls`], [`memory`] and [`mapping`] (what the suites measure), [`host`] (what `compare`
//! needs), [`process`] (what the load generators need) and [`threads`] (what tuning does to others). The
//! others are safe.

pub mod calls;
pub mod clock;
pub mod counters;
pub mod cpu_set;
pub mod date;
pub mod dying;
pub mod emulation;
pub mod host;
pub mod mapping;
pub mod meminfo;
pub mod memory;
pub mod process;
pub mod record;
pub mod running;
pub mod scratch;
pub mod threads;
pub mod tracefs;
pub mod tsc;
