//! Memory load: arrays larger than any cache are read and written without end (the triad of the benchmark STREAM:
//! J. McCalpin, *Memory Bandwidth and Machine Balance in Current High Performance Computers*, IEEE TCCA
//! Newsletter, 1995).

use std::hint::black_box;
use std::io;

/// Values per array: 64 MiB.
const LENGTH: usize = 8 << 20;

/// Three arrays.
pub struct Arrays {
    a: Vec<f64>,
    b: Vec<f64>,
    c: Vec<f64>,
}

impl Arrays {
    /// Written once, so that the pages are there.
    pub fn new() -> Self {
        Self::of(LENGTH)
    }

    fn of(length: usize) -> Self {
        Self { a: vec![1.0; length], b: vec![2.0; length], c: vec![0.5; length] }
    }

    /// a = b + 3 c
    pub fn round(&mut self) -> io::Result<()> {
        for ((a, b), c) in self.a.iter_mut().zip(&self.b).zip(&self.c) {
            *a = b + 3.0 * c;
        }
        black_box(&mut self.a);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_goes_through_all_of_it() {
        let mut arrays = Arrays::of(1000);
        arrays.round().unwrap();
        assert!(arrays.a.iter().all(|&value| value == 3.5));
    }
}
