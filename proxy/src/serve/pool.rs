//! Leader and followers.
//!
//! Whoever holds the [`Baton`] leads: that thread alone looks at the submission rings, and
//! executes what it finds. Before a call that may block it puts the baton down for another
//! thread to lead, executes the call, and then waits for the baton like the others. So nothing
//! about a call ever moves from one thread to another, and a call that can't block costs no
//! switch of threads at all.
//!
//! A cancellation may overtake the call that it is meant for, since the two can come through
//! the rings of different cores. One that finds nothing therefore waits in the baton until
//! everything that was in the rings at that time has been taken out.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use std::{io, thread};

use shm_ipc::block::Block;
use shm_ipc::doorbell::Attention;
use shm_ipc::ring::{Completion, Consumer, Corrupt, RING_SLOTS, Submission};

use super::call::Call;
use super::cancel::{self, Target};
use super::host::{self, Errno};
use super::{Cell, Fault, Service, children, dispatch};

/// Followers beyond so many end instead of waiting: a burst of blocked calls leaves no crowd.
const MOST_FOLLOWERS: usize = 16;

/// A worker keeps its block on the heap, and its handlers are shallow.
const STACK_BYTES: usize = 256 << 10;

/// Looks at the rings between two looks at the clock.
const LOOKS_PER_READING: u32 = 64;

/// How long to look away from the rings of a kernel that can't wake anybody, one time after the
/// other while nothing comes.
const NAPS: [Duration; 6] = [
    Duration::from_micros(20),
    Duration::from_micros(50),
    Duration::from_micros(100),
    Duration::from_micros(200),
    Duration::from_micros(400),
    Duration::from_millis(1),
];

/// A cancellation that came before its call.
#[derive(Debug)]
struct Early {
    /// The call that is to be given up.
    victim: u64,
    /// The cancellation's own token, and the core to answer.
    token: u64,
    core: u32,
    /// Rounds in which it is still kept.
    rounds: usize,
}

/// The right to look at the rings, and what belongs to it.
#[derive(Debug)]
pub struct Baton {
    rings: Vec<Consumer<'static>>,
    next: usize,
    early: Vec<Early>,
}

/// What a look at all the rings gave.
enum Found {
    Call(u32, Submission),
    Nothing,
}

impl Baton {
    /// The reading ends of all rings; `None` when the layout does not fit the region.
    pub fn new(cell: &Cell) -> Option<Self> {
        let ring = |core| cell.layout.submissions(&cell.region, core).map(Consumer::new);
        let rings = (0..cell.layout.cores).map(ring).collect::<Option<_>>()?;
        Some(Baton { rings, next: 0, early: Vec::new() })
    }

    /// Takes the next call, each ring in its turn.
    fn take(&mut self, service: &Service) -> Result<Found, Fault> {
        for _ in 0..self.rings.len() {
            let core = self.next;
            self.next = (core + 1) % self.rings.len();
            if self.next == 0 {
                self.age(service);
            }
            match self.rings[core].pop() {
                Ok(Some(submission)) => return Ok(Found::Call(core as u32, submission)),
                Ok(None) => {}
                Err(what) => return Err(Fault::Submissions { core: core as u32, what }),
            }
        }
        Ok(Found::Nothing)
    }

    fn any_waiting(&mut self) -> Result<bool, Fault> {
        for (core, ring) in self.rings.iter_mut().enumerate() {
            let empty = ring.is_empty().map_err(|what: Corrupt| Fault::Submissions { core: core as u32, what })?;
            if !empty {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// One more round over the rings: gives up on cancellations whose call never came.
    fn age(&mut self, service: &Service) {
        self.early.retain_mut(|early| {
            early.rounds = early.rounds.saturating_sub(1);
            let keep = early.rounds > 0;
            if !keep {
                let result = -i64::from(libc::ESRCH);
                service.answers.give(service, early.core, Completion { token: early.token, result, extra: 0 });
            }
            keep
        });
    }

    /// Whether `token` was cancelled before it came; answers that cancellation.
    fn was_cancelled(&mut self, service: &Service, token: u64) -> bool {
        let Some(at) = self.early.iter().position(|early| early.victim == token) else { return false };
        let early = self.early.swap_remove(at);
        service.answers.give(service, early.core, Completion { token: early.token, result: 0, extra: 0 });
        true
    }
}

/// The place where the baton lies between two leaders.
#[derive(Debug, Default)]
pub struct Pool {
    state: Mutex<State>,
    laid_down: Condvar,
}

#[derive(Debug, Default)]
struct State {
    baton: Option<Baton>,
    followers: usize,
    dismissed: bool,
}

impl Pool {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Every step under this lock leaves the state whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lays the baton down. `false` when nobody is there to take it.
    pub fn put(&self, baton: Baton) -> bool {
        let mut state = self.lock();
        state.baton = Some(baton);
        let anyone = state.followers > 0;
        drop(state);
        self.laid_down.notify_one();
        anyone
    }

    fn take_back(&self) -> Option<Baton> {
        self.lock().baton.take()
    }

    /// Waits for the baton; `None`: this thread is not needed any more.
    fn wait(&self) -> Option<Baton> {
        let mut state = self.lock();
        loop {
            if state.dismissed {
                return None;
            }
            if let Some(baton) = state.baton.take() {
                return Some(baton);
            }
            // Linux takes the thread that started a child for its parent: should it end, so might the child
            // (PR_SET_PDEATHSIG).
            if state.followers >= MOST_FOLLOWERS && !children::has_children() {
                return None;
            }
            state.followers += 1;
            state = self.laid_down.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.followers -= 1;
        }
    }

    /// Sends all followers home.
    pub fn dismiss(&self) {
        self.lock().dismissed = true;
        self.laid_down.notify_all();
    }
}

/// Starts one more worker, which begins as a follower.
pub fn hire(service: &Arc<Service>) -> io::Result<()> {
    let service = Arc::clone(service);
    let work = move || work(&service);
    thread::Builder::new().name("worker".into()).stack_size(STACK_BYTES).spawn(work).map(drop)
}

/// Reports a worker that dies, so that the cell does not wait for it for ever.
struct Watch<'s> {
    service: &'s Service,
    nr: u32,
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.service.fail(Fault::Worker { nr: self.nr });
        }
    }
}

fn work(service: &Arc<Service>) {
    host::block_signals(cancel::signal());
    let mut watch = Watch { service, nr: 0 };
    let mut block = Box::new(Block::empty());
    let mut lead = Lead::alone(service);
    while let Some(baton) = service.pool.wait() {
        lead.baton = Some(baton);
        while let Some((core, submission)) = lead.next() {
            watch.nr = submission.nr;
            execute(&mut lead, &mut block, core, submission);
        }
    }
}

fn execute(lead: &mut Lead<'_>, block: &mut Block, core: u32, submission: Submission) {
    let service = lead.service;
    let Submission { token, nr, block: at, child } = submission;
    lead.token = token;
    if child != 0 {
        let (result, extra) = children::relay(lead, service, submission);
        lead.leave();
        let result = result.unwrap_or_else(|errno| -i64::from(errno.0));
        service.answers.give(service, core, Completion { token, result, extra });
        return;
    }
    let (result, extra) = match block.read(&service.cell.region, &service.cell.layout, at) {
        Ok(()) if nr == shm_ipc::calls::private::CANCEL => match lead.cancel(core, token, block.args[0]) {
            Some(result) => (result, 0),
            None => return,
        },
        Ok(()) => {
            let mut call = Call::new(nr, block, service, lead);
            let result = dispatch::execute(&mut call);
            (result, call.extra)
        }
        // The block is not one: nothing of it can be trusted, but the token came by the ring.
        Err(_) => (Err(Errno(libc::EFAULT)), 0),
    };
    lead.leave();
    let result = result.unwrap_or_else(|errno| -i64::from(errno.0));
    service.answers.give(service, core, Completion { token, result, extra });
}

/// A worker's part in leading.
#[derive(Debug)]
pub struct Lead<'s> {
    service: &'s Arc<Service>,
    target: Arc<Target>,
    baton: Option<Baton>,
    token: u64,
    entered: bool,
    /// Naps since the last call.
    naps: usize,
}

impl<'s> Lead<'s> {
    /// Of a process with one thread, which takes nothing from rings.
    pub fn alone(service: &'s Arc<Service>) -> Self {
        Lead { service, target: Target::current(), baton: None, token: 0, entered: false, naps: 0 }
    }

    /// The next call, for as long as this thread leads.
    fn next(&mut self) -> Option<(u32, Submission)> {
        let service = self.service;
        let mut since = None;
        let mut looks: u32 = 0;
        loop {
            let baton = self.baton.as_mut()?;
            if service.is_stopped() {
                self.baton = None;
                return None;
            }
            match baton.take(service) {
                Ok(Found::Call(core, submission)) => {
                    self.naps = 0;
                    return Some((core, submission));
                }
                Ok(Found::Nothing) => {}
                Err(fault) => {
                    service.fail(fault);
                    continue;
                }
            }
            // All rings have been empty since the early cancellations came, if any are left.
            for early in &mut baton.early {
                early.rounds = 0;
            }
            baton.age(service);
            looks = looks.wrapping_add(1);
            if !spun_enough(service.cell.spin, &mut since, looks) {
                std::hint::spin_loop();
                continue;
            }
            since = None;
            if service.cell.bare.is_some() {
                service.look_for_end();
                thread::sleep(NAPS[self.naps.min(NAPS.len() - 1)]);
                self.naps += 1;
                continue;
            }
            if let Err(fault) = sleep(service, baton) {
                service.fail(fault);
            }
        }
    }

    /// Answers a cancellation, or keeps it for a while when its call has not come yet.
    fn cancel(&mut self, core: u32, token: u64, victim: u64) -> Option<Result<i64, Errno>> {
        if self.service.registry.cancel(victim) {
            return Some(Ok(0));
        }
        let baton = self.baton.as_mut()?;
        // Each round, but for the one that has begun, takes one message from each ring or finds it
        // empty.
        baton.early.push(Early { victim, token, core, rounds: RING_SLOTS + 2 });
        None
    }

    /// Lets another thread lead, since this one may be away for long, and makes the current call
    /// one that can be cancelled.
    pub fn step_back(&mut self) -> Result<(), Errno> {
        let Some(mut baton) = self.baton.take() else { return Ok(()) };
        if !self.entered {
            let cancelled = baton.was_cancelled(self.service, self.token);
            self.service.registry.enter(self.token, &self.target, cancelled);
            self.entered = true;
        }
        if self.service.pool.put(baton) || hire(self.service).is_ok() {
            return Ok(());
        }
        // No thread to be had. A follower may have come back meanwhile and taken the baton; if
        // not, this thread goes on leading and the call fails.
        match self.service.pool.take_back() {
            None => Ok(()),
            Some(baton) => {
                self.baton = Some(baton);
                Err(Errno(libc::EAGAIN))
            }
        }
    }

    /// Makes a system call that may block and may be cancelled.
    pub fn blocking(&mut self, nr: u32, args: &[host::Arg<'_>; 6]) -> host::Outcome {
        self.step_back()?;
        self.target.call(nr, args)
    }

    fn leave(&mut self) {
        if self.entered {
            self.service.registry.leave(self.token, &self.target);
            self.entered = false;
        }
    }
}

fn spun_enough(spin: Duration, since: &mut Option<Instant>, looks: u32) -> bool {
    if spin.is_zero() {
        return true;
    }
    match since {
        None => {
            *since = Some(Instant::now());
            false
        }
        Some(start) => looks.is_multiple_of(LOOKS_PER_READING) && start.elapsed() >= spin,
    }
}

/// Seconds until the proxy looks at the rings though nobody has rung: somebody may have written over the
/// bell, and then no wake-up comes.
const LONGEST_SLEEP: i64 = 1;

/// Sleeps until the kernel rings, unless something has come meanwhile.
fn sleep(service: &Service, baton: &mut Baton) -> Result<(), Fault> {
    let bell = &service.control.proxy_bell;
    bell.announce(Attention::Asleep);
    let result = match baton.any_waiting() {
        Ok(waiting) => {
            if !waiting && !service.stopped.load(Ordering::SeqCst) {
                host::sleep_on(bell.futex(), Attention::Asleep as u32, LONGEST_SLEEP);
            }
            Ok(())
        }
        Err(fault) => Err(fault),
    };
    bell.polling();
    result
}
