//! Sockets: transfers that would block, names, descriptors in messages.

use shm_ipc::block::Segment;

use super::{Kernel, PRIVATE, Part, int};
use crate::serve::host;

fn sockets(kernel: &mut Kernel, kind: i32) -> (i64, i64) {
    let pair = kernel.room(8);
    let parts = [int(libc::AF_UNIX.into()), int(kind.into()), int(0), Part::Memory(vec![pair])];
    assert_eq!(kernel.call(libc::SYS_socketpair, &parts), 0);
    let bytes = kernel.content(pair);
    (i64::from(host::u32_at(&bytes, 0)), i64::from(host::u32_at(&bytes, 4)))
}

fn rights(kernel: &mut Kernel, fd: i32) -> Segment {
    let len = 20u64.to_ne_bytes();
    kernel.bytes(
        &[&len[..], &libc::SOL_SOCKET.to_ne_bytes(), &libc::SCM_RIGHTS.to_ne_bytes(), &fd.to_ne_bytes()].concat(),
    )
}

#[test]
fn a_receive_waits_for_its_send() {
    let mut kernel = Kernel::new();
    let (a, b) = sockets(&mut kernel, libc::SOCK_STREAM);
    let room = kernel.room(8);
    let reading = kernel.submit(0, libc::SYS_read, &[int(a), Part::Memory(vec![room]), int(8)]);
    let text = kernel.memory(b"message!");
    assert_eq!(kernel.call(libc::SYS_write, &[int(b), text, int(8)]), 8);
    assert_eq!(kernel.wait(reading).result, 8);
    assert_eq!(kernel.content(room), b"message!");
    let empty = [int(a), Part::Memory(vec![room]), int(8), int(libc::MSG_DONTWAIT.into()), int(0), int(0)];
    assert_eq!(kernel.call(libc::SYS_recvfrom, &empty), -i64::from(libc::EAGAIN));
    kernel.close(b);
    assert_eq!(kernel.call(libc::SYS_read, &[int(a), Part::Memory(vec![room]), int(8)]), 0);
    kernel.close(a);
}

#[test]
fn a_large_send_goes_on_where_it_stopped() {
    let mut kernel = Kernel::new();
    let (a, b) = sockets(&mut kernel, libc::SOCK_STREAM);
    let total = 2 << 20;
    let payload = kernel.room(total);
    assert!(kernel.region.write(payload.offset + total - 3, b"end"));
    let writing = kernel.submit(0, libc::SYS_write, &[int(a), Part::Memory(vec![payload]), int(total as i64)]);
    let room = kernel.room(1 << 16);
    let (mut got, mut last) = (0, Vec::new());
    while got < total {
        let n = kernel.call(libc::SYS_read, &[int(b), Part::Memory(vec![room]), int(1 << 16)]);
        assert!(n > 0, "{n}");
        got += n as u64;
        last = kernel.content(room)[..n as usize].to_vec();
    }
    assert_eq!(kernel.wait(writing).result, total as i64);
    assert!(last.ends_with(b"end"));
    kernel.close(a);
    kernel.close(b);
}

#[test]
fn descriptors_travel() {
    let mut kernel = Kernel::new();
    let (a, b) = sockets(&mut kernel, libc::SOCK_DGRAM);
    let payload = kernel.bytes(b"fd");
    let control = rights(&mut kernel, a as i32);
    let sending = |control| [int(a), int(0), int(0), int(0), Part::Memory(vec![payload]), Part::Memory(vec![control])];
    // a5 is both a length and, by its span, a buffer: the block is put together by hand.
    let with_len = |kernel: &mut Kernel, nr: i64, parts: &[Part], len: u64| {
        let block = kernel.block(parts);
        assert!(kernel.region.write_words(block + 40, &[len]));
        let token = kernel.submit_block(0, nr as u32, block);
        kernel.wait(token)
    };
    assert_eq!(with_len(&mut kernel, libc::SYS_sendmsg, &sending(control), 20).result, 2);
    let secret = rights(&mut kernel, PRIVATE.start);
    let refused = with_len(&mut kernel, libc::SYS_sendmsg, &sending(secret), 20);
    assert_eq!(refused.result, -i64::from(libc::EBADF));
    let (room, taken) = (kernel.room(8), kernel.room(64));
    let parts = [int(b), int(0), int(0), int(0), Part::Memory(vec![room]), Part::Memory(vec![taken])];
    let received = with_len(&mut kernel, libc::SYS_recvmsg, &parts, 64);
    assert_eq!(received.result, 2);
    assert_eq!(received.extra & 0xffff, 0, "a socket without a name");
    assert_eq!(received.extra >> 16 & 0xff_ffff, 24);
    assert_eq!(received.extra >> 40, 0);
    let fd = i64::from(host::u32_at(&kernel.content(taken), 16));
    for fd in [fd, a, b] {
        kernel.close(fd);
    }
}

#[test]
fn names_come_back_with_their_length() {
    let mut kernel = Kernel::new();
    let socket = |kernel: &mut Kernel| kernel.call(libc::SYS_socket, &[int(2), int(libc::SOCK_DGRAM.into()), int(0)]);
    let (a, b) = (socket(&mut kernel), socket(&mut kernel));
    let any = kernel.memory(&[2, 0, 0, 0, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
    for fd in [a, b] {
        assert_eq!(kernel.call(libc::SYS_bind, &[int(fd), any.clone(), int(16)]), 0);
    }
    let (name, len) = (kernel.room(32), kernel.bytes(&32u32.to_ne_bytes()));
    let parts = [int(b), Part::Memory(vec![name]), Part::Memory(vec![len])];
    assert_eq!(kernel.call(libc::SYS_getsockname, &parts), 0);
    assert_eq!(kernel.content(len), 16u32.to_ne_bytes());
    let to = Segment { offset: name.offset, len: 16 };
    let text = kernel.memory(b"ping");
    let block = kernel.block(&[int(a), text, int(4), int(0), Part::Memory(vec![to]), int(16)]);
    let token = kernel.submit_block(0, libc::SYS_sendto as u32, block);
    assert_eq!(kernel.wait(token).result, 4);
    let (room, from, len) = (kernel.room(8), kernel.room(16), kernel.bytes(&16u32.to_ne_bytes()));
    let parts = [int(b), Part::Memory(vec![room]), int(8), int(0), Part::Memory(vec![from]), Part::Memory(vec![len])];
    assert_eq!(kernel.call(libc::SYS_recvfrom, &parts), 4);
    assert_eq!(kernel.content(len), 16u32.to_ne_bytes());
    assert_eq!(kernel.content(from)[..2], [2, 0]);
    kernel.close(a);
    kernel.close(b);
}
