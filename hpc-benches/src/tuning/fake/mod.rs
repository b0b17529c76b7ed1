//! A Linux of files in a temporary directory that answers as the real one does where tuning depends on it, and
//! that can stop a test at any change, as SIGKILL would.

mod linux;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::system::{Linux, System};
use crate::machine::scratch::ScratchFolder;

/// Thrown where the process would be killed.
pub struct Killed;

/// The fake.
pub struct Fake {
    folder: ScratchFolder,
    linux: Linux,
    /// Files whose writing is refused, with the errno.
    pub refused: Mutex<BTreeMap<String, i32>>,
    /// What a partition becomes in place of a valid one.
    pub partition_reason: Mutex<Option<String>>,
    /// Processes that were ended.
    pub ended: Mutex<BTreeSet<u32>>,
    /// Moments until the process is killed: one before each change, one after it.
    moments_left: AtomicUsize,
}

/// A thread to be.
pub struct Spec {
    pub id: u32,
    pub process: u32,
    pub parent: u32,
    pub name: &'static str,
    pub flags: u64,
    pub cores: &'static str,
}

/// Where control groups of version 2 are.
pub const UNIFIED: &str = "/sys/fs/cgroup";
/// And of version 1.
pub const LEGACY: &str = "/sys/fs/cgroup/cpuset";

impl Fake {
    /// Four cores, the third of which is the fourth's sibling if `smt`; no control groups.
    pub fn new() -> Self {
        // In memory, where that is possible: the tests make and remove tens of thousands of files.
        let memory = Path::new("/dev/shm");
        let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let folder = ScratchFolder::new(&parent).unwrap();
        let fake = Self {
            linux: Linux::at(folder.path()),
            folder,
            refused: Mutex::default(),
            partition_reason: Mutex::default(),
            ended: Mutex::default(),
            moments_left: AtomicUsize::new(usize::MAX),
        };
        for (path, text) in [
            ("/sys/devices/system/cpu/online", "0-3"),
            ("/sys/devices/system/cpu/nohz_full", "(null)"),
            ("/proc/cmdline", "quiet rcu_nocbs=3"),
            ("/proc/sys/kernel/random/boot_id", "this-boot"),
            ("/sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never"),
            ("/proc/sys/vm/stat_interval", "1"),
            ("/proc/sys/kernel/soft_watchdog", "1"),
            ("/proc/sys/kernel/nmi_watchdog", "0"),
            ("/proc/sys/kernel/timer_migration", "1"),
            ("/sys/devices/system/cpu/cpu3/cpufreq/scaling_governor", "schedutil"),
            ("/sys/devices/virtual/workqueue/cpumask", "f"),
            ("/sys/class/net/eth0/queues/rx-0/rps_cpus", "8"),
            ("/sys/class/net/eth0/queues/rx-1/rps_cpus", "0"),
            ("/proc/irq/default_smp_affinity", "f"),
            ("/proc/self/cgroup", "0::/user/shell"),
            ("/proc/self/mountinfo", ""),
        ] {
            fake.put(path, text);
        }
        for (number, name, cores) in
            [(10, "disk", "0-3"), (11, "net", "3"), (12, "keyboard", "0-1"), (13, "managed", "3")]
        {
            fake.put(&format!("/proc/irq/{number}/smp_affinity_list"), cores);
            fs::create_dir_all(fake.linux.place(&format!("/proc/irq/{number}/{name}"))).unwrap();
        }
        fake.refuse("/proc/irq/13/smp_affinity_list", libc::EIO);
        fake.threads();
        fake
    }

    fn threads(&self) {
        let (kernel, bound) = (0x0020_0000, 0x0420_0000);
        for (id, process, parent, name, flags, cores) in [
            (1, 1, 0, "init", 0, "0-3"),
            (2, 2, 0, "kthreadd", kernel, "0-3"),
            (5_000_100, 5_000_100, 1, "sshd", 0, "0-3"),
            (5_000_101, 5_000_100, 1, "sshd) (helper", 0, "0-3"),
            (5_000_200, 5_000_200, 1, "daemon", 0, "2"),
            (5_000_210, 5_000_210, 1, "pinned", 0, "3"),
            (5_000_300, 5_000_300, 2, "kworker/3:0", bound, "3"),
            (5_000_310, 5_000_310, 2, "rcu_preempt", kernel, "0-3"),
            (5_000_320, 5_000_320, 2, "kworker/u9:0", bound, "2-3"),
        ] {
            self.spawn(&Spec { id, process, parent, name, flags, cores });
        }
    }

    /// Control groups of version 2, this process in one of them.
    pub fn with_unified_groups(self) -> Self {
        self.put("/proc/self/mountinfo", &format!("30 23 0:26 / {UNIFIED} rw - cgroup2 cgroup2 rw,nsdelegate"));
        self.put(&format!("{UNIFIED}/cgroup.controllers"), "cpuset cpu io memory");
        self.put(&format!("{UNIFIED}/cgroup.subtree_control"), "cpu io");
        self.put(&format!("{UNIFIED}/cgroup.procs"), "");
        self.put(&format!("{UNIFIED}/user/shell/cgroup.procs"), &std::process::id().to_string());
        self
    }

    /// The cpuset controller of version 1.
    pub fn with_legacy_groups(self) -> Self {
        self.put("/proc/self/mountinfo", &format!("31 23 0:27 / {LEGACY} rw - cgroup cgroup rw,cpuset"));
        self.put(&format!("{LEGACY}/cpuset.cpus"), "0-3");
        self.put(&format!("{LEGACY}/cpuset.mems"), "0");
        self.put(&format!("{LEGACY}/cpuset.sched_load_balance"), "1");
        self
    }

    /// A file, made if need be.
    pub fn put(&self, path: &str, text: &str) {
        let place = self.linux.place(path);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::write(place, format!("{text}\n")).unwrap();
    }

    /// The text of a file.
    pub fn text(&self, path: &str) -> String {
        self.linux.read(path).unwrap()
    }

    /// A new thread, whose start is its number.
    pub fn spawn(&self, spec: &Spec) {
        let folder = format!("/proc/{}/task/{}", spec.process, spec.id);
        let zeros = "0 ".repeat(12);
        let fields = format!("S {} 0 0 0 -1 {} {zeros}{} 0", spec.parent, spec.flags, spec.id);
        self.put(&format!("{folder}/stat"), &format!("{} ({}) {fields}", spec.id, spec.name));
        self.put(&format!("{folder}/status"), &format!("Name:\t{}\nCpus_allowed_list:\t{}", spec.name, spec.cores));
    }

    /// Where a thread may run.
    pub fn cores_of(&self, process: u32, id: u32) -> String {
        let status = self.text(&format!("/proc/{process}/task/{id}/status"));
        status.rsplit_once('\t').unwrap().1.to_owned()
    }

    pub fn refuse(&self, path: &str, errno: i32) {
        self.refused.lock().unwrap().insert(path.to_owned(), errno);
    }

    /// From now on, the process is killed at moment `count`: before change `count / 2`, or after it.
    pub fn kill_at(&self, count: usize) {
        self.moments_left.store(count, Ordering::Relaxed);
    }

    /// All files and directories but those of the state directory.
    pub fn dump(&self) -> BTreeMap<String, String> {
        let mut files = BTreeMap::new();
        dump(self.folder.path(), self.folder.path(), &mut files);
        files.retain(|path, _| !path.starts_with("run"));
        files
    }

    /// Where the state directory is.
    pub fn state(&self) -> std::path::PathBuf {
        fs::create_dir_all(self.linux.place("/run")).unwrap();
        self.linux.place(super::state::PLACE)
    }
}

fn dump(root: &Path, folder: &Path, files: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            files.insert(name, "directory".to_owned());
            dump(root, &path, files);
        } else {
            files.insert(name, fs::read_to_string(&path).unwrap().trim().to_owned());
        }
    }
}
