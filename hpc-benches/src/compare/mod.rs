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
mod length;
mod loaded;
pub mod mpi;
mod offer;
pub mod openmp;
mod placement;
pub mod plan;
mod progress;
mod reading;
pub mod result;
mod side;
mod snapshot;
pub mod startup;
pub mod tuned;
mod turns;
mod workload;

use std::path::PathBuf;

use self::offer::Offer;
use self::placement::{allowed_cores, choose_core, spare_cores};
pub use self::plan::{Plan, Platform, Suite};
pub use self::result::Comparison;
use self::result::{COMPARE_SCHEMA, NotCompared, SuiteComparison};
pub use self::side::NATIVE;
use self::tuned::{Baselines, Tuned};
use self::workload::Workload;
use crate::error::Failure;
use crate::machine::record::Recorder;

/// What a comparison came to.
pub struct Outcome {
    /// The results of the suites that ran to their end.
    pub comparison: Comparison,
    /// Why another did not.
    pub failure: Option<Failure>,
}

/// Runs every suite of `plan`. All that can be missing is looked for before the first run. A suite that fails later
/// ends itself and not the others, whose results may have taken long.
pub fn run(plan: &Plan) -> Result<Outcome, Failure> {
    let older = plan.against.as_deref().map(against::Older::read).transpose()?;
    tuned::check(plan.baselines.as_deref())?;
    let stage = Stage::prepare(plan)?;
    let (workloads, mut not_compared) = prepare(plan)?;
    for workload in &workloads {
        workload.load().map_or(Ok(()), |load| load.check(&spare_cores(workload, stage.core)))?;
    }
    let baselines = Baselines::prepare(plan.baselines.as_deref())?;
    let tuned: Vec<Tuned> = workloads
        .iter()
        .map(|workload| baselines.of(workload, stage.core, &stage.allowed))
        .collect::<Result<_, _>>()?;
    if plan.is_everything {
        eprintln!("tacet-bench: {}", length::told(&workloads, &stage.offer, &tuned, plan.pairs));
    }
    let recorder = Recorder::start(Some(stage.core));
    let (mut suites, mut failure) = (Vec::new(), None);
    for (workload, tuned) in workloads.iter().zip(&tuned) {
        match stage.run(workload, tuned) {
            Ok(suite) => suites.push(suite),
            Err(failed) => {
                not_compared.push(NotCompared { suite: workload.suite().to_owned(), reason: failed.to_string() });
                failure = failure.or(Some(failed));
            }
        }
    }
    if let Some(failure) = failure.take_if(|_| suites.is_empty()) {
        return Err(failure);
    }
    let comparison = Comparison {
        schema: COMPARE_SCHEMA.to_owned(),
        core: stage.core,
        pairs: plan.pairs,
        environment: recorder.finish(),
        tacet_version: side::version_of(&stage.tacet),
        without_platforms: stage.offer.without,
        not_compared,
        suites,
        against: None,
    }
    .counts_only_where_emulated();
    let against = older.map(|older| older.changes(&comparison)).transpose()?;
    Ok(Outcome { comparison: Comparison { against, ..comparison }, failure })
}

/// What all suites of a comparison have in common.
struct Stage<'p> {
    plan: &'p Plan,
    allowed: Vec<usize>,
    /// The core of the suites that use one.
    core: usize,
    tacet: PathBuf,
    offer: Offer,
}

impl<'p> Stage<'p> {
    fn prepare(plan: &'p Plan) -> Result<Self, Failure> {
        let allowed = allowed_cores()?;
        let core = choose_core(plan.core, &allowed)?;
        let tacet = side::find_tacet(plan.tacet.as_deref())?;
        let offer = Offer::of(plan.platforms.as_deref(), &tacet);
        Ok(Self { plan, allowed, core, tacet, offer })
    }

    fn run(&self, workload: &Workload, tuned: &Tuned) -> Result<SuiteComparison, Failure> {
        let wrapper = |platform| side::wrapper(workload, self.plan, &self.tacet, self.core, platform);
        let (platforms, without) = self.offer.tried(wrapper);
        let sides = side::sides(workload, self.plan, &self.tacet, self.core, tuned.is_side(), &platforms);
        let suite = turns::run(workload, &sides, tuned, self.plan.pairs, &spare_cores(workload, self.core))?;
        Ok(SuiteComparison { without_platforms: without, ..suite })
    }
}

/// The workloads of all suites. Where none was named, those that this node has no means for are left out.
fn prepare(plan: &Plan) -> Result<(Vec<Workload>, Vec<NotCompared>), Failure> {
    let (mut workloads, mut without) = (Vec::new(), Vec::new());
    for suite in plan.suites.iter().flat_map(Suite::parts) {
        match Workload::prepare(&suite, plan.timeout_seconds) {
            Ok(workload) => workloads.push(workload),
            // Wrong usage is wrong for all suites.
            Err(failure) if plan.is_everything && failure.status() != 2 => {
                without.push(NotCompared { suite: suite.name().to_owned(), reason: failure.to_string() });
            }
            Err(failure) => return Err(failure),
        }
    }
    Ok((workloads, without))
}
