//! From a path to the registers of a program's first instruction.

use alloc::vec::Vec;
use core::sync::atomic::{AtomicI32, Ordering};

use shm_ipc::boot::BootInfo;

use super::load::{self, Program, Source};
use super::stack::{self, Contents};
use super::started::{self, Started};
use crate::abi::Errno;
use crate::arch::TrapFrame;
use crate::forward::Request;
use crate::mm;

const PREAD64: u32 = 17;
const OPENAT: u32 = 257;
const CLOSE: u32 = 3;

/// A file that is read through the proxy.
#[derive(Debug)]
struct Forwarded {
    fd: i32,
    /// Opened here, and to be closed here.
    own: bool,
    /// The proxy's own descriptor: read by a request of the kernel's.
    reads: u32,
}

impl Forwarded {
    fn open(path: &[u8]) -> Result<Self, Errno> {
        const AT_FDCWD: u64 = -100i64 as u64;
        const O_CLOEXEC: u64 = 0o2_000_000;
        let mut request = Request::kernel(OPENAT);
        request.set(0, AT_FDCWD);
        let mut bytes = path.to_vec();
        bytes.push(0);
        request.kernel_buffer(1, bytes);
        request.set(2, O_CLOEXEC);
        let fd = request.run().result?;
        Ok(Forwarded { fd: fd as i32, own: true, reads: PREAD64 })
    }
}

impl Source for Forwarded {
    fn fd(&self) -> i32 {
        self.fd
    }

    fn read_at(&self, offset: u64, to: &mut [u8]) -> Result<usize, Errno> {
        let mut request = Request::kernel(self.reads);
        request.set(0, self.fd as u64);
        request.kernel_buffer(1, alloc::vec![0; to.len()]);
        request.set(2, to.len() as u64);
        request.set(3, offset);
        let read = request.run().result? as usize;
        let read = read.min(to.len());
        to[..read].copy_from_slice(&request.kernel_bytes(0)[..read]);
        Ok(read)
    }
}

impl Drop for Forwarded {
    fn drop(&mut self) {
        if self.own {
            let mut request = Request::kernel(CLOSE);
            request.set(0, self.fd as u64);
            // Nothing can be done about a descriptor that does not close.
            let _ = request.run();
        }
    }
}

/// The proxy's descriptor of the program's file: the one of the proxy's own that may be mapped.
static PROGRAM_FD: AtomicI32 = AtomicI32::new(-1);

/// The proxy's descriptor of the file of the program that runs, or is being loaded.
pub fn program_fd() -> i32 {
    PROGRAM_FD.load(Ordering::Relaxed)
}

/// A program and its interpreter, read as far as it takes to load them without fail.
#[derive(Debug)]
pub struct Loadable {
    program: Program,
    linker: Option<(Program, Forwarded)>,
}

impl Loadable {
    /// Reads the program that the proxy has opened as `fd`, and finds its interpreter.
    ///
    /// # Errors
    /// Those of opening and reading, `ENOEXEC`.
    pub fn find(fd: i32) -> Result<Loadable, Errno> {
        let file = Forwarded { fd, own: false, reads: shm_ipc::calls::private::READ_EXEC };
        let program = Program::read(&file)?;
        let linker = match program.interpreter() {
            Some(path) => {
                let file = Forwarded::open(path)?;
                Some((Program::read(&file)?, file))
            }
            None => None,
        };
        Ok(Loadable { program, linker })
    }
}

/// Loads a program and builds its stack, in an empty address space. Gives the registers to start it
/// with.
///
/// # Errors
/// Those of mapping, `E2BIG`, `ENOMEM`.
pub fn start(
    file: Loadable,
    info: &BootInfo,
    args: &[Vec<u8>],
    env: &[Vec<u8>],
    path: &[u8],
    random: [u8; 16],
) -> Result<TrapFrame, Errno> {
    let Loadable { program, linker } = file;
    PROGRAM_FD.store(program.fd(), Ordering::Relaxed);
    let mut space = mm::space();
    let stack = space.map_stack(stack::stack_bytes(info.stack_limit))?;
    let image = load::load(&mut space, &program, linker.as_ref().map(|(program, _)| program))?;
    let vdso = space.map_vdso()?;
    if program.wants_exec_stack() {
        const READ_WRITE_EXEC: u32 = 7;
        space.mprotect(stack.start, stack.end - stack.start, READ_WRITE_EXEC)?;
    }
    let auxiliary = stack::auxiliary(&image, vdso, info);
    let contents = Contents { args, env, path, random, auxiliary: &auxiliary };
    let initial = stack::put(&mut space, &stack, &contents)?;
    drop(space);
    let sp = initial.sp;
    started::remember(Started {
        code: program.code(image.base),
        heap: image.heap_start,
        stack: sp,
        args: initial.args,
        env: initial.env,
        auxiliary: initial.auxiliary,
    });
    Ok(TrapFrame::start(image.start_ip, sp))
}
