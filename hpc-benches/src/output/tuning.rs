//! What tuning applied, as lines.

use crate::compare::result::SuiteComparison;
use crate::tuning::report::Tuning;

/// A line per item, each with its outcome first; or why there is no tuned side. Empty when there is nothing to
/// say.
pub fn lines(suite: &SuiteComparison) -> String {
    match (&suite.tuning, &suite.without_tuned) {
        (Some(tuning), _) => items(tuning),
        (None, Some(why)) => format!("without side native-tuned: {why}\n"),
        (None, None) => String::new(),
    }
}

fn items(tuning: &Tuning) -> String {
    let Tuning { measured, isolated, .. } = tuning;
    let mut text = match isolated.as_str() {
        "" => format!("native-tuned: for the programs on {measured}, put back after each run:\n"),
        _ => format!(
            "native-tuned: for the programs on {measured}, with {isolated} kept free, put back after each run:\n"
        ),
    };
    for item in &tuning.items {
        text += &format!("  {:<13} {}: {}\n", item.outcome.words(), item.name, item.detail);
    }
    text
}
