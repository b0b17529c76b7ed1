//! Interrupts of devices, away from the isolated cores.
//!
//! Source: Linux, Documentation/core-api/irq/irq-affinity.rst. Affinities of managed interrupts (those of
//! multi-queue devices) and of interrupts of one core can't be changed: Linux answers EIO or EPERM.

use std::collections::{BTreeMap, BTreeSet};

use super::change::Kind;
use super::report::Item;
use super::system::System;
use super::threads::{self, few};
use super::work::{Changed, Work};
use crate::machine::cpu_set::CpuSet;

const IRQS: &str = "/proc/irq";
const NAME: &str = "interrupts";
const DEFAULT_NAME: &str = "interrupts to come";

/// Moves those that are there, and lets new ones begin elsewhere.
pub fn step(work: &mut Work) -> Vec<Item> {
    match work.target.why_not_isolated() {
        Some(why) => [NAME, DEFAULT_NAME].map(|name| Item::not_possible(name, why.clone())).to_vec(),
        None => vec![those_to_come(work), those_there(work)],
    }
}

fn those_to_come(work: &mut Work) -> Item {
    let path = format!("{IRQS}/default_smp_affinity");
    let now = work.system.read(&path).ok().and_then(|text| CpuSet::from_mask(&text)).unwrap_or_default();
    let wanted = away(&now, work);
    match work.change(&path, Kind::Mask, &wanted.mask()) {
        Changed::From(_) => Item::applied(DEFAULT_NAME, format!("default affinity {wanted}, was {now}")),
        Changed::Already => Item::already(DEFAULT_NAME, format!("default affinity {wanted}")),
        Changed::No(why) => Item::not_possible(DEFAULT_NAME, why),
    }
}

fn away(now: &CpuSet, work: &Work) -> CpuSet {
    match now.minus(&work.target.isolated) {
        rest if rest.is_empty() => work.target.others(),
        rest => rest,
    }
}

fn those_there(work: &mut Work) -> Item {
    let numbers = work.system.list(IRQS).unwrap_or_default();
    let numbers: BTreeSet<u32> = numbers.iter().filter_map(|name| name.parse().ok()).collect();
    let (mut moved, mut refused) = (0, BTreeMap::<String, BTreeSet<String>>::new());
    for number in numbers {
        let path = format!("{IRQS}/{number}/smp_affinity_list");
        let now = work.system.read(&path).ok().and_then(|text| CpuSet::from_list(&text));
        // Without a name in its directory nobody has asked for the interrupt.
        let (Some(now), Some(name)) = (now, name_of(work.system, number)) else { continue };
        if !now.touches(&work.target.isolated) {
            continue;
        }
        let wanted = away(&now, work).to_string();
        let changed = work.change(&path, Kind::List, &wanted);
        // Some interrupt controllers choose one core of those wanted.
        let now = work.system.read(&path).ok().and_then(|text| CpuSet::from_list(&text));
        match changed {
            Changed::No(why) if now.is_none_or(|now| now.touches(&work.target.isolated)) => {
                let why = why.rsplit(": ").next().unwrap_or_default().to_owned();
                refused.entry(why).or_default().insert(format!("{number} {name}"));
            }
            _ => moved += 1,
        }
    }
    item(work, moved, &refused)
}

fn item(work: &Work, moved: usize, refused: &BTreeMap<String, BTreeSet<String>>) -> Item {
    let mut words = vec![format!("{moved} moved to {}", work.target.others())];
    words.extend(refused.iter().map(|(why, which)| format!("not moved ({why}): {}", few(which))));
    if threads::all(work.system).iter().any(|thread| thread.name == "irqbalance") {
        words.push("irqbalance runs and may move them again: stop it for a while".to_owned());
    }
    let detail = words.join("; ");
    match (moved, refused.is_empty()) {
        (0, true) => Item::already(NAME, detail),
        (0, false) => Item::not_possible(NAME, detail),
        _ => Item::applied(NAME, detail),
    }
}

/// The name of what handles an interrupt: a directory beside its files.
pub fn name_of(system: &dyn System, number: u32) -> Option<String> {
    const FILES: [&str; 7] = [
        "affinity_hint",
        "effective_affinity",
        "effective_affinity_list",
        "node",
        "smp_affinity",
        "smp_affinity_list",
        "spurious",
    ];
    let names = system.list(&format!("{IRQS}/{number}")).ok()?;
    names.into_iter().find(|name| !FILES.contains(&name.as_str()))
}
