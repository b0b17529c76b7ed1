/* Programs that die of their own faults, and programs that catch them. The first argument
 * says how. */
#define _GNU_SOURCE
#include "show.h"
#include <fcntl.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

static volatile int zero;
static int *volatile null_pointer;

static void null_read(void) {
    printf("before\n");
    printf("read %d\n", *null_pointer);
}

static void null_write(void) {
    printf("before\n");
    *null_pointer = 1;
}

static void null_call(void) {
    printf("before\n");
    ((void (*)(void))(uintptr_t)null_pointer)();
}

static void noncanonical(void) {
    printf("before\n");
    *(volatile char *)0x8000000000000000UL = 1;
}

static void divide(void) {
    printf("before\n");
    printf("quotient %d\n", 7 / zero);
}

static void illegal(void) {
    printf("before\n");
    __asm__ volatile("ud2");
}

static void breakpoint(void) {
    printf("before\n");
    __asm__ volatile("int3");
}

static void privileged(void) {
    printf("before\n");
    __asm__ volatile("hlt");
}

static void aborted(void) {
    printf("before\n");
    abort();
}

static void file_end(void) {
    printf("before\n");
    int fd = open("empty", O_RDWR | O_CREAT, 0600);
    char *memory = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0);
    printf("read %d\n", memory[0]);
}

static void not_executable(void) {
    printf("before\n");
    unsigned char *memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memory[0] = 0xc3;
    ((void (*)(void))(uintptr_t)memory)();
    printf("data ran as code\n");
}

/* SIGSEGV caught: the right address and code, and a way out by siglongjmp, twice. */
static void caught(void) {
    char *memory = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect(memory + 4096, 4096, PROT_READ);
    munmap(memory + 2 * 4096, 4096);
    SHOW_WRITE(memory + 100);
    SHOW_READ(memory + 4096 + 17);
    SHOW_WRITE(memory + 4096 + 17);
    SHOW_READ(memory + 2 * 4096 + 5);
    SHOW_WRITE(memory + 2 * 4096 + 5);
    SHOW_READ((char *)NULL + 8);
}

static void *resumed_page;

static void unprotect(int signal, siginfo_t *info, void *context) {
    (void)context;
    printf("signal %d code %d\n", signal, info->si_code);
    mprotect(resumed_page, 4096, PROT_READ | PROT_WRITE);
}

/* The handler repairs the cause and returns: the instruction runs again. */
static void repaired(void) {
    struct sigaction action = {.sa_sigaction = unprotect, .sa_flags = SA_SIGINFO};
    sigaction(SIGSEGV, &action, NULL);
    resumed_page = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    *(volatile int *)resumed_page = 7;
    printf("value %d\n", *(volatile int *)resumed_page);
}

static void skip_instruction(int signal, siginfo_t *info, void *context) {
    ucontext_t *user = context;
    unsigned char *site = (unsigned char *)user->uc_mcontext.gregs[REG_RIP];
    printf("signal %d code %d, si_addr %s\n", signal, info->si_code, info->si_addr == site ? "right" : "WRONG");
    printf("rbx %llx\n", (unsigned long long)user->uc_mcontext.gregs[REG_RBX]);
    user->uc_mcontext.gregs[REG_RIP] += 2;
    user->uc_mcontext.gregs[REG_RBX] = 0x5678;
}

/* The handler changes registers in the frame; sigreturn takes them over. */
static void skipped(void) {
    struct sigaction action = {.sa_sigaction = skip_instruction, .sa_flags = SA_SIGINFO};
    sigaction(SIGILL, &action, NULL);
    sigaction(SIGFPE, &action, NULL);
    unsigned long value;
    __asm__ volatile("mov $0x1234, %%ebx; ud2; mov %%rbx, %0" : "=r"(value) : : "rbx", "memory");
    printf("after ud2: %lx\n", value);
    /* div %ecx is two bytes as well. */
    __asm__ volatile("mov $0x1234, %%ebx; xor %%ecx, %%ecx; xor %%edx, %%edx; mov $1, %%eax; div %%ecx; mov %%rbx, %0"
                     : "=r"(value) : : "rax", "rbx", "rcx", "rdx", "memory");
    printf("after div: %lx\n", value);
}

static double vector_after_fault(double x) {
    double result;
    __asm__ volatile("movsd %1, %%xmm7; ud2; movsd %%xmm7, %0" : "=m"(result) : "m"(x) : "xmm7", "memory");
    return result;
}

static void spoil_vectors(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)info;
    __asm__ volatile("xorpd %%xmm7, %%xmm7" : : : "xmm7");
    ((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP] += 2;
}

/* Vector registers live through a handler that uses them. */
static void vectors(void) {
    struct sigaction action = {.sa_sigaction = spoil_vectors, .sa_flags = SA_SIGINFO};
    sigaction(SIGILL, &action, NULL);
    printf("%.3f\n", vector_after_fault(2.718));
}

static sigjmp_buf overflow_return;
static char *altstack_low, *altstack_high;

static void overflow_caught(int signal, siginfo_t *info, void *context) {
    (void)info, (void)context;
    char here;
    printf("signal %d, on the alternate stack: %d\n", signal, &here >= altstack_low && &here < altstack_high);
    siglongjmp(overflow_return, 1);
}

#pragma GCC diagnostic ignored "-Winfinite-recursion"
static int __attribute__((noinline)) recurse(volatile int *depth) {
    volatile char frame[4096];
    frame[0] = (char)*depth;
    ++*depth;
    return recurse(depth) + frame[0];
}

/* Stack overflow, caught on an alternate stack. */
static void overflow(void) {
    size_t length = 64 << 10;
    altstack_low = malloc(length);
    altstack_high = altstack_low + length;
    stack_t stack = {.ss_sp = altstack_low, .ss_size = length};
    SHOW(sigaltstack(&stack, NULL));
    struct sigaction action = {.sa_sigaction = overflow_caught, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigaction(SIGSEGV, &action, NULL);
    for (int round = 0; round < 2; round++) {
        volatile int depth = 0;
        if (sigsetjmp(overflow_return, 1) == 0)
            recurse(&depth);
        else
            printf("deeper than 1000 frames: %d\n", depth > 1000);
    }
}

static void overflow_uncaught(void) {
    printf("before\n");
    volatile int depth = 0;
    recurse(&depth);
}

/* A fault inside a handler of the same signal, which is blocked there, ends the program. */
static void fault_again(int signal) {
    printf("handler of signal %d\n", signal);
    *null_pointer = 1;
}

static void nested(void) {
    signal(SIGSEGV, fault_again);
    *null_pointer = 1;
}

/* A fault while its signal is ignored ends the program all the same. */
static void ignored(void) {
    signal(SIGSEGV, SIG_IGN);
    printf("before\n");
    *null_pointer = 1;
    printf("after\n");
}

int main(int argc, char **argv) {
    static const struct section sections[] = {
        {"null_read", null_read}, {"null_write", null_write}, {"null_call", null_call},
        {"noncanonical", noncanonical}, {"divide", divide}, {"illegal", illegal},
        {"breakpoint", breakpoint}, {"privileged", privileged}, {"abort", aborted},
        {"file_end", file_end}, {"not_executable", not_executable}, {"caught", caught},
        {"repaired", repaired}, {"skipped", skipped}, {"vectors", vectors},
        {"overflow", overflow}, {"overflow_uncaught", overflow_uncaught}, {"nested", nested},
        {"ignored", ignored}, {NULL, NULL}};
    return run_section(argc, argv, sections);
}
