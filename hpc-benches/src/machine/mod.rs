//! The machine under the benchmarks. All unsafe code of this crate lives in three modules here:
//! [`tsc`] (the counter), [`calls`] (what the suites measure) and [`host`] (what `compare`
//! needs). The others are safe.

pub mod calls;
pub mod clock;
pub mod date;
pub mod host;
pub mod record;
pub mod scratch;
pub mod tsc;
