//! The examination for people: a table of platforms, what `auto` takes, then fact by fact.

use super::fact::{Fact, Verdict};
use super::{Examination, Outlook};
use crate::cli::Platform;
use crate::platform::{self, Choice};
use crate::table::{printable, row, table, wrapped};

/// Columns of the whole text. Commands are not broken: they may be longer.
const WIDTH: usize = 100;
/// Column where the needs of a platform begin.
const NEEDS_FROM: usize = 22;

/// All of it.
pub fn text(examination: &Examination, choice: Option<&Choice>) -> String {
    let mut text = platforms(examination) + "\n";
    for line in wrapped(&auto(choice), WIDTH) {
        text += &format!("{line}\n");
    }
    let own = examination.platforms.iter().flat_map(|(_, facts)| facts);
    let checks = examination.common.iter().chain(own).map(|fact| fact.check.chars().count());
    let width = checks.max().unwrap_or(0);
    text += &section("all platforms", &examination.common, width);
    for (platform, facts) in &examination.platforms {
        text += &section(&format!("{platform}: {}", what_it_is(*platform)), facts, width);
    }
    text
}

fn what_it_is(platform: Platform) -> &'static str {
    match platform {
        Platform::Auto => "the best that the node offers and allows",
        Platform::Partition => "bare cores taken out of Linux",
        Platform::Kvm => "a virtual machine with pinned processors",
        Platform::Process => "a Linux process with pinned threads, fenced by seccomp",
    }
}

fn platforms(examination: &Examination) -> String {
    let mut rows = vec![row(["PLATFORM", "CELLS RUN", "NEEDS"])];
    for (platform, _) in &examination.platforms {
        let outlook = examination.outlook(*platform);
        let (name, needs) = (platform.to_string(), needs(examination, *platform, outlook));
        let mut head = [name.as_str(), outlook.name()];
        for line in wrapped(&needs, WIDTH - NEEDS_FROM) {
            rows.push(row([head[0], head[1], &line]));
            head = [""; 2];
        }
    }
    table(&rows)
}

/// What stands between a platform and cells, in one line.
fn needs(examination: &Examination, platform: Platform, outlook: Outlook) -> String {
    if outlook == Outlook::Yes {
        return "all met".to_owned();
    }
    let named = |verdict: Verdict| {
        let checks: Vec<&str> = examination
            .needs(platform)
            .filter(|fact| fact.verdict == verdict)
            .map(|fact| fact.check.as_str())
            .collect();
        (!checks.is_empty()).then(|| format!("{}: {}", verdict.name(), checks.join(", ")))
    };
    let not_built = (!platform::is_built(platform)).then(|| platform::NOT_BUILT.to_owned());
    let parts = [not_built, named(Verdict::Missing), named(Verdict::Unknown)];
    parts.into_iter().flatten().collect::<Vec<_>>().join("; ")
}

fn auto(choice: Option<&Choice>) -> String {
    let Some(choice) = choice else {
        return "--platform auto takes nothing until the configuration is corrected.".to_owned();
    };
    let reasons = choice.passed_over.iter().map(|(platform, why)| format!(" Not {platform}: {why}."));
    format!("--platform auto takes {}.{}", choice.platform, reasons.collect::<String>())
}

fn section(title: &str, facts: &[Fact], width: usize) -> String {
    let mut text = format!("\n{title}\n");
    for fact in facts {
        let head = format!("  {:<7}  {:<width$}  ", fact.verdict.name(), fact.check);
        let indent = head.chars().count();
        for (number, line) in wrapped(&printable(&fact.value), WIDTH - indent).iter().enumerate() {
            text += &if number == 0 { format!("{head}{line}\n") } else { format!("{:indent$}{line}\n", "") };
        }
        if let Some(cure) = &fact.cure {
            text += &format!("{:indent$}-> {}\n", "", printable(cure));
        }
    }
    text
}
