//! Under which conditions the numbers were taken, and by which commands.

use maud::{Markup, html};

use crate::compare::Comparison;
use crate::machine::record::Environment;

const UNKNOWN: &str = "unknown";

/// The machine before and after.
pub fn conditions(comparison: &Comparison) -> Markup {
    html! {
        section id="machine" {
            h2 { "The machine" }
            dl class="facts" {
                @for (name, value) in facts(comparison) {
                    div { dt { (name) } dd { (value) } }
                }
            }
            @if let Some(steal) = comparison.environment.steal_percent.filter(|steal| *steal > 0.0) {
                p class="absent" {
                    "The hypervisor took " (format!("{steal:.2}")) " % of the CPU time meanwhile: read largest samples "
                    "with care, it interrupts all sides alike."
                }
            }
        }
    }
}

fn facts(comparison: &Comparison) -> Vec<(&'static str, String)> {
    let environment: &Environment = &comparison.environment;
    let text = |value: &Option<String>| value.clone().unwrap_or_else(|| UNKNOWN.to_owned());
    let load = |load: Option<[f64; 3]>| {
        load.map_or_else(|| UNKNOWN.to_owned(), |[one, five, fifteen]| format!("{one:.2} {five:.2} {fifteen:.2}"))
    };
    let below = match environment.virtual_machine {
        _ if environment.emulated => "emulated in software",
        Some(true) => "a hypervisor",
        Some(false) => "none: the processor itself",
        None => UNKNOWN,
    };
    vec![
        ("CPU", text(&environment.cpu_model)),
        ("below Linux", below.to_owned()),
        ("kernel", text(&environment.kernel)),
        ("clock source", text(&environment.clock_source)),
        ("frequency governor", text(&environment.governor)),
        ("load before (1, 5, 15 min)", load(environment.load_before)),
        ("load after", load(environment.load_after)),
        ("stolen by the hypervisor", environment.steal_percent.map_or(UNKNOWN.to_owned(), |p| format!("{p:.2} %"))),
        ("tacet-bench", environment.version.clone()),
        ("tacet", text(&comparison.tacet_version)),
    ]
}

/// What was typed, and what each side ran.
pub fn commands(comparison: &Comparison) -> Markup {
    html! {
        section id="commands" {
            h2 { "Command lines" }
            h3 { "The comparison" }
            pre { (line(&comparison.environment.command_line)) }
            @for suite in &comparison.suites {
                h3 { "Suite " (suite.suite) }
                @for command in &suite.commands {
                    p class="command" { strong { (command.side) } }
                    pre { (line(&command.command)) }
                }
            }
        }
    }
}

/// A command as a shell takes it.
fn line(words: &[String]) -> String {
    words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
}

fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_=+./:,%@".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn commands_can_be_pasted_into_a_shell() {
        assert_eq!(quoted("--cores=1-1"), "--cores=1-1");
        assert_eq!(quoted("a b"), "'a b'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
    }
}
