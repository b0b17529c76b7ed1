//! Threads that ran on the core, from samples of what Linux says of each thread.
//!
//! Linux tells how long a thread ran and on which core it ran last, not how long on which core. So between two
//! samples, what a thread ran counts as the core's when it was seen there at both; seen there at one of them, it
//! counts as "at most".

use std::collections::BTreeMap;

use super::trace::TracedThread;
use crate::machine::cpu_set::CpuSet;
use crate::tuning::system::System;
use crate::tuning::threads::{self, Thread};

/// What a thread had done so far.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Which thread.
    pub thread: Thread,
    /// The core that it runs on, or ran on last.
    pub core: usize,
    /// Seconds that it ran.
    pub seconds: f64,
    /// How often it was given a core.
    pub times: u64,
}

/// What a thread did on the core.
#[derive(Clone, Debug, PartialEq)]
pub struct Ran {
    /// Number of the thread.
    pub id: u32,
    /// Number of its process.
    pub process: u32,
    /// Its name.
    pub name: String,
    /// Whether it is one of Linux's own.
    pub is_of_the_kernel: bool,
    /// Whether Linux lets nobody move it.
    pub is_bound: bool,
    /// Where it may run.
    pub cores: CpuSet,
    /// How often it got the core.
    pub times: u64,
    /// Seconds that it ran there.
    pub seconds: f64,
    /// Whether it moved between cores, so that times and seconds are upper bounds.
    pub is_at_most: bool,
}

/// All threads but this process's own.
pub fn sample(system: &dyn System) -> Vec<Sample> {
    let own = std::process::id();
    threads::all(system).into_iter().filter(|t| t.process != own).filter_map(|t| sample_of(system, t)).collect()
}

fn sample_of(system: &dyn System, thread: Thread) -> Option<Sample> {
    const TICKS_PER_SECOND: f64 = 100.0;
    let folder = format!("/proc/{}/task/{}", thread.process, thread.id);
    let stat = system.read(&format!("{folder}/stat")).ok()?;
    // Fields are counted behind the name (proc(5)): state is field 3.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3).and_then(|word| word.parse::<u64>().ok());
    let (core, ticks) = (field(39)?, field(14)? + field(15)?);
    let schedstat = system.read(&format!("{folder}/schedstat")).unwrap_or_default();
    let exact: Vec<u64> = schedstat.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let (seconds, times) = match exact[..] {
        [nanoseconds, _, times] if nanoseconds > 0 => (nanoseconds as f64 / 1e9, times),
        _ => (ticks as f64 / TICKS_PER_SECOND, switches(system, &folder)),
    };
    Some(Sample { thread, core: usize::try_from(core).ok()?, seconds, times })
}

/// Context switches, of both kinds, of a Linux without per-thread statistics of the scheduler.
fn switches(system: &dyn System, folder: &str) -> u64 {
    let status = system.read(&format!("{folder}/status")).unwrap_or_default();
    let of = |key: &str| status.lines().find_map(|line| line.strip_prefix(key)?.trim().parse::<u64>().ok());
    of("voluntary_ctxt_switches:").unwrap_or(0) + of("nonvoluntary_ctxt_switches:").unwrap_or(0)
}

/// What ran on `core` over a series of samples: those that ran most often first.
pub fn ran_on(core: usize, series: &[Vec<Sample>]) -> Vec<Ran> {
    let mut ran: BTreeMap<(u32, u64), Ran> = BTreeMap::new();
    for pair in series.windows(2) {
        let earlier: BTreeMap<(u32, u64), &Sample> =
            pair[0].iter().map(|sample| ((sample.thread.id, sample.thread.start), sample)).collect();
        for now in &pair[1] {
            let key = (now.thread.id, now.thread.start);
            let before = earlier.get(&key);
            let (was_here, is_here) = (before.is_some_and(|sample| sample.core == core), now.core == core);
            let seconds = now.seconds - before.map_or(0.0, |sample| sample.seconds);
            let times = now.times.saturating_sub(before.map_or(0, |sample| sample.times));
            // One that holds the core all the time is given it never.
            if (was_here || is_here) && (times > 0 || seconds > 0.0) {
                // A thread that is not pinned may have been elsewhere in between and come back: not told apart.
                let is_at_most = before.is_some() && was_here != is_here;
                add(ran.entry(key).or_insert_with(|| nothing_yet(now)), times, seconds, is_at_most);
            }
        }
    }
    let mut ran: Vec<Ran> = ran.into_values().collect();
    ran.sort_by(|a, b| b.times.cmp(&a.times).then(b.seconds.total_cmp(&a.seconds)));
    ran
}

/// What samples say, corrected by a trace: who is in it ran as often as that says, with those that lived between two
/// samples. Who is not can only have been there all the time, or not at all.
pub fn corrected(ran: Vec<Ran>, mut traced: BTreeMap<u32, TracedThread>, series: &[Vec<Sample>]) -> Vec<Ran> {
    traced.remove(&std::process::id());
    let exact = |ran: Ran| match traced.remove(&ran.id) {
        // The trace knows nothing of the time before the first switch.
        Some(thread) if ran.is_at_most => {
            Some(Ran { times: thread.times, seconds: thread.seconds, is_at_most: false, ..ran })
        }
        Some(thread) => Some(Ran { times: thread.times, seconds: thread.seconds.max(ran.seconds), ..ran }),
        None => (!ran.is_at_most && ran.times == 0).then_some(ran),
    };
    let mut all: Vec<Ran> = ran.into_iter().filter_map(exact).collect();
    let seen: BTreeMap<u32, &Sample> = series.iter().flatten().map(|sample| (sample.thread.id, sample)).collect();
    all.extend(traced.into_iter().map(|(id, thread)| {
        let known = seen.get(&id).map_or_else(|| unseen(id, &thread), |sample| nothing_yet(sample));
        Ran { times: thread.times, seconds: thread.seconds, ..known }
    }));
    all
}

/// A thread that lived between two samples: whose it was, nobody knows any more.
fn unseen(id: u32, thread: &TracedThread) -> Ran {
    Ran {
        id,
        process: id,
        name: thread.name.clone(),
        is_of_the_kernel: false,
        is_bound: false,
        cores: CpuSet::default(),
        times: 0,
        seconds: 0.0,
        is_at_most: false,
    }
}

fn add(ran: &mut Ran, times: u64, seconds: f64, is_at_most: bool) {
    ran.times += times;
    ran.seconds += seconds.max(0.0);
    ran.is_at_most |= is_at_most;
}

fn nothing_yet(sample: &Sample) -> Ran {
    let Thread { id, process, name, cores, .. } = sample.thread.clone();
    let (is_of_the_kernel, is_bound) = (sample.thread.is_of_the_kernel(), sample.thread.is_bound());
    Ran { id, process, name, is_of_the_kernel, is_bound, cores, times: 0, seconds: 0.0, is_at_most: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(id: u32, core: usize, seconds: f64, times: u64) -> Sample {
        let thread = Thread {
            id,
            process: id,
            parent: 1,
            start: 7,
            name: format!("t{id}"),
            flags: 0,
            cores: CpuSet::from_list("0-3").unwrap(),
        };
        Sample { thread, core, seconds, times }
    }

    #[test]
    fn what_ran_there_is_added_up_over_the_samples() {
        let series = [
            vec![sample(1, 3, 1.0, 10), sample(2, 0, 5.0, 50), sample(3, 3, 2.0, 20)],
            vec![sample(1, 3, 1.25, 12), sample(2, 0, 6.0, 90), sample(3, 3, 2.0, 20)],
            vec![sample(1, 3, 1.5, 15), sample(2, 0, 7.0, 99), sample(3, 3, 2.0, 20)],
        ];
        let ran = ran_on(3, &series);
        assert_eq!(ran.len(), 1, "others were elsewhere, or did not run");
        assert_eq!((ran[0].id, ran[0].times, ran[0].seconds, ran[0].is_at_most), (1, 5, 0.5, false));
    }

    #[test]
    fn who_came_or_went_ran_there_at_most() {
        let series =
            [vec![sample(1, 0, 1.0, 10), sample(2, 3, 1.0, 10)], vec![sample(1, 3, 1.5, 14), sample(2, 1, 1.5, 11)]];
        let ran = ran_on(3, &series);
        let told: Vec<_> = ran.iter().map(|ran| (ran.id, ran.times, ran.is_at_most)).collect();
        assert_eq!(told, [(1, 4, true), (2, 1, true)]);
    }

    #[test]
    fn a_trace_corrects_what_samples_guess() {
        let ran =
            |id, times, seconds, is_at_most| Ran { times, seconds, is_at_most, ..nothing_yet(&sample(id, 3, 0.0, 0)) };
        let traced = |times, seconds| TracedThread { name: "traced".to_owned(), times, seconds };
        let samples = vec![ran(1, 0, 4.0, false), ran(2, 30, 2.0, true), ran(3, 9, 1.0, true), ran(4, 5, 0.5, false)];
        let mut worker = sample(8, 3, 9.0, 90);
        worker.thread.flags = 0x0420_0000;
        let trace = [(2, traced(3, 0.25)), (4, traced(6, 0.25)), (8, traced(2, 0.5)), (9, traced(1, 0.125))].into();
        let corrected = corrected(samples, trace, &[vec![worker]]);
        let told: Vec<_> = corrected.iter().map(|r| (r.id, r.times, r.seconds, r.is_at_most)).collect();
        // 1 held the core without a switch, 3 was elsewhere, 8 is known, 9 lived between two samples.
        let expected =
            [(1, 0, 4.0, false), (2, 3, 0.25, false), (4, 6, 0.5, false), (8, 2, 0.5, false), (9, 1, 0.125, false)];
        assert_eq!(told, expected);
        assert_eq!(corrected.iter().filter(|ran| ran.is_of_the_kernel).map(|ran| ran.id).collect::<Vec<_>>(), [8]);
        assert_eq!((corrected[3].name.as_str(), corrected[4].name.as_str()), ("t8", "traced"));
    }

    #[test]
    fn a_new_thread_counts_from_its_start_and_a_reused_number_is_another() {
        let mut reused = sample(1, 3, 0.25, 2);
        reused.thread.start = 9;
        let ran = ran_on(3, &[vec![sample(1, 3, 50.0, 1000)], vec![reused]]);
        assert_eq!((ran[0].times, ran[0].seconds, ran[0].is_at_most), (2, 0.25, false));
    }
}
