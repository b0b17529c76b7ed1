//! The node's Linux as tuning sees it: files, directories, and the affinity of threads.
//!
//! Everything goes through the trait, so that the tests have a Linux that answers as the real one does and
//! dies in the middle when told to.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;

use crate::machine::cpu_set::CpuSet;
use crate::machine::threads;

/// What tuning asks of Linux. Paths begin with a slash.
pub trait System: Send + Sync {
    /// The text of a file, without white space at its ends.
    fn read(&self, path: &str) -> io::Result<String>;
    /// Writes to a file that is there.
    fn write(&self, path: &str, text: &str) -> io::Result<()>;
    /// Names in a directory, sorted.
    fn list(&self, path: &str) -> io::Result<Vec<String>>;
    /// Makes a directory.
    fn make_directory(&self, path: &str) -> io::Result<()>;
    /// Removes a directory that Linux considers empty.
    fn remove_directory(&self, path: &str) -> io::Result<()>;
    /// Lets a thread run on these cores alone.
    fn set_affinity(&self, thread: u32, cores: &CpuSet) -> io::Result<()>;
    /// Ends a process.
    fn end_process(&self, process: u32) -> io::Result<()>;
}

/// The real one, with its files below a directory: `/` but in tests.
pub struct Linux {
    root: PathBuf,
}

impl Linux {
    /// With its files below `root`.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Where the file `path` is.
    pub fn place(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }
}

impl System for Linux {
    fn read(&self, path: &str) -> io::Result<String> {
        Ok(fs::read_to_string(self.place(path))?.trim().to_owned())
    }

    /// By a single write(2), as files of the kernel want it.
    fn write(&self, path: &str, text: &str) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).truncate(true).open(self.place(path))?;
        match file.write(text.as_bytes())? {
            written if written == text.len() => Ok(()),
            _ => Err(io::ErrorKind::WriteZero.into()),
        }
    }

    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        let entries = fs::read_dir(self.place(path))?;
        let name = |entry: io::Result<fs::DirEntry>| Ok(entry?.file_name().to_string_lossy().into_owned());
        let mut names = entries.map(name).collect::<io::Result<Vec<_>>>()?;
        names.sort();
        Ok(names)
    }

    fn make_directory(&self, path: &str) -> io::Result<()> {
        fs::create_dir(self.place(path))
    }

    fn remove_directory(&self, path: &str) -> io::Result<()> {
        fs::remove_dir(self.place(path))
    }

    fn set_affinity(&self, thread: u32, cores: &CpuSet) -> io::Result<()> {
        threads::set_affinity(thread, cores)
    }

    fn end_process(&self, process: u32) -> io::Result<()> {
        threads::end(process)
    }
}

/// What Linux said, in few words: without the number that Rust appends.
pub fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error") {
        Some((words, _)) => words.to_owned(),
        None => text,
    }
}
