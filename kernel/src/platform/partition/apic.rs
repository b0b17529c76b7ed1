//! The local APIC (AMD64 APM volume 2, chapter 16; Intel SDM volume 3, chapter 11): interrupts
//! between the cell's cores and the core's timer.
//!
//! Linux does not forget a core that it has taken offline: where every processor that it keeps is to
//! do something at once (a changed instruction, unmapped kernel memory), it sends one interrupt to
//! *all others* by the APIC's shorthand (`arch/x86/kernel/apic/ipi.c`), and that reaches the cell's
//! cores too. Hence the task priority: it holds back every fixed interrupt, always, except while
//! the core has set its timer. What the cell wants of its own cores comes as a non-maskable
//! interrupt, which knows no priority; why, the core's block says (`shm_ipc::reasons`).
//!
//! The core comes from INIT with its APIC as after a reset, but in the mode that Linux has chosen
//! for the machine: registers in memory, or (x2APIC) model-specific registers.

use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering};

use spin::Once;
use x86_64::registers::model_specific::Msr;

use super::traps::{SPURIOUS_VECTOR, TIMER_VECTOR};

/// Registers, by their place in the page; the model-specific register is 0x800 plus a 16th.
mod register {
    pub const END_OF_INTERRUPT: u32 = 0xb0;
    pub const SPURIOUS: u32 = 0xf0;
    pub const COMMAND: u32 = 0x300;
    pub const COMMAND_HIGH: u32 = 0x310;
    pub const TIMER: u32 = 0x320;
    pub const TIMER_INITIAL: u32 = 0x380;
    pub const TIMER_CURRENT: u32 = 0x390;
    pub const TIMER_DIVIDE: u32 = 0x3e0;
}

/// Bit of the spurious-vector register: the APIC works.
const ENABLED: u32 = 1 << 8;
/// Bit of a local vector: masked.
const MASKED: u32 = 1 << 16;
/// Bit of the command register: the last interrupt has not been accepted yet.
const PENDING: u32 = 1 << 12;
/// Divide configuration: the timer counts every 16th tick of its clock.
const DIVIDE_BY_16: u32 = 3;

/// Bits of the command register: a non-maskable interrupt.
const NON_MASKABLE: u32 = 4 << 8;

/// Task priorities (CR8, the class of vectors that is held back, with all below).
mod priority {
    /// Every fixed interrupt is held back.
    pub const NONE: u64 = 15;
    /// Vectors from 0xf0 on come: the timer's.
    pub const TIMER: u64 = 14;
}

const _: () = assert!(TIMER_VECTOR as u64 >> 4 > priority::TIMER);

/// How the registers are reached.
#[derive(Debug, Clone, Copy)]
enum Registers {
    Memory(u64),
    ModelSpecific,
}

static REGISTERS: Once<Registers> = Once::new();
/// Ticks of the timer in 2³² nanoseconds; 0 until it has been measured.
static TICKS: AtomicU64 = AtomicU64::new(0);

fn read(register: u32) -> u32 {
    match REGISTERS.get() {
        // SAFETY: a register of the APIC, which the proxy has mapped there.
        Some(Registers::Memory(base)) => unsafe { ((base + u64::from(register)) as *const u32).read_volatile() },
        // SAFETY: a register that exists in x2APIC mode.
        Some(Registers::ModelSpecific) => unsafe { Msr::new(0x800 + (register >> 4)).read() as u32 },
        None => 0,
    }
}

fn write(register: u32, value: u32) {
    match REGISTERS.get() {
        // SAFETY: as in `read`; what is written concerns interrupts only.
        Some(Registers::Memory(base)) => unsafe { ((base + u64::from(register)) as *mut u32).write_volatile(value) },
        // SAFETY: as above.
        Some(Registers::ModelSpecific) => unsafe { Msr::new(0x800 + (register >> 4)).write(u64::from(value)) },
        None => {}
    }
}

/// First step: how to reach the registers. `memory` is their address, unless they are
/// model-specific.
pub fn find(memory: Option<u64>) {
    REGISTERS.call_once(|| memory.map_or(Registers::ModelSpecific, Registers::Memory));
}

/// Makes this core's APIC work, with everything masked but non-maskable interrupts.
pub fn enable() {
    /// Local vectors: corrected machine checks, timer, thermal, counters, two pins, errors.
    const LOCAL: [u32; 7] = [0x2f0, 0x320, 0x330, 0x340, 0x350, 0x360, 0x370];
    /// Lowest byte: the highest number of a local vector, from bit 16 on.
    const VERSION: u32 = 0x30;
    let highest = (read(VERSION) >> 16) & 0xff;
    for local in LOCAL {
        // The first came last: it exists where there are seven.
        if local != 0x2f0 || highest >= 6 {
            write(local, MASKED);
        }
    }
    set_priority(priority::NONE);
    write(register::SPURIOUS, ENABLED | u32::from(SPURIOUS_VECTOR));
    write(register::TIMER_DIVIDE, DIVIDE_BY_16);
    write(register::TIMER, u32::from(TIMER_VECTOR));
}

/// The interrupt being handled is done.
pub fn end_of_interrupt() {
    write(register::END_OF_INTERRUPT, 0);
}

/// Sends a non-maskable interrupt to the core with this APIC id.
pub fn send(id: u32) {
    match REGISTERS.get() {
        Some(Registers::ModelSpecific) => {
            // What was stored before must be visible before the interrupt is: writing this
            // register is not ordered with stores (Intel SDM volume 3, section 11.12.3).
            // SAFETY: orders memory accesses; sends an interrupt to a core of the cell.
            unsafe {
                asm!("mfence", "lfence", options(nostack, preserves_flags));
                Msr::new(0x800 + (register::COMMAND >> 4)).write(u64::from(id) << 32 | u64::from(NON_MASKABLE));
            }
        }
        _ => {
            while read(register::COMMAND) & PENDING != 0 {
                core::hint::spin_loop();
            }
            write(register::COMMAND_HIGH, id << 24);
            write(register::COMMAND, NON_MASKABLE);
        }
    }
}

/// Measures the timer against `clock` (nanoseconds), for about two milliseconds.
pub fn measure_timer(clock: impl Fn() -> u64) {
    const SPAN: u64 = 2_000_000;
    write(register::TIMER, MASKED | u32::from(TIMER_VECTOR));
    write(register::TIMER_INITIAL, u32::MAX);
    let start = clock();
    let first = read(register::TIMER_CURRENT);
    let mut now = start;
    while now - start < SPAN {
        core::hint::spin_loop();
        now = clock();
    }
    let ticks = u64::from(first.wrapping_sub(read(register::TIMER_CURRENT)));
    write(register::TIMER_INITIAL, 0);
    write(register::TIMER, u32::from(TIMER_VECTOR));
    TICKS.store(((u128::from(ticks.max(1)) << 32) / u128::from(now - start)) as u64, Ordering::Relaxed);
}

/// Lets the timer interrupt this core after so many nanoseconds, or earlier if it can't count so
/// far. Until it does, other fixed interrupts come too.
pub fn set_timer(after: u64) {
    if priority() != priority::TIMER {
        set_priority(priority::TIMER);
        // What was held back comes here, not when the program is back.
        // SAFETY: the handlers leave notes. STI takes effect after the instruction behind it.
        unsafe { asm!("sti", "nop", "nop", "cli", options(nostack)) };
    }
    let ticks = (u128::from(after) * u128::from(TICKS.load(Ordering::Relaxed))) >> 32;
    // 0 would stop it.
    write(register::TIMER_INITIAL, ticks.clamp(1, u128::from(u32::MAX)) as u32);
}

/// Stops the timer.
pub fn stop_timer() {
    write(register::TIMER_INITIAL, 0);
    timer_has_fired();
}

/// The timer's interrupt has come: from here on nothing does.
pub fn timer_has_fired() {
    set_priority(priority::NONE);
}

fn priority() -> u64 {
    let priority;
    // SAFETY: only reads the task priority.
    unsafe { asm!("mov {}, cr8", out(reg) priority, options(nomem, nostack, preserves_flags)) };
    priority
}

fn set_priority(priority: u64) {
    // SAFETY: concerns which interrupts come, and the handlers are written for all of them. The
    // compiler moves no access to memory across it.
    unsafe { asm!("mov cr8, {}", in(reg) priority, options(nostack, preserves_flags)) };
}
