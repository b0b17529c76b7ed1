//! Waiting for events: poll, select and epoll.
//!
//! All are first made with no time to wait; only what then finds nothing and was meant to wait
//! is made again as a call that may block. Sets of descriptors are copied before Linux sees
//! them, so that the proxy's own can be told apart. poll and select are made as ppoll and
//! pselect6, of which they are special cases. Signal masks are the business of the cell's kernel.

use super::arguments::Arguments;
use super::call::Call;
use super::host::{self, Arg, Errno, Outcome};

/// `struct timespec`: seconds, nanoseconds. `None` where one is expected: for ever.
type Time = [u8; 16];

const NO_TIME: Time = [0; 16];

fn time(seconds: i64, nanoseconds: i64) -> Time {
    let mut time = NO_TIME;
    time[..8].copy_from_slice(&seconds.to_ne_bytes());
    time[8..].copy_from_slice(&nanoseconds.to_ne_bytes());
    time
}

/// The time in argument `index`, if there is one.
fn time_at(call: &Call<'_, '_>, index: usize) -> Result<Option<Time>, Errno> {
    if call.word(index) == 0 && !call.has_buffer(index) { Ok(None) } else { call.structure(index).map(Some) }
}

/// `struct pollfd`: descriptor, events, events that have come.
const POLLFD: usize = 8;
const REVENTS_AT: usize = 6;

/// poll(2)
pub fn poll(call: &mut Call<'_, '_>) -> Outcome {
    let milliseconds = i64::from(call.int(2));
    let mut left = (milliseconds >= 0).then(|| time(milliseconds / 1000, milliseconds % 1000 * 1_000_000));
    poll_for(call, &mut left)
}

/// ppoll(2)
pub fn ppoll(call: &mut Call<'_, '_>) -> Outcome {
    let mut left = time_at(call, 2)?;
    let result = poll_for(call, &mut left);
    if let Some(left) = left {
        call.copy_out(2, 0, &left)?;
    }
    result
}

fn poll_for(call: &mut Call<'_, '_>, left: &mut Option<Time>) -> Outcome {
    let count = u64::from(call.word(1) as u32);
    if count > call.descriptors().limit().0 {
        return Err(Errno(libc::EINVAL));
    }
    let bytes = count * POLLFD as u64;
    if bytes != call.len(0) {
        return Err(Errno(libc::EFAULT));
    }
    let mut list = call.copy_in(0, bytes)?;
    let refused = hide_private(call, &mut list);
    let mut found = poll_once(call, &mut list, &mut Some(NO_TIME), false)?;
    if found == 0 && refused.is_empty() && *left != Some(NO_TIME) {
        found = poll_once(call, &mut list, left, true)?;
    }
    for (index, entry) in list.chunks_exact(POLLFD).enumerate() {
        let revents = if refused.contains(&index) { &libc::POLLNVAL.to_ne_bytes() } else { &entry[REVENTS_AT..] };
        call.copy_out(0, (index * POLLFD + REVENTS_AT) as u64, revents)?;
    }
    Ok(found + refused.len() as i64)
}

/// Takes the proxy's own descriptors out of a poll list; gives their places.
fn hide_private(call: &Call<'_, '_>, list: &mut [u8]) -> Vec<usize> {
    let mut places = Vec::new();
    for (index, entry) in list.chunks_exact_mut(POLLFD).enumerate() {
        if call.descriptors().is_private(host::u32_at(entry, 0) as i32) {
            entry[..4].copy_from_slice(&(-1i32).to_ne_bytes());
            places.push(index);
        }
    }
    places
}

fn poll_once(call: &mut Call<'_, '_>, list: &mut [u8], left: &mut Option<Time>, may_block: bool) -> Outcome {
    let count = Arg::number((list.len() / POLLFD) as u64);
    let left = left.as_mut().map_or(Arg::null(), |left| Arg::output(left));
    call.make(libc::SYS_ppoll, &[Arg::output(list), count, left, Arg::null(), Arg::null(), Arg::null()], may_block)
}

/// select(2): its time is a `struct timeval`.
pub fn select(call: &mut Call<'_, '_>) -> Outcome {
    const MICROS: i64 = 1_000_000;
    let given = time_at(call, 4)?;
    let mut left = match given {
        None => None,
        Some(bytes) => {
            let (seconds, micros) = (host::u64_at(&bytes, 0) as i64, host::u64_at(&bytes, 8) as i64);
            // Linux takes more than a second's worth of microseconds here.
            let seconds = seconds.checked_add(micros / MICROS).ok_or(Errno(libc::EINVAL))?;
            Some(time(seconds, micros % MICROS * 1000))
        }
    };
    let result = select_for(call, &mut left);
    if let Some(left) = left {
        let micros = host::u64_at(&left, 8) / 1000;
        call.copy_out(4, 0, &left[..8])?;
        call.copy_out(4, 8, &micros.to_ne_bytes())?;
    }
    result
}

/// pselect6(2)
pub fn pselect6(call: &mut Call<'_, '_>) -> Outcome {
    let mut left = time_at(call, 4)?;
    let result = select_for(call, &mut left);
    if let Some(left) = left {
        call.copy_out(4, 0, &left)?;
    }
    result
}

/// Three sets, for reading, writing and exceptions; `None` where the program gave none.
type Sets = [Option<Vec<u8>>; 3];

fn select_for(call: &mut Call<'_, '_>, left: &mut Option<Time>) -> Outcome {
    let count = call.int(0);
    if count < 0 {
        return Err(Errno(libc::EINVAL));
    }
    // Linux looks at no more than the table of descriptors has; beyond, nothing is looked at.
    let count = count.min(call.descriptors().table_size());
    let bytes = (count as u64).div_ceil(64) * 8;
    let mut sets: Sets = [None, None, None];
    for (index, set) in sets.iter_mut().enumerate() {
        if call.word(index + 1) != 0 && bytes > 0 {
            *set = Some(call.copy_in(index + 1, bytes)?);
        }
    }
    let names = |fd: i32| sets.iter().flatten().any(|set| set[fd as usize / 8] & 1 << (fd % 8) != 0);
    if call.descriptors().private().take_while(|fd| *fd < count).any(names) {
        return Err(Errno(libc::EBADF));
    }
    let mut result = sets.clone();
    let mut found = select_once(call, count, &mut result, &mut Some(NO_TIME), false)?;
    if found == 0 && *left != Some(NO_TIME) {
        result = sets;
        found = select_once(call, count, &mut result, left, true)?;
    }
    for (index, set) in result.iter().enumerate() {
        if let Some(set) = set {
            call.copy_out(index + 1, 0, set)?;
        }
    }
    Ok(found)
}

fn select_once(
    call: &mut Call<'_, '_>,
    count: i32,
    sets: &mut Sets,
    left: &mut Option<Time>,
    may_block: bool,
) -> Outcome {
    let [read, write, except] = sets.each_mut().map(|set| set.as_mut().map_or(Arg::null(), |set| Arg::output(set)));
    let left = left.as_mut().map_or(Arg::null(), |left| Arg::output(left));
    call.make(libc::SYS_pselect6, &[Arg::number(count as u64), read, write, except, left, Arg::null()], may_block)
}

/// epoll_wait and epoll_pwait.
pub fn epoll_wait(call: &mut Call<'_, '_>) -> Outcome {
    let waits = call.int(3) != 0;
    epoll(call, waits, Arg::number(0))
}

/// epoll_pwait2(2): its time is a `struct timespec`.
pub fn epoll_pwait2(call: &mut Call<'_, '_>) -> Outcome {
    let waits = time_at(call, 3)? != Some(NO_TIME);
    epoll(call, waits, Arg::input(&NO_TIME))
}

fn epoll(call: &mut Call<'_, '_>, waits: bool, at_once: Arg<'static>) -> Outcome {
    let nr = i64::from(call.nr);
    let mut arguments = Arguments::new(call)?;
    let args = arguments.args(call)?;
    let mut trying = args;
    trying[3] = at_once;
    let mut found = call.inline(nr, &trying)?;
    if found == 0 && waits {
        found = call.blocking(nr, &args)?;
    }
    arguments.write_back(call)?;
    Ok(found)
}
