//! A kernel that writes nonsense is told so, and nothing else happens.

use std::time::Duration;

use shm_ipc::block::Segment;
use shm_ipc::calls::{CALLS, Handling, private};

use super::{Kernel, Part, int};
use crate::serve::Fault;

const EFAULT: i64 = -(libc::EFAULT as i64);

#[test]
fn blocks_outside_the_memory() {
    let mut kernel = Kernel::new();
    let end = kernel.layout.end;
    for at in [end, end - 8, u64::MAX, u64::MAX - 7, 12_345] {
        let token = kernel.submit_block(0, libc::SYS_read as u32, at);
        assert_eq!(kernel.wait(token).result, EFAULT, "{at:#x}");
    }
}

#[test]
fn segments_outside_the_frames() {
    let mut kernel = Kernel::new();
    let (frames, end) = (kernel.layout.frames, kernel.layout.end);
    for segment in [
        Segment { offset: 0, len: 8 },
        Segment { offset: frames - 1, len: 2 },
        Segment { offset: end - 1, len: 2 },
        Segment { offset: end - 1, len: u64::MAX },
    ] {
        assert_eq!(kernel.call(libc::SYS_write, &[int(1), Part::Memory(vec![segment]), int(8)]), EFAULT);
    }
}

#[test]
fn calls_that_are_not_the_proxys() {
    let mut kernel = Kernel::new();
    for row in CALLS.iter().filter(|row| row.handling != Handling::Forwarded) {
        assert_eq!(kernel.call(row.nr.into(), &[]), -i64::from(libc::ENOSYS), "{}", row.name);
    }
    for nr in [400, 1000, 1501, private::READ_EXEC + 1, u32::MAX] {
        assert_eq!(kernel.call(nr.into(), &[]), -i64::from(libc::ENOSYS), "{nr}");
    }
}

#[test]
fn numbers_in_place_of_buffers() {
    let mut kernel = Kernel::new();
    // Calls that would do harm to the test itself, wait, or want a process; and, where root runs it, those
    // that would do harm to the machine: with nothing to be read its name becomes empty.
    let skip = [libc::SYS_pause, libc::SYS_sync, libc::SYS_setsid, libc::SYS_setpgid, libc::SYS_umask];
    let names = [libc::SYS_sethostname, libc::SYS_setdomainname];
    let skip = [&skip[..], &names].concat();
    let address = kernel.region.bytes(0, 0).expect("the start") as u64;
    for row in CALLS.iter().filter(|row| row.handling == Handling::Forwarded && !skip.contains(&row.nr.into())) {
        let mut parts = vec![int(-1); row.args.len()];
        for (part, shape) in parts.iter_mut().zip(row.args) {
            use shm_ipc::calls::Shape;
            *part = match shape {
                Shape::Int => int(16),
                Shape::Fd | Shape::AtFd => int(-1),
                _ => Part::Number(address),
            };
        }
        // Whatever the result: none may use the address, which would be the control page.
        kernel.call(row.nr.into(), &parts);
        assert!(kernel.control.layout().is_some(), "{}", row.name);
    }
}

#[test]
fn a_corrupt_ring_ends_the_service() {
    let mut kernel = Kernel::new();
    let ring = kernel.layout.submissions(&kernel.region, 1).expect("a ring");
    ring.tail.overwrite(1 << 20);
    kernel.submit(0, private::RING_NOP.into(), &[]);
    let fault = kernel.server.faults().recv_timeout(Duration::from_secs(10)).expect("a fault");
    assert!(matches!(fault, Fault::Submissions { core: 1, .. }), "{fault}");
}

#[test]
fn a_corrupt_completion_ring_ends_the_service() {
    let mut kernel = Kernel::new();
    let ring = kernel.layout.completions(&kernel.region, 0).expect("a ring");
    ring.head.overwrite(1 << 20);
    // The counter is looked at again when the ring seems full.
    for _ in 0..128 {
        kernel.submit(0, private::RING_NOP.into(), &[]);
    }
    std::thread::sleep(Duration::from_millis(50));
    for _ in 0..129 {
        kernel.submit(0, private::RING_NOP.into(), &[]);
    }
    let fault = kernel.server.faults().recv_timeout(Duration::from_secs(10)).expect("a fault");
    assert!(matches!(fault, Fault::Completions { core: 0, .. }), "{fault}");
}
