//! I/O load: a file is written, brought to its disk, and read from there.

use std::fs;
use std::io::{self, Read, Seek, Write};
use std::path::Path;

use crate::machine::{host, scratch};

const BLOCK: usize = 1 << 20;
const BLOCKS: usize = 32;

/// A file without a name: it is gone with the process.
pub struct File {
    file: fs::File,
    block: Vec<u8>,
}

impl File {
    /// In `folder`.
    pub fn new(folder: &Path) -> io::Result<Self> {
        Ok(Self { file: scratch::unnamed_file(folder)?, block: vec![0x5A; BLOCK] })
    }

    /// Writes the file, waits for the disk, drops the cached copy and reads the file.
    pub fn round(&mut self) -> io::Result<()> {
        self.file.rewind()?;
        for _ in 0..BLOCKS {
            self.file.write_all(&self.block)?;
        }
        self.file.sync_data()?;
        host::drop_cached(&self.file)?;
        self.file.rewind()?;
        for _ in 0..BLOCKS {
            self.file.read_exact(&mut self.block)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_writes_and_reads_the_whole_file() {
        let mut file = File::new(&std::env::temp_dir()).unwrap();
        file.round().unwrap();
        file.round().unwrap();
        assert_eq!(file.file.metadata().unwrap().len(), (BLOCK * BLOCKS) as u64);
        assert!(file.block.iter().all(|&byte| byte == 0x5A));
    }
}
