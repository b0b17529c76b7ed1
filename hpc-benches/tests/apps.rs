//! The mini-apps, with the node's MPI (MPICH, as the other tests of this repository): right results are
//! told and do not depend on threads, wrong ones are refused, and a comparison notices where sides differ.

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Mutex, MutexGuard, PoisonError};

use support::{Folder, assert_refused, json};

const PROGRAMS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/programs");
/// Name, options for a short run, measures.
const APPS: [(&str, &[&str], &[&str]); 4] = [
    ("cg", &["-n", "8", "-r", "1"], &["cg-iteration"]),
    ("fft", &["-n", "8", "-r", "2"], &["fft-forward", "fft-inverse"]),
    ("particles", &["-n", "5", "-r", "10"], &["particles-step"]),
    ("montecarlo", &["-n", "20", "-r", "2"], &["montecarlo-batch"]),
];

/// Ranks wait by looking, so that several launches at once would keep each other from the cores.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// A folder, and the right to launch.
struct Launches {
    folder: Folder,
    _turn: MutexGuard<'static, ()>,
}

impl Launches {
    fn new() -> Self {
        Self { _turn: ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner), folder: Folder::new() }
    }

    fn compile(&self, app: &str) -> PathBuf {
        let program = PathBuf::from(self.folder.file(app));
        let source = format!("{PROGRAMS}/{app}.c");
        let warnings = ["-Wall", "-Wextra", "-Werror"];
        let compiled = Command::new("mpicc.mpich")
            .args(["-O2", "-fopenmp"])
            .args(warnings)
            .arg("-o")
            .arg(&program)
            .args([&source, "-lm"])
            .output()
            .expect("mpicc.mpich starts; scripts/test installs it");
        assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
        program
    }

    /// Compares `app`, with these words added on the side of the cell.
    fn compare(&self, app: &str, further: &str) -> Output {
        self.folder
            .program(&format!("#!/bin/sh\nwhile [ \"$1\" != -- ]; do shift; done\nshift\nexec \"$@\" {further}\n"));
        let short = ["compare", "apps", "--pairs", "1", "--app-repeats", "1", "--app-threads", "1", "--json", "-"];
        self.folder.tacet_bench(&[&short[..], &["--app", app]].concat())
    }
}

fn run(program: &Path, options: &[&str]) -> Output {
    let mut command = Command::new("mpirun.mpich");
    // More threads than cores: none should look for work in vain while another could do it.
    command.args(["-np", "2"]).arg(program).args(options).env("OMP_WAIT_POLICY", "passive");
    command.output().expect("mpirun.mpich starts; scripts/test installs it")
}

fn lines(output: &Output, kind: &str) -> Vec<String> {
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().filter(|line| line.starts_with(kind)).map(str::to_owned).collect()
}

#[test]
fn results_are_checked_and_the_same_for_any_number_of_threads() {
    let launches = Launches::new();
    for (app, options, measures) in APPS {
        let program = launches.compile(app);
        let with = |further: &[&str]| run(&program, &[options, further].concat());
        let (one, three) = (with(&["-t", "1"]), with(&["-t", "3"]));
        assert!(one.status.success() && three.status.success(), "{app}: {one:?} {three:?}");
        let names: Vec<String> =
            lines(&one, "measure ").iter().filter_map(|line| Some(line.split(' ').nth(1)?.to_owned())).collect();
        assert_eq!(names, measures);
        let (one, three) = (lines(&one, "result "), lines(&three, "result "));
        let differing: Vec<_> = one.iter().zip(&three).filter(|(one, three)| one != three).collect();
        let [(threads_1, threads_3)] = differing[..] else { panic!("{app}: {differing:?}") };
        assert_eq!(
            (threads_1.as_str(), threads_3.as_str()),
            (format!("result {app}-threads 1").as_str(), format!("result {app}-threads 3").as_str())
        );
    }
}

#[test]
fn wrong_results_and_wrong_options_are_refused() {
    let launches = Launches::new();
    for (app, options, _) in APPS {
        let program = launches.compile(app);
        let spoiled = run(&program, &[options, &["-x"]].concat());
        let errors = String::from_utf8_lossy(&spoiled.stderr);
        assert_eq!(spoiled.status.code(), Some(1), "{app}: {errors}");
        assert!(errors.starts_with(&format!("{app}: verification failed: ")), "{errors}");
        assert_eq!(lines(&spoiled, "measure "), [""; 0]);
    }
    // The apps read their options by the same function.
    for (app, wrong) in APPS.iter().map(|app| app.0).zip([&["-n", "0"][..], &["-n", "3"], &["-q"], &["word"]]) {
        let refused = run(Path::new(&launches.folder.file(app)), wrong);
        let errors = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(2), "{app} {wrong:?}: {errors}");
        assert!(errors.starts_with(&format!("{app}: usage: ")), "{errors}");
    }
}

#[test]
fn a_comparison_has_the_measures_of_all_apps_on_all_sides() {
    let launches = Launches::new();
    let output = launches.compare("cg,fft,particles,montecarlo", "");
    let report = json(&output);
    let measures = report["suites"][0]["measures"].as_array().expect("measures");
    let names: Vec<&str> = measures.iter().filter_map(|measure| measure["name"].as_str()).collect();
    assert_eq!(names, ["cg-iteration", "fft-forward", "fft-inverse", "particles-step", "montecarlo-batch"]);
    for measure in measures {
        for side in measure["sides"].as_array().expect("sides") {
            assert!(side["values"]["median"].as_f64() > Some(0.0), "{measure}");
        }
    }
}

#[test]
fn a_comparison_refuses_sides_that_computed_different_things() {
    let launches = Launches::new();
    let output = launches.compare("montecarlo", "-n 30");
    assert_refused(&output, 1, "side process computed something else: \"result montecarlo-transmitted ");
}

#[test]
fn a_comparison_tells_a_failed_verification() {
    let launches = Launches::new();
    let output = launches.compare("particles", "-x");
    assert_refused(&output, 1, "side process ended with status 1, saying \"particles: verification failed: ");
}
