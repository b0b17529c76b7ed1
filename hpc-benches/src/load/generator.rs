//! The process that makes load: `tacet-bench load-generator`, started by a comparison and by nobody else.

use std::convert::Infallible;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;

use super::{Kind, fork, io as disk, memory, network};
use crate::error::Failure;
use crate::machine::{host, process};

/// `tacet-bench load-generator`.
#[derive(Args, Debug)]
pub struct Options {
    /// What to do.
    #[arg(long, value_enum)]
    kind: Kind,
    /// Where to do it.
    #[arg(long)]
    core: usize,
    /// The process to end with.
    #[arg(long)]
    parent: u32,
    /// Folder for files.
    #[arg(long)]
    dir: PathBuf,
}

/// Makes load until it is killed.
pub fn run(options: &Options) -> Result<Infallible, Failure> {
    let (kind, core) = (options.kind.name(), options.core);
    process::end_with_parent(options.parent).map_err(|error| {
        Failure::new(format!("cannot bind the load to process {}: {error}; start it by --load", options.parent))
    })?;
    host::pin_this_thread(core).map_err(|error| Failure::new(format!("cannot run on core {core} alone: {error}")))?;
    let failed = |error: io::Error| Failure::new(format!("the load {kind} on core {core} cannot go on: {error}"));
    match options.kind {
        Kind::Io => repeat(disk::File::new(&options.dir).map_err(failed)?, disk::File::round),
        Kind::Network => repeat(network::Loopback::new().map_err(failed)?, network::Loopback::round),
        Kind::Memory => repeat(memory::Arrays::new(), memory::Arrays::round),
        Kind::Fork => repeat(fork::Storm::new().map_err(failed)?, fork::Storm::round),
    }
    .map_err(failed)
}

/// Does rounds for ever; after the first one it says that it works.
fn repeat<T>(mut work: T, mut round: impl FnMut(&mut T) -> io::Result<()>) -> io::Result<Infallible> {
    round(&mut work)?;
    let mut stdout = io::stdout();
    stdout.write_all(b"works\n")?;
    stdout.flush()?;
    loop {
        round(&mut work)?;
    }
}
