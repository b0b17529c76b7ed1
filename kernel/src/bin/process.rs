//! The kernel image of the `process` platform.
//!
//! The proxy maps the image at its address, relocates it, and calls its entry in a forked
//! child with the address and the length of the cell's memory.
#![no_std]
#![no_main]

use core::arch::global_asm;
use core::fmt::Write;

use kernel::boot;
use kernel::platform::process;
use shm_ipc::control::PANIC_BYTES;
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
    let bytes = boot::heap_bytes(&facts.layout) as usize;
    // SAFETY: the first frames are the heap's: `boot::prepare` hands out only what follows.
    let claimed = unsafe { HEAP.lock().claim(heap as *mut u8, bytes) };
    if claimed.is_none() {
        process::refuse();
    }
    process::enter(facts)
}

/// Text of a panic, cut to what the control page holds.
struct Text {
    bytes: [u8; PANIC_BYTES],
    len: usize,
}

impl Write for Text {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        let room = &mut self.bytes[self.len..];
        let taken = text.len().min(room.len());
        room[..taken].copy_from_slice(&text.as_bytes()[..taken]);
        self.len += taken;
        Ok(())
    }
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    let mut text = Text { bytes: [0; PANIC_BYTES], len: 0 };
    // The text never fails to be written: it is cut instead.
    let _ = write!(text, "{info}");
    boot::control().set_panic(&text.bytes[..text.len]);
    process::refuse()
}
