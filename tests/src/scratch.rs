//! Directories that a run starts in and leaves files in, and data for programs to read.

use crate::programs::{lock, work_directory};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{BufWriter, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A directory of its own, removed when dropped.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// Makes an empty directory that nobody else uses.
    #[allow(clippy::new_without_default, reason = "it makes a directory")]
    pub fn new() -> Scratch {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = work_directory().join(format!("scratch-{}-{number}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Scratch(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file in it and gives its path.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, content).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        path
    }

    /// Removes what is in it.
    pub fn clear(&self) {
        fs::remove_dir_all(&self.0)
            .and_then(|()| fs::create_dir(&self.0))
            .expect("the scratch directory can be made anew");
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What stands under one name in a directory tree: its kind, mode, size and content.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    kind: &'static str,
    mode: u32,
    length: u64,
    content: u64,
}

/// Everything below `directory`, by relative path. Core dumps don't count: they are the node's.
pub fn snapshot(directory: &Path) -> BTreeMap<PathBuf, Entry> {
    let mut entries = BTreeMap::new();
    let mut waiting = vec![directory.to_owned()];
    while let Some(next) = waiting.pop() {
        for entry in fs::read_dir(&next).expect("the scratch directory can be read") {
            let path = entry.expect("the scratch directory can be read").path();
            let name = path.strip_prefix(directory).expect("the path is below the directory").to_owned();
            if name.to_str().is_some_and(|name| name == "core" || name.starts_with("core.")) {
                continue;
            }
            if path.is_dir() && !path.is_symlink() {
                waiting.push(path.clone());
            }
            entries.insert(name, describe(&path));
        }
    }
    entries
}

fn describe(path: &Path) -> Entry {
    let metadata = fs::symlink_metadata(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let kind = metadata.file_type();
    let mut hash = DefaultHasher::new();
    if kind.is_file() {
        fs::read(path).ok().hash(&mut hash);
    } else if kind.is_symlink() {
        fs::read_link(path).ok().hash(&mut hash);
    }
    let name = match kind {
        _ if kind.is_file() => "file",
        _ if kind.is_dir() => "directory",
        _ if kind.is_symlink() => "symbolic link",
        _ if kind.is_fifo() => "fifo",
        _ if kind.is_socket() => "socket",
        _ => "other",
    };
    // The size of a directory is the file system's own affair.
    let length = if kind.is_dir() { 0 } else { metadata.len() };
    Entry { kind: name, mode: metadata.mode(), length, content: hash.finish() }
}

/// A file that is made once and kept for later runs: `write` fills it.
pub fn data(name: &str, write: impl FnOnce(&mut BufWriter<File>) -> std::io::Result<()>) -> PathBuf {
    let path = work_directory().join(name);
    let _lock = lock("data.lock");
    if !path.exists() {
        let unfinished = path.with_extension("unfinished");
        let make = || {
            let mut file = BufWriter::with_capacity(1 << 20, File::create(&unfinished)?);
            write(&mut file)?;
            file.flush()?;
            fs::rename(&unfinished, &path)
        };
        make().unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
    path
}
