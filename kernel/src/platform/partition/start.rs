//! From the proxy's trampoline to the first instruction of the kernel proper.

use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use alloc::vec::Vec;
use shm_ipc::bare::{self, APIC, Bare, CORE_BYTES, Run};
use shm_ipc::clock::ClockPage;
use shm_ipc::control::ControlPage;
use shm_ipc::layout::Layout;
use shm_ipc::region::Region;
use spin::{Mutex, Once};
use zerocopy::FromBytes;

use super::clock::Clock;
use super::cpu::{self, CoreArea};
use super::paging::Tables;
use super::physical::Physical;
use super::{PARTITION, Partition, apic, shootdown};
use crate::boot::{self, Facts};
use crate::sched;
use crate::sched::core::Core;

/// Set when the first core has prepared everything that the others need.
static PREPARED: AtomicBool = AtomicBool::new(false);
/// Cores that are ready for the program.
static READY: AtomicU32 = AtomicU32::new(0);

static MEMORY: Once<Physical> = Once::new();

/// Where the cell's memory lies.
pub fn memory() -> &'static Physical {
    MEMORY.get().expect("boot reads it first of all")
}

/// Gives up before there is a cell to report to, or after it has been told.
pub fn refuse() -> ! {
    cpu::park()
}

/// A core's first word to the proxy, which may now use the trampoline for the next core.
///
/// # Safety
/// As for [`read`].
pub unsafe fn announce(window: u64, len: u64, index: u32) {
    let Some(base) = NonNull::new(window as *mut u8) else { return };
    // SAFETY: the caller's promise.
    let region = unsafe { Region::new(base, len) };
    let layout = Layout::control(&region).and_then(ControlPage::layout);
    if let Some(block) = layout.and_then(|layout| layout.core_block(&region, index)) {
        block.host_tid.store(1, Ordering::Release);
    }
}

/// The kernel's first step: finds the cell's memory.
///
/// # Safety
/// The first core calls this once, with the cell's memory of `len` bytes mapped at `window`.
#[must_use]
pub unsafe fn read(window: u64, len: u64) -> Option<&'static Facts> {
    let base = NonNull::new(window as *mut u8)?;
    // SAFETY: the caller's promise; the mapping is never taken away.
    boot::read(unsafe { Region::new(base, len) })
}

fn bare_of(facts: &Facts) -> Option<Bare> {
    bare::read(&facts.region, facts.info.bare)
}

/// The second step, with a heap in place: sets this core up, prepares everything for the others,
/// and ends in the scheduler.
///
/// # Panics
/// When what the proxy has written can't be, or the CPU lacks what the kernel needs.
pub fn enter(facts: &'static Facts) -> ! {
    let bare = bare_of(facts).expect("the proxy describes the bare part");
    let region = facts.region;
    let clock: &'static ClockPage = region.get(bare.clock).expect("the clock page lies in the region");
    let area = area_of(facts, &bare, 0);
    if let Some(missing) = cpu::missing_feature() {
        panic!("this CPU has no {missing}, which the partition platform needs; use --platform process");
    }
    let numa = facts.info.numa_node;
    cpu::set_registers(&bare, area, first_cpu(facts), numa);
    let area = area.load_tables();
    apic::find((bare.apic != 0).then_some(APIC));
    apic::enable();
    let memory = MEMORY.call_once(|| Physical::new(runs(facts, &bare)).expect("the runs of memory are in order"));
    let _ = memory;
    let platform = PARTITION.call_once(|| Partition {
        region,
        user_end: facts.info.user_end,
        clock: Clock(clock),
        clock_at: bare.clock,
        apic_ids: apic_ids(facts, &bare),
        tables: Mutex::new(tables(facts, &bare)),
        foreign: Mutex::new(Vec::new()),
        wakes: bare.apic == 0,
    });
    boot::prepare(facts, platform);
    shootdown::prepare(facts.layout.cores);
    apic::measure_timer(|| platform.clock.monotonic());
    let core = &sched::cores()[0];
    area.belongs_to(core);
    READY.fetch_add(1, Ordering::SeqCst);
    PREPARED.store(true, Ordering::SeqCst);
    // All cores of the cell are there before the program is: it may start threads on each.
    while READY.load(Ordering::SeqCst) < facts.layout.cores {
        core::hint::spin_loop();
    }
    let first = boot::first_thread(facts);
    sched::switch::start_core(core, Some(first))
}

/// What every other core does.
pub fn enter_other(index: u32) -> ! {
    while !PREPARED.load(Ordering::SeqCst) {
        core::hint::spin_loop();
    }
    let facts = boot::facts();
    let bare = bare_of(facts).expect("the first core has read it");
    let core = &sched::cores()[index as usize];
    let area = area_of(facts, &bare, index);
    cpu::set_registers(&bare, area, core.cpu, facts.info.numa_node);
    let area = area.load_tables();
    apic::enable();
    area.belongs_to(core);
    READY.fetch_add(1, Ordering::SeqCst);
    while READY.load(Ordering::SeqCst) < facts.layout.cores {
        core::hint::spin_loop();
    }
    sched::switch::start_core(core, None)
}

fn first_cpu(facts: &Facts) -> u32 {
    facts.layout.core_block(&facts.region, 0).map_or(0, |block| block.cpu.load(Ordering::Relaxed))
}

fn area_of(facts: &Facts, bare: &Bare, index: u32) -> &'static mut CoreArea {
    let at = facts.region.bytes(bare.cores + CORE_BYTES * u64::from(index), CORE_BYTES);
    let at = at.expect("the cores' areas lie in the region");
    // SAFETY: the area of this core, which only this core's start uses.
    unsafe { CoreArea::prepare(at, index) }
}

fn runs(facts: &Facts, bare: &Bare) -> Vec<Run> {
    let [at, count] = bare.runs;
    let mut bytes = alloc::vec![0; count as usize * size_of::<Run>()];
    assert!(facts.region.read(at, &mut bytes), "the runs lie in the region");
    bytes.chunks_exact(size_of::<Run>()).filter_map(|bytes| Run::read_from_bytes(bytes).ok()).collect()
}

fn apic_ids(facts: &Facts, bare: &Bare) -> Vec<u32> {
    let mut bytes = alloc::vec![0; facts.layout.cores as usize * 8];
    assert!(facts.region.read(bare.apic_ids, &mut bytes), "the APIC ids lie in the region");
    bytes.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().unwrap_or_default()) as u32).collect()
}

fn tables(facts: &Facts, bare: &Bare) -> Tables {
    let [at, len, used] = bare.tables;
    let memory = Physical::new(runs(facts, bare)).expect("the runs of memory are in order");
    Tables::new(facts.region, memory, bare.root, at + used..at + len)
}

impl CoreArea {
    /// From here on handlers know the core.
    fn belongs_to(&self, core: &'static Core) {
        // SAFETY: this core's own area; its handlers read the fields, on this core only.
        unsafe {
            let area = self.own.cast_mut();
            (*area).running = core.running_place();
            (*area).core = core;
        }
    }
}
