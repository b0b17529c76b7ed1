/* Tries to reach the host's kernel past Tacet's. `fence WAY [MARKER]`.
 *
 * Two kinds of evidence. Call 1500 (tacet_ring_nop) gives 0 in a cell and ENOSYS on Linux: a 0
 * from a `syscall` instruction of the program's own proves that it arrived in Tacet's kernel.
 * And the old int 0x80 (and sysenter) reach Linux's own table natively: in a cell they must
 * give ENOSYS, or end the program, and the file MARKER, which they try to make, must not be there. */
#define _GNU_SOURCE
#include "show.h"
#include <fcntl.h>
#include <link.h>
#include <sys/mman.h>
#include <unistd.h>

typedef long call_function(long number, long a, long b, long c);

/* mov rax, rdi; mov rdi, rsi; mov rsi, rdx; mov rdx, rcx; syscall; ret */
static const unsigned char syscall_code[] = {0x48, 0x89, 0xf8, 0x48, 0x89, 0xf7, 0x48, 0x89, 0xd6,
                                             0x48, 0x89, 0xca, 0x0f, 0x05, 0xc3};
/* The arguments number, a, b, c come in edi, esi, edx, ecx and leave in eax, ebx, ecx, edx. */
static const unsigned char int80_code[] = {0x53,                   /* push rbx */
                                           0x89, 0xf8,             /* mov eax, edi */
                                           0x89, 0xf3,             /* mov ebx, esi */
                                           0x87, 0xd1,             /* xchg ecx, edx */
                                           0xcd, 0x80,             /* int 0x80 */
                                           0x48, 0x98,             /* cdqe */
                                           0x5b, 0xc3};            /* pop rbx; ret */

enum { GETPID_32 = 20, OPEN_32 = 5, NOP = 1500 };

static const char *marker;

static long inline_syscall(long number, long a, long b, long c) {
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
    return result;
}

static long inline_int80(long number, long a, long b, long c) {
    long result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(a), "c"(b), "d"(c) : "memory", "r8", "r9", "r10", "r11");
    return (int)result;
}

static call_function *as_code(void *memory) {
    return (call_function *)(uintptr_t)memory;
}

/* int 0x80 takes 32-bit pointers. */
static char *low_copy(const char *text) {
    char *memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    if (memory == MAP_FAILED) {
        printf("no low memory: %s\n", strerror(errno));
        exit(97);
    }
    strcpy(memory, text);
    return memory;
}

static void *written_then_executable(const unsigned char *code, size_t length) {
    char *memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memcpy(memory, code, length);
    SHOW(mprotect(memory, 4096, PROT_READ | PROT_EXEC));
    return memory;
}

static void *writable_and_executable(const unsigned char *code, size_t length) {
    char *memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory != MAP_FAILED)
        memcpy(memory, code, length);
    return memory;
}

static void *from_file(const unsigned char *code, size_t length) {
    int fd = open("code", O_RDWR | O_CREAT | O_TRUNC, 0700);
    if (write(fd, code, length) != (ssize_t)length)
        exit(97);
    return mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
}

static void use_syscall(const char *where, call_function *call) {
    printf("%s: call 1500 = %ld, own pid %d, ", where, call(NOP, 0, 0, 0), call(39, 0, 0, 0) == getpid());
    printf("x32 getpid = %ld\n", call(39 | 0x40000000, 0, 0, 0));
}

static void use_int80(const char *where, call_function *call) {
    long pid = call(GETPID_32, 0, 0, 0);
    if (pid > 0)
        printf("%s: int 0x80 getpid answers, ", where);
    else
        printf("%s: int 0x80 getpid = %ld, ", where, pid);
    long fd = call(OPEN_32, (long)low_copy(marker), O_RDWR | O_CREAT, 0600);
    printf("open = %ld\n", fd >= 0 ? 0 : fd);
}

static void section_inline(void) {
    use_syscall("inline", inline_syscall);
}

static void section_written(void) {
    use_syscall("written", as_code(written_then_executable(syscall_code, sizeof syscall_code)));
}

static void section_writable(void) {
    void *memory = writable_and_executable(syscall_code, sizeof syscall_code);
    if (memory == MAP_FAILED)
        puts("refused");
    else
        use_syscall("writable", as_code(memory));
}

static void section_mapped(void) {
    use_syscall("mapped", as_code(from_file(syscall_code, sizeof syscall_code)));
}

static void section_int80(void) {
    use_int80("inline", inline_int80);
}

static void section_int80_written(void) {
    use_int80("written", as_code(written_then_executable(int80_code, sizeof int80_code)));
}

static void section_int80_mapped(void) {
    use_int80("mapped", as_code(from_file(int80_code, sizeof int80_code)));
}

/* What sysenter returns to is undefined in 64-bit code: only the marker counts. */
static void section_sysenter(void) {
    char *path = low_copy(marker);
    puts("sysenter");
    __asm__ volatile("mov %%rsp, %%rbp; sysenter" : : "a"(OPEN_32), "b"(path), "c"(O_RDWR | O_CREAT), "d"(0600) : "memory");
}

/* 32-bit code by a far return to Linux's compatibility segment 0x23: int 0x80 from there. */
static void section_compatibility(void) {
    static const unsigned char code[] = {0xcd, 0x80, 0x0f, 0x0b}; /* int 0x80; ud2 */
    char *memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    if (memory == MAP_FAILED) {
        puts("refused");
        return;
    }
    memcpy(memory, code, sizeof code);
    char *path = low_copy(marker);
    puts("compatibility mode");
    __asm__ volatile("push $0x23; push %0; lretq"
                     : : "r"((long)memory), "a"(OPEN_32), "b"(path), "c"(O_RDWR | O_CREAT), "d"(0600) : "memory");
}

/* Borrowing a syscall instruction that the program does not own: the Nth one found in executable
 * mappings that belong to none of the program's own objects (the kernel image, where it can be
 * seen). Registers ask for creat(MARKER). Says "none" when there is no Nth one. */
static int wanted_site;

static int holds_address(struct dl_phdr_info *object, size_t size, void *data) {
    (void)size;
    uintptr_t address = *(uintptr_t *)data;
    for (int i = 0; i < object->dlpi_phnum; i++) {
        uintptr_t start = object->dlpi_addr + object->dlpi_phdr[i].p_vaddr;
        /* The vDSO is an object too; mappings go to the end of the page. */
        uintptr_t end = (start + object->dlpi_phdr[i].p_memsz + 4095) & ~4095ul;
        if (object->dlpi_phdr[i].p_type == PT_LOAD && address >= start && address < end)
            return 1;
    }
    return 0;
}

static void section_borrowed(void) {
    FILE *maps = fopen("/proc/self/maps", "r");
    static char line[8192];
    int site = 0;
    while (maps && fgets(line, sizeof line, maps)) {
        uintptr_t from, to;
        char flags[5];
        if (sscanf(line, "%lx-%lx %4s", &from, &to, flags) != 3 || flags[0] != 'r' || flags[2] != 'x')
            continue;
        for (uintptr_t at = from; at + 2 <= to && at < 1ul << 47; at++) {
            const unsigned char *code = (const unsigned char *)at;
            if (code[0] != 0x0f || code[1] != 0x05 || dl_iterate_phdr(holds_address, &at) || site++ != wanted_site)
                continue;
            puts("jumping");
            long result;
            __asm__ volatile("jmp *%4"
                             : "=a"(result)
                             : "0"(85L), "D"(marker), "S"(0600L), "r"(at)
                             : "rcx", "rdx", "r11", "memory");
        }
    }
    puts("none");
}

int main(int argc, char **argv) {
    static const struct section sections[] = {
        {"inline", section_inline}, {"written", section_written}, {"writable", section_writable},
        {"mapped", section_mapped}, {"int80", section_int80}, {"int80_written", section_int80_written},
        {"int80_mapped", section_int80_mapped}, {"sysenter", section_sysenter},
        {"compatibility", section_compatibility}, {"borrowed", section_borrowed}, {NULL, NULL}};
    marker = argc > 2 ? argv[2] : "marker";
    wanted_site = argc > 3 ? atoi(argv[3]) : 0;
    return run_section(argc, argv, sections);
}
