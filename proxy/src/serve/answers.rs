//! Results on their way back: completion rings and the bells of the cores.
//!
//! Any worker answers, so the writing end of each core's ring is behind a lock; it is held for
//! one push. How the core learns of the answer depends on what it announced (`doorbell`).

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use shm_ipc::control::CoreBlock;
use shm_ipc::doorbell::Attention;
use shm_ipc::reasons;
use shm_ipc::ring::{Completion, Incoming, Producer, PushError};

use super::{Cell, Fault, Service, host};

/// The signal by which the kernel of a cell on `process` is interrupted: the lowest real-time
/// signal, which glibc keeps from programs.
const INTERRUPT_SIGNAL: i64 = 32;

/// How long to leave a core alone whose ring is full.
const FULL_PAUSE: Duration = Duration::from_micros(50);

/// The proxy's ends of the completion rings.
#[derive(Debug)]
pub struct Answers {
    cores: Vec<Core>,
    child: i64,
}

#[derive(Debug)]
struct Core {
    producer: Mutex<Producer<'static>>,
    block: &'static CoreBlock,
}

impl Answers {
    /// Takes the writing ends of all rings; `None` when the layout does not fit the region.
    pub fn new(cell: &Cell) -> Option<Self> {
        let core = |core| {
            let ring = cell.layout.completions(&cell.region, core)?;
            let block = cell.layout.core_block(&cell.region, core)?;
            Some(Core { producer: Mutex::new(Producer::new(ring)), block })
        };
        let cores = (0..cell.layout.cores).map(core).collect::<Option<_>>()?;
        Some(Answers { cores, child: i64::from(cell.child) })
    }

    /// Passes an answer to the core whose ring the call came from.
    pub fn give(&self, service: &Service, index: u32, completion: Completion) {
        self.bring(service, index, Incoming::Answer(completion));
    }

    /// Passes a message to a core.
    pub fn bring(&self, service: &Service, index: u32, message: Incoming) {
        let Some(core) = self.cores.get(index as usize) else { return };
        loop {
            let pushed = core.producer.lock().unwrap_or_else(PoisonError::into_inner).push(message);
            self.alert(service, index, core);
            match pushed {
                Ok(()) => return,
                Err(PushError::Full) if service.is_stopped() => return,
                // The core has to take some of its 256 answers first, which the bell asks for.
                Err(PushError::Full) => std::thread::sleep(FULL_PAUSE),
                Err(PushError::Corrupt(what)) => return service.fail(Fault::Completions { core: index, what }),
            }
        }
    }

    fn alert(&self, service: &Service, index: u32, core: &Core) {
        let attention = core.block.bell.ring();
        if let Some(held) = &service.cell.bare {
            let is_needed = attention == Attention::Busy || attention == Attention::Asleep && held.wakes();
            if is_needed
                && core.block.reasons.note(reasons::PROXY)
                && let Err(error) = held.interrupt(index)
            {
                core.block.reasons.take_back(reasons::PROXY);
                tracing::warn!("core {index} of the cell can't be interrupted: {error}");
            }
            return;
        }
        match attention {
            Attention::Polling => {}
            Attention::Asleep => host::wake(core.block.bell.futex()),
            Attention::Busy => {
                let tid = core.block.host_tid.load(std::sync::atomic::Ordering::Relaxed);
                // An alleged thread that is none of the cell's gives ESRCH: the core is then not
                // interrupted, which harms the cell alone.
                let _ = host::numbers(libc::SYS_tgkill, &[self.child, i64::from(tid), INTERRUPT_SIGNAL]);
            }
        }
    }
}
