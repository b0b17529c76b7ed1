//! All interleavings of ring, doorbell and control page, as far as loom reaches.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p shm-ipc --release --test loom`
//!
//! Loom runs a model once for each way in which its threads can interleave (up to a number of
//! forced switches, see [`explore`]) and for each value that a load may see. A lost wake-up shows
//! as a deadlock, a torn message as a wrong word or as an unordered access to its slot.
#![cfg(loom)]

use loom::model::Builder;
use loom::sync::atomic::{AtomicU32, Ordering};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;
use shm_ipc::control::{CellState, ControlPage, Exit, PANIC_BYTES};
use shm_ipc::doorbell::{Attention, Doorbell};
use shm_ipc::reasons::{self, Reasons};
use shm_ipc::ring::{Consumer, Message, Producer, PushError, Ring, Words};

/// Runs `model` in all interleavings with at most `switches` forced switches between threads.
fn explore(switches: usize, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(switches);
    builder.max_branches = 10_000;
    builder.check(model);
}

/// A message that shows when words of two messages are mixed, or a word was never written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Numbered(u64);

impl Message for Numbered {
    fn to_words(self) -> Words {
        core::array::from_fn(|i| 100 * self.0 + i as u64)
    }

    fn from_words(words: Words) -> Self {
        let number = Numbered(words[0] / 100);
        assert_eq!(words, number.to_words(), "torn message");
        number
    }
}

fn pop<const N: usize>(consumer: &mut Consumer<'_, N>) -> Option<Numbered> {
    consumer.pop().expect("counters are sound")
}

/// Sends `count` messages through a ring of `N` slots whose counters begin at `start`.
fn stream<const N: usize>(start: u32, count: u64) {
    let ring = Arc::new(Ring::<N>::starting_at(start));
    let producer = thread::spawn({
        let ring = Arc::clone(&ring);
        move || {
            let mut producer = Producer::starting_at(&ring, start);
            for number in 1..=count {
                while let Err(error) = producer.push(Numbered(number)) {
                    assert_eq!(error, PushError::Full);
                    thread::yield_now();
                }
            }
        }
    });
    let mut consumer = Consumer::starting_at(&ring, start);
    for number in 1..=count {
        loop {
            match pop(&mut consumer) {
                Some(message) => break assert_eq!(message, Numbered(number)),
                None => thread::yield_now(),
            }
        }
    }
    assert_eq!(pop(&mut consumer), None);
    producer.join().unwrap();
}

#[test]
fn one_slot_is_filled_and_emptied_in_turn() {
    explore(3, || stream::<1>(0, 3));
}

#[test]
fn two_slots_are_used_over_and_over() {
    explore(3, || stream::<2>(0, 4));
}

#[test]
fn counters_wrap_around() {
    explore(3, || stream::<2>(u32::MAX, 3));
}

#[test]
fn a_look_into_the_ring_promises_the_message() {
    explore(3, || {
        let ring = Arc::new(Ring::<2>::new());
        let producer = thread::spawn({
            let ring = Arc::clone(&ring);
            move || {
                let mut producer = Producer::new(&ring);
                [1, 2, 3].map(|number| producer.push(Numbered(number)))
            }
        });
        let mut consumer = Consumer::new(&ring);
        let mut popped = 0;
        for _ in 0..2 {
            if !consumer.is_empty().expect("counters are sound") {
                popped += 1;
                assert_eq!(pop(&mut consumer), Some(Numbered(popped)));
            }
        }
        let pushed = producer.join().unwrap();
        assert_eq!(pushed[..2], [Ok(()); 2], "there was room");
        // The third found room only if something had been taken.
        assert!(pushed[2] == Ok(()) && popped > 0 || pushed[2] == Err(PushError::Full));
        let rest = core::iter::from_fn(|| pop(&mut consumer)).count() as u64;
        assert_eq!(popped + rest, pushed.iter().filter(|result| result.is_ok()).count() as u64);
    });
}

/// What a platform does to wake, interrupt and put to sleep a core: a futex and a signal.
struct Host {
    interrupted: Mutex<bool>,
    change: Condvar,
}

impl Host {
    fn new() -> Self {
        Host { interrupted: Mutex::new(false), change: Condvar::new() }
    }

    /// What a ringer owes.
    fn deliver(&self, attention: Attention) {
        match attention {
            Attention::Polling => {}
            // FUTEX_WAKE: whoever does not sleep by now is not affected. As in Linux, the waker
            // takes the lock under which a sleeper compares.
            Attention::Asleep => {
                let _bucket = self.interrupted.lock().unwrap();
                self.change.notify_one();
            }
            Attention::Busy => {
                *self.interrupted.lock().unwrap() = true;
                self.change.notify_one();
            }
        }
    }

    /// FUTEX_WAIT, which an interrupt ends.
    fn sleep(&self, bell: &Doorbell) {
        let mut interrupted = self.interrupted.lock().unwrap();
        if bell.is_asleep() && !*interrupted {
            interrupted = self.change.wait(interrupted).unwrap();
        }
        *interrupted = false;
    }

    /// A program that computes until it is interrupted, for good if it is not.
    fn run_program(&self) {
        let mut interrupted = self.interrupted.lock().unwrap();
        while !*interrupted {
            interrupted = self.change.wait(interrupted).unwrap();
        }
        *interrupted = false;
    }

    fn wait(&self, bell: &Doorbell, attention: Attention) {
        match attention {
            Attention::Polling => thread::yield_now(),
            Attention::Asleep => self.sleep(bell),
            Attention::Busy => self.run_program(),
        }
    }
}

/// Takes `count` messages by the waiter's rules: announces the attentions in turn, looks again,
/// waits, goes back to polling.
fn take<const N: usize>(
    consumers: &mut [Consumer<'_, N>],
    count: u64,
    bell: &Doorbell,
    host: &Host,
    attentions: &[Attention],
) {
    let mut attentions = attentions.iter().cycle();
    let mut taken = 0;
    loop {
        for consumer in &mut *consumers {
            taken += core::iter::from_fn(|| pop(consumer)).count() as u64;
        }
        if taken == count {
            return;
        }
        let attention = *attentions.next().unwrap();
        bell.announce(attention);
        if consumers.iter_mut().all(|consumer| consumer.is_empty().expect("counters are sound")) {
            host.wait(bell, attention);
        }
        bell.polling();
    }
}

/// One waiter; for each of `senders`, a thread that sends so many messages and rings after each.
fn ring_and_wait(bell: Doorbell, senders: &[u64], attentions: &[Attention]) {
    let bell = Arc::new(bell);
    let host = Arc::new(Host::new());
    let rings: Vec<_> = senders.iter().map(|_| Arc::new(Ring::<2>::new())).collect();
    let threads: Vec<_> = senders
        .iter()
        .zip(&rings)
        .map(|(&count, ring)| {
            let (ring, bell, host) = (Arc::clone(ring), Arc::clone(&bell), Arc::clone(&host));
            thread::spawn(move || {
                let mut producer = Producer::new(&ring);
                for number in 1..=count {
                    producer.push(Numbered(number)).expect("there is room");
                    host.deliver(bell.ring());
                }
            })
        })
        .collect();
    let mut consumers: Vec<_> = rings.iter().map(|ring| Consumer::new(ring)).collect();
    take(&mut consumers, senders.iter().sum(), &bell, &host, attentions);
    for thread in threads {
        thread.join().unwrap();
    }
}

#[test]
fn a_sleeper_is_woken() {
    explore(6, || ring_and_wait(Doorbell::new(), &[1], &[Attention::Asleep]));
}

#[test]
fn a_program_is_interrupted() {
    explore(6, || ring_and_wait(Doorbell::new(), &[1], &[Attention::Busy]));
}

#[test]
fn a_sleeper_is_woken_again() {
    explore(4, || ring_and_wait(Doorbell::exchanging(), &[2], &[Attention::Asleep]));
}

#[test]
fn a_program_is_interrupted_again() {
    explore(4, || ring_and_wait(Doorbell::exchanging(), &[2], &[Attention::Busy]));
}

#[test]
fn a_late_wake_up_finds_whatever_the_waiter_does_by_then() {
    explore(4, || ring_and_wait(Doorbell::exchanging(), &[2], &[Attention::Asleep, Attention::Busy]));
    explore(4, || ring_and_wait(Doorbell::exchanging(), &[2], &[Attention::Busy, Attention::Asleep]));
}

#[test]
fn two_ringers_wake_one_sleeper() {
    explore(3, || ring_and_wait(Doorbell::exchanging(), &[1, 1], &[Attention::Asleep]));
}

#[test]
fn two_ringers_interrupt_one_program() {
    explore(3, || ring_and_wait(Doorbell::exchanging(), &[1, 1], &[Attention::Busy]));
}

#[test]
fn a_call_goes_there_and_back_while_both_sleep() {
    explore(2, || {
        struct Side {
            ring: Ring<1>,
            bell: Doorbell,
            host: Host,
        }
        let side = || Arc::new(Side { ring: Ring::new(), bell: Doorbell::new(), host: Host::new() });
        let (proxy, core) = (side(), side());
        let server = thread::spawn({
            let (proxy, core) = (Arc::clone(&proxy), Arc::clone(&core));
            move || {
                take(&mut [Consumer::new(&proxy.ring)], 1, &proxy.bell, &proxy.host, &[Attention::Asleep]);
                Producer::new(&core.ring).push(Numbered(2)).expect("there is room");
                core.host.deliver(core.bell.ring());
            }
        });
        Producer::new(&proxy.ring).push(Numbered(1)).expect("there is room");
        proxy.host.deliver(proxy.bell.ring());
        take(&mut [Consumer::new(&core.ring)], 1, &core.bell, &core.host, &[Attention::Asleep]);
        server.join().unwrap();
    });
}

fn look(page: &ControlPage) -> Option<CellState> {
    let state = page.state();
    match state {
        Some(CellState::Running) => {}
        Some(CellState::Exited) => assert_eq!(page.exit(), Some(Exit::Code(7))),
        Some(CellState::Failed) => assert_eq!(page.panic_message(&mut [0; PANIC_BYTES]), b"out of frames"),
        other => panic!("{other:?}"),
    }
    state
}

/// Whoever sees that the cell has ended finds how; the first end stays. (The first of `ends`
/// runs in the main thread and the reader in another: loom starts with the main thread and
/// looks for what else could have come before, which a load of the main thread would hide.)
fn end(ends: &[fn(&ControlPage)]) {
    let page = Arc::new(ControlPage::new());
    assert!(page.advance(CellState::Booting) && page.advance(CellState::Running));
    let reader = thread::spawn({
        let page = Arc::clone(&page);
        move || look(&page)
    });
    let others: Vec<_> = ends[1..]
        .iter()
        .map(|&end| {
            let page = Arc::clone(&page);
            thread::spawn(move || end(&page))
        })
        .collect();
    ends[0](&page);
    let early = reader.join().unwrap();
    for thread in others {
        thread.join().unwrap();
    }
    let last = look(&page);
    assert_ne!(last, Some(CellState::Running));
    assert!(early == Some(CellState::Running) || early == last, "the first end stays");
}

fn exit(page: &ControlPage) {
    page.set_exit(Exit::Code(7));
}

fn panic(page: &ControlPage) {
    page.set_panic(b"out of frames");
}

#[test]
fn an_exit_is_complete_when_the_state_tells_it() {
    explore(4, || end(&[exit]));
}

#[test]
fn a_panic_is_complete_when_the_state_tells_it() {
    explore(4, || end(&[panic]));
}

#[test]
fn of_two_ends_one_stays() {
    explore(4, || end(&[exit, panic]));
    explore(4, || end(&[panic, panic]));
}

/// What a core on bare metal has learned from its non-maskable interrupts: whether each of two
/// senders had done something.
fn interrupted(reasons: &Reasons, done: &[AtomicU32; 2], learned: &mut [u32; 2]) {
    if reasons.take() != 0 {
        for (learned, done) in learned.iter_mut().zip(done) {
            *learned |= done.load(Ordering::Relaxed);
        }
    }
}

/// Two senders with `own` reasons, the core handles interrupts meanwhile and afterwards: it learns
/// of both, and each bit that was noted anew is one interrupt.
fn two_senders(own: [u32; 2]) {
    let shared = Arc::new((Reasons::new(), [AtomicU32::new(0), AtomicU32::new(0)], AtomicU32::new(0)));
    let send = |index: usize| {
        let shared = Arc::clone(&shared);
        move || {
            let (reasons, done, sent) = &*shared;
            done[index].store(1, Ordering::Relaxed);
            if reasons.note(own[index]) {
                sent.fetch_add(1, Ordering::SeqCst);
            }
        }
    };
    let senders = [thread::spawn(send(0)), thread::spawn(send(1))];
    let (reasons, done, sent) = &*shared;
    let mut learned = [0; 2];
    if sent.swap(0, Ordering::SeqCst) > 0 {
        interrupted(reasons, done, &mut learned);
    }
    for sender in senders {
        sender.join().unwrap();
    }
    if sent.load(Ordering::SeqCst) > 0 {
        interrupted(reasons, done, &mut learned);
    }
    assert_eq!(learned, [1, 1], "an interrupt was not sent");
}

#[test]
fn nothing_is_missed_when_interrupts_are_shared() {
    explore(4, || two_senders([reasons::PROXY, reasons::PROXY]));
    explore(4, || two_senders([reasons::PROXY, reasons::CORE]));
}
