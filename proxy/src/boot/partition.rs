//! The `partition` platform: the kernel on bare cores.
//!
//! ```text
//! 0            control area and frames, as on every platform (`shm_ipc::layout`)
//! layout.end   what only this platform has (`shm_ipc::bare`): description, clock, image, the
//!              cores' own areas, page tables
//! ```

use std::ffi::CString;
use std::io;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use shm_ipc::bare::{self, APIC, CORE_BYTES, IMAGE, Run, START_STACK_END, WINDOW};
use shm_ipc::boot;
use shm_ipc::clock::ClockPage;
use shm_ipc::layout::{LARGE_PAGE, Layout, PAGE};
use shm_ipc::region::Region;
use zerocopy::IntoBytes;

use super::clock::Publisher;
use super::image::{self, Loaded};
use super::info::{self, Plan};
use super::places;
use super::tables::{self, Size, Tables, Use};
use super::trampoline::{self, Destination};
use crate::error::Error;
use crate::reserve::bare::{ApicMode, Bare};
use crate::reserve::ledger::Reach;

/// How long a core may take from its start to the kernel's first word.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where the local APIC's registers are, unless Linux has moved them, which it never does.
const APIC_PHYSICAL: u64 = 0xfee0_0000;

/// Why a cell on bare cores can't be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The memory is too small for what has to be in it.
    #[error("{} of memory is too little for {cores} cores; ask for more with --memory", crate::reserve::memory::human(*.bytes))]
    TooSmall {
        /// What there is.
        bytes: u64,
        /// For how many cores.
        cores: u32,
    },
    /// A core does not answer.
    #[error("core {cpu} was started and does not answer within {} s; see `tacet doctor`", PATIENCE.as_secs())]
    Silent {
        /// Linux's number of it.
        cpu: u32,
    },
    /// The image or the layout.
    #[error("cannot prepare the cell's memory: {0}; please report this")]
    Memory(#[from] io::Error),
    /// The page tables.
    #[error("cannot prepare the cell's page tables: {0}; please report this")]
    Tables(#[from] tables::Full),
}

/// Where the parts of the memory are that only this platform has.
#[derive(Debug, Clone, Copy)]
struct Parts {
    layout: Layout,
    runs: u64,
    apic_ids: u64,
    description: u64,
    clock: u64,
    image: [u64; 2],
    cores: u64,
    tables: [u64; 2],
}

impl Parts {
    /// For `total` bytes of memory in all.
    fn new(total: u64, cores: u32, boot_len: u64) -> Option<Self> {
        let image_len = image::size(image::PARTITION).ok()?;
        let tables_len = tables::bytes_for(total);
        let areas = CORE_BYTES * u64::from(cores);
        let runs_len = total / LARGE_PAGE * size_of::<Run>() as u64;
        let ids_len = 8 * u64::from(cores);
        // From the end backwards, each part aligned as it needs.
        let tables = total.checked_sub(tables_len)? / PAGE * PAGE;
        let areas_at = tables.checked_sub(areas)? / CORE_BYTES * CORE_BYTES;
        let image = areas_at.checked_sub(image_len)? / PAGE * PAGE;
        let clock = image.checked_sub(size_of::<ClockPage>() as u64)? / PAGE * PAGE;
        let apic_ids = clock.checked_sub(ids_len)? / PAGE * PAGE;
        let runs = apic_ids.checked_sub(runs_len)? / PAGE * PAGE;
        let description = runs.checked_sub(PAGE)?;
        let frames = Layout::new(cores, boot_len, 0)?.frames;
        let layout = Layout::new(cores, boot_len, description.checked_sub(frames)? / LARGE_PAGE * LARGE_PAGE)?;
        let fits = layout.frame_bytes() >= crate::reserve::memory::LEAST / 2;
        fits.then_some(Parts {
            layout,
            runs,
            apic_ids,
            description,
            clock,
            image: [image, image_len],
            cores: areas_at,
            tables: [tables, tables_len],
        })
    }
}

/// A cell whose kernel has been started.
#[derive(Debug)]
pub struct Started {
    /// The whole memory as the proxy sees it.
    pub region: Region,
    /// Where other proxies find the program's memory.
    pub reach: Reach,
    /// End of the program's addresses.
    pub user_end: u64,
    /// Keeps the clocks going.
    _clock: Publisher,
}

/// The layout's part of the strings.
fn boot_len(plan_args: &[CString], env: &[CString], path: &CString) -> u64 {
    let bytes = |texts: &[CString]| texts.iter().map(|text| text.as_bytes_with_nul().len() as u64).sum::<u64>();
    boot::boot_len(bytes(plan_args) + bytes(env) + path.as_bytes_with_nul().len() as u64)
}

/// The layout of a cell with `total` bytes of memory in all.
///
/// # Errors
/// When that is too little.
pub fn layout(total: u64, cores: u32, args: &[CString], env: &[CString], path: &CString) -> Result<Layout, StartError> {
    let parts = Parts::new(total, cores, boot_len(args, env, path));
    parts.map(|parts| parts.layout).ok_or(StartError::TooSmall { bytes: total, cores })
}

/// Starts the kernel on the cores of `taken`. `plan.layout` comes from [`layout`].
///
/// # Errors
/// When the memory is too small, or a core does not answer. The cores then stand still or run
/// code that nobody waits for: dropping `taken` ends that.
pub fn start(plan: &Plan<'_>, taken: &Bare) -> Result<Started, Error> {
    let cores = plan.layout.cores;
    let parts = Parts::new(taken.len(), cores, plan.layout.boot_len)
        .ok_or(StartError::TooSmall { bytes: taken.len(), cores })?;
    // SAFETY: the whole memory is mapped for as long as `taken` lives, which the caller keeps to
    // the cell's end.
    let region = unsafe { Region::new(taken.base(), taken.len()) };
    let loaded = load_image(&region, &parts)?;
    let root = make_tables(&region, &parts, taken)?;
    let clock: &'static ClockPage = region.get(parts.clock).ok_or_else(outside)?;
    let publisher = Publisher::start(clock).map_err(StartError::from)?;
    let user_end = places::end().map_err(StartError::from)?;
    describe(plan, &region, &parts, taken, root, user_end).map_err(StartError::from)?;
    start_cores(plan, &region, &parts, taken, &loaded, root)?;
    let frames = parts.layout.program_frames();
    let reach = Reach {
        base: taken.base().as_ptr().addr() as u64,
        len: taken.len(),
        description: parts.description,
        frames: [frames.start, frames.end],
    };
    Ok(Started { region, reach, user_end, _clock: publisher })
}

fn outside() -> StartError {
    StartError::Memory(io::Error::other("a part lies outside of it"))
}

fn part<'m>(region: &Region, [at, len]: [u64; 2]) -> Result<&'m mut [u8], StartError> {
    let bytes = region.bytes(at, len).ok_or_else(outside)?;
    // SAFETY: no core runs yet, and no part overlaps another: nobody else uses it.
    Ok(unsafe { std::slice::from_raw_parts_mut(bytes, len as usize) })
}

fn load_image(region: &Region, parts: &Parts) -> Result<Loaded, StartError> {
    Ok(image::place(image::PARTITION, IMAGE, part(region, parts.image)?)?)
}

/// The tables' state after the proxy has made its part.
#[derive(Debug, Clone, Copy)]
struct Root {
    offset: u64,
    physical: u64,
    used: u64,
}

/// Physical address of an offset.
fn physical(taken: &Bare, offset: u64) -> u64 {
    taken.chunks()[(offset / LARGE_PAGE) as usize] + offset % LARGE_PAGE
}

fn table_memory<'m>(region: &Region, parts: &Parts) -> Result<&'m mut [[u64; 512]], StartError> {
    let bytes = region.bytes(parts.tables[0], parts.tables[1]).ok_or_else(outside)?;
    // SAFETY: as in `part`; page aligned.
    Ok(unsafe { std::slice::from_raw_parts_mut(bytes.cast(), (parts.tables[1] / PAGE) as usize) })
}

fn make_tables(region: &Region, parts: &Parts, taken: &Bare) -> Result<Root, StartError> {
    let at = |table: usize| physical(taken, parts.tables[0] + table as u64 * PAGE);
    let mut tables = Tables::new(table_memory(region, parts)?, at);
    let root = tables.table()?;
    for (index, chunk) in taken.chunks().iter().enumerate() {
        tables.map(root, WINDOW + index as u64 * LARGE_PAGE, *chunk, Size::Large, Use::Data)?;
    }
    for segment in image::segments(image::PARTITION)? {
        let purpose = match (segment.is_executable, segment.is_writable) {
            (true, _) => Use::Code,
            (false, true) => Use::Data,
            (false, false) => Use::Constants,
        };
        for page in (segment.at..segment.at + segment.len).step_by(PAGE as usize) {
            tables.map(root, IMAGE + page, physical(taken, parts.image[0] + page), Size::Small, purpose)?;
        }
    }
    if taken.apic_mode() == ApicMode::X1 {
        tables.map(root, APIC, APIC_PHYSICAL, Size::Small, Use::Device)?;
    }
    Ok(Root { offset: parts.tables[0], physical: tables.address(root), used: tables.used() as u64 * PAGE })
}

fn describe(
    plan: &Plan<'_>,
    region: &Region,
    parts: &Parts,
    taken: &Bare,
    root: Root,
    user_end: u64,
) -> io::Result<()> {
    let runs: Vec<Run> = bare::runs_of(taken.chunks().iter().copied(), LARGE_PAGE).collect();
    let ids: Vec<u64> = taken.apic_ids().iter().map(|id| u64::from(*id)).collect();
    // Behind the tables that starting the cores will still make.
    let used = root.used + START_TABLES * PAGE;
    let description = bare::Bare {
        runs: [parts.runs, runs.len() as u64],
        apic_ids: parts.apic_ids,
        clock: parts.clock,
        image: parts.image,
        cores: parts.cores,
        tables: [parts.tables[0], parts.tables[1], used],
        root: root.offset,
        apic: if taken.apic_mode() == ApicMode::X1 { APIC_PHYSICAL } else { 0 },
        xcr0: xcr0(),
        pat: PAT,
        number: random()?,
    };
    let written = region.write(parts.runs, runs.as_bytes())
        && region.write(parts.apic_ids, ids.as_bytes())
        && bare::write(region, parts.description, &description);
    if !written {
        return Err(io::Error::other("its description does not fit"));
    }
    info::describe(plan, region, |info| {
        info.pid = u64::from(std::process::id());
        info.image = [IMAGE, parts.image[1]];
        info.window = WINDOW;
        info.user_end = user_end;
        info.bare = parts.description;
    })
}

fn random() -> io::Result<u64> {
    let mut bytes = [0; 8];
    // SAFETY: fills at most so many bytes.
    let filled = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
    if filled == bytes.len() as isize { Ok(u64::from_ne_bytes(bytes)) } else { Err(io::Error::last_os_error()) }
}

/// IA32_PAT as Linux programs it on every core (`arch/x86/mm/pat/memtype.c`): the first entry,
/// which is the only one that the kernel's and the program's pages use, means write-back.
const PAT: u64 = 0x0407_0506_0007_0106;

/// The register states that Linux lets programs use.
fn xcr0() -> u64 {
    #[target_feature(enable = "xsave")]
    fn read() -> u64 {
        // SAFETY: register 0 is there where XSAVE is.
        unsafe { std::arch::x86_64::_xgetbv(0) }
    }
    if std::arch::is_x86_feature_detected!("xsave") {
        // SAFETY: the feature was just detected.
        unsafe { read() }
    } else {
        0
    }
}

/// Tables for the first pages at their own addresses.
const START_TABLES: u64 = 3;

/// The top table with which a core starts: the kernel's half, and the low pages at their own
/// addresses.
fn start_table(region: &Region, parts: &Parts, taken: &Bare, root: Root, low: u64) -> Result<[u64; 512], StartError> {
    let first = (root.used / PAGE) as usize;
    let memory = &mut table_memory(region, parts)?[first..first + START_TABLES as usize];
    memory.fill([0; 512]);
    let at = |table: usize| physical(taken, parts.tables[0] + (first + table) as u64 * PAGE);
    const PRESENT_WRITABLE: u64 = 3;
    memory[0][0] = at(1) | PRESENT_WRITABLE;
    memory[1][0] = at(2) | PRESENT_WRITABLE;
    for page in [low, low + PAGE] {
        memory[2][(page / PAGE) as usize] = page | PRESENT_WRITABLE;
    }
    let mut top = table_memory(region, parts)?[0];
    top[0] = at(0) | PRESENT_WRITABLE;
    Ok(top)
}

fn start_cores(
    plan: &Plan<'_>,
    region: &Region,
    parts: &Parts,
    taken: &Bare,
    loaded: &Loaded,
    root: Root,
) -> Result<(), Error> {
    let mut low = taken.low()?;
    let at = low.physical();
    let top = start_table(region, parts, taken, root, u64::from(at))?;
    for (index, cpu) in (0..plan.layout.cores).zip(plan.cores) {
        let to = Destination {
            entry: loaded.entry,
            stack: WINDOW + parts.cores + CORE_BYTES * u64::from(index) + START_STACK_END,
            index: u64::from(index),
            window: [WINDOW, region.len()],
            root: root.physical,
        };
        low.write(0, &trampoline::pages(at, &top, &to));
        taken.start_core(index as usize, (at >> 12) as u8)?;
        wait_for(region, &parts.layout, index, *cpu)?;
    }
    // Not when a core is silent: it may still be in them.
    Ok(low.done()?)
}

/// Waits for a core's first word.
fn wait_for(region: &Region, layout: &Layout, index: u32, cpu: u32) -> Result<(), StartError> {
    let block = layout.core_block(region, index).ok_or_else(outside)?;
    let start = Instant::now();
    while block.host_tid.load(Ordering::Acquire) == 0 {
        if start.elapsed() > PATIENCE {
            return Err(StartError::Silent { cpu });
        }
        std::thread::sleep(Duration::from_micros(50));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_do_not_overlap() {
        for cores in [1, 4, 64] {
            for total in [128 << 20, 1 << 30, 40 << 30] {
                let parts = Parts::new(total, cores, 5000).expect("enough");
                let ends = [
                    (parts.layout.end, parts.description),
                    (parts.description + PAGE, parts.runs),
                    (parts.runs + total / LARGE_PAGE * 24, parts.apic_ids),
                    (parts.apic_ids + 8 * u64::from(cores), parts.clock),
                    (parts.clock + size_of::<ClockPage>() as u64, parts.image[0]),
                    (parts.image[0] + parts.image[1], parts.cores),
                    (parts.cores + CORE_BYTES * u64::from(cores), parts.tables[0]),
                    (parts.tables[0] + parts.tables[1], total),
                ];
                assert!(ends.iter().all(|(end, next)| end <= next), "{ends:x?}");
                assert!(parts.cores.is_multiple_of(CORE_BYTES));
            }
        }
        assert!(Parts::new(16 << 20, 1, 5000).is_none());
        assert!(Parts::new(0, 1, 0).is_none());
    }
}
