//! What programs computed must not depend on where they ran: the first run of a program says what its
//! `result` lines are, and every later run, on any side, must print the same.

use std::cell::RefCell;
use std::collections::BTreeMap;

use crate::error::Failure;

/// The results of each program of a workload, by its place.
#[derive(Default)]
pub struct Agreement {
    first: RefCell<BTreeMap<usize, Results>>,
}

struct Results {
    side: String,
    lines: Vec<String>,
}

impl Agreement {
    /// Refuses results of `program` that differ from those of its first run.
    pub fn check(&self, program: usize, side: &str, stdout: &str) -> Result<(), Failure> {
        let lines: Vec<String> = stdout.lines().filter(|line| line.starts_with("result ")).map(str::to_owned).collect();
        let mut first = self.first.borrow_mut();
        let known = first.entry(program).or_insert_with(|| Results { side: side.to_owned(), lines: lines.clone() });
        if known.lines == lines {
            return Ok(());
        }
        let differing = known.lines.iter().zip(&lines).find(|(known, line)| known != line);
        let what = differing.map_or_else(
            || format!("{} results where {} printed {}", lines.len(), known.side, known.lines.len()),
            |(known_line, line)| format!("\"{line}\" where {} printed \"{known_line}\"", known.side),
        );
        Err(Failure::new(format!(
            "side {side} computed something else: {what}; give all sides the same number of ranks and threads, else one side is wrong"
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_results_agree_whatever_else_is_printed() {
        let agreement = Agreement::default();
        agreement.check(0, "native", "result a 1\nmeasure x ns 1\n").unwrap();
        agreement.check(0, "process", "hello\nresult a 1\n").unwrap();
        agreement.check(1, "process", "result b 2\n").unwrap();
    }

    #[test]
    fn another_result_is_told_with_both_values() {
        let agreement = Agreement::default();
        agreement.check(0, "native", "result a 1\nresult b 2\n").unwrap();
        let message = agreement.check(0, "process", "result a 1\nresult b 3\n").unwrap_err().to_string();
        assert!(message.contains("\"result b 3\" where native printed \"result b 2\""), "{message}");
        let message = agreement.check(0, "process", "result a 1\n").unwrap_err().to_string();
        assert!(message.contains("1 results where native printed 2"), "{message}");
    }
}
