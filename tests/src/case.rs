//! One program with its arguments and surroundings, to be run natively and in a cell.

use crate::running::{Outcome, Running};
use crate::scratch::{Entry, Scratch, snapshot};
use crate::{Node, RUN_LIMIT, platform};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// What to run, and with what around it.
#[derive(Clone, Debug)]
pub struct Case {
    launcher: Vec<OsString>,
    options: Vec<OsString>,
    program: Vec<OsString>,
    is_script: bool,
    environment: Vec<(String, String)>,
    input: Option<Vec<u8>>,
    is_input_kept_open: bool,
    files: Vec<(String, Vec<u8>)>,
    is_stderr_compared: bool,
    limit: Duration,
}

/// Both ways of one case, after the comparison.
#[derive(Debug)]
pub struct Compared {
    /// The run on Linux.
    pub native: Outcome,
    /// The run in a cell.
    pub cell: Outcome,
}

impl Case {
    /// The program at that path, or of that name in `PATH`.
    pub fn new(program: impl Into<OsString>) -> Case {
        Case {
            launcher: Vec::new(),
            options: Vec::new(),
            program: vec![program.into()],
            is_script: false,
            environment: Vec::new(),
            input: None,
            is_input_kept_open: false,
            files: Vec::new(),
            is_stderr_compared: true,
            limit: RUN_LIMIT,
        }
    }

    /// A bash script in which `run PROGRAM ARGS…` starts a program: natively, or in a cell.
    pub fn script(text: &str) -> Case {
        Case { is_script: true, ..Case::new(text) }
    }

    /// Adds an argument.
    pub fn arg(mut self, argument: impl Into<OsString>) -> Case {
        self.program.push(argument.into());
        self
    }

    /// Adds arguments.
    pub fn args<S: Into<OsString>>(mut self, arguments: impl IntoIterator<Item = S>) -> Case {
        self.program.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Adds options of `tacet run`.
    pub fn options<S: Into<OsString>>(mut self, options: impl IntoIterator<Item = S>) -> Case {
        self.options.extend(options.into_iter().map(Into::into));
        self
    }

    /// What starts the program, or `tacet run`, in turn: `mpirun` with its options.
    pub fn launcher<S: Into<OsString>>(mut self, launcher: impl IntoIterator<Item = S>) -> Case {
        self.launcher = launcher.into_iter().map(Into::into).collect();
        self
    }

    /// Sets an environment variable.
    pub fn env(mut self, name: &str, value: &str) -> Case {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// What comes on standard input; `/dev/null` without.
    pub fn input(mut self, bytes: impl Into<Vec<u8>>) -> Case {
        self.input = Some(bytes.into());
        self
    }

    /// Makes standard input a pipe that stays open and empty.
    pub fn open_input(mut self) -> Case {
        self.is_input_kept_open = true;
        self
    }

    /// Puts a file into the working directory first.
    pub fn file(mut self, name: &str, content: impl Into<Vec<u8>>) -> Case {
        self.files.push((name.to_owned(), content.into()));
        self
    }

    /// Leaves standard error out of the comparison: it names processes or addresses.
    pub fn ignore_stderr(mut self) -> Case {
        self.is_stderr_compared = false;
        self
    }

    /// How long each run may take.
    pub fn limit(mut self, limit: Duration) -> Case {
        self.limit = limit;
        self
    }

    /// Starts it on Linux in the directory of `scratch`.
    pub fn start_native(&self, _node: &Node, scratch: &Scratch) -> Running {
        let words: Vec<&OsStr> = self.launcher.iter().chain(&self.program).map(OsString::as_os_str).collect();
        if self.is_script { self.start_script("run() { \"$@\"; }", scratch) } else { self.start(&words, scratch) }
    }

    /// Starts it in a cell, `tacet` itself in the directory of `scratch`.
    pub fn start_cell(&self, _node: &Node, scratch: &Scratch) -> Running {
        let tacet_run = platform::tacet_run(&self.options);
        if self.is_script {
            return self.start_script(&format!("run() {{ {} \"$@\"; }}", quoted(&tacet_run)), scratch);
        }
        let words = self.launcher.iter().chain(&tacet_run).chain(&self.program);
        self.start(&words.map(OsString::as_os_str).collect::<Vec<_>>(), scratch)
    }

    fn start_script(&self, run: &str, scratch: &Scratch) -> Running {
        let mut text = OsString::from(format!("set -o pipefail\n{run}\n"));
        text.push(&self.program[0]);
        let words = ["bash".as_ref(), "-c".as_ref(), text.as_os_str(), "bash".as_ref()];
        let rest = self.program[1..].iter().map(OsString::as_os_str);
        self.start(&words.into_iter().chain(rest).collect::<Vec<_>>(), scratch)
    }

    fn start(&self, words: &[&OsStr], scratch: &Scratch) -> Running {
        for (name, content) in &self.files {
            scratch.file(name, content);
        }
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).current_dir(scratch.path()).env("LC_ALL", "C").env("PWD", scratch.path());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        Running::start(command, self.input.clone(), self.is_input_kept_open, self.limit)
    }

    /// Runs it on Linux.
    pub fn native(&self) -> Outcome {
        self.start_native(&Node::take(), &Scratch::new()).finish()
    }

    /// Runs it in a cell.
    pub fn cell(&self) -> Outcome {
        self.start_cell(&Node::take(), &Scratch::new()).finish()
    }

    /// Runs it both ways, in the same directory one after the other, and compares standard
    /// output, standard error, exit status or signal, and the files it left.
    ///
    /// # Panics
    /// When they differ, with both.
    pub fn assert_same(&self) -> Compared {
        self.assert_same_on(&Node::take())
    }

    /// As [`Case::assert_same`], for a test that holds the node already.
    ///
    /// # Panics
    /// When they differ, with both.
    pub fn assert_same_on(&self, node: &Node) -> Compared {
        let scratch = Scratch::new();
        let native = self.start_native(node, &scratch).finish();
        let native_files = snapshot(scratch.path());
        scratch.clear();
        let cell = self.start_cell(node, &scratch).finish();
        let cell_files = snapshot(scratch.path());
        let differences = self.differences(&native, &cell, &native_files, &cell_files);
        assert!(
            differences.is_empty(),
            "native and cell differ:\n{differences}\n--- native\n{native}\n--- cell\n{cell}"
        );
        Compared { native, cell }
    }

    fn differences(&self, native: &Outcome, cell: &Outcome, native_files: &Files, cell_files: &Files) -> String {
        let mut differences = String::new();
        if native.shell_status() != cell.shell_status() || native.status.code() != cell.status.code() {
            differences += &format!("status: {} natively, {} in the cell\n", native.status, cell.status);
        }
        differences += &first_difference("stdout", &native.stdout, &cell.stdout);
        if self.is_stderr_compared {
            differences += &first_difference("stderr", &native.stderr, &cell.stderr);
        }
        for name in native_files.keys().chain(cell_files.keys().filter(|name| !native_files.contains_key(*name))) {
            let (expected, found) = (native_files.get(name), cell_files.get(name));
            if expected != found {
                differences += &format!("file {}: {expected:?} natively, {found:?} in the cell\n", name.display());
            }
        }
        differences
    }
}

type Files = BTreeMap<PathBuf, Entry>;

fn quoted(words: &[OsString]) -> String {
    let quote = |word: &OsString| format!("'{}'", word.to_string_lossy().replace('\'', r"'\''"));
    words.iter().map(quote).collect::<Vec<_>>().join(" ")
}

/// The first line that differs; empty when all are equal.
fn first_difference(what: &str, native: &[u8], cell: &[u8]) -> String {
    if native == cell {
        return String::new();
    }
    let (mut expected, mut found) = (native.split(|byte| *byte == b'\n'), cell.split(|byte| *byte == b'\n'));
    let text = |line: Option<&[u8]>| {
        line.map_or("(nothing)".to_owned(), |line| format!("{:?}", String::from_utf8_lossy(line)))
    };
    for number in 1.. {
        let (native_line, cell_line) = (expected.next(), found.next());
        if native_line != cell_line {
            return format!("{what}, line {number}:\n  native {}\n  cell   {}\n", text(native_line), text(cell_line));
        }
        if native_line.is_none() {
            break;
        }
    }
    String::new()
}
