//! Programs that start other programs: children on Linux, and successors in the cell.

use tacet_tests::{Case, Language, build};

tacet_tests::sections!("children.c": system, popen, spawn, vfork, apart, others, options, sigchld, wait, vanish, usage, interrupted);
tacet_tests::sections!("children.c": threads, exec, exec_threads, exec_thread, exec_errors);

/// What the program becomes says the last word.
fn becomes(section: &str) -> String {
    Case::new(build(Language::C, "children.c")).arg(section).assert_same().native.out()
}

#[test]
fn exec_script() {
    assert_eq!(becomes("exec_script"), "./script one two words\n");
}

#[test]
fn exec_descriptor() {
    assert_eq!(becomes("exec_descriptor"), "by descriptor\n");
}

/// A shell that ends by becoming the program, as wrappers do.
#[test]
fn wrappers() {
    let case =
        Case::new("/usr/bin/env").args(["A=1", "/bin/sh", "-c", "exec \"$@\"", "sh", "/usr/bin/env", "-i", "B=2"]);
    let compared = case.args(["/bin/sh", "-c", "echo ${A-none} $B; exit 9"]).assert_same();
    assert_eq!((compared.native.out().as_str(), compared.native.shell_status()), ("none 2\n", 9));
}

/// A copy of the process can't be had: it is refused by name, and the program goes on.
#[test]
fn a_copy_is_refused_by_name() {
    let outcome = Case::new(build(Language::C, "children.c")).arg("copy").cell();
    assert_eq!(outcome.out().matches("= -1 (Function not implemented)").count(), 2, "{outcome}");
    assert!(outcome.err().contains("fork") && outcome.err().contains("not supported"), "{outcome}");
    assert_eq!(outcome.err().lines().count(), 1, "{outcome}");
}

#[test]
fn python_starts_programs() {
    let text = "
import os, subprocess, sys
print(subprocess.run(['echo', 'hi'], capture_output=True))
print(subprocess.run('echo shell; exit 4', shell=True, stdout=subprocess.PIPE))
print(subprocess.Popen(['cat'], stdin=subprocess.PIPE, stdout=subprocess.PIPE).communicate(b'x' * 100000)[0].count(b'x'))
print(subprocess.run(['pwd'], cwd='/usr', capture_output=True, env={'A': '1'}).stdout)
try:
    subprocess.run(['/no/such'])
except FileNotFoundError as error:
    print(error)
try:
    subprocess.run(['sleep', '100'], timeout=0.5)
except subprocess.TimeoutExpired:
    print('expired')
print(os.system('exit 3'), os.popen('echo popen').read())
sys.stdout.flush()
os.execv('/bin/echo', ['echo', 'the end'])
";
    Case::new("/usr/bin/python3").args(["-c", text]).assert_same();
}
