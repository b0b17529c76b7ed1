//! Tests that really take cores from Linux, with `scripts/node`:
//!
//! ```text
//! cargo test -p proxy --no-run
//! scripts/node target/debug/deps/tacet-* --ignored --test-threads=1 bare::node_tests::
//! ```
//!
//! One test at a time, because all use the one machine. What takes several processes, or a keeper,
//! starts this program again, as a [`taker`].

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;

use super::mapping::{Access, Mapping};
use super::*;
use crate::node::huge::Pool;
use crate::node::low_memory;
use crate::node::topology::Topology;
use crate::reserve::ledger::Ledger;
use crate::reserve::processes::Process;
use crate::reserve::{Circumstances, Plan};

/// For what takes milliseconds on a machine: this one is emulated.
const LIMIT: Duration = Duration::from_secs(60);
/// What is at once on a machine takes a while on an emulated one.
const AT_ONCE: Duration = Duration::from_millis(100);
const ROOT: &str = "/";

/// On any other machine these tests would take cores from those who use them.
fn only_in_the_node() {
    assert!(Path::new("/run/node/run").exists(), "this test takes cores from Linux: run it with scripts/node");
}

fn band() -> &'static PrivateBand {
    static BAND: OnceLock<PrivateBand> = OnceLock::new();
    BAND.get_or_init(|| PrivateBand::establish().expect("room"))
}

/// What `tacet run` does before it boots.
fn take(options: &[&str]) -> Result<(Plan, Bare, Lease), Error> {
    let words = [&["tacet", "run", "--platform", "partition"], options, &["x"]].concat();
    let crate::cli::Command::Run(options) = crate::cli::Cli::parse_from(words).command else { panic!("not a run") };
    let crate::reserve::Reserved { plan, mut lease, .. } =
        crate::reserve::reserve(&options, &Circumstances::read()?, Path::new("/x"))?;
    let wanted = Wanted { cores: &plan.cores.cell, numa: plan.numa_node(), bytes: plan.memory };
    let bare = Bare::take(&wanted, &mut lease, band())?;
    Ok((plan, bare, lease))
}

/// All that a cell changes.
#[derive(Debug, PartialEq, Eq)]
struct Machine {
    online: String,
    pools: BTreeMap<u32, Pool>,
    mounts: Vec<String>,
    cells: Vec<String>,
    low: Vec<Vec<u8>>,
}

impl Machine {
    fn look() -> Self {
        let text = |path: &str| fs::read_to_string(path).expect("readable");
        let topology = Topology::read_all(Path::new(ROOT)).expect("readable");
        let pool = |numa: u32| (numa, Pool::read(Path::new(ROOT), numa).expect("readable"));
        let files = fs::read_dir("/run/tacet").into_iter().flatten().flatten();
        let low = low_memory::ranges(Path::new(ROOT)).expect("readable").into_iter().map(|range| {
            let file = File::open("/dev/mem").expect("there");
            let (start, end) = (range.start.next_multiple_of(4096), range.end / 4096 * 4096);
            let memory = Mapping::of_file(&file, start, (end - start) as usize, Access::Read).expect("mapped");
            let mut content = vec![0; memory.len()];
            memory.read(0, &mut content);
            content
        });
        Machine {
            online: text("/sys/devices/system/cpu/online"),
            pools: topology.numa_ids().iter().map(pool).collect(),
            mounts: text("/proc/self/mounts").lines().filter(|line| line.contains("huge")).map(str::to_owned).collect(),
            cells: files
                .map(|file| file.file_name().to_string_lossy().into_owned())
                .filter(|n| n.contains("cell"))
                .collect(),
            low: low.collect(),
        }
    }

    /// That everything is as it was.
    fn assert_same(&self, when: &str) {
        let now = Machine::look();
        for (range, (before, now)) in self.low.iter().zip(&now.low).enumerate() {
            let differs = before.iter().zip(now).position(|(before, now)| before != now);
            assert_eq!(differs, None, "offset in range {range} of low memory, {when}");
        }
        let Machine { online, pools, mounts, cells, .. } = self;
        assert_eq!((online, pools, mounts, cells), (&now.online, &now.pools, &now.mounts, &now.cells), "{when}");
    }
}

/// What Linux has complained of since it started; not that registers are written.
fn complaints() -> Vec<String> {
    let output = Command::new("dmesg").arg("--level=emerg,alert,crit,err,warn").output().expect("dmesg is there");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().filter(|line| !line.contains("msr: ")).map(str::to_owned).collect()
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < LIMIT, "{what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// The test program as a cell that is taken and holds what it has until its standard input ends.
/// Says "took CORES" or "refused WHY".
struct Taker {
    child: Child,
    says: BufReader<ChildStdout>,
}

impl Taker {
    fn start(options: &str, rank: Option<(u32, u32)>) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("known"));
        command.args(["--ignored", "--exact", "--nocapture", "--test-threads=1"]);
        command.arg("reserve::bare::node_tests::taker").env("TACET_TAKER", options);
        if let Some((local, size)) = rank {
            command.env("MPI_LOCALRANKID", local.to_string()).env("MPI_LOCALNRANKS", size.to_string());
            // Ranks need the low pages one after the other.
            command.env("TACET_STOPS", "1");
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("this program");
        let says = BufReader::new(child.stdout.take().expect("piped"));
        Taker { child, says }
    }

    /// What became of it.
    fn outcome(&mut self) -> Result<String, String> {
        let mut lines = (&mut self.says).lines().map_while(Result::ok);
        // The line starts with what the test harness says of the test.
        let of = |line: &str, word: &str| line.split_once(word).map(|(_, rest)| rest.to_owned());
        let told = lines.find_map(|line| of(&line, "took ").map(Ok).or_else(|| of(&line, "refused ").map(Err)));
        told.expect("a word")
    }

    fn end(mut self) {
        drop(self.child.stdin.take());
        self.child.wait().expect("ours");
    }

    /// The copy that takes, if it is there already.
    fn process(&self) -> Option<u32> {
        children(self.child.id()).first().copied()
    }

    /// Its keeper, if it is there already.
    fn keeper(&self) -> Option<u32> {
        let is_keeper =
            |pid: &u32| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|n| n.trim() == "tacet-keeper");
        children(self.process()?).into_iter().find(is_keeper)
    }

    fn kill(mut self) {
        // Stopped first, so that the copy is not made between the look and the end.
        let stat = format!("/proc/{}/stat", self.child.id());
        let pid = nix::unistd::Pid::from_raw(self.child.id().cast_signed());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGSTOP).expect("ours");
        let stands_still = |text: String| text.contains(") T ") || text.contains(") Z ");
        until("it stands still", || fs::read_to_string(&stat).is_ok_and(stands_still));
        let process = self.process();
        self.child.kill().expect("ours");
        self.child.wait().expect("ours");
        if let Some(process) = process.and_then(|pid| Process::read(pid).ok()) {
            until("it is dead", || !process.is_alive());
        }
    }
}

fn children(pid: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let of_thread = |thread: fs::DirEntry| fs::read_to_string(thread.path().join("children")).unwrap_or_default();
    threads
        .flat_map(|thread| {
            of_thread(thread).split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<u32>>()
        })
        .collect()
}

/// Not a test: see [`Taker`].
#[test]
#[ignore = "a part of others"]
fn taker() {
    let Ok(options) = std::env::var("TACET_TAKER") else { return };
    only_in_the_node();
    if let Ok(group) = std::env::var("TACET_GROUP") {
        fs::write(Path::new(&group).join("cgroup.procs"), "0").expect("moved");
    }
    let parent = std::process::id();
    // The test harness has threads of its own; a copy of this one has not.
    // SAFETY: the other threads wait for this one, and hold no locks meanwhile.
    match unsafe { libc::fork() } {
        0 => {
            // SAFETY: a plain number.
            unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
            if std::os::unix::process::parent_id() != parent {
                crate::sys::exit_at_once(0)
            }
            be_taker(&options);
            crate::sys::exit_at_once(0)
        }
        child => drop(crate::sys::wait_for(child)),
    }
}

fn be_taker(options: &str) {
    crate::signals::hold().expect("held back");
    match take(&options.split_whitespace().collect::<Vec<_>>()) {
        Err(error) => println!("refused {error}"),
        Ok((plan, bare, lease)) => {
            let mut low = bare.low().expect("there");
            low.write(0, COUNTS);
            for index in 0..bare.apic_ids().len() {
                low.write(0x100, &[0; 4]);
                bare.start_core(index, (low.physical() >> 12) as u8).expect("started");
                until("the core counts", || counter(&low) > 0);
            }
            if std::env::var_os("TACET_STOPS").is_some() {
                // QEMU keeps a command to start for after a reset that comes before it was looked at.
                thread::sleep(3 * AT_ONCE);
                (0..bare.apic_ids().len()).for_each(|index| bare.stop_core(index).expect("stopped"));
                thread::sleep(AT_ONCE);
                low.done().expect("put back");
            }
            // Otherwise the cores count on, until they are brought back.
            println!("took {}", plan.cores.cell);
            let _ = std::io::stdin().read(&mut [0]);
            drop(bare);
            drop(lease);
        }
    }
}

/// 16-bit code that counts in its own page, at 0x100, for ever:
/// `1: incl %cs:0x100; jmp 1b`.
const COUNTS: &[u8] = &[0x66, 0x2e, 0xff, 0x06, 0x00, 0x01, 0xeb, 0xf8];

fn counter(low: &LowPages) -> u32 {
    let mut bytes = [0; 4];
    low.read(0x100, &mut bytes);
    u32::from_le_bytes(bytes)
}

#[test]
#[ignore = "takes cores from Linux: in scripts/node only"]
fn a_core_goes_and_comes_back_fifty_times() {
    only_in_the_node();
    let (before, quiet) = (Machine::look(), complaints());
    for _ in 0..50 {
        cores::take_offline(Path::new(ROOT), 3).expect("offline");
        cores::bring_online(Path::new(ROOT), 3).expect("online");
    }
    before.assert_same("after fifty times");
    assert_eq!(complaints(), quiet);
    let line = cores::take_offline(Path::new(ROOT), 0).expect_err("core 0").to_string();
    assert!(line.starts_with("core 0 does not go offline"), "{line}");
}

#[test]
#[ignore = "takes cores from Linux: in scripts/node only"]
fn everything_is_taken_and_given_back() {
    only_in_the_node();
    let (before, quiet) = (Machine::look(), complaints());
    for round in 0..5 {
        let (plan, bare, lease) = take(&["--cores", "2", "--memory", "64M"]).expect("possible");
        assert_eq!((plan.cores.cell.len(), bare.len(), bare.chunks().len()), (2, 64 << 20, 32));
        let online = fs::read_to_string("/sys/devices/system/cpu/online").expect("readable");
        assert!(plan.cores.cell.and(&online.parse().expect("a list")).is_empty(), "{online}");
        let mut sorted = bare.chunks()[8..].to_vec();
        sorted.sort_unstable();
        assert_eq!(sorted, bare.chunks()[8..], "ascending, but for the first");
        assert!(bare.chunks().iter().all(|chunk| chunk.is_multiple_of(CHUNK) && *chunk > 0));
        let node = format!("N{}=", plan.numa_node());
        let maps = fs::read_to_string("/proc/self/numa_maps").expect("readable");
        let ours: Vec<&str> = maps.lines().filter(|line| line.contains("/run/tacet/huge/cell-")).collect();
        assert!(!ours.is_empty() && ours.iter().all(|line| line.contains(&node)), "{ours:?}");
        drop((bare, lease));
        before.assert_same(&format!("after round {round}"));
    }
    assert_eq!(complaints(), quiet);
}

#[test]
#[ignore = "takes cores from Linux: in scripts/node only"]
fn a_core_is_started_and_stopped() {
    only_in_the_node();
    let before = Machine::look();
    let (_, bare, lease) = take(&["--cores", "2", "--memory", "32M"]).expect("possible");
    {
        let mut low = bare.low().expect("there");
        low.write(0, COUNTS);
        assert_eq!(counter(&low), 0);
        for index in [0, 1] {
            let start = counter(&low);
            bare.start_core(index, (low.physical() >> 12) as u8).expect("sent");
            until("the core counts", || counter(&low) > start + 100_000);
            // QEMU keeps a command to start for after a reset that comes before it was looked at.
            thread::sleep(3 * AT_ONCE);
            bare.stop_core(index).expect("sent");
            thread::sleep(AT_ONCE);
            let stopped = counter(&low);
            thread::sleep(Duration::from_millis(200));
            assert_eq!(counter(&low), stopped, "it stands still");
        }
        assert!(bare.start_core(2, 1).is_err() && bare.interrupt(2).is_err() && bare.stop_core(2).is_err());
        low.write(0x100, &[0; 4]);
        low.done().expect("put back");
        // And once more, to be given back while it runs.
        let mut low = bare.low().expect("there again");
        low.write(0, COUNTS);
        bare.start_core(1, (low.physical() >> 12) as u8).expect("sent");
        until("the core counts", || counter(&low) > 0);
    }
    drop((bare, lease));
    before.assert_same("after starts and stops");
}

/// Waits for a non-maskable interrupt: an interrupt table in the second page, a word at 0x100 when
/// ready and one at 0x104 when called.
#[rustfmt::skip]
const ANSWERS: &[u8] = &[
    0x2e, 0x66, 0x0f, 0x01, 0x1e, 0x80, 0x00,       // lidtl %cs:0x80
    0x8c, 0xc8, 0x8e, 0xd0, 0xbc, 0x00, 0x08,       // movw %cs, %ax; movw %ax, %ss; movw $0x800, %sp
    0x2e, 0xc7, 0x06, 0x00, 0x01, 0x01, 0x00,       // movw $1, %cs:0x100
    0xf4, 0xeb, 0xfd,                               // 1: hlt; jmp 1b
];
/// `incw %cs:0x104; iretw`
const HANDLER: &[u8] = &[0x2e, 0xff, 0x06, 0x04, 0x01, 0xcf];

#[test]
#[ignore = "takes cores from Linux: in scripts/node only"]
fn a_core_is_called() {
    only_in_the_node();
    let (_, bare, _lease) = take(&["--cores", "1", "--memory", "32M"]).expect("possible");
    let mut low = bare.low().expect("there");
    let at = low.physical();
    low.write(0, ANSWERS);
    low.write(0x200, HANDLER);
    let table = at + 0x1000;
    low.write(0x80, &[&0x3ff_u16.to_le_bytes()[..], &table.to_le_bytes()].concat());
    low.write(0x1000 + 4 * 2, &[0x200_u16.to_le_bytes(), ((at >> 4) as u16).to_le_bytes()].concat());
    let called = |low: &LowPages| {
        let mut words = [0; 8];
        low.read(0x100, &mut words);
        (words[0], words[4])
    };
    bare.start_core(0, (at >> 12) as u8).expect("sent");
    until("the core waits", || called(&low).0 == 1);
    for count in 1..=20 {
        bare.interrupt(0).expect("sent");
        until("the core answers", || called(&low).1 == count);
    }
}

#[test]
#[ignore = "takes cores from Linux: in scripts/node only"]
fn shared_memory_is_pinned() {
    only_in_the_node();
    let (_, bare, _lease) = take(&["--cores", "1", "--memory", "32M"]).expect("possible");
    let pages = 600;
    let memory = |path: &str| {
        let file = File::options().read(true).write(true).create(true).truncate(true).open(path).expect("writable");
        file.set_len(pages * 4096).expect("room");
        Mapping::of_file(file.as_fd(), 0, (pages * 4096) as usize, Access::Write).expect("mapped")
    };
    let at = |mapping: &Mapping| mapping.base().as_ptr().addr() as u64;
    let shared = memory("/dev/shm/tacet-test");
    let pinned = bare.pin(at(&shared), pages * 4096).expect("pinned");
    let mut distinct = pinned.physical().to_vec();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct.len() as u64, pages, "each page is somewhere");
    let again = bare.pin(at(&shared) + 4096, 4096).expect("twice");
    assert_eq!(again.physical(), &pinned.physical()[1..2]);
    drop((pinned, again));
    for _ in 0..3 * 4096 {
        bare.pin(at(&shared), 4096).expect("places are used again");
    }
    assert!(bare.pin(at(&shared) + 1, 4096).is_err() && bare.pin(at(&shared), 0).is_err());
    assert!(bare.pin(1 << 40, 4096).is_err(), "nothing there");
    let read_only = Mapping::of_file(File::open("/dev/shm/tacet-test").expect("there"), 0, 4096, Access::Read);
    assert!(bare.pin(at(&read_only.expect("mapped")), 4096).is_err());
    let text = bare.pin(at(&memory("/tmp/tacet-test")), 4096);
    println!("a page of /tmp: {text:?}");
}

#[test]
#[ignore = "takes cores from Linux: in scripts/node only"]
fn takers_of_the_same_moment_share_the_node() {
    only_in_the_node();
    let before = Machine::look();
    let online: CpuSet = before.online.parse().expect("a list");
    let cores = online.len() as u32 - 1;
    // As many ranks as there are cores; one more, which finds none; and shares of several.
    for (options, ranks) in [("--memory 32M", cores), ("--memory 32M", cores + 1), ("--cores 1 --memory 32M", 2)] {
        let mut takers: Vec<Taker> = (0..ranks).map(|rank| Taker::start(options, Some((rank, ranks)))).collect();
        let outcomes: Vec<Result<String, String>> = takers.iter_mut().map(Taker::outcome).collect();
        let taken: Vec<CpuSet> = outcomes.iter().flatten().map(|cores| cores.parse().expect("a list")).collect();
        let all = taken.iter().fold(CpuSet::default(), |all, cores| all.or(cores));
        assert_eq!(all.len(), taken.iter().map(CpuSet::len).sum::<usize>(), "shared: {outcomes:?}");
        assert_eq!(taken.len() as u32, ranks.min(cores), "{outcomes:?}");
        for refusal in outcomes.iter().filter_map(|outcome| outcome.as_ref().err()) {
            assert!(refusal.contains("no core is left"), "{refusal}");
        }
        takers.into_iter().for_each(Taker::end);
        before.assert_same(&format!("after {ranks} ranks with {options}"));
    }
}

/// Random enough for moments.
fn moments() -> impl FnMut() -> u64 {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state >> 16
    }
}

#[test]
#[ignore = "takes cores from Linux: in scripts/node only"]
fn a_killed_taker_is_given_back_by_its_keeper() {
    only_in_the_node();
    let before = Machine::look();
    let mut moment = moments();
    for round in 0..12 {
        let mut taker = Taker::start("--cores 2 --memory 64M", None);
        let delay = moment() % 4000;
        match round {
            0 => drop(taker.outcome()),
            _ => thread::sleep(Duration::from_millis(delay)),
        }
        taker.kill();
        // Killed before it had a keeper, it has taken nothing but its entry.
        let start = Instant::now();
        until("the keeper gives back", || {
            let waited_enough = start.elapsed() > Duration::from_secs(2);
            let is_bare = |file: &String| {
                fs::read_to_string(Path::new("/run/tacet").join(file)).is_ok_and(|text| text.contains("\"keeper\":{"))
            };
            let cells = Machine::look().cells;
            cells.is_empty() || (waited_enough && !cells.iter().any(is_bare))
        });
        let _ = Ledger::open().expect("there").lock_cleared().expect("locked");
        before.assert_same(&format!("round {round}, killed after {delay} ms"));
    }
}

/// Launchers kill what does not end at once: also a proxy that is about to have given back everything.
#[test]
#[ignore = "takes cores from Linux: in scripts/node only"]
fn a_taker_killed_while_it_gives_back_is_given_back_by_its_keeper() {
    only_in_the_node();
    let before = Machine::look();
    let mut moment = moments();
    for round in 0..12 {
        let mut taker = Taker::start("--cores 2 --memory 64M", None);
        taker.outcome().expect("taken");
        drop(taker.child.stdin.take());
        let delay = moment() % 1500;
        thread::sleep(Duration::from_millis(delay));
        taker.kill();
        // Nobody else looks at the ledger.
        until("the keeper gives back", || Machine::look().cells.is_empty());
        let _ = Ledger::open().expect("there").lock().expect("locked");
        before.assert_same(&format!("round {round}, killed after {delay} ms"));
    }
}

#[test]
#[ignore = "takes cores from Linux: in scripts/node only"]
fn a_taker_killed_with_its_keeper_is_given_back_by_the_next() {
    only_in_the_node();
    let before = Machine::look();
    let mut moment = moments();
    for round in 0..12 {
        let mut taker = Taker::start("--cores 2 --memory 64M", None);
        let delay = moment() % 4000;
        match round {
            0 => drop(taker.outcome()),
            _ => thread::sleep(Duration::from_millis(delay)),
        }
        if let Some(keeper) = taker.keeper() {
            crate::sys::kill(keeper.cast_signed());
        }
        taker.kill();
        let (_, collected) = Ledger::open().expect("there").lock_cleared().expect("locked");
        println!("round {round}, killed after {delay} ms: {} given back", collected.len());
        before.assert_same(&format!("round {round}, killed after {delay} ms"));
    }
}

#[test]
#[ignore = "takes cores from Linux: in scripts/node only"]
fn what_kills_the_job_does_not_kill_the_keeper() {
    only_in_the_node();
    let before = Machine::look();
    let group = "/sys/fs/cgroup/tacet-test";
    fs::create_dir_all(group).expect("control groups are there");
    // SAFETY: this program runs one thread, with --test-threads=1.
    unsafe { std::env::set_var("TACET_GROUP", group) };
    let mut taker = Taker::start("--cores 1 --memory 32M", None);
    // SAFETY: as above.
    unsafe { std::env::remove_var("TACET_GROUP") };
    taker.outcome().expect("taken");
    fs::write(Path::new(group).join("cgroup.kill"), "1").expect("killed");
    taker.child.wait().expect("ours");
    until("the keeper gives back", || Machine::look().cells.is_empty());
    before.assert_same("after the job was killed");
}
