//! What is told about a cell: before it starts, instead of starting it, and after its end.

use std::cmp::Reverse;
use std::fmt::Write as _;
use std::time::Duration;

use shm_ipc::calls::Handling;
use shm_ipc::control::{CALL_NUMBERS, CAUSES, Cause, CoreBlock};
use shm_ipc::layout::Layout;
use shm_ipc::region::Region;

use crate::cli::Platform;
use crate::exec::Program;
use crate::node::Node;
use crate::platform::Choice;
use crate::reserve::memory::human;
use crate::reserve::{LargePages, Plan};
use crate::sys::Binding;
use crate::table::{row, table, transposed};

fn cores(plan: &Plan) -> String {
    format!("{} ({})", plan.cores.cell, plan.cores.reason)
}

fn service(plan: &Plan) -> String {
    match plan.cores.is_shared_with_proxy {
        true => format!("{}: shared with the cell, so both give way instead of polling", plan.cores.service),
        false => format!("{}: the proxy polls for {} µs before it sleeps", plan.cores.service, plan.spin().as_micros()),
    }
}

fn numa(plan: &Plan) -> String {
    match (plan.binding, plan.cores.numa) {
        (Some((id, Binding::Strict)), _) => format!("{id} only"),
        (Some((id, Binding::Preferred)), _) => format!("{id} while it has some"),
        (None, Some(id)) => format!("{id}, the only one"),
        (None, None) => "where each page is touched first: the cores lie on several".to_owned(),
    }
}

fn large_pages(plan: &Plan) -> String {
    match plan.large_pages {
        // Bare memory is made of them.
        _ if plan.offline.is_some() => "all of the memory".to_owned(),
        LargePages::Given => "transparent ones".to_owned(),
        LargePages::AfterChange => "transparent ones, by changing shmem_enabled to advise while cells live".to_owned(),
        LargePages::None if plan.pool > 0 => format!("{} of the pool of reserved ones", human(plan.pool)),
        LargePages::None => {
            "none: Linux gives none to shared memory (shmem_enabled), only root may change that, and the \
            pool of reserved ones (nr_hugepages) has none free"
                .to_owned()
        }
    }
}

fn rank(plan: &Plan) -> String {
    let Some(rank) = &plan.rank else { return "none: no launcher".to_owned() };
    let global = rank.global.map_or(String::new(), |global| format!("{global}, "));
    format!("{global}local {} of {}, from {}", rank.local, rank.local_size, rank.launcher)
}

/// What is decided, for `--log info`.
pub fn log(plan: &Plan, choice: &Choice) {
    tracing::info!("platform {choice}");
    tracing::info!("rank {}", rank(plan));
    tracing::info!("cores {}", cores(plan));
    if !plan.cores.shared_with_cells.is_empty() {
        tracing::info!("cores {} are those of other cells too: neither is silent", plan.cores.shared_with_cells);
    }
    tracing::info!("service cores {}", service(plan));
    tracing::info!("memory up to {} from NUMA node {}", human(plan.memory), numa(plan));
    tracing::info!("large pages: {}", large_pages(plan));
}

/// What a run would get.
pub fn rehearsal(plan: &Plan, choice: &Choice, node: &Node, program: &Program) -> String {
    let pools: Vec<String> =
        node.large_pages.pools.iter().map(|pool| format!("{} of {}", pool.free, human(pool.page))).collect();
    let pools = if pools.is_empty() { "none".to_owned() } else { pools.join(", ") };
    table(&[
        row(["program", &program.path.display().to_string()]),
        row(["rank", &rank(plan)]),
        row(["platform", &choice.to_string()]),
        row(["cores", &cores(plan)]),
        row(["service cores", &service(plan)]),
        row(["NUMA node", &numa(plan)]),
        row(["memory", &format!("up to {}", human(plan.memory))]),
        row(["large pages", &large_pages(plan)]),
        row(["reserved large pages", &format!("{pools} free")]),
        row(["FSGSBASE", if node.has_fsgsbase { "yes" } else { "no: thread switches cost a system call" }]),
    ])
}

/// A cell after its end.
#[derive(Debug)]
pub struct Ended<'e> {
    /// What it got.
    pub plan: &'e Plan,
    /// Its process.
    pub pid: libc::pid_t,
    /// Bytes of its memory that were touched, where Linux says.
    pub touched: Option<u64>,
    /// Bytes of what it has from the pool of large pages that were.
    pub touched_of_pool: Option<u64>,
    /// From boot to end.
    pub time: Duration,
    /// Its memory.
    pub region: Region,
    /// What lies where in it.
    pub layout: Layout,
}

/// `--stats`: what each core was asked to do, by cause.
pub fn statistics(ended: &Ended) -> String {
    let Ended { plan, pid, touched, touched_of_pool, time, region, layout } = ended;
    let platform = if plan.offline.is_some() { Platform::Partition } else { Platform::Process };
    // Of bare memory all is taken.
    let memory =
        touched.map_or(human(plan.memory), |touched| format!("{} of {} touched", human(touched), human(plan.memory)));
    let pooled = match touched_of_pool {
        Some(touched) if plan.pool > 0 => format!(", {} of them touched", human(*touched)),
        _ => String::new(),
    };
    let mut text = format!(
        "tacet: cell {pid}: platform {platform}, cores {}, memory {memory}, {:.3} s\n\
         tacet: cell {pid}: large pages: {}{pooled}\n",
        plan.cores.cell,
        time.as_secs_f64(),
        large_pages(plan),
    );
    let mut rows = vec![[vec!["core".to_owned()], Cause::ALL.map(|cause| cause.name().to_owned()).to_vec()].concat()];
    let mut sums = [0_u64; CAUSES];
    for (index, cpu) in (0..layout.cores).zip(plan.cores.cell.iter()) {
        let block = layout.core_block(region, index);
        let counts = Cause::ALL.map(|cause| block.map_or(0, |block| block.counted(cause)));
        for (sum, count) in sums.iter_mut().zip(counts) {
            *sum = sum.wrapping_add(count);
        }
        rows.push([vec![cpu.to_string()], counts.map(|count| count.to_string()).to_vec()].concat());
    }
    if layout.cores > 1 {
        rows.push([vec!["all".to_owned()], sums.map(|sum| sum.to_string()).to_vec()].concat());
    }
    // Causes down, cores across: most cells have fewer cores than there are causes.
    let _ = write!(text, "{}{}", table(&transposed(&rows)), calls(region, layout));
    text
}

/// How often the program made which system call, the most frequent first.
fn calls(region: &Region, layout: &Layout) -> String {
    let blocks: Vec<&CoreBlock> = (0..layout.cores).filter_map(|index| layout.core_block(region, index)).collect();
    let total = |nr: u32| blocks.iter().fold(0_u64, |sum, block| sum.wrapping_add(block.calls(nr)));
    let numbers = 0..u32::try_from(CALL_NUMBERS).unwrap_or(0);
    let mut counted: Vec<(u64, u32)> = numbers.map(|nr| (total(nr), nr)).filter(|(count, _)| *count > 0).collect();
    counted.sort_by_key(|(count, nr)| (Reverse(*count), *nr));
    let mut rows = vec![row(["call", "count", "handled"])];
    for (count, nr) in counted {
        let call = shm_ipc::calls::lookup(nr.into());
        let name = call.map_or(format!("number {nr}"), |call| call.name.to_owned());
        let handled = match call.map(|call| call.handling) {
            Some(Handling::Local) => "by the kernel",
            Some(Handling::Forwarded) => "by Linux",
            Some(Handling::Unsupported) | None => "not supported",
        };
        rows.push(row([&name, &count.to_string(), handled]));
    }
    table(&rows)
}
