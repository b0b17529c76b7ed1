//! Programs that Debian ships, unmodified, as a user would call them: cat, ls, sort, tar, dd, sha256sum, sh, python3.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;
use tacet_tests::platform::reduced;
use tacet_tests::{Case, scratch};

/// 200 MB that do not repeat, or less.
fn large_file() -> PathBuf {
    let bytes = reduced(200_000_000);
    scratch::data(&format!("{bytes}-bytes"), |file| {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in 0..bytes / 8 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            file.write_all(&state.to_le_bytes())?;
        }
        Ok(())
    })
}

fn line_count() -> u64 {
    reduced(1_000_000)
}

/// A million lines in no order, or less.
fn many_lines() -> PathBuf {
    scratch::data(&format!("{}-lines", line_count()), |file| {
        let mut state = 12345_u64;
        for number in 0..line_count() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            writeln!(file, "{} line {number}", state >> 40)?;
        }
        Ok(())
    })
}

#[test]
fn echo() {
    let compared = Case::new("/bin/echo").args(["one", "two words", "", "-n", "ümlaut"]).assert_same();
    assert_eq!(compared.native.out(), "one two words  -n ümlaut\n");
}

#[test]
fn program_from_path() {
    assert_eq!(Case::new("echo").arg("found").assert_same().native.out(), "found\n");
}

#[test]
fn true_and_false() {
    assert_eq!(Case::new("/bin/true").assert_same().native.shell_status(), 0);
    assert_eq!(Case::new("/bin/false").assert_same().native.shell_status(), 1);
}

#[test]
fn cat() {
    let text: Vec<u8> =
        (0..reduced(3_000_000) as u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let compared = Case::new("/bin/cat").args(["-", "file"]).input(text.clone()).file("file", "the end").assert_same();
    assert!(compared.native.stdout.starts_with(&text));
    Case::new("/bin/cat").arg("missing").assert_same();
}

#[test]
fn list_documentation() {
    let is_small = reduced(2) < 2;
    let tree = if is_small { "/usr/lib/x86_64-linux-gnu/perl-base" } else { "/usr/share/doc" };
    let compared = Case::new("/bin/ls").args(["-lR", tree]).assert_same();
    assert!(compared.native.stdout.len() > 10_000, "{}", compared.native);
}

#[test]
fn checksum_of_200_megabytes() {
    let case = Case::new("/usr/bin/sha256sum").arg(large_file()).limit(Duration::from_secs(180));
    assert!(case.assert_same().native.out().ends_with("-bytes\n"));
}

#[test]
fn sort_a_million_lines() {
    let case = Case::new("/usr/bin/sort").arg(many_lines()).limit(Duration::from_secs(120));
    let lines = case.assert_same().native.stdout.iter().filter(|byte| **byte == b'\n').count();
    assert_eq!(lines as u64, line_count());
    let numeric = Case::new("/usr/bin/sort").args(["-n", "-r", "-u", "-k", "1,1", "-o", "sorted"]).arg(many_lines());
    numeric.limit(Duration::from_secs(120)).assert_same();
}

/// Out of a cell into Linux, out of Linux into a cell, and from cell to cell.
#[test]
fn dd_through_pipes() {
    let dd = |script: &str| Case::script(script).arg(large_file()).arg(reduced(50_000_000).to_string()).assert_same();
    dd("run dd if=\"$1\" bs=64k count=$2 iflag=count_bytes status=none | sha256sum");
    dd("head -c $2 \"$1\" | run dd bs=4k iflag=fullblock of=copied status=none; cmp -n $2 \"$1\" copied");
    dd("head -c $2 \"$1\" | run dd bs=1M iflag=fullblock status=none | sha256sum");
    // Counts go to standard error, with a time that differs.
    let counts = "head -c 1000000 \"$1\" | run dd bs=1000 iflag=fullblock of=/dev/null 2>&1 | sed -n 1,2p";
    assert_eq!(
        Case::script(counts).arg(large_file()).assert_same().native.out(),
        "1000+0 records in\n1000+0 records out\n"
    );
}

#[test]
fn cell_to_cell_pipe() {
    let script = "run cat \"$1\" | run sha256sum";
    Case::script(script).arg(many_lines()).assert_same();
}

#[test]
fn shell_exit_status() {
    assert_eq!(Case::new("/bin/sh").args(["-c", "exit 7"]).assert_same().native.shell_status(), 7);
    let script = "for status in 0 1 2 99 126 127 128 200 255; do run sh -c \"exit $status\"; echo $?; done";
    Case::script(script).assert_same();
}

#[test]
fn shell_builtins() {
    let text = "i=0; while [ $i -lt 1000 ]; do i=$((i+1)); done; echo $i; for f in /usr/share/doc/bash*; do echo $f; done; \
                cd /usr && pwd; read -r line; echo \"[$line]\"; trap 'echo bye' EXIT; echo err >&2; exit 3";
    let compared = Case::new("/bin/sh").args(["-c", text]).input("from stdin\nrest\n").assert_same();
    assert_eq!(compared.native.shell_status(), 3);
}

#[test]
fn tar_through_a_pipe() {
    let listing = "run tar c -C /usr/share/doc --sort=name bash coreutils tar | tar t";
    assert!(Case::script(listing).assert_same().native.stdout.len() > 100);
    Case::script("tar c -C /usr/share/doc --sort=name bash coreutils tar | run tar t").assert_same();
    Case::script("run tar c -C /usr/share/doc --sort=name bash coreutils tar | run tar t").assert_same();
    Case::script("tar c -C /usr/share/doc bash coreutils | run tar x").assert_same();
}
