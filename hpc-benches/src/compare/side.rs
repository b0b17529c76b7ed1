//! The sides of a comparison: which commands they put before a program, and which core they
//! pin it to.

use std::env;
use std::ffi::OsString;
use std::path::{self, Path, PathBuf};
use std::time::Duration;

use clap::ValueEnum;

use super::workload::Workload;
use super::{Plan, Platform, cell_stats, launch};
use crate::error::Failure;

/// Name of the side that all others are compared with.
pub const NATIVE: &str = "native";
/// Name of the side that runs on a tuned Linux.
pub const TUNED: &str = "native-tuned";

const NOT_FOUND: &str = "cannot find tacet: it is neither beside tacet-bench nor in PATH; build \
                         it with `cargo build --release` or name it with --tacet PATH";

const VERSION_LIMIT: Duration = Duration::from_secs(10);

/// One side.
pub struct Side {
    /// `native`, `native-tuned`, or the platform's name.
    pub name: String,
    /// The whole command lines of one run.
    pub commands: Vec<Vec<OsString>>,
    /// Core to pin the commands to; a cell pins itself.
    pub pin: Option<usize>,
    /// Core that the program must run on, where the suite asks for one.
    pub core: Option<usize>,
}

impl Side {
    /// Whether its runs need a tuned Linux.
    pub fn is_tuned(&self) -> bool {
        self.name == TUNED
    }

    /// The platform of its cells; none where the program runs on Linux itself.
    pub fn platform(&self) -> Option<Platform> {
        Platform::value_variants().iter().copied().find(|platform| platform.name() == self.name)
    }

    /// The command lines for a report.
    pub fn printable(&self) -> Vec<Vec<String>> {
        let words = |command: &Vec<OsString>| command.iter().map(|word| word.to_string_lossy().into_owned()).collect();
        self.commands.iter().map(words).collect()
    }
}

/// Native first, also tuned where `is_tuned`, then one side per platform.
pub fn sides(
    workload: &Workload,
    plan: &Plan,
    tacet: &Path,
    core: usize,
    is_tuned: bool,
    platforms: &[Platform],
) -> Vec<Side> {
    let one_core = workload.runs_on_one_core();
    let side = |name: &str, wrapper: &[OsString], rank_wrapper: &[OsString], pin| Side {
        name: name.to_owned(),
        commands: workload.commands(wrapper, rank_wrapper),
        pin,
        core: one_core.then_some(core),
    };
    let mut sides = vec![side(NATIVE, &[], &[], one_core.then_some(core))];
    if is_tuned {
        sides.push(side(TUNED, &[], &[], one_core.then_some(core)));
    }
    for &platform in platforms {
        let wrapper = wrapper(workload, plan, tacet, core, platform);
        // Ranks get their cores from the launcher.
        let rank_wrapper = cell(tacet, platform.name(), &[], &further(workload, plan));
        sides.push(side(platform.name(), &wrapper, &rank_wrapper, None));
    }
    sides
}

/// What goes before a program of `workload` to run it in a cell on `platform`.
pub fn wrapper(workload: &Workload, plan: &Plan, tacet: &Path, core: usize, platform: Platform) -> Vec<OsString> {
    let cores = if workload.runs_on_one_core() { vec![core] } else { workload.all_cores().to_vec() };
    cell(tacet, platform.name(), &cores, &further(workload, plan))
}

/// The options of `tacet run` beside platform and cores.
fn further(workload: &Workload, plan: &Plan) -> Vec<OsString> {
    let mut further: Vec<OsString> = plan.tacet_arguments.iter().map(OsString::from).collect();
    further.extend(workload.reads_cell_counters().then(|| cell_stats::option(&plan.tacet_arguments)).flatten());
    further
}

/// `tacet run … --`. A single core is written as the range `C-C`: a lone number would be a
/// count of cores. Without `cores` they are left to the launcher.
fn cell(tacet: &Path, platform: &str, cores: &[usize], further: &[OsString]) -> Vec<OsString> {
    let mut words: Vec<OsString> = vec![tacet.into(), "run".into()];
    words.extend(["--platform".into(), platform.into()]);
    if !cores.is_empty() {
        let ranges: Vec<String> = cores.iter().map(|core| format!("{core}-{core}")).collect();
        words.extend(["--cores".into(), ranges.join(",").into()]);
    }
    words.extend_from_slice(further);
    words.push("--".into());
    words
}

/// What this `tacet` says of its version; none when it says nothing of the kind.
pub fn version_of(tacet: &Path) -> Option<String> {
    let command = [tacet.into(), "--version".into()];
    let finished = launch::run("tacet --version", &command, None, VERSION_LIMIT).ok()?;
    let line = finished.stdout.lines().next()?.trim();
    (!line.is_empty()).then(|| line.to_owned())
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
        let words = cell(Path::new("/t/tacet"), "process", &[3], &["--stats".into()]);
        let expected = ["/t/tacet", "run", "--platform", "process", "--cores", "3-3", "--stats", "--"];
        assert_eq!(words, expected);
    }

    #[test]
    fn several_cores_are_named_one_by_one() {
        let words = cell(Path::new("tacet"), "process", &[0, 2], &[]);
        assert_eq!(words[4..6], ["--cores", "0-0,2-2"]);
    }

    #[test]
    fn ranks_get_their_cores_from_the_launcher() {
        let words = cell(Path::new("tacet"), "kvm", &[], &[]);
        assert_eq!(words, ["tacet", "run", "--platform", "kvm", "--"]);
    }

    #[test]
    fn a_named_tacet_that_is_not_there_is_127() {
        let failure = find_tacet(Some(Path::new("/nonexistent/tacet"))).unwrap_err();
        assert_eq!(failure.status(), 127);
    }
}
