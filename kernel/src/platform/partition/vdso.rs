//! The vDSO (vdso(7)): what time it is, and on which CPU, without entering the kernel.
//!
//! An ELF image in one piece, written out below: headers, tables of symbols and versions as Linux's
//! own has them, code. The program has a copy of it, and in the page before that, to be read only, the
//! clock page that the kernel reads as well: both follow the same lines by the same steps
//! ([`ClockPage::line`], [`Line::monotonic_at`]), so that no clock steps back from one to the other.
//! What the page does not tell is asked of the kernel.
//!
//! The code needs no relocation: it refers to itself and to the page before by their distance only.
//!
//! Source: System V ABI, chapter 5; Linux's `arch/x86/entry/vdso/vdso.lds.S` for names and versions.
//!
//! [`ClockPage::line`]: shm_ipc::clock::ClockPage::line
//! [`Line::monotonic_at`]: shm_ipc::clock::Line::monotonic_at

use core::arch::global_asm;

use shm_ipc::clock::{RECORDS, RECORDS_AT};

// What the code below knows of the clock page.
const _: () = assert!(RECORDS == 4 && RECORDS_AT == 8);

global_asm!(
    r#"
    .pushsection .rodata.tacet_vdso, "a", @progbits
    .balign 64
    .globl tacet_vdso_start
tacet_vdso_start:
.Lvdso:                                 # Elf64_Ehdr
    .byte 0x7f, 'E', 'L', 'F', 2, 1, 1, 0
    .quad 0
    .short 3, 62                        # ET_DYN, EM_X86_64
    .long 1
    .quad 0, 64, 0                      # no entry, program headers, no section headers
    .long 0
    .short 64, 56, 3, 64, 0, 0
                                        # Elf64_Phdr
    .long 1, 5                          # PT_LOAD, readable and executable
    .quad 0, 0, 0, .Lend - .Lvdso, .Lend - .Lvdso, 4096
    .long 2, 4                          # PT_DYNAMIC
    .quad .Ldynamic - .Lvdso, .Ldynamic - .Lvdso, .Ldynamic - .Lvdso, .Ldynamic_end - .Ldynamic, .Ldynamic_end - .Ldynamic, 8
    .long 0x6474e550, 4                 # PT_GNU_EH_FRAME
    .quad .Leh_header - .Lvdso, .Leh_header - .Lvdso, .Leh_header - .Lvdso, .Leh_frame - .Leh_header, .Leh_frame - .Leh_header, 4

.Ldynamic:
    .quad 14, .Lsoname - .Lstrings      # DT_SONAME
    .quad 4, .Lhash - .Lvdso            # DT_HASH
    .quad 5, .Lstrings - .Lvdso         # DT_STRTAB
    .quad 6, .Lsymbols - .Lvdso         # DT_SYMTAB
    .quad 10, .Lstrings_end - .Lstrings # DT_STRSZ
    .quad 11, 24                        # DT_SYMENT
    .quad 0x6ffffff0, .Lversions - .Lvdso
    .quad 0x6ffffffc, .Ldefinitions - .Lvdso
    .quad 0x6ffffffd, 2                 # DT_VERDEFNUM
    .quad 0, 0
.Ldynamic_end:

.Lsymbols:                              # Elf64_Sym: global functions
    .quad 0, 0, 0
    .irp name, clock_gettime, gettimeofday, time, clock_getres, getcpu
    .long .Lname_\name - .Lstrings
    .byte 0x12, 0
    .short 1
    .quad .L\name - .Lvdso, .L\name\()_end - .L\name
    .endr

.Lhash:                                 # one chain for all
    .long 1, 6, 1, 0, 2, 3, 4, 5, 0
.Lversions:                             # Elf64_Versym
    .short 0, 2, 2, 2, 2, 2
    .balign 4
.Ldefinitions:                          # Elf64_Verdef, Elf64_Verdaux
    .short 1, 1, 1, 1
    .long 0xdeebfa1, 20, 28
    .long .Lsoname - .Lstrings, 0
    .short 1, 0, 2, 1
    .long 0x3ae75f6, 20, 0
    .long .Lversion - .Lstrings, 0

.Lstrings:
    .byte 0
.Lsoname:
    .asciz "linux-vdso.so.1"
.Lversion:
    .asciz "LINUX_2.6"
    .irp name, clock_gettime, gettimeofday, time, clock_getres, getcpu
.Lname_\name:
    .asciz "__vdso_\name"
    .endr
.Lstrings_end:

    .balign 4
.Leh_header:                            # one entry: all of the code
    .byte 1, 0x1b, 0x03, 0x3b
    .long .Leh_frame - .
    .long 1
    .long .Lcode - .Leh_header, .Lfde - .Leh_header
.Leh_frame:
    .long .Lfde - . - 4
    .long 0
    .byte 1
    .asciz "zR"
    .byte 1, 0x78, 16, 1, 0x1b
    .byte 0x0c, 7, 8, 0x90, 1           # the return address is on top of the stack throughout
    .balign 4, 0
.Lfde:
    .long .Lfde_end - . - 4
    .long . - .Leh_frame
    .long .Lcode - .
    .long .Lend - .Lcode
    .byte 0
    .balign 4, 0
.Lfde_end:
    .long 0

    .balign 64
.Lcode:
.Lread:                                 # rax: CLOCK_MONOTONIC, r8: what CLOCK_REALTIME is ahead of it
    lea r11, [rip + .Lvdso - 4096]
    mov r9d, [r11]                      # the newest line
    rdtscp
    shl rdx, 32
    or rax, rdx
    mov r10d, r9d
    and r10d, 3
    shl r10d, 5
    lea r10, [r11 + r10 + 8]
    mov rdx, rax
    sub rdx, [r10]
    jns 1f
    cmp r9d, 1
    jbe 1f
    lea r10d, [r9 - 1]                  # it has not begun: the one before
    and r10d, 3
    shl r10d, 5
    lea r10, [r11 + r10 + 8]
    mov rdx, rax
    sub rdx, [r10]
1:  mov rax, rdx
    imul qword ptr [r10 + 24]
    shrd rax, rdx, 32
    add rax, [r10 + 8]
    mov r8, [r10 + 16]
    cmp r9d, [r11]
    jne .Lread                          # a newer one may have begun, or this one been rewritten meanwhile
    ret

.Lsplit:                                # rax -> rdx: seconds, r9: nanoseconds
    mov r9, rax
    shr rax, 9
    movabs r10, 0x44b82fa09b5a53        # 2^84 / 10^9
    mul r10
    shr rdx, 11
    imul rax, rdx, 1000000000
    sub r9, rax
    ret

.Lclock_gettime:                        # (edi: clock, rsi: struct timespec *)
    cmp edi, 1
    ja 2f
    call .Lread
    test edi, edi
    jnz 1f
    add rax, r8
1:  call .Lsplit
    mov [rsi], rdx
    mov [rsi + 8], r9
    xor eax, eax
    ret
2:  mov eax, 228
    syscall
    ret
.Lclock_gettime_end:

.Lgettimeofday:                         # (rdi: struct timeval *, rsi: struct timezone *)
    test rdi, rdi
    jz 1f
    call .Lread
    add rax, r8
    call .Lsplit
    mov [rdi], rdx
    mov eax, r9d
    xor edx, edx
    mov ecx, 1000
    div ecx
    mov [rdi + 8], rax
1:  test rsi, rsi
    jz 2f
    mov qword ptr [rsi], 0
2:  xor eax, eax
    ret
.Lgettimeofday_end:

.Ltime:                                 # (rdi: time_t *)
    call .Lread
    add rax, r8
    call .Lsplit
    test rdi, rdi
    jz 1f
    mov [rdi], rdx
1:  mov rax, rdx
    ret
.Ltime_end:

.Lclock_getres:
    mov eax, 229
    syscall
    ret
.Lclock_getres_end:

.Lgetcpu:                               # (rdi: unsigned *, rsi: unsigned *): see `cpu::set_registers`
    rdtscp
    test rdi, rdi
    jz 1f
    mov eax, ecx
    and eax, 0xfff
    mov [rdi], eax
1:  test rsi, rsi
    jz 2f
    shr ecx, 12
    mov [rsi], ecx
2:  xor eax, eax
    ret
.Lgetcpu_end:
.Lend:
    .globl tacet_vdso_end
tacet_vdso_end:
    .popsection
    "#
);

unsafe extern "C" {
    static tacet_vdso_start: u8;
    static tacet_vdso_end: u8;
}

/// The image.
pub fn image() -> &'static [u8] {
    let (start, end) = (&raw const tacet_vdso_start, &raw const tacet_vdso_end);
    // SAFETY: constants of the kernel's own image, from the one label to the other.
    unsafe { core::slice::from_raw_parts(start, end as usize - start as usize) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a dynamic linker finds under a name, by the tables alone.
    fn find(name: &[u8]) -> Option<(u64, u16)> {
        let image = image();
        let word = |at: u64, len: usize| {
            image[at as usize..at as usize + len].iter().rev().fold(0u64, |word, byte| word << 8 | u64::from(*byte))
        };
        const PT_DYNAMIC: u64 = 2;
        let mut segments = (0..word(56, 2)).map(|n| word(32, 8) + word(54, 2) * n);
        let start = word(segments.find(|at| word(*at, 4) == PT_DYNAMIC)? + 8, 8);
        let value = |tag: u64| (0..16).map(|n| start + 16 * n).find(|at| word(*at, 8) == tag).map(|at| word(at + 8, 8));
        let (strings, symbols, hash) = (value(5)?, value(6)?, value(4)?);
        let text = |at: u64| image[(strings + at) as usize..].split(|byte| *byte == 0).next().expect("a string");
        let mut index = word(hash + 8, 4);
        while index != 0 {
            let symbol = symbols + 24 * index;
            if text(word(symbol, 4)) == name {
                let version = word(value(0x6fff_fff0)? + 2 * index, 2) as u16;
                return Some((word(symbol + 8, 8), version));
            }
            index = word(hash + 12 + 4 * index, 4);
        }
        None
    }

    #[test]
    fn all_functions_are_found() {
        assert!(image().len() < 4096);
        for name in ["clock_gettime", "gettimeofday", "time", "clock_getres", "getcpu"] {
            let (at, version) = find(format!("__vdso_{name}").as_bytes()).expect(name);
            assert!((at as usize) < image().len() && version == 2, "{name}");
        }
        assert_eq!(find(b"__vdso_other"), None);
    }

    #[test]
    fn versions_have_the_hashes_of_their_names() {
        let hash = |name: &str| {
            name.bytes().fold(0u32, |sum, byte| {
                let sum = (sum << 4) + u32::from(byte);
                (sum ^ (sum & 0xf000_0000) >> 24) & 0x0fff_ffff
            })
        };
        let holds = |word: u32| image().windows(4).any(|bytes| bytes == word.to_le_bytes());
        assert!(holds(hash("LINUX_2.6")) && holds(hash("linux-vdso.so.1")));
    }
}
