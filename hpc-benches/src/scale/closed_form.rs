//! What the slowest of many ranks loses in one phase of work, where noise is random in a way that can be
//! computed: the expected maximum of P independent losses, E = ∫ (1 − F(x)^P) dx over x ≥ 0, F being the
//! distribution of one rank's loss.
//!
//! All ranks start their phase at a random moment of a process that has gone on for long. Detours begin after
//! exponentially distributed times without one (Poisson arrivals), so that work of length w meets Poisson(m)
//! of them, m = w / (mean time between them). With probability ρ, the share of time in detours, the phase
//! starts inside one, whose rest it waits for first.

/// Terms of a Poisson distribution that are left out are rarer than this.
const NEGLIGIBLE: f64 = 1e-18;
/// Intervals of the integral, for each mean length of a detour; even, for Simpson's rule.
const INTERVALS: usize = 64;

/// H_P = 1 + 1/2 + … + 1/P. The expected maximum of P exponential variables is their mean times H_P
/// (A. Rényi, *On the theory of order statistics*, 1953).
pub fn harmonic(count: usize) -> f64 {
    (1..=count).rev().map(|k| 1.0 / k as f64).sum()
}

/// Expected loss of the slowest of `ranks` if detours have exponentially distributed lengths of mean 1.
///
/// The rest of a detour that the phase starts in is distributed as a whole one, so that the loss is a sum of N
/// lengths or, with probability ρ, N + 1. A sum of n lengths exceeds x if a Poisson variable of mean x is
/// below n (the Erlang distribution).
pub fn slowest_exponential(ranks: usize, m: f64, rho: f64) -> f64 {
    let arrivals = poisson(m);
    let exceeds = |x: f64| {
        let below = cumulated(&poisson(x));
        let sum_exceeds = |n: usize| if n == 0 { 0.0 } else { below.get(n - 1).copied().unwrap_or(1.0) };
        let one = |(n, p): (usize, &f64)| p * ((1.0 - rho) * sum_exceeds(n) + rho * sum_exceeds(n + 1));
        arrivals.iter().enumerate().map(one).sum::<f64>()
    };
    // Sums so large that not even one of the ranks has them in any run.
    let end = (1..).map(f64::from).find(|&x| exceeds(x) * (ranks as f64) < 1e-9).unwrap_or(f64::MAX);
    simpson(0.0, end, end as usize * INTERVALS, |x| some_rank_exceeds(ranks, exceeds(x)))
}

/// Expected loss of the slowest of `ranks` if all detours have length 1.
///
/// The loss is N or, with probability ρ, N plus a rest that is uniform between 0 and 1: F is linear between
/// whole numbers, and the integral of F^P there is exact.
pub fn slowest_fixed(ranks: usize, m: f64, rho: f64) -> f64 {
    let arrivals = poisson(m);
    let up_to = cumulated(&arrivals);
    let between = |(probability, at_most): (&f64, &f64)| {
        // Just after k detours: those without a rest have k or fewer, those with one have fewer than k.
        let low = at_most - rho * probability;
        1.0 - mean_power(ranks, low, *at_most)
    };
    arrivals.iter().zip(&up_to).map(between).sum()
}

/// The mean of x^P for x between `low` and `high`.
fn mean_power(power: usize, low: f64, high: f64) -> f64 {
    let next = power as f64 + 1.0;
    let raised = |x: f64, power: f64| (power * (x.max(0.0) - 1.0).ln_1p()).exp();
    if next * (high - low) < 1e-6 {
        return raised(high, power as f64);
    }
    (raised(high, next) - raised(low, next)) / (next * (high - low))
}

/// 1 − (1 − p)^P, exact for small p.
fn some_rank_exceeds(ranks: usize, p: f64) -> f64 {
    -(ranks as f64 * (-p.clamp(0.0, 1.0)).ln_1p()).exp_m1()
}

/// Probabilities of 0, 1, 2, … under a Poisson distribution, as far as they count.
fn poisson(mean: f64) -> Vec<f64> {
    let mut logarithm = -mean;
    let mut probabilities = vec![logarithm.exp()];
    for k in 1.. {
        logarithm += (mean / f64::from(k)).ln();
        let probability = logarithm.exp();
        if f64::from(k) > mean && probability < NEGLIGIBLE {
            break;
        }
        probabilities.push(probability);
    }
    probabilities
}

fn cumulated(probabilities: &[f64]) -> Vec<f64> {
    let add = |sum: &mut f64, p: &f64| {
        *sum += p;
        Some(sum.min(1.0))
    };
    probabilities.iter().scan(0.0, add).collect()
}

/// Simpson's rule; `intervals` is even.
fn simpson(from: f64, to: f64, intervals: usize, f: impl Fn(f64) -> f64) -> f64 {
    let width = (to - from) / intervals as f64;
    let weight = |i: usize| match i {
        _ if i == 0 || i == intervals => 1.0,
        _ if i % 2 == 1 => 4.0,
        _ => 2.0,
    };
    (0..=intervals).map(|i| weight(i) * f(from + width * i as f64)).sum::<f64>() * width / 3.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-5 * expected.abs().max(1.0), "{found} instead of {expected}");
    }

    #[test]
    fn harmonic_numbers() {
        assert_eq!(harmonic(1), 1.0);
        assert_close(harmonic(4), 25.0 / 12.0);
        // ln P + γ + 1/2P
        assert_close(harmonic(1_000_000), 1e6_f64.ln() + 0.577_215_664_9 + 0.5e-6);
    }

    /// A single rank loses on average what its detours take: m of mean 1, and with probability ρ one more
    /// (exponential) or half a one (the rest of a fixed one).
    #[test]
    fn a_single_rank_loses_the_mean() {
        for (m, rho) in [(0.0, 0.3), (0.5, 0.0), (0.5, 0.1), (20.0, 0.25)] {
            assert_close(slowest_exponential(1, m, rho), m + rho);
            assert_close(slowest_fixed(1, m, rho), m + rho / 2.0);
        }
    }

    /// With exactly one exponential detour for everyone, the result is the harmonic number.
    #[test]
    fn one_exponential_detour_each_is_renyis_case() {
        for ranks in [1, 10, 1000, 1_000_000] {
            assert_close(slowest_exponential(ranks, 0.0, 1.0), harmonic(ranks));
        }
    }

    /// Without a detour at the start: the expected maximum of Poisson variables, E = Σ (1 − F(k)^P).
    #[test]
    fn fixed_lengths_count_arrivals() {
        // P = 2, m = 1: 2 E[N] − E[min], worked out from the table of the Poisson distribution.
        let table = [0.367_879, 0.735_759, 0.919_699, 0.981_012, 0.996_340, 0.999_406, 0.999_917, 0.999_990];
        let expected: f64 = table.iter().map(|f: &f64| 1.0 - f * f).sum();
        assert!((slowest_fixed(2, 1.0, 0.0) - expected).abs() < 1e-4);
    }

    #[test]
    fn many_ranks_lose_at_most_what_certainty_allows() {
        // All ranks start in a fixed detour and meet no other: the slowest waits for nearly all of it.
        assert_close(slowest_fixed(999, 0.0, 1.0), 999.0 / 1000.0);
    }
}
