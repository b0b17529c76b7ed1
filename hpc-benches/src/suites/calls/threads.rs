//! Threads: starting one, and handing the core from one to another.

use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use super::timing::{Plan, time};
use super::{Bench, Samples};
use crate::machine::calls::{futex_wait, futex_wake};
use crate::machine::host;

/// Starts a thread that does nothing, and waits for its end.
pub(super) fn thread_create(bench: &Bench) -> Samples {
    let plan = Plan { warm_up: 100, ..Plan::SINGLE };
    time(&bench.clock, plan, || {
        thread::Builder::new().spawn(|| ())?.join().map_err(|_| io::Error::other("a thread without work panicked"))
    })
}

const OURS: u32 = 0;
const THEIRS: u32 = 1;
const OVER: u32 = 2;

/// Two threads on one core wake each other by futex(2), in turn: a sample is there and back.
pub(super) fn futex_handover(bench: &Bench) -> Samples {
    on_one_core(|| {
        let turn = AtomicU32::new(OURS);
        thread::scope(|scope| {
            let other = thread::Builder::new().spawn_scoped(scope, || answer_by_futex(&turn))?;
            let samples = time(&bench.clock, Plan::SINGLE, || {
                hand_over(&turn, THEIRS);
                wait_while(&turn, THEIRS);
                Ok(())
            });
            hand_over(&turn, OVER);
            other.join().map_err(|_| io::Error::other("the other thread panicked"))?;
            samples
        })
    })
}

fn answer_by_futex(turn: &AtomicU32) {
    loop {
        wait_while(turn, OURS);
        if turn.load(Ordering::Acquire) == OVER {
            return;
        }
        hand_over(turn, OURS);
    }
}

fn wait_while(turn: &AtomicU32, value: u32) {
    while turn.load(Ordering::Acquire) == value {
        futex_wait(turn, value);
    }
}

fn hand_over(turn: &AtomicU32, value: u32) {
    turn.store(value, Ordering::Release);
    futex_wake(turn);
}

/// Two threads on one core hand a byte to each other through two pipes: a sample is there and back.
pub(super) fn pipe_handover(bench: &Bench) -> Samples {
    on_one_core(|| {
        let (mut theirs, mut to_them) = io::pipe()?;
        let (mut ours, mut to_us) = io::pipe()?;
        let answer = move || -> io::Result<()> {
            let mut byte = [0];
            while theirs.read(&mut byte)? == 1 {
                to_us.write_all(&byte)?;
            }
            Ok(())
        };
        let other = thread::Builder::new().spawn(answer)?;
        let mut byte = [1];
        let samples = time(&bench.clock, Plan::SINGLE, || {
            to_them.write_all(&byte)?;
            ours.read_exact(&mut byte)
        });
        // The other thread reads the end of the pipe.
        drop(to_them);
        other.join().map_err(|_| io::Error::other("the other thread panicked"))??;
        samples
    })
}

/// Takes `measure` on a thread that is kept on this core, as are those that it starts.
fn on_one_core(measure: impl FnOnce() -> Samples + Send) -> Samples {
    let core = host::current_core().ok_or_else(|| io::Error::other("the kernel does not tell which core this is"))?;
    let pinned = move || {
        host::pin_this_thread(core)?;
        measure()
    };
    thread::scope(|scope| {
        let ended = thread::Builder::new().spawn_scoped(scope, pinned)?.join();
        ended.unwrap_or_else(|_| Err(io::Error::other("a thread of the measure panicked")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// There and back are at least two switches, each by calls.
    #[test]
    fn handovers_take_time() {
        let bench = Bench::for_tests();
        for measure in [futex_handover, pipe_handover] {
            let samples = measure(&bench).unwrap();
            assert!(!samples.is_empty() && samples.iter().all(|&sample| sample > 20.0));
        }
    }
}
