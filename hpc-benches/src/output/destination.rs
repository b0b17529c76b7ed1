//! Where one form of the results goes: a file, or standard output in place of the table.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::error::Failure;

/// An opened destination.
pub enum Destination {
    /// Standard output, asked for by `-`.
    Stdout,
    /// This file, named by that option.
    File(File, PathBuf, &'static str),
}

impl Destination {
    /// Opens what the option `option` names, so that an unwritable file is told before minutes of
    /// measuring; `-` is standard output.
    pub fn open(path: Option<&Path>, option: &'static str) -> Result<Option<Self>, Failure> {
        match path {
            None => Ok(None),
            Some(path) if path == Path::new("-") => Ok(Some(Self::Stdout)),
            Some(path) => Self::file(path, option).map(Some),
        }
    }

    /// The same, where there is no choice of standard output.
    pub fn file(path: &Path, option: &'static str) -> Result<Self, Failure> {
        // Emptied only when there are results: a run that fails leaves older ones alone.
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(path);
        let file = file.map_err(|error| unwritable(path, option, &error))?;
        Ok(Self::File(file, path.to_owned(), option))
    }

    /// Writes all of `text`.
    pub fn write(self, text: &str) -> Result<(), Failure> {
        match self {
            Self::Stdout => print(text),
            Self::File(mut file, path, option) => {
                replace(&mut file, text).map_err(|error| unwritable(&path, option, &error))
            }
        }
    }
}

fn replace(file: &mut File, text: &str) -> io::Result<()> {
    // Pipes and devices have no length to set.
    if file.metadata()?.is_file() {
        file.set_len(0)?;
    }
    file.write_all(text.as_bytes())
}

/// Writes to standard output.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
        .map_err(|error| Failure::new(format!("cannot write to standard output: {error}; check where it leads")))
}

fn unwritable(path: &Path, option: &str, error: &io::Error) -> Failure {
    Failure::new(format!("cannot write {}: {error}; choose another file for {option}", path.display()))
}
