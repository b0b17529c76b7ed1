//! The runs of one suite, side by side in turn.

use std::time::Instant;

use super::assemble;
use super::loaded::LoadedCores;
use super::placement::bar_cores;
use super::progress::Progress;
use super::result::{Run, SideRuns, SuiteComparison, Turn};
use super::side::Side;
use super::tuned::Tuned;
use super::workload::Workload;
use crate::error::Failure;
use crate::tuning::report::Tuning;

/// Runs `pairs` of all sides, native first.
pub fn run(
    workload: &Workload,
    sides: &[Side],
    tuned: &Tuned,
    pairs: usize,
    spare: &[usize],
) -> Result<SuiteComparison, Failure> {
    let order = schedule(sides.len(), pairs, tuned.is_side());
    let mut tunings = Vec::new();
    let mut load = workload.load().map(|settings| LoadedCores::start(settings, spare)).transpose()?;
    let progress = Progress::of(workload.suite(), order.len(), bar_cores(spare), workload.expected());
    let mut runs: Vec<Vec<Run>> = sides.iter().map(|_| Vec::new()).collect();
    let mut turns = Vec::new();
    let begin = Instant::now();
    for (number, &index) in order.iter().enumerate() {
        let side = &sides[index];
        turns.push(Turn { side: side.name.clone(), started_seconds: Some(begin.elapsed().as_secs_f64()) });
        let bar = progress.bar(number, &side.name);
        let mut measure = || match &mut load {
            None => workload.run(side),
            Some(load) => load.beside(&side.name, || workload.run(side)),
        };
        let run = if side.is_tuned() { tuned.during(&mut tunings, measure) } else { measure() };
        drop(bar);
        runs[index].push(run?);
    }
    let sides = sides
        .iter()
        .zip(runs)
        .map(|(side, runs)| SideRuns {
            name: side.name.clone(),
            commands: side.printable(),
            pinned_core: side.core,
            runs,
        })
        .collect();
    let mut suite = assemble::assemble(workload.suite(), sides);
    suite.order = turns;
    suite.load = load.map(LoadedCores::record);
    suite.tuning = Tuning::merge(tunings);
    suite.without_tuned = tuned.why_not();
    Ok(suite)
}

/// Indices of sides in the order in which they run. Side 0 is native and also runs last; so does side 1 where
/// that is the tuned one.
fn schedule(sides: usize, pairs: usize, is_tuned: bool) -> Vec<usize> {
    let mut order: Vec<usize> = (0..pairs).flat_map(|_| 0..sides).collect();
    order.extend(0..=usize::from(is_tuned));
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sides_take_turns_and_native_closes() {
        assert_eq!(schedule(2, 3, false), [0, 1, 0, 1, 0, 1, 0]);
        assert_eq!(schedule(3, 2, false), [0, 1, 2, 0, 1, 2, 0]);
        assert_eq!(schedule(3, 2, true), [0, 1, 2, 0, 1, 2, 0, 1]);
    }
}
