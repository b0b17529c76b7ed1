//! Where the facts come from: `/proc`, `/sys` and `/dev` under a root that tests replace, and who
//! is asking. Everything is read, nothing is written.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use crate::node::cpus::CpuSet;

/// CAP_SYS_MODULE and so on: include/uapi/linux/capability.h.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capability(pub u32, pub &'static str);

/// `/dev/mem`, model-specific registers.
pub const SYS_RAWIO: Capability = Capability(17, "CAP_SYS_RAWIO");
/// Physical addresses in `/proc/self/pagemap`, among much else.
pub const SYS_ADMIN: Capability = Capability(21, "CAP_SYS_ADMIN");
/// Memory that stays where it is, without limit.
pub const IPC_LOCK: Capability = Capability(14, "CAP_IPC_LOCK");

/// A file system, by `/proc/self/mounts`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Its type.
    pub kind: String,
    /// Whether nothing can be written to it.
    pub is_read_only: bool,
}

/// The machine and whoever asks about it.
#[derive(Debug)]
pub struct System<'r> {
    root: &'r Path,
    status: String,
    cpuinfo: String,
    mounts: String,
    limits: String,
}

impl<'r> System<'r> {
    /// Reads what is asked for most.
    pub fn read(root: &'r Path) -> Self {
        let text = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
        System {
            root,
            status: text("proc/self/status"),
            cpuinfo: text("proc/cpuinfo"),
            mounts: text("proc/self/mounts"),
            limits: text("proc/self/limits"),
        }
    }

    /// The root of the file tree.
    pub fn root(&self) -> &'r Path {
        self.root
    }

    /// What a file says, without the white space around it. `None` where it can't be read.
    pub fn text(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.root.join(path)).ok().map(|text| text.trim().to_owned())
    }

    /// What a file says, as a number.
    pub fn number(&self, path: &str) -> Option<u64> {
        self.text(path)?.parse().ok()
    }

    /// What a file says, as a list of processors. Empty where it is not there or holds none.
    pub fn cpus(&self, path: &str) -> CpuSet {
        self.text(path).and_then(|text| text.parse().ok()).unwrap_or_default()
    }

    /// Whether there is such a file.
    pub fn exists(&self, path: &str) -> bool {
        fs::exists(self.root.join(path)).unwrap_or(false)
    }

    /// Opens a device to see whether it lets us; reads nothing.
    pub fn open(&self, path: &str) -> io::Result<File> {
        File::open(self.root.join(path))
    }

    /// A field of `/proc/self/status`.
    pub fn status(&self, name: &str) -> Option<&str> {
        let line = self.status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.map(str::trim)
    }

    /// The effective user.
    pub fn user(&self) -> Option<u32> {
        self.status("Uid")?.split_whitespace().nth(1)?.parse().ok()
    }

    /// Whether that is root.
    pub fn is_root(&self) -> bool {
        self.user() == Some(0)
    }

    /// Whether this process has a capability.
    pub fn has(&self, capability: Capability) -> bool {
        let set = self.status("CapEff").and_then(|text| u64::from_str_radix(text, 16).ok());
        set.is_some_and(|set| set & 1 << capability.0 != 0)
    }

    /// Whether the first processor has a feature, by the name that `/proc/cpuinfo` gives it.
    pub fn has_flag(&self, name: &str) -> bool {
        let flags = self.cpuinfo.lines().find_map(|line| line.strip_prefix("flags")?.split_once(':'));
        flags.is_some_and(|(_, flags)| flags.split_whitespace().any(|flag| flag == name))
    }

    /// Whether this is a virtual machine.
    pub fn is_virtual(&self) -> bool {
        self.has_flag("hypervisor")
    }

    /// The highest APIC id of a processor.
    pub fn highest_apic_id(&self) -> Option<u32> {
        let ids = self.cpuinfo.lines().filter_map(|line| line.strip_prefix("apicid")?.split_once(':'));
        ids.filter_map(|(_, id)| id.trim().parse().ok()).max()
    }

    /// The parameters that Linux was booted with.
    pub fn boot_parameters(&self) -> Vec<String> {
        self.text("proc/cmdline").unwrap_or_default().split_whitespace().map(str::to_owned).collect()
    }

    /// What is mounted there: the last one that covers it.
    pub fn mount(&self, at: &str) -> Option<Mount> {
        self.mounts.lines().rev().find_map(|line| {
            let mut fields = line.split(' ').skip(1);
            let (place, kind, options) = (fields.next()?, fields.next()?, fields.next()?);
            let is_read_only = options.split(',').any(|option| option == "ro");
            (place == at).then(|| Mount { kind: kind.to_owned(), is_read_only })
        })
    }

    /// A limit of this process, soft and hard, by the name in `/proc/self/limits`; `u64::MAX` is
    /// none.
    pub fn limit(&self, name: &str) -> Option<(u64, u64)> {
        let line = self.limits.lines().find_map(|line| line.strip_prefix(name))?;
        let mut values = line.split_whitespace().map(|word| match word {
            "unlimited" => Some(u64::MAX),
            number => number.parse().ok(),
        });
        Some((values.next()??, values.next()??))
    }

    /// Linux's release, and its first two numbers.
    pub fn release(&self) -> Option<(String, (u32, u32))> {
        let text = self.text("proc/sys/kernel/osrelease")?;
        let mut numbers = text.split(|letter: char| !letter.is_ascii_digit()).map(str::parse);
        let (major, minor) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
        Some((text, (major, minor)))
    }

    /// A command that needs root, for whoever is asking.
    pub fn as_root(&self, command: &str) -> String {
        if self.is_root() { command.to_owned() } else { format!("sudo {command}") }
    }

    /// A command that writes a value into a file of the system, for whoever is asking.
    pub fn write(&self, value: &str, path: &str) -> String {
        match self.is_root() {
            true => format!("echo {value} > /{path}"),
            false => format!("echo {value} | sudo tee /{path}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::tests::Fixture;

    #[test]
    fn who_asks() {
        let root = Fixture::new();
        root.file("proc/self/status", "Name:\tx\nUid:\t1000\t0\t0\t0\nCapEff:\t0000000000220000\nSeccomp:\t2\n");
        let system = System::read(root.path());
        assert!(system.is_root() && system.has(SYS_RAWIO) && system.has(SYS_ADMIN) && !system.has(IPC_LOCK));
        assert_eq!((system.status("Seccomp"), system.status("Secc")), (Some("2"), None));
        assert_eq!(system.as_root("modprobe msr"), "modprobe msr");
        root.file("proc/self/status", "Uid:\t0\t7\t0\t0\n");
        let system = System::read(root.path());
        assert!(!system.is_root() && !system.has(SYS_ADMIN));
        assert_eq!(system.write("1", "proc/x"), "echo 1 | sudo tee /proc/x");
    }

    #[test]
    fn processors() {
        let root = Fixture::new();
        root.file(
            "proc/cpuinfo",
            "processor\t: 0\napicid\t\t: 3\nflags\t\t: fpu x2apic\n\napicid\t\t: 300\nflags\t\t: svm\n",
        );
        let system = System::read(root.path());
        assert!(system.has_flag("x2apic") && !system.has_flag("x2") && !system.has_flag("svm"));
        assert_eq!(system.highest_apic_id(), Some(300));
    }

    #[test]
    fn mounts_and_limits() {
        let root = Fixture::new();
        root.file("proc/self/mounts", "sysfs /sys sysfs rw,relatime 0 0\nsysfs /sys sysfs ro,nosuid 0 0\n");
        root.file("proc/self/limits", "Limit  Soft  Hard\nMax open files            1024      unlimited   files\n");
        let system = System::read(root.path());
        assert_eq!(system.mount("/sys"), Some(Mount { kind: "sysfs".into(), is_read_only: true }));
        assert_eq!(system.mount("/dev"), None);
        assert_eq!(system.limit("Max open files"), Some((1024, u64::MAX)));
        assert_eq!(system.limit("Max locked memory"), None);
    }

    #[test]
    fn releases() {
        let root = Fixture::new();
        for (text, numbers) in [("6.1.0-13-amd64\n", Some((6, 1))), ("5.13\n", Some((5, 13))), ("x\n", None)] {
            root.file("proc/sys/kernel/osrelease", text);
            assert_eq!(System::read(root.path()).release().map(|(_, numbers)| numbers), numbers);
        }
    }
}
