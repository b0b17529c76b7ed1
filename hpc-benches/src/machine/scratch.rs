//! Files and folders that leave nothing behind.
//!
//! A folder is removed when it is dropped, and when a signal ends this process. What a killed process has left the
//! next one removes: its owner holds a lock on it as long as it lives.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

use super::dying::{self, Turn};

/// Names are this, the number of the process and a number of its own.
const PREFIX: &str = "tacet-bench-";

static NEXT: AtomicU32 = AtomicU32::new(0);
/// Those that this process has to remove.
static FOLDERS: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// A new file in `folder` that has no name any more: it is gone when it is closed, whatever ends
/// the process.
pub fn unnamed_file(folder: &Path) -> io::Result<File> {
    let path = unused_name(folder);
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    fs::remove_file(&path)?;
    Ok(file)
}

/// A new private folder, removed with its content on drop.
pub struct ScratchFolder {
    path: PathBuf,
    /// Says that its owner lives.
    _lock: File,
}

impl ScratchFolder {
    /// Makes one below `parent`.
    pub fn new(parent: &Path) -> io::Result<Self> {
        static ONCE: Once = Once::new();
        // Without a thread that waits for signals the next process removes what this one leaves.
        ONCE.call_once(|| drop(dying::before_dying(Turn::Last, remove_all)));
        let mut folders = folders();
        let path = unused_name(parent);
        DirBuilder::new().mode(0o700).create(&path)?;
        folders.push(path.clone());
        let lock = File::open(&path).and_then(|folder| folder.lock().map(|()| folder));
        match lock {
            Ok(lock) => Ok(Self { path, _lock: lock }),
            Err(error) => {
                folders.retain(|known| *known != path);
                fs::remove_dir(&path)?;
                Err(error)
            }
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for ScratchFolder {
    fn drop(&mut self) {
        let mut folders = folders();
        folders.retain(|path| *path != self.path);
        // A folder that can't be removed is no reason to end differently.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Removes what processes that were killed have left in `parent`.
pub fn remove_left_over(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if owner(&name.to_string_lossy()).is_some_and(|process| !is_alive(process)) {
            remove_unless_locked(&entry.path());
        }
    }
}

/// A process of another container may be alive although it is not seen here: the lock tells.
fn remove_unless_locked(path: &Path) {
    let ours = fs::metadata("/proc/self").map(|own| own.uid());
    let about = fs::symlink_metadata(path);
    if !matches!((ours, about), (Ok(ours), Ok(about)) if about.is_dir() && about.uid() == ours) {
        return;
    }
    if File::open(path).is_ok_and(|folder| folder.try_lock().is_ok()) {
        // Another one may be doing the same.
        let _ = fs::remove_dir_all(path);
    }
}

/// The process that made what is called `name`; none where that is no name of ours.
fn owner(name: &str) -> Option<u32> {
    let (process, number) = name.strip_prefix(PREFIX)?.split_once('-')?;
    number.parse::<u32>().ok()?;
    process.parse().ok()
}

fn is_alive(process: u32) -> bool {
    Path::new("/proc").join(process.to_string()).exists()
}

/// Nobody makes a folder any more once a signal has come.
fn remove_all(go_on: &dyn Fn()) {
    let folders = folders();
    for path in &*folders {
        let _ = fs::remove_dir_all(path);
    }
    go_on();
}

fn folders() -> MutexGuard<'static, Vec<PathBuf>> {
    FOLDERS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn unused_name(folder: &Path) -> PathBuf {
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    folder.join(format!("{PREFIX}{}-{number}", process::id()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Seek, Write};

    #[test]
    fn a_scratch_folder_goes_with_its_content() {
        let folder = ScratchFolder::new(&std::env::temp_dir()).unwrap();
        let path = folder.path().to_owned();
        fs::write(path.join("file"), "content").unwrap();
        drop(folder);
        assert!(!path.exists());
    }

    #[test]
    fn an_unnamed_file_holds_what_was_written_and_has_no_name() {
        let folder = ScratchFolder::new(&std::env::temp_dir()).unwrap();
        let mut file = unnamed_file(folder.path()).unwrap();
        file.write_all(b"kept").unwrap();
        file.rewind().unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "kept");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_a_killed_process_left_is_removed_and_nothing_else() {
        let folder = ScratchFolder::new(&std::env::temp_dir()).unwrap();
        let place = |name: &str| folder.path().join(name);
        // Beyond the largest number that Linux gives a process (2^22).
        let left = ["tacet-bench-4194305-0", "tacet-bench-4194306-7"].map(place);
        let locked = place("tacet-bench-4194307-0");
        let alive = place(&format!("tacet-bench-{}-0", process::id()));
        let others = [place("tacet-bench-test-4194305-0"), place("tacet-bench-x-0"), alive, locked.clone()];
        left.iter().chain(&others).for_each(|path| fs::create_dir(path).unwrap());
        fs::write(left[0].join("program"), "content").unwrap();
        let owner = File::open(&locked).unwrap();
        owner.lock().unwrap();
        remove_left_over(folder.path());
        assert!(left.iter().all(|path| !path.exists()));
        assert!(others.iter().all(|path| path.exists()));
    }
}
