//! A tuned Linux for the measured cores, for as long as a run of the side `native-tuned` lasts.
//!
//! ```text
//! Tuner        sets up, puts back; also when a signal ends the process
//! state        lock and journal on disk: what is changed is written down first
//! recovery     puts back what a killed one has left
//! cpuset, threads, irqs, settings, boot    the steps
//! work, change, system                     one change and its undoing; the Linux that it is made in
//! report       what applied, what did not, and why
//! ```
//!
//! The node is tuned before each run of that side and put back after it, because nearly all of it would touch
//! the other sides: `native` and the cells run on the Linux that the node has without us.

pub mod boot;
mod change;
mod cpuset;
pub mod irqs;
mod journal;
pub mod recovery;
pub mod report;
mod settings;
pub mod state;
pub mod system;
pub mod threads;
pub mod work;

#[cfg(test)]
mod fake;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use self::journal::{GivenBack, Journal};
use self::report::Tuning;
use self::state::{Lock, State};
use self::system::System;
use self::work::Work;
use crate::error::Failure;
use crate::machine::cpu_set::CpuSet;
use crate::machine::dying::{self, Turn};

pub use self::work::Target;

/// After tuning, so that what was queued on the core before is not charged to the tuned side.
const SETTLING: Duration = Duration::from_millis(200);

/// Who tunes the node and puts it back. Puts back on drop, too.
pub struct Tuner {
    shared: Arc<Shared>,
    settling: Duration,
}

/// What the thread that waits for signals needs as well.
struct Shared {
    system: Box<dyn System>,
    state: State,
    lock: Lock,
    /// The journal of the tuning in force, if one is.
    journal: Mutex<Option<Journal>>,
}

impl Tuner {
    /// Who holds `lock` may tune. From here on, signals that end this process put back first.
    pub fn new(system: Box<dyn System>, state: State, lock: Lock) -> Result<Self, Failure> {
        let tuner = Self::with(system, state, lock, SETTLING);
        let shared = Arc::clone(&tuner.shared);
        dying::before_dying(Turn::Last, move |go_on| shared.put_back_and(go_on))?;
        Ok(tuner)
    }

    fn with(system: Box<dyn System>, state: State, lock: Lock, settling: Duration) -> Self {
        Self { shared: Arc::new(Shared { system, state, lock, journal: Mutex::new(None) }), settling }
    }

    /// The cores for programs that run on `measured`.
    pub fn target(&self, measured: CpuSet) -> Result<Target, Failure> {
        Target::of(&*self.shared.system, measured)
            .map_err(|why| Failure::new(format!("{why}; give --baseline default to leave the node's Linux as it is")))
    }

    /// Tunes the node, does `work`, puts the node back. What applied is told beside what `work` gave.
    pub fn during<T>(
        &self,
        target: &Target,
        work: impl FnOnce() -> Result<T, Failure>,
    ) -> Result<(T, Tuning), Failure> {
        let tuning = self.set_up(target)?;
        thread::sleep(self.settling);
        let done = work();
        match (done, self.put_back()) {
            (Ok(done), Ok(())) => Ok((done, tuning)),
            (Err(failed), Ok(())) => Err(failed),
            (Ok(_), Err(left)) => Err(left),
            (Err(failed), Err(left)) => Err(Failure::with_status(failed.status(), format!("{failed}; and {left}"))),
        }
    }

    /// Tunes the node and puts it back at once: says what this node allows.
    pub fn rehearse(&self, target: &Target) -> Result<Tuning, Failure> {
        let tuning = self.set_up(target)?;
        self.put_back()?;
        Ok(tuning)
    }

    fn set_up(&self, target: &Target) -> Result<Tuning, Failure> {
        let mut slot = self.shared.slot();
        let shared = &*self.shared;
        let journal = slot.insert(shared.state.begin(&*shared.system, &shared.lock)?);
        let items = steps(&mut Work { system: &*shared.system, journal, target });
        Ok(Tuning { measured: target.measured.to_string(), isolated: target.isolated.to_string(), items })
    }

    fn put_back(&self) -> Result<(), Failure> {
        match self.shared.put_back() {
            None => Ok(()),
            Some(given_back) => complete(given_back),
        }
    }
}

impl Drop for Tuner {
    fn drop(&mut self) {
        if let Err(failure) = self.put_back() {
            eprintln!("tacet-bench: {failure}");
        }
    }
}

impl Shared {
    /// A panic elsewhere is no reason to leave the node tuned.
    fn slot(&self) -> MutexGuard<'_, Option<Journal>> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nobody tunes the node again, or ends the process otherwise, between the two.
    fn put_back_and(&self, go_on: &dyn Fn()) {
        let mut slot = self.slot();
        if let Some(journal) = slot.take()
            && let Err(failure) = complete(journal.give_back(&*self.system))
        {
            eprintln!("tacet-bench: {failure}");
        }
        go_on();
    }

    /// A signal that comes meanwhile has to wait: it must not end the process in the middle.
    fn put_back(&self) -> Option<std::io::Result<GivenBack>> {
        let mut slot = self.slot();
        Some(slot.take()?.give_back(&*self.system))
    }
}

/// Everything, in the order in which it is undone from behind: the affinities of threads come first, because
/// what follows makes Linux change them.
fn steps(work: &mut Work) -> Vec<report::Item> {
    // A partition that ends lets workers of unbound work run everywhere (seen: Linux 6.1); their queues' mask,
    // put back after that, gives most of them new workers.
    let mut items = vec![settings::workqueues(work)];
    let snapshot = threads::Snapshot::take(work.system, &work.target.isolated, &work.target.online);
    let noted = work.journal.record(change::Change::Affinities(snapshot.clone()));
    match (noted, work.target.why_not_isolated()) {
        (Err(error), _) => items.push(report::Item::not_possible(
            "isolated cpuset",
            format!("cannot note the affinities of threads: {error}"),
        )),
        (Ok(()), None) => {
            items.push(cpuset::step(work, &snapshot));
            items.extend(snapshot.clear_cores(work.system));
        }
        (Ok(()), Some(why)) => {
            let names = ["isolated cpuset", "processes", "kernel threads"];
            items.extend(names.map(|name| report::Item::not_possible(name, why.clone())));
        }
    }
    items.extend(irqs::step(work));
    items.push(settings::packet_steering(work));
    items.extend(settings::of_the_cores(work));
    items.extend(settings::of_the_node(work));
    items.extend(boot::step(work));
    items
}

/// Turns what could not be put back into a failure, and tells what was left on purpose.
fn complete(given_back: std::io::Result<GivenBack>) -> Result<(), Failure> {
    let given_back = given_back.map_err(|error| {
        Failure::new(format!("cannot rewrite the journal of what was tuned: {error}; run: tacet-bench restore"))
    })?;
    for left in &given_back.left {
        eprintln!("tacet-bench: left as it is: {left}");
    }
    recovery::incomplete(&given_back)
}
