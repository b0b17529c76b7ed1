//! For tests: settings as a command line would give them.

use clap::{Args, Parser};

#[derive(Parser)]
struct Line<T: Args> {
    #[command(flatten)]
    settings: T,
}

/// What `arguments`, without a program's name, make of settings. A line that is refused fails the test.
pub fn settings<T: Args>(arguments: &[&str]) -> T {
    attempt(arguments).unwrap_or_else(|error| panic!("{error}"))
}

/// The same for a line that may be refused.
pub fn attempt<T: Args>(arguments: &[&str]) -> Result<T, clap::Error> {
    Line::try_parse_from([&["tacet-bench"], arguments].concat()).map(|line| line.settings)
}
