//! A thread of the program.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use core::cell::Cell;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use spin::Mutex;

use super::affinity::CpuSet;
use super::core::Core;
use super::rseq::Rseq;
use super::signal::{AltStack, SigSet, ThreadSignals};
use super::vfork::Lent;
use super::wait::WaitState;
use crate::arch::{self, KERNEL_STACK, TrapFrame, VectorArea};
use crate::entry::Trap;
use crate::{mm, sched};

/// What only the thread itself touches, on whatever core it runs.
#[derive(Debug)]
pub struct Own {
    /// Why the thread is in the kernel.
    pub trap: Cell<Trap>,
    /// Bases of `fs` and `gs` while it does not run.
    pub bases: Cell<(u64, u64)>,
    /// `set_tid_address`: cleared and woken when the thread ends.
    pub clear_tid: Cell<u64>,
    /// Head of the robust futex list, 0 when there is none.
    pub robust_list: Cell<u64>,
    /// Where signal handlers run that ask for it.
    pub alt_stack: Cell<AltStack>,
    /// Signal mask to return to when a call that replaced it (sigsuspend, ppoll) is left.
    pub saved_mask: Cell<Option<SigSet>>,
    /// Number of the call that a signal interrupted and that may be done again.
    pub interrupted: Cell<Option<(u64, super::signal::Restart)>>,
    /// Restartable sequences.
    pub rseq: Cell<Rseq>,
    /// Set when the thread is on its way out.
    pub ended: Cell<bool>,
}

/// A thread.
#[derive(Debug)]
pub struct Thread {
    /// Its number: the process id for the first thread.
    pub tid: u32,
    /// Touched by the thread itself only.
    pub own: Own,
    /// Floating-point and vector registers while it is in the kernel.
    pub vector: VectorArea,
    /// Index of the core that runs it or ran it last.
    pub core: AtomicU32,
    /// Where it may run.
    pub affinity: Mutex<CpuSet>,
    /// Mask and pending signals.
    pub signals: Mutex<ThreadSignals>,
    /// A signal may be deliverable: look on the way out of the kernel.
    pub attention: AtomicBool,
    /// Nanoseconds on a core, up to its last switch.
    pub cpu_time: AtomicU64,
    /// `PR_SET_NAME`.
    pub name: Mutex<[u8; 16]>,
    /// Address of the futex in whose queue it stands; 0 when it stands in none. Changed only
    /// under the lock of that queue.
    pub futex: AtomicU64,
    /// Whether it waits at a futex of Linux's and only looks from time to time: it has nothing to do when
    /// it gets a core for that.
    pub looks: AtomicBool,
    /// Whether its core sleeps for it in Linux, at that futex.
    pub asleep_in_linux: AtomicBool,
    /// Token of the forwarded call that it waits for; 0 when there is none.
    pub call_token: AtomicU64,
    /// Whether a child of vfork has it.
    pub lent: Lent,
    /// The program is replaced (execve(2)) and the thread with it: it ends on its way to the program.
    pub doomed: AtomicBool,
    pub(super) wait: WaitState,
    interruptible: AtomicBool,
    on_core: AtomicBool,
    stack: Stack,
    stack_pointer: AtomicU64,
}

// SAFETY: `own` is touched only by the thread itself, which runs on one core at a time with a
// switch (a lock, hence a barrier) in between; everything else is atomic or locked.
unsafe impl Send for Thread {}
// SAFETY: as above.
unsafe impl Sync for Thread {}

/// Where in a thread the pointer to its kernel stack lies: for assembly of platforms.
pub const THREAD_STACK: usize = core::mem::offset_of!(Thread, stack);
/// Where in a thread the pointer to its XSAVE area lies.
pub const THREAD_VECTOR: usize = core::mem::offset_of!(Thread, vector);
/// Where in a thread the flag lies that says this area is partial.
pub const THREAD_VECTOR_IS_PARTIAL: usize = THREAD_VECTOR + arch::AREA_IS_PARTIAL;

/// A kernel stack, given back when dropped.
#[derive(Debug)]
#[repr(transparent)]
struct Stack(*mut u8);

impl Drop for Stack {
    fn drop(&mut self) {
        // SAFETY: `Thread::new` got it so, and nobody runs on the stack of a thread that is dropped.
        unsafe { mm::free_kernel_pages(self.0, KERNEL_STACK as u64, KERNEL_STACK as u64) };
    }
}

static THREADS: Mutex<BTreeMap<u32, Arc<Thread>>> = Mutex::new(BTreeMap::new());
static NEXT: AtomicU32 = AtomicU32::new(0);

/// Beyond every process id of Linux (`PID_MAX_LIMIT`).
pub const FIRST_TID: u32 = 1 << 22;

/// A number for a new thread that neither Linux nor, as far as 128 threads go, another cell
/// uses: futex words in memory shared between ranks hold such numbers (30 bits).
fn new_tid(pid: u32) -> u32 {
    let threads = THREADS.lock();
    loop {
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let tid = FIRST_TID + ((pid << 7).wrapping_add(n) & ((1 << 29) - 1));
        if !threads.contains_key(&tid) {
            return tid;
        }
    }
}

impl Thread {
    fn new(tid: u32, core: u32, affinity: CpuSet, start: extern "C" fn() -> !) -> Option<Arc<Self>> {
        let stack = mm::kernel_pages(KERNEL_STACK as u64, KERNEL_STACK as u64)?;
        let thread = Arc::new(Thread {
            tid,
            own: Own {
                trap: Cell::new(Trap::Call),
                bases: Cell::new((0, 0)),
                clear_tid: Cell::new(0),
                robust_list: Cell::new(0),
                alt_stack: Cell::new(AltStack::disabled()),
                saved_mask: Cell::new(None),
                interrupted: Cell::new(None),
                rseq: Cell::new(Rseq::default()),
                ended: Cell::new(false),
            },
            vector: VectorArea::new()?,
            core: AtomicU32::new(core),
            affinity: Mutex::new(affinity),
            signals: Mutex::new(ThreadSignals::default()),
            attention: AtomicBool::new(false),
            cpu_time: AtomicU64::new(0),
            name: Mutex::new([0; 16]),
            futex: AtomicU64::new(0),
            looks: AtomicBool::new(false),
            asleep_in_linux: AtomicBool::new(false),
            call_token: AtomicU64::new(0),
            lent: Lent::default(),
            doomed: AtomicBool::new(false),
            wait: WaitState::default(),
            interruptible: AtomicBool::new(false),
            on_core: AtomicBool::new(false),
            stack: Stack(stack),
            stack_pointer: AtomicU64::new(0),
        });
        // SAFETY: the stack is fresh, of the right size and alignment.
        let rsp = unsafe { arch::prepare_stack(stack, Arc::as_ptr(&thread).cast(), start) };
        thread.stack_pointer.store(rsp, Ordering::Relaxed);
        Some(thread)
    }

    /// The first thread; `start` runs in the kernel and ends by leaving for the program.
    #[must_use]
    pub fn new_main(pid: u32, affinity: CpuSet, start: extern "C" fn() -> !) -> Option<Arc<Self>> {
        let thread = Thread::new(pid, 0, affinity, start)?;
        THREADS.lock().insert(pid, Arc::clone(&thread));
        Some(thread)
    }

    /// A further thread, which will leave for the program with `frame`. It inherits the
    /// creator's affinity, mask, name and vector registers. Not runnable yet.
    #[must_use]
    pub fn new_child(creator: &Thread, pid: u32, frame: TrapFrame) -> Option<Arc<Self>> {
        let core = creator.core.load(Ordering::Relaxed);
        let affinity = creator.affinity.lock().clone();
        let thread = Thread::new(new_tid(pid), core, affinity, sched::switch::start_user)?;
        thread.vector.copy_from(&creator.vector);
        thread.signals.lock().mask = creator.signals.lock().mask;
        *thread.name.lock() = *creator.name.lock();
        // SAFETY: the thread does not run yet.
        unsafe { thread.frame().write(frame) };
        THREADS.lock().insert(thread.tid, Arc::clone(&thread));
        Some(thread)
    }

    /// The thread of a core's idle loop.
    pub(super) fn new_idle(core: &Core) -> Arc<Self> {
        Thread::new(0, core.index, CpuSet::of([core.cpu]), sched::idle::run)
            .expect("memory for the idle loops is the first that the kernel takes")
    }

    /// The program's registers, at the top of the kernel stack.
    #[must_use]
    pub fn frame(&self) -> *mut TrapFrame {
        (self.stack_top() - size_of::<TrapFrame>() as u64) as *mut TrapFrame
    }

    /// End of the kernel stack.
    fn stack_top(&self) -> u64 {
        self.stack.0 as u64 + KERNEL_STACK as u64
    }

    /// Where the kernel starts on a trap of this thread: below the registers.
    #[must_use]
    pub fn entry_stack(&self) -> u64 {
        self.frame() as u64 & !15
    }

    /// Whether the kernel stack has not overflowed.
    #[must_use]
    pub fn stack_is_intact(&self) -> bool {
        // SAFETY: the head was written when the stack was prepared.
        unsafe { (*self.stack.0.cast::<arch::StackHead>()).canary == arch::StackHead::INTACT }
    }

    pub(super) fn stack_pointer(&self) -> &AtomicU64 {
        &self.stack_pointer
    }

    pub(super) fn set_on_core(&self, on: bool) {
        self.on_core.store(on, Ordering::SeqCst);
    }

    /// Whether a core still stands on this thread's kernel stack.
    pub fn is_on_core(&self) -> bool {
        self.on_core.load(Ordering::SeqCst)
    }

    pub(super) fn set_interruptible(&self, on: bool) {
        self.interruptible.store(on, Ordering::SeqCst);
    }

    /// Whether a signal may end the wait that the thread is in.
    pub fn is_interruptible(&self) -> bool {
        self.interruptible.load(Ordering::SeqCst)
    }

    /// Whether this is a core's idle loop.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.tid == 0
    }

    /// Takes the thread out of the table; it must not run any more after its next switch.
    /// `true` when it was the last.
    pub fn retire(&self) -> bool {
        let mut threads = THREADS.lock();
        threads.remove(&self.tid);
        threads.is_empty()
    }
}

/// The thread with this number.
pub fn find(tid: u32) -> Option<Arc<Thread>> {
    THREADS.lock().get(&tid).cloned()
}

/// All threads of the program.
pub fn all() -> alloc::vec::Vec<Arc<Thread>> {
    THREADS.lock().values().cloned().collect()
}

/// Threads of the program.
pub fn count() -> usize {
    THREADS.lock().len()
}

/// The thread that executes this.
#[must_use]
pub fn current() -> &'static Thread {
    // SAFETY: kernel code above the platforms runs on kernel stacks only, whose head names the
    // thread; a thread outlives whatever runs on its stack.
    unsafe { &*(*arch::stack_head()).owner.cast::<Thread>() }
}

/// The thread that executes this, to be kept.
#[must_use]
pub fn current_arc() -> Arc<Thread> {
    super::this_core().running()
}
