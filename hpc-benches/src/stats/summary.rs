//! Order statistics of a set of samples.

use serde::{Deserialize, Serialize};

/// From so many samples on there is a 99.9th percentile below the largest.
pub const FEWEST_FOR_P99_9: usize = 1001;

/// What is kept of the samples of one run, in the unit of their measure.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Number of samples.
    pub count: usize,
    /// Smallest sample.
    pub min: f64,
    /// Middle sample; the mean of the two middle ones when their number is even.
    pub median: f64,
    /// 99th percentile by nearest rank: 99 % of the samples are not above it.
    pub p99: f64,
    /// 99.9th percentile by nearest rank; none of fewer than [`FEWEST_FOR_P99_9`] samples, of which it would be
    /// the largest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p99_9: Option<f64>,
    /// Largest sample.
    pub max: f64,
    /// Arithmetic mean.
    pub mean: f64,
}

impl Summary {
    /// Summarises `samples`; `None` when there are none.
    pub fn of(mut samples: Vec<f64>) -> Option<Self> {
        samples.sort_by(f64::total_cmp);
        let (min, max) = (*samples.first()?, *samples.last()?);
        Some(Self {
            count: samples.len(),
            min,
            median: median_of_sorted(&samples)?,
            p99: percentile_of_sorted(&samples, 99.0)?,
            p99_9: percentile_of_sorted(&samples, 99.9).filter(|_| samples.len() >= FEWEST_FOR_P99_9),
            max,
            mean: samples.iter().sum::<f64>() / samples.len() as f64,
        })
    }

    /// The summary of a measure that a run gives as a single number.
    pub fn single(value: f64) -> Self {
        Self { count: 1, min: value, median: value, p99: value, p99_9: None, max: value, mean: value }
    }

    /// The same samples in a unit that is `factor` of this one.
    pub fn scaled(&self, factor: f64) -> Self {
        Self {
            count: self.count,
            min: self.min * factor,
            median: self.median * factor,
            p99: self.p99 * factor,
            p99_9: self.p99_9.map(|value| value * factor),
            max: self.max * factor,
            mean: self.mean * factor,
        }
    }
}

/// The median of `values`, which need no order; `None` when there are none.
pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    median_of_sorted(&values)
}

/// The `percent`-th percentile of `values` by nearest rank: the smallest value that at least
/// `percent` % of the values do not exceed.
pub fn percentile(mut values: Vec<f64>, percent: f64) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    percentile_of_sorted(&values, percent)
}

/// Distance of the largest from the smallest value, in percent of the median's size.
///
/// `None` without values, or when the median is zero and the values differ.
pub fn spread_percent(values: &[f64]) -> Option<f64> {
    let middle = median(values.to_vec())?.abs();
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if high == low {
        return Some(0.0);
    }
    (middle > 0.0).then(|| (high - low) / middle * 100.0)
}

fn median_of_sorted(sorted: &[f64]) -> Option<f64> {
    let upper = *sorted.get(sorted.len() / 2)?;
    if sorted.len() % 2 == 1 {
        return Some(upper);
    }
    Some((sorted[sorted.len() / 2 - 1] + upper) / 2.0)
}

fn percentile_of_sorted(sorted: &[f64], percent: f64) -> Option<f64> {
    // Percentages such as 99.9 are no binary fractions: what is a hair above a whole rank is that rank.
    let rank = (percent / 100.0 * sorted.len() as f64 - 1e-9).ceil() as usize;
    let last = sorted.len().checked_sub(1)?;
    sorted.get(rank.saturating_sub(1).min(last)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one_to(n: u32) -> Vec<f64> {
        (1..=n).rev().map(f64::from).collect()
    }

    #[test]
    fn summary_of_one_to_hundred() {
        let summary = Summary::of(one_to(100)).unwrap();
        let expected = Summary { count: 100, min: 1.0, median: 50.5, p99: 99.0, p99_9: None, max: 100.0, mean: 50.5 };
        assert_eq!(summary, expected);
    }

    #[test]
    fn rare_samples_have_a_percentile_where_there_are_enough() {
        assert_eq!(Summary::of(one_to(1000)).unwrap().p99_9, None);
        assert_eq!(Summary::of(one_to(1001)).unwrap().p99_9, Some(1000.0));
        assert_eq!(Summary::of(one_to(10_000)).unwrap().p99_9, Some(9990.0));
    }

    #[test]
    fn samples_in_another_unit_have_the_same_shape() {
        let ten = |n: u32| one_to(n).into_iter().map(|value| value * 10.0).collect();
        assert_eq!(Summary::of(one_to(2000)).unwrap().scaled(10.0), Summary::of(ten(2000)).unwrap());
    }

    /// Reports of versions that did not have it are still read.
    #[test]
    fn a_summary_without_it_is_read() {
        let old = r#"{"count":1,"min":1.0,"median":1.0,"p99":1.0,"max":1.0,"mean":1.0}"#;
        let summary: Summary = serde_json::from_str(old).unwrap();
        assert_eq!(summary, Summary::single(1.0));
        assert_eq!(serde_json::to_string(&summary).unwrap(), old);
    }

    #[test]
    fn summary_of_nothing_is_none() {
        assert_eq!(Summary::of(Vec::new()), None);
        assert_eq!(median(Vec::new()), None);
        assert_eq!(percentile(Vec::new(), 50.0), None);
        assert_eq!(spread_percent(&[]), None);
    }

    #[test]
    fn summary_of_one_sample_is_that_sample() {
        assert_eq!(Summary::of(vec![7.0]), Some(Summary::single(7.0)));
    }

    #[test]
    fn median_of_odd_and_even_counts() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }

    #[test]
    fn percentiles_are_nearest_rank() {
        assert_eq!(percentile(one_to(10), 90.0), Some(9.0));
        assert_eq!(percentile(one_to(5), 90.0), Some(5.0));
        assert_eq!(percentile(one_to(1000), 99.0), Some(990.0));
        assert_eq!(percentile(one_to(10), 0.0), Some(1.0));
        assert_eq!(percentile(one_to(10), 100.0), Some(10.0));
    }

    #[test]
    fn spread_is_relative_to_the_median() {
        assert_eq!(spread_percent(&[9.0, 10.0, 12.0]), Some(30.0));
        assert_eq!(spread_percent(&[0.0, 0.0]), Some(0.0));
        assert_eq!(spread_percent(&[0.0, 0.0, 1.0]), None);
    }
}
