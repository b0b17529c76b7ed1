//! A page with the plot and all numbers, which needs no other file and no network.

use super::plot;
use super::result::{Point, Scaled};
use super::text::{about, parameters};
use crate::quantity::show_duration;

const STYLE: &str = "\
body { font-family: sans-serif; margin: 2em auto; max-width: 60em; color: #222; background: #fff }
svg { max-width: 100%; height: auto }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
td { white-space: nowrap }
th, td { padding: 0.2em 0.8em; text-align: right; border-bottom: 1px solid #ddd }
th:first-child, td:first-child { text-align: left; white-space: nowrap }
pre { white-space: pre-wrap }
";

/// The whole page.
pub fn page(scaled: &Scaled) -> String {
    let traces: Vec<String> = scaled.traces.iter().map(about).collect();
    let record = format!(
        "date:    {}\nversion: tacet-bench {}\ncommand: {}\n{}\n{}",
        scaled.date,
        scaled.version,
        scaled.command_line.join(" "),
        parameters(scaled),
        traces.join("\n")
    );
    let rows: String = scaled.points.iter().map(|point| row(scaled, point)).collect();
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>Noise at scale</title>\n\
         <style>\n{STYLE}</style>\n</head>\n<body>\n<h1>Noise at scale</h1>\n\
         <p>What the measured noise costs a loop of work and a collective, simulated: each rank replays the \
         trace from an offset of its own.</p>\n{}\
         <table>\n<tr><th>noise</th><th>granularity</th><th>ranks</th><th>without noise</th><th>slowdown \
         (median)</th><th>p10</th><th>p90</th><th>max</th><th>mean</th><th>iterations</th></tr>\n{rows}</table>\n\
         <p>*: the ranks together replay more than the whole trace in each iteration; what is rarer than its \
         longest detours is not known.</p>\n<pre>{}</pre>\n</body>\n</html>\n",
        plot::svg(scaled),
        escape(&record)
    )
}

fn row(scaled: &Scaled, point: &Point) -> String {
    let slowdown = point.slowdown;
    let numbers: String = [slowdown.median, slowdown.p10, slowdown.p90, slowdown.max, slowdown.mean]
        .iter()
        .map(|value| format!("<td>{value:.3}</td>"))
        .collect();
    format!(
        "<tr><td>{}</td><td>{}</td><td>{}{}</td><td>{}</td>{numbers}<td>{}</td></tr>\n",
        escape(&scaled.traces[point.trace].label),
        show_duration(point.granularity_ns),
        point.ranks,
        if point.whole_trace { "*" } else { "" },
        crate::output::format::time(point.ideal_ns),
        point.iterations,
    )
}

/// Text that can stand in a document: names of files and sides are anyone's.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_text() {
        assert_eq!(escape("<a href=\"x\">&"), "&lt;a href=&quot;x&quot;&gt;&amp;");
    }
}
