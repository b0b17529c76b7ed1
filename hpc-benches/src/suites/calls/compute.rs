//! About a second of matrix products: work that asks nothing of a kernel once its memory is
//! there, so that a side that differs here has something wrong with its core, its memory or its
//! silence. The amount of work is fixed; its result is checked.

use std::hint::black_box;
use std::io;

use super::{Bench, Samples};
use crate::machine::tsc;

const SIDE: usize = 512;
const PRODUCTS: usize = 44;

/// One sample: all products together.
pub(super) fn compute_1s(bench: &Bench) -> Samples {
    let a = matrix(|row, column| (row * 7 + column * 3) % 11);
    let b = matrix(|row, column| (row * 5 + column) % 13);
    let mut c = vec![1.0; SIDE * SIDE];
    let start = tsc::begin();
    for _ in 0..PRODUCTS {
        multiply(black_box(&a), black_box(&b), &mut c);
    }
    let ticks = tsc::end().saturating_sub(start);
    if !is_product(&a, &b, &c) {
        return Err(io::Error::other("the matrix product is wrong"));
    }
    Ok(vec![bench.clock.section_nanoseconds(ticks)])
}

fn matrix(entry: impl Fn(usize, usize) -> usize) -> Vec<f64> {
    (0..SIDE * SIDE).map(|index| entry(index / SIDE, index % SIDE) as f64).collect()
}

fn multiply(a: &[f64], b: &[f64], c: &mut [f64]) {
    for (a_row, c_row) in a.chunks_exact(SIDE).zip(c.chunks_exact_mut(SIDE)) {
        c_row.fill(0.0);
        for (&factor, b_row) in a_row.iter().zip(b.chunks_exact(SIDE)) {
            for (sum, &entry) in c_row.iter_mut().zip(b_row) {
                *sum += factor * entry;
            }
        }
    }
}

/// Freivalds' check with a vector of different small numbers: c·x = a·(b·x). All values are
/// whole and far below 2^53, so the arithmetic is exact.
fn is_product(a: &[f64], b: &[f64], c: &[f64]) -> bool {
    let x: Vec<f64> = (0..SIDE).map(|i| (i % 17 + 1) as f64).collect();
    apply(c, &x) == apply(a, &apply(b, &x))
}

fn apply(matrix: &[f64], vector: &[f64]) -> Vec<f64> {
    let dot = |row: &[f64]| row.iter().zip(vector).map(|(m, v)| m * v).sum();
    matrix.chunks_exact(SIDE).map(dot).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_accepts_the_product_and_no_other() {
        let a = matrix(|row, column| usize::from(row == column) * 2);
        let b = matrix(|row, column| (row + column) % 3);
        let mut c = vec![0.0; SIDE * SIDE];
        multiply(&a, &b, &mut c);
        let doubled: Vec<f64> = b.iter().map(|entry| entry * 2.0).collect();
        assert_eq!(c, doubled);
        assert!(is_product(&a, &b, &c));
        c[SIDE + 1] += 1.0;
        assert!(!is_product(&a, &b, &c));
    }
}
