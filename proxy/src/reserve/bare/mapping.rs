//! Memory that this process maps: the only unsafe code of this folder, with that of [`super::pins`].

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr::{self, NonNull};

use crate::sys::{self, Binding};

/// A range of addresses of this process. It is unmapped on drop.
#[derive(Debug)]
pub struct Mapping {
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: the range is shared memory by nature, and is accessed by volatile accesses or the
// operating system only.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

/// What a mapping is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// To look.
    Read,
    /// To look and write.
    Write,
}

impl Access {
    fn protection(self) -> i32 {
        match self {
            Access::Read => libc::PROT_READ,
            Access::Write => libc::PROT_READ | libc::PROT_WRITE,
        }
    }
}

impl Mapping {
    /// Maps part of a file, or of a device, shared.
    pub fn of_file(file: impl AsFd, offset: u64, len: usize, access: Access) -> io::Result<Self> {
        let offset = i64::try_from(offset).map_err(io::Error::other)?;
        let fd = file.as_fd().as_raw_fd();
        // SAFETY: a new mapping at an address of Linux's choice replaces nothing.
        let base = unsafe { libc::mmap(ptr::null_mut(), len, access.protection(), libc::MAP_SHARED, fd, offset) };
        Self::made(base, len)
    }

    /// Addresses for `len` bytes, with nothing there yet; the first a multiple of `alignment`.
    pub fn reserve(len: usize, alignment: usize) -> io::Result<Self> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        let whole = len.checked_add(alignment).ok_or(io::ErrorKind::OutOfMemory)?;
        // SAFETY: a new mapping at an address of Linux's choice replaces nothing.
        let start = unsafe { libc::mmap(ptr::null_mut(), whole, libc::PROT_NONE, flags, -1, 0) };
        let mut mapping = Self::made(start, whole)?;
        let before = start.align_offset(alignment);
        // SAFETY: both parts are of the mapping that was just made, `before` < `alignment`, and
        // nobody knows them yet.
        unsafe {
            mapping.base = mapping.base.add(before);
            mapping.len = len;
            if before > 0 {
                libc::munmap(start, before);
            }
            libc::munmap(mapping.base.add(len).as_ptr().cast(), alignment - before);
        }
        Ok(mapping)
    }

    fn made(base: *mut libc::c_void, len: usize) -> io::Result<Self> {
        match NonNull::new(base.cast::<u8>()) {
            Some(at) if base != libc::MAP_FAILED => Ok(Mapping { base: at, len }),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Puts part of a file at `at..at + len`, readable and writable.
    pub fn place(&mut self, at: usize, file: impl AsFd, offset: u64, len: usize) -> io::Result<()> {
        let target = self.within(at, len)?;
        let offset = i64::try_from(offset).map_err(io::Error::other)?;
        let (protection, flags) = (Access::Write.protection(), libc::MAP_SHARED | libc::MAP_FIXED);
        // SAFETY: what is replaced lies in this mapping, and nobody refers to it: it is borrowed
        // exclusively.
        let placed = unsafe { libc::mmap(target.cast(), len, protection, flags, file.as_fd().as_raw_fd(), offset) };
        if placed == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Gives all pages of `at..at + len` their memory, as a write to each would.
    ///
    /// # Errors
    /// EFAULT where a write would end in SIGBUS: there is no page.
    pub fn populate(&self, at: usize, len: usize) -> io::Result<()> {
        let start = self.within(at, len)?;
        // SAFETY: changes no content.
        match unsafe { libc::madvise(start.cast(), len, libc::MADV_POPULATE_WRITE) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Binds pages that are still to come to a NUMA node.
    pub fn bind(&self, numa: u32) -> io::Result<()> {
        sys::bind_mapping(self.base.as_ptr(), self.len, numa, Binding::Strict)
    }

    /// The first address.
    pub fn base(&self) -> NonNull<u8> {
        self.base
    }

    /// Bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Copies `N` bytes at a time out of it, from `at` on.
    pub fn read(&self, at: usize, bytes: &mut [u8]) {
        let start = self.within(at, bytes.len()).expect("the caller stays inside");
        for (index, byte) in bytes.iter_mut().enumerate() {
            // SAFETY: inside the mapping, which is readable, and any byte is a valid `u8`.
            *byte = unsafe { start.add(index).read_volatile() };
        }
    }

    /// Copies `bytes` into it. The mapping must be writable.
    pub fn write(&self, at: usize, bytes: &[u8]) {
        let start = self.within(at, bytes.len()).expect("the caller stays inside");
        for (index, byte) in bytes.iter().enumerate() {
            // SAFETY: inside the mapping, of which this process has no references.
            unsafe { start.add(index).write_volatile(*byte) };
        }
    }

    /// Reads a register of a device: 32 bits in one access.
    pub fn read_register(&self, at: usize) -> u32 {
        let register = self.register(at);
        // SAFETY: inside the mapping and aligned.
        unsafe { register.read_volatile() }
    }

    /// Writes a register of a device: 32 bits in one access. The mapping must be writable.
    pub fn write_register(&self, at: usize, value: u32) {
        let register = self.register(at);
        // SAFETY: inside the mapping and aligned; nothing here is a Rust object.
        unsafe { register.write_volatile(value) };
    }

    fn register(&self, at: usize) -> *mut u32 {
        assert!(at.is_multiple_of(4), "registers are aligned");
        self.within(at, 4).expect("the caller stays inside").cast()
    }

    /// Lets go of what is mapped, for good, but not of the addresses: whoever still has some finds
    /// memory there that is nobody's.
    pub fn abandon(self) -> io::Result<()> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_FIXED;
        let (base, protection) = (self.base.as_ptr().cast(), Access::Write.protection());
        // SAFETY: replaces this mapping, of which there are no references, by one that is as long
        // and as accessible.
        if unsafe { libc::mmap(base, self.len, protection, flags, -1, 0) } == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        std::mem::forget(self);
        Ok(())
    }

    /// The address of a part of it.
    fn within(&self, at: usize, len: usize) -> io::Result<*mut u8> {
        let end = at.checked_add(len).filter(|end| *end <= self.len);
        end.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        // SAFETY: inside the mapping.
        Ok(unsafe { self.base.as_ptr().add(at) })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range is ours; whoever got addresses in it has been told that they end with
        // this.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.len) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::tests::Fixture;
    use std::fs::File;

    const PAGE: usize = 4096;

    #[test]
    fn pieces_of_a_file_in_another_order() {
        let root = Fixture::new();
        let path = root.file("file", "");
        std::fs::write(&path, [[1; PAGE], [2; PAGE], [3; PAGE]].concat()).expect("own file");
        let file = File::options().read(true).write(true).open(&path).expect("own file");
        let mut mapping = Mapping::reserve(3 * PAGE, 1 << 20).expect("addresses");
        assert!(mapping.base().as_ptr().addr().is_multiple_of(1 << 20));
        mapping.place(0, &file, 2 * PAGE as u64, PAGE).expect("placed");
        mapping.place(PAGE, &file, 0, 2 * PAGE).expect("placed");
        mapping.populate(0, 3 * PAGE).expect("there");
        let mut bytes = [0; 3];
        for (page, byte) in bytes.iter_mut().enumerate() {
            mapping.read(page * PAGE, std::slice::from_mut(byte));
        }
        assert_eq!(bytes, [3, 1, 2]);
        mapping.write(PAGE + 1, &[9, 8]);
        assert_eq!(std::fs::read(&path).expect("own file")[..3], [1, 9, 8]);
        mapping.write_register(PAGE, 0x0403_0201);
        assert_eq!((mapping.read_register(PAGE), mapping.len()), (0x0403_0201, 3 * PAGE));
        assert!(mapping.place(PAGE, &file, 0, 3 * PAGE).is_err(), "beyond the end");
        assert!(mapping.populate(3 * PAGE, 1).is_err(), "beyond the end");
        let base = mapping.base();
        mapping.abandon().expect("possible");
        // SAFETY: what was abandoned can still be read.
        assert_eq!(unsafe { base.as_ptr().read_volatile() }, 0);
    }

    #[test]
    fn no_file_no_mapping() {
        let root = Fixture::new();
        let path = root.file("file", "x");
        let read_only = File::open(&path).expect("own file");
        assert!(Mapping::of_file(&read_only, 0, PAGE, Access::Write).is_err());
        assert!(Mapping::of_file(&read_only, 0, PAGE, Access::Read).is_ok());
    }
}
