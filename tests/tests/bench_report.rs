//! The page that `tacet-bench compare --html` writes, opened in a browser without a screen: the plots draw,
//! nothing is fetched, nothing fails, in the light and in the dark scheme.
//!
//! The page itself runs no script and forbids it. A copy without that rule, with a probe at its end, asks the
//! browser what it made of the drawings.

use std::fs;
use std::path::Path;
use std::time::Duration;
use tacet_tests::scratch::Scratch;
use tacet_tests::{Case, Node, node};

const LIMIT: Duration = Duration::from_secs(240);

/// Ends the policy of the page, so that the probe may run.
const POLICY: &str = "http-equiv=\"Content-Security-Policy\"";

/// What the browser drew, one line per plot: marks promised, marks drawn, marks outside the drawing, named
/// ticks, name. `getBBox` is the extent of an element in the drawing (SVG 2, section 4.6.4), rendered or not;
/// what is not has no client rectangles (CSSOM View, section 6).
const PROBE: &str = "
<pre id=probe></pre>
<script>
const lines = [];
addEventListener('error', event => lines.push('error ' + event.message));
addEventListener('load', () => {
  for (const plot of document.querySelectorAll('svg.plot')) {
    const view = plot.viewBox.baseVal, frame = plot.getBoundingClientRect();
    let drawn = 0, outside = 0;
    for (const mark of plot.querySelectorAll('.marks circle, .marks path, .marks polyline, .marks .whisker')) {
      const box = mark.getBBox(), style = getComputedStyle(mark);
      const rendered = mark.getClientRects().length > 0 && style.visibility == 'visible';
      const painted = rendered && (style.fill != 'none' || style.stroke != 'none');
      if (painted && frame.width > 0 && frame.height > 0 && box.width + box.height > 0) drawn++;
      if (box.x < -1 || box.y < -1 || box.x + box.width > view.width + 1 || box.y + box.height > view.height + 1) outside++;
    }
    const ticks = [...plot.querySelectorAll('.ticks text')].filter(tick => tick.getBBox().width > 0).length;
    lines.push(['plot', plot.dataset.points, drawn, outside, ticks, plot.getAttribute('aria-label')].join(' '));
  }
  lines.push('fetched ' + performance.getEntriesByType('resource').length);
  lines.push('ink ' + getComputedStyle(document.body).color + ' on ' + getComputedStyle(document.body).backgroundColor);
  document.getElementById('probe').textContent = '\\n' + lines.join('\\n') + '\\n';
});
</script>
";

/// Writes the report of a short comparison into the scratch directory.
fn compare(node: &Node, scratch: &Scratch) {
    let tacet = node::tacet();
    let suites = ["compare", "noise", "calls", "--only", "getppid,write-1,ring-roundtrip", "--seconds", "0.5"];
    let files = ["--json", "report.json", "--html", "report.html", "--csv", "report.csv"];
    let case = Case::new(tacet.with_file_name("tacet-bench")).args(suites).args(files).arg("--tacet").arg(&tacet);
    // Linux stays as it is, also when root runs the tests.
    let case = case.env("TACET_BENCH_BASELINE", "default").env("TACET_BENCH_PLATFORM", "process");
    let outcome = case.limit(LIMIT).start_native(node, scratch).finish();
    assert_eq!(outcome.status.code(), Some(0), "{outcome}");
}

/// The document as the browser has it once it is loaded. Browsers leave helpers behind for a moment, which
/// are ended.
fn opened(node: &Node, scratch: &Scratch, page: &Path, scheme: &str) -> String {
    let profile = format!("--user-data-dir={}", scratch.path().join("profile").display());
    let case = Case::new("chromium")
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--enable-logging=stderr"])
        .args(["--virtual-time-budget=5000", "--window-size=1240,900", "--dump-dom", &profile])
        .arg(format!("--blink-settings=preferredColorScheme={scheme}"))
        .arg(format!("file://{}", page.display()));
    let (outcome, _) = case.limit(LIMIT).start_native(node, scratch).finish_with_strays();
    assert_eq!(outcome.status.code(), Some(0), "{outcome}");
    // What a page says on its console, a violated policy included.
    assert!(!outcome.err().contains("CONSOLE"), "{outcome}");
    outcome.out()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The lines of the probe that begin with this word.
fn lines<'a>(document: &'a str, word: &'a str) -> Vec<&'a str> {
    let probe = document.split("id=\"probe\">").nth(1).and_then(|rest| rest.split("</pre>").next());
    let probe = probe.unwrap_or_else(|| panic!("the probe did not report: {document}"));
    probe.lines().filter_map(|line| line.strip_prefix(word)?.strip_prefix(' ')).collect()
}

#[test]
fn the_plots_draw_in_a_browser() {
    let (node, scratch) = (Node::take(), Scratch::new());
    compare(&node, &scratch);
    let page = scratch.path().join("report.html");
    let text = read(&page);
    assert!(text.contains(POLICY) && !text.contains("<script"));
    let document = opened(&node, &scratch, &page, "1");
    assert_eq!(document.matches("<svg").count(), text.matches("<svg").count(), "all drawings are parsed as such");
    assert!(document.contains("id=\"suite-noise\"") && document.contains("id=\"suite-calls\""));

    // What the results hold is drawn.
    let results = read(&scratch.path().join("report.json"));
    for (data, title) in [
        ("\"effect\": {", "Ratio to native"),
        ("\"runs\": [", "Every run, in the order taken"),
        ("\"trace\": {", "detours over time"),
        ("\"histogram\": [", ": histogram"),
        ("\"cumulative\": [", ": cumulative distribution"),
    ] {
        assert_eq!(results.contains(data), document.contains(&format!("{title}</h4>")), "{title}");
    }

    let probed = scratch.file("probed.html", text.replace(POLICY, "name=\"policy\"") + PROBE);
    let light = opened(&node, &scratch, &probed, "1");
    assert_eq!(lines(&light, "error"), Vec::<&str>::new());
    assert_eq!(lines(&light, "fetched"), ["0"], "the page is complete in itself");
    let plots = lines(&light, "plot");
    assert_eq!(plots.len(), text.matches("data-points=").count());
    assert!(plots.len() >= 6, "ratios of both suites and the runs of each measure: {plots:#?}");
    for plot in plots {
        let numbers: Vec<usize> = plot.split(' ').map_while(|word| word.parse().ok()).collect();
        let [points, drawn, outside, ticks, ..] = numbers[..] else {
            panic!("five fields: {plot}");
        };
        let is_silent = points == 0 && plot.contains("no detour in the whole run");
        assert!(is_silent || (points > 0 && drawn > 0), "nothing is drawn: {plot}");
        assert!(outside == 0 && ticks > 2, "marks outside, or an axis without ticks: {plot}");
    }

    let dark = opened(&node, &scratch, &probed, "0");
    assert_eq!(lines(&dark, "plot"), lines(&light, "plot"), "the same drawing in both schemes");
    assert_ne!(lines(&dark, "ink"), lines(&light, "ink"), "in other colours");
}
