//! The proxy's own descriptors, which the program must not reach.

use super::{Kernel, PRIVATE, Part, int};

const EBADF: i64 = -(libc::EBADF as i64);

#[test]
fn private_ones_are_not_there() {
    let mut kernel = Kernel::new();
    // One that is open in truth, in this process.
    let secret = i64::from(PRIVATE.start);
    let null = kernel.path("/dev/null");
    let fd = kernel.call(libc::SYS_open, &[null, int(0), int(0)]);
    assert_eq!(crate::serve::host::numbers(libc::SYS_dup2, &[fd, secret]), Ok(secret));
    let buffer = kernel.memory(b"x");
    for nr in [libc::SYS_read, libc::SYS_write] {
        assert_eq!(kernel.call(nr, &[int(secret), buffer.clone(), int(1)]), EBADF);
    }
    let path = kernel.path("x");
    assert_eq!(kernel.call(libc::SYS_openat, &[int(secret), path, int(0), int(0)]), EBADF);
    assert_eq!(kernel.call(libc::SYS_close, &[int(secret)]), EBADF);
    assert_eq!(kernel.call(libc::SYS_dup, &[int(secret)]), EBADF);
    assert_eq!(kernel.call(libc::SYS_dup2, &[int(fd), int(secret)]), EBADF);
    assert_eq!(kernel.call(libc::SYS_dup3, &[int(fd), int(secret), int(0)]), EBADF);
    assert_eq!(kernel.call(libc::SYS_fcntl, &[int(secret), int(libc::F_GETFD.into()), int(0)]), EBADF);
    let above = kernel.call(libc::SYS_fcntl, &[int(fd), int(libc::F_DUPFD.into()), int(secret)]);
    assert_eq!(above, -i64::from(libc::EINVAL));
    let all_above = kernel.call(libc::SYS_close_range, &[int(590), int(u32::MAX.into()), int(0)]);
    assert_eq!(all_above, 0);
    assert!(crate::serve::host::numbers(libc::SYS_fcntl, &[secret, libc::F_GETFD.into()]).is_ok(), "still open");
    let list = kernel.bytes(&[&(secret as i32).to_ne_bytes()[..], &[1, 0, 0, 0]].concat());
    assert_eq!(kernel.call(libc::SYS_poll, &[Part::Memory(vec![list]), int(1), int(-1)]), 1);
    assert_eq!(kernel.content(list)[6..], libc::POLLNVAL.to_ne_bytes());
    let event = kernel.memory(&[0; 12]);
    let epoll = kernel.call(libc::SYS_epoll_create1, &[int(0)]);
    assert_eq!(kernel.call(libc::SYS_epoll_ctl, &[int(epoll), int(1), int(secret), event]), EBADF);
    assert_eq!(crate::serve::host::numbers(libc::SYS_close, &[secret]), Ok(0));
    kernel.close(epoll);
    kernel.close(fd);
}

#[test]
fn a_number_may_come_to_mean_another_kind_of_file() {
    let mut kernel = Kernel::new();
    let null = kernel.path("/dev/null");
    let fd = kernel.call(libc::SYS_open, &[null, int(0), int(0)]);
    let room = kernel.room(8);
    assert_eq!(kernel.call(libc::SYS_read, &[int(fd), Part::Memory(vec![room]), int(8)]), 0);
    let (reader, writer) = kernel.pipe();
    assert_eq!(kernel.call(libc::SYS_dup2, &[int(reader), int(fd)]), fd);
    let blocked = kernel.submit(0, libc::SYS_read, &[int(fd), Part::Memory(vec![room]), int(8)]);
    let text = kernel.memory(b"12345678");
    assert_eq!(kernel.call(libc::SYS_write, &[int(writer), text, int(8)]), 8);
    assert_eq!(kernel.wait(blocked).result, 8);
    for fd in [fd, reader, writer] {
        kernel.close(fd);
    }
}
