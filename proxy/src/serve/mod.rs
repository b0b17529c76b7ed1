//! Serving a cell: calls come out of the submission rings, are made as ordinary system calls of
//! this process, and their results go back.
//!
//! ```text
//! pool        leader and followers: who looks at the rings, who is away in a call
//! answers     results into the completion rings, and the bells of the cores
//! cancel      calls that can be given up; host: all other access to Linux
//! call        one call: what handlers work on
//! arguments   a block's arguments as Linux takes them, by the call table
//! dispatch    which handler a call has
//! files, paths, procfs, machine, open_mpi, descriptors, limits, sockets, messages, events, requests,
//! processes, programs, children
//!             the calls for which the table alone does not say enough
//! ```
//!
//! Proxy and cell's child share the table of descriptors, the working directory and the umask
//! (`CLONE_FILES | CLONE_FS`), so a call that the proxy makes has the effect that the program
//! wants, under the same numbers. The exceptions are what the handlers are about: the proxy's
//! own descriptors, names that mean "myself", limits, and process groups.
//!
//! A call is executed by the thread that took it from the ring, from the first look at its
//! arguments to the answer. If it turns out that it may block, that thread first hands the rings
//! to another one (`pool`).

mod answers;
mod arguments;
pub mod bare;
mod call;
mod cancel;
mod children;
mod copies;
mod descriptors;
mod dispatch;
mod events;
mod files;
pub mod fill;
mod foreign;
mod host;
mod limits;
mod listing;
pub mod machine;
mod messages;
pub mod open_mpi;
mod paths;
mod peers;
mod pool;
mod processes;
mod procfs;
mod programs;
mod requests;
mod sockets;
#[cfg(test)]
mod tests;
mod ucx;

use std::ffi::CString;
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};
use shm_ipc::control::{CellState, ControlPage};
use shm_ipc::layout::Layout;
use shm_ipc::region::Region;
use shm_ipc::ring::{Corrupt, Incoming, SIGINFO_BYTES};

use crate::limits::Inherited;
use answers::Answers;
use bare::Held;
use cancel::Registry;
use children::Children;
use copies::Copies;
use descriptors::Descriptors;
use foreign::Mappings;
use limits::Kept;
use machine::Machine;
use open_mpi::Unlaunched;
use peers::Peers;
use pool::Pool;
use programs::{Executed, Programs};

/// What is to be served.
#[derive(Debug)]
pub struct Cell {
    /// The cell's memory as the proxy maps it.
    pub region: Region,
    /// Where things lie in it.
    pub layout: Layout,
    /// The process that kernel and program run in.
    pub child: libc::pid_t,
    /// The proxy's own descriptors, which the program must not reach.
    pub private_fds: Range<i32>,
    /// Whether the cell's own process has the program's descriptors too.
    pub shares_descriptors: bool,
    /// Absolute path of the program.
    pub exe: CString,
    /// RLIMIT_NOFILE as the program should see it: soft, hard.
    pub nofile: (u64, u64),
    /// Limits that the program is started with and Linux does not keep to.
    pub limits: Vec<Inherited>,
    /// Descriptors that the table has room for which the program starts with.
    pub fd_table: i32,
    /// How long to poll the rings before sleeping; zero where proxy and cell share cores.
    pub spin: Duration,
    /// The program's file, one of the proxy's own descriptors.
    pub exec_fd: i32,
    /// The bare cores that the cell is on, if it is.
    pub bare: Option<Arc<Held>>,
    /// What the program is to see of the machine; `None`: what Linux shows.
    pub machine: Option<Machine>,
    /// Where the program is shown its threads as a directory, below the place of the machine's view.
    pub threads: Option<PathBuf>,
    /// What nobody has launched as a rank of Open MPI.
    pub unlaunched: Option<Unlaunched>,
    /// Whether it is on bare cores and all ranks of its job are on this node.
    pub has_whole_job: bool,
    /// Where other proxies ask for memory of the program's to be filled, and are asked.
    pub fill: Option<Arc<fill::Sockets>>,
}

/// Why a cell can't be served any more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The kernel overwrote the counter of a submission ring.
    #[error("the cell's memory is corrupt: submission ring of core {core}: {what}")]
    Submissions {
        /// Index of the core in the cell.
        core: u32,
        /// What the ring says.
        what: Corrupt,
    },
    /// The kernel overwrote the counter of a completion ring.
    #[error("the cell's memory is corrupt: completion ring of core {core}: {what}")]
    Completions {
        /// Index of the core in the cell.
        core: u32,
        /// What the ring says.
        what: Corrupt,
    },
    /// A worker thread panicked: a bug of the proxy.
    #[error("a worker of the proxy died in system call {nr}; please report this")]
    Worker {
        /// The call that it was executing.
        nr: u32,
    },
}

/// What all workers share.
#[derive(Debug)]
pub(crate) struct Service {
    cell: Cell,
    control: &'static ControlPage,
    answers: Answers,
    registry: Registry,
    descriptors: Descriptors,
    mappings: Mappings,
    copies: Copies,
    peers: Peers,
    programs: Programs,
    limits: Kept,
    children: Children,
    pool: Pool,
    /// Whether this process stands in for a child of the program.
    stands_in: bool,
    stopped: AtomicBool,
    faults: Sender<Fault>,
    ended: Sender<()>,
}

impl Service {
    /// On bare cores nobody else learns that the program has ended.
    fn look_for_end(&self) {
        if matches!(self.control.state(), Some(CellState::Exited | CellState::Failed) | None) {
            // The receiver may be gone, or know already.
            let _ = self.ended.try_send(());
        }
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    /// For a process that stands in for a child of the program: it takes nothing from rings. `None` when
    /// the layout does not fit the region.
    fn apart(cell: Cell, programs: Programs, limits: Kept) -> Option<Self> {
        let (faults, _) = crossbeam_channel::bounded(1);
        let (ended, _) = crossbeam_channel::bounded(1);
        Some(Service {
            control: Layout::control(&cell.region)?,
            answers: Answers::new(&cell)?,
            registry: Registry::default(),
            descriptors: Descriptors::new(&cell),
            mappings: Mappings::default(),
            copies: Copies::default(),
            peers: Peers::default(),
            programs,
            limits,
            children: Children::default(),
            pool: Pool::default(),
            stands_in: true,
            stopped: AtomicBool::new(false),
            faults,
            ended,
            cell,
        })
    }

    /// No further call is taken from the rings.
    fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        // The leader may be about to sleep: change the word that it sleeps on, then wake it.
        self.control.proxy_bell.polling();
        host::wake(self.control.proxy_bell.futex());
        self.pool.dismiss();
    }

    /// Tells whoever runs the cell that it can't go on.
    fn fail(&self, fault: Fault) {
        // Nobody listening any more means that the cell is over anyway.
        let _ = self.faults.send(fault);
        self.stop();
    }
}

/// A cell being served.
#[derive(Debug)]
pub struct Server {
    service: Arc<Service>,
    faults: Receiver<Fault>,
    ended: Receiver<()>,
}

impl Server {
    /// Where it is said that the cell can't be served any more, once for each reason.
    #[must_use]
    pub fn faults(&self) -> &Receiver<Fault> {
        &self.faults
    }

    /// Where it is said that the program has ended: for cells that Linux knows no process of.
    #[must_use]
    pub fn ended(&self) -> &Receiver<()> {
        &self.ended
    }

    /// Whether no call is taken any more.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.service.is_stopped()
    }

    /// Brings a signal to the program: the first bytes of its `siginfo_t`. For cells that Linux
    /// knows no process of.
    pub fn signaller(&self) -> impl Fn([u64; SIGINFO_BYTES / 8]) + Send + 'static {
        let service = Arc::clone(&self.service);
        move |info| service.answers.bring(&service, 0, Incoming::Signal(info))
    }

    /// To be told of each SIGCHLD and whom it is about: whether that is a child of the program.
    pub fn child_watch(&self) -> impl Fn(libc::pid_t) -> bool + Send + 'static {
        let service = Arc::clone(&self.service);
        move |pid| service.children.changed(pid)
    }

    /// No call is begun any more. Calls that block stay where they are, in threads that do not
    /// keep the process from exiting.
    pub fn stop(&self) {
        self.service.stop();
    }
}

/// Serves `cell` from now on.
///
/// # Errors
/// When the layout is not one of this region, or a signal handler or a thread is refused.
pub fn serve(cell: Cell) -> io::Result<Server> {
    let impossible = || io::Error::new(io::ErrorKind::InvalidInput, "the layout does not fit the cell's memory");
    cancel::install()?;
    let (sender, faults) = crossbeam_channel::unbounded();
    let (end, ended) = crossbeam_channel::bounded(1);
    let control = Layout::control(&cell.region).ok_or_else(impossible)?;
    let baton = pool::Baton::new(&cell).ok_or_else(impossible)?;
    let service = Arc::new(Service {
        control,
        answers: Answers::new(&cell).ok_or_else(impossible)?,
        registry: Registry::default(),
        descriptors: Descriptors::new(&cell),
        mappings: Mappings::default(),
        copies: Copies::default(),
        peers: Peers::default(),
        programs: Programs::new(Executed { exe: cell.exe.clone(), fd: cell.exec_fd }),
        limits: Kept::of(&cell.limits),
        children: Children::default(),
        pool: Pool::default(),
        stands_in: false,
        stopped: AtomicBool::new(false),
        faults: sender,
        ended: end,
        cell,
    });
    // One to lead, one to take over without having to be created first.
    pool::hire(&service)?;
    pool::hire(&service)?;
    service.pool.put(baton);
    if let Some(sockets) = service.cell.fill.clone() {
        fill::serve(&service, sockets)?;
    }
    Ok(Server { service, faults, ended })
}
