//! Descriptors: which are the proxy's own, what kind of file the others are, and how many the
//! program may have.
//!
//! The kind of a file decides how a call on it is made (whether it can block, and how to find
//! out). It is asked for once per descriptor and forgotten when the number may come to mean
//! another file. Only the leader asks and only the leader closes, so nothing is filed late.

use std::ops::Range;
use std::sync::atomic::{AtomicI32, AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError};

use shm_ipc::files::{Files, PLACES};

use super::Cell;
use super::host::{self, Arg, Errno, FileType, Outcome};

/// What kind of file a descriptor is, as far as blocking goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A file on some file system, a block device, or a memory device such as /dev/null: reads and
    /// writes take their time but do not wait for anybody.
    Regular = 1,
    /// A directory.
    Directory = 2,
    /// A socket: has calls of its own that do not block.
    Socket = 3,
    /// Terminals, event descriptors and whatever else may block.
    Other = 4,
    /// A pipe, with a name or without.
    Pipe = 5,
}

const UNKNOWN: u8 = 0;
const CACHED: usize = 1 << 16;

/// Device numbers (`include/uapi/linux/major.h`): memory devices, and the one of them that waits.
const MEMORY_MAJOR: u32 = 1;
const KMSG_MINOR: u32 = 11;

/// `NR_OPEN` of the kernel's default: the highest limit that setrlimit takes.
const MOST: u64 = 1 << 20;

impl Kind {
    fn of(file: FileType) -> Self {
        match file.mode & libc::S_IFMT {
            libc::S_IFREG | libc::S_IFBLK | libc::S_IFLNK => Kind::Regular,
            libc::S_IFDIR => Kind::Directory,
            libc::S_IFSOCK => Kind::Socket,
            libc::S_IFIFO => Kind::Pipe,
            libc::S_IFCHR if libc::major(file.device) == MEMORY_MAJOR && libc::minor(file.device) != KMSG_MINOR => {
                Kind::Regular
            }
            _ => Kind::Other,
        }
    }

    fn from_byte(byte: u8) -> Option<Self> {
        [Kind::Regular, Kind::Directory, Kind::Socket, Kind::Other, Kind::Pipe]
            .into_iter()
            .find(|kind| *kind as u8 == byte)
    }
}

/// The table of descriptors that proxy and program share, as the proxy sees it.
#[derive(Debug)]
pub struct Descriptors {
    private: Range<i32>,
    kinds: Box<[AtomicU8]>,
    limit: Mutex<(u64, u64)>,
    table: AtomicI32,
    /// Where the cell is told which it may use itself.
    shared: Option<&'static Files>,
}

impl Descriptors {
    /// With the limit that the program starts with.
    pub fn new(cell: &Cell) -> Self {
        let kinds = (0..CACHED).map(|_| AtomicU8::new(UNKNOWN)).collect();
        Descriptors {
            private: cell.private_fds.clone(),
            kinds,
            limit: Mutex::new(cell.nofile),
            table: AtomicI32::new(cell.fd_table),
            shared: if cell.shares_descriptors { Files::of(&cell.region) } else { None },
        }
    }

    /// Descriptors that the program's table would have room for on Linux: what the table had at
    /// the start, grown to a power of two when a higher number was given out (`expand_files` in
    /// fs/file.c). The real table is larger, because of the proxy's own.
    pub fn table_size(&self) -> i32 {
        self.table.load(Ordering::Relaxed)
    }

    /// Whether the program must not see this descriptor.
    pub fn is_private(&self, fd: i32) -> bool {
        self.private.contains(&fd)
    }

    /// The proxy's own descriptors.
    pub fn private(&self) -> Range<i32> {
        self.private.clone()
    }

    /// Moves a descriptor among the proxy's own, close-on-exec.
    pub fn hide(&self, low: i32) -> Result<i32, Errno> {
        let first = i64::from(self.private.start);
        let high = host::numbers(libc::SYS_fcntl, &[low.into(), libc::F_DUPFD_CLOEXEC.into(), first]);
        let _ = host::numbers(libc::SYS_close, &[low.into()]);
        let high = high? as i32;
        if self.is_private(high) {
            return Ok(high);
        }
        let _ = host::numbers(libc::SYS_close, &[high.into()]);
        Err(Errno(libc::EMFILE))
    }

    /// The descriptor that an argument names.
    pub fn check(&self, word: u64) -> Result<i32, Errno> {
        let fd = word as u32 as i32;
        if self.is_private(fd) { Err(Errno(libc::EBADF)) } else { Ok(fd) }
    }

    /// What kind of file `fd` is.
    pub fn kind(&self, fd: i32) -> Result<Kind, Errno> {
        let slot = usize::try_from(fd).ok().and_then(|fd| self.kinds.get(fd));
        if let Some(kind) = slot.and_then(|slot| Kind::from_byte(slot.load(Ordering::Relaxed))) {
            return Ok(kind);
        }
        let mut args = [Arg::null(); 6];
        args[0] = Arg::number(fd as u64);
        let file = host::file_type(libc::SYS_fstat, args, 1)?;
        let kind = Kind::of(file);
        if let Some(slot) = slot {
            slot.store(kind as u8, Ordering::Relaxed);
        }
        if let Some(shared) = self.shared
            && may_be_used_by_cell(fd, file)
        {
            shared.put_in(fd);
        }
        Ok(kind)
    }

    /// `fd` may mean another file from now on.
    pub fn forget(&self, fd: i32) {
        if let Some(shared) = self.shared {
            shared.take_out(fd);
        }
        if let Some(slot) = usize::try_from(fd).ok().and_then(|fd| self.kinds.get(fd)) {
            slot.store(UNKNOWN, Ordering::Relaxed);
        }
    }

    /// As [`Descriptors::forget`], for `first..=last`.
    pub fn forget_range(&self, first: u32, last: u32) {
        if let Some(shared) = self.shared {
            (first..=last.min(PLACES as u32)).for_each(|fd| shared.take_out(fd as i32));
        }
        for slot in self.kinds.iter().take(last as usize + 1).skip(first as usize) {
            slot.store(UNKNOWN, Ordering::Relaxed);
        }
    }

    /// Takes a new descriptor into account: one that the program's limit forbids is closed again.
    pub fn admit(&self, fd: i64) -> Outcome {
        let number = fd as i32;
        self.forget(number);
        if fd as u64 >= self.limit().0 || self.is_private(number) {
            let _ = host::numbers(libc::SYS_close, &[fd]);
            return Err(Errno(libc::EMFILE));
        }
        self.table.fetch_max((fd as u32 + 1).next_power_of_two() as i32, Ordering::Relaxed);
        Ok(fd)
    }

    /// RLIMIT_NOFILE as the program sees it: soft, hard.
    pub fn limit(&self) -> (u64, u64) {
        *self.limit.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets RLIMIT_NOFILE as Linux would for a process that may raise its hard limit or not
    /// (`do_prlimit` in kernel/sys.c). No limit goes beyond the proxy's own descriptors.
    pub fn set_limit(&self, soft: u64, hard: u64, may_raise: bool) -> Result<(), Errno> {
        if soft > hard {
            return Err(Errno(libc::EINVAL));
        }
        let mut limit = self.limit.lock().unwrap_or_else(PoisonError::into_inner);
        let reachable = MOST.min(u64::try_from(self.private.start).unwrap_or(0));
        if hard > limit.1 && (!may_raise || hard > reachable) {
            return Err(Errno(libc::EPERM));
        }
        *limit = (soft, hard);
        Ok(())
    }
}

/// File systems whose files are no stored data, where what reading and writing does may depend on who does
/// it; and those that another process serves, for which a core would have to wait
/// (`include/uapi/linux/magic.h`, fs/fuse/inode.c).
const NOT_FOR_CELLS: [i64; 16] = [
    0x9fa0,      // proc
    0x6265_6572, // sysfs
    0x27_e0eb,   // cgroup
    0x6367_7270, // cgroup2
    0x6462_6720, // debugfs
    0x7472_6163, // tracefs
    0x7363_6673, // securityfs
    0x6265_6570, // configfs
    0xf97c_ff8c, // selinuxfs
    0xde5e_81e4, // efivarfs
    0xcafe_4a11, // bpf
    0x4249_4e4d, // binfmt_misc
    0x4341_5d53, // smackfs
    0x6573_5543, // fusectl
    0x0765_5821, // resctrl
    0x6573_5546, // fuse
];

/// Memory devices without any state: null, zero, full, urandom.
const PLAIN_MINORS: [u32; 4] = [3, 5, 7, 9];

/// Whether it is all the same which process reads and writes the file, and nobody is waited for meanwhile.
fn may_be_used_by_cell(fd: i32, file: FileType) -> bool {
    match file.mode & libc::S_IFMT {
        libc::S_IFREG => host::file_system(fd).is_ok_and(|kind| !NOT_FOR_CELLS.contains(&kind)),
        libc::S_IFCHR => libc::major(file.device) == MEMORY_MAJOR && PLAIN_MINORS.contains(&libc::minor(file.device)),
        _ => false,
    }
}
