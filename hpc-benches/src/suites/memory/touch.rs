//! First touch: mapping a set and writing a word to every 4 KiB of it, in the pages asked for. A sample is
//! the time of all of it by the number of 4 KiB, so that page sizes can be set against each other.
//!
//! Kernels that populate when they map pay in the first part, those that fault pay in the second; the sum
//! is what a program waits for. One sample a run: memory that a process had and gave back is not touched for
//! the first time.

use std::hint::black_box;

use super::sizes::MIB;
use super::{Bench, Findings, refusal};
use crate::machine::mapping::{Mapping, PageKind};
use crate::machine::tsc;
use crate::report::Measure;

const TOUCHED: usize = 4096;
const WORDS: usize = TOUCHED / size_of::<u64>();

/// Touches at least `bytes` in pages of `kind`.
pub(super) fn measure(bench: &Bench, bytes: usize, kind: PageKind, findings: &mut Findings) {
    let name = format!("first-touch-{}", kind.name());
    // A page of a pool is zeroed as a whole, whatever part of it is touched.
    let bytes = bytes.next_multiple_of(kind.pool_page().unwrap_or(TOUCHED));
    let touched = bench.machine.require(bytes, kind).and_then(|()| touch(bench, bytes, kind));
    match touched {
        Ok(nanoseconds) => findings.measures.push(Measure::time(&name, vec![nanoseconds])),
        Err(reason) => findings.miss(&name, &reason),
    }
}

/// Nanoseconds for each 4 KiB.
fn touch(bench: &Bench, bytes: usize, kind: PageKind) -> Result<f64, String> {
    let start = tsc::begin();
    let mut memory = Mapping::new(bytes, kind).map_err(|error| refusal(&error, kind, bytes / MIB))?;
    for word in memory.words().iter_mut().step_by(WORDS) {
        *word = 1;
    }
    black_box(memory.words());
    let ticks = tsc::end().saturating_sub(start);
    Ok(bench.clock.section_nanoseconds(ticks) / (bytes / TOUCHED) as f64)
}
