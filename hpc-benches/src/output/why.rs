//! An explanation for people: each source with its count, what it is, and what removes it.

use super::format;
use super::text::{Text, machine};
use crate::why::disturbance::{Disturbance, Source};
use crate::why::report::{Main, Report};

/// Columns of a line of words.
const WIDTH: usize = 100;

impl Text for Report {
    fn text(&self) -> String {
        let from = self.watched_from.map_or_else(String::new, |core| format!(" from core {core}"));
        let mut text = machine(&self.environment);
        let length = self.seconds.map_or_else(String::new, |seconds| format!(" for {seconds:.1} s"));
        text += &format!("core:    {}, watched{length}{from}\n\n{}\n\n", self.core, self.occupation());
        if self.disturbances.is_empty() {
            text += "Nothing that Linux counts disturbed it.\n";
        }
        let (rare, told): (Vec<_>, Vec<_>) = self.disturbances.iter().partition(|disturbance| is_rare(disturbance));
        for (index, disturbance) in told.iter().enumerate() {
            text += &entry(index + 1, disturbance);
        }
        if !rare.is_empty() {
            let names: Vec<&str> = rare.iter().map(|disturbance| disturbance.name.as_str()).collect();
            let names = names.join(", ");
            text += &wrapped("\n", &format!("less than once per second, each: {names} (--json has all of them)"));
        }
        for note in &self.notes {
            text += &wrapped("\n", &format!("note: {note}"));
        }
        for missing in &self.not_read {
            text += &wrapped("\n", &format!("not read: {}: {}", missing.what, missing.why));
        }
        text
    }
}

impl Report {
    fn occupation(&self) -> String {
        match (&self.main, self.idle_percent) {
            (Some(Main { name, thread, percent, .. }), _) => {
                let share = percent.map_or_else(|| "most".to_owned(), |percent| format!("{percent:.1} %"));
                format!("{name} ({thread}) had the core {share} of the time. It was disturbed by:")
            }
            (None, Some(idle)) => {
                format!("No single program had the core; it was idle {idle:.1} % of the time. There were:")
            }
            (None, None) => "No single program had the core. There were:".to_owned(),
        }
    }
}

/// Whether it is told by its name alone: seldom, and short. A machine check is worth its words once.
fn is_rare(disturbance: &Disturbance) -> bool {
    const SHORT_MS: f64 = 1.0;
    let is_seldom = disturbance.per_second.is_some_and(|rate| rate < 1.0);
    let is_short = disturbance.milliseconds.is_none_or(|length| length < SHORT_MS);
    is_seldom && is_short && disturbance.source != Source::MachineInterrupt
}

fn entry(number: usize, disturbance: &Disturbance) -> String {
    let mut facts = Vec::new();
    let bound = if disturbance.at_most { "at most " } else { "" };
    if let Some(count) = disturbance.count {
        let times = if count == 1 { "time" } else { "times" };
        facts.push(format!("{bound}{count} {times}"));
        facts.extend(disturbance.per_second.map(|rate| format!("{} per second", format::digits(rate))));
    }
    facts.extend(disturbance.milliseconds.map(|length| format!("{bound}{} ms", format::digits(length))));
    let facts = if facts.is_empty() { String::new() } else { format!(": {}", facts.join(", ")) };
    // A command stays in one line, to be copied.
    let command = disturbance.command.as_ref().map_or_else(String::new, |command| format!("        {command}\n"));
    let name = format!("{number:>3}. {}{facts}\n", disturbance.name);
    name + &wrapped("     ", &disturbance.words) + &wrapped("     -> ", &disturbance.remedy) + &command
}

/// Lines of at most [`WIDTH`] columns, the first of which begins with `start` and the others as far in.
fn wrapped(start: &str, text: &str) -> String {
    let indent = start.trim_start_matches('\n').chars().count();
    let mut lines = start.to_owned();
    let mut column = indent;
    for (index, word) in text.split(' ').enumerate() {
        let length = word.chars().count();
        if index > 0 && column + 1 + length > WIDTH {
            lines += &format!("\n{}", " ".repeat(indent));
            column = indent;
        } else if index > 0 {
            lines.push(' ');
            column += 1;
        }
        lines += word;
        column += length;
    }
    lines + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_wrapped_between_words() {
        assert_eq!(wrapped("  -> ", "short"), "  -> short\n");
        let text = "0123456789 ".repeat(20);
        let lines = wrapped("\n  ", text.trim());
        let lines: Vec<&str> = lines.strip_prefix('\n').unwrap().lines().collect();
        assert!(lines.iter().all(|line| line.starts_with("  0") && line.len() <= WIDTH && !line.ends_with(' ')));
        assert_eq!(lines.iter().map(|line| line.split_whitespace().count()).collect::<Vec<_>>(), [9, 9, 2]);
    }
}
