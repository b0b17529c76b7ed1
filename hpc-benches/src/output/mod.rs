//! What the user gets: a table on standard output, JSON where asked for.

mod format;
mod text;

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::error::Failure;

pub use self::text::Text;

/// Where the results go.
pub enum Output {
    /// The table alone.
    Table,
    /// JSON on standard output, no table.
    JsonOnly,
    /// The table, and JSON to this file.
    Both(File, PathBuf),
}

impl Output {
    /// Opens the JSON file, if one is asked for; `-` is standard output.
    pub fn open(json: Option<&Path>) -> Result<Self, Failure> {
        match json {
            None => Ok(Self::Table),
            Some(path) if path == Path::new("-") => Ok(Self::JsonOnly),
            Some(path) => {
                // Emptied only when there are results: a run that fails leaves older ones alone.
                let file = OpenOptions::new().write(true).create(true).truncate(false).open(path);
                Ok(Self::Both(file.map_err(|error| unwritable(path, &error))?, path.to_owned()))
            }
        }
    }

    /// Writes `report`.
    pub fn write(self, report: &(impl Serialize + Text)) -> Result<(), Failure> {
        let json = || {
            serde_json::to_string_pretty(report).map(|text| text + "\n").map_err(|error| {
                Failure::new(format!(
                    "cannot write the results as JSON: {error}; this is an error of tacet-bench, please report it"
                ))
            })
        };
        match self {
            Self::Table => print(&report.text()),
            Self::JsonOnly => print(&json()?),
            Self::Both(mut file, path) => {
                replace(&mut file, &json()?).map_err(|error| unwritable(&path, &error))?;
                print(&report.text())
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

fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
        .map_err(|error| Failure::new(format!("cannot write to standard output: {error}; check where it leads")))
}

fn unwritable(path: &Path, error: &io::Error) -> Failure {
    Failure::new(format!("cannot write {}: {error}; choose another file for --json", path.display()))
}
