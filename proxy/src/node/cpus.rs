//! Sets of processors, and the list format in which Linux and the user write them: `0,2-5`.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// Numbers above this are taken for typing errors: no Linux has so many processors.
const HIGHEST: u32 = (1 << 20) - 1;

/// Processors by Linux's numbers, in ascending order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CpuSet(BTreeSet<u32>);

impl CpuSet {
    /// How many.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `cpu` is one of them.
    pub fn contains(&self, cpu: u32) -> bool {
        self.0.contains(&cpu)
    }

    /// All of them, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.iter().copied()
    }

    /// The lowest.
    pub fn first(&self) -> Option<u32> {
        self.0.first().copied()
    }

    /// Those that are in `self` and not in `other`.
    pub fn without(&self, other: &CpuSet) -> CpuSet {
        CpuSet(&self.0 - &other.0)
    }

    /// Those that are in both.
    pub fn and(&self, other: &CpuSet) -> CpuSet {
        CpuSet(&self.0 & &other.0)
    }

    /// Those that are in either.
    pub fn or(&self, other: &CpuSet) -> CpuSet {
        CpuSet(&self.0 | &other.0)
    }

    /// Whether all of them are in `other`.
    pub fn is_subset(&self, other: &CpuSet) -> bool {
        self.0.is_subset(&other.0)
    }
}

impl FromIterator<u32> for CpuSet {
    fn from_iter<I: IntoIterator<Item = u32>>(cpus: I) -> Self {
        CpuSet(cpus.into_iter().collect())
    }
}

/// A text that is not a list of processors.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a list of processors such as 0,2-5")]
pub struct BadList(String);

impl FromStr for CpuSet {
    type Err = BadList;

    /// Numbers and ranges separated by commas. Empty parts are skipped: the kernel writes an
    /// empty list as an empty line, and `1,` is a list of one.
    fn from_str(text: &str) -> Result<Self, BadList> {
        let bad = || BadList(text.to_owned());
        let number = |text: &str| text.parse::<u32>().ok().filter(|n| *n <= HIGHEST).ok_or_else(bad);
        let mut cpus = BTreeSet::new();
        for part in text.trim().split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (number(first)?, number(last)?);
            if first > last {
                return Err(bad());
            }
            cpus.extend(first..=last);
        }
        Ok(CpuSet(cpus))
    }
}

impl fmt::Display for CpuSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut runs: Vec<(u32, u32)> = Vec::new();
        for cpu in self.iter() {
            match runs.last_mut() {
                Some((_, last)) if *last + 1 == cpu => *last = cpu,
                _ => runs.push((cpu, cpu)),
            }
        }
        for (i, (first, last)) in runs.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            match last - first {
                0 => write!(f, "{comma}{first}")?,
                _ => write!(f, "{comma}{first}-{last}")?,
            }
        }
        Ok(())
    }
}

impl serde::Serialize for CpuSet {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for CpuSet {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <String as serde::Deserialize>::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(text: &str) -> CpuSet {
        text.parse().expect("a list")
    }

    #[test]
    fn lists_are_read_and_written() {
        for (text, written) in
            [("0-3,8\n", "0-3,8"), ("", ""), ("1,", "1"), ("5-5", "5"), ("3,1,2", "1-3"), ("0,2,4", "0,2,4")]
        {
            assert_eq!(set(text).to_string(), written);
        }
        assert_eq!(set("0-2,7").iter().collect::<Vec<_>>(), [0, 1, 2, 7]);
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["x", "3-1", "1-", "-1", "1--2", "4294967296", "0-1048576", "1 2"] {
            assert!(text.parse::<CpuSet>().is_err(), "{text}");
        }
    }

    #[test]
    fn sets_combine() {
        assert_eq!(set("0-7").without(&set("2-3")), set("0-1,4-7"));
        assert_eq!(set("0-3").and(&set("2-9")), set("2-3"));
        assert_eq!(set("0").or(&set("2")), set("0,2"));
        assert!(set("1").is_subset(&set("0-3")) && !set("4").is_subset(&set("0-3")));
    }

    #[test]
    fn sets_survive_json() {
        let text = serde_json::to_string(&set("0-3,9")).expect("serialises");
        assert_eq!(text, "\"0-3,9\"");
        assert_eq!(serde_json::from_str::<CpuSet>(&text).expect("parses"), set("0-3,9"));
    }
}
