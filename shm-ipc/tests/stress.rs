//! Two processes talk over real shared memory and sleep on its doorbells.
//!
//! The parent is the proxy, a forked child the kernel; each maps the memory at its own address.
//! Nothing here waits for a time to pass: a side that has nothing to do announces itself asleep
//! and sleeps on the futex until it is rung. A lost wake-up or message stops both for good, and
//! the watchdog then fails the test.
#![cfg(not(loom))]

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;
use std::{io, thread};

use shm_ipc::control::{Cause, CellState, Exit};
use shm_ipc::doorbell::{Attention, Doorbell};
use shm_ipc::layout::{Layout, PAGE};
use shm_ipc::region::Region;
use shm_ipc::ring::{Completion, Consumer, Message, Producer, PushError, Ring, Submission};

/// Far more than any of the conversations takes.
const PATIENCE: Duration = Duration::from_secs(240);

fn map(memory: &OwnedFd, len: u64) -> Region {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new mapping, wherever there is room.
    let at = unsafe { libc::mmap(ptr::null_mut(), len as usize, protection, libc::MAP_SHARED, memory.as_raw_fd(), 0) };
    assert_ne!(at, libc::MAP_FAILED, "{}", io::Error::last_os_error());
    let base = NonNull::new(at.cast()).expect("mappings do not begin at null");
    // SAFETY:
    // 1. The mapping stays until the process ends.
    // 2. The host maps whole pages.
    // 3. Only this view refers to it.
    unsafe { Region::new(base, len) }
}

fn shared_memory(len: u64) -> OwnedFd {
    // SAFETY: a name, and a descriptor that nobody else has.
    let memory = unsafe {
        let fd = libc::memfd_create(c"shm-ipc-stress".as_ptr(), libc::MFD_CLOEXEC);
        assert!(fd >= 0, "{}", io::Error::last_os_error());
        OwnedFd::from_raw_fd(fd)
    };
    // SAFETY: no memory is involved.
    assert_eq!(unsafe { libc::ftruncate(memory.as_raw_fd(), len as i64) }, 0, "{}", io::Error::last_os_error());
    memory
}

fn futex_wait(bell: &Doorbell) {
    let (word, asleep) = (bell.futex().as_ptr(), Attention::Asleep as u32);
    // SAFETY: the word is mapped. Any return means: look again.
    unsafe { libc::syscall(libc::SYS_futex, word, libc::FUTEX_WAIT, asleep, ptr::null::<libc::timespec>()) };
}

fn ring(bell: &Doorbell) {
    if bell.ring() != Attention::Polling {
        // SAFETY: the word is mapped.
        unsafe { libc::syscall(libc::SYS_futex, bell.futex().as_ptr(), libc::FUTEX_WAKE, 1) };
    }
}

/// What went wrong; also the child's exit status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
enum Failure {
    WrongMessage = 1,
    CorruptRing = 2,
    Unserved = 3,
    BadControlPage = 4,
    Panic = 5,
}

/// One side of a conversation: `count` messages out, `count` in, all known beforehand.
struct Talk<O, I> {
    count: u64,
    /// How many more messages may be out than have come in: 1 for the caller and 0 for the
    /// answerer of one call after the other, no bound for two independent streams.
    ahead: u64,
    make: fn(u64) -> O,
    expect: fn(u64) -> I,
    sent: u64,
    received: u64,
}

impl<O: Message, I: Message + PartialEq> Talk<O, I> {
    fn new(count: u64, ahead: u64, make: fn(u64) -> O, expect: fn(u64) -> I) -> Self {
        Talk { count, ahead, make, expect, sent: 0, received: 0 }
    }

    fn may_send(&self) -> bool {
        self.sent < self.count && self.sent < self.received.saturating_add(self.ahead)
    }

    fn is_over(&self) -> bool {
        self.sent == self.count && self.received == self.count
    }

    /// Sends and takes whatever is possible now. Says whether that was anything.
    fn step(&mut self, out: &mut Producer<'_>, inward: &mut Consumer<'_>) -> Result<bool, Failure> {
        let before = (self.sent, self.received);
        while self.may_send() {
            match out.push((self.make)(self.sent)) {
                Ok(()) => self.sent += 1,
                Err(PushError::Full) => break,
                Err(PushError::Corrupt(_)) => return Err(Failure::CorruptRing),
            }
        }
        while let Some(message) = inward.pop::<I>().map_err(|_| Failure::CorruptRing)? {
            if self.received == self.count || message != (self.expect)(self.received) {
                return Err(Failure::WrongMessage);
            }
            self.received += 1;
        }
        Ok(before != (self.sent, self.received))
    }

    /// Runs the conversation to its end. Here a bell stands for room in a ring as well as for
    /// messages (the protocol asks for less), so each side rings after either.
    fn run(
        &mut self,
        (mut out, mut inward): (Producer<'_>, Consumer<'_>),
        own: &Doorbell,
        peer: &Doorbell,
        given_up: &AtomicBool,
        mut before_sleep: impl FnMut(),
    ) -> Result<(), Failure> {
        while !self.is_over() {
            if self.step(&mut out, &mut inward)? {
                ring(peer);
                continue;
            }
            own.announce(Attention::Asleep);
            if self.step(&mut out, &mut inward)? {
                own.polling();
                ring(peer);
                continue;
            }
            if given_up.load(Ordering::SeqCst) {
                return Err(Failure::Unserved);
            }
            before_sleep();
            futex_wait(own);
            own.polling();
        }
        Ok(())
    }
}

/// Spreads the bits of a number, so that a word in the wrong place does not look right.
fn spread(i: u64) -> u64 {
    i.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29)
}

fn submission(i: u64) -> Submission {
    Submission { token: i, nr: spread(i) as u32, block: spread(!i), child: spread(i ^ 5) as u32 }
}

fn completion(i: u64) -> Completion {
    Completion { token: spread(i), result: -(i as i64), extra: !i }
}

fn ends<'r>(start: u32, out: &'r Ring, inward: &'r Ring) -> (Producer<'r>, Consumer<'r>) {
    (Producer::starting_at(out, start), Consumer::starting_at(inward, start))
}

struct Plan {
    count: u64,
    kernel_ahead: u64,
    proxy_ahead: u64,
    /// Where the rings' counters begin.
    start: u32,
}

/// The child's part.
fn kernel(region: &Region, plan: &Plan) -> Result<(), Failure> {
    let control = Layout::control(region).ok_or(Failure::BadControlPage)?;
    let layout = control.layout().filter(|layout| layout.fits(region)).ok_or(Failure::BadControlPage)?;
    let core = layout.core_block(region, 0).ok_or(Failure::BadControlPage)?;
    let submissions = layout.submissions(region, 0).ok_or(Failure::BadControlPage)?;
    let completions = layout.completions(region, 0).ok_or(Failure::BadControlPage)?;
    if !control.advance(CellState::Booting) || !control.advance(CellState::Running) {
        return Err(Failure::BadControlPage);
    }
    Talk::new(plan.count, plan.kernel_ahead, submission, completion).run(
        ends(plan.start, submissions, completions),
        &core.bell,
        &control.proxy_bell,
        &AtomicBool::new(false),
        || core.count(Cause::Sleep),
    )?;
    control.set_exit(Exit::Code(7));
    Ok(())
}

/// Runs `kernel` in a child of its own.
///
/// The child is forked from a process with several threads: until it ends it must not allocate
/// or take a lock, which the operations of this crate never do.
fn fork_kernel(memory: &OwnedFd, len: u64, plan: &Plan) -> libc::pid_t {
    // SAFETY: see above.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "{}", io::Error::last_os_error());
    if pid != 0 {
        return pid;
    }
    let result = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: no memory is involved.
        unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
        kernel(&map(memory, len), plan)
    }));
    let status = match result {
        Ok(Ok(())) => 0,
        Ok(Err(failure)) => failure as i32,
        Err(_) => Failure::Panic as i32,
    };
    // SAFETY: ends this process.
    unsafe { libc::_exit(status) }
}

/// Ends the child when the conversation takes too long, and wakes the parent for the last time
/// when the child has ended, for whatever reason. To be dropped before the child is waited for.
fn watch(child: libc::pid_t, region: Region, given_up: Arc<AtomicBool>) -> mpsc::Sender<()> {
    let (over, waits) = mpsc::channel::<()>();
    thread::spawn(move || {
        if waits.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout) {
            // SAFETY: a signal to our own child, which is not waited for before this is over.
            unsafe { libc::kill(child, libc::SIGKILL) };
        }
    });
    thread::spawn(move || {
        // SAFETY: zeros are a valid siginfo_t, which waitid fills.
        unsafe {
            let mut info: libc::siginfo_t = std::mem::zeroed();
            libc::waitid(libc::P_PID, child as libc::id_t, &raw mut info, libc::WEXITED | libc::WNOWAIT);
        }
        given_up.store(true, Ordering::SeqCst);
        ring(&Layout::control(&region).expect("the region is large enough").proxy_bell);
    });
    over
}

/// The parent's part. Gives how often proxy and kernel slept.
fn converse(plan: &Plan) -> (u64, u64) {
    let layout = Layout::new(1, PAGE, PAGE).expect("possible");
    let memory = shared_memory(layout.end);
    let region = map(&memory, layout.end);
    let control = Layout::control(&region).expect("it fits");
    let core = layout.core_block(&region, 0).expect("it fits");
    let submissions = layout.submissions(&region, 0).expect("it fits");
    let completions = layout.completions(&region, 0).expect("it fits");
    for counter in [&submissions.tail, &submissions.head, &completions.tail, &completions.head] {
        counter.overwrite(plan.start);
    }
    control.initialise(&layout);

    let child = fork_kernel(&memory, layout.end, plan);
    let given_up = Arc::new(AtomicBool::new(false));
    let over = watch(child, region, Arc::clone(&given_up));
    let mut sleeps = 0;
    let mut talk = Talk::new(plan.count, plan.proxy_ahead, completion, submission);
    let ends = ends(plan.start, completions, submissions);
    let result = talk.run(ends, &control.proxy_bell, &core.bell, &given_up, || sleeps += 1);
    if result.is_err() {
        // SAFETY: our own child, not waited for yet.
        unsafe { libc::kill(child, libc::SIGKILL) };
    }
    drop(over);
    let mut status = 0;
    // SAFETY: the status is written to a variable of our own.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert_eq!(result, Ok(()), "proxy: {} sent, {} received, child's status {status:#x}", talk.sent, talk.received);
    assert!(libc::WIFEXITED(status), "kernel: status {status:#x}");
    assert_eq!(libc::WEXITSTATUS(status), 0, "kernel: see `Failure`");
    assert_eq!((control.state(), control.exit()), (Some(CellState::Exited), Some(Exit::Code(7))));
    (sleeps, core.counted(Cause::Sleep))
}

/// Both sides send as fast as the rings take it: they meet full and empty rings, and the 32-bit
/// counters wrap around on the way.
#[test]
fn two_streams_of_a_million_messages() {
    converse(&Plan { count: 1_500_000, kernel_ahead: u64::MAX, proxy_ahead: u64::MAX, start: u32::MAX - 700_000 });
}

/// Many calls in flight, each answered.
#[test]
fn a_million_calls_sixty_four_at_a_time() {
    converse(&Plan { count: 1_000_000, kernel_ahead: 64, proxy_ahead: 0, start: 0 });
}

/// One call after the other, both sides asleep in between: as many chances to lose a wake-up.
#[test]
fn calls_one_by_one_between_two_sleepers() {
    let (proxy, kernel) = converse(&Plan { count: 100_000, kernel_ahead: 1, proxy_ahead: 0, start: 0 });
    assert!(proxy > 0 && kernel > 0, "nobody ever slept: {proxy}, {kernel}");
}
