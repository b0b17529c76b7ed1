//! What only the boot parameters decide: whether the node was booted with it.
//!
//! Source: Linux, Documentation/admin-guide/kernel-parameters.txt (nohz_full, rcu_nocbs),
//! Documentation/timers/no_hz.rst.

use super::report::Item;
use super::work::Work;
use crate::machine::cpu_set::CpuSet;

/// Two items.
pub fn step(work: &Work) -> Vec<Item> {
    let command_line = work.system.read("/proc/cmdline").unwrap_or_default();
    let without_tick = work.system.read("/sys/devices/system/cpu/nohz_full").ok();
    let measured = &work.target.measured;
    let tickless = without_tick.as_deref().and_then(CpuSet::from_list).unwrap_or_default();
    let mut offloaded = parameter(&command_line, "rcu_nocbs", &work.target.online).unwrap_or_default();
    // The kernel offloads the callbacks of cores without tick by itself.
    offloaded = offloaded.union(&tickless);
    let nohz_full = match without_tick {
        None => Item::not_possible("nohz_full", "this kernel was built without it (CONFIG_NO_HZ_FULL)"),
        Some(_) => booted("nohz_full", &tickless, measured),
    };
    vec![nohz_full, booted("rcu_nocbs", &offloaded, measured)]
}

fn booted(name: &str, cores: &CpuSet, measured: &CpuSet) -> Item {
    let advice = format!("boot with {name}={measured}");
    match (cores.is_empty(), measured.is_within(cores)) {
        (_, true) => Item::already(name, format!("booted with it, for {cores}")),
        (true, false) => Item::not_possible(name, format!("the node was not booted with it: {advice}")),
        (false, false) => Item::not_possible(name, format!("the node was booted with it for {cores} only: {advice}")),
    }
}

/// The cores that a boot parameter names; `all`, and `N` for the last one, as the kernel reads them.
pub fn parameter(command_line: &str, name: &str, online: &CpuSet) -> Option<CpuSet> {
    let value = command_line.split_whitespace().find_map(|word| match word.split_once('=') {
        Some((key, value)) if key == name => Some(value),
        None if word == name => Some("all"),
        _ => None,
    })?;
    let last = online.iter().last()?.to_string();
    match value {
        "all" => Some(online.clone()),
        value => CpuSet::from_list(&value.replace('N', &last)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boot_parameters_name_cores() {
        let online = CpuSet::from_list("0-7").unwrap();
        let named = |line: &str| parameter(line, "rcu_nocbs", &online).map(|set| set.to_string());
        assert_eq!(named("quiet rcu_nocbs=1,3-4 x").as_deref(), Some("1,3-4"));
        assert_eq!(named("rcu_nocbs").as_deref(), Some("0-7"));
        assert_eq!(named("rcu_nocbs=all").as_deref(), Some("0-7"));
        assert_eq!(named("rcu_nocbs=4-N").as_deref(), Some("4-7"));
        assert_eq!(named("rcu_nocbs_poll nohz_full=1"), None);
    }
}
