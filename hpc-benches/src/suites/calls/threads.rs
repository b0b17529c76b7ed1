//! Threads: starting one, and handing the core from one to another.

use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use super::timing::{Plan, time};
use super::{Bench, Samples};
use crate::machine::calls::{futex_wait, futex_wake};

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
    static TURN: AtomicU32 = AtomicU32::new(OURS);
    let wait_while = |turn: u32| {
        while TURN.load(Ordering::Acquire) == turn {
            futex_wait(&TURN, turn);
        }
    };
    TURN.store(OURS, Ordering::Release);
    let other = thread::Builder::new().spawn(move || {
        loop {
            wait_while(OURS);
            if TURN.load(Ordering::Acquire) == OVER {
                return;
            }
            TURN.store(OURS, Ordering::Release);
            futex_wake(&TURN);
        }
    })?;
    let samples = time(&bench.clock, Plan::SINGLE, || {
        TURN.store(THEIRS, Ordering::Release);
        futex_wake(&TURN);
        wait_while(THEIRS);
        Ok(())
    });
    TURN.store(OVER, Ordering::Release);
    futex_wake(&TURN);
    other.join().map_err(|_| io::Error::other("the other thread panicked"))?;
    samples
}
