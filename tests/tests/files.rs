//! Files, directories, links, descriptors and pipes; the files left behind are compared too.

use tacet_tests::{Case, Language, build};

tacet_tests::sections!("files.c": read_write, vectors, status, directories, names, descriptors, pipes, mapped_buffer);

tacet_tests::sections!("transfer.c": cold, partly, limits, numbers, race);

/// An inherited descriptor keeps its number and its position.
#[test]
fn inherited_descriptor() {
    let script = "exec 7< words; read -r first <&7; run cat <&7; run sh -c 'echo written >&8' 8> eight; cat eight";
    let compared = Case::script(script).file("words", "one\ntwo\nthree\n").assert_same();
    assert_eq!(compared.native.out(), "two\nthree\nwritten\n");
}

/// Standard output that nobody can write to.
#[test]
fn full_device() {
    let compared = Case::script("run /bin/echo text > /dev/full").assert_same();
    assert_eq!(compared.native.shell_status(), 1);
}

/// A closed standard output, and a reader that has gone.
#[test]
fn closed_output() {
    Case::script("run /bin/echo text >&-").assert_same();
    Case::script("run /usr/bin/yes | head -n 3; echo \"${PIPESTATUS[*]}\"").assert_same();
}

/// The working directory and a relative path to the program.
#[test]
fn working_directory() {
    let program = build(Language::CStatic, "hello.c");
    let script =
        format!("mkdir inner && cp '{}' inner/program && cd inner && run ./program; run pwd -P", program.display());
    Case::script(&script).assert_same();
}
