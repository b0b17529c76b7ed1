//! `tacet`: the proxy of a cell on Linux.
//!
//! Floors, each using only those below:
//!
//! ```text
//! main, cli, error     what the user types, what the user gets
//! run, report          a run: reserve, boot, serve, report
//! cells/               the other cells of the node: ps, top, reclaim
//! doctor/, platform, config
//!                      what the node can do, what of it a cell gets, what is allowed
//! serve/, boot/        the calls of a running cell; starting its kernel
//! reserve/, signals    what a cell takes of the node; what is sent to it
//! node/, launcher, exec, descriptors, inherited, log, table
//!                      what is there: the machine, the rank, the program, room for our own files
//! sys                  system calls that no crate wraps
//! ```
//!
//! Unsafe code is in `sys`, `inherited`, `boot/`, `serve/` and `cells/` only.

mod boot;
mod cells;
mod cli;
mod config;
mod descriptors;
mod doctor;
mod error;
mod exec;
mod inherited;
mod launcher;
mod limits;
mod log;
mod node;
mod platform;
mod report;
mod reserve;
mod run;
mod serve;
mod signals;
mod sys;
mod table;

use std::io::{self, Write};
use std::path::Path;

use clap::Parser;
use shm_ipc::control::Exit;

use cli::{Cli, Command};
use error::Error;
use reserve::ledger::Ledger;

fn main() {
    let cli = Cli::try_parse().unwrap_or_else(|error| refuse_usage(&error));
    log::start(match &cli.command {
        Command::Run(run) => run.log,
        _ => cli::Level::Warn,
    });
    let exit = perform(cli).unwrap_or_else(|error| {
        eprintln!("tacet: {error}");
        Exit::Code(error.status())
    });
    match exit {
        Exit::Code(code) => std::process::exit(code.into()),
        Exit::Signal(signal) => sys::die_by(signal.into()),
    }
}

/// Help and version are no errors and go to standard output.
fn refuse_usage(error: &clap::Error) -> ! {
    if !error.use_stderr() {
        let _ = error.print();
        std::process::exit(0)
    }
    let first = std::env::args_os().nth(1).and_then(|word| word.into_string().ok());
    eprintln!("tacet: {}", cli::one_line(error, first.as_deref()));
    std::process::exit(error::USAGE.into())
}

fn perform(cli: Cli) -> Result<Exit, Error> {
    let root = Path::new("/");
    let done = Exit::Code(0);
    match cli.command {
        Command::Run(options) => Ok(run::run(&options, say)?.unwrap_or(done)),
        Command::Doctor(options) => {
            let (text, status) = doctor::doctor(&options, root)?;
            say(&text).map(|()| Exit::Code(status))
        }
        Command::Ps(options) => {
            let cells = cells::of_this_user()?;
            say(&if options.json { cells::ps::json(&cells, root) } else { cells::ps::text(&cells, root) })?;
            if let Some(hint) = cells::hint_for_others(root) {
                eprintln!("tacet: {hint}");
            }
            Ok(done)
        }
        Command::Top(options) => cells::top::top(&options, say),
        Command::Reclaim(options) => {
            let ledger = Ledger::open().map_err(reserve::Error::from)?;
            let reclaimed = cells::reclaim::reclaim(&ledger, options.dry_run)?;
            say(&reclaimed.text).map(|()| Exit::Code(if reclaimed.is_complete { 0 } else { error::NOT_GIVEN_BACK }))
        }
    }
}

/// Writes to standard output. Whoever has stopped reading has seen enough: we end as programs do
/// then, by SIGPIPE.
fn say(text: &str) -> Result<(), Error> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => sys::die_by(libc::SIGPIPE),
        written => written.map_err(|error| Error::System {
            what: "write to standard output",
            error,
            advice: "check where it goes and whether there is room",
        }),
    }
}
