//! Both sides of every measure, in turn, in one run, on the same core.
//!
//! Runs go native, cell, native, cell, … and end with one more native run, so that every cell
//! run has a native run before and after it and the native runs among themselves are the
//! control (see [`crate::stats::verdict`]). A side `native-tuned` comes right after native, and closes
//! as native does, so that the cells can be set against either.

mod against;
mod agreement;
pub mod apps;
pub mod assemble;
mod cell_stats;
pub mod changes;
pub mod compiled;
pub mod cores;
mod counts;
pub mod distribution;
pub mod launch;
mod loaded;
pub mod mpi;
pub mod openmp;
pub mod plan;
mod progress;
pub mod result;
mod side;
mod snapshot;
pub mod startup;
pub mod tuned;
mod workload;

use std::io;
use std::time::Instant;

use self::loaded::LoadedCores;
pub use self::plan::{Plan, Platform, Suite};
use self::progress::Progress;
pub use self::result::Comparison;
use self::result::{COMPARE_SCHEMA, Run, SuiteComparison, Turn};
pub use self::side::NATIVE;
use self::side::Side;
use self::tuned::{Baselines, Tuned};
use self::workload::Workload;
use crate::error::Failure;
use crate::machine::host;
use crate::machine::record::Recorder;
use crate::tuning::report::Tuning;

/// Runs every suite of `plan`. All that can be missing is looked for before the first run.
pub fn run(plan: &Plan) -> Result<Comparison, Failure> {
    let older = plan.against.as_deref().map(against::Older::read).transpose()?;
    tuned::check(plan.baselines.as_deref())?;
    let allowed = allowed_cores()?;
    let core = choose_core(plan.core, &allowed)?;
    let tacet = side::find_tacet(plan.tacet.as_deref())?;
    let workloads: Vec<Workload> = plan
        .suites
        .iter()
        .flat_map(Suite::parts)
        .map(|suite| Workload::prepare(&suite, plan.timeout_seconds))
        .collect::<Result<_, _>>()?;
    let baselines = Baselines::prepare(plan.baselines.as_deref())?;
    let tuned: Vec<Tuned> =
        workloads.iter().map(|workload| baselines.of(workload, core, &allowed)).collect::<Result<_, _>>()?;
    for workload in &workloads {
        workload.load().map_or(Ok(()), |load| load.check(&spare_cores(workload, core)))?;
    }
    let recorder = Recorder::start(Some(core));
    let suites = workloads
        .iter()
        .zip(&tuned)
        .map(|(workload, tuned)| {
            let sides = side::sides(workload, plan, &tacet, core, tuned.is_side());
            run_suite(workload, &sides, tuned, plan.pairs, &spare_cores(workload, core))
        })
        .collect::<Result<_, _>>()?;
    let comparison = Comparison {
        schema: COMPARE_SCHEMA.to_owned(),
        core,
        pairs: plan.pairs,
        environment: recorder.finish(),
        tacet_version: side::version_of(&tacet),
        suites,
        against: None,
    }
    .counts_only_where_emulated();
    let against = older.map(|older| older.changes(&comparison)).transpose()?;
    Ok(Comparison { against, ..comparison })
}

fn run_suite(
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
        .map(|(side, runs)| result::SideRuns {
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

fn allowed_cores() -> Result<Vec<usize>, Failure> {
    host::allowed_cores().map_err(|error| {
        Failure::new(format!("cannot read this process's affinity mask: {error}; start it outside any sandbox"))
    })
}

fn choose_core(asked: Option<usize>, allowed: &[usize]) -> Result<usize, Failure> {
    match asked {
        None => allowed
            .last()
            .copied()
            .ok_or_else(|| Failure::new("this process may run on no core; start it without an affinity mask")),
        Some(core) if allowed.contains(&core) => Ok(core),
        Some(core) => {
            let list: Vec<String> = allowed.iter().map(usize::to_string).collect();
            Err(Failure::new(format!(
                "core {core} is not among the cores this process may use; choose one of {}",
                list.join(", ")
            )))
        }
    }
}

/// Cores that `workload` leaves alone: of those that this process may use, or, where it measures all of them, of
/// those that Linux runs.
fn spare_cores(workload: &Workload, core: usize) -> Vec<usize> {
    let measured = if workload.runs_on_one_core() { vec![core] } else { workload.all_cores().to_vec() };
    let without = |cores: io::Result<Vec<usize>>| -> Vec<usize> {
        cores.unwrap_or_default().into_iter().filter(|core| !measured.contains(core)).collect()
    };
    let allowed = match measured.as_slice() {
        // Nobody says which cores an MPI launcher or a program with threads uses.
        [] => return Vec::new(),
        _ => without(host::allowed_cores()),
    };
    if allowed.is_empty() { without(host::online_cores()) } else { allowed }
}

/// The cores of `spare` that this process may use itself.
fn bar_cores(spare: &[usize]) -> Vec<usize> {
    let allowed = host::allowed_cores().unwrap_or_default();
    spare.iter().copied().filter(|core| allowed.contains(core)).collect()
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

    #[test]
    fn the_last_allowed_core_is_the_default() {
        assert_eq!(choose_core(None, &[0, 2, 5]).unwrap(), 5);
        assert_eq!(choose_core(Some(2), &[0, 2, 5]).unwrap(), 2);
        let failure = choose_core(Some(1), &[0, 2, 5]).unwrap_err();
        assert!(failure.to_string().ends_with("choose one of 0, 2, 5"));
        assert!(choose_core(None, &[]).is_err());
    }
}
