//! Calls of Tacet's own, outside Linux's range of numbers.

/// From the program: a forwarded call that does nothing. Returns 0.
pub const RING_NOP: u32 = 1500;
/// From the program, answered by the kernel: a0 round trips through the rings, returns
/// nanoseconds in all.
pub const RING_PROBE: u32 = 1501;

/// First number that the program cannot reach: the kernel's own requests.
pub const KERNEL_ONLY: u32 = 0x1_0000;
/// A line for stderr. a0: the text (in), a1: its length.
pub const NOTICE: u32 = KERNEL_ONLY;
/// Give up the call with token a0: its system call, if it still blocks, returns EINTR.
pub const CANCEL: u32 = KERNEL_ONLY + 1;
/// The program was stopped (SIGTSTP and the like, a0): stop the proxy with it.
pub const STOP: u32 = KERNEL_ONLY + 2;
/// Send signal a1 to process a0 (as in kill(2)), with siginfo a2 (in, 128 bytes) if there is
/// one, or to its thread a3 if that is not 0.
pub const SIGNAL: u32 = KERNEL_ONLY + 3;
/// pread64 of the program's own file, which the proxy has open: a0 its descriptor, a1 buffer
/// (out), a2 length, a3 offset.
pub const READ_EXEC: u32 = KERNEL_ONLY + 4;
/// Reads a file for a private mapping: a0 its descriptor (the program's file may be meant), a1
/// buffer (out), a2 length, a3 offset. Errors as mmap(2) where the file can't be mapped.
pub const READ_MAPPED: u32 = KERNEL_ONLY + 5;
/// Maps a file (a0 descriptor, a1 offset) or, with a4 = 1, a SysV segment (a0 its number) at the
/// program's address a2, a3 bytes, in the proxy, and pins it. a5: 1 when it is not to be
/// written. `extra` of the answer: bytes that are there, from the start (a file may be shorter).
pub const FOREIGN_MAP: u32 = KERNEL_ONLY + 6;
/// Physical addresses of the pages at a0, in what `FOREIGN_MAP` mapped: a1 buffer (out), a word
/// a page, 0 where there is none; a2 how many pages.
pub const FOREIGN_PAGES: u32 = KERNEL_ONLY + 7;
/// Unmaps and unpins what `FOREIGN_MAP` mapped, in the range a0, a1 bytes. The program's cores
/// can't reach it any more.
pub const FOREIGN_UNMAP: u32 = KERNEL_ONLY + 8;
/// msync(2) of such a mapping: a0 address, a1 bytes, a2 flags.
pub const FOREIGN_SYNC: u32 = KERNEL_ONLY + 9;
/// Futex in such a mapping. a0: address. a1 = 0: wake up to a2 sleepers, gives how many. a1 = 1:
/// sleep while the word is a2, at most until a3 (nanoseconds of CLOCK_MONOTONIC). a4: bits of which one has to
/// be the same in waker and sleeper (FUTEX_WAIT_BITSET).
pub const FOREIGN_FUTEX: u32 = KERNEL_ONLY + 10;
/// Nanoseconds of the proxy's clock a0, one that the cell can't read itself.
pub const HOST_CLOCK: u32 = KERNEL_ONLY + 11;
/// Moves what `FOREIGN_MAP` mapped as mremap(2): a0 from, a1 old length, a2 to, a3 new length.
/// Its pages stay the same; `extra` as for `FOREIGN_MAP`.
pub const FOREIGN_MOVE: u32 = KERNEL_ONLY + 12;
/// Keeps the file behind a private mapping whose content was read: a0 its descriptor (as for
/// `READ_MAPPED`), a1 offset, a2 bytes, a3 the mapping's number. Errors as mmap(2).
pub const KEEP_FILE: u32 = KERNEL_ONLY + 13;
/// Reads again what the file has by now: a0 the mapping's number, a1 buffer (out), a2 length, a3
/// offset in the file, not before the mapping's. Gives how many bytes there are, in whole pages.
pub const READ_KEPT: u32 = KERNEL_ONLY + 14;
/// Nothing of the mapping with number a0 is left.
pub const DROP_FILE: u32 = KERNEL_ONLY + 15;
/// Starts the process of Linux that a child of the program will be, see vfork(2): a copy of the
/// proxy, which makes the calls whose [`Submission::child`](crate::ring::Submission) it is until it
/// executes something or ends. Gives its number.
pub const VFORK: u32 = KERNEL_ONLY + 16;
/// From such a child: execveat(2). a0 directory, a1 path (in), a2 flags, a3 arguments and a4
/// environment (in): strings, each ended by a zero byte; a5: two words, the signals that are ignored
/// and those that are blocked (in). No answer but [`CHILD_GONE`] when it succeeds.
pub const EXECUTE: u32 = KERNEL_ONLY + 17;
/// Such a child ends: with status a0, or by signal a0 if a1 is 1.
pub const END_CHILD: u32 = KERNEL_ONLY + 18;
/// Finds what execveat(2) of the program itself is to load: a0 directory, a1 path (in), a2 flags, a3
/// the arguments (in), a4 room for what they become where scripts are concerned (out), a5 its bytes.
/// Gives the proxy's descriptor of the file; `extra`: how many arguments there are, above 32 bits
/// with the bytes that they take.
pub const FIND_PROGRAM: u32 = KERNEL_ONLY + 19;
/// The program found last runs from here on: its file is the program's, and descriptors that are to
/// be closed by that are closed.
pub const BECOME: u32 = KERNEL_ONLY + 20;

/// What the program's children that have been waited for have used: a0 `struct rusage` (out).
pub const CHILDREN_USAGE: u32 = KERNEL_ONLY + 21;

/// Children that end are not to be waited for from here on (a0 = 1), or are again (a0 = 0), see wait(2),
/// "Notes": those that have ended before stay what they were.
pub const CHILDREN_VANISH: u32 = KERNEL_ONLY + 22;

/// A file in `/proc` that the program was given in place of Linux's, a0 its descriptor, is about to be read again from its
/// beginning: argument [`OWN_PROC`] has what the kernel has to say of it now. `ENOENT` where the descriptor is no such file.
pub const RENEW: u32 = KERNEL_ONLY + 23;

/// In the second result of wait4(2) and waitid(2): the child may be waited for although others may not.
pub const CHILD_KEPT: u64 = 2;

/// Added to the number of a call of Linux's: some of its pointers lead nowhere. Those come without a
/// buffer and are not null; Linux gets such pointers too, so that it is Linux which says what is wrong
/// with a call that is wrong in several ways.
pub const BAD_POINTERS: u32 = 1 << 30;

/// The error number by which the proxy answers a call for a child that is not there any more: it has
/// executed something, or ended.
pub const CHILD_GONE: u16 = 4000;

/// Which argument of a transfer tells how many bytes of the payload follow its segments and lead nowhere:
/// Linux finds them when it gets there.
pub const MISSING: usize = 7;

/// Which argument of open(2), openat(2) and openat2(2) the kernel's answer comes with when the
/// path may name a file of the program's own in `/proc`, see `kernel/src/syscall/procfs.rs`.
pub const OWN_PROC: usize = 6;
