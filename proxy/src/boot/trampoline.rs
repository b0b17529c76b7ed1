//! How a core that was reset gets to the kernel: from 16-bit code below 1 MiB, where SIPI starts
//! it, to 64-bit mode (AMD64 APM volume 2, section 14.6).
//!
//! Two pages: the code with what it needs to know, and a top page table, which must lie below
//! 4 GiB because CR3 is loaded by 32-bit code. That table maps the first page at its own address
//! for the moment of the change, and the kernel where the kernel's own table has it.

use std::arch::global_asm;

/// Bytes of the two pages.
pub const BYTES: usize = 2 * PAGE;
const PAGE: usize = 4096;

global_asm!(
    r#"
    .pushsection .rodata.tacet_trampoline, "a", @progbits
    .globl tacet_trampoline
    .globl tacet_trampoline_32
    .globl tacet_trampoline_64
    .globl tacet_trampoline_end
    .code16
tacet_trampoline:
    cli
    cld
    xorl %ebx, %ebx                 # the first page's address
    movw %cs, %bx
    movw %bx, %ds
    shll $4, %ebx
    lgdtl 0x240
    movl %cr0, %eax
    andl $0x9fffffff, %eax          # caches on: INIT leaves CD and NW as they were
    orl $1, %eax
    movl %eax, %cr0
    ljmpl *0x248
    .code32
tacet_trampoline_32:
    movw $0x10, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movl 0x204(%ebx), %eax
    movl %eax, %cr3
    movl %cr4, %eax
    orl $0x20, %eax                 # PAE
    movl %eax, %cr4
    movl $0xc0000080, %ecx          # EFER: LME, NXE
    rdmsr
    orl $0x900, %eax
    wrmsr
    movl %cr0, %eax
    orl $0x80000001, %eax           # PG, PE
    movl %eax, %cr0
    ljmpl *0x250(%ebx)
    .code64
tacet_trampoline_64:
    movl %ebx, %ebx
    movq 0x208(%rbx), %rax          # entry
    movq 0x210(%rbx), %rsp          # stack
    movq 0x218(%rbx), %rdi          # index
    movq 0x220(%rbx), %rsi          # window
    movq 0x228(%rbx), %rdx          # its length
    movq 0x230(%rbx), %rcx          # page tables
    jmpq *%rax
tacet_trampoline_end:
    .popsection
"#,
    options(att_syntax)
);

unsafe extern "C" {
    static tacet_trampoline: u8;
    static tacet_trampoline_32: u8;
    static tacet_trampoline_64: u8;
    static tacet_trampoline_end: u8;
}

/// Where a core is to start, once it is in 64-bit mode.
#[derive(Debug, Clone, Copy)]
pub struct Destination {
    /// Address of the kernel's entry.
    pub entry: u64,
    /// End of the stack.
    pub stack: u64,
    /// First argument: the core's index.
    pub index: u64,
    /// Second and third: the window and its length.
    pub window: [u64; 2],
    /// Fourth: physical address of the kernel's top page table.
    pub root: u64,
}

/// The two pages for a core, to be put at the physical address `at`. `top` is the top table.
pub fn pages(at: u32, top: &[u64; 512], to: &Destination) -> [u8; BYTES] {
    let address = |label: *const u8| label as usize;
    // SAFETY: labels in the image; only their addresses and the code between them are read.
    let (code, to_32, to_64) = unsafe {
        let start = &raw const tacet_trampoline;
        let len = address(&raw const tacet_trampoline_end) - address(start);
        let code = std::slice::from_raw_parts(start, len);
        (
            code,
            address(&raw const tacet_trampoline_32) - address(start),
            address(&raw const tacet_trampoline_64) - address(start),
        )
    };
    let mut bytes = [0; BYTES];
    bytes[..code.len()].copy_from_slice(code);
    let mut put = |offset: usize, value: &[u8]| bytes[offset..offset + value.len()].copy_from_slice(value);
    put(0x204, &(at + PAGE as u32).to_le_bytes());
    let words = [to.entry, to.stack, to.index, to.window[0], to.window[1], to.root];
    for (index, word) in words.iter().enumerate() {
        put(0x208 + 8 * index, &word.to_le_bytes());
    }
    /// Null, 32-bit code, data, 64-bit code.
    const GDT: [u64; 4] = [0, 0x00cf_9b00_0000_ffff, 0x00cf_9300_0000_ffff, 0x00af_9b00_0000_ffff];
    put(0x240, &(size_of_val(&GDT) as u16 - 1).to_le_bytes());
    put(0x242, &(at + 0x260).to_le_bytes());
    put(0x248, &(at + to_32 as u32).to_le_bytes());
    put(0x24c, &0x08_u16.to_le_bytes());
    put(0x250, &(at + to_64 as u32).to_le_bytes());
    put(0x254, &0x18_u16.to_le_bytes());
    for (index, word) in GDT.iter().enumerate() {
        put(0x260 + 8 * index, &word.to_le_bytes());
    }
    for (index, word) in top.iter().enumerate() {
        put(PAGE + 8 * index, &word.to_le_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_does_not_reach_its_data() {
        // SAFETY: labels of the image.
        let len = unsafe { (&raw const tacet_trampoline_end).offset_from(&raw const tacet_trampoline) };
        assert!((0x40..0x200).contains(&len), "{len}");
    }

    #[test]
    fn addresses_are_those_of_the_page() {
        let to = Destination { entry: 1, stack: 2, index: 3, window: [4, 5], root: 6 };
        let mut top = [0; 512];
        top[511] = 7;
        let bytes = pages(0x2_3000, &top, &to);
        let word = |at: usize| u32::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
        assert_eq!(word(0x204), 0x2_4000, "the top table follows");
        assert_eq!(word(0x242), 0x2_3260, "the descriptor table");
        assert!((0x2_3000..0x2_3200).contains(&word(0x248)) && word(0x250) > word(0x248), "code");
        assert_eq!(word(BYTES - 8), 7);
        assert_eq!((word(0x208), word(0x230)), (1, 6));
    }
}
