//! Calls whose third argument is a number or a structure, as a request says: ioctl and shmctl.
//!
//! What the argument of an ioctl is says `shm_ipc::calls::ioctl`, to both sides.

use shm_ipc::calls::ioctl::{self as requests, Argument, FICLONE, FICLONERANGE, SIOCETHTOOL, SIOCGIFCONF, TIOCGPTPEER};

use super::arguments::{self, Arguments, Slot};
use super::call::Call;
use super::host::{self, Arg, Errno, Ethtool, Interfaces, Outcome};

/// Longest list of interfaces: some 1,600 of them.
const MOST_INTERFACES: u64 = 1 << 16;

/// ioctl(2): its structure is span 2; those of SIOCGIFCONF and SIOCETHTOOL point to the buffer
/// in span 6.
pub fn ioctl(call: &mut Call<'_, '_>) -> Outcome {
    call.fd(0)?;
    let request = call.word(1) as u32;
    if request == SIOCGIFCONF {
        return interfaces(call);
    }
    if request == SIOCETHTOOL {
        return ethtool(call);
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
    let size = match requests::argument(request) {
        Argument::Number => {
            if request == FICLONE {
                call.fd(2)?;
            }
            return Ok(Slot::Number(call.word(2)));
        }
        Argument::Reads(size) | Argument::Fills(size) | Argument::Exchanges(size) => u64::from(size),
        _ => return Err(Errno(libc::ENOTTY)),
    };
    match (call.has_buffer(2), call.word(2)) {
        (true, _) if size <= call.len(2) => {}
        (false, 0) => return Ok(Slot::Number(0)),
        _ => return Err(Errno(libc::EFAULT)),
    }
    if request == FICLONERANGE {
        call.descriptors().check(host::u64_at(&call.structure::<8>(2)?, 0))?;
    }
    arguments::memory(call, 2, size, true)
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

/// `struct ifreq` with the address of a command.
fn ethtool(call: &Call<'_, '_>) -> Outcome {
    let request = call.structure::<40>(2)?;
    let len = call.len(6);
    let known = requests::ethtool_bytes(host::u32_at(&call.copy_in(6, 4)?, 0));
    let room = known.ok_or(Errno(libc::EOPNOTSUPP))?;
    let mut command = call.copy_in(6, len.min(u64::from(room)))?;
    // Linux may fill as much as the longest answer takes.
    command.resize(room as usize, 0);
    let mut question = Ethtool::new(request, command);
    let (fd, number) = (Arg::number(call.word(0)), Arg::number(call.word(1)));
    let args = [fd, number, Arg::ethtool(&mut question), Arg::null(), Arg::null(), Arg::null()];
    let result = call.inline(libc::SYS_ioctl, &args)?;
    call.copy_out(6, 0, question.command())?;
    Ok(result)
}

/// Whom Linux takes for the one who did something: where that is the proxy, it was the program.
pub fn doer(call: &Call<'_, '_>, pid: i32) -> i32 {
    if pid == host::own_pid() { call.service.cell.child } else { pid }
}

/// The same for numbers within a structure.
fn name_doers(call: &Call<'_, '_>, bytes: &mut [u8], places: &[usize]) {
    for at in places {
        let pid = doer(call, host::u32_at(bytes, *at) as i32);
        if let Some(place) = bytes.get_mut(*at..*at + 4) {
            place.copy_from_slice(&pid.to_ne_bytes());
        }
    }
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
    if len == 112 {
        // shm_cpid, shm_lpid
        name_doers(call, &mut bytes, &[80, 84]);
    }
    call.copy_out(2, 0, &bytes)?;
    Ok(result)
}

/// semctl(2): its structure or array, where the command has one, is span 3.
pub fn semctl(call: &Call<'_, '_>) -> Outcome {
    const SET: u64 = 104;
    const COUNT: usize = 80;
    let plain = |command: i32, buffer: Arg<'_>| {
        let [id, which] = [0, 1].map(|index| Arg::number(call.word(index)));
        let command = Arg::number(command as u64);
        call.inline(libc::SYS_semctl, &[id, which, command, buffer, Arg::null(), Arg::null()])
    };
    let command = call.int(2);
    let len = match command & !0x100 {
        // GETALL, SETALL: as many as the set has, whatever came with the call
        13 | 17 => {
            let mut set = [0; SET as usize];
            plain(libc::IPC_STAT, Arg::output(&mut set))?;
            2 * host::u64_at(&set, COUNT)
        }
        // IPC_SET, IPC_STAT, SEM_STAT, SEM_STAT_ANY
        1 | 2 | 18 | 20 => SET,
        // IPC_INFO, SEM_INFO
        3 | 19 => 40,
        // GETPID
        11 => return plain(command, Arg::null()).map(|pid| doer(call, pid as i32).into()),
        _ => return plain(command, Arg::number(call.word(3))),
    };
    exchanged(call, 3, len, &[], |buffer| plain(command, buffer))
}

/// msgctl(2): its structure, where the command has one, is span 2.
pub fn msgctl(call: &Call<'_, '_>) -> Outcome {
    let plain = |buffer: Arg<'_>| {
        let [id, command] = [0, 1].map(|index| Arg::number(call.word(index)));
        call.inline(libc::SYS_msgctl, &[id, command, buffer, Arg::null(), Arg::null(), Arg::null()])
    };
    match call.int(1) & !0x100 {
        // IPC_SET, IPC_STAT, MSG_STAT, MSG_STAT_ANY
        1 | 2 | 11 | 13 => exchanged(call, 2, 120, &[96, 100], plain),
        // IPC_INFO, MSG_INFO
        3 | 12 => exchanged(call, 2, 32, &[], plain),
        _ => plain(Arg::null()),
    }
}

/// Makes a call with a copy of the `len` bytes of a buffer, and copies back what it left there; at
/// `doers` are numbers of processes.
fn exchanged(
    call: &Call<'_, '_>,
    index: usize,
    len: u64,
    doers: &[usize],
    make: impl FnOnce(Arg<'_>) -> Outcome,
) -> Outcome {
    let mut bytes = call.copy_in(index, len)?;
    let result = make(Arg::output(&mut bytes))?;
    name_doers(call, &mut bytes, doers);
    call.copy_out(index, 0, &bytes)?;
    Ok(result)
}

/// msgsnd and msgrcv: type and text of the message are span 1, of which the text has as many bytes as
/// argument 2 says.
pub fn queued_message(call: &mut Call<'_, '_>) -> Outcome {
    const TYPE: u64 = 8;
    let len = call.word(2);
    if call.len(1) != TYPE.saturating_add(len) {
        return Err(Errno(libc::EFAULT));
    }
    let mut message = call.copy_in(1, call.len(1))?;
    let [id, len, a3, a4] = [0, 2, 3, 4].map(|index| Arg::number(call.word(index)));
    let args = [id, Arg::output(&mut message), len, a3, a4, Arg::null()];
    let result = call.blocking(i64::from(call.nr), &args)?;
    if i64::from(call.nr) == libc::SYS_msgrcv {
        call.copy_out(1, 0, &message)?;
    }
    Ok(result)
}
