//! Random numbers that depend on a seed and a position alone, so that ranks can be set up in any
//! order and by any number of threads with the same result.

/// SplitMix64 (G. Steele, D. Lea, C. Flood, *Fast Splittable Pseudorandom Number Generators*, OOPSLA 2014): its
/// state is a counter, so any member of the sequence can be had directly.
#[derive(Clone, Debug)]
pub struct SplitMix64 {
    state: u64,
}

/// The odd number nearest to 2^64 divided by the golden ratio.
const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

impl SplitMix64 {
    /// The sequence of `seed`.
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next 64 bits.
    pub fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(STEP);
        mix(self.state)
    }

    /// Uniform in [0, 1).
    pub fn uniform(&mut self) -> f64 {
        unit_interval(self.next())
    }

    /// Exponentially distributed with this mean.
    pub fn exponential(&mut self, mean: f64) -> f64 {
        // 1 − u is never zero.
        -mean * (1.0 - self.uniform()).ln()
    }
}

/// Member `index` of the sequence of `seed`, uniform in [0, 1).
pub fn uniform_at(seed: u64, index: usize) -> f64 {
    unit_interval(mix(seed.wrapping_add(STEP.wrapping_mul(index as u64 + 1))))
}

fn mix(state: u64) -> u64 {
    let z = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// The upper 53 bits: as many as the fraction of a double has.
fn unit_interval(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_is_that_of_the_reference() {
        let mut random = SplitMix64::new(1_234_567);
        let expected = [6_457_827_717_110_365_317_u64, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423];
        assert_eq!([random.next(), random.next(), random.next()], expected);
    }

    #[test]
    fn members_are_the_same_out_of_order() {
        let mut random = SplitMix64::new(7);
        let inorder: Vec<f64> = (0..5).map(|_| random.uniform()).collect();
        let direct: Vec<f64> = (0..5).rev().map(|index| uniform_at(7, index)).collect();
        assert_eq!(inorder, direct.into_iter().rev().collect::<Vec<f64>>());
    }

    #[test]
    fn exponentials_have_mean_and_variance_of_theirs() {
        let mut random = SplitMix64::new(1);
        let count = 100_000;
        let values: Vec<f64> = (0..count).map(|_| random.exponential(3.0)).collect();
        let mean = values.iter().sum::<f64>() / f64::from(count);
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / f64::from(count - 1);
        // Standard errors: 3/√n for the mean, 9·√(8/n) for the variance (fourth moment of the exponential).
        assert!((mean - 3.0).abs() < 4.0 * 3.0 / f64::from(count).sqrt());
        assert!((variance - 9.0).abs() < 4.0 * 9.0 * (8.0 / f64::from(count)).sqrt());
    }
}
