//! The kernel image of the `partition` platform.
//!
//! The proxy's trampoline brings each core here in 64-bit mode, on page tables and a stack of its
//! own, with the core's index, the address of the cell's memory and its length.
#![no_std]
#![no_main]

use core::arch::global_asm;

use kernel::boot;
use kernel::platform::partition;
use talc::TalcLock;
use talc::source::Manual;

#[global_allocator]
static HEAP: TalcLock<spin::Mutex<()>, Manual> = TalcLock::new(Manual);

global_asm!(
    r"
    .globl _start
_start:                             # (rdi: index, rsi: window, rdx: its length, rcx: page tables)
    mov cr3, rcx
    mov rax, cr0                    # the FPU is ours: no emulation, no trap on first use
    and eax, ~0xc
    or eax, 2
    mov cr0, rax
    mov rax, cr4
    or eax, 0x600                   # OSFXSR, OSXMMEXCPT: before any Rust
    mov cr4, rax
    fninit
    xor ebp, ebp
    call tacet_main
    ud2
"
);

#[unsafe(no_mangle)]
extern "C" fn tacet_main(index: u32, window: u64, len: u64) -> ! {
    // SAFETY: each core calls this once, with these.
    unsafe { partition::announce(window, len, index) };
    if index != 0 {
        partition::enter_other(index);
    }
    // SAFETY: the first core calls this once, with these.
    let Some(facts) = (unsafe { partition::read(window, len) }) else { partition::refuse() };
    let heap = window + facts.layout.frames;
    let bytes = facts.layout.heap_bytes() as usize;
    // SAFETY: the first frames are the heap's: `boot::prepare` hands out only what follows.
    let claimed = unsafe { HEAP.lock().claim(heap as *mut u8, bytes) };
    if claimed.is_none() {
        partition::refuse();
    }
    partition::enter(facts)
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    boot::record_panic(info);
    partition::refuse()
}
