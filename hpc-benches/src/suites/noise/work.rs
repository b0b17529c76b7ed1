//! The work that the quanta are made of.

use std::hint::black_box;

/// A chain of xorshift steps: each needs the one before, none touches memory.
#[inline(never)]
pub fn chain(steps: u64) {
    let mut x = black_box(0x9E37_79B9_7F4A_7C15_u64);
    for _ in 0..steps {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
    }
    black_box(x);
}
