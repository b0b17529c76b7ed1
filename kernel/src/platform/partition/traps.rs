//! System calls, faults and interrupts on a bare core.
//!
//! System calls come by SYSCALL onto the thread's kernel stack. Everything else comes through the
//! IDT onto a stack of its own kind (IST), also when the kernel was interrupted: so the kernel
//! may be compiled without regard to what lies below its stack pointer. The rest is as on
//! `process`: when the program was interrupted, its registers are put where the kernel keeps
//! them and the kernel goes on, on the thread's kernel stack; when the kernel was, a note is left
//! or a guarded access to program memory is mended.
//!
//! What the cell or its proxy wants of a core comes as a non-maskable interrupt ([`super::apic`] says
//! why), at any instruction, also of the kernel. It leaves a note there, and whoever is about to
//! leave for the program or to halt finds it: either before, or because the way out is a window that
//! the handler leads out of. Until the next IRET no other one comes. The kernel runs with other
//! interrupts off, except where it halts for want of work.
//!
//! The kernel's own Rust code uses no more than the xmm registers, which are saved around what
//! interrupts it.

use core::arch::global_asm;
use core::sync::atomic::{AtomicU32, Ordering};

use shm_ipc::bare::STACK_BYTES;
use shm_ipc::control::Cause;
use shm_ipc::reasons;
use x86_64::VirtAddr;
use x86_64::instructions::tables::lidt;
use x86_64::registers::control::Cr2;
use x86_64::registers::model_specific::Msr;
use x86_64::structures::DescriptorTablePointer;

use super::cpu::{self, CoreArea, KERNEL_CS, RUNNING, SCRATCH};
use super::{apic, shootdown, start};
use crate::arch::{self, KERNEL_STACK, MXCSR, TrapFrame, XMM, save_part};
use crate::boot;
use crate::entry::{self, Fault, Trap};
use crate::mm::{self, Access};
use crate::sched::core::{Core, pending};
use crate::sched::signal::{FaultWords, number};
use crate::sched::thread::{THREAD_STACK, THREAD_VECTOR, THREAD_VECTOR_IS_PARTIAL};

/// The core's timer.
pub const TIMER_VECTOR: u8 = 0xf3;
/// What the APIC sends when it has nothing to send.
pub const SPURIOUS_VECTOR: u8 = 0xff;

/// Exceptions by their vectors (AMD64 APM volume 2, section 8.2).
mod vector {
    pub const DIVIDE: u64 = 0;
    pub const DEBUG: u64 = 1;
    pub const NMI: u64 = 2;
    pub const BREAKPOINT: u64 = 3;
    pub const OVERFLOW: u64 = 4;
    pub const INVALID_OPCODE: u64 = 6;
    pub const DOUBLE_FAULT: u64 = 8;
    pub const NOT_PRESENT: u64 = 11;
    pub const STACK: u64 = 12;
    pub const PAGE_FAULT: u64 = 14;
    pub const X87: u64 = 16;
    pub const ALIGNMENT: u64 = 17;
    pub const MACHINE_CHECK: u64 = 18;
    pub const SIMD: u64 = 19;
    pub const CALL32: u64 = 0x80;
    pub const EXCEPTIONS: u64 = 32;
}

/// Registers of whatever was interrupted, as the stubs leave them on the stack.
#[repr(C)]
#[derive(Debug)]
pub struct Interrupted {
    r15: u64,
    r14: u64,
    r13: u64,
    r12: u64,
    rbp: u64,
    rbx: u64,
    r11: u64,
    r10: u64,
    r9: u64,
    r8: u64,
    rax: u64,
    rcx: u64,
    rdx: u64,
    rsi: u64,
    rdi: u64,
    vector: u64,
    error: u64,
    rip: u64,
    cs: u64,
    rflags: u64,
    rsp: u64,
    ss: u64,
}

// The 256 entries: 16 bytes each, which push a zero where the CPU pushes no error code.
global_asm!(
    r"
    .balign 16
    .globl tacet_vectors
tacet_vectors:
    .set tacet_vector, 0
    .rept 256
    .balign 16
    .if tacet_vector == 8 || (tacet_vector >= 10 && tacet_vector <= 14) || tacet_vector == 17 || tacet_vector == 21 || tacet_vector == 29 || tacet_vector == 30
    .else
    .byte 0x6a, 0                   # push 0
    .endif
    .byte 0x68                      # push tacet_vector
    .long tacet_vector
    jmp tacet_interrupted
    .set tacet_vector, tacet_vector + 1
    .endr

tacet_interrupted:
    push rdi
    push rsi
    push rdx
    push rcx
    push rax
    push r8
    push r9
    push r10
    push r11
    push rbx
    push rbp
    push r12
    push r13
    push r14
    push r15
    cld
    xor ebp, ebp
    mov rbx, rsp
    mov rdi, rsp
    test byte ptr [rsp + {cs}], 3
    jz 1f

    # The program: its vector registers go where the kernel keeps them.
    mov r12, rsp
    and r12, -{stack}
    mov r12, [r12]
    mov r12, [r12 + {running}]
    mov r12, [r12]
    mov byte ptr [r12 + {is_partial}], 0
    mov r12, [r12 + {vector}]
    mov eax, -1
    mov edx, -1
    xsave64 [r12]
    and rsp, -16
    call tacet_program_interrupted
    mov eax, -1
    mov edx, -1
    xrstor64 [r12]
    jmp 2f

1:  # The kernel.
    sub rsp, 512
    and rsp, -16
    fxsave64 [rsp]
    call tacet_kernel_interrupted
    fxrstor64 [rsp]

2:  mov rsp, rbx
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
    add rsp, 16
    iretq

    .globl tacet_enter_by_iret
tacet_enter_by_iret:                # (rdi: stack top, rsi: function)
    sub rdi, 8                      # as a call would leave it
    xor ebp, ebp
    push {kernel_cs} + 8
    push rdi
    pushfq
    push {kernel_cs}
    push rsi
    iretq

    # From tacet_halt_begin to tacet_halt_end: a non-maskable interrupt that arrives in there goes
    # on at the end.
    .globl tacet_halt
tacet_halt:                         # (rdi: a word, rsi: another, edx: its value)
    .globl tacet_halt_begin
tacet_halt_begin:
    cmp dword ptr [rdi], 0
    jne tacet_halt_end
    cmp dword ptr [rsi], edx
    jne tacet_halt_end
    sti
    hlt
    .globl tacet_halt_end
tacet_halt_end:
    cli
    ret

    .balign 16
    .globl tacet_call
tacet_call:
    swapgs
    mov gs:[{scratch}], rsp
    mov rsp, gs:[{running}]
    mov rsp, [rsp]
    mov rsp, [rsp + {thread_stack}]
    lea rsp, [rsp + {kernel_stack}]
    push {user_ss}
    push gs:[{scratch}]
    push r11
    push {user_cs}
    push rcx
    swapgs
    push rdi
    push rsi
    push rdx
    push rcx
    push rax
    push r8
    push r9
    push r10
    push r11
    push rbx
    push rbp
    push r12
    push r13
    push r14
    push r15
    xor ebp, ebp
    mov rbx, rsp
    and rbx, -{kernel_stack}
    mov rbx, [rbx]
    mov byte ptr [rbx + {is_partial}], 1
    mov rdi, [rbx + {vector}]
",
    save_part!("rdi"),
    r"
    mov rdi, rbx
    and rsp, -16
    call tacet_called
    ud2

    .balign 16
    .globl tacet_call32
tacet_call32:
    # SYSCALL from compatibility mode (AMD). The stack pointer is the program's.
    swapgs
    mov gs:[{scratch}], rsp
    mov rsp, gs:[{running}]
    mov rsp, [rsp]
    mov rsp, [rsp + {thread_stack}]
    lea rsp, [rsp + {kernel_stack}]
    push {user_ss}
    push gs:[{scratch}]
    push r11
    push {user_cs_32}
    push rcx
    swapgs
    push rdi
    push rsi
    push rdx
    push rcx
    push rax
    push r8
    push r9
    push r10
    push r11
    push rbx
    push rbp
    push r12
    push r13
    push r14
    push r15
    xor ebp, ebp
    mov rbx, rsp
    and rbx, -{kernel_stack}
    mov rbx, [rbx]
    mov byte ptr [rbx + {is_partial}], 1
    mov rdi, [rbx + {vector}]
",
    save_part!("rdi"),
    r"
    mov rdi, rbx
    and rsp, -16
    call tacet_called32
    ud2
",
    cs = const core::mem::offset_of!(Interrupted, cs),
    stack = const STACK_BYTES,
    running = const RUNNING,
    scratch = const SCRATCH,
    vector = const THREAD_VECTOR,
    is_partial = const THREAD_VECTOR_IS_PARTIAL,
    mxcsr = const MXCSR,
    xmm = const XMM,
    thread_stack = const THREAD_STACK,
    kernel_stack = const KERNEL_STACK,
    user_ss = const arch::USER_SS,
    user_cs = const arch::USER_CS,
    user_cs_32 = const arch::USER_CS_32,
    kernel_cs = const KERNEL_CS,
);

unsafe extern "C" {
    fn tacet_vectors();
    fn tacet_call();
    fn tacet_call32();
    fn tacet_enter_by_iret(top: u64, function: extern "C" fn() -> !) -> !;
    fn tacet_halt(pending: *const u32, bell: *const u32, asleep: u32);
    fn tacet_halt_begin();
    fn tacet_halt_end();
}

/// Where SYSCALL leads.
pub fn call_entry() -> u64 {
    tacet_call as *const () as u64
}

/// Where SYSCALL of 32-bit code leads.
pub fn call32_entry() -> u64 {
    tacet_call32 as *const () as u64
}

/// A gate of the IDT.
#[repr(C, align(16))]
#[derive(Debug, Clone, Copy)]
struct Gate([u64; 2]);

impl Gate {
    fn new(handler: u64, stack: u64, ring: u64) -> Self {
        const PRESENT_INTERRUPT_GATE: u64 = 0x8e00 << 32;
        const KERNEL_CS: u64 = 0x10 << 16;
        let low = handler & 0xffff | KERNEL_CS | stack << 32 | ring << 45 | PRESENT_INTERRUPT_GATE;
        Gate([low | (handler >> 16 & 0xffff) << 48, handler >> 32])
    }
}

static GATES: spin::Once<[Gate; 256]> = spin::Once::new();

/// Which stack (IST) a vector gets, see [`cpu`].
fn stack_of(vector: u64) -> u64 {
    match vector {
        vector::NMI => 2,
        vector::DOUBLE_FAULT => 3,
        vector::MACHINE_CHECK => 4,
        vector::DEBUG => 6,
        vector if vector < vector::EXCEPTIONS || vector == vector::CALL32 => 1,
        _ => 5,
    }
}

/// Loads the IDT on this core.
pub fn load() {
    let gates = GATES.call_once(|| {
        core::array::from_fn(|index| {
            let vector = index as u64;
            let ring = match vector {
                vector::BREAKPOINT | vector::OVERFLOW | vector::CALL32 => 3,
                _ => 0,
            };
            Gate::new(tacet_vectors as *const () as u64 + 16 * vector, stack_of(vector), ring)
        })
    });
    let pointer = DescriptorTablePointer { limit: size_of_val(gates) as u16 - 1, base: VirtAddr::from_ptr(gates) };
    // SAFETY: the table is complete and stays.
    unsafe { lidt(&pointer) };
}

/// Halts until an interrupt comes, unless `pending` is not zero or `bell` is not `asleep`, which
/// whoever interrupts the core changes first.
pub fn halt(pending: &AtomicU32, bell: &AtomicU32, asleep: u32) {
    // SAFETY: reads the two words; the handlers leave notes, and interrupts are off again after it.
    unsafe { tacet_halt(pending.as_ptr(), bell.as_ptr(), asleep) }
}

/// The core on whose interrupt stack this runs.
fn own_area() -> &'static CoreArea {
    let local = 0u8;
    let base = (&raw const local) as u64 & !(STACK_BYTES - 1);
    // SAFETY: handlers run on interrupt stacks only, which begin with this.
    unsafe { &**(base as *const *const CoreArea) }
}

/// The scheduler's core, once there is one.
fn core_of(area: &CoreArea) -> Option<&'static Core> {
    // SAFETY: null, or one of the cores, which stay.
    unsafe { area.core.as_ref() }
}

#[unsafe(no_mangle)]
extern "C" fn tacet_called(thread: &crate::sched::Thread) -> ! {
    thread.own.trap.set(Trap::Call);
    entry::trapped()
}

#[unsafe(no_mangle)]
extern "C" fn tacet_called32(thread: &crate::sched::Thread) -> ! {
    thread.own.trap.set(Trap::Call32);
    entry::trapped()
}

/// The program was interrupted. Returns when it is to go on as if nothing had happened.
#[unsafe(no_mangle)]
extern "C" fn tacet_program_interrupted(frame: &Interrupted) {
    let area = own_area();
    let Some(core) = core_of(area) else { cpu::park() };
    let trap = match frame.vector {
        vector::NMI => match called(area, core) {
            Called::For(cause) => Trap::Interrupt(cause),
            // IRET lets the next one come.
            Called::Done(cause) => return core.count(cause),
        },
        vector::MACHINE_CHECK => Trap::Interrupt(machine_check(core)),
        vector::CALL32 => Trap::Call32,
        vector if vector < vector::EXCEPTIONS => Trap::Fault(fault_of(frame, Some(core))),
        vector => Trap::Interrupt(interrupt(core, vector as u8)),
    };
    // SAFETY: the core runs a thread of the program, whose registers these are; its frame and
    // its kernel stack are unused while it is in the program.
    unsafe {
        let thread = &*core.running_thread();
        thread.frame().write(registers(frame));
        thread.own.trap.set(trap);
        // Non-maskable interrupts are held back until an IRET: this one.
        tacet_enter_by_iret(thread.entry_stack(), entry::trapped)
    }
}

/// The kernel was interrupted.
#[unsafe(no_mangle)]
extern "C" fn tacet_kernel_interrupted(frame: &mut Interrupted) {
    let area = own_area();
    let core = core_of(area);
    match (frame.vector, core) {
        (vector::NMI, Some(core)) => {
            if let Called::Done(Cause::Involuntary) = called(area, core) {
                core.count(Cause::Involuntary);
            }
            look_again(frame, core);
        }
        // Whoever means the cell waits until its cores are there.
        (vector::NMI, None) => {}
        (vector::MACHINE_CHECK, Some(core)) => core.count(machine_check(core)),
        // A trap that the program armed and that came with its first instruction in the kernel
        // (MOV SS before SYSCALL): the program's registers say so again when it is back.
        (vector::DEBUG, _) => frame.rflags &= !0x100,
        // The timer, and what was held back from the program: it does not see that.
        (vector, Some(core)) if vector >= vector::EXCEPTIONS => {
            interrupt(core, vector as u8);
        }
        _ => kernel_fault(frame, core),
    }
}

/// A fault in the kernel: of the way back to the program, of a guarded access to its memory, or
/// a bug.
fn kernel_fault(frame: &mut Interrupted, core: Option<&'static Core>) {
    let fault = fault_of(frame, core);
    let (begin, end, _) = arch::return_window();
    if (begin..end).contains(&frame.rip)
        && let Some(core) = core
    {
        // The registers that the program asked for can't be loaded: its own fault. They are
        // still in the frame.
        // SAFETY: as in `tacet_program_interrupted`; the kernel was about to leave the stack.
        unsafe {
            let thread = &*core.running_thread();
            thread.own.trap.set(Trap::Fault(fault));
            arch::enter_on_stack(thread.entry_stack(), entry::trapped)
        }
    }
    match (arch::guarded_fixup(frame.rip), fault.access) {
        (Some(_), Some(access)) if mm::handle_fault(fault.address, access) == mm::Fault::Filled => {}
        (Some(fixup), _) => frame.rip = fixup,
        _ => panic!(
            "exception {} at image+{:#x}, address {:#x}, error {:#x}, rsp {:#x}",
            frame.vector,
            frame.rip.wrapping_sub(shm_ipc::bare::IMAGE),
            fault.address,
            frame.error,
            frame.rsp
        ),
    }
}

/// What a non-maskable interrupt has come to.
enum Called {
    /// The kernel has to look at something.
    For(Cause),
    /// Nothing is left to do.
    Done(Cause),
}

/// A non-maskable interrupt: does what it asks for, or notes it for the kernel.
///
/// Each reason in the core's block stands for one interrupt that was sent. Two that come close
/// together may be one, or find both reasons with the first: so those that are owed are counted,
/// and one that nobody owes is somebody else's.
fn called(area: &CoreArea, core: &Core) -> Called {
    let reasons = core.block.reasons.take();
    if reasons & reasons::TABLES != 0 {
        shootdown::answer(core.index);
    }
    let owed = area.owed.load(Ordering::Relaxed) + reasons.count_ones();
    area.owed.store(owed.saturating_sub(1), Ordering::Relaxed);
    let cause = match reasons {
        reasons if reasons & reasons::PROXY != 0 => Cause::Doorbell,
        reasons if reasons & reasons::CORE != 0 => Cause::Kick,
        _ if owed > 0 => return Called::Done(Cause::Kick),
        _ => return Called::Done(Cause::Involuntary),
    };
    // The core may be about to sleep: it must not.
    core.block.bell.polling();
    entry::request(core, pending::LOOK);
    Called::For(cause)
}

/// A note was left while the kernel may have looked for the last time: leads it out of the way to
/// the program and of the way to a halt.
fn look_again(frame: &mut Interrupted, core: &Core) {
    let (begin, end, again) = arch::return_window();
    if (begin..end).contains(&frame.rip) {
        frame.rip = again;
        // SAFETY: the core runs a thread of the program: it was about to leave for it.
        frame.rsp = unsafe { (*core.running_thread()).frame() } as u64;
    }
    let (begin, end) = (tacet_halt_begin as *const () as u64, tacet_halt_end as *const () as u64);
    if (begin..end).contains(&frame.rip) {
        frame.rip = end;
    }
}

/// A fixed interrupt: the timer's, or one that was sent to all processors of the machine.
fn interrupt(core: &Core, vector: u8) -> Cause {
    // The APIC wants no answer to a spurious one.
    if vector != SPURIOUS_VECTOR {
        apic::end_of_interrupt();
    }
    if vector != TIMER_VECTOR {
        return Cause::Involuntary;
    }
    apic::timer_has_fired();
    core.block.bell.polling();
    entry::request(core, pending::TIMER);
    Cause::Timer
}

/// Survived when the CPU says that what it interrupted can go on (AMD64 APM volume 2, section
/// 9.3.1), else reported. The banks keep what they say: Linux reads them when it has the core back.
fn machine_check(core: &Core) -> Cause {
    const MCG_STATUS: u32 = 0x17a;
    const RESTART_VALID: u64 = 1;
    let mut status = Msr::new(MCG_STATUS);
    // SAFETY: the register exists where machine checks do.
    let word = unsafe { status.read() };
    if word & RESTART_VALID == 0 {
        let (bank, error) = failing_bank().unwrap_or_default();
        boot::record_hardware_failure(format_args!(
            "the hardware of core {} failed (machine check, MCG_STATUS {word:#x}, bank {bank} status {error:#x})",
            core.cpu
        ));
        start::refuse()
    }
    // SAFETY: as above; a machine check while the bit is set would shut the machine down.
    unsafe { status.write(0) };
    Cause::Involuntary
}

/// The first bank of error registers with a valid entry, and its status (Intel SDM volume 3, section
/// 16.3.2.2).
fn failing_bank() -> Option<(u32, u64)> {
    const MCG_CAP: u32 = 0x179;
    const FIRST_STATUS: u32 = 0x401;
    const BETWEEN_BANKS: u32 = 4;
    const VALID: u64 = 1 << 63;
    // SAFETY: the register exists where machine checks do; its low byte counts the banks.
    let banks = unsafe { Msr::new(MCG_CAP).read() } as u8;
    (0..banks.into())
        // SAFETY: every bank below that count has a status register.
        .map(|bank| (bank, unsafe { Msr::new(FIRST_STATUS + bank * BETWEEN_BANKS).read() }))
        .find(|(_, status)| status & VALID != 0)
}

fn registers(i: &Interrupted) -> TrapFrame {
    TrapFrame {
        r15: i.r15,
        r14: i.r14,
        r13: i.r13,
        r12: i.r12,
        rbp: i.rbp,
        rbx: i.rbx,
        r11: i.r11,
        r10: i.r10,
        r9: i.r9,
        r8: i.r8,
        rax: i.rax,
        rcx: i.rcx,
        rdx: i.rdx,
        rsi: i.rsi,
        rdi: i.rdi,
        rip: i.rip,
        cs: i.cs,
        rflags: i.rflags,
        rsp: i.rsp,
        ss: i.ss,
    }
}

/// `SI_KERNEL`
const SI_KERNEL: i32 = 0x80;

/// What Linux makes of an exception of the program (`arch/x86/kernel/traps.c`).
fn fault_of(frame: &Interrupted, core: Option<&'static Core>) -> Fault {
    const FPE_INTDIV: i32 = 1;
    const ILL_ILLOPN: i32 = 2;
    const TRAP_TRACE: i32 = 2;
    const BUS_ADRALN: i32 = 1;
    let cr2 = if frame.vector == vector::PAGE_FAULT { Cr2::read_raw() } else { 0 };
    let (signal, code, address) = match frame.vector {
        vector::DIVIDE => (number::FPE, FPE_INTDIV, frame.rip),
        vector::DEBUG => (number::TRAP, TRAP_TRACE, frame.rip),
        vector::BREAKPOINT => (number::TRAP, SI_KERNEL, 0),
        vector::INVALID_OPCODE => (number::ILL, ILL_ILLOPN, frame.rip),
        vector::NOT_PRESENT | vector::STACK => (number::BUS, SI_KERNEL, 0),
        vector::PAGE_FAULT => (number::SEGV, SI_KERNEL, cr2),
        vector::X87 | vector::SIMD => (number::FPE, float_code(frame.vector, core), frame.rip),
        vector::ALIGNMENT => (number::BUS, BUS_ADRALN, 0),
        _ => (number::SEGV, SI_KERNEL, 0),
    };
    let words = FaultWords { error: frame.error, vector: frame.vector, cr2 };
    Fault { signal, code, address, access: access_of(frame), words }
}

/// What a page fault was about to do.
fn access_of(frame: &Interrupted) -> Option<Access> {
    const WRITE: u64 = 2;
    const FETCH: u64 = 16;
    (frame.vector == vector::PAGE_FAULT).then_some(match frame.error {
        error if error & FETCH != 0 => Access::Exec,
        error if error & WRITE != 0 => Access::Write,
        _ => Access::Read,
    })
}

/// `si_code` of a floating-point exception (`fpu__exception_code`): the first that is not masked.
fn float_code(vector: u64, core: Option<&'static Core>) -> i32 {
    let Some(core) = core else { return 0 };
    // SAFETY: the core runs a thread of the program, whose registers have just been saved.
    let area = unsafe { (*core.running_thread()).vector.bytes() };
    let word = |at: usize| u32::from(area[at]) | u32::from(area[at + 1]) << 8;
    let raised = if vector == vector::SIMD { word(24) & !(word(24) >> 7) } else { word(2) & !word(0) };
    const CODES: [(u32, i32); 5] = [(1, 7), (4, 3), (8, 4), (0x12, 5), (0x20, 6)];
    CODES.iter().find(|(bits, _)| raised & bits != 0).map_or(0, |(_, code)| *code)
}
