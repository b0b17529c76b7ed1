//! What has been changed on the node, on disk before it is changed.
//!
//! One line of JSON per change, appended by a single write(2): a process that is killed in between leaves at
//! most a last line that is cut off, and has not made that change yet. Nothing has to survive a reboot, which
//! undoes everything by itself; the first line says which run of Linux it is about.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::change::{Change, Undone};
use super::system::System;

/// Format of the file.
const FORMAT: u32 = 1;

/// The first line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    format: u32,
    /// Which run of Linux: `/proc/sys/kernel/random/boot_id`.
    pub boot: String,
    /// The tacet-bench that wrote it.
    pub process: u32,
    /// Since when.
    pub date: String,
}

/// Further lines.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Line {
    Change(Change),
    /// Linux made something else of the last value than what was written.
    Became(String),
}

/// The changes in force.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    owner: Owner,
    file: File,
    changes: Vec<Change>,
}

/// What came of undoing.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct GivenBack {
    /// Number of changes undone.
    pub count: usize,
    /// What was left as it is on purpose.
    pub left: Vec<String>,
    /// What should be undone and could not.
    pub failed: Vec<String>,
}

impl Owner {
    /// This process, now.
    pub fn this_process(boot: String, date: String) -> Self {
        Self { format: FORMAT, boot, process: std::process::id(), date }
    }
}

impl Journal {
    /// A new one without changes. There must be no file yet.
    pub fn create(path: &Path, owner: Owner) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create_new(true).open(path)?;
        let mut journal = Self { path: path.to_owned(), owner, file, changes: Vec::new() };
        journal.append(&journal.owner.clone())?;
        Ok(journal)
    }

    /// The one that is there. None when there is none.
    pub fn open(path: &Path) -> io::Result<Option<Self>> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let file = OpenOptions::new().append(true).open(path)?;
        // What follows the last newline was cut off, and has not been done.
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let mut lines = whole.lines();
        let owner: Owner = match lines.next() {
            Some(line) => serde_json::from_str(line)?,
            // Not even the owner got written: nothing was changed.
            None => Owner { format: FORMAT, boot: String::new(), process: 0, date: String::new() },
        };
        if owner.format != FORMAT {
            return Err(io::Error::other(format!("its format is {}, this version knows {FORMAT}", owner.format)));
        }
        let mut changes = Vec::new();
        for line in lines {
            match (serde_json::from_str(line)?, changes.last_mut()) {
                (Line::Change(change), _) => changes.push(change),
                (Line::Became(value), Some(Change::Value { new, .. })) => *new = value,
                (Line::Became(_), _) => return Err(io::Error::other("a value without a file")),
            }
        }
        Ok(Some(Self { path: path.to_owned(), owner, file, changes }))
    }

    /// Who wrote it.
    pub fn owner(&self) -> &Owner {
        &self.owner
    }

    /// Notes what is about to be changed.
    pub fn record(&mut self, change: Change) -> io::Result<()> {
        self.append(&Line::Change(change.clone()))?;
        self.changes.push(change);
        Ok(())
    }

    /// Notes what Linux made of the value that was written last.
    pub fn became(&mut self, value: &str) -> io::Result<()> {
        self.append(&Line::Became(value.to_owned()))?;
        if let Some(Change::Value { new, .. }) = self.changes.last_mut() {
            value.clone_into(new);
        }
        Ok(())
    }

    fn append(&mut self, line: &impl Serialize) -> io::Result<()> {
        let text = serde_json::to_string(line)? + "\n";
        match self.file.write(text.as_bytes())? {
            written if written == text.len() => Ok(()),
            _ => Err(io::ErrorKind::StorageFull.into()),
        }
    }

    /// How many changes there are: a place to go back to.
    pub fn len(&self) -> usize {
        self.changes.len()
    }

    /// Undoes the changes from number `first` on, the last one first. The journal stays, and so does on disk
    /// what was undone: undoing it again changes nothing.
    pub fn undo_from(&mut self, system: &dyn System, first: usize) -> GivenBack {
        let (given_back, failed) = undo(system, self.changes.split_off(first.min(self.changes.len())));
        self.changes.extend(failed);
        given_back
    }

    /// Undoes everything, the last change first. What could not be undone stays on disk for the next one.
    pub fn give_back(self, system: &dyn System) -> io::Result<GivenBack> {
        let (given_back, failed) = undo(system, self.changes);
        if failed.is_empty() {
            fs::remove_file(&self.path)?;
            return Ok(given_back);
        }
        let mut text = serde_json::to_string(&self.owner)? + "\n";
        for change in failed {
            text += &(serde_json::to_string(&Line::Change(change))? + "\n");
        }
        let shorter = self.path.with_extension("new");
        fs::write(&shorter, text)?;
        fs::rename(&shorter, &self.path)?;
        Ok(given_back)
    }

    /// Forgets everything: what was changed went with the Linux that it was changed in.
    pub fn discard(self) -> io::Result<()> {
        fs::remove_file(&self.path)
    }
}

/// Undoes `changes` in reverse, and returns those that could not be undone, in their old order.
fn undo(system: &dyn System, changes: Vec<Change>) -> (GivenBack, Vec<Change>) {
    let mut given_back = GivenBack::default();
    let mut failed = Vec::new();
    for change in changes.into_iter().rev() {
        match change.undo(system) {
            Undone::Back => given_back.count += 1,
            Undone::Dropped(why) => given_back.left.push(why),
            Undone::Failed(why) => {
                given_back.failed.push(why);
                failed.insert(0, change);
            }
        }
    }
    (given_back, failed)
}
