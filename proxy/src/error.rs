//! What ends `tacet`: one line that says what, why and what to do next, and an exit status.
//!
//! The statuses are those of other programs that start programs (env, timeout, nohup): 125 for
//! failures of our own, 126 for a program that can't be executed, 127 for one that is not
//! there. A kernel that failed ends with 70, `EX_SOFTWARE` of sysexits(3): neither the program's
//! doing nor the user's.

use std::io;

use crate::boot::partition::StartError;
use crate::cli::Platform;
use crate::config::ConfigError;
use crate::descriptors::NoRoom;
use crate::exec::Refusal;
use crate::reserve;
use crate::serve::Fault;

/// Status of `tacet reclaim` when something stays in the ledger.
pub const NOT_GIVEN_BACK: u8 = 1;
/// Status of wrong usage.
pub const USAGE: u8 = 2;
/// Status of a cell whose kernel failed.
pub const KERNEL_FAILED: u8 = 70;
/// Status of a failure of Tacet's own.
pub const OWN: u8 = 125;

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The program.
    #[error(transparent)]
    Program(#[from] Refusal),
    /// What the cell was to get.
    #[error(transparent)]
    Reserve(#[from] reserve::Error),
    /// What the node's administrator has decided.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The proxy's own descriptors.
    #[error(transparent)]
    Descriptors(#[from] NoRoom),
    /// A platform that was asked for by name.
    #[error("--platform {0}: not built yet in this version; use --platform process or auto")]
    NotBuilt(Platform),
    /// A kernel on bare cores that could not be started.
    #[error(transparent)]
    Start(#[from] StartError),
    /// Something that Linux refused and that has no advice of its own.
    #[error("cannot {what}: {error}; {advice}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What Linux said.
        error: io::Error,
        /// What may help.
        advice: &'static str,
    },
    /// The cell could not be served any more.
    #[error("{0}; the program was ended")]
    Served(#[from] Fault),
    /// The kernel of the cell gave up.
    #[error("the kernel of this cell failed: {0}; this is a fault of Tacet: please report it with this line")]
    KernelFailed(String),
    /// The machine failed under the cell.
    #[error(
        "{0}: the program was ended; keep work off that hardware, and see what Linux's log says of it (dmesg, rasdaemon)"
    )]
    HardwareFailed(String),
}

impl Error {
    /// The status that `tacet` ends with.
    pub fn status(&self) -> u8 {
        match self {
            Error::Program(refusal) => refusal.status(),
            Error::KernelFailed(_)
            | Error::HardwareFailed(_)
            | Error::Served(Fault::Submissions { .. } | Fault::Completions { .. }) => KERNEL_FAILED,
            _ => OWN,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_tell_whose_fault_it_is() {
        assert_eq!(Error::Program(Refusal::NoSuchFile("x".into())).status(), 127);
        assert_eq!(Error::Program(Refusal::Directory("x".into())).status(), 126);
        assert_eq!(Error::NotBuilt(Platform::Kvm).status(), 125);
        assert_eq!(Error::KernelFailed(String::new()).status(), 70);
    }

    #[test]
    fn a_platform_that_is_to_come_is_named() {
        let line = Error::NotBuilt(Platform::Partition).to_string();
        assert_eq!(line, "--platform partition: not built yet in this version; use --platform process or auto");
    }
}
