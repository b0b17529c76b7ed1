//! What cells of every platform need.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use nix::unistd::AccessFlags;

use super::fact::Fact;
use super::system::System;
use crate::config::{Config, ConfigError};
use crate::node::cpus::CpuSet;
use crate::node::memory::Memory;
use crate::node::topology::Topology;
use crate::node::{Unreadable, affinity_of};
use crate::reserve::memory::{LEAST, human};

/// Descriptors that a cell takes at least: the program's and the proxy's (`descriptors`).
const LEAST_DESCRIPTORS: u64 = 128;

/// All of it. `ledger` is where this user's ledger is or would be.
pub fn facts(system: &System, config: &Result<Config, ConfigError>, ledger: &Path) -> Vec<Fact> {
    let mut facts = Vec::new();
    match processors(system) {
        Ok(processors) => facts.extend(processors),
        Err(error) => facts.push(Fact::missing("processors", error.to_string(), "mount /proc and /sys")),
    }
    facts.push(memory(system));
    facts.extend(processor_quota(system));
    facts.extend([clock_source(system), open_files(system), place_of_ledger(system, ledger), configuration(config)]);
    facts
}

fn processors(system: &System) -> Result<[Fact; 2], Unreadable> {
    let affinity = affinity_of(system.root(), "self")?;
    let online = Topology::read(system.root(), &CpuSet::default())?.online;
    let topology = Topology::read(system.root(), &online)?;
    let cores: CpuSet = topology.cpus.iter().map(|cpu| cpu.core).collect();
    let mut there = format!("{} online ({online})", count(online.len(), "processor"));
    if cores.len() < online.len() {
        there += &format!(" on {}", count(cores.len(), "physical core"));
    }
    let allowed = affinity.and(&online);
    let processors = match allowed == online {
        true => Fact::ok("processors", there),
        false => Fact::note(
            "processors",
            format!("{there}; this shell may use {} of them ({allowed})", allowed.len()),
            format!("taskset -c {online} tacet run ..."),
        ),
    };
    let service = match allowed.len() {
        0 | 1 => Fact::remark("service cores", "none: a cell shares its one processor with its proxy"),
        all => {
            let value = "left while a cell takes fewer than all";
            Fact::ok(
                "service cores",
                format!("{value} {all} processors (--cores); a cell of all shares them with its proxy"),
            )
        }
    };
    Ok([processors, service])
}

/// `1 core`, `2 cores`
pub fn count(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}

fn memory(system: &System) -> Fact {
    const CHECK: &str = "memory";
    let memory = match Memory::read(system.root()) {
        Ok(memory) => memory,
        Err(error) => return Fact::missing(CHECK, error.to_string(), "mount /proc"),
    };
    let machine = meminfo(system, "MemTotal").unwrap_or(memory.total);
    let value = format!("{} available of {}", human(memory.available), human(memory.total));
    if memory.available < LEAST {
        return Fact::missing(
            CHECK,
            format!("{value}; a cell needs {}", human(LEAST)),
            "end programs that hold memory",
        );
    }
    if memory.total < machine {
        let group = format!("{value}: the control group's limit; the machine has {}", human(machine));
        return Fact::note(CHECK, group, "start from a control group with a higher memory limit (Slurm: --mem)");
    }
    Fact::ok(CHECK, value)
}

/// A line of `/proc/meminfo` in bytes.
fn meminfo(system: &System, name: &str) -> Option<u64> {
    let text = system.text("proc/meminfo")?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    kib.checked_mul(1024)
}

/// A control group that may use its processors for part of the time only, and stops programs
/// for the rest.
fn processor_quota(system: &System) -> Option<Fact> {
    let groups = system.text("proc/self/cgroup").unwrap_or_default();
    let quotas = groups.lines().filter_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?.trim_start_matches('/'));
        let v1_mount =
            ["sys/fs/cgroup/cpu", "sys/fs/cgroup/cpu,cpuacct"].into_iter().find(|mount| system.exists(mount));
        let quota = |group: &Path| {
            let at = |mount: &str, file: &str| format!("{mount}/{}/{file}", group.display());
            if controllers.is_empty() {
                // "QUOTA PERIOD", or "max PERIOD".
                let text = system.text(&at("sys/fs/cgroup", "cpu.max"))?;
                let (quota, period) = text.split_once(' ')?;
                return Some((quota.parse::<f64>().ok()?, period.parse::<f64>().ok()?));
            }
            let mount = v1_mount.filter(|_| controllers.split(',').any(|name| name == "cpu"))?;
            let quota: f64 = system.text(&at(mount, "cpu.cfs_quota_us"))?.parse().ok()?;
            (quota > 0.0).then_some((quota, system.number(&at(mount, "cpu.cfs_period_us"))? as f64))
        };
        let shares = Path::new(path).ancestors().filter_map(quota).map(|(quota, period)| quota / period);
        shares.min_by(f64::total_cmp)
    });
    let least = quotas.min_by(f64::total_cmp)?;
    Some(Fact::note(
        "processor quota",
        format!("{least:.1} processors' worth of time by the control group, which stops programs that use more"),
        "start from a control group without cpu.max",
    ))
}

fn clock_source(system: &System) -> Fact {
    const CHECK: &str = "clock source";
    const FOLDER: &str = "sys/devices/system/clocksource/clocksource0";
    let Some(source) = system.text(&format!("{FOLDER}/current_clocksource")) else {
        return Fact::unknown(CHECK, "Linux does not say", "mount /sys");
    };
    if source == "tsc" {
        return Fact::ok(CHECK, "tsc");
    }
    let value = format!("{source}: slower to read than the TSC");
    let others = system.text(&format!("{FOLDER}/available_clocksource")).unwrap_or_default();
    match others.split_whitespace().any(|other| other == "tsc") {
        true => Fact::note(CHECK, value, system.write("tsc", &format!("{FOLDER}/current_clocksource"))),
        false => Fact::remark(CHECK, format!("{value}, which Linux does not trust on this machine")),
    }
}

fn open_files(system: &System) -> Fact {
    const CHECK: &str = "open files";
    match system.limit("Max open files") {
        None => Fact::unknown(CHECK, "Linux does not say", "mount /proc"),
        Some((_, hard)) if hard < LEAST_DESCRIPTORS => {
            let value = format!("{hard} at most; a cell takes {LEAST_DESCRIPTORS}");
            Fact::missing(CHECK, value, format!("ulimit -n {LEAST_DESCRIPTORS}"))
        }
        Some((_, u64::MAX)) => Fact::ok(CHECK, "unlimited"),
        Some((_, hard)) => Fact::ok(CHECK, format!("up to {hard}")),
    }
}

fn place_of_ledger(system: &System, ledger: &Path) -> Fact {
    const CHECK: &str = "ledger";
    let (shown, place) = (format!("/{}", ledger.display()), system.root().join(ledger));
    let Ok(metadata) = place.symlink_metadata() else {
        let parent = place.parent().unwrap_or(system.root());
        return match nix::unistd::eaccess(parent, AccessFlags::W_OK) {
            Ok(()) => Fact::ok(CHECK, format!("{shown}: not there yet, can be made")),
            Err(errno) => {
                let value = format!("{shown}: can't be made: {}", errno.desc());
                let parent = shown.rsplit_once('/').map_or("/", |(parent, _)| parent);
                Fact::missing(CHECK, value, system.as_root(&format!("mount -t tmpfs tmpfs {parent}")))
            }
        };
    };
    let is_private = metadata.permissions().mode() & 0o022 == 0;
    if !metadata.is_dir() || Some(metadata.uid()) != system.user() || !is_private {
        let value = format!("{shown}: not a directory of your own that only you can write to");
        return Fact::missing(CHECK, value, system.as_root(&format!("rm -r {shown}")));
    }
    match nix::unistd::eaccess(&place, AccessFlags::W_OK | AccessFlags::X_OK) {
        Ok(()) => Fact::ok(CHECK, shown),
        Err(errno) => Fact::missing(
            CHECK,
            format!("{shown}: can't be written to: {}", errno.desc()),
            format!("chmod 700 {shown}"),
        ),
    }
}

fn configuration(config: &Result<Config, ConfigError>) -> Fact {
    const CHECK: &str = "configuration";
    match config {
        Ok(config) => Fact::ok(
            CHECK,
            match config.partition.auto {
                true => "bare cores may be taken without being asked for by name",
                false => "bare cores are taken only with --platform partition (the default)",
            },
        ),
        // Platforms that are asked for by name are not affected.
        Err(error) => Fact::note(CHECK, error.to_string(), "tacet run --platform process ... until that is corrected"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::fact::Verdict::{self, Missing, Note, Ok as Good, Unknown};
    use crate::node::tests::Fixture;
    use std::fs;

    fn seen(fact: &Fact, verdict: Verdict, words: &[&str]) {
        assert_eq!(fact.verdict, verdict, "{fact:?}");
        let text = format!("{} {}", fact.value, fact.cure.as_deref().unwrap_or_default());
        words.iter().for_each(|word| assert!(text.contains(word), "{word:?} in {fact:?}"));
    }

    fn node_with(cpus: &str, allowed: &str) -> Fixture {
        let root = Fixture::new();
        root.file("sys/devices/system/cpu/online", cpus);
        root.file("proc/self/status", &format!("Uid:\t0\t0\t0\t0\nCpus_allowed_list:\t{allowed}\n"));
        root
    }

    #[test]
    fn processors_and_who_may_use_them() {
        let of = |root: &Fixture| processors(&System::read(root.path())).expect("readable");
        let [all, service] = of(&node_with("0-3", "0-3"));
        seen(&all, Good, &["4 processors online (0-3)"]);
        seen(&service, Good, &["all 4 processors"]);
        let [some, service] = of(&node_with("0-3", "1"));
        seen(&some, Note, &["1 of them (1)", "taskset -c 0-3"]);
        seen(&service, Note, &["shares"]);
        let siblings = node_with("0-1", "0-1");
        for cpu in 0..2 {
            siblings.file(&format!("sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list"), "0-1");
        }
        seen(&of(&siblings)[0], Good, &["2 processors online (0-1) on 1 physical core"]);
    }

    #[test]
    fn memory_and_what_limits_it() {
        let root = Fixture::new();
        let of = || memory(&System::read(root.path()));
        seen(&of(), Missing, &["meminfo"]);
        root.file("proc/meminfo", "MemTotal: 8388608 kB\nMemAvailable: 4194304 kB\n");
        seen(&of(), Good, &["4 GiB available of 8 GiB"]);
        root.file("proc/self/cgroup", "0::/job\n");
        root.file("sys/fs/cgroup/job/memory.max", "1073741824\n");
        root.file("sys/fs/cgroup/job/memory.current", "0\n");
        seen(&of(), Note, &["1 GiB available of 1 GiB", "control group", "8 GiB"]);
        root.file("sys/fs/cgroup/job/memory.current", "1073741824\n");
        seen(&of(), Missing, &["32 MiB"]);
    }

    #[test]
    fn quotas_of_processor_time() {
        let root = Fixture::new();
        let of = || processor_quota(&System::read(root.path()));
        assert_eq!(of(), None);
        root.file("proc/self/cgroup", "0::/a/b\n");
        root.file("sys/fs/cgroup/a/b/cpu.max", "max 100000\n");
        assert_eq!(of(), None);
        root.file("sys/fs/cgroup/a/cpu.max", "150000 100000\n");
        seen(&of().expect("limited"), Note, &["1.5 processors"]);
        root.file("proc/self/cgroup", "3:cpu,cpuacct:/x\n");
        root.file("sys/fs/cgroup/cpu/x/cpu.cfs_period_us", "100000\n");
        root.file("sys/fs/cgroup/cpu/x/cpu.cfs_quota_us", "-1\n");
        assert_eq!(of(), None);
        root.file("sys/fs/cgroup/cpu/x/cpu.cfs_quota_us", "50000\n");
        seen(&of().expect("limited"), Note, &["0.5 processors"]);
    }

    #[test]
    fn clock_sources() {
        let root = Fixture::new();
        let of = || clock_source(&System::read(root.path()));
        seen(&of(), Unknown, &[]);
        let folder = "sys/devices/system/clocksource/clocksource0";
        root.file(&format!("{folder}/current_clocksource"), "tsc\n");
        seen(&of(), Good, &["tsc"]);
        root.file(&format!("{folder}/current_clocksource"), "hpet\n");
        seen(&of(), Note, &["hpet", "does not trust"]);
        root.file(&format!("{folder}/available_clocksource"), "tsc hpet\n");
        seen(&of(), Note, &["hpet", "tee /sys/devices/system/clocksource/clocksource0/current_clocksource"]);
    }

    #[test]
    fn limits_on_descriptors() {
        let root = Fixture::new();
        let of = || open_files(&System::read(root.path()));
        seen(&of(), Unknown, &[]);
        for (limits, verdict) in [("64 100", Missing), ("64 128", Good), ("1024 unlimited", Good)] {
            root.file("proc/self/limits", &format!("Max open files  {limits}  files\n"));
            seen(&of(), verdict, &[]);
        }
    }

    #[test]
    fn the_ledgers_place() {
        let root = Fixture::new();
        let user = nix::unistd::geteuid();
        root.file("proc/self/status", &format!("Uid:\t0\t{user}\t0\t0\n"));
        let of = |place: &str| place_of_ledger(&System::read(root.path()), Path::new(place));
        fs::create_dir(root.path().join("run")).expect("own directory");
        seen(&of("run/tacet"), Good, &["/run/tacet: not there yet"]);
        assert!(!root.path().join("run/tacet").exists(), "nothing is made");
        seen(&of("none/tacet"), Missing, &["/none/tacet: can't be made", "/none"]);
        fs::create_dir(root.path().join("run/tacet")).expect("own directory");
        fs::set_permissions(root.path().join("run/tacet"), PermissionsExt::from_mode(0o700)).expect("own directory");
        seen(&of("run/tacet"), Good, &["/run/tacet"]);
        fs::set_permissions(root.path().join("run/tacet"), PermissionsExt::from_mode(0o777)).expect("own directory");
        seen(&of("run/tacet"), Missing, &["rm -r /run/tacet"]);
        root.file("proc/self/status", "Uid:\t0\t4711\t0\t0\n");
        seen(&of("run/tacet"), Missing, &["your own"]);
    }
}
