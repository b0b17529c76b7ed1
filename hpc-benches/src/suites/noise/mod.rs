//! Suite `noise`: what a program that makes no call at all still loses to others.
//!
//! Half of the time goes to the fixed-work quantum ([`fwq`]), half to the selfish detour
//! ([`selfish`]). Neither makes a call while it measures, and all memory that they write was
//! written before.

pub mod fwq;
pub mod selfish;

use clap::Args;

use super::Session;
use crate::error::Failure;
use crate::report::RunReport;

/// Parameters of the suite; both sides of a comparison get the same.
#[derive(Args, Clone, Debug)]
#[group(id = "noise-settings")]
pub struct Settings {
    /// Length of one run in seconds
    #[arg(long, value_name = "S", default_value_t = 4.0)]
    pub seconds: f64,
    /// Count an interruption of the loop as a detour when it is longer than this
    #[arg(long, value_name = "NS", default_value_t = 500.0)]
    pub threshold_ns: f64,
    /// Make the fixed-work quantum 2^BITS steps long
    #[arg(long, value_name = "BITS", default_value_t = 16, value_parser = clap::value_parser!(u32).range(8..=30))]
    pub work_bits: u32,
}

impl Settings {
    /// The options that make another process use the same parameters.
    pub fn to_arguments(&self) -> Vec<String> {
        vec![
            format!("--seconds={}", self.seconds),
            format!("--threshold-ns={}", self.threshold_ns),
            format!("--work-bits={}", self.work_bits),
        ]
    }

    /// Refuses lengths that are none.
    pub fn check(&self) -> Result<(), Failure> {
        let positive = |value: f64| value.is_finite() && value > 0.0;
        if positive(self.seconds) && positive(self.threshold_ns) {
            return Ok(());
        }
        Err(Failure::with_status(
            2,
            "--seconds and --threshold-ns must be positive numbers; give for example --seconds 10",
        ))
    }
}

/// Measures the core that this process runs on.
pub fn run(settings: &Settings) -> Result<RunReport, Failure> {
    settings.check()?;
    let session = Session::start("noise");
    let half = settings.seconds / 2.0;
    let quanta = fwq::measure(&session.clock, half, settings.work_bits);
    let selfish = selfish::measure(&session.clock, half, settings.threshold_ns);
    let parameters = [
        ("seconds", settings.seconds),
        ("threshold_ns", settings.threshold_ns),
        ("work_bits", f64::from(settings.work_bits)),
        ("selfish_loop_ns", selfish.loop_nanoseconds),
    ];
    let mut measures = quanta;
    measures.extend(selfish.measures);
    Ok(session.finish(&parameters, measures, Vec::new()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_that_are_none_are_refused_as_usage() {
        for seconds in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let settings = Settings { seconds, threshold_ns: 500.0, work_bits: 16 };
            assert_eq!(settings.check().unwrap_err().status(), 2);
        }
    }
}
