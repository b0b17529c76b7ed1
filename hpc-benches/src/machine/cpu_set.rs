//! Sets of processors in the two ways that Linux writes them: lists (`0-2,7`) and hexadecimal masks in
//! groups of 32 bits (`ffffffff,00000087`).
//!
//! Source: Linux, Documentation/admin-guide/cputopology.rst and lib/bitmap-str.c (`bitmap_parselist`,
//! `bitmap_parse`).

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Larger numbers are no processors: Linux knows at most 8192 (CONFIG_NR_CPUS).
const MOST: usize = 1 << 16;

/// A set of processors by Linux's numbers. As text, and in JSON, it is a list.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct CpuSet(BTreeSet<usize>);

impl CpuSet {
    /// The processors of a list such as `0-2,7`; empty text is the empty set. None for anything else.
    pub fn from_list(text: &str) -> Option<Self> {
        let mut cores = BTreeSet::new();
        for part in text.trim().split(',').filter(|part| !part.is_empty()) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
            if first > last || last >= MOST {
                return None;
            }
            cores.extend(first..=last);
        }
        Some(Self(cores))
    }

    /// The processors of a mask such as `f` or `1,00000003`.
    pub fn from_mask(text: &str) -> Option<Self> {
        let mut cores = BTreeSet::new();
        let groups = text.trim().rsplit(',');
        for (index, group) in groups.enumerate() {
            let bits = u32::from_str_radix(group, 16).ok()?;
            cores.extend((0..32).filter(|bit| bits >> bit & 1 == 1).map(|bit| index * 32 + bit));
        }
        Some(Self(cores))
    }

    /// The set as a mask, with as many groups as it needs.
    pub fn mask(&self) -> String {
        let groups = self.0.last().map_or(1, |last| last / 32 + 1);
        let mut bits = vec![0_u32; groups];
        for core in &self.0 {
            bits[core / 32] |= 1 << (core % 32);
        }
        let mut text = format!("{:x}", bits[groups - 1]);
        for group in bits[..groups - 1].iter().rev() {
            text += &format!(",{group:08x}");
        }
        text
    }

    /// In rising order.
    pub fn iter(&self) -> impl Iterator<Item = usize> {
        self.0.iter().copied()
    }

    /// Number of processors.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `core` is one of them.
    pub fn contains(&self, core: usize) -> bool {
        self.0.contains(&core)
    }

    /// Those that are not in `other`.
    pub fn minus(&self, other: &Self) -> Self {
        Self(self.0.difference(&other.0).copied().collect())
    }

    /// Those in either.
    pub fn union(&self, other: &Self) -> Self {
        Self(self.0.union(&other.0).copied().collect())
    }

    /// Whether some are in both.
    pub fn touches(&self, other: &Self) -> bool {
        !self.0.is_disjoint(&other.0)
    }

    /// Whether all are in `other`.
    pub fn is_within(&self, other: &Self) -> bool {
        self.0.is_subset(&other.0)
    }
}

impl FromIterator<usize> for CpuSet {
    fn from_iter<I: IntoIterator<Item = usize>>(cores: I) -> Self {
        Self(cores.into_iter().collect())
    }
}

impl fmt::Display for CpuSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut cores = self.iter().peekable();
        let mut separator = "";
        while let Some(first) = cores.next() {
            let mut last = first;
            while cores.next_if_eq(&(last + 1)).is_some() {
                last += 1;
            }
            match first == last {
                true => write!(f, "{separator}{first}")?,
                false => write!(f, "{separator}{first}-{last}")?,
            }
            separator = ",";
        }
        Ok(())
    }
}

impl From<CpuSet> for String {
    fn from(set: CpuSet) -> Self {
        set.to_string()
    }
}

impl TryFrom<String> for CpuSet {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::from_list(&text).ok_or_else(|| format!("'{text}' is no list of processors"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> CpuSet {
        CpuSet::from_list(text).unwrap()
    }

    #[test]
    fn lists_go_both_ways() {
        for text in ["", "0", "0-2,7", "1,3,5-6", "30-34"] {
            assert_eq!(list(text).to_string(), text);
        }
        assert_eq!(list("0-1\n").len(), 2);
        for text in ["a", "3-1", "1-", "-1", "(null)", "99999999"] {
            assert_eq!(CpuSet::from_list(text), None, "{text}");
        }
    }

    #[test]
    fn masks_go_both_ways() {
        for (mask, text) in
            [("0", ""), ("f", "0-3"), ("80000000", "31"), ("1,00000003", "0-1,32"), ("1,00000000,00000000", "64")]
        {
            assert_eq!(CpuSet::from_mask(mask), Some(list(text)), "{mask}");
            assert_eq!(list(text).mask(), mask, "{text}");
        }
        assert_eq!(CpuSet::from_mask("ffffffff,00000003\n").unwrap().len(), 34);
        assert_eq!(CpuSet::from_mask("x"), None);
    }

    #[test]
    fn sets_are_sets() {
        let all = list("0-3");
        assert_eq!(all.minus(&list("3")), list("0-2"));
        assert_eq!(list("0").union(&list("2")), list("0,2"));
        assert!(all.touches(&list("3-9")) && !all.touches(&list("4")));
        assert!(list("1").is_within(&all) && !list("4").is_within(&all));
    }

    #[test]
    fn json_has_lists() {
        assert_eq!(serde_json::to_string(&list("0-2")).unwrap(), r#""0-2""#);
        assert_eq!(serde_json::from_str::<CpuSet>(r#""1,3""#).unwrap(), list("1,3"));
        assert!(serde_json::from_str::<CpuSet>(r#""x""#).is_err());
    }
}
