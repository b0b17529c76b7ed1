//! Pages of synthetic comparisons.

use super::page;
use crate::output::specimen;

/// The values of all attributes of that name.
fn attributes<'a>(page: &'a str, name: &str) -> Vec<&'a str> {
    let start = format!(" {name}=\"");
    page.split(&start).skip(1).filter_map(|rest| rest.split('"').next()).collect()
}

#[test]
fn a_page_has_table_and_plots() {
    let text = page(&specimen::traced_noise());
    for title in ["Ratio to native", "detours over time", "histogram", "cumulative distribution", "Every run"] {
        assert!(text.contains(title), "{title}");
    }
    let points: Vec<usize> = attributes(&text, "data-points").iter().map(|n| n.parse().unwrap()).collect();
    // One ratio, three detours on either side, a bin of either side, a step of either side, all runs.
    assert_eq!(points, [1, 3, 3, 2, 2, 11]);
    assert!(text.contains(">better<") && text.contains("Some CPU") && text.contains("1.50 %"));
}

#[test]
fn nothing_is_fetched_and_nothing_is_executed() {
    let text = page(&specimen::traced_noise());
    for outside in ["<script", "<link", "<img", "url(", "@import", "src=\"", "http://", "https://", "<iframe"] {
        assert!(!text.contains(outside), "{outside}");
    }
    assert!(text.contains("default-src 'none'"));
    assert!(attributes(&text, "href").iter().all(|target| target.starts_with('#')));
}

#[test]
fn every_text_from_outside_is_escaped() {
    let mut comparison = specimen::with_missing("</script><b>&\"'");
    let evil = || "\"><img src=x onerror=alert(1)>".to_owned();
    comparison.environment.cpu_model = Some(evil());
    comparison.environment.kernel = Some(evil());
    comparison.environment.date = evil();
    comparison.environment.command_line.push(evil());
    comparison.tacet_version = Some(evil());
    let suite = &mut comparison.suites[0];
    suite.suite = evil();
    suite.warnings.push(evil());
    suite.commands[0].command.push(evil());
    suite.measures[0].name = evil();
    suite.measures[0].sides[1].side = evil();
    let text = page(&comparison);
    assert!(!text.contains("<img") && !text.contains("<b>"), "{text}");
    assert!(text.contains("&lt;/script&gt;&lt;b&gt;&amp;&quot;'"));
}

#[test]
fn what_is_missing_is_said_and_not_drawn() {
    let text = page(&specimen::noise());
    assert!(text.contains("detours over time: the runs told how many detours there were, not when each was"));
    assert!(text.contains("curves: no measure of this suite was taken over a range"));
    assert!(!attributes(&text, "data-points").contains(&"0"), "no empty plot");
    let text = page(&specimen::with_missing("this kernel has no such call"));
    assert!(text.contains("not measured: this kernel has no such call"));
    assert!(text.contains("Not drawn: ratio to native"));
}

#[test]
fn an_emulated_machine_shows_counts_and_no_plot() {
    let text = page(&specimen::emulated());
    assert!(text.contains("Emulated: counts only."));
    assert!(text.contains("3, 3, 3, 3, 3, 3"));
    assert!(attributes(&text, "data-points").is_empty());
    for time in ["µs", "250", "125", " ns"] {
        assert!(!text.contains(time), "{time}");
    }
}

#[test]
fn a_silent_side_has_a_strip_that_says_so() {
    let mut comparison = specimen::traced_noise();
    let cell = &mut comparison.suites[0].measures[0].sides[1];
    let trace = cell.trace.as_mut().unwrap();
    (trace.events, trace.points) = (0, Vec::new());
    assert!(page(&comparison).contains("no detour in the whole run"));
}
