//! Room for the proxy's own descriptors beside the program's.
//!
//! Proxy and cell share one descriptor table, so that the program's descriptors are real ones of
//! Linux under the program's own numbers. The proxy's own must therefore stay out of the way:
//! they live in a *private band* of numbers at the top of what Linux lets this process use.
//! Numbers in the band are refused to the program, and its own limit, which is lower as a rule,
//! is kept by `serve`.
//!
//! ```text
//! 0 .. band            the program's
//! band .. band + 64    the proxy's; the limit of this process is where they end
//! ```

use std::io;
use std::ops::Range;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use crate::sys::{self, FileLimit};

/// Numbers in the band.
const BAND: u64 = 64;

/// Where the band ends at most. A table of descriptors reaches up to the highest number, eight
/// bytes each: at the limits of a million and more that containers set, it would cost
/// milliseconds, or be refused.
const HIGHEST: u64 = 65_536;

/// Fewest descriptors that are left to the program.
const FEWEST: u64 = 64;

/// No numbers, or no more, for the proxy's own descriptors.
#[derive(Debug, thiserror::Error)]
pub enum NoRoom {
    /// The limits leave none.
    #[error("no room for Tacet's own descriptors: the limit is {hard} open files; raise it to {} with `ulimit -n`", FEWEST + BAND)]
    Limit {
        /// The hard limit.
        hard: u64,
    },
    /// The band is full.
    #[error("no room for one more of Tacet's own descriptors: all {BAND} are in use; please report this")]
    Full,
    /// Linux refuses.
    #[error("cannot place Tacet's own descriptors: {0}; see `ulimit -n` and /proc/sys/fs/nr_open")]
    System(#[from] io::Error),
}

/// The proxy's own numbers.
#[derive(Debug)]
pub struct PrivateBand {
    first: u64,
    program: FileLimit,
    table_size: i32,
}

/// Where the band starts: at the end of what may be used; beyond the program's soft limit if
/// that takes raising the hard one and we may; at the expense of the program's last ones if not.
fn place(limit: FileLimit, may_raise: impl FnOnce(u64) -> bool) -> Option<u64> {
    let FileLimit { soft, hard } = limit;
    let end = hard.min(HIGHEST);
    let beyond_soft = soft.saturating_add(BAND);
    if beyond_soft > end && beyond_soft <= HIGHEST && may_raise(beyond_soft) {
        return Some(soft);
    }
    end.checked_sub(BAND).filter(|first| *first >= FEWEST)
}

impl PrivateBand {
    /// Finds room for the band by this process's limits, and sets them so that Linux gives out
    /// numbers up to its end. To be called once, before anything is placed.
    pub fn establish() -> Result<Self, NoRoom> {
        let program = sys::file_limit()?;
        let table_size = sys::descriptor_table_size()?;
        let raise_hard = |hard| sys::set_file_limit(FileLimit { hard, ..program }).is_ok();
        let first = place(program, raise_hard).ok_or(NoRoom::Limit { hard: program.hard })?;
        sys::set_file_limit(FileLimit { soft: first + BAND, ..sys::file_limit()? })?;
        Ok(PrivateBand { first, program, table_size })
    }

    /// The numbers.
    pub fn range(&self) -> Range<RawFd> {
        self.first as RawFd..(self.first + BAND) as RawFd
    }

    /// The limits that the program is to see: those that this process was started with.
    pub fn limits(&self) -> FileLimit {
        self.program
    }

    /// Descriptors that the table of this process had room for before the band was made.
    pub fn table_size(&self) -> i32 {
        self.table_size
    }

    /// Moves a descriptor into the band, close-on-exec.
    pub fn adopt(&self, fd: OwnedFd) -> Result<OwnedFd, NoRoom> {
        let copy = sys::duplicate_from(&fd, self.range().start).map_err(|error| match error.raw_os_error() {
            Some(libc::EMFILE) => NoRoom::Full,
            _ => NoRoom::System(error),
        })?;
        if self.range().contains(&copy.as_raw_fd()) { Ok(copy) } else { Err(NoRoom::Full) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    fn placed(soft: u64, hard: u64, may_raise: bool) -> Option<u64> {
        place(FileLimit { soft, hard }, |_| may_raise)
    }

    #[test]
    fn the_band_is_at_the_end_of_what_may_be_used() {
        assert_eq!(placed(1024, 4096, false), Some(4032));
        assert_eq!(placed(1024, 1088, false), Some(1024));
        assert_eq!(placed(1024, 1 << 20, true), Some(65_472));
    }

    #[test]
    fn without_room_beyond_the_soft_limit_it_is_made_or_taken() {
        assert_eq!(placed(20_000, 20_000, true), Some(20_000));
        assert_eq!(placed(20_000, 20_000, false), Some(19_936));
        assert_eq!(placed(1024, 1087, true), Some(1024));
        assert_eq!(placed(128, 128, false), Some(64));
        assert_eq!(placed(127, 127, false), None);
        assert_eq!(placed(0, 0, false), None);
    }

    #[test]
    fn huge_limits_do_not_make_a_huge_table() {
        assert_eq!(placed(1 << 30, 1 << 30, true), Some(65_472));
        assert_eq!(placed(u64::MAX, u64::MAX, true), Some(65_472));
    }

    /// One test for all that changes the limits of the test process.
    #[test]
    fn descriptors_move_into_the_band_until_it_is_full() {
        let before = sys::file_limit().expect("getrlimit");
        let band = PrivateBand::establish().expect("room");
        assert_eq!(band.limits(), before);
        let open = || OwnedFd::from(File::open("/dev/null").expect("there"));
        let placed: Vec<_> = (0..BAND).map(|_| band.adopt(open()).expect("room")).collect();
        assert!(band.range().eq(placed.iter().map(AsRawFd::as_raw_fd)));
        assert!(placed.iter().all(|fd| sys::is_close_on_exec(fd).expect("fcntl")));
        assert!(matches!(band.adopt(open()), Err(NoRoom::Full)));
        drop(placed);
        sys::set_file_limit(FileLimit { soft: before.soft, ..sys::file_limit().expect("getrlimit") }).expect("lowered");
    }
}
