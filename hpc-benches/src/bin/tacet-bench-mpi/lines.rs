//! The lines that `programs/measure.h` tells of.

use crate::summary::Summary;

/// Bins of a histogram to an octave: some 2 % each.
const BINS_PER_OCTAVE: f64 = 32.0;

/// A `measure` line.
pub fn measure(name: &str, unit: &str, samples: Vec<f64>) -> String {
    let Some(of) = Summary::of(samples) else {
        unreachable!("every measure has samples");
    };
    let p99_9 = of.p99_9.map_or_else(String::new, |value| format!(" p99.9 {value:.3}"));
    format!(
        "measure {name} {unit} {} {:.3} {:.3} {:.3} {:.3} {:.3}{p99_9}",
        of.count, of.min, of.median, of.p99, of.max, of.mean
    )
}

/// A `histogram` line of positive samples. Of empty bins only the first is there, where a bin before it ends.
pub fn histogram(name: &str, mut samples: Vec<f64>) -> String {
    samples.sort_by(f64::total_cmp);
    let mut line = format!("histogram {name}");
    let mut rest = &samples[..];
    let mut end = 0.0_f64;
    while let Some(&first) = rest.first() {
        // Rounding can't put two bins in one place: bins rise.
        let bin = (first.log2() * BINS_PER_OCTAVE).floor();
        let lower = (bin / BINS_PER_OCTAVE).exp2().max(end);
        if end > 0.0 && lower > end {
            line += &format!(" {end:.3}:0");
        }
        end = ((bin + 1.0) / BINS_PER_OCTAVE).exp2().max(first * (1.0 + 1e-9));
        let count = rest.partition_point(|sample| *sample < end);
        line += &format!(" {lower:.3}:{count}");
        rest = &rest[count..];
    }
    line + &format!(" {end:.3}:0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_measure_is_its_summary() {
        let line = measure("latency-8", "ns", vec![3.0, 1.0, 2.0]);
        assert_eq!(line, "measure latency-8 ns 3 1.000 2.000 3.000 3.000 2.000");
    }

    #[test]
    fn more_than_a_thousand_samples_have_a_further_percentile() {
        let line = measure("x", "ns", (1..=2000).map(f64::from).collect());
        assert_eq!(line, "measure x ns 2000 1.000 1000.500 1980.000 2000.000 1000.500 p99.9 1998.000");
    }

    #[test]
    fn bins_are_a_32nd_of_an_octave() {
        // 1024 and 1040 lie below 1024 x 2^(1/32) = 1046.42, 1050 above; 2048 is 32 bins on.
        let line = histogram("step", vec![2048.0, 1024.0, 1050.0, 1040.0]);
        assert_eq!(line, "histogram step 1024.000:2 1046.423:1 1069.336:0 2048.000:1 2092.845:0");
    }

    #[test]
    fn every_sample_is_in_a_bin() {
        let samples: Vec<f64> = (1..=5000).map(|i| f64::from(i) * 0.731).collect();
        let line = histogram("step", samples);
        let bins: Vec<(f64, usize)> = line
            .split_whitespace()
            .skip(2)
            .map(|bin| bin.split_once(':').unwrap())
            .map(|(lower, count)| (lower.parse().unwrap(), count.parse().unwrap()))
            .collect();
        assert_eq!(bins.iter().map(|bin| bin.1).sum::<usize>(), 5000);
        assert!(bins.windows(2).all(|pair| pair[0].0 < pair[1].0), "bins rise: {line}");
    }
}
