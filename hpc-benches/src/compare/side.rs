//! The sides of a comparison: which commands they put before a program, and which core they
//! pin it to.

use std::env;
use std::ffi::OsString;
use std::path::{self, Path, PathBuf};

use super::Plan;
use super::workload::Workload;
use crate::error::Failure;

/// Name of the side that all others are compared with.
pub const NATIVE: &str = "native";

const NOT_FOUND: &str = "cannot find tacet: it is neither beside tacet-bench nor in PATH; build \
                         it with `cargo build --release` or name it with --tacet PATH";

/// One side.
pub struct Side {
    /// `native`, or the platform's name.
    pub name: String,
    /// The whole command lines of one run.
    pub commands: Vec<Vec<OsString>>,
    /// Core to pin the commands to; a cell pins itself.
    pub pin: Option<usize>,
    /// Core that the program must run on, where the suite asks for one.
    pub core: Option<usize>,
}

impl Side {
    /// The command lines for a report.
    pub fn printable(&self) -> Vec<Vec<String>> {
        let words = |command: &Vec<OsString>| command.iter().map(|word| word.to_string_lossy().into_owned()).collect();
        self.commands.iter().map(words).collect()
    }
}

/// Native first, then one side per platform of `plan`.
pub fn sides(workload: &Workload, plan: &Plan, tacet: &Path, core: usize) -> Vec<Side> {
    let one_core = workload.runs_on_one_core();
    let side = |name: &str, wrapper: &Vec<OsString>, pin| Side {
        name: name.to_owned(),
        commands: workload
            .programs()
            .iter()
            .map(|program| [workload.launcher(), wrapper.clone(), program.clone()].concat())
            .collect(),
        pin,
        core: one_core.then_some(core),
    };
    let mut sides = vec![side(NATIVE, &Vec::new(), one_core.then_some(core))];
    for platform in &plan.platforms {
        let name = platform.name();
        let cell_core = one_core.then_some(core);
        let wrapper = cell(tacet, name, cell_core, &plan.tacet_arguments);
        sides.push(side(name, &wrapper, None));
    }
    sides
}

/// `tacet run … --`. A single core is written as the range `C-C`: a lone number would be a
/// count of cores.
fn cell(tacet: &Path, platform: &str, core: Option<usize>, further: &[String]) -> Vec<OsString> {
    let mut words: Vec<OsString> = vec![tacet.into(), "run".into()];
    words.extend(["--platform".into(), platform.into()]);
    if let Some(core) = core {
        words.extend(["--cores".into(), format!("{core}-{core}").into()]);
    }
    words.extend(further.iter().map(OsString::from));
    words.push("--".into());
    words
}

/// The `tacet` named by the user, else the one beside this program, else the first in PATH.
pub fn find_tacet(named: Option<&Path>) -> Result<PathBuf, Failure> {
    if let Some(path) = named {
        return if path.is_file() {
            // A path without a slash would be looked up in PATH by exec.
            Ok(path::absolute(path).unwrap_or_else(|_| path.to_owned()))
        } else {
            let message = format!("there is no file {}; check --tacet", path.display());
            Err(Failure::with_status(127, message))
        };
    }
    let beside = env::current_exe().ok();
    let beside = beside.as_deref().and_then(Path::parent);
    let in_path = env::var_os("PATH").unwrap_or_default();
    beside
        .map(Path::to_owned)
        .into_iter()
        .chain(env::split_paths(&in_path))
        .map(|folder| folder.join("tacet"))
        .find(|candidate| candidate.is_file())
        .ok_or_else(|| Failure::with_status(127, NOT_FOUND))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_one_core_of_one_platform() {
        let words = cell(Path::new("/t/tacet"), "process", Some(3), &["--stats".into()]);
        let expected = ["/t/tacet", "run", "--platform", "process", "--cores", "3-3", "--stats", "--"];
        assert_eq!(words, expected);
    }

    #[test]
    fn ranks_get_their_cores_from_the_launcher() {
        let words = cell(Path::new("tacet"), "kvm", None, &[]);
        assert_eq!(words, ["tacet", "run", "--platform", "kvm", "--"]);
    }

    #[test]
    fn a_named_tacet_that_is_not_there_is_127() {
        let failure = find_tacet(Some(Path::new("/nonexistent/tacet"))).unwrap_err();
        assert_eq!(failure.status(), 127);
    }
}
