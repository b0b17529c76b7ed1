//! What the tests of the program share; each of them takes what it needs.
#![allow(dead_code, reason = "each test program uses a part of it")]

pub mod processes;
pub mod schema;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

/// Stands for a tacet: runs what comes after `--` as it is.
const STAND_IN: &str = "#!/bin/sh
if [ \"$1\" = --version ]; then echo 'tacet stand-in'; exit; fi
while [ \"$1\" != -- ]; do shift; done
shift
exec \"$@\"
";

/// `tacet-bench ARGUMENTS`, which leaves the Linux that it runs on as it is, also when root runs it, since tests run
/// beside others; and which does not ask the stand-in what the node offers.
pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tacet-bench"));
    command.env("TACET_BENCH_BASELINE", "default").env("TACET_BENCH_PLATFORM", "process").args(arguments);
    command
}

/// Runs `tacet-bench ARGUMENTS`.
pub fn tacet_bench(arguments: &[&str]) -> Output {
    command(arguments).output().expect("tacet-bench starts")
}

/// Standard output of a run that succeeded.
#[track_caller]
pub fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What a run that succeeded wrote as JSON to standard output.
#[track_caller]
pub fn json(output: &Output) -> Value {
    serde_json::from_str(&stdout(output)).expect("standard output is JSON")
}

/// The same of `tacet-bench ARGUMENTS`.
#[track_caller]
pub fn json_of(arguments: &[&str]) -> Value {
    json(&tacet_bench(arguments))
}

/// The measure of this name; null where there is none.
pub fn measure<'a>(measures: &'a Value, name: &str) -> &'a Value {
    measures.as_array().into_iter().flatten().find(|measure| measure["name"] == name).unwrap_or(&Value::Null)
}

/// Asserts status, and a one-line message with this in it and nothing else.
#[track_caller]
pub fn assert_refused(output: &Output, status: i32, message: &str) {
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(status), "{errors}");
    assert!(errors.contains(message), "{errors}");
    // Somebody else may tune this node meanwhile.
    let lines = errors.lines().filter(|line| !line.contains("waiting for another tacet-bench"));
    assert_eq!(lines.count(), 1, "{errors}");
    assert!(output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stdout));
}

/// Asserts status, and a message with this in it; wrong usage has the usage below it.
#[track_caller]
pub fn assert_refused_as(arguments: &[&str], status: i32, message: &str) {
    let output = tacet_bench(arguments);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(status), "{errors}");
    assert!(errors.contains(message), "{errors}");
}

/// A folder with a stand-in for `tacet`, removed on drop.
pub struct Folder(PathBuf);

impl Folder {
    /// Makes one.
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("tacet-bench-test-{}-{number}", std::process::id()));
        fs::create_dir(&path).expect("the temporary folder can be written");
        let folder = Self(path);
        folder.program(STAND_IN);
        folder
    }

    /// The path of a file in it.
    pub fn file(&self, name: &str) -> String {
        self.0.join(name).to_string_lossy().into_owned()
    }

    /// What a file in it says.
    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.0.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Another stand-in for `tacet`; its path.
    pub fn program(&self, script: &str) -> String {
        let tacet = self.file("tacet");
        fs::write(&tacet, script).expect("the folder can be written");
        fs::set_permissions(&tacet, fs::Permissions::from_mode(0o755)).expect("it is ours");
        tacet
    }

    /// Runs `tacet-bench ARGUMENTS --tacet STAND-IN`.
    pub fn tacet_bench(&self, arguments: &[&str]) -> Output {
        tacet_bench(&[arguments, &["--tacet", &self.file("tacet")]].concat())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A file of the repository.
pub fn repository(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
