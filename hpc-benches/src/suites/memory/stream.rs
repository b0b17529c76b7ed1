//! STREAM: four loops over arrays that no cache holds, in 10⁶ bytes moved per second.
//!
//! Source: J. D. McCalpin, *Memory Bandwidth and Machine Balance in Current High Performance
//! Computers*, IEEE TCCA Newsletter, December 1995, and the rules at
//! <https://www.cs.virginia.edu/stream/ref.html>: arrays of doubles, at least four times the last-level
//! cache; every kernel in turn, ten times or more; the first time does not count; the result is checked
//! against the same steps on one number. Bytes are those that the program names: 16 per element of Copy and
//! Scale, 24 of Add and Triad.

use std::hint::black_box;

use super::{Bench, Findings};
use crate::error::Failure;
use crate::machine::mapping::Mapping;
use crate::machine::tsc;
use crate::report::{Measure, Unit};
use crate::stats::summary::Summary;
use crate::stats::verdict::Better;

const NAMES: [&str; 4] = ["stream-copy", "stream-scale", "stream-add", "stream-triad"];
/// Arrays that each kernel reads or writes.
const ARRAYS: [f64; 4] = [2.0, 2.0, 3.0, 3.0];
/// Rounds that count.
const ROUNDS: usize = 10;
const SCALAR: f64 = 3.0;
const AT_FIRST: [f64; 3] = [1.0, 2.0, 0.0];
/// Relative error that doubles may have.
const TOLERANCE: f64 = 1e-13;

/// Arrays of `bytes` each.
pub(super) fn measure(bench: &Bench, bytes: usize, findings: &mut Findings) -> Result<(), Failure> {
    let map = || Ok([bench.map(bytes)?, bench.map(bytes)?, bench.map(bytes)?]);
    let mut memory: [Mapping; 3] = match bench.machine.require(3 * bytes, bench.pages).and_then(|()| map()) {
        Ok(memory) => memory,
        Err(reason) => {
            findings.miss_all(&NAMES, &reason);
            return Ok(());
        }
    };
    let [a, b, c] = &mut memory;
    let mut arrays = [a.doubles(), b.doubles(), c.doubles()];
    for (array, value) in arrays.iter_mut().zip(AT_FIRST) {
        array.fill(value);
    }
    let mut rates: [Vec<f64>; 4] = Default::default();
    for round in 0..=ROUNDS {
        for (kernel, rates) in rates.iter_mut().enumerate() {
            let start = tsc::begin();
            run(kernel, &mut arrays);
            let ticks = tsc::end().saturating_sub(start);
            if round > 0 {
                let nanoseconds = bench.clock.section_nanoseconds(ticks).max(1.0);
                rates.push(ARRAYS[kernel] * bytes as f64 / nanoseconds * 1e3);
            }
        }
    }
    check(&arrays, ROUNDS + 1).map_err(Failure::new)?;
    findings.measures.extend(NAMES.iter().zip(rates).map(|(name, rates)| rate(name, rates)));
    Ok(())
}

fn rate(name: &str, rates: Vec<f64>) -> Measure {
    Measure {
        unit: Unit::MegabytesPerSecond,
        better: Better::Higher,
        summary: Summary::of(rates),
        ..Measure::time(name, Vec::new())
    }
}

#[inline(never)]
fn run(kernel: usize, [a, b, c]: &mut [&mut [f64]; 3]) {
    let scalar = black_box(SCALAR);
    match kernel {
        0 => c.copy_from_slice(a),
        1 => b.iter_mut().zip(c.iter()).for_each(|(b, c)| *b = scalar * c),
        2 => c.iter_mut().zip(a.iter().zip(b.iter())).for_each(|(c, (a, b))| *c = a + b),
        _ => a.iter_mut().zip(b.iter().zip(c.iter())).for_each(|(a, (b, c))| *a = b + scalar * c),
    }
}

/// All elements of an array hold the same number: the one that the same steps make of one element.
fn check(arrays: &[&mut [f64]; 3], rounds: usize) -> Result<(), String> {
    let [mut a, mut b, mut c] = AT_FIRST;
    for _ in 0..rounds {
        c = a;
        b = SCALAR * c;
        c = a + b;
        a = b + SCALAR * c;
    }
    for (name, (array, expected)) in ["a", "b", "c"].iter().zip(arrays.iter().zip([a, b, c])) {
        let wrong = array.iter().filter(|&&value| ((value - expected) / expected).abs() > TOLERANCE).count();
        if wrong > 0 {
            return Err(format!(
                "STREAM computed {wrong} of {} elements of array {name} wrong; do not trust this memory: test it",
                array.len()
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(rounds: usize) -> [Vec<f64>; 3] {
        let mut memory = AT_FIRST.map(|value| vec![value; 1000]);
        let mut arrays = memory.each_mut().map(Vec::as_mut_slice);
        for _ in 0..rounds {
            (0..4).for_each(|kernel| run(kernel, &mut arrays));
        }
        memory
    }

    #[test]
    fn one_round_is_as_defined() {
        let [a, b, c] = after(1);
        // c = 1, b = 3, c = 1 + 3, a = 3 + 3 · 4
        assert!(a.iter().all(|&a| a == 15.0) && b.iter().all(|&b| b == 3.0) && c.iter().all(|&c| c == 4.0));
    }

    #[test]
    fn the_check_accepts_the_result_and_no_other() {
        let mut memory = after(11);
        assert_eq!(check(&memory.each_mut().map(Vec::as_mut_slice), 11), Ok(()));
        assert!(check(&memory.each_mut().map(Vec::as_mut_slice), 10).is_err());
        memory[1][999] *= 1.0 + 1e-9;
        let error = check(&memory.each_mut().map(Vec::as_mut_slice), 11).unwrap_err();
        assert!(error.contains("1 of 1000 elements of array b"), "{error}");
    }

    #[test]
    fn a_rate_that_is_higher_is_better() {
        let measure = rate("stream-copy", vec![1.0, 3.0, 2.0]);
        assert_eq!((measure.better, measure.unit), (Better::Higher, Unit::MegabytesPerSecond));
        assert_eq!(measure.summary.unwrap().max, 3.0);
    }
}
