//! What a comparison leaves: JSON as its schema says, CSV, a page, and changes against an older one.

mod support;

use serde_json::Value;
use support::schema::violations;
use support::{Folder, assert_refused, command, json, repository, stdout, tacet_bench};

/// Two short suites, one of them with detours and histograms.
const SHORT: [&str; 10] =
    ["compare", "noise", "calls", "--only", "getppid,write-1", "--seconds", "0.2", "--pairs", "5", "--json"];

/// One suite with one measure.
const SHORTEST: [&str; 6] = ["compare", "calls", "--only", "getppid", "--pairs", "5"];

fn schema() -> Value {
    serde_json::from_str(&repository("docs/tacet-bench-compare.schema.json")).expect("the schema is JSON")
}

/// Every form of one comparison, and of a second one against it.
#[test]
fn a_comparison_is_what_its_schema_says_and_can_be_compared_against() {
    let folder = Folder::new();
    let (old, csv, html) = (folder.file("old.json"), folder.file("runs.csv"), folder.file("report.html"));
    let text = stdout(&folder.tacet_bench(&[&SHORT[..], &[&old, "--csv", &csv, "--html", &html]].concat()));
    assert!(text.lines().last().is_some_and(|line| line.trim_start().starts_with("process")), "the table ends: {text}");
    let report: Value = serde_json::from_str(&folder.read("old.json")).expect("JSON");
    assert_eq!(violations(&schema(), &report), Vec::<String>::new());
    assert_eq!(report["tacet_version"], "tacet stand-in");

    let table = folder.read("runs.csv");
    let runs = |measure: &Value| measure["sides"].as_array().into_iter().flatten().map(run_count).sum::<usize>();
    let suites = report["suites"].as_array().expect("suites");
    let measures = || suites.iter().flat_map(|suite| suite["measures"].as_array().into_iter().flatten());
    assert_eq!(table.lines().count(), 1 + measures().map(runs).sum::<usize>(), "{table}");
    assert!(table.contains("\ncalls,getppid,native,6,11,"), "{table}");

    let page = folder.read("report.html");
    for part in ["<!DOCTYPE html>", "id=\"suite-noise\"", "id=\"suite-calls\"", "data-points=", "</html>"] {
        assert!(page.contains(part), "{part}");
    }

    let (new, html) = (folder.file("new.json"), folder.file("new.html"));
    let arguments = [&SHORTEST[..], &["--json", &new, "--html", &html, "--against", &old]].concat();
    let text = stdout(&folder.tacet_bench(&arguments));
    assert!(text.contains("changes since 20") && text.contains("not the same: options of calls, native"), "{text}");
    let report: Value = serde_json::from_str(&folder.read("new.json")).expect("JSON");
    assert_eq!(violations(&schema(), &report), Vec::<String>::new());
    let changes = report["against"]["changes"].as_array().expect("changes");
    let sides: Vec<&str> = changes.iter().filter_map(|change| change["side"].as_str()).collect();
    assert_eq!(sides, ["native", "process"]);
    let missing = report["against"]["not_comparable"][0].to_string();
    assert!(missing.contains("write-1") && missing.contains("only in the older comparison"), "{missing}");
    assert!(folder.read("new.html").contains("id=\"against\""));
}

/// What the suites above do not have: curves, other units, cores by themselves.
#[test]
fn the_other_suites_are_what_the_schema_says() {
    let folder = Folder::new();
    let suites = ["compare", "memory", "startup", "noise", "--pairs", "1", "--json", "-"];
    let short = ["--array-mib", "1", "--set-mib", "1", "--chase-mib", "1", "--touch-mib", "2", "--seconds", "0.1"];
    let report = json(&folder.tacet_bench(&[&suites[..], &short[..], &["--all-cores"]].concat()));
    assert_eq!(violations(&schema(), &report), Vec::<String>::new());
    let text = report.to_string();
    for part in ["\"unit\":\"MB/s\"", "\"unit\":\"B\"", "\"curve\":{", "\"cores\":[{"] {
        assert!(text.contains(part), "{part}");
    }
}

fn run_count(side: &Value) -> usize {
    side["values"]["runs"].as_array().map_or(1, Vec::len)
}

/// The check itself refuses what is not laid out so: else it would prove nothing.
#[test]
fn the_schema_refuses_what_is_otherwise() {
    let good = serde_json::json!({
        "schema": "tacet-bench-compare/1", "core": 1, "pairs": 5, "suites": [],
        "environment": {
            "date": "2026-01-02T03:04:05Z", "command_line": ["tacet-bench"], "version": "0.1.0", "cpu_model": null,
            "virtual_machine": true, "kernel": "6.1", "clock_source": null, "governor": null,
            "load_before": [0.1, 0.2, 0.3], "load_after": null, "steal_percent": 0.5
        }
    });
    assert_eq!(violations(&schema(), &good), Vec::<String>::new());
    for (pointer, wrong, expected) in [
        ("/schema", serde_json::json!("tacet-bench-compare/2"), "$.schema is \"tacet-bench-compare/2\""),
        ("/core", serde_json::json!(-1), "$.core is -1, below 0"),
        ("/pairs", serde_json::json!("5"), "$.pairs is \"5\", not \"integer\""),
        ("/environment/load_before", serde_json::json!([1.0]), "$.environment.load_before has not minItems 3"),
        ("/environment/command_line", serde_json::json!([7]), "$.environment.command_line[0] is 7"),
        ("/suites", serde_json::json!([{}]), "$.suites[0] lacks suite"),
        ("/environment", serde_json::json!({ "secret": 1 }), "$.environment.secret is not in the schema"),
    ] {
        let mut bad = good.clone();
        *bad.pointer_mut(pointer).expect("it is there") = wrong;
        let found = violations(&schema(), &bad);
        assert!(found.iter().any(|line| line.starts_with(expected)), "{pointer}: {found:?}");
    }
}

/// Before the first run: the runs would take minutes.
#[test]
fn an_older_file_that_is_none_is_refused_first() {
    let folder = Folder::new();
    let long = |file: &str| ["compare", "noise", "--seconds", "100", "--against", file].map(str::to_owned);
    let with = |name: &str, text: &str| {
        std::fs::write(folder.file(name), text).expect("the folder can be written");
        long(&folder.file(name))
    };
    for (arguments, message) in [
        (long("/nonexistent/old.json"), "cannot read /nonexistent/old.json"),
        (with("a.json", "no JSON"), "it is no JSON"),
        (with("b.json", r#"{"schema":"tacet-bench-run/1"}"#), "its layout is tacet-bench-run/1"),
        (with("c.json", r#"{"schema":"tacet-bench-compare/9"}"#), "its layout is tacet-bench-compare/9"),
        (with("d.json", r#"{"schema":"tacet-bench-compare/1","core":1}"#), "is not laid out so"),
    ] {
        assert_refused(&folder.tacet_bench(&arguments.each_ref().map(String::as_str)), 1, message);
    }
}

#[test]
fn files_that_cannot_be_written_are_told_first() {
    let folder = Folder::new();
    for option in ["--html", "--csv"] {
        let arguments = ["compare", "noise", "--seconds", "100", option, "/nonexistent/x"];
        assert_refused(&folder.tacet_bench(&arguments), 1, &format!("choose another file for {option}"));
    }
    let arguments = ["compare", "noise", "--seconds", "100", "--csv", "-", "--html", "-"];
    assert_refused(&folder.tacet_bench(&arguments), 2, "only one of --json, --csv and --html");
}

/// Stands for a tacet on a node that has bare cores, of which somebody holds the one that is asked for.
const WITH_DOCTOR: &str = r#"#!/bin/sh
if [ "$1" = doctor ]; then
    echo '{"platforms":[{"platform":"process","is_built":true,"can_run":"yes","checks":[]},'
    echo '{"platform":"kvm","is_built":true,"can_run":"yes","checks":[]},'
    echo '{"platform":"partition","is_built":true,"can_run":"yes","checks":[]}]}'
    exit
fi
case " $* " in *" partition "*) echo 'tacet: core 1 is held' >&2; exit 125 ;; esac
while [ "$1" != -- ]; do shift || exit; done
shift
exec "$@"
"#;

#[test]
fn without_a_choice_every_platform_that_starts_a_cell_is_a_side() {
    let folder = Folder::new();
    let tacet = folder.program(WITH_DOCTOR);
    let arguments = ["compare", "calls", "--only", "getppid", "--pairs", "1", "--tacet", &tacet, "--json", "-"];
    let report = json(&command(&arguments).env_remove("TACET_BENCH_PLATFORM").output().expect("tacet-bench starts"));
    assert_eq!(violations(&schema(), &report), Vec::<String>::new());
    let suite = &report["suites"][0];
    let sides: Vec<_> = suite["measures"][0]["sides"].as_array().unwrap().iter().map(|side| &side["side"]).collect();
    assert_eq!(sides, ["native", "process", "kvm"]);
    assert_eq!(suite["without_platforms"][0]["platform"], "partition");
    assert!(suite["without_platforms"].to_string().contains("core 1 is held"), "{suite}");
    // Whoever names it wants it, or to hear why not.
    let named = [&arguments[..], &["--platform", "partition"]].concat();
    assert_refused(&tacet_bench(&named), 1, "core 1 is held");
}

/// Those that this machine has no compiler for are left out with the reason; one that fails ends itself alone.
#[test]
fn without_a_suite_all_run_that_can() {
    let folder = Folder::new();
    let tacet = folder.program("#!/bin/sh\ncase \" $* \" in *\" memory \"*) exit 3 ;; esac\nwhile [ \"$1\" != -- ]; do shift || exit; done; shift; exec \"$@\"\n");
    let missing = ["--startup-cc", "/nonexistent/cc", "--mpicc", "/nonexistent/mpicc", "--omp-cc", "/nonexistent/cc"];
    let file = folder.file("all.json");
    let short =
        ["compare", "--pairs", "1", "--seconds", "0.1", "--only", "getppid", "--tacet", &tacet, "--json", &file];
    let output = tacet_bench(&[&short[..], &missing].concat());
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(
        errors.starts_with("tacet-bench: suites noise, calls, memory, startup on native, process; 1 pair"),
        "{errors}"
    );
    assert!(errors.contains(": about ") && errors.contains("side process ended with status 3"), "{errors}");
    let report: Value = serde_json::from_str(&folder.read("all.json")).expect("the others are written");
    assert_eq!(violations(&schema(), &report), Vec::<String>::new());
    let names =
        |list: &Value| list.as_array().into_iter().flatten().map(|suite| suite["suite"].clone()).collect::<Vec<_>>();
    assert_eq!(names(&report["suites"]), ["noise", "calls", "startup"]);
    assert_eq!(names(&report["not_compared"]), ["openmp", "mpi", "apps", "memory"]);
    assert!(stdout_of(&output).contains("not compared: suite openmp: "));
}

fn stdout_of(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn standard_output_takes_one_form_in_place_of_the_table() {
    let folder = Folder::new();
    let csv = stdout(&folder.tacet_bench(&[&SHORTEST[..], &["--csv", "-"]].concat()));
    assert_eq!(csv.lines().count(), 1 + 6 + 5, "{csv}");
    assert!(csv.starts_with("suite,measure,side,run,"));
    let html = stdout(&folder.tacet_bench(&[&SHORTEST[..], &["--html", "-"]].concat()));
    assert!(html.starts_with("<!DOCTYPE html>") && html.trim_end().ends_with("</html>"));
}
