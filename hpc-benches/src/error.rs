//! What ends a run early: one line that says what, why and what to do next, and an exit status.
//!
//! The statuses are a shell's: 127 for a command that is not there, 126 for one that can't be
//! executed, 1 for the rest. Wrong usage is clap's, with 2.

use std::fmt;
use std::io;

/// A run that can't go on.
#[derive(Debug)]
pub struct Failure {
    message: String,
    status: u8,
}

impl Failure {
    /// A failure with status 1. `message` is one line: what, why, what to do.
    pub fn new(message: impl Into<String>) -> Self {
        Self::with_status(1, message)
    }

    /// A failure with an exit status of its own.
    pub fn with_status(status: u8, message: impl Into<String>) -> Self {
        let message = message.into().replace('\n', " ");
        Self { message, status }
    }

    /// A program that could not be started, with the status that a shell would give.
    pub fn cannot_start(program: &str, error: &io::Error, advice: &str) -> Self {
        let status = match error.kind() {
            io::ErrorKind::NotFound => 127,
            _ => 126,
        };
        Self::with_status(status, format!("cannot run {program}: {error}; {advice}"))
    }

    /// The status that the process ends with.
    pub fn status(&self) -> u8 {
        self.status
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_those_of_a_shell() {
        let missing = io::Error::from(io::ErrorKind::NotFound);
        let refused = io::Error::from(io::ErrorKind::PermissionDenied);
        assert_eq!(Failure::cannot_start("x", &missing, "y").status(), 127);
        assert_eq!(Failure::cannot_start("x", &refused, "y").status(), 126);
        assert_eq!(Failure::new("z").status(), 1);
    }

    #[test]
    fn a_message_is_one_line() {
        assert_eq!(Failure::new("a\nb").to_string(), "a b");
    }
}
