//! Tests of Tacet with Linux as the oracle: a program runs natively and in a cell, and what it
//! wrote, how it ended and the files it left are compared.
//!
//! The programs are in `programs/`, built on demand by [`programs`]. A [`Case`] says what to run
//! and runs it either way; [`Running`] is a program under way, with a deadline. [`node`] keeps
//! runs from fighting for the node's two cores and knows what a cell may have left behind;
//! [`platform`] says what kind of cells they are and how much time things take there; [`process`] looks at processes from outside, by `/proc`; [`scratch`] makes directories and
//! compares them. The tests in `tests/` are one file a family.
//!
//! A test waits for an observable state and has a deadline; none waits for time to pass and hopes.

mod case;
pub mod node;
pub mod platform;
pub mod process;
pub mod programs;
mod running;
pub mod scratch;

pub use case::{Case, Compared};
pub use node::Node;
pub use programs::{Language, build};
pub use running::{Outcome, Running};

use std::time::{Duration, Instant};

/// How long a run may take unless its case says otherwise; as every limit, on a machine of usual
/// speed ([`platform::patience`]).
pub const RUN_LIMIT: Duration = Duration::from_secs(60);

/// How long the system gets to finish what it has begun: to reap a process, to unlink a file.
pub const SETTLE_LIMIT: Duration = Duration::from_secs(5);

/// Asks `state` again and again until it gives something, at most for `limit`
/// on a machine of usual speed.
pub fn poll_until<T>(limit: Duration, mut state: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + platform::patience(limit);
    loop {
        if let Some(value) = state() {
            return Some(value);
        }
        if Instant::now() > deadline {
            return None;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Runs one section of a C program of `programs/` both ways; the native run must be in order.
///
/// # Panics
/// When they differ, or when Linux itself does not do what the program expects.
pub fn assert_same_section(source: &str, section: &str) -> Compared {
    let compared = Case::new(build(Language::C, source)).arg(section).assert_same();
    let native = compared.native.out();
    assert!(native.ends_with("end\n"), "the native run does not reach its end:\n{}", compared.native);
    assert!(!native.contains("FAILS") && !native.contains("WRONG"), "wrong natively:\n{}", compared.native);
    compared
}

/// Defines a test for each named section of a program.
#[macro_export]
macro_rules! sections {
    ($source:literal: $($section:ident),+ $(,)?) => {
        $(#[test]
        fn $section() {
            $crate::assert_same_section($source, stringify!($section));
        })+
    };
}
