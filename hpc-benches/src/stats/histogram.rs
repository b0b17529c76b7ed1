//! A histogram of whole numbers over the whole range of 64 bits, small enough to stay in the first-level
//! cache while a loop fills it.
//!
//! Values below 64 have a bin each; above, every power of two is divided into 32 bins, so that no bin is
//! wider than 3.2 % of the values in it. This is the layout that is known as log-linear.

/// Bits that tell the bins of one power of two apart.
const SUB_BITS: u32 = 5;
const SUB_BINS: usize = 1 << SUB_BITS;
/// Values below this are their own bins.
const EXACT: usize = 2 * SUB_BINS;
/// One group of [`SUB_BINS`] for each power of two from [`EXACT`] on.
const BINS: usize = EXACT + (u64::BITS - 1 - SUB_BITS) as usize * SUB_BINS;

/// How often which values came.
#[derive(Clone, Debug)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
    sum: u64,
    min: u64,
    max: u64,
}

impl Histogram {
    /// An empty one. Its memory has been written, so that filling it faults no page in.
    pub fn new() -> Self {
        let mut counts = vec![u64::MAX; BINS];
        counts.fill(0);
        Self { counts, total: 0, sum: 0, min: u64::MAX, max: 0 }
    }

    /// Counts `value`.
    #[inline(always)]
    pub fn add(&mut self, value: u64) {
        self.counts[bin_of(value)] += 1;
        self.total += 1;
        self.sum = self.sum.wrapping_add(value);
        self.min = self.min.min(value);
        self.max = self.max.max(value);
    }

    /// Adds what `other` counted.
    pub fn merge(&mut self, other: &Self) {
        for (count, further) in self.counts.iter_mut().zip(&other.counts) {
            *count += further;
        }
        self.total += other.total;
        self.sum = self.sum.wrapping_add(other.sum);
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
    }

    /// How many values were counted.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The smallest value; none when nothing was counted.
    pub fn min(&self) -> Option<u64> {
        (self.total > 0).then_some(self.min)
    }

    /// The largest value; none when nothing was counted.
    pub fn max(&self) -> Option<u64> {
        (self.total > 0).then_some(self.max)
    }

    /// The arithmetic mean; none when nothing was counted.
    pub fn mean(&self) -> Option<f64> {
        (self.total > 0).then(|| self.sum as f64 / self.total as f64)
    }

    /// The `percent`-th percentile by nearest rank, as the lower bound of its bin: at most 3.2 % too low,
    /// and exact below 64.
    pub fn percentile(&self, percent: f64) -> Option<u64> {
        let rank = ((percent / 100.0 * self.total as f64).ceil() as u64).clamp(1, self.total.max(1));
        let mut seen = 0;
        let bin = self.counts.iter().position(|count| {
            seen += count;
            seen >= rank
        })?;
        Some(lower_bound(bin).clamp(self.min, self.max))
    }

    /// Lower bounds of the bins and their counts, rising. Of empty bins only those are listed that end a bin
    /// which is not.
    pub fn bins(&self) -> Vec<(u64, u64)> {
        let mut bins = Vec::new();
        let mut is_open = false;
        for (bin, &count) in self.counts.iter().enumerate() {
            if count > 0 || is_open {
                bins.push((lower_bound(bin), count));
            }
            is_open = count > 0;
        }
        bins
    }
}

#[inline(always)]
fn bin_of(value: u64) -> usize {
    if value < EXACT as u64 {
        return value as usize;
    }
    // The highest bit and the SUB_BITS below it stay; value >= EXACT makes the shift at least 1.
    let shift = u64::BITS - 1 - SUB_BITS - value.leading_zeros();
    shift as usize * SUB_BINS + (value >> shift) as usize
}

fn lower_bound(bin: usize) -> u64 {
    if bin < EXACT {
        return bin as u64;
    }
    let shift = bin / SUB_BINS - 1;
    ((bin - shift * SUB_BINS) as u64) << shift
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[u64]) -> Histogram {
        let mut histogram = Histogram::new();
        values.iter().for_each(|&value| histogram.add(value));
        histogram
    }

    #[test]
    fn every_value_lies_in_its_bin() {
        let powers = (0..64).map(|power| 1_u64 << power);
        let around = powers.flat_map(|value| [value - 1, value, value + 1, value + value / 3]);
        for value in around.chain([u64::MAX]) {
            let bin = bin_of(value);
            assert!(lower_bound(bin) <= value, "{value}");
            if bin + 1 < BINS {
                assert!(value < lower_bound(bin + 1), "{value}");
            }
        }
        assert_eq!(bin_of(u64::MAX), BINS - 1);
    }

    #[test]
    fn bins_are_narrow() {
        for bin in EXACT..BINS - 1 {
            let (low, high) = (lower_bound(bin), lower_bound(bin + 1));
            assert!((high - low) as f64 / low as f64 <= 1.0 / 32.0, "{low} to {high}");
        }
    }

    #[test]
    fn statistics_of_one_to_fifty() {
        let histogram = of(&(1..=50).rev().collect::<Vec<_>>());
        assert_eq!((histogram.total(), histogram.min(), histogram.max()), (50, Some(1), Some(50)));
        assert_eq!(histogram.mean(), Some(25.5));
        assert_eq!(histogram.percentile(50.0), Some(25));
        assert_eq!(histogram.percentile(99.0), Some(50));
        assert_eq!(histogram.percentile(0.0), Some(1));
    }

    #[test]
    fn large_percentiles_are_lower_bounds_of_their_bins() {
        let histogram = of(&[1000, 1_000_000, 2_000_000]);
        let median = histogram.percentile(50.0).unwrap();
        assert!((970_000..=1_000_000).contains(&median), "{median}");
        // Never below the smallest value, though its bin begins there.
        assert_eq!(of(&[1001]).percentile(50.0), Some(1001));
    }

    #[test]
    fn nothing_counted_has_no_statistics() {
        let empty = Histogram::new();
        assert_eq!((empty.min(), empty.max(), empty.mean(), empty.percentile(50.0)), (None, None, None, None));
        assert!(empty.bins().is_empty());
    }

    #[test]
    fn a_bin_ends_where_the_next_listed_one_begins() {
        assert_eq!(of(&[3, 3, 4, 9]).bins(), [(3, 2), (4, 1), (5, 0), (9, 1), (10, 0)]);
    }

    #[test]
    fn merging_is_counting_together() {
        let mut left = of(&[5, 70, 1000]);
        left.merge(&of(&[2, 5_000_000]));
        let together = of(&[5, 70, 1000, 2, 5_000_000]);
        assert_eq!(left.bins(), together.bins());
        assert_eq!((left.min(), left.max(), left.mean()), (together.min(), together.max(), together.mean()));
    }
}
