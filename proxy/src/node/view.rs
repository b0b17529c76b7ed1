//! The node as a program in a cell is to see it: with the cell's cores, and no others.
//!
//! Programs ask the file system what machine they are on: `/proc/cpuinfo`,
//! `/sys/devices/system/cpu` and `/sys/devices/system/node`. What Linux says there is of its own
//! cores: more than the cell has, or, where cores were taken from Linux, without those of the cell. So
//! what it says of the cell's cores is taken down while it has them, and laid out in a directory which
//! the program finds in the place of Linux's (`serve::machine`). What changes with time is a link to
//! Linux's own file.
//!
//! Names and formats: `Documentation/ABI/stable/sysfs-devices-system-cpu`,
//! `Documentation/ABI/stable/sysfs-devices-node`, proc(5).

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::{Path, PathBuf};

use crate::node::cpus::CpuSet;

/// Where Linux has it.
pub const CPUS: &str = "sys/devices/system/cpu";
/// See [`CPUS`].
pub const NODES: &str = "sys/devices/system/node";
/// See [`CPUS`].
pub const CPUINFO: &str = "proc/cpuinfo";

/// Where the view has the processors and NUMA nodes that a control group would allow.
pub const GROUP: &str = "cgroup";

/// Parts of a core's directory, as far as they tell of the core and not of Linux's use of it.
const OF_A_CORE: [&str; 4] = ["topology", "cache", "cpufreq", "cpu_capacity"];
/// Parts of the directory of all cores that hold for the cell's as they are.
const OF_ALL_CORES: [&str; 4] = ["kernel_max", "modalias", "smt", "vulnerabilities"];
/// Parts of a NUMA node's directory.
const OF_A_NODE: [&str; 4] = ["meminfo", "numastat", "vmstat", "hugepages"];

/// How deep directories go: cpu0/cache/index0.
const DEPTH: usize = 3;

/// One name of the view.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Item {
    File(Vec<u8>),
    Link(PathBuf),
}

/// What the program is to see, by path.
#[derive(Debug, Clone, Default)]
pub struct View(Vec<(PathBuf, Item)>);

impl View {
    /// Takes it down for a cell with these cores, all of which Linux still has. `None` when Linux has
    /// no others: then it says the right things itself.
    ///
    /// # Errors
    /// Those of reading what every Linux has; the rest is left out where it is not there.
    pub fn take(root: &Path, cores: &CpuSet) -> io::Result<Option<View>> {
        let online = fs::read_to_string(root.join(CPUS).join("online"))?;
        if online.parse::<CpuSet>().is_ok_and(|online| online == *cores) {
            return Ok(None);
        }
        let mut view = View::default();
        view.cores(root, cores);
        view.nodes(root, cores)?;
        let text = fs::read_to_string(root.join(CPUINFO))?;
        view.file(CPUINFO.into(), processors(&text, cores).into_bytes());
        view.file(Path::new(GROUP).join("cpus"), format!("{cores}\n").into_bytes());
        Ok(Some(view))
    }

    fn file(&mut self, path: PathBuf, content: Vec<u8>) {
        self.0.push((path, Item::File(content)));
    }

    fn link(&mut self, path: PathBuf, target: impl Into<PathBuf>) {
        self.0.push((path, Item::Link(target.into())));
    }

    fn cores(&mut self, root: &Path, cores: &CpuSet) {
        let place = Path::new(CPUS);
        for name in ["online", "present", "possible"] {
            self.file(place.join(name), format!("{cores}\n").into_bytes());
        }
        for name in ["offline", "isolated", "nohz_full"] {
            self.file(place.join(name), b"\n".to_vec());
        }
        for name in OF_ALL_CORES {
            self.copy(root, &place.join(name), cores, DEPTH);
        }
        for cpu in cores.iter() {
            let core = place.join(format!("cpu{cpu}"));
            self.file(core.join("online"), b"1\n".to_vec());
            for name in OF_A_CORE {
                self.copy(root, &core.join(name), cores, DEPTH);
            }
            let entries = fs::read_dir(root.join(&core)).into_iter().flatten().flatten();
            let names = entries.map(|entry| entry.file_name());
            for node in names.filter(|name| name.to_string_lossy().starts_with("node")) {
                self.link(core.join(&node), Path::new("../../node").join(&node));
            }
        }
    }

    fn nodes(&mut self, root: &Path, cores: &CpuSet) -> io::Result<()> {
        let place = Path::new(NODES);
        let of_node = |node: u32| -> io::Result<CpuSet> {
            let list = fs::read_to_string(root.join(place).join(format!("node{node}/cpulist")))?;
            Ok(list.parse::<CpuSet>().unwrap_or_default().and(cores))
        };
        let Ok(online) = fs::read_to_string(root.join(place).join("online")) else {
            // A Linux without NUMA has none of this.
            return Ok(());
        };
        let online: CpuSet = online.parse().map_err(io::Error::other)?;
        let mut own = Vec::new();
        for node in online.iter() {
            let cpus = of_node(node)?;
            if !cpus.is_empty() {
                own.push((node, cpus));
            }
        }
        let nodes: CpuSet = own.iter().map(|(node, _)| *node).collect();
        for name in ["online", "possible", "has_cpu", "has_memory", "has_normal_memory"] {
            self.file(place.join(name), format!("{nodes}\n").into_bytes());
        }
        self.file(Path::new(GROUP).join("mems"), format!("{nodes}\n").into_bytes());
        for (node, cpus) in &own {
            let directory = place.join(format!("node{node}"));
            self.file(directory.join("cpulist"), format!("{cpus}\n").into_bytes());
            self.copy(root, &directory.join("cpumap"), cores, 1);
            for cpu in cpus.iter() {
                self.link(directory.join(format!("cpu{cpu}")), format!("../../cpu/cpu{cpu}"));
            }
            // Distances to the nodes that are shown, in their order.
            if let Ok(text) = fs::read_to_string(root.join(&directory).join("distance")) {
                let all: Vec<&str> = text.split_whitespace().collect();
                let shown = online.iter().zip(&all).filter(|(node, _)| nodes.contains(*node));
                let row: Vec<&str> = shown.map(|(_, distance)| *distance).collect();
                self.file(directory.join("distance"), format!("{}\n", row.join(" ")).into_bytes());
            }
            for name in OF_A_NODE {
                self.link(directory.join(name), Path::new("/").join(&directory).join(name));
            }
        }
        Ok(())
    }

    /// Copies a file, or a directory with what is in it, as far as it can be read. Sets of processors
    /// lose those that the cell does not have.
    fn copy(&mut self, root: &Path, path: &Path, cores: &CpuSet, depth: usize) {
        let source = root.join(path);
        if source.is_dir() {
            let entries = fs::read_dir(&source).into_iter().flatten().flatten();
            for entry in entries.filter(|entry| depth > 0 && entry.file_type().is_ok_and(|kind| !kind.is_symlink())) {
                self.copy(root, &path.join(entry.file_name()), cores, depth - 1);
            }
        } else if let Ok(content) = fs::read(&source) {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            self.file(path.to_owned(), of_cores(&name, content, cores));
        }
    }

    /// Lays it out below `directory`, which must not be there yet.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn lay_out(&self, directory: &Path) -> io::Result<()> {
        DirBuilder::new().mode(0o700).create(directory)?;
        for (path, item) in &self.0 {
            let place = directory.join(path);
            if let Some(parent) = place.parent() {
                fs::create_dir_all(parent)?;
            }
            match item {
                Item::File(content) => fs::write(&place, content)?,
                Item::Link(target) => symlink(target, &place)?,
            }
        }
        Ok(())
    }
}

/// The paragraphs of `/proc/cpuinfo` about these processors.
fn processors(text: &str, cores: &CpuSet) -> String {
    let number = |paragraph: &str| -> Option<u32> {
        let line = paragraph.lines().find(|line| line.starts_with("processor"))?;
        line.split(':').nth(1)?.trim().parse().ok()
    };
    let of_cell = |paragraph: &&str| number(paragraph).is_some_and(|cpu| cores.contains(cpu));
    text.split_inclusive("\n\n").filter(of_cell).collect()
}

/// The content of a file: if its name says that it is a set of processors, without those that the cell
/// does not have.
fn of_cores(name: &str, content: Vec<u8>, cores: &CpuSet) -> Vec<u8> {
    let is_list = name.ends_with("_list") || name == "cpulist";
    let is_mask = name.ends_with("_cpus") || name.ends_with("_siblings") || matches!(name, "cpumap" | "shared_cpu_map");
    let text = String::from_utf8_lossy(&content);
    if is_list {
        let Ok(set) = text.parse::<CpuSet>() else { return content };
        return format!("{}\n", set.and(cores)).into_bytes();
    }
    if is_mask {
        return masked(text.trim(), cores).map_or(content.clone(), String::into_bytes);
    }
    content
}

/// A mask as the kernel writes it, words of 32 bits from the highest, with fewer bits.
fn masked(text: &str, cores: &CpuSet) -> Option<String> {
    let words: Vec<&str> = text.split(',').collect();
    let count = words.len() as u32;
    let mut kept = Vec::new();
    for (index, word) in (0..).zip(&words) {
        let first = (count - 1 - index) * 32;
        let allowed = (0..32).filter(|bit| cores.contains(first + bit)).fold(0u32, |mask, bit| mask | 1 << bit);
        let value = u32::from_str_radix(word, 16).ok()? & allowed;
        kept.push(format!("{value:0width$x}", width = word.len()));
    }
    Some(kept.join(",") + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::tests::Fixture;

    fn cores(text: &str) -> CpuSet {
        text.parse().expect("a list")
    }

    /// Four cores on two nodes.
    fn node() -> Fixture {
        let root = Fixture::new();
        root.file("sys/devices/system/cpu/online", "0-3\n");
        root.file("sys/devices/system/cpu/kernel_max", "8191\n");
        let mut cpuinfo = String::new();
        for cpu in 0..4 {
            let directory = format!("sys/devices/system/cpu/cpu{cpu}");
            let (node, pair) = (cpu / 2, if cpu < 2 { "0-1" } else { "2-3" });
            root.file(&format!("{directory}/topology/core_id"), &format!("{}\n", cpu % 2));
            root.file(&format!("{directory}/topology/package_cpus"), if cpu < 2 { "3\n" } else { "c\n" });
            root.file(&format!("{directory}/topology/package_cpus_list"), &format!("{pair}\n"));
            root.file(&format!("{directory}/cache/index3/shared_cpu_map"), "00000000,0000000f\n");
            root.file(&format!("{directory}/node{node}/x"), "");
            cpuinfo += &format!("processor\t: {cpu}\nmodel\t: x\n\n");
        }
        for node in 0..2 {
            let directory = format!("sys/devices/system/node/node{node}");
            root.file(&format!("{directory}/cpulist"), if node == 0 { "0-1\n" } else { "2-3\n" });
            root.file(&format!("{directory}/cpumap"), if node == 0 { "3\n" } else { "c\n" });
            root.file(&format!("{directory}/distance"), if node == 0 { "10 20\n" } else { "20 10\n" });
        }
        root.file("sys/devices/system/node/online", "0-1\n");
        root.file("proc/cpuinfo", &cpuinfo);
        root
    }

    #[test]
    fn only_the_cells_cores_are_shown() {
        let root = node();
        let view = View::take(root.path(), &cores("3")).expect("readable").expect("others are left out");
        let out = root.path().join("view");
        view.lay_out(&out).expect("own directory");
        let text = |path: &str| fs::read_to_string(out.join(path)).expect(path);
        assert_eq!(text("sys/devices/system/cpu/online"), "3\n");
        assert_eq!(text("sys/devices/system/cpu/kernel_max"), "8191\n");
        assert_eq!(text("sys/devices/system/cpu/cpu3/topology/core_id"), "1\n");
        assert_eq!(text("sys/devices/system/cpu/cpu3/topology/package_cpus"), "8\n");
        assert_eq!(text("sys/devices/system/cpu/cpu3/topology/package_cpus_list"), "3\n");
        assert_eq!(text("sys/devices/system/cpu/cpu3/cache/index3/shared_cpu_map"), "00000000,00000008\n");
        assert!(!out.join("sys/devices/system/cpu/cpu2").exists());
        assert_eq!(text("sys/devices/system/node/online"), "1\n");
        assert_eq!(text("sys/devices/system/node/node1/cpumap"), "8\n");
        assert_eq!(text("sys/devices/system/node/node1/distance"), "10\n");
        assert_eq!(text("sys/devices/system/cpu/cpu3/node1/cpulist"), "3\n");
        assert_eq!(text("proc/cpuinfo"), "processor\t: 3\nmodel\t: x\n\n");
        assert!(view.lay_out(&out).is_err(), "it is there already");
    }

    #[test]
    fn nothing_is_to_be_shown_where_linux_has_no_other_cores() {
        assert!(View::take(node().path(), &cores("0-3")).expect("readable").is_none());
    }

    #[test]
    fn masks_keep_their_width() {
        assert_eq!(masked("ffffffff,ffffffff", &cores("0,33")).as_deref(), Some("00000002,00000001\n"));
        assert_eq!(masked("f", &cores("5")).as_deref(), Some("0\n"));
        assert_eq!(masked("nothing", &cores("5")), None);
    }
}
