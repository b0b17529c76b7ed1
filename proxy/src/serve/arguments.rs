//! A block's arguments as Linux takes them, by the shapes of the call table.
//!
//! A buffer in one piece is passed where it lies, so that Linux copies from or to the program's
//! memory directly. One in several pieces goes through a copy, which begins with the pieces'
//! content even for a call that only fills it: bytes that the call leaves alone stay what they
//! were. No call is ever given a length beyond the bytes that came with it.

use std::ffi::CString;

use shm_ipc::calls::{self, Len, Shape, private};

use super::call::Call;
use super::host::{Arg, Errno, Vectors};

/// Longest path, with its end (`PATH_MAX`).
const PATH_MAX: u64 = 4096;

/// Length given along with a null pointer: Linux finds the first page unmapped all the same.
const NULL_LEN: u64 = 4096;

/// What stands for an argument.
#[derive(Debug)]
pub enum Slot {
    /// A number, or null.
    Number(u64),
    /// A buffer without bytes, by the pointer that the program gave.
    Nowhere(u64),
    /// A path or another string.
    Text(CString),
    /// A buffer in one piece: offset and length.
    Shared(u64, u64),
    /// The proxy's copy of a buffer; the flag: write it back afterwards.
    Copy(Vec<u8>, bool),
    /// Several pieces.
    Pieces(Vectors),
}

/// The arguments of a call.
#[derive(Debug)]
pub struct Arguments {
    /// One for each of Linux's six.
    pub slots: [Slot; 6],
}

impl Arguments {
    /// Follows the call table.
    pub fn new(call: &Call<'_, '_>) -> Result<Self, Errno> {
        let row = calls::lookup(u64::from(call.nr)).ok_or(Errno(libc::ENOSYS))?;
        let mut all = Arguments { slots: std::array::from_fn(|i| Slot::Number(call.word(i))) };
        for index in row.args.len()..6 {
            all.slots[index] = Slot::Number(0);
        }
        for (index, shape) in row.args.iter().enumerate() {
            match *shape {
                Shape::Int => {}
                Shape::Fd | Shape::AtFd => {
                    call.fd(index)?;
                }
                Shape::Path => all.slots[index] = path(call, index)?,
                // A length that an earlier buffer has been measured by.
                _ if matches!(all.slots[index], Slot::Copy(..)) => {}
                Shape::In(len) => all.buffer(call, index, len, false)?,
                Shape::Out(len) | Shape::InOut(len) => all.buffer(call, index, len, true)?,
                Shape::IovIn(count) | Shape::IovOut(count) => all.pieces(call, index, count as usize)?,
                // Null, unless the call's handler knows better.
                Shape::Special if leads_nowhere(call, index) => all.slots[index] = Slot::Nowhere(call.word(index)),
                Shape::Special => all.slots[index] = Slot::Number(0),
            }
        }
        Ok(all)
    }

    fn buffer(&mut self, call: &Call<'_, '_>, index: usize, len: Len, fills: bool) -> Result<(), Errno> {
        if leads_nowhere(call, index) {
            self.slots[index] = Slot::Nowhere(call.word(index));
            return Ok(());
        }
        let total = call.len(index);
        let is_null = call.word(index) == 0 && !call.has_buffer(index);
        let wanted = match len {
            Len::Fixed(_) | Len::ArgTimes(..) if is_null => 0,
            Len::Fixed(bytes) => u64::from(bytes),
            Len::ArgTimes(arg, unit) => u64::from(call.word(arg as usize) as u32) * u64::from(unit),
            Len::Arg(arg) => {
                let cap = if is_null { NULL_LEN } else { total };
                let wanted = call.word(arg as usize).min(cap);
                self.slots[arg as usize] = Slot::Number(wanted);
                wanted
            }
            Len::AtArg(_) if is_null => 0,
            Len::AtArg(arg) => self.length_at(call, arg as usize, total)?,
        };
        if is_null {
            self.slots[index] = Slot::Number(0);
            return Ok(());
        }
        let exact = matches!(len, Len::Fixed(_) | Len::ArgTimes(..));
        if exact && wanted != total {
            return Err(Errno(libc::EFAULT));
        }
        self.slots[index] = memory(call, index, wanted, fills)?;
        Ok(())
    }

    /// The length that argument `arg` points to, bounded by what there is. Linux gets a copy, so
    /// that nobody changes it in between.
    fn length_at(&mut self, call: &Call<'_, '_>, arg: usize, total: u64) -> Result<u64, Errno> {
        let alleged = u64::from(u32::from_ne_bytes(call.structure(arg)?));
        let len = alleged.min(total);
        self.slots[arg] = Slot::Copy((len as u32).to_ne_bytes().to_vec(), true);
        Ok(len)
    }

    fn pieces(&mut self, call: &Call<'_, '_>, index: usize, count: usize) -> Result<(), Errno> {
        if leads_nowhere(call, index) {
            self.slots[index] = Slot::Nowhere(call.word(index));
            return Ok(());
        }
        let vectors = vectors(call, index)?;
        self.slots[count] = Slot::Number(vectors.count());
        self.slots[index] = Slot::Pieces(vectors);
        Ok(())
    }

    /// For the system call.
    pub fn args(&mut self, call: &Call<'_, '_>) -> Result<[Arg<'_>; 6], Errno> {
        let region = &call.service.cell.region;
        let mut args = [Arg::null(); 6];
        for (slot, arg) in self.slots.iter_mut().zip(&mut args) {
            *arg = match slot {
                Slot::Number(word) => Arg::number(*word),
                Slot::Nowhere(pointer) => Arg::nowhere(*pointer),
                Slot::Text(text) => Arg::text(text),
                Slot::Shared(offset, len) => Arg::shared(region, *offset, *len).ok_or(Errno(libc::EFAULT))?,
                Slot::Copy(bytes, _) => Arg::output(bytes),
                Slot::Pieces(vectors) => Arg::vectors(vectors),
            };
        }
        Ok(args)
    }

    /// After a successful call: the program gets what was filled into copies.
    pub fn write_back(&self, call: &Call<'_, '_>) -> Result<(), Errno> {
        for (index, slot) in self.slots.iter().enumerate() {
            if let Slot::Copy(bytes, true) = slot {
                call.copy_out(index, 0, bytes)?;
            }
        }
        Ok(())
    }

    /// The path or string in argument `index`, if it is one.
    pub fn text(&self, index: usize) -> Option<&CString> {
        match &self.slots[index] {
            Slot::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// Whether argument `index` is a pointer that leads nowhere: then lengths are whatever the program
/// says, as Linux touches nothing.
fn leads_nowhere(call: &Call<'_, '_>, index: usize) -> bool {
    call.has_bad_pointers && call.word(index) != 0 && !call.has_buffer(index)
}

/// The pieces of a payload as an array for readv and its like, with what leads nowhere at its end.
pub fn vectors(call: &Call<'_, '_>, index: usize) -> Result<Vectors, Errno> {
    let mut vectors = Vectors::default();
    for segment in call.block.segments(index) {
        if !vectors.push(&call.service.cell.region, segment.offset, segment.len) {
            return Err(Errno(libc::EFAULT));
        }
    }
    vectors.push_nowhere(call.word(private::MISSING));
    Ok(vectors)
}

/// The first `len` bytes of a buffer.
pub fn memory(call: &Call<'_, '_>, index: usize, len: u64, fills: bool) -> Result<Slot, Errno> {
    match call.block.segments(index) {
        [] => Ok(Slot::Nowhere(call.word(index))),
        [segment] => Ok(Slot::Shared(segment.offset, len)),
        _ => Ok(Slot::Copy(call.copy_in(index, len)?, fills)),
    }
}

fn path(call: &Call<'_, '_>, index: usize) -> Result<Slot, Errno> {
    if leads_nowhere(call, index) {
        return Ok(Slot::Nowhere(call.word(index)));
    }
    if !call.has_buffer(index) {
        return Ok(Slot::Number(0));
    }
    let mut bytes = call.copy_in(index, call.len(index).min(PATH_MAX))?;
    let end = bytes.iter().position(|byte| *byte == 0).ok_or(Errno(libc::ENAMETOOLONG))?;
    bytes.truncate(end);
    CString::new(bytes).map(Slot::Text).map_err(|_| Errno(libc::EINVAL))
}
