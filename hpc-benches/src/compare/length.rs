//! How long a comparison will take, told before one that nobody has put together.

use std::time::Duration;

use super::offer::Offer;
use super::tuned::Tuned;
use super::workload::Workload;

/// The suites, the sides, and about how long all of it takes.
pub fn told(workloads: &[Workload], offer: &Offer, tuned: &[Tuned], pairs: usize) -> String {
    let cells = offer.platforms.len();
    let length = workloads.iter().zip(tuned).map(|(workload, tuned)| of_suite(workload, cells, tuned.is_side(), pairs));
    let suites: Vec<&str> = workloads.iter().map(Workload::suite).collect();
    let natives = if tuned.iter().any(Tuned::is_side) { "native, native-tuned" } else { "native" };
    let cells: Vec<&str> = offer.platforms.iter().map(|platform| platform.name()).collect();
    let word = if pairs == 1 { "pair" } else { "pairs" };
    format!(
        "suites {} on {natives}, {}; {pairs} {word}: about {}; name suites to run some of them, --pairs for more or fewer",
        suites.join(", "),
        cells.join(", "),
        shown(length.sum()),
    )
}

/// As many runs as [`super::turns`] takes.
fn of_suite(workload: &Workload, cells: usize, is_tuned: bool, pairs: usize) -> Duration {
    let natives = 1 + usize::from(is_tuned);
    let runs = pairs * (natives + cells) + natives;
    workload.usual_length() * u32::try_from(runs).unwrap_or(u32::MAX)
}

fn shown(length: Duration) -> String {
    const MINUTE: u64 = 60;
    match length.as_secs() {
        seconds @ ..MINUTE => format!("{seconds} seconds"),
        seconds => format!("{} minutes", seconds.div_ceil(MINUTE)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_in_a_unit_that_people_use() {
        assert_eq!(shown(Duration::from_secs(59)), "59 seconds");
        assert_eq!(shown(Duration::from_secs(61)), "2 minutes");
    }
}
