//! The kernel image of the `process` platform.
//!
//! The proxy maps the image at its address, relocates it, and calls its entry in a forked
//! child with the address and the length of the cell's memory.
#![no_std]
#![no_main]

use core::arch::global_asm;

use kernel::boot;
use kernel::platform::process;
use talc::TalcLock;
use talc::source::Manual;

#[global_allocator]
static HEAP: TalcLock<spin::Mutex<()>, Manual> = TalcLock::new(Manual);

global_asm!(
    r#"
    .globl _start
_start:                             # (rdi: address of the cell's memory, rsi: its length)
    lea rsp, [rip + tacet_boot_stack_top]
    xor ebp, ebp
    call tacet_main
    ud2

    .pushsection .bss.tacet_boot_stack, "aw", @nobits
    .balign 16
tacet_boot_stack:
    .skip 65536
tacet_boot_stack_top:
    .popsection
"#
);

#[unsafe(no_mangle)]
extern "C" fn tacet_main(window: u64, len: u64) -> ! {
    // SAFETY: the proxy calls the entry once, with these.
    let Some(facts) = (unsafe { process::read(window, len) }) else { process::refuse() };
    let heap = window + facts.layout.frames;
    let bytes = facts.layout.heap_bytes() as usize;
    // SAFETY: the first frames are the heap's: `boot::prepare` hands out only what follows.
    let claimed = unsafe { HEAP.lock().claim(heap as *mut u8, bytes) };
    if claimed.is_none() {
        process::refuse();
    }
    process::enter(facts)
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    boot::record_panic(info);
    process::refuse()
}
