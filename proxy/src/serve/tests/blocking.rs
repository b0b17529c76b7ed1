//! Calls that block: others go on, and they can be given up.

use std::time::{Duration, Instant};

use shm_ipc::calls::private;

use super::{Kernel, Part, int};

const EINTR: i64 = -(libc::EINTR as i64);

fn nop(kernel: &mut Kernel) {
    assert_eq!(kernel.call(private::RING_NOP.into(), &[]), 0);
}

#[test]
fn a_blocked_read_holds_up_nobody() {
    let mut kernel = Kernel::new();
    let (reader, writer) = kernel.pipe();
    let room = kernel.room(16);
    let blocked: Vec<u64> =
        (0..20).map(|_| kernel.submit(0, libc::SYS_read, &[int(reader), Part::Memory(vec![room]), int(16)])).collect();
    for _ in 0..100 {
        nop(&mut kernel);
    }
    assert!(blocked.iter().all(|token| kernel.try_answer(*token).is_none()));
    let text = kernel.memory(&[7; 16]);
    for _ in &blocked {
        assert_eq!(kernel.call(libc::SYS_write, &[int(writer), text.clone(), int(16)]), 16);
    }
    for token in blocked {
        assert_eq!(kernel.wait(token).result, 16);
    }
    assert_eq!(kernel.content(room), [7; 16]);
    kernel.close(reader);
    kernel.close(writer);
}

#[test]
fn cancelled_reads_all_return() {
    let mut kernel = Kernel::new();
    let (reader, writer) = kernel.pipe();
    let room = kernel.room(1);
    let read = kernel.block(&[int(reader), Part::Memory(vec![room]), int(1)]);
    let victim = kernel.room(8 * 17);
    for round in 0..2000u64 {
        let token = kernel.submit_block(0, libc::SYS_read as u32, read);
        // Before, while and after the worker gets to its system call.
        let start = Instant::now();
        while start.elapsed() < Duration::from_nanos(round % 50 * 1000) {
            std::hint::spin_loop();
        }
        // The token changes from round to round, the rest of the block stays empty.
        assert!(kernel.region.write_words(victim.offset, &[token]));
        let cancel = kernel.submit_block(1, private::CANCEL, victim.offset);
        assert_eq!(kernel.wait(token).result, EINTR, "round {round}");
        assert_eq!(kernel.wait(cancel).result, 0, "round {round}");
    }
    kernel.close(reader);
    kernel.close(writer);
}

#[test]
fn a_cancellation_that_overtakes_its_call() {
    let mut kernel = Kernel::new();
    let (reader, writer) = kernel.pipe();
    let room = kernel.room(1);
    for _ in 0..50 {
        let (read, next) = (kernel.block(&[int(reader), Part::Memory(vec![room]), int(1)]), kernel.tokens + 2);
        let cancel = kernel.block(&[Part::Number(next)]);
        // Nobody is woken in between: both are in the rings when the leader looks, in either order.
        let (cancel, read) = {
            kernel.tokens += 2;
            let (first, second) = (kernel.tokens - 1, kernel.tokens);
            let push = |kernel: &mut Kernel, core: usize, token, nr, block| {
                kernel.submissions[core].push(shm_ipc::ring::Submission { token, nr, block, child: 0 }).expect("room");
            };
            push(&mut kernel, 1, second, libc::SYS_read as u32, read);
            push(&mut kernel, 0, first, private::CANCEL, cancel);
            (first, second)
        };
        nop(&mut kernel);
        assert_eq!(kernel.wait(read).result, EINTR);
        assert_eq!(kernel.wait(cancel).result, 0);
    }
    kernel.close(reader);
    kernel.close(writer);
}

#[test]
fn a_cancellation_of_nothing() {
    let mut kernel = Kernel::new();
    let esrch = -i64::from(libc::ESRCH);
    assert_eq!(kernel.call(private::CANCEL.into(), &[int(0x1234_5678)]), esrch);
    let cancels: Vec<u64> = (0..50).map(|_| kernel.submit(1, private::CANCEL.into(), &[int(99_999)])).collect();
    for token in cancels {
        assert_eq!(kernel.wait(token).result, esrch);
    }
}

#[test]
fn opening_a_fifo_waits_for_its_other_end() {
    let mut kernel = Kernel::new();
    let name = format!("{}/tacet-serve-{}-fifo", std::env::temp_dir().display(), std::process::id());
    let path = kernel.path(&name);
    assert_eq!(kernel.call(libc::SYS_mknod, &[path.clone(), int((libc::S_IFIFO | 0o600).into()), int(0)]), 0);
    let reader = kernel.submit(0, libc::SYS_open, &[path.clone(), int(libc::O_RDONLY.into()), int(0)]);
    nop(&mut kernel);
    assert!(kernel.try_answer(reader).is_none());
    let writer = kernel.call(libc::SYS_open, &[path.clone(), int(libc::O_WRONLY.into()), int(0)]);
    let reader = kernel.wait(reader).result;
    assert!(reader >= 0 && writer >= 0);
    kernel.close(reader);
    kernel.close(writer);
    assert_eq!(kernel.call(libc::SYS_unlink, &[path]), 0);
}

#[test]
fn poll_and_select_wait() {
    let mut kernel = Kernel::new();
    let (reader, writer) = kernel.pipe();
    let entry = [&(reader as i32).to_ne_bytes()[..], &[1, 0, 0, 0]].concat();
    let list = kernel.bytes(&entry);
    assert_eq!(kernel.call(libc::SYS_poll, &[Part::Memory(vec![list]), int(1), int(0)]), 0);
    assert_eq!(kernel.call(libc::SYS_poll, &[Part::Memory(vec![list]), int(1), int(20)]), 0);
    let poll = kernel.submit(0, libc::SYS_poll, &[Part::Memory(vec![list]), int(1), int(-1)]);
    let mut set = vec![0u8; 64];
    set[reader as usize / 8] |= 1 << (reader % 8);
    let set = kernel.bytes(&set);
    let select = [int(512), Part::Memory(vec![set]), int(0), int(0), int(0)];
    let select = kernel.submit(1, libc::SYS_select, &select);
    nop(&mut kernel);
    assert!(kernel.try_answer(poll).is_none() && kernel.try_answer(select).is_none());
    let text = kernel.memory(b"x");
    assert_eq!(kernel.call(libc::SYS_write, &[int(writer), text, int(1)]), 1);
    assert_eq!(kernel.wait(poll).result, 1);
    assert_eq!(kernel.wait(select).result, 1);
    assert_eq!(kernel.content(list)[6..], [1, 0]);
    kernel.close(reader);
    kernel.close(writer);
}
