//! Files and folders that leave nothing behind.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

static NEXT: AtomicU32 = AtomicU32::new(0);

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
}

impl ScratchFolder {
    /// Makes one below `parent`.
    pub fn new(parent: &Path) -> io::Result<Self> {
        let path = unused_name(parent);
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self { path })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for ScratchFolder {
    fn drop(&mut self) {
        // A folder that can't be removed is no reason to end differently.
        let _ = fs::remove_dir_all(&self.path);
    }
}

fn unused_name(folder: &Path) -> PathBuf {
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    folder.join(format!("tacet-bench-{}-{number}", process::id()))
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
}
