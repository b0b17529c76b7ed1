//! Memory of other cells that their kernels fill when it is touched.
//!
//! What a program has reserved and not touched yet (stacks, `MAP_NORESERVE`, what was `PROT_NONE`) is not there to
//! Linux, nor in page tables, until its kernel has filled it: whoever copies from or to there gets `EFAULT`, where on
//! Linux the copy itself is a touch. So proxies ask each other: the one of the program that copies sends
//! where, the one of the other passes it on to its kernel ([`Incoming::Fill`]), waits until that has seen to it,
//! and says so. Then the copy is made again.
//!
//! They meet at sockets in the abstract name space (unix(7)), which end with their processes and are found by
//! the number of the program's process. Only the same user is listened to. A process of Linux that is in no
//! cell asks nobody, and gets `EFAULT`.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::thread;
use std::time::{Duration, Instant};

use nix::cmsg_space;
use nix::errno::Errno as Error;
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr, UnixCredentials, bind, recvmsg,
    sendmsg, setsockopt, socket, sockopt,
};
use shm_ipc::ring::{Fill, Incoming};

use super::Service;
use super::call::Call;
use super::host::{self, Arg, Errno};
use crate::descriptors::PrivateBand;

/// How long the other kernel may take: it may have to fill, and to clear, much.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long it takes at least.
const FIRST_PAUSE: Duration = Duration::from_micros(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(1);

/// Bytes of a request: its number, where, how many bytes, whether to write. The answer is the number.
const ASK: usize = 32;
const ANSWER: usize = 8;

/// Where a proxy is asked, and where from it asks.
#[derive(Debug)]
pub struct Sockets {
    asked: OwnedFd,
    /// And the number of its last request.
    asks: Mutex<(OwnedFd, u64)>,
}

impl Sockets {
    /// Opened while the program can't see which number a descriptor has for a moment.
    ///
    /// # Errors
    /// As socket(2).
    pub fn open(band: &PrivateBand) -> io::Result<Self> {
        let open = || {
            let fd = socket(AddressFamily::Unix, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
            setsockopt(&fd, sockopt::PassCred, &true)?;
            band.adopt(fd).map_err(io::Error::other)
        };
        Ok(Sockets { asked: open()?, asks: Mutex::new((open()?, 0)) })
    }

    /// From now on they are those of the proxy of program `pid`.
    ///
    /// # Errors
    /// As bind(2); `EADDRINUSE` where another cell's program has that number: in another name space of processes.
    pub fn meet(&self, pid: libc::pid_t) -> io::Result<()> {
        bind(self.asked.as_raw_fd(), &address(Role::Asked, pid)?)?;
        let asks = self.asks.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(bind(asks.0.as_raw_fd(), &address(Role::Asks, pid)?)?)
    }
}

#[derive(Clone, Copy)]
enum Role {
    Asked,
    Asks,
}

fn address(role: Role, pid: libc::pid_t) -> nix::Result<UnixAddr> {
    let role = match role {
        Role::Asked => "fill",
        Role::Asks => "asks",
    };
    UnixAddr::new_abstract(format!("tacet/{role}/{pid}").as_bytes())
}

/// Answers the other proxies from now on, in a thread of its own.
pub fn serve(service: &Arc<Service>, sockets: Arc<Sockets>) -> io::Result<()> {
    let service = Arc::clone(service);
    let thread = thread::Builder::new().name("fill".into());
    thread
        .spawn(move || {
            while !service.is_stopped() {
                match answer(&service, &sockets.asked) {
                    Ok(()) | Err(Error::EINTR) => {}
                    Err(error) => return tracing::warn!("memory is filled for no other program any more: {error}"),
                }
            }
        })
        .map(drop)
}

/// One request.
fn answer(service: &Service, socket: &OwnedFd) -> nix::Result<()> {
    let mut ask = [0; ASK];
    let mut space = cmsg_space!(UnixCredentials);
    let (count, sender, sender_user) = {
        let mut room = [IoSliceMut::new(&mut ask)];
        let got = recvmsg::<UnixAddr>(socket.as_raw_fd(), &mut room, Some(&mut space), MsgFlags::empty())?;
        let user = got.cmsgs()?.find_map(|message| match message {
            ControlMessageOwned::ScmCredentials(credentials) => Some(credentials.uid()),
            _ => None,
        });
        (got.bytes, got.address, user)
    };
    let own = nix::unistd::geteuid().as_raw();
    let Some(sender) = sender.filter(|_| count == ASK && sender_user.is_some_and(|user| user == own || user == 0))
    else {
        return Ok(());
    };
    let [number, at, len, write] = words(&ask);
    fill(service, Fill { at, len, write: write != 0 });
    // Whoever asked may be gone.
    let _ =
        sendmsg(socket.as_raw_fd(), &[IoSlice::new(&number.to_ne_bytes())], &[], MsgFlags::MSG_DONTWAIT, Some(&sender));
    Ok(())
}

fn words(bytes: &[u8; ASK]) -> [u64; 4] {
    let mut words = [0; 4];
    for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(8)) {
        *word = u64::from_ne_bytes(bytes.try_into().unwrap_or_default());
    }
    words
}

/// Has the kernel of this cell fill memory, and waits for it.
fn fill(service: &Service, fill: Fill) {
    let before = service.control.fills();
    service.answers.bring(service, 0, Incoming::Fill(fill));
    let (start, mut pause) = (Instant::now(), FIRST_PAUSE);
    while service.control.fills() == before && start.elapsed() < PATIENCE && !service.is_stopped() {
        thread::sleep(pause);
        pause = (2 * pause).min(LONGEST_PAUSE);
    }
}

/// Has the other cell, if `pid` is the program of one, fill the first `wanted` bytes of what the iovecs in
/// `remote` are about. `false` when there is nobody to ask.
pub fn ask(call: &mut Call<'_, '_>, pid: i32, write: bool, remote: &[u8], wanted: u64) -> bool {
    let Some(sockets) = call.service.cell.fill.clone() else { return false };
    let Ok(other) = address(Role::Asked, pid) else { return false };
    let start = Instant::now();
    let mut asks = loop {
        match sockets.asks.try_lock() {
            Ok(asks) => break asks,
            Err(TryLockError::Poisoned(poisoned)) => break PoisonError::into_inner(poisoned),
            // Another thread of the program asks.
            Err(TryLockError::WouldBlock) if start.elapsed() < PATIENCE => {
                if wait(call, &mut [], Duration::from_millis(1)).is_err() {
                    return false;
                }
            }
            Err(TryLockError::WouldBlock) => return false,
        }
    };
    let (socket, number) = &mut *asks;
    let mut left = wanted;
    for piece in remote.chunks_exact(16) {
        let (at, len) = (host::u64_at(piece, 0), host::u64_at(piece, 8).min(left));
        if len == 0 {
            continue;
        }
        left -= len;
        *number += 1;
        let ask: Vec<u8> = [*number, at, len, write.into()].into_iter().flat_map(u64::to_ne_bytes).collect();
        let sent = sendmsg(socket.as_raw_fd(), &[IoSlice::new(&ask)], &[], MsgFlags::MSG_DONTWAIT, Some(&other));
        if sent.is_err() || !is_answered(call, socket, *number) {
            return false;
        }
    }
    true
}

/// Waits for the answer with this number.
fn is_answered(call: &mut Call<'_, '_>, socket: &OwnedFd, number: u64) -> bool {
    let start = Instant::now();
    while let Some(left) = PATIENCE.checked_sub(start.elapsed()) {
        let mut entry = [socket.as_raw_fd().to_ne_bytes(), i32::from(libc::POLLIN).to_ne_bytes()].concat();
        if wait(call, &mut entry, left).is_err() {
            return false;
        }
        let mut answer = [0; ANSWER];
        let mut room = [IoSliceMut::new(&mut answer)];
        match recvmsg::<UnixAddr>(socket.as_raw_fd(), &mut room, None, MsgFlags::MSG_DONTWAIT).map(|got| got.bytes) {
            // Of one that took too long, before.
            Ok(_) if u64::from_ne_bytes(answer) != number => {}
            Ok(_) => return true,
            Err(Error::EAGAIN) => {}
            Err(_) => return false,
        }
    }
    false
}

/// poll(2), while others serve the cell. A signal of the program's does not end it, as it does not end the copy on
/// Linux: then this thread just looks again in a moment.
fn wait(call: &mut Call<'_, '_>, entries: &mut [u8], limit: Duration) -> Result<(), Errno> {
    let count = entries.len() as u64 / 8;
    let milliseconds = limit.as_millis().max(1) as u64;
    let (list, none) = (Arg::output(entries), Arg::null());
    let args = [list, Arg::number(count), Arg::number(milliseconds), none, Arg::null(), Arg::null()];
    match call.blocking(libc::SYS_poll, &args) {
        Err(Errno(libc::EINTR)) => {
            thread::sleep(FIRST_PAUSE);
            Ok(())
        }
        outcome => outcome.map(|_| ()),
    }
}
