//! Start-up, in the order in which it has to happen: each step takes what the one before gave.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt::Write;
use core::panic::PanicInfo;

use shm_ipc::boot::{self, BootInfo};
use shm_ipc::control::{CellState, ControlPage, HARDWARE_FAILED, PANIC_BYTES};
use shm_ipc::files::Files;
use shm_ipc::layout::{Layout, PAGE};
use shm_ipc::region::Region;
use spin::Once;

use crate::forward::Rings;
use crate::loader::exec::{self, Loadable};
use crate::platform::{self, Platform};
use crate::sched::affinity::CpuSet;
use crate::sched::signal::SigSet;
use crate::sched::{Core, Thread, current, switch};
use crate::syscall::limits;
use crate::{entry, mm, sched};

/// What the proxy said, and where it lies.
#[derive(Debug, Clone, Copy)]
pub struct Facts {
    /// Identity, limits, hardware.
    pub info: BootInfo,
    /// The cell's memory.
    pub region: Region,
    /// What lies where in it.
    pub layout: Layout,
    strings: u64,
    control: &'static ControlPage,
    files: &'static Files,
}

static FACTS: Once<Facts> = Once::new();

/// What the proxy said.
///
/// # Panics
/// Before [`read`].
pub fn facts() -> &'static Facts {
    FACTS.get().expect("boot reads the facts first of all")
}

/// The control page.
pub fn control() -> &'static ControlPage {
    facts().control
}

/// Descriptors that the cell's cores may use themselves.
pub fn files() -> &'static Files {
    facts().files
}

/// How long an idle core polls before it sleeps, in nanoseconds.
pub fn spin_ns() -> u64 {
    facts().info.spin_ns
}

/// Step 1: finds everything in the cell's memory. `None` when the other side is not a proxy of
/// this revision.
#[must_use]
pub fn read(region: Region) -> Option<&'static Facts> {
    let control = Layout::control(&region)?;
    let layout = control.layout()?;
    let (info, strings) = boot::read(&region, &layout)?;
    let files = Files::of(&region)?;
    Some(FACTS.call_once(|| Facts { info, region, layout, strings, control, files }))
}

/// The frames that are for the program.
fn stock(info: &BootInfo, layout: &Layout) -> mm::Stock {
    let frames = layout.program_frames();
    let [pool, pool_len] = info.pool;
    if pool_len == 0 {
        return mm::Stock::small(frames);
    }
    // The page between the two kinds keeps runs of frames from having both.
    let small = frames.start..pool.saturating_sub(PAGE);
    mm::Stock {
        small,
        pool: pool..pool.saturating_add(pool_len),
        limit: info.frames_limit.saturating_sub(layout.heap_bytes()),
    }
}

/// Step 2, with a heap: platform, memory, cores.
///
/// # Panics
/// When the control area does not hold what its layout says.
pub fn prepare(facts: &'static Facts, platform: &'static dyn Platform) {
    platform::set(platform);
    facts.control.advance(CellState::Booting);
    let layout = &facts.layout;
    mm::init(platform, stock(&facts.info, layout));
    mm::limit_kernel_pages(layout.heap_bytes() / 2);
    mm::set_numa_node(facts.info.numa_node);
    let cores = (0..layout.cores).map(|index| {
        let block = layout.core_block(&facts.region, index).expect("core blocks lie in the layout");
        let submissions = layout.submissions(&facts.region, index).expect("rings lie in the layout");
        let completions = layout.completions(&facts.region, index).expect("rings lie in the layout");
        Core::new(index, block, Rings::new(submissions, completions))
    });
    sched::core::set_cores(cores.collect());
}

/// Step 3: the first thread, for the first core to run.
///
/// # Panics
/// When the cell has no memory for a single thread.
pub fn first_thread(facts: &Facts) -> Arc<Thread> {
    let cpus = CpuSet::of(sched::cores().iter().map(|core| core.cpu));
    Thread::new_main(facts.info.pid as u32, cpus, start_program).expect("the cell has memory for one thread")
}

/// All CPUs of the cell.
#[must_use]
pub fn cell_cpus() -> CpuSet {
    CpuSet::of(sched::cores().iter().map(|core| core.cpu))
}

/// The strings behind the boot information: arguments, environment, executed path.
struct Strings {
    args: Vec<Vec<u8>>,
    env: Vec<Vec<u8>>,
    path: Vec<u8>,
}

fn strings(facts: &Facts) -> Strings {
    let mut bytes = alloc::vec![0; facts.info.strings_len as usize];
    let read = facts.region.read(facts.strings, &mut bytes);
    assert!(read, "the strings lie in the region");
    let mut all = bytes.split(|byte| *byte == 0).map(<[u8]>::to_vec);
    let args = all.by_ref().take(facts.info.argc as usize).collect();
    let env = all.by_ref().take(facts.info.envc as usize).collect();
    Strings { args, env, path: all.next().unwrap_or_default() }
}

/// Step 4, on the first thread: loads the program and leaves for it.
extern "C" fn start_program() -> ! {
    switch::arrive_first();
    let facts = facts();
    let thread = current();
    sched::signal::actions_reset(SigSet(facts.info.ignored_signals));
    thread.signals.lock().mask = SigSet(facts.info.blocked_signals).blockable();
    let Strings { args, env, path } = strings(facts);
    set_name(thread, &path);
    let mut random = [0; 16];
    random.copy_from_slice(&facts.info.random[..16]);
    let file = Loadable::find(facts.info.exec_fd as i32);
    match file.and_then(|file| exec::start(file, &facts.info, &args, &env, &path, random)) {
        Ok(frame) => {
            // SAFETY: this thread's own frame; it has not been to the program yet.
            unsafe { thread.frame().write(frame) };
            limits::begin(&facts.info);
            facts.control.advance(CellState::Running);
            entry::leave()
        }
        Err(errno) => {
            let advice = "try more --memory if it is ENOMEM, shorter arguments if it is E2BIG";
            crate::forward::notice(&alloc::format!("the program can't be loaded: {errno}; {advice}"));
            sched::process::exit(126)
        }
    }
}

/// Names a thread after the program that it starts.
pub fn set_name(thread: &Thread, path: &[u8]) {
    let base = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    let len = base.len().min(15);
    let mut name = [0; 16];
    name[..len].copy_from_slice(&base[..len]);
    *thread.name.lock() = name;
}

/// Text of a panic, cut to what the control page holds.
struct Text {
    bytes: [u8; PANIC_BYTES],
    len: usize,
}

impl Write for Text {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        let room = &mut self.bytes[self.len..];
        let taken = text.len().min(room.len());
        room[..taken].copy_from_slice(&text.as_bytes()[..taken]);
        self.len += taken;
        Ok(())
    }
}

/// Leaves what a panic says for the proxy, if it can be found already.
pub fn record_panic(info: &PanicInfo<'_>) {
    record_last_words(format_args!("{info}"));
}

/// The same for a failure of the machine.
pub fn record_hardware_failure(what: core::fmt::Arguments<'_>) {
    let prefix = str::from_utf8(HARDWARE_FAILED).unwrap_or_default();
    record_last_words(format_args!("{prefix}{what}"));
}

fn record_last_words(words: core::fmt::Arguments<'_>) {
    let Some(facts) = FACTS.get() else { return };
    let mut text = Text { bytes: [0; PANIC_BYTES], len: 0 };
    // The text never fails to be written: it is cut instead.
    let _ = text.write_fmt(words);
    facts.control.set_panic(&text.bytes[..text.len]);
}
