/* A program that reaches for what is not its own: the kernel's addresses, instructions of the
 * kernel. Each attempt must fault as on Linux, and the program goes on. */
#define _GNU_SOURCE
#include "show.h"
#include <sys/auxv.h>
#include <unistd.h>

#define ATTEMPT(text)                                                                                     \
    do {                                                                                                  \
        catch_faults();                                                                                   \
        if (sigsetjmp(fault_return, 1) == 0) {                                                            \
            __asm__ volatile(text : : "a"(0L), "c"(0x10L), "d"(0x80L) : "memory");                        \
            printf("%s: works\n", text);                                                                  \
        } else                                                                                            \
            printf("%s: signal %d code %d\n", text, fault_signal, fault_code);                            \
    } while (0)

static unsigned char table[16];

static void privileged(void) {
    ATTEMPT("hlt");
    ATTEMPT("cli");
    ATTEMPT("sti");
    ATTEMPT("mov %%cr0, %%rax");
    ATTEMPT("mov %%cr3, %%rax");
    ATTEMPT("mov %%rax, %%cr0");
    ATTEMPT("mov %%rax, %%cr3");
    ATTEMPT("mov %%rax, %%cr4");
    ATTEMPT("mov %%rax, %%dr7");
    ATTEMPT("rdmsr");
    ATTEMPT("wrmsr");
    ATTEMPT("in %%dx, %%al");
    ATTEMPT("out %%al, %%dx");
    ATTEMPT("in $0x60, %%al");
    ATTEMPT("clts");
    ATTEMPT("invd");
    ATTEMPT("wbinvd");
    ATTEMPT("swapgs");
    ATTEMPT("ltr %%ax");
    ATTEMPT("lldt %%ax");
    ATTEMPT("invlpg (%%rax)");
    ATTEMPT("int $0x20");
    ATTEMPT("int $0xd");
    ATTEMPT("int $0xff");
    catch_faults();
    if (sigsetjmp(fault_return, 1) == 0) {
        __asm__ volatile("lgdt %0" : : "m"(table));
        puts("lgdt: works");
    } else
        printf("lgdt: signal %d code %d\n", fault_signal, fault_code);
    if (sigsetjmp(fault_return, 1) == 0) {
        __asm__ volatile("lidt %0" : : "m"(table));
        puts("lidt: works");
    } else
        printf("lidt: signal %d code %d\n", fault_signal, fault_code);
}

static const unsigned long places[] = {
    0x0000000000000000, 0x0000000000001000, 0x00007ffffffff000, 0x0000800000000000, 0x7fffffffffffffff,
    0xffff000000000000, 0xffff800000000000, 0xffff888000000000, 0xffffc90000000000, 0xfffffe0000000000,
    0xffffffff80000000, 0xffffffff81000000, 0xffffffffc0000000, 0xfffffffffffff000};

static void addresses(void) {
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        printf("%lx\n", places[i]);
        catch_faults();
        for (int is_write = 0; is_write < 2; is_write++) {
            volatile char *address = (char *)places[i];
            if (sigsetjmp(fault_return, 1) == 0) {
                if (is_write)
                    *address = 1;
                else
                    printf("%d", *address);
                puts("works");
            } else
                printf("  signal %d code %d address %lx\n", fault_signal, fault_code, (unsigned long)fault_address);
        }
    }
}

static void jumps(void) {
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        catch_faults();
        if (sigsetjmp(fault_return, 1) == 0) {
            ((void (*)(void))places[i])();
            printf("%lx: came back\n", places[i]);
        } else
            printf("%lx: signal %d code %d address %lx\n", places[i], fault_signal, fault_code,
                   (unsigned long)fault_address);
    }
}

static int reached;

static void probe(unsigned long address) {
    for (int is_write = 0; is_write < 2; is_write++)
        if (sigsetjmp(fault_return, 1) == 0) {
            volatile char *place = (char *)address;
            char value = is_write ? 1 : *place;
            if (is_write)
                *place = value;
            printf("%lx can be %s\n", address, is_write ? "written" : "read");
            reached++;
        }
}

/* The kernel's half: each of its 512 GiB, each GiB of the last of these, each 2 MiB of the last two GiB. */
static void upper_half(void) {
    catch_faults();
    for (unsigned long i = 0; i < 256; i++)
        probe(0xffff800000000000 + (i << 39));
    for (unsigned long i = 0; i < 512; i++)
        probe(0xffffff8000000000 + (i << 30));
    for (unsigned long i = 0; i < 1024; i++)
        probe(0xffffffff80000000 + (i << 21));
    SHOW(reached);
}

/* What is the program's to read only. A cell may do without a vDSO. */
static void own(void) {
    volatile char *vdso = (char *)getauxval(AT_SYSINFO_EHDR);
    catch_faults();
    if (vdso && sigsetjmp(fault_return, 1) == 0) {
        *vdso = 1;
        puts("the vDSO can be written");
    }
    SHOW_WRITE((char *)(uintptr_t)own);
    SHOW_WRITE((char *)"text");
}

/* The kernel is asked to read and write for the program. */
static void by_call(void) {
    FILE *zero = fopen("/dev/zero", "r");
    int fd = fileno(zero), pipes[2];
    SHOW(pipe(pipes));
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        printf("%lx\n", places[i]);
        SHOW(read(fd, (void *)places[i], 8));
        SHOW(write(pipes[1], (void *)places[i], 8));
    }
}

int main(int argc, char **argv) {
    static const struct section sections[] = {
        {"privileged", privileged}, {"addresses", addresses}, {"jumps", jumps}, {"upper_half", upper_half},
        {"own", own}, {"by_call", by_call}, {NULL, NULL}};
    return run_section(argc, argv, sections);
}
