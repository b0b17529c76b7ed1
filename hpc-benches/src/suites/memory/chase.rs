//! Pointer chase: each load gives the address of the next, so that its time is a latency. The lines of a
//! set are visited in a random order that a prefetcher can't guess and that comes by every line once before
//! it closes. The set grows: steps in the curve are the caches, and, in the pages that the program got, the
//! reach of the TLBs.
//!
//! Source: L. McVoy, C. Staelin, *lmbench: Portable Tools for Performance Analysis*, USENIX 1996 (memory
//! read latency); random order in place of its strides.

use std::hint::black_box;

use super::sizes::MIB;
use super::{Bench, Findings};
use crate::machine::clock::Clock;
use crate::machine::tsc;
use crate::report::{CurvePoint, Measure};

const SMALLEST: usize = 4096;
/// A cache line of x86-64, in words.
const LINE: usize = 8;
/// Loads per sample.
const BATCH: usize = 1024;
const SAMPLES: usize = 20_000;
const BUDGET_SECONDS: f64 = 0.04;
/// Bounds the time that warming up takes; a set with more lines fits into no cache.
const MOST_WARM_UP_LOADS: usize = 1 << 20;

/// Sets from 4 KiB to `largest` bytes, each twice the one before.
pub(super) fn measure(bench: &Bench, largest: usize, findings: &mut Findings) {
    let sets: Vec<usize> =
        std::iter::successors(Some(SMALLEST), |set| set.checked_mul(2)).take_while(|&set| set <= largest).collect();
    // The order of visits takes a word of 32 bits for each line.
    let needed = largest + largest / 16;
    let mut memory = match bench.machine.require(needed, bench.pages).and_then(|()| bench.map(largest)) {
        Ok(memory) => memory,
        Err(reason) => {
            sets.iter().for_each(|&set| findings.miss(&name(set), &reason));
            return;
        }
    };
    for set in sets {
        let words = &mut memory.words()[..set / size_of::<u64>()];
        link(words, set as u64);
        let samples = chase(&bench.clock, words);
        let curve = CurvePoint { curve: "pointer-chase".to_owned(), x: set as f64, x_label: "bytes".to_owned() };
        findings.measures.push(Measure { curve: Some(curve), ..Measure::time(&name(set), samples) });
    }
    findings.large_pages("chase_large_pages_percent", &memory, largest);
}

fn name(set: usize) -> String {
    if set >= MIB { format!("chase-{}m", set / MIB) } else { format!("chase-{}k", set / 1024) }
}

/// Makes the first word of each line the place of the next line's: one random cycle over all lines
/// (Fisher–Yates order, closed to a ring).
fn link(words: &mut [u64], seed: u64) {
    let lines = words.len() / LINE;
    let mut order: Vec<u32> = (0..lines as u32).collect();
    let mut state = seed | 1;
    for last in (1..lines).rev() {
        // xorshift64* (S. Vigna, 2016); the upper half scaled to 0 ..= last.
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        let random = state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32;
        order.swap(last, ((random * (last as u64 + 1)) >> 32) as usize);
    }
    for (&line, &next) in order.iter().zip(order.iter().cycle().skip(1)) {
        words[line as usize * LINE] = (next as usize * LINE) as u64;
    }
}

/// Follows the links; nanoseconds per load, one sample per batch.
fn chase(clock: &Clock, words: &[u64]) -> Vec<f64> {
    let mut at = follow(words, 0, (words.len() / LINE).min(MOST_WARM_UP_LOADS));
    let last = tsc::read() + clock.ticks(BUDGET_SECONDS * 1e9);
    let mut samples = Vec::with_capacity(SAMPLES);
    while samples.len() < SAMPLES {
        let start = tsc::begin();
        at = follow(words, at, BATCH);
        let end = tsc::end();
        samples.push(clock.section_nanoseconds(end.saturating_sub(start)) / BATCH as f64);
        if end > last {
            break;
        }
    }
    black_box(at);
    samples
}

#[inline(never)]
fn follow(words: &[u64], from: u64, loads: usize) -> u64 {
    (0..loads).fold(from, |at, _| words[at as usize])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_links_are_one_cycle_over_all_lines() {
        for lines in [1, 2, 3, 64, 1 << 12] {
            let mut words = vec![0; lines * LINE];
            link(&mut words, 5);
            let mut visited = vec![false; lines];
            let mut at = 0;
            for _ in 0..lines {
                assert_eq!(at as usize % LINE, 0);
                assert!(!visited[at as usize / LINE], "{lines} lines: line {at} came twice");
                visited[at as usize / LINE] = true;
                at = words[at as usize];
            }
            assert_eq!(at, 0);
        }
    }

    /// A prefetcher of the next line must not be able to help: in a random order of n lines, one
    /// neighbour on average follows its neighbour.
    #[test]
    fn neighbours_do_not_follow_each_other() {
        let mut words = vec![0; (1 << 12) * LINE];
        link(&mut words, 5);
        let is_step = |&at: &usize| words[at] == (at + LINE) as u64;
        let steps = (0..words.len()).step_by(LINE).filter(is_step).count();
        assert!(steps < 10, "{steps} of {} lines are followed by the next", 1 << 12);
    }

    #[test]
    fn following_takes_as_many_loads_as_asked() {
        let mut words = vec![0; 16 * LINE];
        link(&mut words, 9);
        assert_eq!(follow(&words, 0, 16), 0);
        assert_ne!(follow(&words, 0, 15), 0);
        assert_eq!(follow(&words, 0, 1), words[0]);
    }

    #[test]
    fn names_bear_the_size() {
        assert_eq!(
            [name(4096), name(512 << 10), name(MIB), name(512 * MIB)],
            ["chase-4k", "chase-512k", "chase-1m", "chase-512m"]
        );
    }
}
