//! When a point has been simulated for long enough.
//!
//! Of many ranks the slowest loses nearly the same in each iteration: a mean that is known well enough needs few of
//! them, and these are the dear ones. What ends a point is what was simulated, never the time it took: the same
//! command gives the same result on any machine.

/// Fewer iterations have no tenth that went best or worst.
const FEWEST: usize = 20;
/// A standard error below this share of an iteration does not show in the tables.
const NOT_SHOWN: f64 = 1e-4;

/// The rule for one point.
#[derive(Clone, Copy, Debug)]
pub struct Precision {
    /// Iterations that are taken at most.
    pub most: usize,
    /// Standard error of what noise adds to an iteration, in percent of it; zero: all iterations are taken.
    pub percent: f64,
    /// Time of an iteration without noise.
    pub ideal: f64,
}

impl Precision {
    /// Whether iterations that took these `times` are enough.
    pub fn is_reached(&self, times: &[f64]) -> bool {
        if times.len() >= self.most {
            return true;
        }
        if times.len() < FEWEST || self.percent == 0.0 {
            return false;
        }
        let count = times.len() as f64;
        let mean = times.iter().sum::<f64>() / count;
        let variance = times.iter().map(|time| (time - mean).powi(2)).sum::<f64>() / (count - 1.0);
        let tolerated = (self.percent / 100.0 * (mean - self.ideal)).max(NOT_SHOWN * self.ideal);
        (variance / count).sqrt() <= tolerated
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: Precision = Precision { most: 100, percent: 2.0, ideal: 1000.0 };

    fn alternating(count: usize, low: f64, high: f64) -> Vec<f64> {
        (0..count).map(|index| if index % 2 == 0 { low } else { high }).collect()
    }

    #[test]
    fn what_hardly_varies_needs_few_iterations() {
        assert!(!RULE.is_reached(&[2000.0; 19]));
        assert!(RULE.is_reached(&[2000.0; 20]));
        assert!(RULE.is_reached(&[1000.0; 20]), "silence");
        assert!(!Precision { percent: 0.0, ..RULE }.is_reached(&[2000.0; 99]));
    }

    /// Of n values 1100 and 1300 the mean exceeds by 200 and has a standard error of 100 / √(n − 1): 4 at 626.
    #[test]
    fn the_standard_error_of_the_excess_decides() {
        let rule = Precision { most: 10_000, ..RULE };
        assert!(!rule.is_reached(&alternating(624, 1100.0, 1300.0)));
        assert!(rule.is_reached(&alternating(628, 1100.0, 1300.0)));
        assert!(RULE.is_reached(&alternating(100, 1100.0, 1300.0)), "no more than allowed");
    }
}
