//! How much memory there is to have.

use std::fs;

/// `MemAvailable` in bytes (proc(5), meminfo), where the system tells it.
pub fn available() -> Option<u64> {
    available_in(&fs::read_to_string("/proc/meminfo").ok()?)
}

fn available_in(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_available_memory() {
        let text = "MemTotal:  100 kB\nMemFree: 5 kB\nMemAvailable:      50 kB\n";
        assert_eq!(available_in(text), Some(50 * 1024));
        assert_eq!(available_in(""), None);
        assert_eq!(available_in("MemAvailable: 50\n"), None);
    }
}
