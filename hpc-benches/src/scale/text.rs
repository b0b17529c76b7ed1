//! Reports of `scale` as text.

use super::check::Check;
use super::collective::Collective;
use super::result::{Point, Scaled, TraceRecord};
use crate::output::{Text, format, new_table};
use crate::quantity::show_duration;

const HOW_TO_READ: &str = "\
slowdown: time of an iteration by its time without noise; p10, p90: a tenth of the iterations went better, a
tenth worse; mean: all iterations together; of: how many were simulated, until the mean was known well enough.
";

const WHOLE_TRACE: &str = "\
*: the ranks together replay more than the whole trace in each iteration. They always meet its longest
detours, and what is rarer than those is not known: a longer trace can only tell more.
";

impl Text for Scaled {
    fn text(&self) -> String {
        let mut table = new_table(
            &["noise", "granularity", "ranks", "without noise", "slowdown", "p10", "p90", "max", "mean", "of"],
            2,
        );
        for (index, point) in self.points.iter().enumerate() {
            let before = index.checked_sub(1).map(|before| &self.points[before]);
            table.add_row(row(&self.traces, point, before));
        }
        let traces: String = self.traces.iter().map(|trace| format!("{}\n", about(trace))).collect();
        let note = if self.points.iter().any(|point| point.whole_trace) { WHOLE_TRACE } else { "" };
        format!("{}\n{traces}\n{HOW_TO_READ}{note}\n{}\n", parameters(self), table.trim_fmt())
    }
}

/// The loop that was simulated, in a line.
pub fn parameters(scaled: &Scaled) -> String {
    let network = scaled.network;
    let messages = match (scaled.collective, scaled.bytes) {
        (Collective::Barrier, _) => String::new(),
        (_, 1) => " of 1 byte".to_owned(),
        (_, bytes) => format!(" of {bytes} bytes"),
    };
    format!(
        "loop:    work, then {}{messages}; up to {} iterations, seed {}\n\
         network: L {}, o {}, g {}, G {} ns per byte",
        scaled.collective.name(),
        scaled.iterations,
        scaled.seed,
        show_duration(network.latency),
        show_duration(network.overhead),
        show_duration(network.gap),
        network.gap_per_byte,
    )
}

/// A trace in a line.
pub fn about(record: &TraceRecord) -> String {
    let trace = &record.trace;
    let longest = match record.longest_ns {
        Some(longest) => format!(", the longest {}", format::time(longest)),
        None => String::new(),
    };
    let file = if record.label.contains(&trace.file) { String::new() } else { format!(" ({})", trace.file) };
    format!(
        "noise:   {}{file}: {} detours above {} in {} s, {} % of the time{longest}",
        record.label,
        record.detours,
        format::time(trace.threshold_ns),
        format::digits(trace.seconds),
        format::digits(record.loss_percent),
    )
}

/// A row that says only once what it shares with the row before it.
fn row(traces: &[TraceRecord], point: &Point, before: Option<&Point>) -> Vec<String> {
    let same_trace = before.is_some_and(|before| before.trace == point.trace);
    let same_granularity = same_trace && before.is_some_and(|before| before.granularity_ns == point.granularity_ns);
    let unless = |same: bool, text: String| if same { String::new() } else { text };
    let slowdown = point.slowdown;
    let numbers = [slowdown.median, slowdown.p10, slowdown.p90, slowdown.max, slowdown.mean].map(|v| format!("{v:.3}"));
    let mut row = vec![
        unless(same_trace, traces[point.trace].label.clone()),
        unless(same_granularity, show_duration(point.granularity_ns)),
        format!("{}{}", point.ranks, if point.whole_trace { "*" } else { " " }),
        format::time(point.ideal_ns),
    ];
    row.extend(numbers);
    row.push(point.iterations.to_string());
    row
}

impl Text for Check {
    fn text(&self) -> String {
        let mut table =
            new_table(&["noise", "ranks", "closed form", "simulated", "difference", "standard error", ""], 1);
        for row in &self.rows {
            table.add_row([
                row.model.title().to_owned(),
                row.ranks.to_string(),
                format::time(row.expected_ns),
                format::time(row.simulated_ns),
                format!("{:+.2} %", row.difference_percent),
                format!("{:.2} %", row.standard_error_percent),
                if row.agrees { "agrees" } else { "differs" }.to_owned(),
            ]);
        }
        let phases = self.rows.first().map_or(0, |row| row.phases);
        format!(
            "What the slowest rank loses in {} of work, on average: detours of {} on average, {phases} phases,\nseed \
             {}. A difference of up to 4 standard errors is chance.\n\n{}\n",
            show_duration(self.work_ns),
            show_duration(self.length_ns),
            self.seed,
            table.trim_fmt()
        )
    }
}
