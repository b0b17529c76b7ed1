//! A comparison as CSV (RFC 4180): one row per suite, measure, side and run, for other programs'
//! statistics. What a side did not measure is one row without a run, with the reason.

use std::borrow::Cow;

use crate::compare::Comparison;
use crate::compare::result::{MeasureComparison, SideValues, SuiteComparison};
use crate::report::{Statistic, Unit};

const HEADER: &str = "suite,measure,side,run,turn,started_seconds,compared,unit,value,events,not_measured\n";

/// Unit of `value` where sides are compared by the rate of events.
const PER_SECOND: &str = "1/s";

/// All rows, the header first.
pub fn rows(comparison: &Comparison) -> String {
    let mut text = HEADER.to_owned();
    for suite in &comparison.suites {
        for measure in &suite.measures {
            for side in &measure.sides {
                text += &side_rows(suite, measure, side);
            }
        }
        for missing in &suite.not_measured {
            text += &row([&suite.suite, &missing.name, "all", "", "", "", "", "", "", "", &missing.reason]);
        }
    }
    text
}

fn side_rows(suite: &SuiteComparison, measure: &MeasureComparison, side: &SideValues) -> String {
    let (compared, unit) = match measure.compared {
        Statistic::Median => ("median", unit_name(measure.unit)),
        Statistic::DetoursPerSecond => ("detours-per-second", PER_SECOND.to_owned()),
    };
    let place = [suite.suite.as_str(), &measure.name, &side.side];
    let Some(values) = &side.values else {
        let reason = side.not_measured.as_deref().unwrap_or_default();
        return row([place[0], place[1], place[2], "", "", "", compared, &unit, "", "", reason]);
    };
    let turns: Vec<_> = suite.order.iter().enumerate().filter(|(_, turn)| turn.side == side.side).collect();
    let runs = values.runs.len().max(values.events.as_ref().map_or(0, Vec::len));
    (0..runs)
        .map(|run| {
            let turn = turns.get(run);
            let number = |value: Option<String>| value.unwrap_or_default();
            row([
                place[0],
                place[1],
                place[2],
                &(run + 1).to_string(),
                &number(turn.map(|(position, _)| (position + 1).to_string())),
                &number(turn.and_then(|(_, turn)| turn.started_seconds).map(|seconds| format!("{seconds:.3}"))),
                compared,
                &unit,
                &number(values.runs.get(run).map(f64::to_string)),
                &number(values.events.as_ref().and_then(|events| events.get(run)).map(usize::to_string)),
                "",
            ])
        })
        .collect()
}

/// The name of `unit` in JSON, which is how people write it.
pub fn unit_name(unit: Unit) -> String {
    match serde_json::to_value(unit) {
        Ok(serde_json::Value::String(name)) => name,
        other => unreachable!("a unit is a name: {other:?}"),
    }
}

fn row(fields: [&str; 11]) -> String {
    fields.map(quoted).join(",") + "\n"
}

fn quoted(field: &str) -> Cow<'_, str> {
    if field.contains([',', '"', '\n', '\r']) {
        Cow::Owned(format!("\"{}\"", field.replace('"', "\"\"")))
    } else {
        Cow::Borrowed(field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::specimen;

    #[test]
    fn one_row_per_run() {
        let text = rows(&specimen::noise());
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], HEADER.trim_end());
        assert_eq!(lines[1], "noise,selfish-detour,native,1,1,0.000,detours-per-second,1/s,250,3,");
        assert_eq!(lines[2], "noise,selfish-detour,native,2,3,4.000,detours-per-second,1/s,251,3,");
        assert_eq!(lines.iter().filter(|line| line.contains(",process,")).count(), 5);
        assert!(lines.iter().all(|line| line.matches(',').count() == 10), "{text}");
    }

    #[test]
    fn reasons_are_quoted() {
        let text = rows(&specimen::with_missing(r#"no "such", call"#));
        let expected = "noise,ring-roundtrip,native,,,,median,ns,,,\"no \"\"such\"\", call\"\n";
        assert!(text.contains(expected), "{text}");
    }

    #[test]
    fn an_emulated_machine_gives_counts_and_no_value() {
        let text = rows(&specimen::emulated());
        assert!(text.contains("\nnoise,selfish-detour,native,1,1,,detours-per-second,1/s,,3,\n"), "{text}");
    }
}
