//! The simulation against closed forms: noise that is generated at random, replayed by the same code as
//! measured traces, and what theory says that the slowest rank loses.

use std::iter;

use serde::Serialize;

use super::closed_form::{harmonic, slowest_exponential, slowest_fixed};
use super::network::Network;
use super::random::SplitMix64;
use super::ranks::Ranks;
use super::replay::Noise;
use crate::error::Failure;

/// Name and revision of the JSON layout of a [`Check`].
pub const CHECK_SCHEMA: &str = "tacet-bench-scale-check/1";

/// Work of a phase, and mean time between detours: 1 ms.
const WORK: f64 = 1e6;
/// Mean length of a detour: 20 µs.
const LENGTH: f64 = 2e4;
/// Share of the time in detours.
const RHO: f64 = LENGTH / (WORK + LENGTH);
/// Between detours that come one per phase. A little more than the work, so that rounding never lets a phase
/// that starts when a detour ends meet the next one; it may miss a detour once in 10⁷ phases.
const ONE_PER_PHASE: f64 = WORK * (1.0 + 1e-7);
/// Detours of a trace per rank: so many that ranks seldom replay the same.
const DETOURS_PER_RANK: usize = 100;
/// Phases that are taken from a trace before another is generated: a quarter of its detours.
const PHASES_PER_TRACE: usize = DETOURS_PER_RANK / 4;
/// Bounds the memory: 400 MB.
const MOST_RANKS: usize = 100_000;
/// Larger differences than so many standard errors are none of chance: one in 16,000.
const STANDARD_ERRORS: f64 = 4.0;

/// A kind of random noise whose slowest rank can be computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Model {
    /// One detour of exponential length in each phase; the loop goes on from phase to phase.
    OneExponential,
    /// Poisson arrivals, exponential lengths; each phase starts anew.
    PoissonExponential,
    /// Poisson arrivals, all lengths the same; each phase starts anew.
    PoissonFixed,
}

/// Theory and simulation side by side.
#[derive(Debug, Serialize)]
pub struct Check {
    /// [`CHECK_SCHEMA`].
    pub schema: &'static str,
    /// Of the random numbers.
    pub seed: u64,
    /// Work of a phase.
    pub work_ns: f64,
    /// Mean length of a detour.
    pub length_ns: f64,
    /// One entry per model and number of ranks.
    pub rows: Vec<Row>,
}

/// One model at one number of ranks.
#[derive(Debug, Serialize)]
pub struct Row {
    /// The noise.
    pub model: Model,
    /// Number of ranks.
    pub ranks: usize,
    /// Phases simulated.
    pub phases: usize,
    /// What the slowest rank loses in a phase on average, by the closed form.
    pub expected_ns: f64,
    /// The same, simulated.
    pub simulated_ns: f64,
    /// By how much the simulation is above the closed form.
    pub difference_percent: f64,
    /// Standard error of the simulated mean, in percent of the closed form.
    pub standard_error_percent: f64,
    /// Whether the difference is within [`STANDARD_ERRORS`] standard errors.
    pub agrees: bool,
}

impl Model {
    const ALL: [Self; 3] = [Self::OneExponential, Self::PoissonExponential, Self::PoissonFixed];

    /// What it says in a table.
    pub fn title(self) -> &'static str {
        match self {
            Self::OneExponential => "one detour per phase, exponential length",
            Self::PoissonExponential => "Poisson arrivals, exponential lengths",
            Self::PoissonFixed => "Poisson arrivals, fixed lengths",
        }
    }

    fn expected(self, ranks: usize) -> f64 {
        let lengths = match self {
            Self::OneExponential => harmonic(ranks),
            Self::PoissonExponential => slowest_exponential(ranks, 1.0, RHO),
            Self::PoissonFixed => slowest_fixed(ranks, 1.0, RHO),
        };
        lengths * LENGTH
    }

    fn noise(self, random: &mut SplitMix64, count: usize) -> Noise {
        let mut at = 0.0;
        let detour = |_| {
            at += match self {
                Self::OneExponential => ONE_PER_PHASE,
                Self::PoissonExponential | Self::PoissonFixed => random.exponential(WORK),
            };
            let length = match self {
                Self::OneExponential | Self::PoissonExponential => random.exponential(LENGTH),
                Self::PoissonFixed => LENGTH,
            };
            let start = at;
            at += length;
            [start, length]
        };
        let detours: Vec<[f64; 2]> = (0..count).map(detour).collect();
        Noise::from_detours(&detours, at)
    }

    /// What the slowest rank loses in each of `count` phases.
    fn losses(self, noise: &Noise, ranks: usize, seeds: &mut SplitMix64, count: usize) -> Vec<f64> {
        let start = |seed| Ranks::new(noise, ranks, seed, &Network::FREE, 1);
        match self {
            // Exponential lengths have no memory: whether a rank leaves a wait in a detour or between two,
            // the phase has one exponential length to wait for.
            Self::OneExponential => {
                let mut job = start(seeds.next());
                iter::repeat_with(|| phase(&mut job)).take(count).collect()
            }
            Self::PoissonExponential | Self::PoissonFixed => {
                iter::repeat_with(|| phase(&mut start(seeds.next()))).take(count).collect()
            }
        }
    }

    fn row(self, ranks: usize, phases: usize, random: &mut SplitMix64) -> Row {
        let mut losses = Vec::new();
        while losses.len() < phases {
            let noise = self.noise(random, ranks * DETOURS_PER_RANK);
            let count = PHASES_PER_TRACE.min(phases - losses.len());
            losses.extend(self.losses(&noise, ranks, random, count));
        }
        let expected = self.expected(ranks);
        let (simulated, standard_error) = mean_and_error(&losses);
        let difference = simulated - expected;
        Row {
            model: self,
            ranks,
            phases,
            expected_ns: expected,
            simulated_ns: simulated,
            difference_percent: difference / expected * 100.0,
            standard_error_percent: standard_error / expected * 100.0,
            agrees: difference.abs() <= STANDARD_ERRORS * standard_error,
        }
    }
}

/// Compares every model at each number of ranks.
pub fn run(ranks: &[usize], phases: usize, seed: u64) -> Result<Check, Failure> {
    if let Some(many) = ranks.iter().find(|&&ranks| ranks > MOST_RANKS) {
        return Err(Failure::with_status(
            2,
            format!(
                "the check would take a trace of {} detours for {many} ranks; give --ranks up to {MOST_RANKS}",
                many * DETOURS_PER_RANK
            ),
        ));
    }
    if phases < 2 {
        return Err(Failure::with_status(2, "one phase has no standard error; give --iterations of 2 or more"));
    }
    let mut random = SplitMix64::new(seed);
    let models = Model::ALL.iter().flat_map(|model| ranks.iter().map(move |&ranks| (model, ranks)));
    let rows = models.map(|(model, ranks)| model.row(ranks, phases, &mut random)).collect();
    Ok(Check { schema: CHECK_SCHEMA, seed, work_ns: WORK, length_ns: LENGTH, rows })
}

impl Check {
    /// Refuses a simulation that theory contradicts.
    pub fn verdict(&self) -> Result<(), Failure> {
        let wrong = self.rows.iter().filter(|row| !row.agrees).count();
        if wrong == 0 {
            return Ok(());
        }
        Err(Failure::new(format!(
            "{wrong} of {} simulated values differ from the closed form by more than {STANDARD_ERRORS} standard \
             errors; try another --seed, and if it stays so, please report it",
            self.rows.len()
        )))
    }
}

fn phase(ranks: &mut Ranks) -> f64 {
    let start = ranks.last();
    ranks.compute(WORK);
    ranks.meet();
    ranks.last() - start - WORK
}

/// Mean and its standard error. Phases share the detours of their trace, of which they use a quarter: that
/// makes the variance of the mean larger by a quarter at most.
fn mean_and_error(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0);
    let shared = 1.0 + PHASES_PER_TRACE as f64 / DETOURS_PER_RANK as f64;
    (mean, (variance * shared / count).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn simulation_and_closed_form_agree() {
        let check = run(&[10, 1000], 500, 1).unwrap();
        assert_eq!(check.rows.len(), 6);
        for row in &check.rows {
            assert!(row.agrees, "{row:?}");
            // The tolerance is one that could find a mistake.
            assert!(row.standard_error_percent < 4.0, "{row:?}");
        }
        check.verdict().unwrap();
    }

    #[test]
    fn a_wrong_simulation_is_told() {
        let mut check = run(&[10], 50, 1).unwrap();
        check.rows[0].agrees = false;
        assert!(check.verdict().unwrap_err().to_string().starts_with("1 of 3 simulated values differ"));
    }

    /// The variance of the largest of P exponential variables is Σ 1/k² (Rényi).
    #[test]
    fn the_spread_is_that_of_the_theory() {
        let row = Model::OneExponential.row(100, 2000, &mut SplitMix64::new(3));
        let variance: f64 = (1..=100).map(|k| 1.0 / f64::from(k * k)).sum();
        let theory = (variance * 1.25 / 2000.0).sqrt() / harmonic(100) * 100.0;
        // The standard error of a standard deviation is about √((κ − 1) / 4n), κ = 5.4 for a Gumbel variable.
        let error = (4.4_f64 / 8000.0).sqrt();
        assert!((row.standard_error_percent / theory - 1.0).abs() < 4.0 * error, "{row:?} {theory}");
    }

    #[test]
    fn too_many_ranks_and_too_few_phases_are_refused_as_usage() {
        assert_eq!(run(&[100, 1_000_000], 10, 1).unwrap_err().status(), 2);
        assert_eq!(run(&[100], 1, 1).unwrap_err().status(), 2);
    }
}
