//! What changed since an older comparison, as text.

use super::format;
use super::table::new_table;
use crate::compare::changes::{Change, Changes, Conclusion, Difference};
use crate::report::Statistic;

const HOW_TO_READ: &str = "\
before, now: median run. Nothing was taken in turn here: a change is one when all runs now lie beyond
all runs before, and the medians differ by more than either spread.
";

/// The whole section.
pub fn changes(changes: &Changes) -> String {
    let mut text = format!("\nchanges since {} ({})\n", changes.date, changes.file);
    for difference in &changes.differences {
        text += &format!("not the same: {}\n", difference_line(difference));
    }
    for missing in &changes.not_comparable {
        let (suite, measure, side) = (&missing.suite, &missing.measure, &missing.side);
        text += &format!("not compared: {suite}: {measure} on {side}: {}\n", missing.reason);
    }
    if changes.changes.is_empty() {
        return text + "nothing can be compared\n";
    }
    let header = ["suite", "measure", "side", "before", "now", "ratio", "spread before", "spread now", "conclusion"];
    let mut table = new_table(&header, 3);
    for change in &changes.changes {
        table.add_row(row(change, &changes.changes));
    }
    format!("{text}{HOW_TO_READ}\n{}\n", table.trim_fmt())
}

/// What differs, with both values.
pub fn difference_line(difference: &Difference) -> String {
    let known = |value: &Option<String>| value.clone().unwrap_or_else(|| "unknown".to_owned());
    format!("{}: {} before, {} now", difference.what, known(&difference.before), known(&difference.now))
}

fn row(change: &Change, all: &[Change]) -> Vec<String> {
    let spread = |percent: Option<f64>| percent.map_or_else(|| "-".to_owned(), |percent| format!("{percent:.1} %"));
    vec![
        change.suite.clone(),
        change.measure.clone(),
        change.side.clone(),
        value(change, change.before),
        value(change, change.now),
        format::ratio(change.ratio),
        spread(change.before_spread_percent),
        spread(change.now_spread_percent),
        conclusion(change, all),
    ]
}

/// A compared value.
pub fn value(change: &Change, value: f64) -> String {
    match change.compared {
        Statistic::Median => format::value(value, change.unit),
        Statistic::DetoursPerSecond => format!("{} /s", format::digits(value)),
    }
}

/// The conclusion in words. Where native changed in the same direction, the machine may have.
pub fn conclusion(change: &Change, all: &[Change]) -> String {
    let words = match change.conclusion {
        Conclusion::Better => "better",
        Conclusion::Worse => "worse",
        Conclusion::NoChangeShown => "no change shown",
        Conclusion::TooFewRuns => "too few runs",
    };
    let is_native_too = matches!(change.conclusion, Conclusion::Better | Conclusion::Worse)
        && change.side != crate::compare::NATIVE
        && all.iter().any(|other| {
            other.side == crate::compare::NATIVE
                && (&other.suite, &other.measure) == (&change.suite, &change.measure)
                && other.conclusion == change.conclusion
        });
    if is_native_too { format!("{words}; native too") } else { words.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Unit;

    fn change(side: &str, conclusion: Conclusion) -> Change {
        Change {
            suite: "calls".to_owned(),
            measure: "getppid".to_owned(),
            side: side.to_owned(),
            unit: Unit::Nanoseconds,
            compared: Statistic::Median,
            before: 200.0,
            now: 100.0,
            ratio: Some(0.5),
            before_spread_percent: Some(1.25),
            now_spread_percent: None,
            conclusion,
        }
    }

    fn found(native: Conclusion) -> Changes {
        Changes {
            file: "old.json".to_owned(),
            date: "2026-01-02T03:04:05Z".to_owned(),
            differences: vec![Difference { what: "kernel".to_owned(), before: Some("6.1".to_owned()), now: None }],
            changes: vec![change("native", native), change("process", Conclusion::Better)],
            not_comparable: Vec::new(),
        }
    }

    #[test]
    fn both_values_their_ratio_and_the_conclusion_are_told() {
        let text = changes(&found(Conclusion::NoChangeShown));
        assert!(text.starts_with("\nchanges since 2026-01-02T03:04:05Z (old.json)\n"));
        assert!(text.contains("not the same: kernel: 6.1 before, unknown now\n"));
        let last: Vec<&str> = text.lines().last().unwrap().split_whitespace().collect();
        assert_eq!(last.join(" "), "calls getppid process 200.0 ns 100.0 ns 0.500 1.2 % - better");
    }

    #[test]
    fn a_change_that_native_shares_says_so() {
        assert!(changes(&found(Conclusion::Better)).ends_with("better; native too\n"));
    }
}
