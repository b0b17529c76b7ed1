//! `tacet run`: reserve, boot, serve, report.

use std::ffi::{CString, OsString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use shm_ipc::control::{CellState, Exit, HARDWARE_FAILED, PANIC_BYTES};
use shm_ipc::layout::Layout;
use shm_ipc::region::Region;

use crate::boot::info;
use crate::boot::partition::{self, Started};
use crate::boot::process::{self as platform, Child};
use crate::cli::{Platform, Run};
use crate::descriptors::PrivateBand;
use crate::error::Error;
use crate::exec::{self, Program};
use crate::limits::{self, Inherited};
use crate::node::view::View;
use crate::reserve::bare::{Bare, Wanted};
use crate::reserve::ledger::Lease;
use crate::reserve::memory::CellMemory;
use crate::reserve::shared_pool::PoolMemory;
use crate::reserve::{self, Circumstances, LargePages, Plan, Reserved};
use crate::serve::bare::Held;
use crate::serve::machine::{Machine, Source};
use crate::serve::open_mpi::Unlaunched;
use crate::serve::{self, Fault, Server, fill};
use crate::{doctor, inherited, launcher, report, signals, sys};

/// Runs the program; gives how it ended. `None` for a rehearsal, whose text goes to `say`.
pub fn run(options: &Run, say: impl FnOnce(&str) -> Result<(), Error>) -> Result<Option<Exit>, Error> {
    let choice = doctor::choose(options.platform, Path::new("/"))?;
    let options = &Run { platform: choice.platform, ..options.clone() };
    let program = exec::find(&options.command, std::env::var_os("PATH").as_deref())?;
    let circumstances = Circumstances::read()?;
    if options.dry_run {
        let plan = reserve::rehearse(options, &circumstances)?;
        say(&report::rehearsal(&plan, &choice, &circumstances.node, &program))?;
        return Ok(None);
    }
    signals::hold().map_err(failed("hold signals back"))?;
    let Reserved { plan, lease, pool } = reserve::reserve(options, &circumstances, &program.path)?;
    report::log(&plan, &choice);
    let ended = if options.platform == Platform::Partition {
        let (cell, lease) = Cell::boot_bare(&plan, program, lease)?;
        cell.serve_bare(lease)?
    } else {
        Cell::boot(&plan, pool, program)?.serve(lease)?
    };
    if options.stats {
        eprint!("{}", report::statistics(&ended.for_report(&plan)));
    }
    ended.verdict.map(Some)
}

/// Where what this cell is to see of the machine is laid out.
fn view_of(lease: &Lease) -> PathBuf {
    lease.own().ledger().view_of(std::process::id())
}

fn failed(what: &'static str) -> impl FnOnce(io::Error) -> Error {
    move |error| Error::System { what, error, advice: limits::advice() }
}

/// How long it may take until it is noticed that a cell can't be served any more.
const LOOK: Duration = Duration::from_millis(50);

/// A cell whose kernel has been started.
struct Cell {
    kernel: Kernel,
    layout: Layout,
    band: PrivateBand,
    /// Standard error as it was: the program may do with its own what it likes.
    stderr: OwnedFd,
    limits: Vec<Inherited>,
    plan: Plan,
    exe: CString,
    exec_fd: RawFd,
    started: Instant,
    machine: Source,
    fill: Arc<fill::Sockets>,
}

/// Where the kernel runs.
enum Kernel {
    /// In a process of its own.
    Child(Child, CellMemory),
    /// On bare cores.
    Bare(Started, Arc<Held>),
}

/// What every platform needs before it boots.
struct Prepared {
    band: PrivateBand,
    stderr: OwnedFd,
    file: OwnedFd,
    exe: CString,
    path: CString,
    args: Vec<CString>,
    env: Vec<CString>,
    limits: Vec<Inherited>,
    fill: Arc<fill::Sockets>,
}

impl Prepared {
    fn new(plan: &Plan, program: Program, on_bare_cores: bool) -> Result<Self, Error> {
        sys::run_on(plan.cores.service.iter()).map_err(failed("move to the service cores"))?;
        let env = environment();
        let limits = limits::lift(on_bare_cores).map_err(|errno| failed("lift limits on memory")(errno.into()))?;
        let band = PrivateBand::establish()?;
        let stderr = io::stderr().as_fd().try_clone_to_owned().map_err(failed("keep standard error"))?;
        let stderr = band.adopt(stderr)?;
        let file = band.adopt(program.file)?;
        let exe = c_string(program.path.into_os_string());
        let path = c_string(program.name.into_os_string());
        let args = program.arguments.into_iter().map(c_string).collect();
        let fill = Arc::new(fill::Sockets::open(&band).map_err(failed("open the sockets at which proxies meet"))?);
        Ok(Prepared { band, stderr, file, exe, path, args, env, limits, fill })
    }

    fn start<'p>(&'p self, plan: &Plan, layout: Layout, cores: &'p [u32]) -> info::Plan<'p> {
        info::Plan {
            layout,
            cores,
            program: self.file.as_fd(),
            args: &self.args,
            env: &self.env,
            path: &self.path,
            private_fds: self.band.range(),
            spin: plan.spin(),
            numa_node: plan.numa_node(),
            name_unsupported: true,
            ignored_signals: inherited::ignored_signals(),
            blocked_signals: inherited::blocked_signals(),
            limits: &self.limits,
        }
    }
}

/// A cell after its end.
struct Ended {
    verdict: Result<Exit, Error>,
    pid: libc::pid_t,
    touched: Option<u64>,
    touched_of_pool: Option<u64>,
    time: std::time::Duration,
    region: Region,
    layout: Layout,
}

impl Ended {
    fn for_report<'e>(&self, plan: &'e Plan) -> report::Ended<'e> {
        let Ended { pid, touched, touched_of_pool, time, region, layout, .. } = *self;
        report::Ended { plan, pid, touched, touched_of_pool, time, region, layout }
    }
}

fn c_string(text: OsString) -> CString {
    // What came to us as arguments, environment or path has no zero byte within.
    CString::new(text.into_vec()).unwrap_or_default()
}

fn environment() -> Vec<CString> {
    let entry = |(mut name, value): (OsString, OsString)| {
        name.push("=");
        name.push(value);
        c_string(name)
    };
    std::env::vars_os().map(entry).collect()
}

impl Cell {
    fn boot(plan: &Plan, pool: Option<PoolMemory>, program: Program) -> Result<Self, Error> {
        let started = Instant::now();
        let prepared = Prepared::new(plan, program, false)?;
        let Prepared { band, args, env, path, .. } = &prepared;
        let layout = info::layout(plan.cores.cell.len() as u32, args, env, path, plan.small + plan.pool)
            .ok_or_else(|| failed("lay out the cell's memory")(io::ErrorKind::InvalidInput.into()))?;
        let memory = CellMemory::take(layout.end, plan.binding, pool, band)?;
        let large_pages = plan.large_pages == LargePages::Given;
        inherited::close_what_was_closed();
        let cores: Vec<u32> = plan.cores.cell.iter().collect();
        let child = platform::start(&prepared.start(plan, layout, &cores), &memory, plan.memory, large_pages)
            .map_err(failed("start the cell"))?;
        if large_pages {
            sys::advise_large_pages(&child.region, layout.frames, layout.frame_bytes())
                .map_err(failed("ask for large pages for the cell's memory"))?;
        }
        let kernel = Kernel::Child(child, memory);
        let machine = Source::Linux(plan.cores.cell.clone());
        Ok(Cell::of(prepared, kernel, layout, plan, started, machine))
    }

    /// The same on bare cores, which the lease names from here on.
    fn boot_bare(plan: &Plan, program: Program, mut lease: Lease) -> Result<(Self, Lease), Error> {
        let started = Instant::now();
        let prepared = Prepared::new(plan, program, true)?;
        let Prepared { band, args, env, path, .. } = &prepared;
        let cores: Vec<u32> = plan.cores.cell.iter().collect();
        let numa = plan.numa_node();
        let wanted = Wanted { cores: &plan.cores.cell, numa, bytes: plan.memory };
        let machine = View::take(Path::new("/"), &plan.cores.cell);
        let machine = Source::Taken(machine.map_err(failed("take down what Linux says of the cores"))?);
        let taken = Bare::take(&wanted, &mut lease, band)?;
        let layout = partition::layout(taken.len(), cores.len() as u32, args, env, path)?;
        inherited::close_what_was_closed();
        let cell = partition::start(&prepared.start(plan, layout, &cores), &taken)?;
        lease.set_reach(cell.reach).map_err(reserve::Error::from)?;
        let user_end = cell.user_end;
        let kernel = Kernel::Bare(cell, Arc::new(Held::new(taken, user_end)));
        Ok((Cell::of(prepared, kernel, layout, plan, started, machine), lease))
    }

    fn of(prepared: Prepared, kernel: Kernel, layout: Layout, plan: &Plan, started: Instant, machine: Source) -> Self {
        let Prepared { band, stderr, file, exe, limits, fill, .. } = prepared;
        // The kernel reads the program from it; it stays open for as long as this process.
        let exec_fd = file.into_raw_fd();
        Cell { kernel, layout, band, stderr, limits, plan: plan.clone(), exe, exec_fd, started, machine, fill }
    }

    fn region(&self) -> Region {
        match &self.kernel {
            Kernel::Child(child, _) => child.region,
            Kernel::Bare(cell, _) => cell.region,
        }
    }

    /// The program's process, as Linux knows it.
    fn pid(&self) -> libc::pid_t {
        match &self.kernel {
            Kernel::Child(child, _) => child.pid,
            Kernel::Bare(..) => std::process::id().cast_signed(),
        }
    }

    /// Serves a cell on bare cores to its end, and gives the cores back.
    fn serve_bare(self, lease: Lease) -> Result<Ended, Error> {
        let Kernel::Bare(_, held) = &self.kernel else { unreachable!("the caller has booted it so") };
        let served = self.begin(view_of(&lease)).map_err(failed("serve the cell"));
        if let Ok((server, _)) = &served {
            // A fault ends the service, and with it the sender.
            while server.ended().recv_timeout(LOOK).is_err() && !server.is_stopped() {}
        }
        let time = self.started.elapsed();
        let fault = served.map(|(server, fault)| {
            server.stop();
            fault.lock().unwrap_or_else(PoisonError::into_inner).take()
        });
        nix::unistd::dup2_stderr(&self.stderr).map_err(|errno| failed("restore standard error")(errno.into()))?;
        let verdict = fault.and_then(|fault| match fault {
            Some(fault) => Err(Error::Served(fault)),
            None => self.verdict(Exit::Code(0)),
        });
        let control = self.final_words();
        drop(held.take());
        drop(lease);
        let (region, layout) = (control, self.layout);
        Ok(Ended { verdict, pid: self.pid(), touched: None, touched_of_pool: None, time, region, layout })
    }

    /// A copy of the control area, which outlives the cell's memory.
    fn final_words(&self) -> Region {
        let len = self.layout.frames as usize;
        let mut bytes = vec![0; len];
        // The layout lies in the region: it was made for it.
        let _ = self.region().read(0, &mut bytes);
        let mut copy = vec![0u64; len / 8 + 512];
        let aligned = copy.as_mut_ptr().cast::<u8>().align_offset(4096);
        let base = copy.leak().as_mut_ptr().cast::<u8>();
        // SAFETY: leaked memory with a page to spare for the alignment, used as nothing else.
        unsafe {
            let base = NonNull::new_unchecked(base.add(aligned));
            base.as_ptr().copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
            Region::new(base, self.layout.frames)
        }
    }

    /// Serves it to its end. Whatever the outcome, nothing of it runs afterwards.
    fn serve(self, lease: Lease) -> Result<Ended, Error> {
        let Kernel::Child(child, memory) = &self.kernel else { unreachable!("the caller has booted it so") };
        let view = view_of(&lease);
        let lease = note_cell(lease, child.pid, memory).map_err(failed("start a thread"))?;
        let served = self.begin(view).map_err(failed("serve the cell"));
        if served.is_err() {
            sys::kill(child.pid);
        }
        let waited = sys::wait_for(child.pid).map_err(failed("wait for the cell"))?;
        let time = self.started.elapsed();
        let fault = served.map(|(server, fault)| {
            server.stop();
            fault.lock().unwrap_or_else(PoisonError::into_inner).take()
        });
        nix::unistd::dup2_stderr(&self.stderr).map_err(|errno| failed("restore standard error")(errno.into()))?;
        // A thread that panicked has dropped the lease already.
        drop(lease.join());
        let verdict = fault.and_then(|fault| match fault {
            Some(fault) => Err(Error::Served(fault)),
            None => self.verdict(waited),
        });
        let (region, layout) = (child.region, self.layout);
        let (touched, touched_of_pool) = (memory.touched().ok(), memory.touched_of_pool().ok());
        Ok(Ended { verdict, pid: child.pid, touched, touched_of_pool, time, region, layout })
    }

    /// Starts all threads that serve it.
    fn begin(&self, view: PathBuf) -> io::Result<(Server, Arc<Mutex<Option<Fault>>>)> {
        let bare = match &self.kernel {
            Kernel::Child(..) => None,
            Kernel::Bare(_, held) => Some(Arc::clone(held)),
        };
        let is_bare = bare.is_some();
        let is_set = |name: &str| std::env::var_os(name).is_some();
        let told = |error: &io::Error| tracing::info!("no other program can have memory of this one filled: {error}");
        let fill = self.fill.meet(self.pid()).inspect_err(told).ok().map(|()| Arc::clone(&self.fill));
        let server = serve::serve(serve::Cell {
            region: self.region(),
            layout: self.layout,
            child: self.pid(),
            private_fds: self.band.range(),
            shares_descriptors: !is_bare,
            exe: self.exe.clone(),
            nofile: (self.band.limits().soft, self.band.limits().hard),
            limits: self.limits.clone(),
            fd_table: self.band.table_size(),
            spin: self.plan.spin(),
            exec_fd: self.exec_fd,
            bare,
            threads: Some(view.join("task")),
            machine: Some(Machine::new(self.machine.clone(), view)),
            unlaunched: launcher::is_absent(is_set).then(Unlaunched::default),
            fill,
            has_whole_job: is_bare && launcher::is_on_one_node(|name| std::env::var(name).ok()),
        })?;
        if is_bare {
            signals::bring(server.signaller(), server.child_watch())?;
        } else {
            signals::forward(self.pid(), server.signaller(), server.child_watch())?;
        }
        let (faults, child) = (server.faults().clone(), self.pid());
        let first = Arc::new(Mutex::new(None));
        let keep = Arc::clone(&first);
        thread::Builder::new().name("faults".into()).spawn(move || {
            // The first tells; what follows from it does not matter.
            if let Ok(fault) = faults.recv() {
                *keep.lock().unwrap_or_else(PoisonError::into_inner) = Some(fault);
                if !is_bare {
                    sys::kill(child);
                }
            }
        })?;
        Ok((server, first))
    }

    fn verdict(&self, waited: Exit) -> Result<Exit, Error> {
        let Some(control) = Layout::control(&self.region()) else {
            return Err(Error::KernelFailed("its memory has no control page".to_owned()));
        };
        let mut buffer = [0; PANIC_BYTES];
        let panic = control.panic_message(&mut buffer);
        verdict(control.state(), control.exit(), panic, waited)
    }
}

/// Signals that a process gets for what it did itself.
const FAULTS: [i32; 7] =
    [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGTRAP, libc::SIGSYS, libc::SIGABRT];

/// How a cell ended, by what its kernel left in the control page and what Linux says of its
/// process. A signal that is no fault came from outside: SIGKILL, or any before the kernel was
/// there to take it.
fn verdict(state: Option<CellState>, exit: Option<Exit>, panic: &[u8], waited: Exit) -> Result<Exit, Error> {
    match (state, exit, waited) {
        (Some(CellState::Failed), ..) => Err(match panic.strip_prefix(HARDWARE_FAILED) {
            Some(what) => Error::HardwareFailed(printable(what)),
            None => Error::KernelFailed(printable(panic)),
        }),
        (Some(CellState::Exited), Some(exit), _) => Ok(exit),
        (.., Exit::Signal(signal)) if !FAULTS.contains(&signal.into()) => Ok(waited),
        (.., Exit::Signal(signal)) => Err(Error::KernelFailed(format!("ended by signal {signal} without a word"))),
        (.., Exit::Code(code)) => Err(Error::KernelFailed(format!("ended with status {code} without a word"))),
    }
}

/// One line of what the other side left.
fn printable(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    text.split(|letter: char| letter.is_control()).filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Notes the cell's process and memory in the ledger, in a thread with a descriptor table of its
/// own: the files that this opens for a moment must not take the numbers that the program expects.
fn note_cell(mut lease: Lease, child: libc::pid_t, memory: &CellMemory) -> io::Result<JoinHandle<Lease>> {
    let memory = format!("/proc/{}/fd/{}", std::process::id(), memory.as_fd().as_raw_fd()).into();
    thread::Builder::new().name("ledger".into()).spawn(move || {
        let noted = sys::leave_descriptors().map_err(|error| error.to_string());
        let noted = noted.and_then(|()| {
            lease.set_child(child.cast_unsigned()).map_err(|error| error.to_string())?;
            lease.set_memory_file(memory).map_err(|error| error.to_string())
        });
        if let Err(error) = noted {
            tracing::debug!("the ledger does not say all of the cell's process {child}: {error}");
        }
        lease
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const KILLED: Exit = Exit::Signal(9);

    #[test]
    fn the_kernel_says_how_the_program_ended() {
        for exit in [Exit::Code(7), Exit::Signal(11)] {
            let verdict = verdict(Some(CellState::Exited), Some(exit), b"", Exit::Code(0));
            assert_eq!(verdict.expect("ended"), exit);
        }
    }

    #[test]
    fn a_cell_can_be_killed() {
        for state in [Some(CellState::Booting), Some(CellState::Running), None] {
            assert_eq!(verdict(state, None, b"", KILLED).expect("ended"), KILLED);
            let terminated = Exit::Signal(15);
            assert_eq!(verdict(state, None, b"", terminated).expect("ended"), terminated);
        }
    }

    #[test]
    fn a_kernel_that_failed_is_quoted_in_one_line() {
        let error = verdict(Some(CellState::Failed), Some(Exit::Code(0)), b"bad\npage \xff\x1b[1m\n", KILLED)
            .expect_err("failed");
        assert_eq!(error.status(), 70);
        let line = error.to_string();
        assert!(line.contains("failed: bad page \u{fffd} [1m;"), "{line}");
    }

    #[test]
    fn hardware_that_failed_is_no_fault_of_the_kernel() {
        let error = verdict(Some(CellState::Failed), None, b"hardware: machine check", KILLED).expect_err("failed");
        assert_eq!(error.status(), 70);
        let line = error.to_string();
        assert!(line.starts_with("machine check: the program was ended") && !line.contains("fault of Tacet"), "{line}");
    }

    #[test]
    fn an_end_without_a_word_is_the_kernels_failure() {
        for (state, exit, waited) in [
            (Some(CellState::Running), None, Exit::Signal(11)),
            (Some(CellState::Booting), None, Exit::Code(125)),
            (Some(CellState::Exited), None, Exit::Code(0)),
            (None, Some(Exit::Code(0)), Exit::Code(0)),
        ] {
            assert_eq!(verdict(state, exit, b"", waited).expect_err("failed").status(), 70);
        }
    }

    #[test]
    fn strings_of_the_environment() {
        assert_eq!(c_string("a b".into()), c"a b".to_owned());
        assert!(environment().iter().all(|entry| entry.as_bytes().contains(&b'=')));
    }
}
