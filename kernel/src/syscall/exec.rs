//! execve(2) and execveat(2).
//!
//! A child of vfork becomes a process of Linux. The program itself is replaced in its cell, by its
//! first thread as on Linux, where the thread that calls takes the place of the first one: here it
//! hands what it has found over and ends with the others.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use shm_ipc::calls::private;
use spin::Mutex;
use zerocopy::IntoBytes;

use super::{comm, named, signalfd};
use crate::abi::{Errno, SysResult};
use crate::boot;
use crate::forward::Request;
use crate::loader::exec::{self, Loadable};
use crate::mm::{self, user};
use crate::platform;
use crate::sched::signal::{self, AltStack, SigSet};
use crate::sched::thread::{self, Thread, current, current_arc};
use crate::sched::{futex, posix_timer, process, rseq, vfork};

const AT_FDCWD: u64 = -100i64 as u64;

/// Longest argument or environment entry, with its end (`MAX_ARG_STRLEN`), and all of them together
/// with a word for each (three quarters of Linux's `_STK_LIM`).
const LONGEST_STRING: usize = 32 * 4096;
const LONGEST_STRINGS: usize = 6 << 20;
const PATH_MAX: usize = 4096;

/// execve(2)
pub fn execve(args: [u64; 6]) -> SysResult {
    let [path, argv, envp, ..] = args;
    execute(AT_FDCWD, path, argv, envp, 0)
}

/// execveat(2)
pub fn execveat(args: [u64; 6]) -> SysResult {
    let [directory, path, argv, envp, flags, _] = args;
    execute(directory, path, argv, envp, flags)
}

fn execute(directory: u64, path: u64, argv: u64, envp: u64, flags: u64) -> SysResult {
    let path = user::read_cstr(path, PATH_MAX)?;
    let mut room = LONGEST_STRINGS.min((boot::facts().layout.heap_bytes() / 8) as usize);
    let mut args = strings(argv, &mut room)?;
    let env = strings(envp, &mut room)?;
    if args.is_empty() {
        // A program without even a name: Linux (5.18) gives it an empty one.
        args.push(Vec::new());
    }
    let target = Target { directory, path, flags };
    if current().lent.to().is_some() { on_linux(&target, &args, &env) } else { in_the_cell(&target, args, env) }
}

/// What is to be executed, as the program names it.
struct Target {
    directory: u64,
    path: Vec<u8>,
    flags: u64,
}

impl Target {
    fn request(&self, nr: u32) -> Request {
        let mut request = Request::kernel(nr);
        request.set(0, self.directory);
        request.kernel_buffer(1, [&self.path[..], &[0]].concat());
        request.set(2, self.flags);
        request
    }
}

/// The strings of a list that ends with a null pointer; no list is an empty one.
fn strings(list: u64, room: &mut usize) -> Result<Vec<Vec<u8>>, Errno> {
    let mut all = Vec::new();
    if list == 0 {
        return Ok(all);
    }
    loop {
        let at: u64 = user::read(list.wrapping_add(8 * all.len() as u64))?;
        if at == 0 {
            return Ok(all);
        }
        let text = user::read_cstr(at, LONGEST_STRING).map_err(|errno| match errno {
            Errno::ENAMETOOLONG => Errno::E2BIG,
            other => other,
        })?;
        *room = room.checked_sub(text.len() + 1 + size_of::<u64>()).ok_or(Errno::E2BIG)?;
        all.push(text);
    }
}

/// One after the other, each with its end.
fn packed(strings: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(strings.iter().map(|text| text.len() + 1).sum());
    for text in strings {
        bytes.extend_from_slice(text);
        bytes.push(0);
    }
    bytes
}

fn on_linux(target: &Target, args: &[Vec<u8>], env: &[Vec<u8>]) -> SysResult {
    let mut request = target.request(private::EXECUTE);
    request.kernel_buffer(3, packed(args));
    request.kernel_buffer(4, packed(env));
    let (ignored, blocked) = vfork::inherited_signals(current());
    request.kernel_buffer(5, [ignored.0, blocked.0].as_bytes().to_vec());
    match request.run().result {
        Err(Errno(private::CHILD_GONE)) => vfork::end(current()),
        other => other,
    }
}

/// A program that has been found and is to replace the one that runs.
struct Successor {
    file: Loadable,
    args: Vec<Vec<u8>>,
    env: Vec<Vec<u8>>,
    path: Vec<u8>,
    random: [u8; 16],
    /// The mask of the thread that asked for it.
    mask: SigSet,
}

/// A successor that the first thread is to start.
static SUCCESSOR: Mutex<Option<Successor>> = Mutex::new(None);

fn in_the_cell(target: &Target, args: Vec<Vec<u8>>, env: Vec<Vec<u8>>) -> SysResult {
    let me = current_arc();
    let first = thread::find(boot::facts().info.pid as u32).ok_or_else(|| {
        named::once(named::What::LateExec);
        Errno::ENOSYS
    })?;
    let successor = find(target, args, env)?;
    if Arc::ptr_eq(&me, &first) {
        drop(first);
        return Ok(replace(&me, successor));
    }
    {
        let mut waiting = SUCCESSOR.lock();
        if waiting.is_some() {
            // Another thread was faster: this one ends with the program that it belongs to.
            return Err(Errno::EAGAIN);
        }
        *waiting = Some(successor);
    }
    me.doomed.store(true, Ordering::SeqCst);
    me.attention.store(true, Ordering::SeqCst);
    signal::notify(&first);
    Ok(0)
}

/// Looks the program up and reads what there is to be read before the old one is given up.
fn find(target: &Target, args: Vec<Vec<u8>>, env: Vec<Vec<u8>>) -> Result<Successor, Errno> {
    const GETRANDOM: u32 = 318;
    /// Interpreters of scripts and what they are given, as Linux follows them.
    const SCRIPTS: usize = 5 * 512;
    let given = packed(&args);
    let mut request = target.request(private::FIND_PROGRAM);
    let room = given.len() + SCRIPTS + 5 * target.path.len();
    request.kernel_buffer(3, given);
    request.kernel_buffer(4, alloc::vec![0; room]);
    request.set(5, room as u64);
    let reply = request.run();
    let fd = reply.result? as i32;
    let (bytes, count) = (reply.extra as u32 as usize, (reply.extra >> 32) as usize);
    let text = request.kernel_bytes(2).get(..bytes).ok_or(Errno::E2BIG)?;
    let args: Vec<Vec<u8>> = text.split(|byte| *byte == 0).take(count).map(<[u8]>::to_vec).collect();
    let mut random = Request::kernel(GETRANDOM);
    random.kernel_buffer(0, alloc::vec![0; 16]);
    random.set(1, 16);
    random.run().result?;
    let random = random.kernel_bytes(0).try_into().map_err(|_| Errno::EIO)?;
    Ok(Successor {
        file: Loadable::find(fd)?,
        args,
        env,
        path: target.path.clone(),
        random,
        mask: current().signals.lock().mask,
    })
}

/// First thread, on its way to the program: another thread may have found a successor for it.
pub fn look_for_successor(me: &Arc<Thread>) {
    if u64::from(me.tid) != boot::facts().info.pid {
        return;
    }
    let successor = SUCCESSOR.lock().take();
    if let Some(successor) = successor {
        replace(me, successor);
    }
}

/// Replaces the program. From here on there is no way back: what fails ends the process.
fn replace(me: &Arc<Thread>, successor: Successor) -> u64 {
    let Successor { file, args, env, path, random, mask } = successor;
    process::end_other_threads(me);
    futex::leave_robust_list(me);
    let own = &me.own;
    own.clear_tid.set(0);
    own.robust_list.set(0);
    own.alt_stack.set(AltStack::disabled());
    own.saved_mask.set(None);
    own.interrupted.set(None);
    own.rseq.set(rseq::Rseq::default());
    me.signals.lock().mask = mask;
    signal::forget_handlers();
    posix_timer::delete_all();
    mm::space().unmap_all();
    platform::get().forget_program();
    let started = exec::start(file, &boot::facts().info, &args, &env, &path, random);
    let became = Request::kernel(private::BECOME).run().result;
    signalfd::forget_closed();
    comm::forget_all();
    match started.and_then(|frame| became.map(|_| frame)) {
        Ok(frame) => {
            boot::set_name(me, &path);
            platform::get().set_segment_bases(0, 0);
            me.vector.reset();
            // SAFETY: the thread's own registers, within its own call or on its way out of one.
            unsafe { me.frame().write(frame) };
            0
        }
        Err(errno) => {
            crate::forward::notice(&alloc::format!("the program can't be loaded: {errno}; try more --memory"));
            process::end_by_signal(signal::number::KILL)
        }
    }
}
