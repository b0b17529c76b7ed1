//! The memory functions that the compiler calls. Only in the image: the host has its own.
#![cfg(feature = "image")]

use core::arch::global_asm;

// `rep movsb`/`rep stosb` are the fastest choice for long copies on CPUs with ERMS and a fair
// one elsewhere; short ones go by plain loops, for which the string instructions start slowly.
global_asm!(
    r"
    .globl memcpy
memcpy:
    mov rax, rdi
    mov rcx, rdx
    cmp rdx, 64
    ja 3f
    shr rcx, 3
    jz 2f
1:  mov r8, [rsi]
    mov [rdi], r8
    add rsi, 8
    add rdi, 8
    dec rcx
    jnz 1b
2:  and edx, 7
    jz 4f
    mov ecx, edx
3:  rep movsb
4:  ret

    .globl memmove
memmove:
    mov r9, rdi
    sub r9, rsi
    cmp r9, rdx
    jae memcpy                      # forwards does no harm
    mov rax, rdi
    mov rcx, rdx
    lea rsi, [rsi + rdx - 1]
    lea rdi, [rdi + rdx - 1]
    std
    rep movsb
    cld
    ret

    .globl memset
memset:
    mov r9, rdi
    mov eax, esi
    mov rcx, rdx
    rep stosb
    mov rax, r9
    ret

    .globl memcmp
memcmp:
    xor eax, eax
    mov rcx, rdx
    cmp rcx, rcx
    repe cmpsb
    je 5f
    movzx eax, byte ptr [rsi - 1]
    movzx edx, byte ptr [rdi - 1]
    sub edx, eax
    mov eax, edx
5:  ret

    .globl bcmp
bcmp:
    jmp memcmp

    .globl strlen
strlen:
    xor eax, eax
6:  cmp byte ptr [rdi + rax], 0
    je 7f
    inc rax
    jmp 6b
7:  ret

    .globl rust_eh_personality
rust_eh_personality:
    .globl _Unwind_Resume
_Unwind_Resume:
    ud2
"
);
