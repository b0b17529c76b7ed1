//! One core of the cell.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, Ordering};

use shm_ipc::control::{Cause, CoreBlock};
use spin::{Mutex, Once};

use super::account::Stretch;
use super::queue::RunQueue;
use super::thread::{Thread, current};
use super::timer::Timers;
use super::wait::Ticket;
use crate::forward::Rings;
use crate::platform;

/// What the interrupt side of a core asks its kernel side to look at.
pub mod pending {
    /// The run queue, a completion ring, or a signal of the current thread.
    pub const LOOK: u32 = 1;
    /// The platform's timer has fired.
    pub const TIMER: u32 = 2;
    /// A signal from outside waits in the inbox.
    pub const INBOX: u32 = 4;
}

/// State of one core. Fields without a lock are used by the core itself only, except where
/// their comment says otherwise.
#[derive(Debug)]
pub struct Core {
    /// Position among the cell's cores.
    pub index: u32,
    /// Number on the host: the CPU number that the program sees.
    pub cpu: u32,
    /// The core's part of the control area.
    pub block: &'static CoreBlock,
    /// Bits of [`pending`]; set by interrupts and other cores.
    pub pending: AtomicU32,
    /// Rings to the proxy.
    pub rings: Rings,
    /// Deadlines.
    pub timers: Timers,
    /// Signals that arrived by interrupt.
    pub inbox: super::signal::Inbox,
    /// Whether the idle loop has the core. Read by others to place work.
    pub idling: AtomicBool,
    /// Whether the core is in the program, or about to go there. Read by whoever stops the program.
    pub in_program: AtomicBool,
    /// The last change of code that the core has seen (`arch::see_code`).
    pub code_seen: AtomicU32,
    queue: Mutex<RunQueue<Arc<Thread>>>,
    queued: AtomicU32,
    running: Mutex<Option<Arc<Thread>>>,
    /// The same, for interrupts, which must not lock.
    running_now: AtomicPtr<Thread>,
    /// Threads that want to leave this core, once it does not stand on their stack any more.
    deferred: Mutex<Vec<Ticket>>,
    /// Who ran before the switch in progress.
    previous: Mutex<Option<Arc<Thread>>>,
    idle: Once<Arc<Thread>>,
    /// Of the running thread.
    pub(super) stretch: Stretch,
}

static CORES: Once<Vec<Core>> = Once::new();

impl Core {
    /// A core without threads.
    #[must_use]
    pub fn new(index: u32, block: &'static CoreBlock, rings: Rings) -> Self {
        Core {
            index,
            cpu: block.cpu.load(Ordering::Relaxed),
            block,
            pending: AtomicU32::new(0),
            rings,
            timers: Timers::default(),
            inbox: super::signal::Inbox::default(),
            idling: AtomicBool::new(false),
            in_program: AtomicBool::new(false),
            code_seen: AtomicU32::new(0),
            queue: Mutex::new(RunQueue::default()),
            queued: AtomicU32::new(0),
            running: Mutex::new(None),
            running_now: AtomicPtr::new(core::ptr::null_mut()),
            deferred: Mutex::new(Vec::new()),
            previous: Mutex::new(None),
            idle: Once::new(),
            stretch: Stretch::default(),
        }
    }

    /// One more entry into the kernel on this core.
    pub fn count(&self, cause: Cause) {
        self.block.count(cause);
    }

    /// The thread that has the core.
    ///
    /// # Panics
    /// Before the core's first thread: nothing of the scheduler runs then.
    pub fn running(&self) -> Arc<Thread> {
        Arc::clone(self.running.lock().as_ref().expect("a core that runs has a thread"))
    }

    /// The thread of the idle loop.
    pub(super) fn idle_thread(&self) -> &Arc<Thread> {
        self.idle.call_once(|| Thread::new_idle(self))
    }

    /// The same without a lock and without keeping it: for interrupts of this core.
    pub fn running_thread(&self) -> *const Thread {
        self.running_now.load(Ordering::Relaxed)
    }

    /// Where that is kept: a pointer to the thread.
    pub fn running_place(&self) -> *const () {
        (&raw const self.running_now).cast()
    }

    /// Ends the wait of `ticket`'s thread, which has this core, once it has left it.
    pub(super) fn defer(&self, ticket: Ticket) {
        self.deferred.lock().push(ticket);
    }

    pub(super) fn take_deferred(&self) -> Vec<Ticket> {
        core::mem::take(&mut *self.deferred.lock())
    }

    pub(super) fn set_running(&self, thread: Arc<Thread>) -> Option<Arc<Thread>> {
        self.running_now.store(Arc::as_ptr(&thread).cast_mut(), Ordering::Relaxed);
        self.running.lock().replace(thread)
    }

    pub(super) fn set_previous(&self, thread: Option<Arc<Thread>>) {
        *self.previous.lock() = thread;
    }

    pub(super) fn take_previous(&self) -> Option<Arc<Thread>> {
        self.previous.lock().take()
    }

    /// Appends a runnable thread that wants a turn.
    pub(super) fn enqueue(&self, thread: Arc<Thread>) {
        self.change_queue(|queue| queue.push(thread));
    }

    /// Appends a thread whose wait is over.
    pub(super) fn enqueue_woken(&self, thread: Arc<Thread>) {
        self.change_queue(|queue| queue.push_woken(thread));
    }

    fn change_queue<R>(&self, change: impl FnOnce(&mut RunQueue<Arc<Thread>>) -> R) -> R {
        let mut queue = self.queue.lock();
        let result = change(&mut queue);
        self.queued.store(queue.count() as u32, Ordering::SeqCst);
        result
    }

    /// Takes the next runnable thread for which `fits`.
    pub(super) fn dequeue(&self, fits: impl Fn(&Thread) -> bool) -> Option<Arc<Thread>> {
        if self.queue_is_empty() {
            return None;
        }
        self.change_queue(|queue| queue.take(|thread| fits(thread), || platform::get().monotonic()))
    }

    /// Whether a thread for which `fits` waits here.
    pub(super) fn any_queued(&self, fits: impl Fn(&Thread) -> bool) -> bool {
        !self.queue_is_empty() && self.queue.lock().any(|thread| fits(thread))
    }

    /// Whether no thread waits for its turn here.
    pub fn queue_is_empty(&self) -> bool {
        self.queued.load(Ordering::SeqCst) == 0
    }

    /// Threads that wait for their turn here.
    pub fn queue_len(&self) -> u32 {
        self.queued.load(Ordering::SeqCst)
    }

    /// Has this core look at its queue, rings and signals soon, whatever it does now.
    pub fn attract(&self) {
        self.pending.fetch_or(pending::LOOK, Ordering::SeqCst);
        if self.block.bell.ring() != shm_ipc::doorbell::Attention::Polling {
            platform::get().kick(self.index);
        }
    }
}

/// All cores of the cell.
///
/// # Panics
/// Before [`set_cores`].
pub fn cores() -> &'static [Core] {
    CORES.get().expect("cores are set up first of all")
}

/// Boot: makes the cores known.
pub fn set_cores(all: Vec<Core>) {
    CORES.call_once(|| all);
}

/// The core that executes this.
pub fn this_core() -> &'static Core {
    &cores()[current().core.load(Ordering::Relaxed) as usize]
}
