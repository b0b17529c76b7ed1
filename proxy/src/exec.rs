//! Finds the program and checks that a cell can run it, as execve(2) and a shell would.
//!
//! The checks are made before anything is taken from the node. What is found stays open: the
//! kernel loads exactly the file that was checked.

mod elf;

use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, eaccess};

/// Interpreters of interpreters that Linux follows: `exec_binprm` in fs/exec.c.
const MOST_SCRIPTS: usize = 4;

/// What Linux looks at to tell what a file is: `BINPRM_BUF_SIZE`.
const HEAD_BYTES: usize = 256;

/// A program that can be loaded.
#[derive(Debug)]
pub struct Program {
    /// The ELF file to load.
    pub file: OwnedFd,
    /// Its name in the file system, without links: `/proc/self/exe`.
    pub path: PathBuf,
    /// The path that was asked for, found in PATH if need be: `AT_EXECFN`.
    pub name: PathBuf,
    /// The arguments, changed as scripts need.
    pub arguments: Vec<OsString>,
}

/// Why a program can't run.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Nothing by that name.
    #[error("{}: no such file; check the path", .0.display())]
    NoSuchFile(PathBuf),
    /// Nothing by that name in any directory of PATH.
    #[error("{}: not found in PATH; give a path with a slash or extend PATH", .0.display())]
    NotInPath(PathBuf),
    /// The interpreter of a script or dynamic program is missing.
    #[error("{}: its interpreter {} is not there; install what provides it", .program.display(), .interpreter.display())]
    NoInterpreter {
        /// The program.
        program: PathBuf,
        /// What it asks for.
        interpreter: PathBuf,
    },
    /// A directory.
    #[error("{}: is a directory; name a program in it", .0.display())]
    Directory(PathBuf),
    /// A device, a socket, a pipe.
    #[error("{}: is not a regular file; only those can be executed", .0.display())]
    NotRegular(PathBuf),
    /// No permission to execute or, which a cell needs too, to read.
    #[error("{}: permission to {right} denied; see `ls -l` and the mount options", .path.display())]
    Permission {
        /// The file.
        path: PathBuf,
        /// `execute` or `read`.
        right: &'static str,
    },
    /// Not a program, or one that no cell can run.
    #[error("{}: {why}; a cell runs 64-bit x86-64 ELF programs and scripts that name an interpreter", .path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Scripts whose interpreters are scripts, too many of them.
    #[error("{}: more than {MOST_SCRIPTS} interpreters that are scripts; name a program as interpreter", .0.display())]
    TooManyScripts(PathBuf),
    /// Anything else that Linux says.
    #[error("{}: cannot be opened: {error}; check the path", .path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What Linux says.
        error: io::Error,
    },
}

impl Refusal {
    /// The error of execve(2).
    pub fn errno(&self) -> i32 {
        match self {
            Refusal::NoSuchFile(_) | Refusal::NotInPath(_) | Refusal::NoInterpreter { .. } => libc::ENOENT,
            Refusal::Directory(_) | Refusal::NotRegular(_) | Refusal::Permission { .. } => libc::EACCES,
            Refusal::Format { .. } => libc::ENOEXEC,
            Refusal::TooManyScripts(_) => libc::ELOOP,
            Refusal::Open { error, .. } => error.raw_os_error().unwrap_or(libc::EIO),
        }
    }

    /// The status that a shell gives: 127 for what is not there, 126 for what can't be executed.
    pub fn status(&self) -> u8 {
        match self {
            Refusal::NoSuchFile(_) | Refusal::NotInPath(_) | Refusal::NoInterpreter { .. } => 127,
            _ => 126,
        }
    }
}

/// Looks `command[0]` up as execvp(3) does, follows scripts, and checks the result.
///
/// # Panics
/// When `command` is empty; the command line parser sees to that.
pub fn find(command: &[OsString], path: Option<&OsStr>) -> Result<Program, Refusal> {
    follow(look_up(&command[0], path)?, command.to_vec())
}

/// Follows scripts from the file `name`, and checks the result: execve(2) with these arguments, the
/// first of which is taken to be a name.
pub fn follow(name: PathBuf, mut arguments: Vec<OsString>) -> Result<Program, Refusal> {
    let mut target = name.clone();
    for _ in 0..=MOST_SCRIPTS {
        let (file, metadata) = open(&target).map_err(|refusal| refusal.of_interpreter(&name, &target))?;
        let mut head = [0; HEAD_BYTES];
        let length = read_at_most(&file, &mut head, 0, &target)?;
        let Some(script) = Script::parse(&head[..length], &target)? else {
            elf::check(&file, metadata.len(), &target)?;
            warn_of_set_id(&metadata, &target);
            let real = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()));
            let path = real.unwrap_or_else(|_| target.clone());
            return Ok(Program { file: file.into(), path, name, arguments });
        };
        let rest = arguments.split_off(1);
        arguments = vec![script.interpreter.clone().into_os_string()];
        arguments.extend(script.argument);
        arguments.push(target.into_os_string());
        arguments.extend(rest);
        target = script.interpreter;
    }
    Err(Refusal::TooManyScripts(name))
}

impl Refusal {
    /// The same, said of the interpreter of `program` where that is what is missing.
    fn of_interpreter(self, program: &Path, target: &Path) -> Self {
        match self {
            Refusal::NoSuchFile(_) if program != target => {
                Refusal::NoInterpreter { program: program.to_owned(), interpreter: target.to_owned() }
            }
            other => other,
        }
    }
}

/// execvp(3): a name with a slash is a path, another one is searched; a file that may not be
/// executed is remembered and the search goes on.
fn look_up(name: &OsStr, path: Option<&OsStr>) -> Result<PathBuf, Refusal> {
    if name.is_empty() {
        return Err(Refusal::NoSuchFile(PathBuf::from("''")));
    }
    if name.as_bytes().contains(&b'/') {
        return Ok(PathBuf::from(name));
    }
    // What confstr(_CS_PATH) gives with glibc.
    let path = path.unwrap_or(OsStr::new("/bin:/usr/bin"));
    let mut refused = None;
    for directory in path.as_bytes().split(|byte| *byte == b':') {
        let directory = if directory.is_empty() { b"." } else { directory };
        let candidate = Path::new(OsStr::from_bytes(directory)).join(name);
        match candidate.metadata() {
            Ok(metadata) if metadata.is_file() && eaccess(&candidate, AccessFlags::X_OK).is_ok() => {
                return Ok(candidate);
            }
            Ok(_) => refused = refused.or(Some(candidate)),
            Err(_) => {}
        }
    }
    refused.ok_or_else(|| Refusal::NotInPath(PathBuf::from(name)))
}

fn open(path: &Path) -> Result<(File, Metadata), Refusal> {
    let failed = |error: io::Error, right: &'static str| match error.kind() {
        io::ErrorKind::NotFound => Refusal::NoSuchFile(path.to_owned()),
        io::ErrorKind::PermissionDenied => Refusal::Permission { path: path.to_owned(), right },
        _ => Refusal::Open { path: path.to_owned(), error },
    };
    // Looked at before it is opened: opening a pipe would wait, a device might do anything.
    let metadata = path.metadata().map_err(|error| failed(error, "execute"))?;
    if metadata.is_dir() {
        return Err(Refusal::Directory(path.to_owned()));
    }
    if !metadata.is_file() {
        return Err(Refusal::NotRegular(path.to_owned()));
    }
    eaccess(path, AccessFlags::X_OK).map_err(|errno| failed(errno.into(), "execute"))?;
    let file = File::open(path).map_err(|error| failed(error, "read"))?;
    Ok((file, metadata))
}

/// Reads until `buffer` is full or the file ends.
fn read_at_most(file: &File, buffer: &mut [u8], offset: u64, path: &Path) -> Result<usize, Refusal> {
    let mut done = 0;
    while done < buffer.len() {
        match file.read_at(&mut buffer[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Refusal::Open { path: path.to_owned(), error }),
        }
    }
    Ok(done)
}

/// A cell gives nobody more rights than its user has, whatever the file's mode asks for.
fn warn_of_set_id(metadata: &Metadata, path: &Path) {
    let set_user = metadata.mode() & libc::S_ISUID != 0 && metadata.uid() != nix::unistd::geteuid().as_raw();
    let set_group = metadata.mode() & libc::S_ISGID != 0 && metadata.gid() != nix::unistd::getegid().as_raw();
    if set_user || set_group {
        tracing::warn!(
            "{}: set-user-id and set-group-id are ignored: the program runs with your rights",
            path.display()
        );
    }
}

/// The first line of a script.
struct Script {
    interpreter: PathBuf,
    argument: Option<OsString>,
}

impl Script {
    /// `#!`, the interpreter, and the rest of the line as one argument, without the blanks
    /// around: `load_script` in fs/binfmt_script.c.
    fn parse(head: &[u8], path: &Path) -> Result<Option<Self>, Refusal> {
        let Some(line) = head.strip_prefix(b"#!") else { return Ok(None) };
        let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
        let refuse = |why| Refusal::Format { path: path.to_owned(), why };
        let is_cut = head.len() == HEAD_BYTES && !line.contains(&b'\n');
        let line = line.split(|byte| *byte == b'\n' || *byte == 0).next().unwrap_or_default();
        let line = trim(line, blank);
        let end = line.iter().position(blank).unwrap_or(line.len());
        let (interpreter, argument) = (&line[..end], trim(&line[end..], blank));
        if interpreter.is_empty() {
            return Err(refuse("its first line names no interpreter"));
        }
        if is_cut && end == line.len() {
            return Err(refuse("the interpreter in its first line is too long"));
        }
        Ok(Some(Script {
            interpreter: PathBuf::from(OsString::from_vec(interpreter.to_vec())),
            argument: (!argument.is_empty()).then(|| OsString::from_vec(argument.to_vec())),
        }))
    }
}

fn trim(mut bytes: &[u8], blank: impl Fn(&u8) -> bool) -> &[u8] {
    while let [first, rest @ ..] = bytes
        && blank(first)
    {
        bytes = rest;
    }
    while let [rest @ .., last] = bytes
        && blank(last)
    {
        bytes = rest;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::tests::Fixture;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    fn words(command: &[&str]) -> Vec<OsString> {
        command.iter().map(OsString::from).collect()
    }

    fn executable(root: &Fixture, name: &str, content: &[u8]) -> PathBuf {
        let path = root.file(name, "");
        fs::write(&path, content).expect("own file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("own file");
        path
    }

    fn refused(path: &Path) -> Refusal {
        find(&[path.into()], None).expect_err("must be refused")
    }

    #[test]
    fn a_program_is_found_in_path() {
        let program = find(&words(&["sh", "-c", "x"]), Some(OsStr::new("/nowhere:/usr/bin"))).expect("sh is there");
        assert_eq!(program.name, Path::new("/usr/bin/sh"));
        assert_eq!(program.arguments, words(&["sh", "-c", "x"]));
        assert_eq!(program.path, fs::canonicalize("/usr/bin/sh").expect("sh is there"));
    }

    #[test]
    fn what_is_not_there() {
        let missing = refused(Path::new("/no/such/program"));
        assert!(matches!(missing, Refusal::NoSuchFile(_)) && missing.status() == 127, "{missing}");
        let missing = find(&words(&["no-such-program"]), Some(OsStr::new("/usr/bin"))).expect_err("not there");
        assert!(matches!(missing, Refusal::NotInPath(_)) && missing.status() == 127, "{missing}");
        assert_eq!(find(&words(&[""]), None).expect_err("empty").status(), 127);
    }

    #[test]
    fn a_file_in_path_that_may_not_be_executed_hides_no_other() {
        let root = Fixture::new();
        root.file("first/tool", "");
        executable(&root, "second/tool", &fs::read("/bin/true").expect("readable"));
        let path = |names: &[&str]| {
            let list: Vec<String> = names.iter().map(|name| root.path().join(name).display().to_string()).collect();
            OsString::from(list.join(":"))
        };
        let program = find(&words(&["tool"]), Some(&path(&["first", "second"]))).expect("the second one");
        assert_eq!(program.name, root.path().join("second/tool"));
        let refusal = find(&words(&["tool"]), Some(&path(&["first"]))).expect_err("not executable");
        assert!(matches!(refusal, Refusal::Permission { right: "execute", .. }), "{refusal}");
        assert_eq!(refusal.status(), 126);
    }

    #[test]
    fn what_can_not_be_executed() {
        assert!(matches!(refused(Path::new("/usr/bin/")), Refusal::Directory(_)));
        assert!(matches!(refused(Path::new("/dev/null")), Refusal::NotRegular(_)));
        let root = Fixture::new();
        let plain = executable(&root, "notes", b"just text\n");
        let refusal = refused(&plain);
        assert!(refusal.to_string().contains("not an ELF") && refusal.status() == 126, "{refusal}");
    }

    #[test]
    fn elf_headers() {
        let image = fs::read("/bin/true").expect("readable");
        let with = |at: usize, bytes: &[u8]| {
            let mut header = image[..64].to_vec();
            header[at..at + bytes.len()].copy_from_slice(bytes);
            elf::fault(&header)
        };
        assert_eq!(with(0, b"\x7f"), None);
        assert!(with(18, &[183, 0]).is_some_and(|why| why.contains("x86-64")));
        assert!(with(4, &[1]).is_some_and(|why| why.contains("32-bit")));
        assert!(with(5, &[2]).is_some_and(|why| why.contains("x86-64")));
        assert!(with(16, &[1, 0]).is_some_and(|why| why.contains("not a program")));
        assert!(elf::fault(&image[..63]).is_some_and(|why| why.contains("truncated")));
    }

    #[test]
    fn elf_program_headers() {
        let root = Fixture::new();
        let whole = fs::read("/bin/true").expect("readable");
        for (at, bytes) in [
            (32, &u64::MAX.to_le_bytes()[..]),
            (32, &(1_u64 << 40).to_le_bytes()),
            (56, &[255, 255]),
            (56, &[0, 0]),
            (54, &[1, 0]),
        ] {
            let mut image = whole.clone();
            image[at..at + bytes.len()].copy_from_slice(bytes);
            assert_eq!(refused(&executable(&root, "odd", &image)).status(), 126, "{at} {bytes:?}");
        }
        assert_eq!(refused(&executable(&root, "short", &whole[..700])).status(), 126);
    }

    #[test]
    fn a_missing_elf_interpreter_is_named() {
        let root = Fixture::new();
        let mut image = fs::read("/bin/true").expect("readable");
        let at = image.windows(5).position(|bytes| bytes == b"/lib6").expect("dynamic");
        image[at..at + 5].copy_from_slice(b"/nope");
        let refusal = refused(&executable(&root, "odd", &image));
        assert!(refusal.to_string().contains("/nope") && refusal.status() == 127, "{refusal}");
    }

    #[test]
    fn scripts_get_their_interpreter() {
        let root = Fixture::new();
        let script = executable(&root, "script", b"#! /bin/sh -e -u \necho\n");
        let program = find(&[script.clone().into(), "a".into()], None).expect("a script");
        assert_eq!(program.arguments, [OsString::from("/bin/sh"), "-e -u".into(), script.clone().into(), "a".into()]);
        assert_eq!(program.name, script);
        assert_eq!(program.path, fs::canonicalize("/bin/sh").expect("there"));
    }

    #[test]
    fn scripts_of_scripts() {
        let root = Fixture::new();
        let mut script = executable(&root, "s0", b"#!/bin/sh\n");
        for level in 1..=5 {
            let line = format!("#!{} {level}\n", script.display());
            script = executable(&root, &format!("s{level}"), line.as_bytes());
            let found = find(&[script.clone().into()], None);
            match level {
                1..=3 => assert_eq!(found.expect("few enough").arguments.len(), 2 * level + 2),
                _ => assert!(matches!(found, Err(Refusal::TooManyScripts(_))), "{level}"),
            }
        }
    }

    #[test]
    fn scripts_that_name_nothing() {
        let root = Fixture::new();
        assert_eq!(refused(&executable(&root, "empty", b"#!  \n")).status(), 126);
        let long = format!("#!/{}", "x".repeat(300));
        assert_eq!(refused(&executable(&root, "long", long.as_bytes())).status(), 126);
        let refusal = refused(&executable(&root, "missing", b"#!/no/such/sh\n"));
        assert!(refusal.to_string().contains("/no/such/sh") && refusal.status() == 127, "{refusal}");
    }
}
