//! The time-stamp counter: the one clock that can be read in user mode without any call, on
//! Linux as in a cell.

use std::arch::x86_64::{__rdtscp, _mm_lfence, _rdtsc};

/// The counter, unordered: the cheapest reading, for loops that read it and do nothing else.
#[inline(always)]
pub fn read() -> u64 {
    // SAFETY: RDTSC touches no memory. Every x86-64 CPU has it; a kernel may forbid it (CR4.TSD),
    // which ends the program with a fault and is no memory error.
    unsafe { _rdtsc() }
}

/// The counter before a timed section: nothing of the section starts before the reading.
///
/// Ordering after Intel, *How to Benchmark Code Execution Times on Intel IA-32 and IA-64*
/// (2010), with LFENCE in place of the CPUID that a hypervisor would trap.
#[inline(always)]
pub fn begin() -> u64 {
    // SAFETY: LFENCE and RDTSC touch no memory; SSE2 is part of x86-64.
    unsafe {
        _mm_lfence();
        let ticks = _rdtsc();
        _mm_lfence();
        ticks
    }
}

/// The counter after a timed section: all of the section is done before the reading.
#[inline(always)]
pub fn end() -> u64 {
    let mut cpu = 0;
    // SAFETY: RDTSCP writes the CPU number to `cpu`, which is a valid u32; LFENCE touches no
    // memory.
    unsafe {
        let ticks = __rdtscp(&mut cpu);
        _mm_lfence();
        ticks
    }
}
