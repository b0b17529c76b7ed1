/* What a system call leaves alone: registers, flags, the stack below; from the same place many times, with
 * signals and other threads between. */
#define _GNU_SOURCE
#include "show.h"
#include <asm/prctl.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

/* call_once(registers): a call from the two instructions that a C library makes it by, between a load and a
 * store of all registers that Linux does not change. */
struct registers {
    uint64_t rbx, rbp, r12, r13, r14, r15, rdi, rsi, rdx, r8, r9, r10, result, rflags;
    uint64_t red_zone[4];
    double xmm[2];
};
void call_once(struct registers *registers);
extern const unsigned char call_place[];
__asm__(".text\n"
        ".balign 16\n"
        "call_once:\n"
        "push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
        "mov %rdi, saved(%rip)\n"
        "mov %rdi, %rax\n"
        "mov (%rax), %rbx; mov 8(%rax), %rbp; mov 16(%rax), %r12; mov 24(%rax), %r13\n"
        "mov 32(%rax), %r14; mov 40(%rax), %r15; mov 48(%rax), %rdi; mov 56(%rax), %rsi\n"
        "mov 64(%rax), %rdx; mov 72(%rax), %r8; mov 80(%rax), %r9; mov 88(%rax), %r10\n"
        "mov 112(%rax), %rcx; mov %rcx, -8(%rsp); mov 120(%rax), %rcx; mov %rcx, -64(%rsp)\n"
        "mov 128(%rax), %rcx; mov %rcx, -120(%rsp); mov 136(%rax), %rcx; mov %rcx, -128(%rsp)\n"
        "movsd 144(%rax), %xmm0; movsd 152(%rax), %xmm15\n"
        "std\n"
        ".balign 16\n"
        "call_place:\n"
        "mov $110, %eax\n" /* getppid */
        "syscall\n"
        "mov %rax, %r11\n"
        "mov saved(%rip), %rax\n"
        "mov %rbx, (%rax); mov %rbp, 8(%rax); mov %r12, 16(%rax); mov %r13, 24(%rax)\n"
        "mov %r14, 32(%rax); mov %r15, 40(%rax); mov %rdi, 48(%rax); mov %rsi, 56(%rax)\n"
        "mov %rdx, 64(%rax); mov %r8, 72(%rax); mov %r9, 80(%rax); mov %r10, 88(%rax); mov %r11, 96(%rax)\n"
        "mov -8(%rsp), %rcx; mov %rcx, 112(%rax); mov -64(%rsp), %rcx; mov %rcx, 120(%rax)\n"
        "mov -120(%rsp), %rcx; mov %rcx, 128(%rax); mov -128(%rsp), %rcx; mov %rcx, 136(%rax)\n"
        "movsd %xmm0, 144(%rax); movsd %xmm15, 152(%rax)\n"
        "pushfq; pop %rcx; cld; mov %rcx, 104(%rax)\n"
        "pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"
        "ret\n"
        ".section .tbss,\"awT\",@nobits\n"
        ".data\n"
        ".balign 8\n"
        "saved: .quad 0\n"
        ".text\n");

static volatile sig_atomic_t signals;

static void count(int signal) {
    (void)signal;
    signals++;
}

/* Calls with registers that differ each time; gives how often one came back changed. */
static long changed(long rounds) {
    const uint64_t direction = 1 << 10;
    long wrong = 0;
    uint64_t state = 88172645463325252;
    for (long round = 0; round < rounds; round++) {
        struct registers given, got;
        uint64_t *word = (uint64_t *)&given;
        for (size_t at = 0; at < sizeof given / 8; at++) {
            state ^= state << 13, state ^= state >> 7, state ^= state << 17;
            word[at] = state;
        }
        given.xmm[0] = (double)round, given.xmm[1] = -(double)round;
        got = given;
        call_once(&got);
        int same = got.result == (uint64_t)getppid() && got.rflags & direction;
        got.result = given.result, got.rflags = given.rflags;
        wrong += !same || memcmp(&got, &given, sizeof got) != 0;
    }
    return wrong;
}

static void run_registers(void) {
    SHOW(changed(2000));
}

static void run_signals(void) {
    signal(SIGALRM, count);
    struct itimerval often = {{0, 500}, {0, 500}}, never = {{0, 0}, {0, 0}};
    setitimer(ITIMER_REAL, &often, NULL);
    long wrong = 0;
    while (signals < 300) wrong += changed(200);
    setitimer(ITIMER_REAL, &never, NULL);
    SHOW(wrong);
}

static volatile int ended;

static void *call_for_long(void *yields) {
    long wrong = 0;
    /* Who yields beside threads that compute gets the core once a slice. */
    for (long round = 0; round < (yields ? 3000 : 30000); round++) {
        if (yields) sched_yield();
        wrong += syscall(SYS_gettid) <= 0;
    }
    __atomic_add_fetch(&ended, 1, __ATOMIC_SEQ_CST);
    return (void *)wrong;
}

static void run_threads(void) {
    signal(SIGALRM, count);
    struct itimerval often = {{0, 2000}, {0, 2000}}, never = {{0, 0}, {0, 0}};
    setitimer(ITIMER_REAL, &often, NULL);
    pthread_t threads[6];
    for (long at = 0; at < 6; at++) pthread_create(&threads[at], NULL, call_for_long, (void *)(at % 2));
    long wrong = 0;
    while (ended < 6) wrong += changed(100);
    for (int at = 0; at < 6; at++) {
        void *result;
        pthread_join(threads[at], &result);
        wrong += (long)result;
    }
    setitimer(ITIMER_REAL, &never, NULL);
    SHOW(wrong);
}

/* The base of gs is the program's. */
static uint64_t words[2] = {11, 22};

static uint64_t by_gs(void) {
    uint64_t word;
    __asm__ volatile("mov %%gs:8, %0" : "=r"(word));
    return word;
}

static void *in_thread(void *out) {
    uint64_t base = 1;
    syscall(SYS_arch_prctl, ARCH_GET_GS, &base);
    *(uint64_t *)out = base == (uint64_t)words;
    return NULL;
}

static void run_gs(void) {
    uint64_t base = 1, inherited = 0;
    SHOW(changed(10));
    SHOW(syscall(SYS_arch_prctl, ARCH_GET_GS, &base));
    SHOW((long)base);
    SHOW(syscall(SYS_arch_prctl, ARCH_SET_GS, words));
    SHOW(changed(1000));
    SHOW(by_gs() == 22);
    pthread_t thread;
    pthread_create(&thread, NULL, in_thread, &inherited);
    pthread_join(thread, NULL);
    SHOW(inherited == 1);
    SHOW(by_gs() == 22);
    SHOW(syscall(SYS_arch_prctl, ARCH_SET_GS, 0));
    SHOW(syscall(SYS_arch_prctl, ARCH_GET_GS, &base));
    SHOW((long)base);
    SHOW(changed(1000));
}

/* Another library where the code was, and calls from it. */
static void run_replaced(void) {
    unsigned char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    static const unsigned char getpid_code[] = {0xb8, 39, 0, 0, 0, 0x0f, 0x05, 0xc3};
    static const unsigned char getppid_code[] = {0xb8, 110, 0, 0, 0, 0x0f, 0x05, 0xc3};
    char path[] = "code-XXXXXX";
    int code = mkstemp(path);
    SHOW(code < 0);
    for (int round = 0; round < 6; round++) {
        pwrite(code, round % 2 ? getpid_code : getppid_code, sizeof getpid_code, 0);
        ftruncate(code, 4096);
        long (*call)(void) = mmap(page, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_FIXED, code, 0);
        long expected = round % 2 ? getpid() : getppid();
        SHOW(call() == expected && call() == expected && call() == expected);
        munmap(page, 4096);
    }
    unlink(path);
    close(code);
}

/* What was written into code of the program's own is what it said. */
static void run_written(void) {
    unsigned char *code = (unsigned char *)((uintptr_t)call_place & -4096);
    SHOW(changed(10));
    SHOW(mprotect(code, 8192, PROT_READ | PROT_WRITE | PROT_EXEC));
    unsigned char *place = (unsigned char *)call_place;
    SHOW(place[0] == 0xb8 && place[1] == 110);
    __asm__ volatile("" : "+r"(place));
    place[1] = 39; /* getpid */
    struct registers registers = {0};
    call_once(&registers);
    SHOW(registers.result == (uint64_t)getpid());
    call_once(&registers);
    SHOW(registers.result == (uint64_t)getpid());
    SHOW(mprotect(code, 8192, PROT_READ | PROT_EXEC));
    call_once(&registers);
    call_once(&registers);
    SHOW(registers.result == (uint64_t)getpid());
}

/* Sixteen places at all distances from aligned bytes, of which four do not lie within sixteen: from each, several
 * threads make calls at once. */
__asm__(".text\n"
        ".balign 16\n"
        "crossing_calls:\n"
        ".rept 16\n"
        "mov $110, %eax\n" /* getppid */
        "syscall\n"
        "mov %eax, (%rdi)\n"
        "add $4, %rdi\n"
        "nopw 0(%rax,%rax,1)\n"
        "nop\n"
        ".endr\n"
        "ret\n");
extern const unsigned char crossing_calls[];

static pthread_barrier_t together;

static void *call_crossing(void *argument) {
    long wrong = 0;
    int results[16], parent = getppid();
    pthread_barrier_wait(&together);
    for (int round = 0; round < 1000; round++) {
        int *to = results;
        memset(results, 0, sizeof results);
        __asm__ volatile("call crossing_calls" : "+D"(to) : : "rax", "rcx", "r11", "memory", "cc");
        for (int at = 0; at < 16; at++)
            wrong += results[at] != parent;
    }
    (void)argument;
    return (void *)wrong;
}

static void run_crossing(void) {
    pthread_t threads[4];
    long wrong = 0;
    pthread_barrier_init(&together, NULL, 4);
    for (int number = 0; number < 4; number++)
        pthread_create(&threads[number], NULL, call_crossing, NULL);
    for (int number = 0; number < 4; number++) {
        void *result;
        pthread_join(threads[number], &result);
        wrong += (long)result;
    }
    SHOW(wrong);
    unsigned char *code = (unsigned char *)((uintptr_t)crossing_calls & -4096);
    SHOW(mprotect(code, 8192, PROT_READ | PROT_WRITE | PROT_EXEC));
    int places = 0;
    for (int at = 0; at < 16 * 19; at++)
        places += crossing_calls[at] == 0xb8 && crossing_calls[at + 1] == 110 && crossing_calls[at + 5] == 0x0f;
    SHOW(places);
    pthread_barrier_init(&together, NULL, 1);
    SHOW((long)call_crossing(NULL));
}

/* Places of other shapes: the instruction before the `syscall` is shorter than a jump, or others come between. Each is
 * passed through as a whole, or entered in the middle with another call's number; at all distances from aligned bytes, by
 * several threads at once. r12d says which way, rdi where results go. */
#define SHAPE(name, before, middle)                                                                                    \
    void name(void);                                                                                                   \
    __asm__(".text\n"                                                                                                  \
            ".set offset, 1\n" #name ":\n"                                                                             \
            ".rept 16\n"                                                                                               \
            "mov $110, %r8d; mov $110, %ebp; mov %rdi, %rbx\n" /* getppid */                                           \
            "mov $39, %eax\n"                                  /* getpid */                                            \
            "jmp 1f\n"                                                                                                 \
            ".balign 16\n"                                                                                             \
            ".skip offset, 0x90\n"                                                                                     \
            "1: test %r12d, %r12d\n"                                                                                   \
            "jnz 2f\n" before "\n2:" middle "\n"                                                                       \
            "syscall\n"                                                                                                \
            "mov %eax, (%rbx); lea 4(%rbx), %rdi\n"                                                                    \
            ".set offset, offset + 1\n"                                                                                \
            ".endr\n"                                                                                                  \
            "ret\n")
SHAPE(shape_copied, "mov %r8d, %eax", "");
SHAPE(shape_two_copied, "mov %rbx, %rdi; mov %ebp, %eax", "");
SHAPE(shape_second_entered, "mov %rbx, %rdi", "mov %eax, %eax");
SHAPE(shape_flipped, "mov $110, %eax; xor $0x80, %sil", "");
SHAPE(shape_flip_entered, "mov $110, %eax", "xor $0x80, %sil");
SHAPE(shape_from_stack, "mov %ebp, %eax; nop; mov -8(%rsp), %edx", "");
SHAPE(shape_zeroed, "mov $110, %eax", "xor %edi, %edi");
static void (*const shapes[])(void) = {shape_copied,       shape_two_copied, shape_second_entered, shape_flipped,
                                       shape_flip_entered, shape_from_stack, shape_zeroed};

static void *call_shapes(void *argument) {
    long wrong = 0, ids[2] = {getppid(), getpid()};
    pthread_barrier_wait(&together);
    for (int round = 0; round < 4000; round++) {
        for (size_t shape = 0; shape < sizeof shapes / sizeof *shapes; shape++) {
            /* shape_second_entered only passes on what is in eax: getpid either way. */
            long way = round % 3 == 2, expected = ids[way || shapes[shape] == shape_second_entered];
            int results[16] = {0}, *to = results;
            /* The red zone is used. */
            __asm__ volatile("sub $256, %%rsp; push %%rbp; push %%rbx; mov %3, %%r12d; call *%2; pop %%rbx; pop %%rbp; add $256, %%rsp"
                             : "+D"(to)
                             : "0"(to), "r"(shapes[shape]), "r"((int)way)
                             : "rax", "rcx", "rdx", "rsi", "r8", "r11", "r12", "memory", "cc");
            for (int at = 0; at < 16; at++)
                wrong += results[at] != expected;
        }
    }
    (void)argument;
    return (void *)wrong;
}

static void run_shapes(void) {
    pthread_t threads[4];
    long wrong = 0;
    pthread_barrier_init(&together, NULL, 4);
    for (int number = 0; number < 4; number++)
        pthread_create(&threads[number], NULL, call_shapes, NULL);
    for (int number = 0; number < 4; number++) {
        void *result;
        pthread_join(threads[number], &result);
        wrong += (long)result;
    }
    SHOW(wrong);
}

/* A program that steps through its own calls. */
static volatile long steps;

static void step(int signal) {
    (void)signal;
    steps++;
}

static void run_stepped(void) {
    signal(SIGTRAP, step);
    SHOW(changed(10));
    for (int round = 0; round < 3; round++) {
        long result;
        struct registers registers = {0};
        __asm__ volatile("pushfq; orl $0x100, (%%rsp); popfq" ::: "memory", "cc");
        call_once(&registers);
        result = registers.result;
        __asm__ volatile("pushfq; andl $~0x100, (%%rsp); popfq" ::: "memory", "cc");
        SHOW(result == getppid());
        SHOW(steps > 40);
        steps = 0;
    }
    SHOW(changed(10));
}

/* The state beside the general registers: xmm, upper parts of ymm where the machine has them, the stack of
 * x87, both control words. */
struct vectors {
    uint64_t low[16][2], high[16][2];
    double x87;
    uint32_t mxcsr;
    uint16_t control;
};

static int has_avx;

static void load_vectors(const struct vectors *v) {
    __asm__ volatile("fninit; fldcw %0; ldmxcsr %1; fldl %2" ::"m"(v->control), "m"(v->mxcsr), "m"(v->x87));
#define LOAD(n) __asm__ volatile("movups %0, %%xmm" #n ::"m"(v->low[n]));
#define LOAD_WIDE(n)                                                                                               \
    __asm__ volatile("vmovups %0, %%xmm" #n "; vinsertf128 $1, %1, %%ymm" #n ", %%ymm" #n ::"m"(v->low[n]),         \
                     "m"(v->high[n]));
#define ALL(what)                                                                                                  \
    what(0) what(1) what(2) what(3) what(4) what(5) what(6) what(7) what(8) what(9) what(10) what(11) what(12)       \
        what(13) what(14) what(15)
    if (has_avx) {
        ALL(LOAD_WIDE)
    } else {
        ALL(LOAD)
    }
}

static void store_vectors(struct vectors *v) {
#define STORE(n) __asm__ volatile("movups %%xmm" #n ", %0" : "=m"(v->low[n]));
#define STORE_WIDE(n)                                                                                              \
    __asm__ volatile("vmovups %%xmm" #n ", %0; vextractf128 $1, %%ymm" #n ", %1" : "=m"(v->low[n]), "=m"(v->high[n]));
    if (has_avx) {
        ALL(STORE_WIDE)
    } else {
        ALL(STORE)
    }
    __asm__ volatile("fstpl %0; fnstcw %1; stmxcsr %2" : "=m"(v->x87), "=m"(v->control), "=m"(v->mxcsr));
}

/* Loads values that differ each time, makes a call from one place, and looks at them. */
__attribute__((noinline)) static long vectors_changed(long number, long rounds, uint64_t seed) {
    long wrong = 0;
    uint64_t state = seed * 2654435761u + 88172645463325252;
    for (long round = 0; round < rounds; round++) {
        struct vectors given, got;
        memset(&given, 0, sizeof given);
        uint64_t *word = &given.low[0][0];
        for (size_t at = 0; at < (has_avx ? 64 : 32); at++) {
            state ^= state << 13, state ^= state >> 7, state ^= state << 17;
            word[at] = state;
        }
        given.x87 = (double)(long)state;
        given.control = round % 2 ? 0x37f : 0xf7f;
        given.mxcsr = round % 3 ? 0x1f80 : 0x7f80;
        memset(&got, 0, sizeof got);
        long result = number;
        load_vectors(&given);
        __asm__ volatile("call vector_call" : "+a"(result) : : "rcx", "r11", "memory", "cc");
        store_vectors(&got);
        __asm__ volatile("fninit");
        wrong += result < 0 || memcmp(&given, &got, sizeof got) != 0;
    }
    uint32_t plain = 0x1f80;
    __asm__ volatile("ldmxcsr %0" ::"m"(plain));
    return wrong;
}

/* The two instructions that a C library makes a call by; each number has a place of its own. */
__asm__(".text\n"
        "vector_call:\n"
        "cmp $24, %eax\n"
        "je 1f\n"
        ".balign 16\n"
        "mov $110, %eax\n"
        "syscall\n"
        "ret\n"
        ".balign 16\n"
        "1: mov $24, %eax\n"
        "syscall\n"
        "ret\n");

static void overwrite_vectors(int signal) {
    struct vectors other;
    memset(&other, 0x5a, sizeof other);
    other.x87 = -1, other.control = 0x27f, other.mxcsr = 0x1fc0;
    load_vectors(&other);
    __asm__ volatile("fninit");
    count(signal);
}

static void *yield_vectors(void *seed) {
    return (void *)vectors_changed(24, 3000, (uint64_t)seed);
}

static void run_vectors(void) {
    __builtin_cpu_init();
    has_avx = __builtin_cpu_supports("avx");
    SHOW(vectors_changed(110, 2000, 1));
    /* Several threads that take turns on each core. */
    pthread_t threads[6];
    for (long number = 0; number < 6; number++)
        pthread_create(&threads[number], NULL, yield_vectors, (void *)(number + 10));
    long wrong = 0;
    for (int number = 0; number < 6; number++) {
        void *result;
        pthread_join(threads[number], &result);
        wrong += (long)result;
    }
    SHOW(wrong);
    /* Handlers, which begin with registers of their own, at any moment. */
    signal(SIGALRM, overwrite_vectors);
    struct itimerval often = {{0, 3000}, {0, 3000}}, never = {{0, 0}, {0, 0}};
    setitimer(ITIMER_REAL, &often, NULL);
    long rounds = 0;
    for (wrong = 0; signals < 30; rounds++)
        wrong += vectors_changed(rounds % 2 ? 110 : 24, 100, (uint64_t)rounds);
    setitimer(ITIMER_REAL, &never, NULL);
    SHOW(wrong);
}

/* Flags that a call finds set stay, and do no harm: nested task, alignment check, single step, direction. Of the
 * number Linux looks at the lower half. */
static long call_with(uint64_t number, uint64_t flags, uint64_t *left) {
    long result;
    uint64_t plain = 0x202;
    __asm__ volatile("lea -128(%%rsp), %%rsp; push %2; popfq; syscall; pushfq; pop %1; push %3; popfq; lea 128(%%rsp), %%rsp"
                     : "=a"(result), "=&d"(*left)
                     : "r"(flags | plain), "r"(plain), "a"(number)
                     : "rcx", "r11", "memory", "cc");
    return result;
}

static void run_flags(void) {
    const uint64_t nested_task = 1 << 14, alignment = 1 << 18, trap = 1 << 8, direction = 1 << 10;
    const uint64_t all[] = {nested_task, alignment, trap, direction};
    signal(SIGTRAP, step);
    signal(SIGUSR1, count);
    for (int number = 0; number < 16; number++) {
        uint64_t flags = 0, left;
        for (int at = 0; at < 4; at++)
            if (number >> at & 1)
                flags |= all[at];
        for (int round = 0; round < 3; round++)
            CHECK(call_with(SYS_getppid, flags, &left) == getppid() && (left & flags) == flags);
        CHECK(call_with(SYS_sched_yield, flags, &left) == 0 && (left & flags) == flags);
    }
    CHECK(steps > 0);
    uint64_t left;
    for (int half = 0; half < 32; half += 31) {
        uint64_t upper = (uint64_t)(1u << half) << 32;
        CHECK(call_with(upper | SYS_getppid, 0, &left) == getppid());
        CHECK(call_with(upper | SYS_getpid, 0, &left) == getpid());
    }
    SHOW(call_with(SYS_getppid | 1 << 30, 0, &left));
    SHOW(call_with(0xffffffff, 0, &left));
    SHOW(call_with(600, 0, &left));
}

int main(int argc, char **argv) {
    const struct section sections[] = {
        {"flags", run_flags},
        {"registers", run_registers}, {"signals", run_signals}, {"threads", run_threads}, {"gs", run_gs}, {"vectors", run_vectors},
        {"crossing", run_crossing}, {"shapes", run_shapes}, {"replaced", run_replaced},   {"written", run_written}, {"stepped", run_stepped}, {0},
    };
    return run_section(argc, argv, sections);
}
