//! Kernel stacks: switching between them, starting on a fresh one, leaving for the program.
//!
//! A kernel stack is [`KERNEL_STACK`] bytes, aligned to its size, so that the thread whose
//! stack it is can be found from the stack pointer alone ([`stack_head`]). The program's
//! registers lie at its top.

use core::arch::{asm, global_asm};
use core::sync::atomic::{AtomicBool, Ordering};

use super::{MXCSR, TrapFrame, USER_CS, VectorArea, XMM};

/// Bytes of a kernel stack, and its alignment.
pub const KERNEL_STACK: usize = 32 << 10;

/// Lowest bytes of a kernel stack.
#[repr(C)]
#[derive(Debug)]
pub struct StackHead {
    /// Whose stack this is: a `Thread` of the scheduler.
    pub owner: *const (),
    /// [`StackHead::INTACT`] unless the stack has overflowed.
    pub canary: u64,
}

impl StackHead {
    /// Value of an untouched canary.
    pub const INTACT: u64 = 0x7461_6365_7473_746b;
}

global_asm!(
    r"
    .globl tacet_switch
tacet_switch:                       # (rdi: where to keep rsp, rsi: rsp to go on with)
    push rbp
    push rbx
    push r12
    push r13
    push r14
    push r15
    mov [rdi], rsp
    mov rsp, rsi
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbx
    pop rbp
    ret

    .globl tacet_begin
tacet_begin:                        # first thing on a prepared stack: r12 = function
    xor ebp, ebp
    call r12
    ud2

    .globl tacet_enter_on_stack
tacet_enter_on_stack:               # (rdi: stack top, rsi: function)
    mov rsp, rdi
    xor ebp, ebp
    call rsi
    ud2

    # Everything from tacet_leave_begin to tacet_leave_end may be abandoned and done again:
    # an interrupt that arrives in there goes on at tacet_leave_again with rsp = the frame.
    .globl tacet_leave
tacet_leave:                        # (rdi: frame, rsi: vector area, rdx: pending word, ecx: partial, r8d: jump)
    mov rsp, rdi
    mov edi, ecx
    mov rcx, rdx
    mov eax, -1
    mov edx, -1
    .globl tacet_leave_begin
tacet_leave_begin:
    cmp dword ptr [rcx], 0
    jne tacet_leave_again
    test edi, edi
    jnz 1f
    xrstor64 [rsi]
    jmp 2f
1:  ldmxcsr [rsi + {mxcsr}]
    .set tacet_xmm, {xmm}
    .irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
    movaps xmm\n, [rsi + tacet_xmm]
    .set tacet_xmm, tacet_xmm + 16
    .endr
2:  test r8d, r8d
    jnz 3f
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbp
    pop rbx
    pop r11
    pop r10
    pop r9
    pop r8
    pop rax
    pop rcx
    pop rdx
    pop rsi
    pop rdi
    iretq
3:  pop r15                         # The program's own ring: a jump is enough, and takes less.
    pop r14
    pop r13
    pop r12
    pop rbp
    pop rbx
    pop r11
    pop r10
    pop r9
    pop r8
    pop rax
    pop rcx                         # Where it goes on.
    pop rdx
    pop rsi
    pop rdi
    add rsp, 16
    popfq
    pop rsp
    jmp rcx
    .globl tacet_leave_end
tacet_leave_end:
    .globl tacet_leave_again
tacet_leave_again:
    xor ebp, ebp
    and rsp, -16
    call tacet_leave_interrupted
    ud2
",
    mxcsr = const MXCSR,
    xmm = const XMM,
);

unsafe extern "C" {
    fn tacet_switch(keep: *mut u64, load: u64);
    fn tacet_begin();
    fn tacet_enter_on_stack(top: u64, function: extern "C" fn() -> !) -> !;
    fn tacet_leave(frame: *const TrapFrame, vector: *const u8, pending: *const u32, partial: u32, jump: u32) -> !;
    fn tacet_leave_begin();
    fn tacet_leave_end();
    fn tacet_leave_again();
}

/// Goes on with the stack whose pointer is `load`, after keeping this one's in `keep`. Returns
/// when somebody switches back.
///
/// # Safety
/// `load` was kept by `switch` or made by [`prepare_stack`], and nobody else goes on with it.
pub unsafe fn switch(keep: *mut u64, load: u64) {
    // SAFETY: the caller's promise is what the code needs.
    unsafe { tacet_switch(keep, load) }
}

/// Makes a fresh stack ready to be switched to: `function` will run on it.
/// Gives the stack pointer for [`switch`].
///
/// # Safety
/// `base` is [`KERNEL_STACK`] writable bytes, aligned to their number, in use by nobody.
pub unsafe fn prepare_stack(base: *mut u8, owner: *const (), function: extern "C" fn() -> !) -> u64 {
    let top = base as u64 + KERNEL_STACK as u64 - size_of::<TrapFrame>() as u64;
    // Six registers and a return address, as `tacet_switch` pops them. After the return the
    // stack pointer is 16-byte aligned, so that tacet_begin's call enters `function` correctly.
    let words: [u64; 7] = [0, 0, 0, function as usize as u64, 0, 0, tacet_begin as *const () as u64];
    let at = (top & !15) - size_of_val(&words) as u64;
    // SAFETY: both places lie in the stack that the caller hands over.
    unsafe {
        base.cast::<StackHead>().write(StackHead { owner, canary: StackHead::INTACT });
        (at as *mut [u64; 7]).write(words);
    }
    at
}

/// Runs `function` on the stack that ends at `top` (16-byte aligned) and forgets the current one.
///
/// # Safety
/// The stack is in use by nobody, and nothing on the current stack is needed any more.
pub unsafe fn enter_on_stack(top: u64, function: extern "C" fn() -> !) -> ! {
    // SAFETY: the caller's promise is what the code needs.
    unsafe { tacet_enter_on_stack(top, function) }
}

/// Whether kernel and program run in the same ring, so that a jump leads from the one to the other.
static SHARES_RING: AtomicBool = AtomicBool::new(false);

/// Boot: kernel and program run in the same ring.
pub fn share_ring() {
    SHARES_RING.store(true, Ordering::Relaxed);
}

/// Loads the program's registers and goes there, unless `pending` is not zero: then (and when
/// an interrupt arrives on the way) `tacet_leave_interrupted` runs at the top of the stack.
///
/// # Safety
/// `frame` lies at the top of the current thread's kernel stack and holds program registers;
/// `vector` is the thread's, and XRSTOR accepts it.
pub unsafe fn leave_to_user(frame: *const TrapFrame, vector: &VectorArea, pending: *const u32) -> ! {
    // SAFETY: the caller's promise is what the code needs.
    unsafe {
        let jump = SHARES_RING.load(Ordering::Relaxed) && can_be_jumped_to(&*frame);
        tacet_leave(frame, vector.as_ptr(), pending, vector.is_partial().into(), jump.into())
    }
}

/// Whether the registers are as a system call leaves them: where it goes on stands in rcx, and flags that
/// nothing depends on between two instructions.
fn can_be_jumped_to(frame: &TrapFrame) -> bool {
    const TRAP: u64 = 1 << 8;
    const RESUME: u64 = 1 << 16;
    frame.rcx == frame.rip && frame.cs == USER_CS && frame.rflags & (TRAP | RESUME) == 0
}

/// First address of the part of [`leave_to_user`] that may be abandoned, the address after it,
/// and where to go on instead.
#[must_use]
pub fn return_window() -> (u64, u64, u64) {
    let address = |f: unsafe extern "C" fn()| f as *const () as u64;
    (address(tacet_leave_begin), address(tacet_leave_end), address(tacet_leave_again))
}

/// Head of the kernel stack in use.
///
/// # Safety
/// The caller runs on a kernel stack (not on a boot or signal stack).
#[must_use]
pub unsafe fn stack_head() -> *const StackHead {
    let rsp: u64;
    // SAFETY: only reads the stack pointer.
    unsafe { asm!("mov {}, rsp", out(reg) rsp, options(nomem, nostack, preserves_flags)) };
    (rsp & !(KERNEL_STACK as u64 - 1)) as *const StackHead
}
