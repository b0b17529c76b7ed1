//! What takes speed or time from a core without a count: siblings, the clock, the hypervisor.

use super::disturbance::{Advice, Disturbance, Source};
use super::observation::Observation;

/// A sibling that is busy less than this does not matter.
const BUSY_PERCENT: f64 = 1.0;
/// Readings of the same clock differ by less.
const SAME_FREQUENCY: f64 = 0.02;

/// Those that were there, the longest first.
pub fn all(seen: &Observation) -> Vec<Disturbance> {
    let mut all: Vec<Disturbance> = siblings(seen).chain(frequency(seen)).chain(steal(seen)).collect();
    let length = |disturbance: &Disturbance| disturbance.milliseconds.unwrap_or(0.0);
    all.sort_by(|a, b| length(b).total_cmp(&length(a)));
    all
}

fn siblings(seen: &Observation) -> impl Iterator<Item = Disturbance> {
    let core = seen.place.core;
    seen.sibling_load.iter().filter(|(_, load)| *load > BUSY_PERCENT).map(move |&(sibling, load)| {
        let words = format!(
            "processor {sibling} shares the physical core with {core} and was busy {load:.0} % of the time: both are slower then"
        );
        let advice = Advice::new(words, "leave it idle, or take it offline")
            .by(format!("echo 0 > /sys/devices/system/cpu/cpu{sibling}/online"));
        Disturbance {
            milliseconds: Some(load / 100.0 * seen.seconds * 1e3),
            ..advice.uncounted(Source::SmtSibling, &format!("sibling {sibling}"))
        }
    })
}

fn frequency(seen: &Observation) -> Option<Disturbance> {
    let [before, after] = seen.megahertz?;
    let most = seen.most_megahertz.map_or_else(String::new, |most| format!(", of {most:.0} MHz that it can have"));
    if (before - after).abs() <= SAME_FREQUENCY * before.max(after) {
        return None;
    }
    let governor = seen.governor.as_deref().unwrap_or("unknown");
    let words =
        format!("the clock of the core went from {before:.0} to {after:.0} MHz{most}; the governor is {governor}");
    let advice = match governor {
        "performance" => Advice::new(
            words,
            "the governor asks for the highest already: the rest is turbo, heat, or the power limit; a fixed \
             frequency is had by the same value in scaling_min_freq and scaling_max_freq",
        ),
        _ => Advice::new(words, "have the governor ask for the highest frequency")
            .by(format!("echo performance > /sys/devices/system/cpu/cpu{}/cpufreq/scaling_governor", seen.place.core)),
    };
    Some(advice.uncounted(Source::Frequency, "frequency"))
}

fn steal(seen: &Observation) -> Option<Disturbance> {
    let time = seen.time.filter(|time| time.steal > 0.0)?;
    let advice = Advice::new(
        "the hypervisor let something else run while this core wanted to",
        "nothing in here removes it: ask for processors of your own (pinned, not oversubscribed) or measure on the bare machine",
    );
    Some(Disturbance { milliseconds: Some(time.steal * 1e3), ..advice.uncounted(Source::Steal, "hypervisor steal") })
}
