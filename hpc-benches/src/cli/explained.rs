//! Each benchmark in four lines: what it is, why it is there, how to read it, where it comes from. `--help` ends with
//! them; docs/benchmarks.md says more.

/// Measures that belong together.
struct Benchmark {
    names: &'static str,
    what: &'static str,
    why: &'static str,
    read: &'static str,
    source: &'static str,
}

/// The benchmarks of a suite.
pub struct Suite {
    name: &'static str,
    benchmarks: &'static [Benchmark],
}

/// What disturbs a core.
pub const NOISE: Suite = Suite {
    name: "noise",
    benchmarks: &[
        Benchmark {
            names: "fwq, fwq-loss",
            what: "fixed-work quantum: the same arithmetic again and again, each time measured",
            why: "it is what a loop between two synchronisations feels",
            read: "equal medians: the same speed; noise is in p99, max and the loss",
            source: "Sottile, Minnich, IEEE CLUSTER 2004; FWQ of the ASC Sequoia benchmarks, LLNL 2008",
        },
        Benchmark {
            names: "ftq, ftq-loss",
            what: "fixed-time quantum: the work that is missing in each of many equal spans of time",
            why: "samples are equally far apart, so that a periodic disturbance shows its period",
            read: "p99 and max against the quantum (1 ms), which is the most that can be missing",
            source: "Sottile, Minnich, IEEE CLUSTER 2004",
        },
        Benchmark {
            names: "hourglass, hourglass-max",
            what: "all gaps between two readings of the counter, as a histogram",
            why: "without a threshold it shows the loop, the machine and the kernel, each in its place",
            read: "equal medians; the largest gap is the number that papers on multi-kernels give",
            source: "Regehr, USENIX FREENIX 2002; in this form Lankes, Pickartz, Breitbart, ROSS 2016",
        },
        Benchmark {
            names: "selfish-detour, selfish-loss",
            what: "a loop that only watches the counter: each jump is a detour of the core",
            why: "it sees every interruption by itself, with its time and length",
            read: "rate and loss together; a tick of 250 Hz is 250 detours/s; a silent core has 0",
            source: "Beckman, Iskra, Yoshii, Coghlan, IEEE CLUSTER 2006; also in Netgauge (Hoefler et al., HPCC 2007)",
        },
    ],
};

/// What calls cost.
pub const CALLS: Suite = Suite {
    name: "calls",
    benchmarks: &[
        Benchmark {
            names: "getpid, getppid, sched_yield, clock_gettime, futex-wake, malloc-1m, first-write-4k",
            what: "calls that a cell answers on its own core",
            why: "most calls of a computing program are these",
            read: "--cycles gives the unit of the published tables",
            source: "tables of HermitCore (Lankes, Pickartz, Breitbart, ROSS 2016) and HermiTux (Olivier et al., VEE 2019)",
        },
        Benchmark {
            names: "write-1, pread-4k, pwrite-4k, read-1m, write-1m",
            what: "calls that a cell forwards to Linux, without and with data",
            why: "files are Linux's: each of these crosses to the proxy and back",
            read: "against native's own; p99 and p99.9 tell how steady it is",
            source: "the same tables",
        },
        Benchmark {
            names: "forwarded-nop, ring-roundtrip, forwarded-nop-asleep, write-1-asleep",
            what: "the way to the proxy alone: by a call that does nothing, by the rings, to one that sleeps",
            why: "it tells where the time of a forwarded call goes",
            read: "forwarded-nop less ring-roundtrip is the trap; asleep: the wake-up, after 2 ms without a call",
            source: "of this project; Linux has no such call",
        },
        Benchmark {
            names: "thread-create, futex-handover, pipe-handover, wake-same-core, wake-other-core",
            what: "threads: a start, two context switches, and from a wake until the woken runs",
            why: "runtimes of threads are made of these",
            read: "wake-other-core is a suite of its own, calls-across, since it takes two cores",
            source: "futex(2); handovers as in lmbench (McVoy, Staelin, USENIX 1996)",
        },
        Benchmark {
            names: "map-1m, unmap-1m, mmap-1m, first-touch-1g, first-touch-1g-huge",
            what: "memory mapped, given back, and written to for the first time",
            why: "a program pays it for all of its memory",
            read: "a kernel that populates when it maps pays in the one and not in the other",
            source: "the tables above; Linux, Documentation/admin-guide/mm/transhuge.rst",
        },
        Benchmark {
            names: "compute-1s",
            what: "a fixed number of matrix products, checked",
            why: "nothing is asked of a kernel: it must cost the same everywhere",
            read: "a ratio other than 1 puts all the rest in doubt",
            source: "check: Freivalds, IFIP Congress 1977",
        },
    ],
};

/// How fast memory is.
pub const MEMORY: Suite = Suite {
    name: "memory",
    benchmarks: &[
        Benchmark {
            names: "stream-copy, -scale, -add, -triad",
            what: "the four loops over arrays four times as large as the last cache",
            why: "bandwidth bounds most simulations",
            read: "10^6 bytes per second, higher is better; max is STREAM's best rate",
            source: "McCalpin, IEEE TCCA Newsletter, December 1995",
        },
        Benchmark {
            names: "random-access",
            what: "updates of random words of a table (GUPS), checked to the last word",
            why: "it shows how many misses a core keeps under way",
            read: "GUPS is one divided by the nanoseconds per update",
            source: "RandomAccess of the HPC Challenge, Luszczek et al., 2005",
        },
        Benchmark {
            names: "chase-SIZE",
            what: "a chain of loads through growing sets",
            why: "its steps are the caches; beyond the reach of the TLB it shows the page walk",
            read: "as a curve; --pages 4k against --pages thp is the walk alone",
            source: "lmbench: McVoy, Staelin, USENIX 1996",
        },
        Benchmark {
            names: "first-touch-PAGES, pages-PAGES",
            what: "the first write to, and random access in, pages of 4 KiB, 2 MiB, 1 GiB and transparent large ones",
            why: "what a page size is worth, and what it costs",
            read: "nanoseconds for each 4 KiB, and for each update",
            source: "Linux, Documentation/admin-guide/mm/transhuge.rst and hugetlbpage.rst",
        },
    ],
};

/// Start and end of programs.
pub const STARTUP: Suite = Suite {
    name: "startup",
    benchmarks: &[
        Benchmark {
            names: "startup, exec-to-main, exec-to-main-static, teardown, cores-back",
            what: "from exec to main, from exit to the end, and until Linux has its cores again",
            why: "a launch of many short programs pays it each time",
            read: "in a cell it begins with the exec of tacet; static less dynamic is the dynamic linker",
            source: "of this project",
        },
        Benchmark {
            names: "exec-to-mpi-init, launch-to-mpi-init",
            what: "until a rank, and until the last rank, has done MPI_Init",
            why: "MPI_Init makes hundreds of forwarded calls; the last rank is what a user waits for",
            read: "against native, with the same launcher",
            source: "of this project",
        },
        Benchmark {
            names: "memory, memory-cell",
            what: "what the processes of a launch take, and what kernel and proxy add for each cell",
            why: "a node full of ranks pays it for each",
            read: "bytes, proportional set size; huge pages included",
            source: "Linux, Documentation/filesystems/proc.rst (smaps_rollup)",
        },
    ],
};

/// Constructs of OpenMP.
pub const OPENMP: Suite = Suite {
    name: "openmp",
    benchmarks: &[Benchmark {
        names: "omp-parallel, -for, -barrier, -single, -critical, -lock, …, omp-static-N, omp-task-…",
        what: "what a construct costs beyond the work in it: synchronisation, schedules, arrays, tasks",
        why: "it bounds how fine-grained a parallel program can be",
        read: "leave the machine alone: where cores are shared, barriers cost time slices",
        source: "EPCC: Bull, EWOMP 1999; Bull, O'Neill, EWOMP 2001; Bull, Reid, McDonnell, IWOMP 2012",
    }],
};

/// Messages.
pub const MPI: Suite = Suite {
    name: "mpi",
    benchmarks: &[
        Benchmark {
            names: "latency-SIZE, bandwidth-SIZE, bidirectional-SIZE, message-rate-SIZE",
            what: "messages between two ranks, of 8 bytes to 1 MiB, and of all pairs at once",
            why: "MPI libraries use shared memory, futexes and the other rank's memory",
            read: "latency shows what waiting costs, bandwidth what copying does",
            source: "OSU Micro-Benchmarks, with smaller windows",
        },
        Benchmark {
            names: "barrier, allreduce-SIZE, alltoall-SIZE, halo-SIZE",
            what: "collectives, and an exchange of faces with the neighbours in three dimensions; values are checked",
            why: "they are what steps of simulations end with",
            read: "as curves over the size",
            source: "OSU Micro-Benchmarks; the exchange is of this project",
        },
        Benchmark {
            names: "bsp-step, bsp-compute, bsp-slowest, bsp-loss",
            what: "a bulk-synchronous loop: the same work on all ranks, then an Allreduce",
            why: "it shows noise directly: all wait for the slowest",
            read: "spread of the steps, histogram; slowest against compute",
            source: "Petrini, Kerbyson, Pakin, SC 2003",
        },
    ],
};

/// Mini-apps.
pub const APPS: Suite = Suite {
    name: "apps",
    benchmarks: &[Benchmark {
        names: "cg-iteration, fft-forward, fft-inverse, particles-step, montecarlo-batch",
        what: "CG on a 27-point stencil, a 3-D FFT, particles, a Monte-Carlo loop: ranks with threads",
        why: "they ask of a node what programs ask, all at once",
        read: "a sample is the slowest rank's; a wrong result ends the run",
        source: "HPCG: Dongarra, Heroux, Luszczek, IJHPCA 2016; Swarztrauber 1984; Plimpton 1995; Wing 1962",
    }],
};

impl Suite {
    /// The benchmarks, to stand below the options.
    pub fn text(&self) -> String {
        let benchmarks: Vec<String> = self.benchmarks.iter().map(Benchmark::text).collect();
        format!("Suite {}:\n{}", self.name, benchmarks.join("\n"))
    }
}

/// Every suite.
pub fn all() -> String {
    let suites = [NOISE, CALLS, MEMORY, STARTUP, OPENMP, MPI, APPS];
    let suites: Vec<String> = suites.iter().map(Suite::text).collect();
    format!("{}\n\n{CONCLUSIONS}", suites.join("\n\n"))
}

/// `scale`.
pub const SCALE: &str = "\
What:   every rank of a bulk-synchronous loop replays a measured trace from an offset of its own, with messages
        between them (LogGP).
Why:    what costs one core half a percent, all ranks of a large job wait for, in nearly every step.
Read:   slowdown is the time of an iteration by the same without noise; a row with * has met the whole trace.
Source: Hoefler, Schneider, Lumsdaine, SC 2010; --check sets the simulation against closed forms.";

/// `why`.
pub const WHY: &str = "\
What:   every source that interrupted the core while it was watched, in words, with what would remove it.
Why:    a measurement says that a core is disturbed; this says by whom.
Read:   the most frequent first; then what takes speed without a count: SMT siblings, the clock, the hypervisor.
Source: Linux, Documentation/admin-guide/kernel-per-CPU-kthreads.rst, timers/no_hz.rst, trace/ftrace.rst.";

/// How a comparison concludes.
const CONCLUSIONS: &str = "\
Conclusions: sides run in turn. A difference is better or worse when there are five pairs or more, it is larger \
than native differs from native (the control), and the pairs agree on its direction (sign test, p <= 1/16). Else \
no difference is shown; where native itself drifted by as much, no conclusion is drawn. docs/benchmarks.md says more.";

impl Benchmark {
    fn text(&self) -> String {
        let Self { names, what, why, read, source } = self;
        format!("  {names}\n    what:   {what}\n    why:    {why}\n    read:   {read}\n    source: {source}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suites::calls;

    #[test]
    fn every_benchmark_is_explained() {
        let text = all();
        for name in calls::names() {
            assert!(text.contains(name), "{name}");
        }
        for name in ["fwq", "ftq", "hourglass", "selfish-detour", "stream-copy", "random-access", "bsp-step", "barrier"]
        {
            assert!(text.contains(name), "{name}");
        }
    }

    /// What is cited here is cited there as well, with its title.
    #[test]
    fn sources_are_those_of_the_documentation() {
        let documentation = include_str!("../../../docs/benchmarks.md");
        for author in ["Sottile", "Regehr", "Beckman", "Lankes", "Olivier", "McCalpin", "Luszczek", "McVoy", "Petrini"]
        {
            assert!(all().contains(author) && documentation.contains(author), "{author}");
        }
    }
}
