//! Programs that people have, as Debian packages them: redis-server with redis-benchmark, sqlite3, numpy, and what
//! Python's own libraries make of a process.

use nix::sys::signal::Signal;
use std::time::Duration;
use tacet_tests::scratch::Scratch;
use tacet_tests::{Case, Node, Outcome, poll_until};

const SQL: &str = "
pragma journal_mode = wal;
create table numbers (n integer primary key, square integer, word text);
with recursive c(n) as (select 1 union all select n + 1 from c where n < 20000)
insert into numbers select n, n * n, printf('%05x', n) from c;
create index by_word on numbers (word);
select count(*), sum(square) from numbers;
select n from numbers where word = '0beef';
begin; delete from numbers where n % 2; rollback;
select count(*) from numbers where n % 2;
pragma integrity_check;
vacuum;
.dump numbers
";

#[test]
fn sqlite() {
    let compared = Case::new("sqlite3").args(["test.db"]).input(SQL).assert_same();
    assert!(compared.native.out().starts_with("wal\n20000|2666866670000\n"), "{}", compared.native);
}

/// A server on loopback, asked by programs on Linux.
fn redis(start: impl Fn(&Case, &Node, &Scratch) -> tacet_tests::Running, port: &str) -> (String, Outcome) {
    let (node, scratch) = (Node::take(), Scratch::new());
    let case = Case::new("redis-server").args(["--port", port, "--bind", "127.0.0.1", "--appendonly", "yes"]);
    let case = case.args(["--appendfsync", "always", "--save", ""]).limit(Duration::from_secs(120));
    let server = start(&case, &node, &scratch);
    server.wait_for("Ready to accept connections");
    let ask = |words: &[&str]| {
        let output = std::process::Command::new("redis-cli").args(["-p", port]).args(words).output();
        String::from_utf8_lossy(&output.expect("redis-cli is there").stdout).into_owned()
    };
    let mut said = String::new();
    for words in [
        &["ping"][..],
        &["set", "key", "a value"],
        &["get", "key"],
        &["eval", "local t = 0 for i = 1, 1000 do t = t + i end return t", "0"],
        &["rpush", "list", "a", "b", "c"],
        &["lrange", "list", "0", "-1"],
        &["debug", "sleep", "0.01"],
        &["dbsize"],
    ] {
        said += &ask(words);
    }
    let mut benchmark = std::process::Command::new("redis-benchmark");
    benchmark.args(["-p", port, "-n", "2000", "-c", "20", "-q", "-t", "set,get,incr,lpush,mset"]);
    let output = benchmark.output().expect("redis-benchmark is there");
    let lines = String::from_utf8_lossy(&output.stdout).matches("requests per second").count();
    said += &format!("{lines} lines of results, status {:?}\n", output.status.code());
    said += &ask(&["dbsize"]);
    server.signal(Signal::SIGTERM);
    let outcome = server.finish();
    let kept = poll_until(Duration::from_secs(1), || scratch.path().join("appendonlydir").exists().then_some(()));
    said += &format!("appended: {}\n", kept.is_some());
    (said, outcome)
}

#[test]
fn redis_server() {
    let (native, outcome) = redis(Case::start_native, "17801");
    assert_eq!(outcome.status.code(), Some(0), "{outcome}");
    assert!(native.contains("PONG") && native.contains("500500") && native.contains("5 lines"), "{native}");
    let (cell, outcome) = redis(Case::start_cell, "17802");
    assert_eq!((outcome.status.code(), cell), (Some(0), native), "{outcome}");
}

#[test]
fn numpy() {
    let text = "
import numpy as np
rng = np.random.default_rng(7)
a = rng.standard_normal((300, 300))
b = a @ a.T
w = np.linalg.eigvalsh(b)
x = np.linalg.solve(b + np.eye(300), np.ones(300))
print(b.shape, bool(w.min() > -1e-9), bool(np.allclose((b + np.eye(300)) @ x, 1)))
f = np.fft.ifft(np.fft.fft(a)).real
print(bool(np.allclose(f, a)), a.argmax(), np.sort(a.ravel())[:3].round(6))
np.save('a.npy', a)
m = np.load('a.npy', mmap_mode='r')
print(bool((m == a).all()), np.memmap('a.npy', dtype='u1', mode='r').size)
";
    Case::new("/usr/bin/python3").args(["-c", text]).limit(Duration::from_secs(120)).assert_same();
}

/// What Python's own libraries make of a process: event loops, pools of threads, sockets, children;
/// and multiprocessing by fork, which is refused.
#[test]
fn python_libraries() {
    let text = "
import asyncio, concurrent.futures, multiprocessing, os, select, signal, socket, tempfile, threading, time
async def main():
    process = await asyncio.create_subprocess_exec('echo', 'child', stdout=-1)
    print((await process.communicate())[0], process.returncode)
    server = await asyncio.start_server(lambda r, w: (w.write(b'hello'), w.close()), '127.0.0.1', 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    print(await reader.read())
    server.close()
    print(await asyncio.gather(*(asyncio.sleep(0.01, i) for i in range(5))))
asyncio.run(main())
with concurrent.futures.ThreadPoolExecutor(4) as pool:
    print(sum(pool.map(lambda x: x * x, range(1000))))
signal.signal(signal.SIGALRM, lambda *_: print('alarm'))
signal.setitimer(signal.ITIMER_REAL, 0.02)
time.sleep(0.1)
with tempfile.TemporaryDirectory() as d:
    open(d + '/f', 'w').write('x')
    print(os.listdir(d), os.stat(d + '/f').st_size)
a, b = socket.socketpair()
a.sendall(b'abc'); print(b.recv(3), select.select([b], [], [], 0))
print(os.sched_getaffinity(0) != set(), os.cpu_count() > 0, threading.active_count())
";
    Case::new("/usr/bin/python3").args(["-c", text]).assert_same();
    let refused = "
import multiprocessing
process = multiprocessing.Process(target=print, args=(1,))
try:
    process.start()
except OSError as error:
    print(error)
";
    let outcome = Case::new("/usr/bin/python3").args(["-c", refused]).cell();
    assert_eq!(outcome.out(), "[Errno 38] Function not implemented\n", "{outcome}");
    assert!(outcome.err().contains("fork"), "{outcome}");
}
