//! The commands about the node: `doctor`, `ps`, `top`, `reclaim`, by what they print and how they
//! end while cells run, after cells were killed, and on bad input.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use tacet_tests::node::Holdings;
use tacet_tests::scratch::Scratch;
use tacet_tests::{Case, Language, Node, Outcome, Running, SETTLE_LIMIT, build, node, poll_until, process};

fn tacet(arguments: &[&str]) -> Case {
    Case::new(node::tacet()).args(arguments)
}

/// Runs one of the commands, which must succeed without a word on standard error.
fn said(node: &Node, scratch: &Scratch, arguments: &[&str]) -> String {
    let outcome = tacet(arguments).start_native(node, scratch).finish();
    assert_eq!(outcome.status.code(), Some(0), "{outcome}");
    assert!(outcome.stderr.is_empty(), "{outcome}");
    outcome.out()
}

/// The words of the line of a table that begins with `first`.
fn line<'t>(table: &'t str, first: &str) -> Option<Vec<&'t str>> {
    let mut lines = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    lines.find(|words| words.first() == Some(&first))
}

/// A cell whose program waits, once `tacet ps` says that it runs.
fn waiting_cell(node: &Node, scratch: &Scratch) -> Running {
    let case = Case::new(build(Language::C, "receive.c")).arg("pause").options(["--cores", "1", "--memory", "64M"]);
    let running = case.open_input().start_cell(node, scratch);
    running.wait_for("ready\n");
    let cell = running.pid().to_string();
    let is_noted = || {
        let table = said(node, scratch, &["ps"]);
        line(&table, &cell).is_some_and(|words| words.contains(&"running")).then_some(())
    };
    assert!(poll_until(SETTLE_LIMIT, is_noted).is_some(), "{}", said(node, scratch, &["ps"]));
    running
}

fn end(running: Running) -> Outcome {
    running.signal(Signal::SIGTERM);
    running.finish()
}

#[test]
fn ps_lists_a_cell_while_it_runs() {
    let (node, scratch) = (Node::take(), Scratch::new());
    let running = waiting_cell(&node, &scratch);
    let cell = running.pid().to_string();
    let table = said(&node, &scratch, &["ps"]);
    assert!(table.starts_with("CELL "), "{table}");
    let words = line(&table, &cell).expect("it is there");
    for word in ["process", "running", "64", "MiB"] {
        assert!(words.contains(&word), "{word}: {table}");
    }
    assert!(words.last().is_some_and(|program| program.ends_with("/receive")), "{table}");
    let json = said(&node, &scratch, &["ps", "--json"]);
    for text in [&format!("\"cell\": {cell}"), "\"memory_bytes\": 67108864", "\"state\": \"running\""] {
        assert!(json.contains(text), "{text}: {json}");
    }
    end(running);
    assert!(line(&said(&node, &scratch, &["ps"]), &cell).is_none(), "it has ended");
}

#[test]
fn top_counts_what_a_cell_does() {
    let (node, scratch) = (Node::take(), Scratch::new());
    // Calls to Linux without an end.
    let text = "while :; do : > /dev/null; done";
    let busy = Case::new("/bin/sh").args(["-c", text]).options(["--cores", "1"]).start_cell(&node, &scratch);
    let cell = busy.pid().to_string();
    let counts = || {
        let table = said(&node, &scratch, &["top", "--once", "--interval", "0.2", "--cores"]);
        // CELL RANK PLATFORM CORES STATE LOCAL/s FORW/s ...
        let forwarded = line(&table, &cell).and_then(|words| words.get(6).map(|rate| (*rate).to_owned()));
        forwarded.is_some_and(|rate| rate != "0" && rate != "-").then_some(table)
    };
    let table = poll_until(SETTLE_LIMIT, counts).expect("the cell is busy");
    assert!(table.starts_with("CELL ") && !table.contains('\x1b'), "plain text: {table}");
    assert!(table.lines().count() >= 3, "a line for the core: {table}");
    let two = said(&node, &scratch, &["top", "--count", "2", "--interval", "0.1"]);
    assert_eq!(two.lines().filter(|line| line.starts_with("CELL ")).count(), 2, "{two}");
    end(busy);
}

#[test]
fn top_on_a_terminal_ends_with_q_and_leaves_it_as_it_was() {
    let (node, scratch) = (Node::take(), Scratch::new());
    let running = waiting_cell(&node, &scratch);
    let line = format!("{} top --interval 0.1; stty -a", node::tacet().display());
    let case = Case::new("script").args(["-qec", &line, "/dev/null"]).open_input();
    let mut top = case.start_native(&node, &scratch);
    top.wait_for("q ends");
    top.wait_for("running");
    top.stdin().write_all(b"q").expect("script reads keys");
    top.wait_for("\x1b[?25h");
    let outcome = top.finish();
    assert_eq!(outcome.status.code(), Some(0), "{outcome}");
    let text = outcome.out();
    for setting in ["isig", "icanon", "echo"] {
        assert!(text.split_whitespace().any(|word| word == setting), "{setting}: {outcome}");
    }
    end(running);
}

/// Proxy and keeper are killed: what is left is shown as dead, and given back when asked for.
#[test]
fn reclaim_after_proxy_and_keeper_were_killed() {
    let (node, scratch) = (Node::take(), Scratch::new());
    let before = Holdings::now(&node);
    let running = waiting_cell(&node, &scratch);
    let (proxy, cell) = (running.pid(), running.pid().to_string());
    // It has its name a moment after its start.
    let keeper = || process::family(proxy).into_iter().find(|process| process.name == "tacet-keeper");
    let keeper = poll_until(SETTLE_LIMIT, keeper).expect("a keeper");
    for pid in [keeper.pid, proxy] {
        kill(Pid::from_raw(pid), Signal::SIGKILL).expect("both are there");
    }
    running.finish();
    let dead = said(&node, &scratch, &["ps"]);
    assert!(line(&dead, &cell).is_some_and(|words| words.contains(&"dead")), "{dead}");
    assert!(dead.contains("`tacet reclaim`"), "{dead}");
    let rehearsed = said(&node, &scratch, &["reclaim", "--dry-run"]);
    assert!(rehearsed.contains(&format!("would give back cell {cell} ")), "{rehearsed}");
    let done = said(&node, &scratch, &["reclaim"]);
    assert!(done.contains(&format!("gave back cell {cell} (process, ")), "{done}");
    before.assert_nothing_added();
    assert!(!said(&node, &scratch, &["reclaim"]).contains(&cell), "once is enough");
}

#[test]
fn doctor_examines_this_node() {
    let (node, scratch) = (Node::take(), Scratch::new());
    let before = Holdings::now(&node);
    let text = said(&node, &scratch, &["doctor"]);
    for row in ["partition  ", "kvm  ", "process    yes", "--platform auto takes ", "processors ", "memory ", "root "] {
        assert!(text.contains(row), "{row}: {text}");
    }
    for check in
        ["lockdown", "CPU hotplug", "APIC mode", "MSR access", "/dev/mem", "io_uring", "NUMA node 0", "/dev/kvm"]
    {
        assert!(text.lines().any(|line| line.contains(&format!(" {check} "))), "{check}: {text}");
    }
    let lines: Vec<&str> = text.lines().collect();
    for (number, line) in lines.iter().enumerate().filter(|(_, line)| line.starts_with("  missing  ")) {
        let rest = lines[number + 1..].iter().take_while(|line| line.starts_with("       "));
        assert!(rest.map(|line| line.trim_start()).any(|line| line.starts_with("-> ")), "a cure for {line}: {text}");
    }
    before.assert_nothing_added();
}

/// Python's parser is not ours.
#[test]
fn doctor_speaks_json() {
    let (node, scratch) = (Node::take(), Scratch::new());
    let json = said(&node, &scratch, &["doctor", "--json"]);
    let program = "import json, sys; report = json.load(sys.stdin); \
        checks = sum((platform['checks'] for platform in report['platforms']), report['common']); \
        assert all(check['verdict'] in ('ok', 'note', 'missing', 'unknown') for check in checks); \
        assert all(check['cure'] for check in checks if check['verdict'] == 'missing'); \
        print(report['can_run'], *(platform['platform'] for platform in report['platforms']))";
    let outcome = Case::new("python3").args(["-c", program]).input(json).start_native(&node, &scratch).finish();
    assert_eq!(outcome.out(), "True partition kvm process\n", "{outcome}");
}

#[test]
fn doctor_needs_no_privileges() {
    // A copy, because the build may lie where only its owner gets.
    let text = "folder=$(mktemp -d) && chmod 755 $folder && cp \"$1\" $folder/tacet || exit 99
        [ $(id -u) != 0 ] || user='setpriv --reuid 65534 --regid 65534 --clear-groups'
        XDG_RUNTIME_DIR=/none $user $folder/tacet doctor
        status=$?; rm -r $folder; exit $status";
    let outcome = Case::script(text).arg(node::tacet()).native();
    assert_eq!(outcome.status.code(), Some(0), "{outcome}");
    for words in ["no, user ", "-> sudo tacet run", "/tmp/tacet-", "process    yes"] {
        assert!(outcome.out().contains(words), "{words}: {outcome}");
    }
}

fn refused(case: &Case, status: i32, words: &[&str]) {
    let outcome = case.native();
    assert_eq!(outcome.status.code(), Some(status), "{outcome}");
    let message = outcome.err();
    assert!(message.starts_with("tacet: ") && message.trim_end().lines().count() == 1, "one line: {outcome}");
    words.iter().for_each(|word| assert!(message.contains(word), "{word}: {outcome}"));
}

#[test]
fn wrong_usage() {
    for (arguments, words) in [
        (&["doctor", "--no-such-option"][..], ["--no-such-option", "`tacet doctor --help`"]),
        (&["ps", "7"], ["'7'", "`tacet ps --help`"]),
        (&["top", "--interval", "soon"], ["soon", "0.1 to 3600"]),
        (&["top", "--once", "--count", "3"], ["--once", "--count"]),
        (&["top", "--count", "0"], ["--count", "`tacet top --help`"]),
        (&["reclaim", "--force"], ["--force", "`tacet reclaim --help`"]),
    ] {
        refused(&tacet(arguments), 2, &words);
    }
}

#[test]
fn configurations_that_can_not_be_used() {
    let scratch = Scratch::new();
    let (text, noise) = (b"[partition]\nauto = true\nmanual = 1\n".to_vec(), vec![0xff; 64]);
    let (wrong, noise) = (scratch.file("wrong.toml", text), scratch.file("noise.toml", noise));
    for (path, words) in [
        (wrong.display().to_string(), ["line 3", "`manual`"]),
        (noise.display().to_string(), ["noise.toml", "UTF-8"]),
        ("/no/such/file".to_owned(), ["/no/such/file", "No such file"]),
        ("/".to_owned(), ["configuration /", "directory"]),
    ] {
        refused(&tacet(&["doctor", "--config", &path]), 125, &words);
    }
    let right = scratch.file("right.toml", "[partition]\nauto = true\n");
    let outcome = tacet(&["doctor", "--config", &right.display().to_string()]).native();
    assert_eq!(outcome.status.code(), Some(0), "{outcome}");
    assert!(outcome.out().contains("without being asked for by name"), "{outcome}");
}

#[test]
fn output_that_can_not_be_written() {
    for command in ["doctor", "doctor --json", "ps", "ps --json", "top --once --interval 0.1", "reclaim --dry-run"] {
        let case = Case::script(&format!("\"$1\" {command} > /dev/full")).arg(node::tacet());
        refused(&case, 125, &["standard output", "No space left"]);
    }
}

/// A reader that goes away ends the writer, without a word.
#[test]
fn a_reader_that_has_seen_enough() {
    let text = "\"$1\" top --interval 0.1 | head -1 > /dev/null; echo ${PIPESTATUS[0]}";
    let outcome = Case::script(text).arg(node::tacet()).native();
    assert_eq!(outcome.out(), format!("{}\n", 128 + Signal::SIGPIPE as i32), "{outcome}");
    assert!(outcome.stderr.is_empty(), "{outcome}");
}

#[test]
fn help_tells_statuses_and_words() {
    for (command, words) in [
        ("doctor", ["Exit status", "--json", "--config"]),
        ("ps", ["--json", "dead", "TOUCHED"]),
        ("top", ["--once", "--interval", "INVOL"]),
        ("reclaim", ["Exit status", "--dry-run", "keeper"]),
    ] {
        let outcome = tacet(&[command, "--help"]).native();
        assert_eq!(outcome.status.code(), Some(0), "{outcome}");
        words.iter().for_each(|word| assert!(outcome.out().contains(word), "{word}: {outcome}"));
    }
    let commands = tacet(&["--help"]).native().out();
    ["run", "doctor", "ps", "top", "reclaim"].iter().for_each(|name| assert!(commands.contains(name), "{commands}"));
}

/// A cell that writes over its own control page is shown as such, and hurts nobody.
#[test]
fn a_corrupt_cell_is_shown_as_such() {
    let (node, scratch) = (Node::take(), Scratch::new());
    let running = waiting_cell(&node, &scratch);
    let cell = running.pid().to_string();
    let folder = format!("/proc/{cell}/fd");
    let is_memory = |path: &PathBuf| {
        fs::read_link(path).is_ok_and(|target| target.to_string_lossy().starts_with("/memfd:tacet-cell"))
    };
    let mut files = fs::read_dir(folder).expect("ours").filter_map(|entry| Some(entry.ok()?.path()));
    let memory = files.find(is_memory).expect("the proxy holds the memory");
    let file = fs::File::options().read(true).write(true).open(&memory).expect("ours");
    // Behind magic and revision: state, end, and what lies where.
    let (mut original, at) = ([0; 64], 12);
    file.read_exact_at(&mut original, at).expect("ours");
    file.write_all_at(&[0xa5; 64], at).expect("ours");
    let table = said(&node, &scratch, &["ps"]);
    assert!(line(&table, &cell).is_some_and(|words| words.contains(&"corrupt")), "{table}");
    assert!(table.contains(&format!("cell {cell}: its control page is corrupt")), "{table}");
    let top = said(&node, &scratch, &["top", "--once", "--interval", "0.1", "--cores"]);
    assert!(line(&top, &cell).is_some_and(|words| words.contains(&"corrupt")), "{top}");
    file.write_all_at(&original, at).expect("ours");
    end(running);
}
