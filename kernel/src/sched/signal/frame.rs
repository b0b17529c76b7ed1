//! The frame that a signal handler finds on its stack, exactly as Linux builds it: unwinders,
//! debuggers and handlers read and change it (`arch/x86/include/uapi/asm/sigcontext.h`).

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::AltStack;
use super::info::SigInfo;
use super::queue::SigSet;
use crate::abi::Errno;
use crate::arch::{TrapFrame, vector_bytes};
use crate::mm::user;
use crate::sched::thread::Thread;

/// `stack_t`
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct StackT {
    /// `ss_sp`
    pub at: u64,
    /// `ss_flags`
    pub flags: u32,
    padding: u32,
    /// `ss_size`
    pub size: u64,
}

impl From<AltStack> for StackT {
    fn from(stack: AltStack) -> Self {
        StackT { at: stack.at, flags: stack.flags, padding: 0, size: stack.size }
    }
}

impl From<StackT> for AltStack {
    fn from(stack: StackT) -> Self {
        AltStack { at: stack.at, flags: stack.flags, size: stack.size }
    }
}

/// `struct sigcontext_64`
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct SigContext {
    /// r8 to r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip, rflags.
    registers: [u64; 18],
    /// cs, gs, fs, ss.
    segments: [u16; 4],
    error: u64,
    vector: u64,
    old_mask: u64,
    cr2: u64,
    fpstate: u64,
    reserved: [u64; 8],
}

/// `struct ucontext`
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct UContext {
    flags: u64,
    link: u64,
    stack: StackT,
    context: SigContext,
    mask: u64,
}

/// `struct rt_sigframe`
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct SigFrame {
    restorer: u64,
    context: UContext,
    info: [u8; 128],
}

const _: () = assert!(size_of::<SigContext>() == 256 && size_of::<UContext>() == 304 && size_of::<SigFrame>() == 440);

/// `UC_FP_XSTATE | UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS`
const UC_FLAGS: u64 = 7;
/// `FP_XSTATE_MAGIC1`, at the start of the software bytes of the legacy region.
const MAGIC1: u32 = 0x4650_5853;
/// `FP_XSTATE_MAGIC2`, behind the extended state.
const MAGIC2: u32 = 0x4650_5845;
/// Offset of the software bytes.
const SOFTWARE: usize = 464;
const RED_ZONE: u64 = 128;
/// DF, TF, RF: cleared for a handler.
const HANDLER_CLEARS: u64 = 1 << 10 | 1 << 8 | 1 << 16;

/// What the CPU reported of the last fault, for the context.
#[derive(Debug, Clone, Copy, Default)]
pub struct FaultWords {
    /// Error code.
    pub error: u64,
    /// Exception vector.
    pub vector: u64,
    /// Address of a page fault.
    pub cr2: u64,
}

impl SigContext {
    fn of(frame: &TrapFrame, mask: SigSet, fault: FaultWords, fpstate: u64) -> Self {
        let f = frame;
        SigContext {
            registers: [
                f.r8, f.r9, f.r10, f.r11, f.r12, f.r13, f.r14, f.r15, f.rdi, f.rsi, f.rbp, f.rbx, f.rdx, f.rax, f.rcx,
                f.rsp, f.rip, f.rflags,
            ],
            segments: [f.cs as u16, 0, 0, f.ss as u16],
            error: fault.error,
            vector: fault.vector,
            old_mask: mask.0,
            cr2: fault.cr2,
            fpstate,
            reserved: [0; 8],
        }
    }

    fn to_frame(self) -> TrapFrame {
        let [r8, r9, r10, r11, r12, r13, r14, r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip, rflags] =
            self.registers;
        let mut frame = TrapFrame {
            r15,
            r14,
            r13,
            r12,
            rbp,
            rbx,
            r11,
            r10,
            r9,
            r8,
            rax,
            rcx,
            rdx,
            rsi,
            rdi,
            rip,
            rsp,
            rflags,
            cs: u64::from(self.segments[0]),
            ss: 0,
        };
        frame.sanitise();
        frame
    }
}

/// How a handler is to be called.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    /// Its address.
    pub handler: u64,
    /// Address of the code that calls rt_sigreturn.
    pub restorer: u64,
    /// Whether it asked for the alternate stack.
    pub on_alt_stack: bool,
    /// The mask to go back to.
    pub mask: SigSet,
}

/// Builds the frame of a handler and points the thread's registers at it.
///
/// # Errors
/// `EFAULT` when the stack can't take the frame.
pub fn push(thread: &Thread, call: Call, info: &SigInfo, fault: FaultWords) -> Result<(), Errno> {
    // SAFETY: the thread's own registers, on its own way out of the kernel.
    let registers = unsafe { &mut *thread.frame() };
    let stack = thread.own.alt_stack.get();
    let nested = stack.holds(registers.rsp);
    let enters = call.on_alt_stack && !nested && stack.flags & AltStack::DISABLE == 0 && stack.size != 0;
    let top = if enters { stack.at + stack.size } else { registers.rsp.wrapping_sub(RED_ZONE) };
    let fpstate = top.wrapping_sub(vector_bytes() as u64 + 4) & !63;
    let at = (fpstate.wrapping_sub(size_of::<SigFrame>() as u64) & !15).wrapping_sub(8);
    // Below it lies what is somebody else's.
    if (nested || enters) && !stack.spans(at) {
        return Err(Errno::EFAULT);
    }
    push_vector(thread, fpstate)?;
    let context = UContext {
        flags: UC_FLAGS,
        link: 0,
        stack: stack.into(),
        context: SigContext::of(registers, call.mask, fault, fpstate),
        mask: call.mask.0,
    };
    user::write(at, &SigFrame { restorer: call.restorer, context, info: info.0 })?;
    if enters && stack.flags & AltStack::AUTODISARM != 0 {
        thread.own.alt_stack.set(AltStack::disabled());
    }
    registers.rdi = u64::from(info.signal());
    registers.rsi = at + (size_of::<u64>() + size_of::<UContext>()) as u64;
    registers.rdx = at + size_of::<u64>() as u64;
    registers.rax = 0;
    registers.rip = call.handler;
    registers.rsp = at;
    registers.rflags &= !HANDLER_CLEARS;
    thread.vector.reset();
    Ok(())
}

fn push_vector(thread: &Thread, at: u64) -> Result<(), Errno> {
    let size = vector_bytes() as u32;
    let bytes = thread.vector.bytes_mut();
    let software = &mut bytes[SOFTWARE..SOFTWARE + 48];
    software.fill(0);
    software[0..4].copy_from_slice(&MAGIC1.to_le_bytes());
    software[4..8].copy_from_slice(&(size + 4).to_le_bytes());
    software[8..16].copy_from_slice(&crate::arch::vector_components().to_le_bytes());
    software[16..20].copy_from_slice(&size.to_le_bytes());
    user::copy_out(at, bytes)?;
    user::write(at + u64::from(size), &MAGIC2)
}

/// What a frame says to go back to.
#[derive(Debug)]
pub struct Saved {
    /// Signal mask.
    pub mask: SigSet,
    /// Alternate stack; `None` when the vector registers can't be as the frame says: then all else goes back, and
    /// the program is told.
    pub stack: Option<AltStack>,
}

/// Takes back registers from the frame below the stack pointer (rt_sigreturn).
///
/// # Errors
/// `EFAULT` when the frame is not readable.
pub fn pop(thread: &Thread) -> Result<Saved, Errno> {
    // SAFETY: the thread's own registers, within its own system call.
    let registers = unsafe { &mut *thread.frame() };
    let frame: SigFrame = user::read(registers.rsp.wrapping_sub(8))?;
    let context = frame.context.context;
    *registers = context.to_frame();
    let vector = pop_vector(thread, context.fpstate);
    if vector.is_err() {
        thread.vector.reset();
    }
    let stack = vector.is_ok().then(|| frame.context.stack.into());
    Ok(Saved { mask: SigSet(frame.context.mask).blockable(), stack })
}

fn pop_vector(thread: &Thread, at: u64) -> Result<(), Errno> {
    if at == 0 {
        thread.vector.reset();
        return Ok(());
    }
    let mut legacy = [0; 512];
    user::copy_in(&mut legacy, at)?;
    let word = |offset: usize| {
        u32::from_le_bytes([legacy[offset], legacy[offset + 1], legacy[offset + 2], legacy[offset + 3]])
    };
    let size = word(SOFTWARE + 16) as usize;
    // Without its marks the frame has the legacy region only.
    let is_whole = word(SOFTWARE) == MAGIC1
        && (legacy.len()..=vector_bytes()).contains(&size)
        && user::read::<u32>(at + size as u64)? == MAGIC2;
    let mut image = alloc::vec![0; if is_whole { size } else { legacy.len() }];
    user::copy_in(&mut image, at)?;
    if thread.vector.load(&image) { Ok(()) } else { Err(Errno::EINVAL) }
}
