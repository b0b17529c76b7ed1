//! Bad input: one line that says what, why and what to do, a status as a shell would give, and
//! nothing left behind.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use tacet_tests::node::{Holdings, core_count};
use tacet_tests::scratch::Scratch;
use tacet_tests::{Case, Language, Node, Outcome, build};

/// Runs in a cell, which must refuse with that status and one line that holds all of `words`.
fn refused(case: &Case, status: i32, words: &[&str]) -> Outcome {
    let (node, scratch) = (Node::take(), Scratch::new());
    let before = Holdings::now(&node);
    let outcome = case.start_cell(&node, &scratch).finish();
    before.assert_nothing_added();
    assert_eq!(outcome.status.code(), Some(status), "{outcome}");
    assert!(outcome.stdout.is_empty(), "{outcome}");
    let message = outcome.err();
    assert!(message.starts_with("tacet: "), "{outcome}");
    assert_eq!(message.trim_end().lines().count(), 1, "one line: {outcome}");
    let lower = message.to_lowercase();
    for word in words {
        assert!(lower.contains(&word.to_lowercase()), "the message says {word:?}: {outcome}");
    }
    // What, why and what to do do not fit into a few words.
    assert!(message.split_whitespace().count() >= 6, "{outcome}");
    outcome
}

/// A file in a scratch directory, with that mode, refused as a program.
fn refused_file(name: &str, content: &[u8], mode: u32, status: i32, words: &[&str]) {
    let scratch = Scratch::new();
    let path = scratch.file(name, content);
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("the mode of an own file can be set");
    refused(&Case::new(path), status, &[words, &[name]].concat());
}

/// The ELF header of `/bin/true` with one field changed.
fn elf_with(offset: usize, value: &[u8]) -> Vec<u8> {
    let mut image = fs::read("/bin/true").expect("/bin/true can be read");
    image[offset..offset + value.len()].copy_from_slice(value);
    image
}

#[test]
fn no_such_file() {
    refused(&Case::new("/no/such/program"), 127, &["/no/such/program", "no such file"]);
    refused(&Case::new("./missing"), 127, &["./missing", "no such file"]);
}

#[test]
fn not_in_path() {
    refused(&Case::new("no-such-program-anywhere"), 127, &["no-such-program-anywhere", "PATH"]);
}

#[test]
fn not_an_elf() {
    refused_file("notes.txt", b"just text\n", 0o755, 126, &["ELF"]);
    refused_file("empty", b"", 0o755, 126, &[]);
    refused_file("noise", &[0xa5; 5000], 0o755, 126, &["ELF"]);
}

#[test]
fn not_executable() {
    refused_file("plain", &elf_with(0, b"\x7f"), 0o644, 126, &["permission"]);
}

#[test]
fn directory() {
    refused(&Case::new("/usr/bin/"), 126, &["/usr/bin", "directory"]);
}

#[test]
fn wrong_architecture() {
    const MACHINE: usize = 18;
    refused_file("aarch64", &elf_with(MACHINE, &183_u16.to_le_bytes()), 0o755, 126, &["x86"]);
    refused_file("riscv", &elf_with(MACHINE, &243_u16.to_le_bytes()), 0o755, 126, &["x86"]);
}

#[test]
fn wrong_class() {
    const CLASS: usize = 4;
    refused_file("thirty-two", &elf_with(CLASS, &[1]), 0o755, 126, &["32"]);
}

#[test]
fn truncated_elf() {
    let whole = elf_with(0, b"\x7f");
    for length in [4, 16, 63, 64, 100, 700] {
        refused_file("truncated", &whole[..length], 0o755, 126, &[]);
    }
}

/// Program headers that point outside the file, or sizes that overflow.
#[test]
fn corrupt_elf() {
    const PROGRAM_HEADERS: usize = 32;
    refused_file("far-headers", &elf_with(PROGRAM_HEADERS, &u64::MAX.to_le_bytes()), 0o755, 126, &[]);
    const HEADER_COUNT: usize = 56;
    refused_file("many-headers", &elf_with(HEADER_COUNT, &u16::MAX.to_le_bytes()), 0o755, 126, &[]);
    const HEADER_SIZE: usize = 54;
    refused_file("odd-headers", &elf_with(HEADER_SIZE, &1_u16.to_le_bytes()), 0o755, 126, &[]);
}

#[test]
fn too_many_cores() {
    let most = (core_count() + 1).to_string();
    refused(&Case::new("/bin/true").options(["--cores", &most]), 125, &["cores", &core_count().to_string()]);
    refused(&Case::new("/bin/true").options(["--cores", "0,99999"]), 125, &["99999"]);
}

#[test]
fn too_much_memory() {
    refused(&Case::new("/bin/true").options(["--memory", "999T"]), 125, &["memory"]);
}

#[test]
fn no_such_numa_node() {
    refused(&Case::new("/bin/true").options(["--numa", "77"]), 125, &["77"]);
}

/// What the command line parser refuses has status 2; its messages are its own.
#[test]
fn unknown_options() {
    let options: [&[&str]; 7] = [
        &["--no-such-option"],
        &["--cores"],
        &["--cores", "zero"],
        &["--memory", "lots"],
        &["--platform", "toaster"],
        &["--numa", "north"],
        &["--log", "shouting"],
    ];
    for option in options {
        let outcome = Case::new("/bin/true").options(option.iter().copied()).cell();
        assert_eq!(outcome.status.code(), Some(2), "{outcome}");
        assert!(outcome.err().contains(option[0]), "{outcome}");
        assert!(outcome.stdout.is_empty(), "{outcome}");
    }
}

#[test]
fn no_program() {
    let tacet = tacet_tests::node::tacet();
    for arguments in [vec!["run"], vec!["run", "--"], vec![], vec!["walk"]] {
        let outcome = Case::new(&tacet).args(arguments).native();
        assert_eq!(outcome.status.code(), Some(2), "{outcome}");
        assert!(!outcome.stderr.is_empty(), "{outcome}");
    }
}

#[test]
fn platforms_to_come() {
    let case = Case::new("/bin/true").options(["--platform", "kvm"]);
    refused(&case, 125, &["kvm", "not built yet", "process"]);
}

/// An unsupported call gives ENOSYS, is named once on standard error, and the program goes on.
fn unsupported(section: &str, expected: &str, name: &str) {
    let outcome = Case::new(build(Language::C, "unsupported.c")).arg(section).cell();
    assert_eq!(outcome.status.code(), Some(0), "{outcome}");
    assert_eq!(outcome.out(), expected, "{outcome}");
    let message = outcome.err();
    assert_eq!(
        message.lines().filter(|line| line.starts_with("tacet: ") && line.contains(name)).count(),
        1,
        "{outcome}"
    );
    assert_eq!(message.lines().count(), 1, "{outcome}");
}

#[test]
fn unsupported_call() {
    unsupported("bpf", "bpf = -1 errno 38\nbpf = -1 errno 38\nbpf = -1 errno 38\nend\n", "bpf");
}

#[test]
fn fork_is_refused_by_name() {
    unsupported("fork", "fork = -1 errno 38\nfork = -1 errno 38\nfork = -1 errno 38\nend\n", "fork");
}

#[test]
fn unknown_call() {
    let outcome = Case::new(build(Language::C, "unsupported.c")).arg("unknown").cell();
    assert_eq!(outcome.out(), "1234 = -1 errno 38\n-1 = -1 errno 38\nend\n", "{outcome}");
}

/// A successful run and one that crashes leave nothing on the node either.
#[test]
fn nothing_left_behind() {
    let (node, scratch) = (Node::take(), Scratch::new());
    let before = Holdings::now(&node);
    let faults = build(Language::C, "faults.c");
    for case in [Case::new("/bin/true"), Case::new(&faults).arg("null_read"), Case::new(&faults).arg("abort")] {
        case.start_cell(&node, &scratch).finish();
    }
    before.assert_nothing_added();
}

mod bad_arguments {
    tacet_tests::sections!("badcalls.c": pointers, descriptors, values);
}
