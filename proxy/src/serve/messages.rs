//! sendmsg and recvmsg: names and control data.
//!
//! On the wire the parts of the `msghdr` are arguments of their own: lengths of name and control
//! data in a3 and a5, and as spans the name (3), the payload (4) and the control data (5).
//! Descriptors in control data (SCM_RIGHTS) have the right numbers, since proxy and program
//! share the table.

use super::arguments::vectors;
use super::call::Call;
use super::files::Way;
use super::host::{self, Errno, Message, Outcome};
use super::requests::doer;
use super::sockets;

/// `struct cmsghdr`: length with header, level, type.
const HEADER: usize = 16;

/// Linux refuses or cuts more than `net.core.optmem_max`; the kernel side sends no more than this.
const MOST_CONTROL: u64 = 1 << 20;

/// sendmsg(2)
pub fn send(call: &mut Call<'_, '_>) -> Outcome {
    let fd = call.fd(0)?;
    let name = call.copy_in(3, call.word(3))?;
    if call.word(5) > MOST_CONTROL {
        return Err(Errno(libc::ENOBUFS));
    }
    let mut control = call.copy_in(5, call.word(5))?;
    outgoing(call, &mut control)?;
    let mut message = Message::new(name, vectors(call, 4)?, control);
    sockets::exchange(call, fd, &mut message, call.int(2), Way::Write)
}

/// recvmsg(2). The second result: length of the name in bits 0 to 15, of the control data in
/// bits 16 to 39, flags from bit 40 on.
pub fn receive(call: &mut Call<'_, '_>) -> Outcome {
    let fd = call.fd(0)?;
    let name = vec![0; call.word(3).min(call.len(3)) as usize & 0xffff];
    let control = vec![0; call.word(5).min(call.len(5)).min(MOST_CONTROL) as usize];
    let mut message = Message::new(name, vectors(call, 4)?, control);
    let received = sockets::exchange(call, fd, &mut message, call.int(2), Way::Read)?;
    let (name_len, control_len, mut flags) = message.received();
    let mut control_len = control_len.min(message.control.len());
    incoming(call, &mut message.control, &mut control_len, &mut flags);
    let name_filled = (name_len as usize).min(message.name.len());
    call.copy_out(3, 0, &message.name[..name_filled])?;
    call.copy_out(5, 0, &message.control[..control_len])?;
    call.extra = u64::from(name_len & 0xffff) | (control_len as u64) << 16 | (flags as u64 & 0xff_ffff) << 40;
    Ok(received)
}

/// One piece of control data: where its header and its bytes are.
#[derive(Debug, Clone, Copy)]
struct Piece {
    at: usize,
    end: usize,
    level: i32,
    kind: i32,
}

/// The piece that starts at `at`, as `CMSG_NXTHDR` would find it.
fn piece(control: &[u8], at: usize) -> Option<Piece> {
    let header = control.get(at..)?.get(..HEADER)?;
    let len = usize::try_from(host::u64_at(header, 0)).ok()?;
    let end = at.checked_add(len)?;
    if len < HEADER || end > control.len() {
        return None;
    }
    Some(Piece { at, end, level: host::u32_at(header, 8) as i32, kind: host::u32_at(header, 12) as i32 })
}

fn pieces(control: &[u8]) -> Vec<Piece> {
    let mut all = Vec::new();
    let mut at = 0;
    while let Some(piece) = piece(control, at) {
        at = piece.end.next_multiple_of(8);
        all.push(piece);
    }
    all
}

/// Before sending: the proxy's own descriptors stay here, and "this process" has to be the one
/// that sends.
fn outgoing(call: &Call<'_, '_>, control: &mut [u8]) -> Result<(), Errno> {
    for piece in pieces(control) {
        match (piece.level, piece.kind) {
            (libc::SOL_SOCKET, libc::SCM_RIGHTS) => {
                for at in (piece.at + HEADER..piece.end).step_by(4) {
                    call.descriptors().check(u64::from(host::u32_at(control, at)))?;
                }
            }
            (libc::SOL_SOCKET, libc::SCM_CREDENTIALS) => {
                let pid = piece.at + HEADER..piece.at + HEADER + 4;
                if host::u32_at(control, pid.start) as i32 == call.service.cell.child && pid.end <= piece.end {
                    control[pid].copy_from_slice(&host::own_pid().to_ne_bytes());
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// After receiving: new descriptors are taken into account; those beyond the program's limit are
/// closed, and the control data is cut there as Linux cuts it. What this process has sent the program
/// has sent.
fn incoming(call: &Call<'_, '_>, control: &mut [u8], len: &mut usize, flags: &mut i32) {
    for piece in pieces(&control[..*len]) {
        let pid = piece.at + HEADER..piece.at + HEADER + 4;
        if (piece.level, piece.kind) == (libc::SOL_SOCKET, libc::SCM_CREDENTIALS) && pid.end <= piece.end {
            let sender = doer(call, host::u32_at(control, pid.start) as i32);
            control[pid].copy_from_slice(&sender.to_ne_bytes());
        }
        if (piece.level, piece.kind) != (libc::SOL_SOCKET, libc::SCM_RIGHTS) {
            continue;
        }
        let mut kept = piece.at + HEADER;
        for at in (kept..piece.end).step_by(4) {
            let fd = i64::from(host::u32_at(control, at) as i32);
            match call.descriptors().admit(fd) {
                Ok(_) if kept == at => kept += 4,
                // One has been refused before, so the program does not learn of this one.
                Ok(fd) => drop(host::numbers(libc::SYS_close, &[fd])),
                Err(_) => {}
            }
        }
        if kept < piece.end {
            control[piece.at..piece.at + 8].copy_from_slice(&((kept - piece.at) as u64).to_ne_bytes());
            *len = kept;
            *flags |= libc::MSG_CTRUNC;
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(len: u64, kind: i32) -> Vec<u8> {
        let mut bytes = len.to_ne_bytes().to_vec();
        bytes.extend(libc::SOL_SOCKET.to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes
    }

    #[test]
    fn pieces_follow_each_other_aligned() {
        let mut control = header(20, libc::SCM_RIGHTS);
        control.extend([7, 0, 0, 0, 0, 0, 0, 0]);
        control.extend(header(16, 99));
        let found = pieces(&control);
        assert_eq!(found.iter().map(|p| (p.at, p.end, p.kind)).collect::<Vec<_>>(), [(0, 20, 1), (24, 40, 99)]);
    }

    #[test]
    fn impossible_lengths_end_the_list() {
        assert!(pieces(&header(0, 1)).is_empty());
        assert!(pieces(&header(15, 1)).is_empty());
        assert!(pieces(&header(17, 1)).is_empty());
        assert!(pieces(&header(u64::MAX, 1)).is_empty());
    }
}
