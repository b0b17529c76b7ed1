//! Linux as the workers use it: system calls with arguments whose memory is known to be good.
//!
//! Everything that the proxy asks of Linux on behalf of the program goes through [`call`]. Its
//! arguments are [`Arg`]s: numbers, or pointers that could only be made from memory of the
//! proxy's own (borrowed for as long as the argument lives) or from a checked range of the
//! cell's memory. What remains with the caller is to put each where the call expects it, and to
//! state no length beyond what stands behind a pointer; `arguments` does so by the call table.
//!
//! Together with `cancel` this is the only place of `serve` with unsafe code.

use std::arch::asm;
use std::ffi::{CStr, CString};
use std::fmt;
use std::marker::PhantomData;
use std::sync::atomic::AtomicU32;

use shm_ipc::region::Region;

/// An error number of Linux.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Errno(pub i32);

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", std::io::Error::from_raw_os_error(self.0))
    }
}

/// What a system call gives.
pub type Outcome = Result<i64, Errno>;

/// The outcome that a raw return value means.
pub fn outcome(raw: i64) -> Outcome {
    if (-4095..0).contains(&raw) { Err(Errno(-raw as i32)) } else { Ok(raw) }
}

/// An argument of a system call.
#[derive(Debug, Clone, Copy)]
pub struct Arg<'m> {
    word: u64,
    memory: PhantomData<&'m ()>,
}

impl<'m> Arg<'m> {
    fn pointer(at: *const u8) -> Self {
        Arg { word: at as u64, memory: PhantomData }
    }

    /// A number.
    pub fn number(word: u64) -> Self {
        Arg { word, memory: PhantomData }
    }

    /// A null pointer.
    pub fn null() -> Self {
        Arg::number(0)
    }

    /// A pointer that is not null but to nothing: for buffers of no length, and for what the program
    /// took for a `pointer`. Linux answers any use of it with EFAULT; one beyond the addresses of
    /// programs it sees before it does anything, and so gets as it is.
    pub fn nowhere(pointer: u64) -> Self {
        const PROGRAMS_END: u64 = 0x7fff_ffff_f000;
        Arg::number(if pointer >= PROGRAMS_END { pointer } else { 1 })
    }

    /// A string.
    pub fn text(text: &'m CStr) -> Self {
        Arg::pointer(text.as_ptr().cast())
    }

    /// Bytes that the call reads.
    pub fn input(bytes: &'m [u8]) -> Self {
        Arg::pointer(bytes.as_ptr())
    }

    /// Bytes that the call may fill.
    pub fn output(bytes: &'m mut [u8]) -> Self {
        Arg::pointer(bytes.as_mut_ptr())
    }

    /// A piece of the cell's memory, or `None` when the region has no such piece.
    pub fn shared(region: &Region, offset: u64, len: u64) -> Option<Self> {
        region.bytes(offset, len).map(|at| Arg::pointer(at))
    }

    /// A word to sleep on.
    pub fn word(word: &'m AtomicU32) -> Self {
        Arg::pointer(word.as_ptr().cast::<u8>().cast_const())
    }

    /// Strings as execve(2) takes them.
    pub fn strings(strings: &'m Strings) -> Self {
        Arg::pointer(strings.pointers.as_ptr().cast())
    }

    /// An array of pieces.
    pub fn vectors(vectors: &'m Vectors) -> Self {
        Arg::pointer(vectors.0.as_ptr().cast())
    }

    /// A message with its name, pieces and control data.
    pub fn message(message: &'m mut Message) -> Self {
        message.point();
        Arg::pointer((&raw mut message.header).cast())
    }

    /// A `struct ifreq` with a command for ethtool.
    pub fn ethtool(question: &'m mut Ethtool) -> Self {
        Arg::pointer(question.request.as_mut_ptr())
    }

    /// A `struct ifconf` with its buffer.
    pub fn interfaces(interfaces: &'m mut Interfaces) -> Self {
        Arg::pointer((&raw mut interfaces.question).cast())
    }
}

/// The six arguments as the registers take them.
pub fn words(args: &[Arg<'_>; 6]) -> [u64; 6] {
    args.map(|arg| arg.word)
}

/// Makes system call `nr`.
pub fn call(nr: u32, args: &[Arg<'_>; 6]) -> Outcome {
    let [a0, a1, a2, a3, a4, a5] = words(args);
    let raw: i64;
    // SAFETY: the kernel's calling convention: number in rax, arguments in rdi to r9, rcx and r11
    // lost. The pointers among the arguments are to memory that stays valid for the call (`Arg`)
    // and that Linux may change at will: exclusively borrowed bytes or the cell's shared memory.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") i64::from(nr) => raw,
            in("rdi") a0, in("rsi") a1, in("rdx") a2, in("r10") a3, in("r8") a4, in("r9") a5,
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    outcome(raw)
}

/// Makes system call `nr` with numbers only.
pub fn numbers(nr: i64, args: &[i64]) -> Outcome {
    let mut all = [Arg::null(); 6];
    for (arg, word) in all.iter_mut().zip(args) {
        *arg = Arg::number(*word as u64);
    }
    call(nr as u32, &all)
}

/// Pieces of memory for a call that takes several.
#[derive(Debug, Default, Clone)]
pub struct Vectors(Vec<libc::iovec>);

// SAFETY: the addresses are into the cell's memory, which every thread of the proxy sees alike.
unsafe impl Send for Vectors {}

impl Vectors {
    /// Appends a piece of the cell's memory; `false` when the region has no such piece.
    pub fn push(&mut self, region: &Region, offset: u64, len: u64) -> bool {
        let Some(at) = region.bytes(offset, len) else { return false };
        self.0.push(libc::iovec { iov_base: at.cast(), iov_len: len as usize });
        true
    }

    /// Appends `len` bytes that Linux finds nothing at.
    pub fn push_nowhere(&mut self, len: u64) {
        if len != 0 {
            self.0.push(libc::iovec { iov_base: std::ptr::without_provenance_mut(1), iov_len: len as usize });
        }
    }

    /// Number of pieces.
    pub fn count(&self) -> u64 {
        self.0.len() as u64
    }

    /// Bytes in all.
    pub fn total(&self) -> u64 {
        self.0.iter().map(|piece| piece.iov_len as u64).fold(0, u64::saturating_add)
    }

    /// Keeps the first `bytes` bytes.
    pub fn truncate(&mut self, mut bytes: u64) {
        self.0.retain_mut(|piece| {
            piece.iov_len = piece.iov_len.min(usize::try_from(bytes).unwrap_or(usize::MAX));
            bytes -= piece.iov_len as u64;
            piece.iov_len > 0
        });
    }

    /// Drops the first `bytes` bytes.
    pub fn advance(&mut self, mut bytes: u64) {
        self.0.retain_mut(|piece| {
            let cut = bytes.min(piece.iov_len as u64);
            bytes -= cut;
            piece.iov_base = piece.iov_base.cast::<u8>().wrapping_add(cut as usize).cast();
            piece.iov_len -= cut as usize;
            piece.iov_len > 0
        });
    }
}

/// A message for sendmsg and recvmsg: name and control data are the proxy's own copies, the
/// payload is in the cell's memory.
#[derive(Debug)]
pub struct Message {
    /// Address of the other side; empty: none.
    pub name: Vec<u8>,
    /// The payload.
    pub payload: Vectors,
    /// Control data; empty: none.
    pub control: Vec<u8>,
    header: libc::msghdr,
}

impl Message {
    /// A message of these parts.
    pub fn new(name: Vec<u8>, payload: Vectors, control: Vec<u8>) -> Self {
        // SAFETY: msghdr is plain numbers and pointers; all zero is "nothing".
        Message { name, payload, control, header: unsafe { std::mem::zeroed() } }
    }

    fn point(&mut self) {
        let or_null = |bytes: &mut Vec<u8>| if bytes.is_empty() { std::ptr::null_mut() } else { bytes.as_mut_ptr() };
        self.header.msg_name = or_null(&mut self.name).cast();
        self.header.msg_namelen = self.name.len() as u32;
        self.header.msg_iov = self.payload.0.as_mut_ptr();
        self.header.msg_iovlen = self.payload.0.len();
        self.header.msg_control = or_null(&mut self.control).cast();
        self.header.msg_controllen = self.control.len();
        self.header.msg_flags = 0;
    }

    /// After recvmsg: length of the name, of the control data, and the flags.
    pub fn received(&self) -> (u32, usize, i32) {
        (self.header.msg_namelen, self.header.msg_controllen, self.header.msg_flags)
    }
}

/// `struct ifconf` (netdevice(7)) and its buffer.
#[derive(Debug)]
pub struct Interfaces {
    question: libc::ifconf,
    list: Vec<u8>,
}

impl Interfaces {
    /// With room for the list, or, with `None`, the question how much is needed.
    pub fn new(room: Option<usize>) -> Self {
        let list = vec![0; room.unwrap_or(0)];
        let ifc_ifcu = libc::__c_anonymous_ifc_ifcu { ifcu_buf: std::ptr::null_mut() };
        let mut interfaces = Interfaces { question: libc::ifconf { ifc_len: list.len() as i32, ifc_ifcu }, list };
        if room.is_some() {
            interfaces.question.ifc_ifcu.ifcu_buf = interfaces.list.as_mut_ptr().cast();
        }
        interfaces
    }

    /// Bytes that were filled or are needed.
    pub fn len(&self) -> i32 {
        self.question.ifc_len
    }

    /// The list.
    pub fn filled(&self) -> &[u8] {
        let len = usize::try_from(self.question.ifc_len).unwrap_or(0);
        &self.list[..len.min(self.list.len())]
    }
}

/// `struct ifreq` (netdevice(7)) whose data is a command for ethtool.
#[derive(Debug)]
pub struct Ethtool {
    request: [u8; 40],
    command: Vec<u8>,
}

impl Ethtool {
    /// The request with its data replaced by the address of `command`.
    pub fn new(mut request: [u8; 40], mut command: Vec<u8>) -> Self {
        const DATA: usize = shm_ipc::calls::ioctl::IFREQ_DATA as usize;
        let address = command.as_mut_ptr() as u64;
        request[DATA..DATA + 8].copy_from_slice(&address.to_ne_bytes());
        Ethtool { request, command }
    }

    /// The command with its answer.
    pub fn command(&self) -> &[u8] {
        &self.command
    }
}

/// Sleeps while `word` holds `expected`, until [`wake`] or for so many seconds. Shared: the other side is
/// another process.
pub fn sleep_on(word: &AtomicU32, expected: u32, seconds: i64) {
    let at = word.as_ptr().cast::<u8>().cast_const();
    let timeout = [seconds.to_ne_bytes(), [0; 8]].concat();
    let args = [
        Arg::pointer(at),
        Arg::number(libc::FUTEX_WAIT as u64),
        Arg::number(u64::from(expected)),
        Arg::input(&timeout),
        Arg::null(),
        Arg::null(),
    ];
    // EAGAIN (the word has changed), ETIMEDOUT and EINTR make the caller look again, as a wake-up does.
    let _ = call(libc::SYS_futex as u32, &args);
}

/// Wakes whoever sleeps on `word`, in any process.
pub fn wake(word: &AtomicU32) {
    let at = word.as_ptr().cast::<u8>().cast_const();
    let (wake, one) = (Arg::number(libc::FUTEX_WAKE as u64), Arg::number(1));
    // Nobody sleeping is no error, and a mapped, aligned word gives no other.
    let _ = call(libc::SYS_futex as u32, &[Arg::pointer(at), wake, one, Arg::null(), Arg::null(), Arg::null()]);
}

/// Wakes everybody who sleeps on `word` in this process.
pub fn wake_all(word: &AtomicU32) {
    let wake = Arg::number((libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG) as u64);
    let all = Arg::number(i32::MAX as u64);
    // Nobody sleeping is no error, and a mapped, aligned word gives no other.
    let _ = call(libc::SYS_futex as u32, &[Arg::word(word), wake, all, Arg::null(), Arg::null(), Arg::null()]);
}

/// A copy of this process with one thread, the caller's; `None` in the copy. It may use what only this
/// thread uses, and the heap (glibc has its locks free after a fork); locks that other threads may have
/// held stay held in it.
pub fn fork() -> Result<Option<i32>, Errno> {
    // SAFETY: nothing of this process changes; what the copy may touch is the caller's to see to, as
    // said above. `children` makes everything anew that it uses.
    match unsafe { libc::fork() } {
        -1 => Err(Errno(std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EAGAIN))),
        0 => Ok(None),
        pid => Ok(Some(pid)),
    }
}

/// Ends this process.
pub fn exit(status: i32) -> ! {
    // SAFETY: nothing is left to be done.
    unsafe { libc::_exit(status) }
}

/// Null-ended pointers to strings: what execve(2) takes twice.
#[derive(Debug)]
pub struct Strings {
    _texts: Vec<CString>,
    pointers: Vec<*const libc::c_char>,
}

impl Strings {
    /// The strings that lie one after the other in `bytes`, each with its end.
    pub fn unpack(bytes: &[u8]) -> Self {
        let texts: Vec<CString> = bytes
            .split_inclusive(|byte| *byte == 0)
            .filter_map(|text| CStr::from_bytes_with_nul(text).ok().map(CStr::to_owned))
            .collect();
        let pointers = texts.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect();
        Strings { _texts: texts, pointers }
    }
}

/// Sets signal mask and ignored signals of this process, which is about to execute something: bit
/// n - 1 for signal n. Gives the old mask.
pub fn set_signals(ignored: u64, blocked: u64) -> u64 {
    let mut old = 0u64;
    // SAFETY: no handler is installed, only SIG_IGN and SIG_DFL; the masks are locals.
    unsafe {
        for signal in 1..=64 {
            let action = if ignored & 1 << (signal - 1) != 0 { libc::SIG_IGN } else { libc::SIG_DFL };
            // SIGKILL, SIGSTOP and those that glibc keeps for itself are refused, rightly.
            libc::signal(signal, action);
        }
        libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const blocked, &raw mut old, 8);
    }
    old
}

/// Thread id of the caller.
pub fn own_tid() -> i32 {
    numbers(libc::SYS_gettid, &[]).map_or(0, |tid| tid as i32)
}

/// Process id of the proxy.
pub fn own_pid() -> i32 {
    std::process::id() as i32
}

/// Whether a read or a write has nothing to wait for now.
pub fn is_ready(fd: i32, to_write: bool) -> bool {
    let events = if to_write { libc::POLLOUT } else { libc::POLLIN };
    let mut poll = libc::pollfd { fd, events, revents: 0 };
    // SAFETY: the one structure is ours.
    unsafe { libc::poll(&raw mut poll, 1, 0) == 1 }
}

/// Whether O_NONBLOCK is set on `fd`; not for a descriptor that is not open.
pub fn is_nonblocking(fd: i32) -> bool {
    let flags = numbers(libc::SYS_fcntl, &[i64::from(fd), i64::from(libc::F_GETFL)]);
    flags.is_ok_and(|flags| flags & i64::from(libc::O_NONBLOCK) != 0)
}

/// The mode in which a file is open (open(2)).
pub fn access_mode(fd: i32) -> Result<i32, Errno> {
    Ok(numbers(libc::SYS_fcntl, &[i64::from(fd), i64::from(libc::F_GETFL)])? as i32 & libc::O_ACCMODE)
}

/// Copies `len` bytes from an address of process `pid`, whatever is there, to `to`, where so many
/// may be written. Gives how many there were before the first page that can't be read.
fn copy_from(pid: i32, from: u64, to: Arg<'_>, len: u64) -> Outcome {
    let piece =
        |at: u64| libc::iovec { iov_base: std::ptr::without_provenance_mut(at as usize), iov_len: len as usize };
    let (local, remote) = (piece(to.word), piece(from));
    let one = Arg::number(1);
    let (local, remote) = (Arg::pointer((&raw const local).cast()), Arg::pointer((&raw const remote).cast()));
    let pid = Arg::number(pid as u64);
    call(libc::SYS_process_vm_readv as u32, &[pid, local, one, remote, one, Arg::null()])
}

/// Copies from an address of this process, as far as there is something, to `to`, which has room for
/// `len` bytes.
pub fn copy_own(from: u64, to: Arg<'_>, len: u64) -> Outcome {
    copy_from(own_pid(), from, to, len)
}

/// Reads from an address of process `pid`; gives how many bytes there were.
pub fn read_process(pid: i32, from: u64, to: &mut [u8]) -> Outcome {
    let len = to.len() as u64;
    copy_from(pid, from, Arg::output(to), len)
}

/// Type and device of a file: `st_mode` and `st_rdev`.
#[derive(Debug, Clone, Copy)]
pub struct FileType {
    /// See stat(2).
    pub mode: u32,
    /// Number of the device, for a device.
    pub device: u64,
    /// Device and inode: which file it is.
    pub identity: [u64; 2],
}

/// `sizeof(struct stat)`, and where its fields are.
/// Opens a file with nothing in it.
pub fn open_empty() -> Outcome {
    let (here, flags, none) = (Arg::number(libc::AT_FDCWD as u64), Arg::number(libc::O_CLOEXEC as u64), Arg::null());
    call(libc::SYS_openat as u32, &[here, Arg::text(c"/dev/null"), flags, none, none, none])
}

const STAT_BYTES: usize = size_of::<libc::stat>();
const MODE_AT: usize = std::mem::offset_of!(libc::stat, st_mode);
const RDEV_AT: usize = std::mem::offset_of!(libc::stat, st_rdev);
const DEV_AT: usize = std::mem::offset_of!(libc::stat, st_dev);
pub const INO_AT: usize = std::mem::offset_of!(libc::stat, st_ino);

/// Makes a call of the stat family whose buffer is argument `at`, and reads the type from it.
pub fn file_type<'m>(nr: i64, mut args: [Arg<'m>; 6], at: usize) -> Result<FileType, Errno> {
    let mut stat = [0; STAT_BYTES];
    args[at] = Arg::pointer(stat.as_mut_ptr());
    call(nr as u32, &args)?;
    let identity = [DEV_AT, INO_AT].map(|at| u64_at(&stat, at));
    Ok(FileType { mode: u32_at(&stat, MODE_AT), device: u64_at(&stat, RDEV_AT), identity })
}

/// Type of the file system that `fd` lies on, see statfs(2).
pub fn file_system(fd: i32) -> Result<i64, Errno> {
    let mut statfs = [0; size_of::<libc::statfs>()];
    let mut args = [Arg::null(); 6];
    args[0] = Arg::number(fd as u64);
    args[1] = Arg::pointer(statfs.as_mut_ptr());
    call(libc::SYS_fstatfs as u32, &args)?;
    Ok(u64_at(&statfs, std::mem::offset_of!(libc::statfs, f_type)) as i64)
}

/// The native-endian word at `offset`; zero when `bytes` ends before.
pub fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    bytes.get(offset..offset + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_ne_bytes)
}

/// The native-endian word at `offset`; zero when `bytes` ends before.
pub fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    bytes.get(offset..offset + 8).and_then(|b| b.try_into().ok()).map_or(0, u64::from_ne_bytes)
}

/// Blocks all signals but `except` in the calling thread.
pub fn block_signals(except: i32) {
    // SAFETY: the sets are locals, initialised by sigfillset.
    unsafe {
        let mut set = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
        libc::sigfillset(set.as_mut_ptr());
        libc::sigdelset(set.as_mut_ptr(), except);
        libc::pthread_sigmask(libc::SIG_SETMASK, set.as_ptr(), std::ptr::null_mut());
    }
}

/// A region of anonymous shared memory that is never given back, for tests.
#[cfg(test)]
pub fn test_region(len: u64) -> Region {
    // SAFETY: a fresh mapping, handed to the region alone and never unmapped.
    unsafe {
        let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
        let at = libc::mmap(std::ptr::null_mut(), len as usize, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0);
        assert_ne!(at, libc::MAP_FAILED);
        Region::new(std::ptr::NonNull::new(at.cast()).expect("not null"), len)
    }
}
