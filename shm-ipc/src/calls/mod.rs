//! Every system call of x86-64 Linux 6.1: how it is handled and what its arguments are.
//!
//! One row per call, in `table.rs`. The kernel decides by it whether to answer or to forward,
//! and marshals a forwarded call by its [`Shape`]s; the proxy unmarshals by the same row. The
//! compatibility page `docs/calls.md` is printed from it (`cargo run -p shm-ipc --example
//! call-table`). Source of numbers and arguments: `arch/x86/entry/syscalls/syscall_64.tbl` and
//! the manual pages of section 2.

pub mod ioctl;
pub mod prctl;
pub mod private;
mod table;

pub use table::CALLS;

/// Who serves a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handling {
    /// The kernel on the core itself.
    Local,
    /// The proxy, on Linux.
    Forwarded,
    /// Nobody: the call fails with ENOSYS and is named on stderr.
    Unsupported,
}

/// How long a buffer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Len {
    /// So many bytes.
    Fixed(u32),
    /// As the argument with this index says, in bytes. A buffer that ends early in unmapped
    /// memory is cut there, as Linux would stop there.
    Arg(u8),
    /// As the argument with this index says, in units of so many bytes.
    ArgTimes(u8, u32),
    /// As the 32-bit integer says to which the argument with this index points.
    AtArg(u8),
}

/// What an argument is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A number, passed as it is.
    Int,
    /// A file descriptor.
    Fd,
    /// A directory descriptor or `AT_FDCWD`.
    AtFd,
    /// A path, ended by a zero byte; null is passed as null.
    Path,
    /// A buffer that the call reads. Null is passed as null, here and below.
    In(Len),
    /// A buffer that the call fills.
    Out(Len),
    /// A buffer that the call reads and fills.
    InOut(Len),
    /// An array of iovecs whose buffers the call reads; the argument with this index counts them.
    IovIn(u8),
    /// An array of iovecs whose buffers the call fills; the argument with this index counts them.
    IovOut(u8),
    /// The kernel marshals it by hand (see the call's note).
    Special,
}

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    /// Linux's number.
    pub nr: u32,
    /// Linux's name.
    pub name: &'static str,
    /// Who serves it.
    pub handling: Handling,
    /// Its arguments: of forwarded calls, and of those that the kernel answers for the program and Linux
    /// for children and other processes.
    pub args: &'static [Shape],
    /// What a user should know.
    pub note: &'static str,
}

/// The row of call `nr`.
#[must_use]
pub fn lookup(nr: u64) -> Option<&'static Call> {
    // Rows are sorted by number and nearly dense: guess, then search.
    let guess = nr as usize;
    if let Some(call) = CALLS.get(guess)
        && u64::from(call.nr) == nr
    {
        return Some(call);
    }
    let nr = u32::try_from(nr).ok()?;
    CALLS.binary_search_by_key(&nr, |call| call.nr).ok().map(|i| &CALLS[i])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_sorted_and_unique() {
        assert!(CALLS.windows(2).all(|w| w[0].nr < w[1].nr));
    }

    #[test]
    fn every_row_is_found() {
        for call in CALLS {
            assert_eq!(lookup(u64::from(call.nr)).map(|c| c.name), Some(call.name));
        }
        assert!(lookup(400).is_none());
        assert!(lookup(u64::MAX).is_none());
    }

    #[test]
    fn lengths_name_arguments_that_exist() {
        for call in CALLS {
            assert!(call.args.len() <= 6, "{}", call.name);
            for shape in call.args {
                let index = match shape {
                    Shape::In(len) | Shape::Out(len) | Shape::InOut(len) => match len {
                        Len::Fixed(_) => continue,
                        Len::Arg(i) | Len::ArgTimes(i, _) | Len::AtArg(i) => *i,
                    },
                    Shape::IovIn(i) | Shape::IovOut(i) => *i,
                    _ => continue,
                };
                assert!((index as usize) < call.args.len(), "{}", call.name);
            }
        }
    }

    #[test]
    fn what_is_refused_has_no_shapes() {
        for call in CALLS {
            assert!(call.handling != Handling::Unsupported || call.args.is_empty(), "{}", call.name);
        }
    }
}
