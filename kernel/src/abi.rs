//! Linux's numbers, as the program knows them.

use core::fmt;

pub use linux_raw_sys::errno;
pub use linux_raw_sys::general as linux;

/// An error number of Linux (`errno(3)`), positive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Errno(pub u16);

macro_rules! errnos {
    ($($name:ident)*) => {
        impl Errno {
            $(
                #[doc = concat!("`", stringify!($name), "` of errno(3).")]
                pub const $name: Errno = Errno(errno::$name as u16);
            )*

            /// Its name, if the kernel itself uses it.
            #[must_use]
            pub fn name(self) -> Option<&'static str> {
                const NAMES: &[(Errno, &str)] = &[$((Errno::$name, stringify!($name))),*];
                NAMES.iter().find(|(errno, _)| *errno == self).map(|(_, name)| *name)
            }
        }
    };
}

errnos! {
    E2BIG EACCES EAGAIN EBADF EBUSY ECHILD EEXIST EFAULT EFBIG EINTR EINVAL EIO EISDIR ELOOP
    EMFILE ENAMETOOLONG ENFILE ENODEV ENOENT ENOEXEC ENOMEM ENOSPC ENOSYS ENOTDIR ENOTTY ENXIO
    EOPNOTSUPP EOVERFLOW EPERM EPIPE ERANGE EROFS ESPIPE ESRCH ETIMEDOUT EWOULDBLOCK
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "errno {}", self.0),
        }
    }
}

/// What a system call gives: a value, or an error number.
pub type SysResult = Result<u64, Errno>;

/// The value for `rax`.
#[must_use]
pub fn to_raw(result: SysResult) -> i64 {
    match result {
        Ok(value) => value as i64,
        Err(errno) => -i64::from(errno.0),
    }
}

/// From the value in `rax`: -4095..=-1 are errors.
///
/// # Errors
/// The error number that the value stands for.
pub fn from_raw(raw: i64) -> SysResult {
    if (-4095..0).contains(&raw) { Err(Errno((-raw) as u16)) } else { Ok(raw as u64) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn errors_are_named() {
        assert_eq!(Errno::ENOMEM.to_string(), "ENOMEM");
        assert_eq!(Errno(250).to_string(), "errno 250");
        assert_eq!(from_raw(-14), Err(Errno::EFAULT));
        assert_eq!(to_raw(from_raw(-4096)), -4096);
    }
}
