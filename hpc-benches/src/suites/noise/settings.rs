//! Parameters of the suite; both sides of a comparison get the same.

use clap::Args;

use crate::error::Failure;

/// Shares of the time: fixed work, fixed time, selfish detour, hourglass.
pub const PARTS: f64 = 4.0;

/// Parameters of the suite.
#[derive(Args, Clone, Debug)]
#[group(id = "noise-settings")]
pub struct Settings {
    /// Length of one run in seconds, a quarter for each of the four benchmarks
    #[arg(long, value_name = "S", default_value_t = 4.0)]
    pub seconds: f64,
    /// Count an interruption of the loop as a detour when it is longer than this
    #[arg(long, value_name = "NS", default_value_t = 500.0)]
    pub threshold_ns: f64,
    /// Make the fixed-work quantum 2^BITS steps long
    #[arg(long, value_name = "BITS", default_value_t = 16, value_parser = clap::value_parser!(u32).range(8..=30))]
    pub work_bits: u32,
    /// Make the fixed-time quantum US microseconds long
    #[arg(long, value_name = "US", default_value_t = 1000.0)]
    pub quantum_us: f64,
    /// Measure all cores that there are at once, with one pinned thread each
    #[arg(long)]
    pub all_cores: bool,
    /// Tell the cause of each detour by Linux's trace events (as root, with tracefs); lengthens interruptions a little
    #[arg(long)]
    pub events: bool,
}

impl Settings {
    /// The options that make another process use the same parameters.
    pub fn to_arguments(&self) -> Vec<String> {
        let mut arguments = vec![
            format!("--seconds={}", self.seconds),
            format!("--threshold-ns={}", self.threshold_ns),
            format!("--work-bits={}", self.work_bits),
            format!("--quantum-us={}", self.quantum_us),
        ];
        arguments.extend(self.all_cores.then(|| "--all-cores".to_owned()));
        arguments.extend(self.events.then(|| "--events".to_owned()));
        arguments
    }

    /// Refuses lengths that are none.
    pub fn check(&self) -> Result<(), Failure> {
        let positive = |value: f64| value.is_finite() && value > 0.0;
        if ![self.seconds, self.threshold_ns, self.quantum_us].into_iter().all(positive) {
            return Err(Failure::with_status(
                2,
                "--seconds, --threshold-ns and --quantum-us must be positive numbers; give for example --seconds 10",
            ));
        }
        if self.quantum_us / 1e6 > self.part_seconds() {
            return Err(Failure::with_status(
                2,
                format!(
                    "no quantum of {} µs fits into the {} s that the fixed-time quantum has; give a larger --seconds or \
                     a smaller --quantum-us",
                    self.quantum_us,
                    self.part_seconds()
                ),
            ));
        }
        Ok(())
    }

    /// Seconds that each benchmark has.
    pub fn part_seconds(&self) -> f64 {
        self.seconds / PARTS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(seconds: f64, quantum_us: f64) -> Settings {
        Settings { seconds, threshold_ns: 500.0, work_bits: 16, quantum_us, all_cores: false, events: false }
    }

    #[test]
    fn lengths_that_are_none_are_refused_as_usage() {
        for seconds in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(settings(seconds, 1000.0).check().unwrap_err().status(), 2);
            assert_eq!(settings(1.0, seconds).check().unwrap_err().status(), 2);
        }
    }

    #[test]
    fn a_quantum_must_fit() {
        assert!(settings(0.004, 1000.0).check().is_ok());
        let failure = settings(0.003, 1000.0).check().unwrap_err();
        assert_eq!(failure.status(), 2);
        assert!(failure.to_string().contains("smaller --quantum-us"));
    }

    #[test]
    fn switches_are_handed_on_when_they_were_given() {
        let none = settings(1.0, 50.0);
        assert_eq!(none.to_arguments().len(), 4);
        let both = Settings { all_cores: true, events: true, ..none };
        assert_eq!(both.to_arguments()[4..], ["--all-cores", "--events"]);
    }
}
