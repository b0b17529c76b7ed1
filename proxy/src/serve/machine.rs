//! Paths that ask what machine this is lead to the cell's view of it (`node::view`).
//!
//! The view is laid out in the ledger's directory when it is first asked for, and goes with the
//! cell's entry there.

use std::ffi::{CStr, CString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::node::cpus::CpuSet;
use crate::node::view::{CPUINFO, CPUS, GROUP, NODES, View};

/// Where the view comes from.
#[derive(Debug, Clone)]
pub enum Source {
    /// It was taken down before Linux lost the cores; `None`: Linux has no others.
    Taken(Option<View>),
    /// Linux has these cores still.
    Linux(CpuSet),
}

/// The cell's view of the machine.
#[derive(Debug)]
pub struct Machine {
    source: Source,
    place: PathBuf,
    /// Whether it is laid out; `false` when there is no need to, or when that failed.
    laid_out: OnceLock<bool>,
}

impl Machine {
    /// A view, and where it is to be laid out.
    pub fn new(source: Source, place: PathBuf) -> Self {
        Machine { source, place, laid_out: OnceLock::new() }
    }

    fn lay_out(&self) -> bool {
        let late;
        let view = match &self.source {
            Source::Taken(view) => view.as_ref(),
            Source::Linux(cores) => {
                late = View::take(Path::new("/"), cores).unwrap_or_else(|error| {
                    tracing::warn!("cannot take down what Linux says of the cell's cores: {error}");
                    None
                });
                late.as_ref()
            }
        };
        let Some(view) = view else { return false };
        let done = view.lay_out(&self.place);
        done.inspect_err(|error| tracing::warn!("cannot show the program its cores: {error}")).is_ok()
    }

    /// Where a path of the program's leads, relative to `directory` (a descriptor, or `AT_FDCWD`) if it is
    /// relative; `None`: where it says.
    pub fn lead(&self, directory: i32, path: &CStr) -> Option<CString> {
        let bytes = path.to_bytes();
        let names: Vec<&[u8]> =
            bytes.split(|byte| *byte == b'/').filter(|name| !name.is_empty() && *name != b".").collect();
        let inner = names.join(&b'/');
        let asks = |place: &str| {
            let rest = inner.strip_prefix(place.as_bytes());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
        };
        // Linux's control group has not the cell's cores, where they were taken from Linux.
        let of_group = names.last().and_then(|name| group_file(name)).filter(|_| names.contains(&&b"cgroup"[..]));
        let inner = of_group.map_or(inner.clone(), |file| [GROUP.as_bytes(), b"/", file].concat());
        let is_ours = of_group.is_some() || [CPUS, NODES, CPUINFO].into_iter().any(asks);
        let is_ours = is_ours && !names.contains(&&b".."[..]);
        if !is_ours || (!bytes.starts_with(b"/") && !is_root(directory)) {
            return None;
        }
        if !self.laid_out.get_or_init(|| self.lay_out()) {
            return None;
        }
        let mut led = self.place.as_os_str().as_bytes().to_vec();
        led.push(b'/');
        led.extend_from_slice(&inner);
        if bytes.ends_with(b"/") {
            led.push(b'/');
        }
        CString::new(led).ok()
    }
}

/// What the view has in the place of a file of a control group (cgroups(7), both versions).
fn group_file(name: &[u8]) -> Option<&'static [u8]> {
    match name {
        b"cpuset.cpus" | b"cpuset.cpus.effective" | b"cpuset.effective_cpus" => Some(b"cpus"),
        b"cpuset.mems" | b"cpuset.mems.effective" | b"cpuset.effective_mems" => Some(b"mems"),
        _ => None,
    }
}

/// Whether relative paths begin at the root: hwloc's do.
fn is_root(directory: i32) -> bool {
    let link =
        if directory == libc::AT_FDCWD { "/proc/self/cwd".to_owned() } else { format!("/proc/self/fd/{directory}") };
    std::fs::read_link(link).is_ok_and(|target| target == Path::new("/"))
}
