//! Files, paths, buffers in pieces, limits.

use super::{Kernel, Part, int};
use crate::serve::host;

fn scratch(name: &str) -> String {
    format!("{}/tacet-serve-{}-{name}", std::env::temp_dir().display(), std::process::id())
}

fn open(kernel: &mut Kernel, path: &str, flags: i32) -> i64 {
    let path = kernel.path(path);
    kernel.call(libc::SYS_openat, &[int(libc::AT_FDCWD.into()), path, int(flags.into()), int(0o600)])
}

#[test]
fn writes_and_reads_a_file_in_pieces() {
    let mut kernel = Kernel::new();
    let path = scratch("pieces");
    let fd = open(&mut kernel, &path, libc::O_RDWR | libc::O_CREAT | libc::O_TRUNC);
    assert!(fd >= 0, "{fd}");
    let pieces = vec![kernel.bytes(b"one "), kernel.bytes(b"two "), kernel.bytes(b"three")];
    assert_eq!(kernel.call(libc::SYS_write, &[int(fd), Part::Memory(pieces), int(13)]), 13);
    let more = kernel.bytes(b"!!");
    assert_eq!(kernel.call(libc::SYS_writev, &[int(fd), Part::Memory(vec![more]), int(7)]), 2);
    assert_eq!(kernel.call(libc::SYS_lseek, &[int(fd), int(4), int(0)]), 4);
    let whole = kernel.room(3);
    assert_eq!(
        kernel.call(libc::SYS_read, &[int(fd), Part::Memory(vec![whole]), int(100)]),
        3,
        "never beyond the piece"
    );
    assert_eq!(kernel.content(whole), b"two");
    let (first, second) = (kernel.room(5), kernel.room(40));
    let parts = [int(fd), Part::Memory(vec![first, second]), int(45), int(8)];
    assert_eq!(kernel.call(libc::SYS_pread64, &parts), 7);
    assert_eq!(kernel.content(first), b"three");
    assert_eq!(&kernel.content(second)[..4], b"!!\0\0");
    kernel.close(fd);
    let path = kernel.path(&path);
    assert_eq!(kernel.call(libc::SYS_unlink, &[path]), 0);
}

#[test]
fn a_structure_in_pieces_goes_through_a_copy() {
    let mut kernel = Kernel::new();
    let path = kernel.path("/dev/null");
    let pieces = vec![kernel.room(20), kernel.room(100), kernel.room(24)];
    let whole = kernel.room(144);
    assert_eq!(kernel.call(libc::SYS_stat, &[path.clone(), Part::Memory(pieces.clone())]), 0);
    assert_eq!(kernel.call(libc::SYS_stat, &[path.clone(), Part::Memory(vec![whole])]), 0);
    let joined: Vec<u8> = pieces[..2].iter().flat_map(|piece| kernel.content(*piece)).collect();
    assert_eq!(joined, kernel.content(whole)[..120]);
    let short = kernel.room(143);
    assert_eq!(kernel.call(libc::SYS_stat, &[path, Part::Memory(vec![short])]), -i64::from(libc::EFAULT));
}

#[test]
fn null_and_empty_buffers() {
    let mut kernel = Kernel::new();
    let zero = open(&mut kernel, "/dev/zero", libc::O_RDONLY);
    assert_eq!(kernel.call(libc::SYS_read, &[int(zero), int(0), int(5)]), -i64::from(libc::EFAULT));
    assert_eq!(kernel.call(libc::SYS_read, &[int(zero), int(0x1234), int(0)]), 0);
    assert!(kernel.call(libc::SYS_getgroups, &[int(0), int(0x1234)]) >= 0);
    assert_eq!(kernel.call(libc::SYS_stat, &[int(0), int(0)]), -i64::from(libc::EFAULT));
    kernel.close(zero);
}

#[test]
fn self_is_the_program() {
    let mut kernel = Kernel::new();
    let path = kernel.path("/proc/self/exe");
    let room = kernel.room(64);
    let parts = [int(libc::AT_FDCWD.into()), path.clone(), Part::Memory(vec![room]), int(64)];
    assert_eq!(kernel.call(libc::SYS_readlinkat, &parts), 12);
    assert_eq!(&kernel.content(room)[..12], b"/usr/bin/env");
    let cut = kernel.room(4);
    assert_eq!(kernel.call(libc::SYS_readlink, &[path, Part::Memory(vec![cut]), int(4)]), 4);
    let own = open(&mut kernel, "/proc/self/exe", libc::O_RDONLY);
    let direct = open(&mut kernel, "/usr/bin/env", libc::O_RDONLY);
    let (a, b) = (kernel.room(144), kernel.room(144));
    assert_eq!(kernel.call(libc::SYS_fstat, &[int(own), Part::Memory(vec![a])]), 0);
    assert_eq!(kernel.call(libc::SYS_fstat, &[int(direct), Part::Memory(vec![b])]), 0);
    assert_eq!(kernel.content(a)[..16], kernel.content(b)[..16], "the same device and inode");
    kernel.close(own);
    kernel.close(direct);
    let private = kernel.path("/proc/self/fd/601");
    let room = kernel.room(64);
    let result = kernel.call(libc::SYS_readlink, &[private, Part::Memory(vec![room]), int(64)]);
    assert_eq!(result, -i64::from(libc::ENOENT));
}

#[test]
fn a_symbolic_link_keeps_its_text() {
    let mut kernel = Kernel::new();
    let name = scratch("link");
    let (text, link) = (kernel.path("/proc/self/maps"), kernel.path(&name));
    assert_eq!(kernel.call(libc::SYS_symlink, &[text, link.clone()]), 0);
    let target = std::fs::read_link(&name).expect("a link");
    assert_eq!(target.to_str(), Some("/proc/self/maps"));
    assert_eq!(kernel.call(libc::SYS_unlink, &[link]), 0);
}

fn limit(kernel: &mut Kernel, new: Option<(u64, u64)>) -> (i64, u64, u64) {
    let old = kernel.room(16);
    let new = match new {
        Some((soft, hard)) => kernel.memory(&[soft.to_ne_bytes(), hard.to_ne_bytes()].concat()),
        None => int(0),
    };
    let resource = int(libc::RLIMIT_NOFILE.into());
    let result = kernel.call(libc::SYS_prlimit64, &[int(0), resource, new, Part::Memory(vec![old])]);
    let bytes = kernel.content(old);
    (result, host::u64_at(&bytes, 0), host::u64_at(&bytes, 8))
}

#[test]
fn the_limit_of_descriptors_is_the_programs_own() {
    let mut kernel = Kernel::new();
    assert_eq!(limit(&mut kernel, None), (0, 512, 550));
    assert_eq!(limit(&mut kernel, Some((600, 550))).0, -i64::from(libc::EINVAL));
    assert_eq!(limit(&mut kernel, Some((550, 700))).0, -i64::from(libc::EPERM), "beyond the proxy's own");
    assert_eq!(limit(&mut kernel, Some((3, 540))), (0, 512, 550));
    assert_eq!(limit(&mut kernel, None), (0, 3, 540));
    assert_eq!(open(&mut kernel, "/dev/null", libc::O_RDONLY), -i64::from(libc::EMFILE));
    assert_eq!(kernel.call(libc::SYS_dup2, &[int(1), int(4)]), -i64::from(libc::EBADF));
    let other = kernel.room(16);
    let core = int(libc::RLIMIT_STACK.into());
    assert_eq!(kernel.call(libc::SYS_getrlimit, &[core, Part::Memory(vec![other])]), 0);
    assert_ne!(kernel.content(other), [0; 16]);
}

#[test]
fn no_children() {
    let mut kernel = Kernel::new();
    assert_eq!(kernel.call(libc::SYS_wait4, &[int(-1), int(0), int(0), int(0)]), -i64::from(libc::ECHILD));
    let own = kernel.call(libc::SYS_getpgid, &[int(0)]);
    assert_eq!(own, kernel.call(libc::SYS_getpgrp, &[]));
}

#[test]
fn limits_other_than_descriptors_are_the_childs() {
    let mut kernel = Kernel::new();
    let none = -i64::from(libc::EINVAL);
    let room = kernel.room(16);
    assert_eq!(kernel.call(libc::SYS_prlimit64, &[int(0), int(99), int(0), Part::Memory(vec![room])]), none);
    assert_eq!(kernel.call(libc::SYS_setrlimit, &[int(0), int(0)]), -i64::from(libc::EFAULT));
}

#[test]
fn ioctls_know_their_sizes() {
    let mut kernel = Kernel::new();
    let (reader, writer) = kernel.pipe();
    let text = kernel.memory(b"12345");
    assert_eq!(kernel.call(libc::SYS_write, &[int(writer), text, int(5)]), 5);
    let room = kernel.room(4);
    assert_eq!(kernel.call(libc::SYS_ioctl, &[int(reader), int(0x541b), Part::Memory(vec![room])]), 0);
    assert_eq!(kernel.content(room), 5i32.to_ne_bytes());
    let short = kernel.room(2);
    let result = kernel.call(libc::SYS_ioctl, &[int(reader), int(0x541b), Part::Memory(vec![short])]);
    assert_eq!(result, -i64::from(libc::EFAULT));
    let socket = kernel.call(libc::SYS_socket, &[int(2), int(libc::SOCK_DGRAM.into()), int(0)]);
    let (header, list) = (kernel.bytes(&[200, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]), kernel.room(200));
    let parts =
        [int(socket), int(0x8912), Part::Memory(vec![header]), int(0), int(0), int(0), Part::Memory(vec![list])];
    assert_eq!(kernel.call(libc::SYS_ioctl, &parts), 0);
    let header = kernel.content(header);
    assert!(host::u32_at(&header, 0).is_multiple_of(40), "whole entries");
    assert_eq!(host::u64_at(&header, 8), 1, "the address is the program's");
    for fd in [reader, writer, socket] {
        kernel.close(fd);
    }
}

#[test]
fn file_locks() {
    let mut kernel = Kernel::new();
    let path = scratch("lock");
    let fd = open(&mut kernel, &path, libc::O_RDWR | libc::O_CREAT);
    let lock = kernel
        .memory(&[1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(kernel.call(libc::SYS_fcntl, &[int(fd), int(libc::F_SETLKW.into()), lock]), 0);
    let wrong = kernel.call(libc::SYS_fcntl, &[int(fd), int(libc::F_SETLK.into()), int(0x1234)]);
    assert_eq!(wrong, -i64::from(libc::EFAULT));
    let other = open(&mut kernel, &path, libc::O_RDWR);
    assert_eq!(kernel.call(libc::SYS_flock, &[int(fd), int(libc::LOCK_EX.into())]), 0);
    let waiting = kernel.submit(0, libc::SYS_flock, &[int(other), int(libc::LOCK_EX.into())]);
    assert_eq!(kernel.call(libc::SYS_getpgrp, &[]), kernel.call(libc::SYS_getpgid, &[int(0)]));
    assert!(kernel.try_answer(waiting).is_none());
    kernel.close(fd);
    assert_eq!(kernel.wait(waiting).result, 0);
    kernel.close(other);
    let path = kernel.path(&path);
    assert_eq!(kernel.call(libc::SYS_unlink, &[path]), 0);
}

#[test]
fn memory_of_another_process() {
    let mut kernel = Kernel::new();
    let (local, remote) = (kernel.room(8), kernel.memory(&[0, 16, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0]));
    let parts = |pid: i64, remote: &Part, count: i64| {
        [int(pid), Part::Memory(vec![local]), int(1), remote.clone(), int(count), int(0)]
    };
    let own = i64::from(host::own_pid());
    assert_eq!(kernel.call(libc::SYS_process_vm_readv, &parts(own, &remote, 1)), -i64::from(libc::EPERM));
    assert_eq!(kernel.call(libc::SYS_process_vm_readv, &parts(1 << 30, &remote, 1)), -i64::from(libc::ESRCH));
    assert_eq!(kernel.call(libc::SYS_process_vm_readv, &parts(1, &remote, 2)), -i64::from(libc::EFAULT));
}
