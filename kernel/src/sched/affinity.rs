//! Sets of CPUs by the host's numbers, as sched_setaffinity(2) has them.

use alloc::vec::Vec;

/// A set of CPU numbers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CpuSet {
    words: Vec<u64>,
}

impl CpuSet {
    /// The set of these CPUs.
    pub fn of(cpus: impl IntoIterator<Item = u32>) -> Self {
        let mut set = CpuSet::default();
        for cpu in cpus {
            let word = cpu as usize / 64;
            if set.words.len() <= word {
                set.words.resize(word + 1, 0);
            }
            set.words[word] |= 1 << (cpu % 64);
        }
        set
    }

    /// From the bytes of a `cpu_set_t`.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let words = bytes.chunks(8).map(|chunk| {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            u64::from_le_bytes(word)
        });
        CpuSet { words: words.collect() }
    }

    /// As the bytes of a `cpu_set_t`, whole words.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    /// Whether `cpu` is in the set.
    #[must_use]
    pub fn contains(&self, cpu: u32) -> bool {
        self.words.get(cpu as usize / 64).is_some_and(|word| word >> (cpu % 64) & 1 != 0)
    }

    /// The CPUs that are in both sets.
    #[must_use]
    pub fn and(&self, other: &CpuSet) -> CpuSet {
        CpuSet { words: self.words.iter().zip(&other.words).map(|(a, b)| a & b).collect() }
    }

    /// Whether no CPU is in the set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_round_trip() {
        let set = CpuSet::of([0, 3, 64, 130]);
        assert_eq!(set.to_bytes().len(), 24);
        assert_eq!(CpuSet::from_bytes(&set.to_bytes()), set);
        assert!(set.contains(130) && !set.contains(131) && !set.contains(1000));
    }

    #[test]
    fn intersection_of_sets_of_different_length() {
        let both = CpuSet::of([1, 200]).and(&CpuSet::of([1, 2]));
        assert!(both.contains(1) && !both.contains(200) && !both.is_empty());
        assert!(CpuSet::of([200]).and(&CpuSet::of([1])).is_empty());
    }
}
