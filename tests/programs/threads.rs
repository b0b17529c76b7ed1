//! Eight threads, a channel, a mutex and a condition variable of Rust's standard library.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier, Condvar, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

const THREADS: u64 = 8;

fn main() {
    let (sender, receiver) = mpsc::channel::<(u64, u64)>();
    let total = Arc::new(Mutex::new(0u64));
    let hits = Arc::new(AtomicU64::new(0));
    let barrier = Arc::new(Barrier::new(THREADS as usize));
    let workers: Vec<_> = (0..THREADS)
        .map(|id| {
            let (sender, total) = (sender.clone(), Arc::clone(&total));
            let (hits, barrier) = (Arc::clone(&hits), Arc::clone(&barrier));
            thread::Builder::new()
                .name(format!("worker {id}"))
                .spawn(move || {
                    barrier.wait();
                    for value in 0..1000 {
                        *total.lock().unwrap() += value;
                        hits.fetch_add(1, Ordering::Relaxed);
                        if value % 100 == 0 {
                            sender.send((id, value)).unwrap();
                        }
                    }
                    barrier.wait();
                    id * id
                })
                .unwrap()
        })
        .collect();
    drop(sender);
    let mut received = BTreeMap::<u64, Vec<u64>>::new();
    for (id, value) in receiver {
        received.entry(id).or_default().push(value);
    }
    for (id, values) in &received {
        println!("worker {id} sent {values:?}");
    }
    let squares: u64 = workers.into_iter().map(|worker| worker.join().unwrap()).sum();
    println!("total {}, hits {}, squares {squares}", total.lock().unwrap(), hits.load(Ordering::Relaxed));

    let pair = Arc::new((Mutex::new(0), Condvar::new()));
    let other = Arc::clone(&pair);
    let counter = thread::spawn(move || {
        for _ in 0..100 {
            *other.0.lock().unwrap() += 1;
            other.1.notify_one();
        }
    });
    let mut count = pair.0.lock().unwrap();
    while *count < 100 {
        count = pair.1.wait(count).unwrap();
    }
    drop(count);
    counter.join().unwrap();

    let (_keep, silent) = mpsc::channel::<()>();
    let start = Instant::now();
    let timeout = silent.recv_timeout(Duration::from_millis(20));
    println!("{timeout:?} after 20 ms: {}", start.elapsed() >= Duration::from_millis(20));

    // The standard hook prints a thread number, which differs from run to run.
    std::panic::set_hook(Box::new(|info| eprintln!("panicked: {info}")));
    let panicked = thread::spawn(|| {
        if THREADS == 8 {
            panic!("a thread panics");
        }
    })
    .join();
    println!("panic caught by join: {}", panicked.is_err());

    thread::scope(|scope| {
        let handles: Vec<_> = (0..4).map(|i| scope.spawn(move || (0..=i * 1000u64).sum::<u64>())).collect();
        for handle in handles {
            println!("{}", handle.join().unwrap());
        }
    });
    std::process::exit(9);
}
