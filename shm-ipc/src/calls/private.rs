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
