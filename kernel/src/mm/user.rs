//! Access to program memory by the kernel.
//!
//! A pointer of the program is an allegation: the functions here check that it lies where the
//! program's memory may lie, and copy by instructions whose faults are caught
//! ([`arch`]). Memory that is filled on demand gets filled; anything else ends as `EFAULT`.
//! No reference to program memory is ever formed.
//!
//! A fault takes the lock of the address space: never hold it while using these functions.

use alloc::vec::Vec;

use shm_ipc::layout::PAGE;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::user_range;
use crate::abi::Errno;
use crate::arch;

/// Copies bytes of the program at `from` into `to`.
///
/// # Errors
/// `EFAULT` when they are not all readable; `to` may then be filled in part.
pub fn copy_in(to: &mut [u8], from: u64) -> Result<(), Errno> {
    check(from, to.len() as u64)?;
    // SAFETY: `to` is ours and as long as we say; `from` lies in the program's range (checked),
    // where a fault is caught by `guarded_copy`.
    unsafe { arch::guarded_copy(to.as_mut_ptr(), from as *const u8, to.len()) }.map_err(|_| Errno::EFAULT)
}

/// Copies `from` to the program's memory at `to`.
///
/// # Errors
/// `EFAULT` when that is not all writable; it may then be filled in part.
pub fn copy_out(to: u64, from: &[u8]) -> Result<(), Errno> {
    check(to, from.len() as u64)?;
    // SAFETY: as in `copy_in`, the other way round.
    unsafe { arch::guarded_copy(to as *mut u8, from.as_ptr(), from.len()) }.map_err(|_| Errno::EFAULT)
}

/// Reads a value of the program.
///
/// # Errors
/// `EFAULT` when it is not readable.
pub fn read<T: FromBytes>(from: u64) -> Result<T, Errno> {
    check(from, size_of::<T>() as u64)?;
    let mut value = T::new_zeroed();
    // SAFETY: as in `copy_in`; `value` is ours, and any bytes make a valid one (`FromBytes`).
    let copied = unsafe { arch::guarded_copy((&raw mut value).cast(), from as *const u8, size_of::<T>()) };
    copied.map(|()| value).map_err(|_| Errno::EFAULT)
}

/// Writes a value for the program.
///
/// # Errors
/// `EFAULT` when the place is not writable.
pub fn write<T: IntoBytes + Immutable + ?Sized>(to: u64, value: &T) -> Result<(), Errno> {
    copy_out(to, value.as_bytes())
}

/// Reads a string of the program, without the zero byte that ends it.
///
/// # Errors
/// `EFAULT` when it is not readable, `ENAMETOOLONG` when there is no zero byte among its first
/// `max` bytes.
pub fn read_cstr(from: u64, max: usize) -> Result<Vec<u8>, Errno> {
    let mut text = Vec::new();
    while text.len() < max {
        let at = from.checked_add(text.len() as u64).ok_or(Errno::EFAULT)?;
        // To the end of the page and no further: the next one may not be there.
        let mut chunk = [0; 256];
        let room = (PAGE - at % PAGE).min(chunk.len() as u64) as usize;
        let chunk = &mut chunk[..room.min(max - text.len())];
        copy_in(chunk, at)?;
        let end = chunk.iter().position(|byte| *byte == 0);
        text.extend_from_slice(&chunk[..end.unwrap_or(chunk.len())]);
        if end.is_some() {
            return Ok(text);
        }
    }
    Err(Errno::ENAMETOOLONG)
}

/// Writes `len` zero bytes.
///
/// # Errors
/// `EFAULT` when they are not all writable.
pub fn clear(to: u64, len: u64) -> Result<(), Errno> {
    static ZEROES: [u8; PAGE as usize] = [0; PAGE as usize];
    check(to, len)?;
    let mut done = 0;
    while done < len {
        let step = (len - done).min(PAGE);
        copy_out(to + done, &ZEROES[..step as usize])?;
        done += step;
    }
    Ok(())
}

/// Loads a word of the program that other threads change at the same time.
///
/// # Errors
/// `EINVAL` when it is misaligned, `EFAULT` when it is not readable.
pub fn load_u32(at: u64) -> Result<u32, Errno> {
    check_word(at)?;
    // SAFETY: aligned and in the program's range (checked); a fault is caught.
    unsafe { arch::guarded_load_u32(at as *const u32) }.map_err(|_| Errno::EFAULT)
}

/// Compares a word of the program with `old` and, if equal, replaces it by `new`. Gives what
/// was there.
///
/// # Errors
/// `EINVAL` when it is misaligned, `EFAULT` when it is not writable.
pub fn cas_u32(at: u64, old: u32, new: u32) -> Result<u32, Errno> {
    check_word(at)?;
    // SAFETY: aligned and in the program's range (checked); a fault is caught.
    unsafe { arch::guarded_cas_u32(at as *mut u32, old, new) }.map_err(|_| Errno::EFAULT)
}

/// Whether `len` bytes at `addr` lie where the program's memory may lie.
///
/// # Errors
/// `EFAULT` when they do not.
pub fn check(addr: u64, len: u64) -> Result<(), Errno> {
    let range = user_range();
    let end = addr.checked_add(len).ok_or(Errno::EFAULT)?;
    if len == 0 || addr >= range.start && end <= range.end { Ok(()) } else { Err(Errno::EFAULT) }
}

fn check_word(at: u64) -> Result<(), Errno> {
    if at.is_multiple_of(4) { check(at, 4) } else { Err(Errno::EINVAL) }
}
