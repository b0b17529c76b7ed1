//! What only cells on bare cores have: cores and memory go and come back, Linux has nothing to say
//! about it, nothing interrupts a program, and a program can't reach Linux.
//!
//! Each module says what machine it needs. All of them take cores from Linux, so they are not for
//! the machine at hand: `scripts/test-partition` runs them in the emulated node.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::process::Command;
use std::time::Duration;
use tacet_tests::node::{Holdings, tacet};
use tacet_tests::scratch::Scratch;
use tacet_tests::{Case, Language, Node, Outcome, Running, SETTLE_LIMIT, build, platform, poll_until, process};

/// What Linux has said since a moment.
struct KernelLog {
    lines_before: usize,
}

impl KernelLog {
    fn now() -> KernelLog {
        assert!(platform::is_partition(), "these tests take cores out of Linux: use scripts/test-partition");
        KernelLog { lines_before: lines_of_log().len() }
    }

    /// Cores going and coming, and one notice of a write to a register, are all that it said.
    fn assert_clean(&self) {
        let troubles = ["stall", "warning", "bug:", "call trace", "oops", "lockup", "hung", "unexpected", "nmi"];
        let lines = lines_of_log().split_off(self.lines_before);
        let is_trouble = |line: &&String| {
            let line = line.to_lowercase();
            troubles.iter().any(|trouble| line.contains(trouble))
        };
        let found: Vec<&String> = lines.iter().filter(is_trouble).collect();
        assert!(found.is_empty(), "Linux says {found:#?} in {lines:#?}");
    }
}

fn lines_of_log() -> Vec<String> {
    let output = Command::new("dmesg").output().expect("there is a dmesg");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

fn online() -> String {
    fs::read_to_string("/sys/devices/system/cpu/online").expect("Linux says what is online").trim().to_owned()
}

/// The cores of each cell that reported statistics on standard error.
fn cores_of_cells(outcome: &Outcome) -> Vec<String> {
    let lines = outcome.err();
    let cores = |line: &str| Some(line.split_once(", cores ")?.1.split_once(", memory")?.0.to_owned());
    lines.lines().filter_map(cores).collect()
}

/// The numbers of a row of the statistics.
fn row(outcome: &Outcome, name: &str) -> Vec<u64> {
    let report = outcome.err();
    let line = report.lines().find(|line| line.split_whitespace().next() == Some(name));
    let words = line.unwrap_or_else(|| panic!("no row {name}: {outcome}")).split_whitespace().skip(1);
    words.map(|word| word.parse().unwrap_or_else(|_| panic!("{name} {word}: {outcome}"))).collect()
}

/// How often Linux has called functions on its processors by an interrupt.
fn function_calls() -> u64 {
    let table = fs::read_to_string("/proc/interrupts").expect("Linux counts interrupts");
    let line = table.lines().find_map(|line| line.trim_start().strip_prefix("CAL:")).expect("a row for calls");
    line.split_whitespace().map_while(|word| word.parse::<u64>().ok()).sum()
}

/// The APIC id of a processor that Linux has.
fn apic_id(cpu: u64) -> u64 {
    let text = fs::read_to_string("/proc/cpuinfo").expect("Linux tells of its processors");
    let number = |line: &str| line.rsplit(' ').next().and_then(|word| word.parse::<u64>().ok());
    let mut lines = text.lines().skip_while(|line| !line.starts_with("processor") || number(line) != Some(cpu));
    lines.find(|line| line.starts_with("apicid")).and_then(number).expect("it is online")
}

/// Has core 0 send an interrupt to the processor with that APIC id, in x2APIC mode.
fn send_interrupt(apic: u64, command: u64) {
    const COMMAND: u64 = 0x830;
    let registers = fs::File::options().write(true).open("/dev/cpu/0/msr").expect("the module is there, `tacet` runs");
    registers.write_all_at(&(apic << 32 | command).to_le_bytes(), COMMAND).expect("sent");
}

/// How often the program made a system call, by the statistics.
fn calls(outcome: &Outcome, name: &str) -> u64 {
    let report = outcome.err();
    let line = report.lines().find(|line| line.split_whitespace().next() == Some(name));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0)
}

/// A program that waits in a cell of one core.
fn waiting(node: &Node, scratch: &Scratch) -> Running {
    let case = Case::new(build(Language::C, "receive.c")).arg("default").options(["--cores", "1", "--memory", "64M"]);
    let running = case.start_cell(node, scratch);
    running.wait_for("ready\n");
    running
}

/// `tacet` refuses with status 125 and one line that holds all of `words`, and takes nothing.
fn refused(node: &Node, case: &Case, words: &[&str]) {
    let before = Holdings::now(node);
    let outcome = case.start_cell(node, &Scratch::new()).finish();
    before.assert_nothing_added();
    assert_eq!(outcome.status.code(), Some(125), "{outcome}");
    let message = outcome.err();
    assert!(message.starts_with("tacet: ") && message.trim_end().lines().count() == 1, "one line: {outcome}");
    words.iter().for_each(|word| assert!(message.contains(word), "{word}: {outcome}"));
}

/// On any machine, in both modes of its interrupt controllers.
mod any {
    use super::*;

    #[test]
    fn runs_and_gives_back() {
        let log = KernelLog::now();
        let (node, scratch) = (Node::take(), Scratch::new());
        let before = online();
        let running = waiting(&node, &scratch);
        assert_ne!(online(), before, "the core is not Linux's meanwhile");
        running.signal(Signal::SIGTERM);
        let outcome = running.finish();
        assert_eq!(outcome.shell_status(), 128 + 15, "{outcome}");
        assert_eq!(online(), before);
        drop(node);
        let compared = Case::new("/bin/sh").args(["-c", "echo text; exit 7"]).assert_same();
        assert_eq!(compared.native.shell_status(), 7);
        log.assert_clean();
    }

    #[test]
    fn several_cores() {
        let log = KernelLog::now();
        let case = Case::new(build(Language::C, "threads.c")).arg("mutex");
        case.options(platform::cores(2)).assert_same();
        log.assert_clean();
    }

    /// Clocks are read without a call. The program makes one for a thousand readings on purpose.
    #[test]
    fn the_time_needs_no_call() {
        let outcome = Case::new(build(Language::C, "clocks.c")).arg("vdso").options(["--stats"]).cell();
        assert!(outcome.out().ends_with("end\n") && !outcome.out().contains("FAILS"), "{outcome}");
        assert_eq!(calls(&outcome, "clock_gettime"), 100, "{outcome}");
        assert_eq!(calls(&outcome, "gettimeofday") + calls(&outcome, "time"), 0, "{outcome}");
    }

    /// Whether Linux can reach a program's memory by its number, libraries of messages read there.
    #[test]
    fn a_namespace_of_process_numbers() {
        let ask = |program: &str, args: [&str; 3]| Case::new(program).args(args).cell().out();
        let inode = ask("/usr/bin/stat", ["-L", "--format=pid:[%i]", "/proc/self/ns/pid"]);
        let linux = fs::read_link("/proc/self/ns/pid").expect("Linux tells");
        assert_eq!(inode, ask("/usr/bin/readlink", ["-v", "--", "/proc/self/ns/pid"]));
        assert!(inode.starts_with("pid:[") && inode.trim_end() != linux.to_str().expect("text"), "{inode}");
        let others = ask("/usr/bin/readlink", ["-v", "--", "/proc/self/ns/ipc"]);
        assert_eq!(Some(others.trim_end()), fs::read_link("/proc/self/ns/ipc").expect("Linux tells").to_str());
    }

    /// Without TCP between ranks of one node, which is said only where there are such ranks.
    #[test]
    fn transports_of_ucx() {
        let read = |job: &[(&str, &str)]| {
            let case = Case::new("/bin/cat").arg("/etc/ucx/ucx.conf");
            job.iter().fold(case, |case, (name, value)| case.env(name, value)).cell()
        };
        let job = |size| [("PMI_SIZE", size), ("PMI_RANK", "0"), ("MPI_LOCALRANKID", "0"), ("MPI_LOCALNRANKS", "1")];
        let says_so = |outcome: &Outcome| outcome.out().contains("UCX_TLS=^tcp\n");
        assert!(says_so(&read(&job("1"))), "{}", read(&job("1")));
        assert!(!says_so(&read(&job("2"))), "another rank is on another node");
        assert!(!says_so(&read(&[])), "no launcher");
    }

    #[test]
    fn a_crash() {
        let log = KernelLog::now();
        let case = Case::new(build(Language::C, "faults.c")).arg("null_write");
        assert_eq!(case.assert_same().native.shell_status(), 128 + 11);
        log.assert_clean();
    }
}

/// On a machine of two NUMA nodes with two cores each, of which core 0 stays with Linux.
mod two_nodes {
    use super::*;

    #[test]
    fn taken_and_given_back_50_times() {
        let log = KernelLog::now();
        let (node, scratch) = (Node::take(), Scratch::new());
        let before = Holdings::now(&node);
        for _ in 0..50 {
            let case = Case::new("/bin/true").options(["--cores", "3-3", "--memory", "64M"]);
            let outcome = case.start_cell(&node, &scratch).finish();
            assert_eq!(outcome.status.code(), Some(0), "{outcome}");
            assert!(outcome.stderr.is_empty(), "{outcome}");
        }
        before.assert_nothing_added();
        log.assert_clean();
    }

    /// By the kernel's own counters; the machine's are looked at in `silence.rs`. Meanwhile Linux
    /// changes its own code, and has every processor told of it.
    #[test]
    fn nothing_interrupts_a_computation() {
        let case = Case::new(build(Language::C, "quiet.c")).arg("10").options(["--stats", "--cores", "3-3"]);
        let (node, scratch) = (Node::take(), Scratch::new());
        let running = case.start_cell(&node, &scratch);
        running.wait_for("computing\n");
        let before = function_calls();
        for count in 0..30 {
            fs::write("/proc/sys/kernel/sched_schedstats", format!("{}", count % 2)).expect("root may");
            std::thread::sleep(Duration::from_millis(250));
        }
        let outcome = running.finish();
        assert!(function_calls() >= before + 30, "{before}, {}", function_calls());
        assert_eq!(outcome.out(), "computing\ncomputed\n", "{outcome}");
        for cause in ["involuntary", "timer", "kicks", "signals"] {
            assert!(row(&outcome, cause).iter().all(|count| *count == 0), "{cause}: {outcome}");
        }
    }

    /// Non-maskable interrupts that are not the cell's are survived and counted; of others the
    /// program sees nothing.
    #[test]
    fn interrupts_of_strangers() {
        const NON_MASKABLE: u64 = 0x4400;
        const FIXED: u64 = 0x4077;
        let log = KernelLog::now();
        let (node, scratch) = (Node::take(), Scratch::new());
        let apic = apic_id(3);
        let options = ["--stats", "--cores", "3-3", "--memory", "64M"];
        let running = Case::new(build(Language::C, "receive.c")).arg("compute").options(options);
        let running = running.start_cell(&node, &scratch);
        running.wait_for("ready\n");
        for _ in 0..3 {
            for command in [FIXED, NON_MASKABLE] {
                send_interrupt(apic, command);
                // Two at the same moment may be one.
                std::thread::sleep(Duration::from_millis(200));
            }
        }
        running.signal(Signal::SIGTERM);
        let outcome = running.finish();
        assert_eq!(outcome.out(), "ready\ngot SIGTERM\n", "{outcome}");
        assert_eq!(outcome.status.code(), Some(3), "{outcome}");
        assert_eq!(row(&outcome, "involuntary"), [3], "{outcome}");
        log.assert_clean();
    }

    /// The keeper gives everything back, without another `tacet`.
    #[test]
    fn the_proxy_is_killed() {
        let log = KernelLog::now();
        let (node, scratch) = (Node::take(), Scratch::new());
        let before = Holdings::now(&node);
        let running = waiting(&node, &scratch);
        running.signal(Signal::SIGKILL);
        let (outcome, strays) = running.finish_with_strays();
        assert!(strays.is_empty(), "{outcome}\n{strays:#?}");
        before.assert_nothing_added();
        log.assert_clean();
    }

    /// The next `tacet` gives everything back.
    #[test]
    fn proxy_and_keeper_are_killed() {
        let log = KernelLog::now();
        let (node, scratch) = (Node::take(), Scratch::new());
        let before = Holdings::now(&node);
        let running = waiting(&node, &scratch);
        let proxy = running.pid();
        let keeper = || process::family(proxy).into_iter().find(|process| process.name == "tacet-keeper");
        let keeper = poll_until(SETTLE_LIMIT, keeper).expect("a keeper");
        for pid in [keeper.pid, proxy] {
            kill(Pid::from_raw(pid), Signal::SIGKILL).expect("both are there");
        }
        running.finish_with_strays();
        let next = Case::new("/bin/true").start_cell(&node, &scratch).finish();
        assert_eq!(next.status.code(), Some(0), "{next}");
        before.assert_nothing_added();
        log.assert_clean();
    }

    #[test]
    fn core_zero_stays_with_linux() {
        let node = Node::take();
        for cores in ["0,0", "0,1", "0-3"] {
            refused(&node, &Case::new("/bin/true").options(["--cores", cores]), &["core 0", "does not let go"]);
        }
        refused(&node, &Case::new("/bin/true").options(["--cores", "4"]), &["--cores 4", "only 3", "1-3"]);
    }

    #[test]
    fn more_memory_than_a_numa_node_has() {
        let case = Case::new("/bin/true").options(["--cores", "3-3", "--memory", "3G"]);
        refused(&Node::take(), &case, &["--memory 3 GiB", "ask for less"]);
        let case = Case::new("/bin/true").options(["--cores", "3-3", "--memory", "999T"]);
        refused(&Node::take(), &case, &["ask for less"]);
    }

    #[test]
    fn only_root_may() {
        // A copy, because the build may lie where only its owner gets.
        let text = "folder=$(mktemp -d) && chmod 755 $folder && cp \"$1\" $folder/tacet || exit 99
            setpriv --reuid 65534 --regid 65534 --clear-groups $folder/tacet run --platform partition -- /bin/true
            status=$?; rm -r $folder; exit $status";
        let outcome = Case::script(text).arg(tacet()).native();
        assert_eq!(outcome.status.code(), Some(125), "{outcome}");
        assert!(outcome.err().contains("only root may"), "{outcome}");
    }

    /// What one program gets of the other's memory, and what it does to it, is what it would be on Linux.
    #[test]
    fn memory_of_another_cell() {
        let program = build(Language::C, "peer.c");
        let case = |how: &str, core: &str| Case::new(&program).arg(how).options(["--cores", core, "--memory", "256M"]);
        let (serve, reach) = (case("serve", "1-1").open_input(), case("reach", "3-3"));
        let node = Node::take();
        let [native, cells] = [true, false].map(|is_native| {
            let scratch = Scratch::new();
            let start = |case: &Case| match is_native {
                true => case.start_native(&node, &scratch),
                false => case.start_cell(&node, &scratch),
            };
            let mut server = start(&serve);
            server.wait_for("ready\n");
            let reached = start(&reach).finish();
            writeln!(server.stdin()).expect("it waits");
            let served = server.finish();
            assert!(served.out().ends_with("end\n") && !served.out().contains("FAILS"), "{served}\n{reached}");
            assert!(reached.out().ends_with("end\n") && !reached.out().contains("FAILS"), "{reached}");
            reached
        });
        assert_eq!((cells.out(), cells.err()), (native.out(), native.err()), "{native}\n{cells}");
    }

    #[test]
    fn two_ranks_on_different_numa_nodes() {
        let program = build(Language::Mpi, "mpi_pingpong.c");
        let mut words = Vec::new();
        for core in ["1-1", "3-3"] {
            words.extend(["-np".into(), "1".into()]);
            words.extend(platform::tacet_run(&["--cores", core, "--memory", "256M", "--stats"]));
            words.extend([program.clone().into_os_string(), ":".into()]);
        }
        words.pop();
        let outcome = Case::new("mpirun.mpich").args(words).native();
        assert_eq!(outcome.status.code(), Some(0), "{outcome}");
        assert!(outcome.out().contains("4194304 bytes: 0 wrong"), "{outcome}");
        assert_eq!(BTreeSet::from_iter(cores_of_cells(&outcome)), ["1", "3"].map(str::to_owned).into(), "{outcome}");
    }
}

/// On a machine of five cores.
mod five_cores {
    use super::*;

    #[test]
    fn four_ranks_share_the_node() {
        let log = KernelLog::now();
        let program = build(Language::Mpi, "mpi_ring.c");
        let launcher = ["mpirun.mpich", "-np", "4"];
        let native = Case::new(&program).launcher(launcher).native();
        let mut words = platform::tacet_run(&["--memory", "256M", "--stats"]);
        // Without --cores: each rank takes its share.
        let cores = words.iter().position(|word| word == "--cores");
        cores.into_iter().for_each(|at| drop(words.drain(at..at + 2)));
        let cells = Case::new("mpirun.mpich").args(["-np", "4"]).args(words).arg(program).native();
        assert_eq!((cells.status.code(), cells.out()), (Some(0), native.out()), "{native}\n{cells}");
        let cores = BTreeSet::from_iter(cores_of_cells(&cells));
        assert_eq!(cores, ["1", "2", "3", "4"].map(str::to_owned).into(), "{cells}");
        log.assert_clean();
    }

    #[test]
    fn no_core_is_left_for_a_fifth_cell() {
        let (node, scratch) = (Node::take(), Scratch::new());
        let cells: Vec<Running> = (0..4).map(|_| waiting(&node, &scratch)).collect();
        assert_eq!(online(), "0");
        refused(&node, &Case::new("/bin/true"), &["no core is left", "core 0 stays", "1-4"]);
        cells.iter().for_each(|cell| cell.signal(Signal::SIGTERM));
        for cell in cells {
            let outcome = cell.finish();
            assert_eq!(outcome.shell_status(), 128 + 15, "{outcome}");
        }
        assert_eq!(online(), "0-4");
    }
}

/// A program that reaches for Linux fares as it does there.
mod out_of_reach {
    tacet_tests::sections!("reach.c": privileged, addresses, jumps, upper_half, own, by_call);
}
