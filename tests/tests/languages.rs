//! Languages, their runtimes and C libraries.

use tacet_tests::{Case, Language, build, node, platform};

/// Start-up as a C program sees it; status 42 says that every check of the program held.
fn hello(language: Language) {
    let case = Case::new(build(language, "hello.c")).args(["passwd", "", "last argument"]);
    let compared = case.file("passwd", "some text\n".repeat(1000)).env("GREETING", "good morning").assert_same();
    assert_eq!(compared.native.shell_status(), 42, "{}", compared.native);
    assert!(compared.native.out().contains("10000 bytes"), "{}", compared.native);
}

#[test]
fn c_dynamic() {
    hello(Language::C);
}

#[test]
fn c_static_glibc() {
    hello(Language::CStatic);
}

#[test]
fn c_static_musl() {
    hello(Language::CMusl);
}

#[test]
fn cxx_throws_and_catches() {
    let compared = Case::new(build(Language::Cxx, "throw.cc")).assert_same();
    assert_eq!(compared.native.shell_status(), 3, "{}", compared.native);
}

#[test]
fn cxx_uncaught_exception() {
    let compared = Case::new(build(Language::Cxx, "throw.cc")).arg("uncaught").assert_same();
    assert_eq!(compared.native.shell_status(), 128 + 6, "{}", compared.native);
}

#[test]
fn fortran() {
    let compared = Case::new(build(Language::Fortran, "arrays.f90")).assert_same();
    assert_eq!(compared.native.shell_status(), 5, "{}", compared.native);
}

#[test]
fn rust_threads_on_two_cores() {
    let case = Case::new(build(Language::Rust, "threads.rs"));
    let case = if node::core_count() < 2 { case } else { case.options(platform::cores(2)) };
    assert_eq!(case.assert_same().native.shell_status(), 9);
}

#[test]
fn rust_threads_on_one_core() {
    assert_eq!(Case::new(build(Language::Rust, "threads.rs")).assert_same().native.shell_status(), 9);
}

const PYTHON: &str = r#"
import hashlib, json, os, sys, threading, time
text = json.dumps({"numbers": list(range(20)), "nested": {"a": [1.5, None, True]}}, sort_keys=True)
print(text, json.loads(text)["nested"])
print(hashlib.sha256(b"x" * 1000000).hexdigest(), hashlib.md5(text.encode()).hexdigest())
results, lock = {}, threading.Lock()
def work(n):
    total = sum(i * i for i in range(n * 1000))
    with lock:
        results[n] = total
threads = [threading.Thread(target=work, args=(n,)) for n in range(1, 9)]
[t.start() for t in threads]; [t.join() for t in threads]
print(sorted(results.items()))
event = threading.Event()
threading.Timer(0.02, event.set).start()
print(event.wait(30), threading.active_count() >= 1)
start = time.monotonic(); time.sleep(0.01); print(time.monotonic() - start >= 0.01)
with open("written.txt", "w") as f: f.write(text)
print(os.listdir("."), os.path.getsize("written.txt"), sys.argv[1:])
print(sys.stdin.read())
try:
    open("/no/such/file")
except OSError as error:
    print(error)
sys.exit(11)
"#;

#[test]
fn python() {
    let case = Case::new("/usr/bin/python3").args(["-c", PYTHON, "argument"]).input("standard input");
    let compared = case.assert_same();
    assert_eq!(compared.native.shell_status(), 11, "{}", compared.native);
}

#[test]
fn python_traceback() {
    let compared = Case::new("/usr/bin/python3").args(["-c", "def f(): return 1 / 0\nf()"]).assert_same();
    assert!(compared.native.err().contains("ZeroDivisionError"), "{}", compared.native);
}
