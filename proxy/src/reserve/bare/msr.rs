//! Model-specific registers of one processor, by the driver `msr`.
//!
//! The driver is a module on most systems. It is loaded when it is missing, and stays: it does
//! nothing by itself. Linux notes in its log, once, that a program writes registers by it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::Refused;

/// How long the driver may take from its loading to its work.
const PATIENCE: Duration = Duration::from_secs(2);

/// The registers of one processor.
#[derive(Debug)]
pub struct Msr(File);

impl Msr {
    /// Opens them, for writing too.
    pub fn open(root: &Path, cpu: u32) -> Result<Self, Refused> {
        let path = root.join(format!("dev/cpu/{cpu}/msr"));
        let open = |path: &PathBuf| File::options().read(true).write(true).open(path);
        let file = open(&path).or_else(|error| match error.kind() {
            io::ErrorKind::NotFound if root == Path::new("/") => {
                load_driver();
                // Another proxy may be loading it: `modprobe` does not wait for that.
                let start = Instant::now();
                while !path.exists() && start.elapsed() < PATIENCE {
                    thread::sleep(Duration::from_millis(2));
                }
                open(&path)
            }
            _ => Err(error),
        });
        file.map(Msr).map_err(|error| Refused::NoMsr { path: path.display().to_string(), error })
    }

    /// The open file.
    pub fn into_file(self) -> File {
        self.0
    }

    /// Those of an open file.
    pub fn of_file(file: File) -> Self {
        Msr(file)
    }

    /// Reads a register.
    pub fn read(&self, register: u32) -> io::Result<u64> {
        let mut bytes = [0; 8];
        self.0.read_exact_at(&mut bytes, register.into())?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// Writes a register.
    pub fn write(&self, register: u32, value: u64) -> io::Result<()> {
        self.0.write_all_at(&value.to_le_bytes(), register.into())
    }
}

fn load_driver() {
    let modprobe = |program: &str| {
        let mut command = Command::new(program);
        command.arg("msr").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status()
    };
    // Not everybody's PATH has it.
    let status = modprobe("modprobe").or_else(|_| modprobe("/sbin/modprobe"));
    match status {
        Ok(status) if status.success() => tracing::info!("loaded the module `msr`; it stays"),
        Ok(status) => tracing::info!("`modprobe msr` ended with {status}"),
        Err(error) => tracing::info!("cannot run `modprobe msr`: {error}"),
    }
}
