//! `tacet`: the proxy of a cell on Linux.
//!
//! Floors, each using only those below:
//!
//! ```text
//! main, cli, error     what the user types, what the user gets
//! run, report          a run: reserve, boot, serve, report
//! serve/, boot/        the calls of a running cell; starting its kernel
//! reserve/, signals    what a cell takes of the node; what is sent to it
//! node/, launcher, exec, descriptors, inherited, log
//!                      what is there: the machine, the rank, the program, room for our own files
//! sys                  system calls that no crate wraps
//! ```
//!
//! Unsafe code is in `sys`, `inherited`, `boot/` and `serve/` only.

mod boot;
mod cli;
mod descriptors;
mod error;
mod exec;
mod inherited;
mod launcher;
mod log;
mod node;
mod report;
mod reserve;
mod run;
mod serve;
mod signals;
mod sys;

use std::io::{self, Write};

use clap::Parser;
use shm_ipc::control::Exit;

use cli::{Cli, Command};
use error::Error;
use reserve::ledger::Ledger;

fn main() {
    let cli = Cli::try_parse().unwrap_or_else(|error| refuse_usage(&error));
    log::start(match &cli.command {
        Command::Run(run) => run.log,
        Command::Ps | Command::Reclaim => cli::Level::Warn,
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
    eprintln!("tacet: {}", cli::one_line(error));
    std::process::exit(error::USAGE.into())
}

fn perform(cli: Cli) -> Result<Exit, Error> {
    let done = Exit::Code(0);
    match cli.command {
        Command::Run(options) => Ok(run::run(&options, say)?.unwrap_or(done)),
        Command::Ps => {
            let ledger = Ledger::open().map_err(reserve::Error::from)?;
            let cells = ledger.lock().and_then(|locked| locked.entries_with_state()).map_err(reserve::Error::from)?;
            say(&report::cells(&cells)).map(|()| done)
        }
        Command::Reclaim => {
            let ledger = Ledger::open().map_err(reserve::Error::from)?;
            let dead = ledger.lock().and_then(|locked| locked.collect()).map_err(reserve::Error::from)?;
            say(&report::reclaimed(&dead)).map(|()| done)
        }
    }
}

fn say(text: &str) -> Result<(), Error> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(|error| Error::System {
        what: "write to standard output",
        error,
        advice: "check where it goes and whether there is room",
    })
}
