//! What a comparison leaves: JSON as its schema says, CSV, a page, and changes against an older one.

mod support;

use serde_json::Value;
use support::schema::violations;
use support::{Folder, assert_refused, json, repository, stdout};

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

#[test]
fn standard_output_takes_one_form_in_place_of_the_table() {
    let folder = Folder::new();
    let csv = stdout(&folder.tacet_bench(&[&SHORTEST[..], &["--csv", "-"]].concat()));
    assert_eq!(csv.lines().count(), 1 + 6 + 5, "{csv}");
    assert!(csv.starts_with("suite,measure,side,run,"));
    let html = stdout(&folder.tacet_bench(&[&SHORTEST[..], &["--html", "-"]].concat()));
    assert!(html.starts_with("<!DOCTYPE html>") && html.trim_end().ends_with("</html>"));
}
