//! Sockets: transfers by whatever call, and options.
//!
//! Every transfer becomes a sendmsg or recvmsg that is tried with MSG_DONTWAIT first. Only when
//! that finds nothing to do, and the program would have waited, another thread leads and the
//! call is made again as one that may block. What a send that had to stop half way leaves over
//! is sent in the same manner, as Linux itself would go on.

use super::arguments::{Arguments, vectors};
use super::call::Call;
use super::files::Way;
use super::host::{self, Arg, Errno, Message, Outcome};
use super::requests::doer;

/// `sizeof(struct sockaddr_storage)`: longest name of a socket.
const MOST_NAME: u64 = 128;

/// Whether a read or write of this call means the same as a receive or send. Reading nothing
/// gives 0 at once, where receiving nothing may wait; and a buffer that is null but has a length
/// is best refused by the call itself.
pub fn fits(call: &Call<'_, '_>, way: Way) -> bool {
    match way {
        Way::Read => call.len(1) > 0,
        Way::Write => call.has_buffer(1) || call.word(2) == 0,
    }
}

/// read, write, readv and writev on a socket.
pub fn transfer(call: &mut Call<'_, '_>, fd: i32, way: Way) -> Outcome {
    let mut message = Message::new(Vec::new(), vectors(call, 1)?, Vec::new());
    exchange(call, fd, &mut message, 0, way)
}

/// Sends or receives a message.
pub fn exchange(call: &mut Call<'_, '_>, fd: i32, message: &mut Message, flags: i32, way: Way) -> Outcome {
    let nr = if way == Way::Read { libc::SYS_recvmsg } else { libc::SYS_sendmsg };
    let waits = flags & libc::MSG_DONTWAIT == 0;
    if way == Way::Read && waits && flags & libc::MSG_WAITALL != 0 {
        // Trying would take what is there and forget that all was asked for.
        let may_block = !host::is_nonblocking(fd);
        return call.make(nr, &args(fd, message, flags), may_block);
    }
    let total = message.payload.total();
    let tried = call.inline(nr, &args(fd, message, flags | libc::MSG_DONTWAIT));
    if !waits {
        return tried;
    }
    match tried {
        Err(Errno(libc::EAGAIN)) if !host::is_nonblocking(fd) => call.blocking(nr, &args(fd, message, flags)),
        Ok(sent) if way == Way::Write && (sent as u64) < total && !host::is_nonblocking(fd) => {
            message.payload.advance(sent as u64);
            // They went with the first part.
            message.name.clear();
            message.control.clear();
            let more = call.blocking(nr, &args(fd, message, flags));
            Ok(sent + more.unwrap_or(0))
        }
        done => done,
    }
}

fn args(fd: i32, message: &mut Message, flags: i32) -> [Arg<'_>; 6] {
    let (fd, flags) = (Arg::number(fd as u64), Arg::number(flags as u64));
    [fd, Arg::message(message), flags, Arg::null(), Arg::null(), Arg::null()]
}

/// sendto(2)
pub fn send_to(call: &mut Call<'_, '_>) -> Outcome {
    let fd = call.fd(0)?;
    let len = call.word(5);
    if call.word(4) != 0 && len > MOST_NAME {
        return Err(Errno(libc::EINVAL));
    }
    let name = if call.word(4) == 0 { Vec::new() } else { call.copy_in(4, len)? };
    require_payload(call, 1, call.word(2))?;
    let mut message = Message::new(name, vectors(call, 1)?, Vec::new());
    exchange(call, fd, &mut message, call.int(3), Way::Write)
}

/// recvfrom(2)
pub fn receive_from(call: &mut Call<'_, '_>) -> Outcome {
    let fd = call.fd(0)?;
    require_payload(call, 1, call.word(2))?;
    let wants_name = call.word(4) != 0;
    let room = if wants_name { u64::from(u32::from_ne_bytes(call.structure(5)?)) } else { 0 };
    let room = room.min(call.len(4)).min(MOST_NAME);
    let mut message = Message::new(vec![0; room as usize], vectors(call, 1)?, Vec::new());
    let received = exchange(call, fd, &mut message, call.int(3), Way::Read)?;
    if wants_name {
        let (len, ..) = message.received();
        let filled = (len as usize).min(message.name.len());
        call.copy_out(4, 0, &message.name[..filled])?;
        call.copy_out(5, 0, &len.to_ne_bytes())?;
    }
    Ok(received)
}

/// A payload that is null but not empty can't be used.
fn require_payload(call: &Call<'_, '_>, index: usize, len: u64) -> Result<(), Errno> {
    if len > 0 && !call.has_buffer(index) { Err(Errno(libc::EFAULT)) } else { Ok(()) }
}

/// connect(2): the call itself says nothing about waiting, the descriptor does.
pub fn connect(call: &mut Call<'_, '_>) -> Outcome {
    let may_block = !host::is_nonblocking(call.fd(0)?);
    let mut arguments = Arguments::new(call)?;
    let args = arguments.args(call)?;
    call.make(libc::SYS_connect, &args, may_block)
}

/// accept and accept4
pub fn accept(call: &mut Call<'_, '_>) -> Outcome {
    let may_block = !host::is_nonblocking(call.fd(0)?);
    let mut arguments = Arguments::new(call)?;
    let args = arguments.args(call)?;
    let fd = call.make(i64::from(call.nr), &args, may_block)?;
    let fd = call.descriptors().admit(fd)?;
    arguments.write_back(call)?;
    Ok(fd)
}

/// setsockopt and getsockopt.
pub fn option(call: &mut Call<'_, '_>) -> Outcome {
    if points_elsewhere(call.int(1), call.int(2)) {
        return Err(Errno(libc::ENOPROTOOPT));
    }
    let mut arguments = Arguments::new(call)?;
    let args = arguments.args(call)?;
    let result = call.inline(i64::from(call.nr), &args)?;
    arguments.write_back(call)?;
    let asks = i64::from(call.nr) == libc::SYS_getsockopt;
    if asks && (call.int(1), call.int(2)) == (libc::SOL_SOCKET, libc::SO_PEERCRED) && call.len(3) >= 4 {
        // The other end may be the program's own.
        let peer = call.copy_in(3, 4)?;
        call.copy_out(3, 0, &doer(call, host::u32_at(&peer, 0) as i32).to_ne_bytes())?;
    }
    Ok(result)
}

/// Options whose values hold addresses, or are longer than they say. An address of the program
/// means nothing in the proxy.
fn points_elsewhere(level: i32, option: i32) -> bool {
    const SO_ATTACH_FILTER: i32 = 26;
    const SO_ATTACH_REUSEPORT_CBPF: i32 = 51;
    const TCP_ZEROCOPY_RECEIVE: i32 = 35;
    const PACKET_FANOUT_DATA: i32 = 22;
    match level {
        libc::SOL_SOCKET => matches!(option, SO_ATTACH_FILTER | SO_ATTACH_REUSEPORT_CBPF),
        libc::SOL_TCP => option == TCP_ZEROCOPY_RECEIVE,
        // Packet filters (iptables), from IPT_BASE_CTL on. Of the same numbers to IPv6 are IPV6_RECVTCLASS and
        // IPV6_TCLASS, and the filters leave them out.
        libc::SOL_IP => (64..=68).contains(&option),
        libc::SOL_IPV6 => matches!(option, 64 | 65 | 68),
        libc::SOL_PACKET => option == PACKET_FANOUT_DATA,
        _ => false,
    }
}
