//! When a difference between two sides may be called one.
//!
//! Runs alternate: native, cell, native, cell, … and one last native. Pair *i* compares cell run
//! *i* with the native run just before it. The **control** compares each native run with the
//! native run before it: there is nothing to find, so what it shows is how much the machine
//! itself varies. A difference is claimed only when
//!
//! 1. there are at least [`FEWEST_PAIRS`] pairs,
//! 2. the median paired difference is larger than the control's band, the 90th percentile of the
//!    control's absolute differences (with five pairs: the largest of them), and
//! 3. the pairs agree on its direction: two-sided sign test, p ≤ 1/16 (five of five, 8 of 8,
//!    8 of 9, 15 of 20).
//!
//! Where the control itself shows a difference (its pairs agree on a direction by the same test, as
//! they do when the machine drifts) and that difference is at least as large as the side's, the
//! machine is not fit to conclude anything: [`Verdict::ControlDiffers`].
//!
//! Differences and not ratios decide, because a side without any detour is a result, too.

use serde::{Deserialize, Serialize};

use super::summary::{median, percentile};

/// With fewer pairs the sign test can't tell anything.
pub const FEWEST_PAIRS: usize = 5;

const CONTROL_PERCENTILE: f64 = 90.0;
const SIGN_TEST_LEVEL: f64 = 1.0 / 16.0;

/// Which direction of a measure is the good one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Better {
    /// Times, detours.
    Lower,
    /// Bandwidths.
    Higher,
}

/// What the pairs allow to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The side is better than native by more than the machine varies.
    Better,
    /// The side is worse than native by more than the machine varies.
    Worse,
    /// What there is drowns in the variation of the machine.
    NoDifferenceShown,
    /// Native differs from native by more than the side does, and always in the same direction:
    /// the machine drifted, and no conclusion is drawn.
    ControlDiffers,
    /// Fewer than [`FEWEST_PAIRS`] pairs.
    TooFewPairs,
}

/// A side against native, with the control beside it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Effect {
    /// Median of the paired ratios side / native; none when a native value is zero.
    pub ratio: Option<f64>,
    /// Median of the paired differences side − native, in the unit of the measure.
    pub difference: f64,
    /// The control's band, in the unit of the measure: smaller differences say nothing.
    pub control_band: f64,
    /// Median of the control's paired ratios; none when a native value is zero.
    pub control_ratio: Option<f64>,
    /// The conclusion.
    pub verdict: Verdict,
}

/// Compares the runs of a side with the native runs around them.
///
/// `native` has one run more than `side`: the last one closes the control. `None` when either
/// side lacks runs.
pub fn compare(native: &[f64], side: &[f64], better: Better) -> Option<Effect> {
    if side.is_empty() || native.len() != side.len() + 1 {
        return None;
    }
    let before = &native[..side.len()];
    let after = &native[1..];
    let differences = paired(before, side, |a, b| b - a);
    let control: Vec<f64> = paired(before, after, |a, b| b - a);
    let difference = median(differences.clone())?;
    let control_band = percentile(control.iter().map(|d| d.abs()).collect(), CONTROL_PERCENTILE)?;
    Some(Effect {
        ratio: median_ratio(before, side),
        difference,
        control_band,
        control_ratio: median_ratio(before, after),
        verdict: judge(&differences, &control, control_band, better)?,
    })
}

/// Median of `after / before`, pair by pair; none when a divisor is zero.
pub fn median_ratio(before: &[f64], after: &[f64]) -> Option<f64> {
    if before.contains(&0.0) {
        return None;
    }
    median(paired(before, after, |a, b| b / a))
}

fn paired(before: &[f64], after: &[f64], combine: impl Fn(f64, f64) -> f64) -> Vec<f64> {
    before.iter().zip(after).map(|(&a, &b)| combine(a, b)).collect()
}

fn judge(differences: &[f64], control: &[f64], control_band: f64, better: Better) -> Option<Verdict> {
    let difference = median(differences.to_vec())?;
    if differences.len() < FEWEST_PAIRS {
        return Some(Verdict::TooFewPairs);
    }
    let drift = median(control.to_vec())?.abs();
    if drift > 0.0 && drift >= difference.abs() && agree(control) {
        return Some(Verdict::ControlDiffers);
    }
    if difference.abs() <= control_band || !agree(differences) {
        return Some(Verdict::NoDifferenceShown);
    }
    Some(match (difference < 0.0, better) {
        (true, Better::Lower) | (false, Better::Higher) => Verdict::Better,
        (false, Better::Lower) | (true, Better::Higher) => Verdict::Worse,
    })
}

/// Whether differences have the same sign too often for chance.
fn agree(differences: &[f64]) -> bool {
    sign_test(differences) <= SIGN_TEST_LEVEL
}

/// Two-sided p-value of the sign test: how likely signs as unequal as these are when either sign
/// is as likely as the other. Pairs without a difference don't count.
fn sign_test(differences: &[f64]) -> f64 {
    let positive = differences.iter().filter(|d| **d > 0.0).count();
    let negative = differences.iter().filter(|d| **d < 0.0).count();
    let pairs = positive + negative;
    let mut term = 0.5_f64.powi(i32::try_from(pairs).unwrap_or(i32::MAX));
    let mut tail = 0.0;
    for k in 0..=positive.min(negative) {
        tail += term;
        term *= (pairs - k) as f64 / (k + 1) as f64;
    }
    (2.0 * tail).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUIET: [f64; 6] = [100.0, 101.0, 100.0, 99.0, 100.0, 101.0];

    fn verdict_of(native: &[f64], side: &[f64], better: Better) -> Verdict {
        compare(native, side, better).unwrap().verdict
    }

    #[test]
    fn a_clear_difference_is_shown() {
        let slow = [150.0, 151.0, 149.0, 150.0, 152.0];
        assert_eq!(verdict_of(&QUIET, &slow, Better::Lower), Verdict::Worse);
        assert_eq!(verdict_of(&QUIET, &slow, Better::Higher), Verdict::Better);
        let fast = [50.0, 51.0, 49.0, 50.0, 52.0];
        assert_eq!(verdict_of(&QUIET, &fast, Better::Lower), Verdict::Better);
        assert_eq!(verdict_of(&QUIET, &fast, Better::Higher), Verdict::Worse);
    }

    #[test]
    fn a_difference_below_the_control_is_not_shown() {
        let restless = [100.0, 130.0, 95.0, 120.0, 100.0, 125.0];
        let side = [110.0, 140.0, 105.0, 130.0, 110.0];
        let effect = compare(&restless, &side, Better::Lower).unwrap();
        assert_eq!(effect.difference, 10.0);
        assert_eq!(effect.control_band, 35.0);
        assert_eq!(effect.verdict, Verdict::NoDifferenceShown);
    }

    #[test]
    fn a_drift_larger_than_the_difference_allows_no_conclusion() {
        // Each native run is 10 slower than the one before; the side is 4 slower than its native run.
        let drifting = [100.0, 110.0, 120.0, 130.0, 140.0, 150.0];
        let side = |more: f64| drifting[..5].iter().map(|native| native + more).collect::<Vec<_>>();
        assert_eq!(verdict_of(&drifting, &side(4.0), Better::Lower), Verdict::ControlDiffers);
        assert_eq!(verdict_of(&drifting, &side(-10.0), Better::Lower), Verdict::ControlDiffers);
        assert_eq!(verdict_of(&drifting, &drifting[..5], Better::Lower), Verdict::ControlDiffers);
        assert_eq!(verdict_of(&drifting, &side(50.0), Better::Lower), Verdict::Worse);
        assert_eq!(verdict_of(&drifting[..5], &side(4.0)[..4], Better::Lower), Verdict::TooFewPairs);
    }

    #[test]
    fn a_control_that_goes_both_ways_is_no_drift() {
        let restless = [100.0, 130.0, 95.0, 120.0, 100.0, 125.0];
        assert_eq!(verdict_of(&restless, &restless[..5], Better::Lower), Verdict::NoDifferenceShown);
    }

    #[test]
    fn pairs_that_disagree_show_nothing() {
        let side = [110.0, 111.0, 109.0, 110.0, 90.0];
        assert_eq!(verdict_of(&QUIET, &side, Better::Lower), Verdict::NoDifferenceShown);
    }

    #[test]
    fn native_against_native_shows_nothing() {
        assert_eq!(verdict_of(&QUIET, &QUIET[..5], Better::Lower), Verdict::NoDifferenceShown);
        let same = [7.0; 6];
        let effect = compare(&same, &same[..5], Better::Lower).unwrap();
        assert_eq!(effect.ratio, Some(1.0));
        assert_eq!(effect.verdict, Verdict::NoDifferenceShown);
    }

    #[test]
    fn four_pairs_are_too_few() {
        let verdict = verdict_of(&QUIET[..5], &[500.0; 4], Better::Lower);
        assert_eq!(verdict, Verdict::TooFewPairs);
    }

    #[test]
    fn a_silent_side_is_a_result_and_a_silent_native_has_no_ratio() {
        let effect = compare(&QUIET, &[0.0; 5], Better::Lower).unwrap();
        assert_eq!(effect.ratio, Some(0.0));
        assert_eq!(effect.verdict, Verdict::Better);
        let effect = compare(&[0.0; 6], &[9.0; 5], Better::Lower).unwrap();
        assert_eq!(effect.ratio, None);
        assert_eq!(effect.verdict, Verdict::Worse);
    }

    #[test]
    fn ratios_are_medians_of_pairs() {
        // Drift doubles both sides: each pair still says 1.5.
        let native = [10.0, 12.0, 14.0, 16.0, 18.0, 20.0];
        let side = [15.0, 18.0, 21.0, 24.0, 27.0];
        assert_eq!(compare(&native, &side, Better::Lower).unwrap().ratio, Some(1.5));
    }

    #[test]
    fn incomplete_sides_are_not_compared() {
        assert_eq!(compare(&QUIET, &[], Better::Lower), None);
        assert_eq!(compare(&QUIET[..5], &[1.0; 5], Better::Lower), None);
    }

    #[test]
    fn sign_test_has_the_values_of_the_binomial_table() {
        let signs = |plus: usize, minus: usize| {
            let mut values = vec![1.0; plus];
            values.extend(vec![-1.0; minus]);
            sign_test(&values)
        };
        assert_eq!(signs(5, 0), 0.0625);
        assert_eq!(signs(4, 1), 0.375);
        assert!((signs(8, 1) - 20.0 / 512.0).abs() < 1e-12);
        assert!(signs(15, 5) < 0.0625 && signs(14, 6) > 0.0625);
        assert_eq!(signs(3, 3), 1.0);
        assert_eq!(signs(0, 0), 1.0);
    }
}
