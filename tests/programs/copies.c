/* process_vm_readv(2) and process_vm_writev(2) of one piece, as MPI libraries make them: very many, from the same
 * place, with signals and other threads between. The other process is the own one, which is one like any other. */
#define _GNU_SOURCE
#include "show.h"
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <unistd.h>

#define PAGE 4096ul

/* copy_once(registers): the call with all registers loaded before and stored after. */
struct registers {
    uint64_t rdi, rsi, rdx, r10, r8, r9, rbx, rbp, r12, r13, r14, r15, number, result;
    uint64_t red_zone[2];
    double xmm[2];
};
void copy_once(struct registers *registers);
__asm__(".text\n"
        ".balign 16\n"
        "copy_once:\n"
        "push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15; push %rdi; push %rdi\n"
        "mov %rdi, %rax\n"
        "mov 0(%rax), %rdi; mov 8(%rax), %rsi; mov 16(%rax), %rdx; mov 24(%rax), %r10; mov 32(%rax), %r8\n"
        "mov 40(%rax), %r9; mov 48(%rax), %rbx; mov 56(%rax), %rbp; mov 64(%rax), %r12; mov 72(%rax), %r13\n"
        "mov 80(%rax), %r14; mov 88(%rax), %r15\n"
        "mov 112(%rax), %rcx; mov %rcx, -8(%rsp); mov 120(%rax), %rcx; mov %rcx, -128(%rsp)\n"
        "movsd 128(%rax), %xmm0; movsd 136(%rax), %xmm15\n"
        "cmpq $311, 96(%rax); je 1f\n"
        ".balign 16\n"
        "mov $310, %eax\n"
        "syscall\n"
        "jmp 2f\n"
        ".balign 16\n"
        "1: mov $311, %eax\n"
        "syscall\n"
        "2: mov (%rsp), %rcx\n"
        "mov %rax, 104(%rcx); mov %rdi, 0(%rcx); mov %rsi, 8(%rcx); mov %rdx, 16(%rcx); mov %r10, 24(%rcx)\n"
        "mov %r8, 32(%rcx); mov %r9, 40(%rcx); mov %rbx, 48(%rcx); mov %rbp, 56(%rcx); mov %r12, 64(%rcx)\n"
        "mov %r13, 72(%rcx); mov %r14, 80(%rcx); mov %r15, 88(%rcx)\n"
        "mov -8(%rsp), %rax; mov %rax, 112(%rcx); mov -128(%rsp), %rax; mov %rax, 120(%rcx)\n"
        "movsd %xmm0, 128(%rcx); movsd %xmm15, 136(%rcx)\n"
        "pop %rdi; pop %rdi; pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"
        "ret\n");

static uint64_t next_random(uint64_t *state) {
    *state ^= *state << 13, *state ^= *state >> 7, *state ^= *state << 17;
    return *state;
}

/* Copies of random length, to one side and to the other; gives how many were not what they should be. */
static long wrong_copies(long rounds, uint64_t seed) {
    char *here = malloc(3 * PAGE), *there = malloc(3 * PAGE);
    long wrong = 0;
    for (long round = 0; round < rounds; round++) {
        size_t length = next_random(&seed) % (2 * PAGE), from = next_random(&seed) % PAGE, to = next_random(&seed) % PAGE;
        int write = next_random(&seed) & 1;
        struct iovec local = {here + to, length}, remote = {there + from, length};
        struct registers given = {.rdi = (uint64_t)getpid(), .rsi = (uint64_t)&local, .rdx = 1, .r10 = (uint64_t)&remote,
                                  .r8 = 1, .number = write ? 311 : 310, .xmm = {(double)round, -(double)round}};
        for (uint64_t *word = &given.rbx; word <= &given.r15; word++)
            *word = next_random(&seed);
        given.red_zone[0] = next_random(&seed), given.red_zone[1] = next_random(&seed);
        memset(here + to, 'h', length), memset(there + from, 't', length);
        char *source = write ? here + to : there + from, *goal = write ? there + from : here + to;
        for (size_t at = 0; at < length; at += 61)
            source[at] = (char)next_random(&seed);
        char last = goal[length];
        struct registers got = given;
        copy_once(&got);
        wrong += got.result != length || memcmp(source, goal, length) || goal[length] != last;
        got.result = given.result;
        wrong += memcmp(&got, &given, sizeof got) != 0;
    }
    free(here), free(there);
    return wrong;
}

static void run_alone(void) {
    SHOW(wrong_copies(3000, 88172645463325252));
}

static volatile sig_atomic_t signals;

static void count(int signal) {
    (void)signal;
    signals++;
}

static void run_signals(void) {
    struct sigaction action = {.sa_handler = count};
    sigaction(SIGALRM, &action, NULL);
    struct itimerval often = {{0, 200}, {0, 200}};
    setitimer(ITIMER_REAL, &often, NULL);
    long wrong = 0;
    for (uint64_t seed = 1; signals < 300; seed++)
        wrong += wrong_copies(100, seed);
    setitimer(ITIMER_REAL, &(struct itimerval){0}, NULL);
    SHOW(wrong);
    /* A signal that waits when the call is over comes before the next instruction. */
    wrong = 0;
    char from = 1, to = 0;
    for (int round = 0; round < 300; round++) {
        int before = signals;
        struct iovec local = {&to, 1}, remote = {&from, 1};
        pthread_kill(pthread_self(), SIGALRM);
        wrong += process_vm_readv(getpid(), &local, 1, &remote, 1, 0) != 1 || signals != before + 1;
    }
    SHOW(wrong);
}

static volatile int done;

static void *compute(void *unused) {
    volatile double x = 0;
    while (!done)
        for (int i = 0; i < 1000; i++)
            x += i;
    return unused;
}

static void *copies(void *seed) {
    return (void *)wrong_copies(3000, (uint64_t)seed);
}

/* More threads than cores: they take turns. */
static void run_threads(void) {
    pthread_t computing, copying[3];
    pthread_create(&computing, NULL, compute, NULL);
    for (uint64_t i = 0; i < 3; i++)
        pthread_create(&copying[i], NULL, copies, (void *)(i + 1));
    for (int i = 0; i < 3; i++) {
        void *wrong;
        pthread_join(copying[i], &wrong);
        SHOW((long)wrong);
    }
    done = 1;
    pthread_join(computing, NULL);
}

static char *map(size_t length, int protection, int flags) {
    return mmap(NULL, length, protection, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
}

/* The same call from the same place, as it was when it first came and as it is then. */
#define THRICE(expression)                                                                                             \
    for (int time = 0; time < 3; time++)                                                                               \
    SHOW(expression)

static ssize_t read_by(const void *local, const void *remote) {
    return process_vm_readv(getpid(), local, 1, remote, 1, 0);
}

static ssize_t read_to(void *to, size_t length, const void *from, size_t there) {
    struct iovec local = {to, length}, remote = {(void *)from, there};
    return read_by(&local, &remote);
}

/* What describes the pieces, and the pieces, where they should not be. */
static void run_pieces(void) {
    char *memory = map(4 * PAGE, PROT_READ | PROT_WRITE, 0), *untouched = map(64 * PAGE, PROT_READ | PROT_WRITE, MAP_NORESERVE);
    fill(memory, 2 * PAGE);
    munmap(memory + 2 * PAGE, PAGE);
    char bytes[100];
    struct iovec good = {bytes, 10}, there = {memory, 10};
    THRICE(read_by(&good, &there));
    static const unsigned long nowhere[] = {0, 8, 0x7fffffffeff8, 0x7ffffffff000, 0x800000000000, 0xffff800000000000, -16, -1};
    for (size_t i = 0; i < sizeof nowhere / sizeof *nowhere; i++) {
        THRICE(read_by((void *)nowhere[i], &there));
        THRICE(read_by(&good, (void *)nowhere[i]));
        THRICE(read_to((void *)nowhere[i], 8, memory, 8));
        THRICE(read_to(bytes, 8, (void *)nowhere[i], 8));
    }
    /* Half of it on a page that is not there, and crooked. */
    struct iovec *half = (struct iovec *)(memory + 2 * PAGE - 8);
    memcpy(half, &good.iov_base, 8);
    THRICE(read_by(half, &there));
    THRICE(read_by(&good, half));
    char room[40];
    memcpy(room + 3, &good, sizeof good), memcpy(room + 23, &there, 17);
    THRICE(read_by(room + 3, &there));
    fill(memory, 2 * PAGE);
    /* Less on the one side, less on the other, nothing, more than there is, more than a number says. */
    THRICE(read_to(bytes, 100, memory, 7));
    THRICE(read_to(bytes, 7, memory, 100));
    THRICE(read_to(bytes, 0, memory, 100));
    THRICE(read_to(bytes, 100, memory, 0));
    THRICE(read_to(memory + 3 * PAGE, PAGE, memory + PAGE, 2 * PAGE));
    THRICE(read_to(memory + 3 * PAGE, PAGE, memory + 2 * PAGE - 10, PAGE));
    THRICE(read_to(memory + 2 * PAGE - 10, 20, memory, 20));
    THRICE(read_to(bytes, -1ul, memory, 8));
    THRICE(read_to(bytes, 1ul << 63, memory, 8));
    THRICE(read_to(bytes, 8, memory, 1ul << 63));
    /* What is filled when it is touched. */
    THRICE(read_to(untouched, 8 * PAGE, untouched + 32 * PAGE, 8 * PAGE));
    char *read_only = map(PAGE, PROT_READ, 0), *none = map(PAGE, PROT_NONE, 0);
    THRICE(read_to(read_only, 8, memory, 8));
    THRICE(read_to(bytes, 8, read_only, 8));
    THRICE(read_to(none, 8, memory, 8));
    THRICE(read_to(bytes, 8, none, 8));
    for (unsigned long flags = 0; flags < 2; flags++)
        for (unsigned long count = 0; count < 3; count++) {
            struct iovec two[2] = {good, {bytes + 50, 10}}, others[2] = {there, {memory + 20, 20}};
            THRICE(process_vm_readv(getpid(), two, count, others, 1, flags));
            THRICE(process_vm_readv(getpid(), two, 1, others, count, flags));
            THRICE(process_vm_writev(getpid(), two, count, others, 2, flags));
        }
    fill(memory, 2 * PAGE);
    THRICE(process_vm_readv(999999999, &good, 1, &there, 1, 0));
    THRICE(syscall(1ul << 32 | SYS_process_vm_readv, getpid(), &good, 1ul, &there, 1ul, 0ul));
    THRICE(syscall(SYS_process_vm_readv, getpid(), &good, 1ul << 32 | 1, &there, 1ul, 0ul));
    THRICE(syscall(SYS_process_vm_readv, getpid(), &good, 1ul, &there, 1ul, 1ul << 32));
    CHECK(is_filled(memory, 2 * PAGE) && !memcmp(bytes, memory, 8));
}

int main(int argc, char **argv) {
    static const struct section sections[] = {
        {"alone", run_alone}, {"signals", run_signals}, {"threads", run_threads}, {"pieces", run_pieces}, {0},
    };
    return run_section(argc, argv, sections);
}
