//! Calls whose third argument is a number or a structure, as a request says: ioctl and shmctl.
//!
//! Linux follows addresses *inside* some of these structures, and fills some beyond the size that
//! their number tells. Both would be the proxy's memory, where the program's addresses mean
//! nothing, so only families without either are passed on.

use super::arguments::{self, Arguments, Slot};
use super::call::Call;
use super::host::{self, Arg, Errno, Interfaces, Outcome};

const SIOCGIFCONF: u32 = 0x8912;

/// Longest list of interfaces: some 1,600 of them.
const MOST_INTERFACES: u64 = 1 << 16;

/// ioctl(2): its structure is span 2; that of SIOCGIFCONF points to the buffer in span 6.
pub fn ioctl(call: &mut Call<'_, '_>) -> Outcome {
    call.fd(0)?;
    let request = call.word(1) as u32;
    if request == SIOCGIFCONF {
        return interfaces(call);
    }
    let slot = third(call, request)?;
    let mut arguments = Arguments::new(call)?;
    arguments.slots[2] = slot;
    let args = arguments.args(call)?;
    let result = call.make(libc::SYS_ioctl, &args, drains(request))?;
    arguments.write_back(call)?;
    if request == TIOCGPTPEER { call.descriptors().admit(result) } else { Ok(result) }
}

/// What the third argument is.
fn third(call: &Call<'_, '_>, request: u32) -> Result<Slot, Errno> {
    if call.has_buffer(2) {
        let size = size_of_flat(request).ok_or(Errno(libc::ENOTTY))?;
        if size > call.len(2) {
            return Err(Errno(libc::EFAULT));
        }
        if request == FICLONERANGE {
            call.descriptors().check(host::u64_at(&call.structure::<8>(2)?, 0))?;
        }
        return arguments::memory(call, 2, size, true);
    }
    if request == FICLONE {
        call.fd(2)?;
    }
    match call.word(2) {
        word if takes_number(request) => Ok(Slot::Number(word)),
        0 => Ok(Slot::Number(0)),
        _ => Err(Errno(libc::EFAULT)),
    }
}

const TIOCGPTPEER: u32 = 0x5441;
const FICLONE: u32 = 0x4004_9409;
const FICLONERANGE: u32 = 0x4020_940d;

/// Bytes of the argument of a request that is passed on, `None` for others.
fn size_of_flat(request: u32) -> Option<u64> {
    let number = request & 0xff;
    let modern = request >> 30 != 0;
    let known = match request >> 8 & 0xff {
        0x54 if modern => number < 0x60,
        0x54 | 0x89 if !modern => return size_of_old(request),
        // SIOCGSTAMP_NEW, SIOCGSTAMPNS_NEW
        0x89 => matches!(number, 6 | 7),
        // FS_IOC_GETFLAGS, FS_IOC_SETFLAGS; FS_IOC_GETVERSION, FS_IOC_SETVERSION
        0x66 | 0x76 if modern => matches!(number, 1 | 2),
        // FS_IOC_FSGETXATTR, FS_IOC_FSSETXATTR
        0x58 if modern => matches!(number, 31 | 32),
        // BLKBSZGET, BLKGETSIZE64
        0x12 if modern => matches!(number, 112 | 114),
        _ => request == FICLONERANGE,
    };
    known.then_some(u64::from(request >> 16 & 0x3fff))
}

/// Requests from before the time when their numbers told the size of the argument
/// (`include/uapi/asm-generic/ioctls.h`, `include/uapi/linux/sockios.h`). Those with addresses
/// inside are left out: bridges, ethtool, WANs, bonds, wireless.
fn size_of_old(request: u32) -> Option<u64> {
    Some(match request {
        0x5401..=0x5404 => 36,
        0x5405..=0x5408 => 18,
        0x5412 => 1,
        0x5413 | 0x5414 | 0x5460 => 8,
        0x540f..=0x5411 | 0x5415..=0x5418 | 0x541b | 0x5420 | 0x5421 | 0x5423 | 0x5424 | 0x5429 | 0x5452 => 4,
        0x8901..=0x8905 | 0x894b => 4,
        0x8906 | 0x8907 => 16,
        0x8910 | 0x8911 | 0x8913..=0x893f | 0x8942..=0x8945 | 0x8947..=0x8949 | 0x894c..=0x8970 => 40,
        _ => return None,
    })
}

/// Requests whose argument is a number, or ignored: TCSBRK, TCXONC, TCFLSH, TIOCEXCL, TIOCNXCL,
/// TIOCSCTTY, TIOCNOTTY, TCSBRKP, FIOCLEX, FIONCLEX, FICLONE, TIOCSIG, TIOCGPTPEER, BLKFLSBUF.
fn takes_number(request: u32) -> bool {
    matches!(
        request,
        0x5409..=0x540e | 0x5422 | 0x5425 | 0x5450 | 0x5451 | FICLONE | 0x4004_5436 | TIOCGPTPEER | 0x1261
    )
}

/// Requests that wait until a terminal has sent everything: TCSETSW, TCSETSF, TCSETAW, TCSETAF,
/// TCSBRK, TCXONC, TCSBRKP, TCSETSW2, TCSETSF2.
fn drains(request: u32) -> bool {
    matches!(request, 0x5403 | 0x5404 | 0x5407..=0x540a | 0x5425 | 0x402c_542c | 0x402c_542d)
}

/// `struct ifconf`: length, address of the buffer; a null address asks for the length.
fn interfaces(call: &Call<'_, '_>) -> Outcome {
    let wanted = call.structure::<16>(2)?;
    let asks_length = host::u64_at(&wanted, 8) == 0;
    let room = call.len(6).min(u64::from(host::u32_at(&wanted, 0))).min(MOST_INTERFACES);
    let mut interfaces = Interfaces::new((!asks_length).then_some(room as usize));
    let (fd, request) = (Arg::number(call.word(0)), Arg::number(call.word(1)));
    let args = [fd, request, Arg::interfaces(&mut interfaces), Arg::null(), Arg::null(), Arg::null()];
    let result = call.inline(libc::SYS_ioctl, &args)?;
    call.copy_out(6, 0, interfaces.filled())?;
    call.copy_out(2, 0, &interfaces.len().to_ne_bytes())?;
    Ok(result)
}

/// shmctl(2): its structure, where the command has one, is span 2.
pub fn shmctl(call: &Call<'_, '_>) -> Outcome {
    let len = match call.int(1) {
        // IPC_SET, IPC_STAT, SHM_STAT, SHM_STAT_ANY
        1 | 2 | 13 | 15 => 112,
        // IPC_INFO
        3 => 72,
        // SHM_INFO
        14 => 48,
        _ => 0,
    };
    let mut bytes = call.copy_in(2, len)?;
    let buffer = if len == 0 { Arg::null() } else { Arg::output(&mut bytes) };
    let (id, command) = (Arg::number(call.word(0)), Arg::number(call.word(1)));
    let result = call.inline(libc::SYS_shmctl, &[id, command, buffer, Arg::null(), Arg::null(), Arg::null()])?;
    call.copy_out(2, 0, &bytes)?;
    Ok(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_flat_structures_pass() {
        // TCGETS, TIOCGWINSZ, TIOCGPTN, FS_IOC_GETFLAGS, SIOCGIFADDR
        for (request, size) in [(0x5401, 36), (0x5413, 8), (0x8004_5430, 4), (0x8008_6601, 8), (0x8915, 40)] {
            assert_eq!(size_of_flat(request), Some(size), "{request:#x}");
        }
        // SIOCETHTOOL, FS_IOC_FIEMAP, FIDEDUPERANGE, TUNSETIFF, TIOCLINUX, SIOCGIWNAME, SIOCBONDINFOQUERY
        for request in [0x8946, 0xc020_660b, 0xc018_9436, 0x4004_54ca, 0x541c, 0x8b01, 0x8994] {
            assert_eq!(size_of_flat(request), None, "{request:#x}");
        }
    }
}
