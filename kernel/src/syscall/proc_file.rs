//! Files of `/proc` that the kernel itself reads.

use alloc::vec::Vec;

use shm_ipc::calls::private;
use zerocopy::IntoBytes;

use crate::abi::Errno;
use crate::forward::Request;
use crate::mm;

const CLOSE: u32 = 3;
const PREAD64: u32 = 17;
const OPENAT: u32 = 257;

/// What a file holds.
///
/// # Errors
/// Those of opening and reading.
pub fn read(path: &str) -> Result<Vec<u8>, Errno> {
    read_with(path, None)
}

/// The program's own `/proc/self/maps`.
///
/// # Errors
/// Those of opening and reading.
pub fn maps() -> Result<Vec<u8>, Errno> {
    let areas = mm::space().areas().as_bytes().to_vec();
    read_with("/proc/self/maps", Some(areas))
}

/// `said` is what the proxy needs to answer for the program (`procfs`).
fn read_with(path: &str, said: Option<Vec<u8>>) -> Result<Vec<u8>, Errno> {
    const AT_FDCWD: u64 = -100i64 as u64;
    const O_CLOEXEC: u64 = 0o2_000_000;
    const CHUNK: usize = 4096;
    let mut request = Request::kernel(OPENAT);
    request.set(0, AT_FDCWD);
    request.kernel_buffer(1, [path.as_bytes(), &[0]].concat());
    request.set(2, O_CLOEXEC);
    if let Some(said) = said {
        request.kernel_buffer(private::OWN_PROC, said);
    }
    let fd = request.run().result?;
    let mut content = Vec::new();
    let read = loop {
        let mut request = Request::kernel(PREAD64);
        request.set(0, fd);
        request.kernel_buffer(1, alloc::vec![0; CHUNK]);
        request.set(2, CHUNK as u64);
        request.set(3, content.len() as u64);
        match request.run().result {
            Ok(0) => break Ok(()),
            Ok(count) => content.extend_from_slice(&request.kernel_bytes(0)[..(count as usize).min(CHUNK)]),
            Err(errno) => break Err(errno),
        }
    };
    let mut close = Request::kernel(CLOSE);
    close.set(0, fd);
    // Nothing can be done about a descriptor that does not close.
    let _ = close.run();
    read.map(|()| content)
}
