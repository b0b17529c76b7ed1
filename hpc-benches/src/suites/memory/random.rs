//! Random access: words of a table, chosen by a pseudo-random sequence, are changed one by one. The time
//! of one update is the reciprocal of the rate that is counted in GUPS (10⁹ updates per second).
//!
//! Source: RandomAccess of the HPC Challenge (P. Luszczek et al., *Introduction to the HPC Challenge
//! Benchmark Suite*, 2005): a table T of 2ⁿ words with `T[i] = i`; four updates per word,
//! `T[aₖ mod 2ⁿ] ^= aₖ`, where aₖ is xᵏ in GF(2)[x] modulo x⁶⁴ + x² + x + 1, taken from 128 places of the
//! sequence at once; verified by running the updates again, which restores the table. (HPCC tolerates 1 %
//! of errors from races between threads; here there is one thread, and no error is tolerated.)

use crate::machine::clock::Clock;
use crate::machine::tsc;

/// x² + x + 1: what x⁶⁴ is.
const POLYNOMIAL: u64 = 7;
const STREAMS: usize = 128;
/// Updates per sample.
const BATCH: usize = STREAMS * 512;

/// How many updates to make.
#[derive(Clone, Copy)]
pub struct Effort {
    /// Updates per word of the table.
    pub per_word: usize,
    /// Updates end after this time, however many are left.
    pub budget_seconds: f64,
}

/// Nanoseconds per update, one sample per batch. An error says how many words were wrong in the end.
pub fn measure(clock: &Clock, table: &mut [u64], effort: Effort) -> Result<Vec<f64>, String> {
    table.iter_mut().zip(0..).for_each(|(word, i)| *word = i);
    let batches = (table.len() * effort.per_word).div_ceil(BATCH);
    let mut samples = Vec::with_capacity(batches);
    let mut streams = starts(batches);
    let last = tsc::read() + clock.ticks(effort.budget_seconds * 1e9);
    for _ in 0..batches {
        let start = tsc::begin();
        update(table, &mut streams, BATCH / STREAMS);
        let end = tsc::end();
        samples.push(clock.section_nanoseconds(end.saturating_sub(start)) / BATCH as f64);
        if end > last {
            break;
        }
    }
    let mut again = starts(batches);
    update(table, &mut again, samples.len() * (BATCH / STREAMS));
    verify(table)?;
    Ok(samples)
}

/// Every stream goes `steps` on and updates the table with each.
#[inline(never)]
fn update(table: &mut [u64], streams: &mut [u64; STREAMS], steps: usize) {
    let mask = table.len() - 1;
    for _ in 0..steps {
        for a in streams.iter_mut() {
            *a = next(*a);
        }
        for &a in streams.iter() {
            table[a as usize & mask] ^= a;
        }
    }
}

fn verify(table: &[u64]) -> Result<(), String> {
    let wrong = table.iter().zip(0..).filter(|&(&word, i)| word != i).count();
    match wrong {
        0 => Ok(()),
        _ => {
            Err(format!("random access left {wrong} of {} words wrong; do not trust this memory: test it", table.len()))
        }
    }
}

/// The product with x.
fn next(a: u64) -> u64 {
    (a << 1) ^ if a >> 63 == 1 { POLYNOMIAL } else { 0 }
}

/// The product of two polynomials.
fn product(a: u64, b: u64) -> u64 {
    (0..64).rev().fold(0, |sum, bit| next(sum) ^ if b >> bit & 1 == 1 { a } else { 0 })
}

/// Element `n` of the sequence, xⁿ, by squaring.
fn element(n: u64) -> u64 {
    const X: u64 = 2;
    (0..64).rev().fold(1, |power, bit| {
        let square = product(power, power);
        if n >> bit & 1 == 1 { product(square, X) } else { square }
    })
}

/// Where the streams start, so that together they make each of the first `batches` · [`BATCH`] elements once.
fn starts(batches: usize) -> [u64; STREAMS] {
    let share = (batches * BATCH / STREAMS) as u64;
    std::array::from_fn(|stream| element(stream as u64 * share))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_those_of_the_sequence() {
        let mut a = 1;
        for n in 0..1000 {
            assert_eq!(element(n), a);
            a = next(a);
        }
        assert_eq!(next(1 << 63), 7);
    }

    #[test]
    fn the_period_is_the_known_one() {
        // The period of this recurrence as HPCC gives it.
        const PERIOD: u64 = 1_317_624_576_693_539_401;
        assert_eq!(element(PERIOD), 1);
        assert_ne!(element(PERIOD / 7), 1);
    }

    #[test]
    fn streams_make_each_element_once() {
        let mut made: Vec<u64> = Vec::new();
        let mut streams = starts(1);
        for _ in 0..BATCH / STREAMS {
            for a in &mut streams {
                made.push(*a);
                *a = next(*a);
            }
        }
        let mut expected: Vec<u64> = std::iter::successors(Some(1), |&a| Some(next(a))).take(BATCH).collect();
        made.sort_unstable();
        expected.sort_unstable();
        assert_eq!(made, expected);
    }

    #[test]
    fn running_the_updates_again_restores_the_table_and_shows_an_error() {
        let mut table: Vec<u64> = (0..1 << 12).collect();
        let mut streams = starts(2);
        update(&mut table, &mut streams, 300);
        assert!(verify(&table).is_err());
        table[77] ^= 1 << 40;
        update(&mut table, &mut starts(2), 300);
        let error = verify(&table).unwrap_err();
        assert!(error.contains("left 1 of 4096 words wrong"), "{error}");
        table[77] ^= 1 << 40;
        assert_eq!(verify(&table), Ok(()));
    }

    #[test]
    fn four_updates_per_word_unless_the_time_is_up() {
        let clock = Clock::calibrate();
        let mut table = vec![0; 1 << 16];
        let whole = measure(&clock, &mut table, Effort { per_word: 4, budget_seconds: 60.0 }).unwrap();
        assert_eq!(whole.len(), 4);
        let short = measure(&clock, &mut table, Effort { per_word: 4, budget_seconds: 0.0 }).unwrap();
        assert_eq!(short.len(), 1);
    }
}
