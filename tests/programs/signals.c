/* Signals that a program sends itself, masks, alternate stacks, interrupted calls. */
#define _GNU_SOURCE
#include "show.h"
#include <cpuid.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile int calls, last_signal, last_code, last_value;

static void note(int signal, siginfo_t *info, void *context) {
    (void)context;
    calls++;
    last_signal = signal;
    last_code = info->si_code;
    last_value = info->si_value.sival_int;
}

static void handle(int signal, int flags) {
    struct sigaction action = {.sa_sigaction = note, .sa_flags = flags | SA_SIGINFO};
    sigaction(signal, &action, NULL);
}

static void section_raise(void) {
    struct sigaction old;
    SHOW(sigaction(SIGUSR1, NULL, &old));
    CHECK(old.sa_handler == SIG_DFL);
    handle(SIGUSR1, SA_RESTART);
    SHOW(sigaction(SIGUSR1, NULL, &old));
    CHECK(old.sa_sigaction == note && (old.sa_flags & SA_RESTART) && (old.sa_flags & SA_SIGINFO));
    SHOW(raise(SIGUSR1));
    printf("calls %d signal %d code %d\n", calls, last_signal, last_code);
    SHOW(kill(getpid(), SIGUSR1));
    printf("calls %d signal %d code %d\n", calls, last_signal, last_code);
    union sigval value = {.sival_int = 4711};
    SHOW(sigqueue(getpid(), SIGUSR1, value));
    printf("calls %d signal %d code %d value %d\n", calls, last_signal, last_code, last_value);
    handle(SIGRTMIN + 3, 0);
    SHOW(pthread_kill(pthread_self(), SIGRTMIN + 3));
    printf("calls %d signal %d code %d\n", calls, last_signal, last_code);
    SHOW(kill(getpid(), 0));
    SHOW(kill(getpid(), 12345));
    SHOW(kill(0x3ffffffe, 0));
    signal(SIGUSR2, SIG_IGN);
    SHOW(raise(SIGUSR2));
    SHOW(raise(SIGCHLD));
    SHOW(raise(SIGWINCH));
}

static void section_mask(void) {
    sigset_t set, old, pending;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    handle(SIGUSR1, 0);
    SHOW(sigprocmask(SIG_BLOCK, &set, &old));
    SHOW(sigismember(&old, SIGUSR1));
    SHOW(raise(SIGUSR1));
    SHOW(raise(SIGUSR1));
    SHOW(calls);
    SHOW(sigpending(&pending));
    SHOW(sigismember(&pending, SIGUSR1));
    SHOW(sigismember(&pending, SIGUSR2));
    SHOW(sigprocmask(SIG_UNBLOCK, &set, NULL));
    SHOW(calls);
    SHOW(sigprocmask(SIG_SETMASK, NULL, &old));
    SHOW(sigismember(&old, SIGUSR1));
    /* Real-time signals queue, in order. */
    union sigval value;
    sigaddset(&set, SIGRTMIN);
    sigaddset(&set, SIGRTMIN + 1);
    sigprocmask(SIG_BLOCK, &set, NULL);
    for (value.sival_int = 1; value.sival_int < 4; value.sival_int++) {
        sigqueue(getpid(), SIGRTMIN + 1, value);
        sigqueue(getpid(), SIGRTMIN, value);
    }
    siginfo_t info;
    for (int i = 0; i < 6; i++) {
        int signal = sigwaitinfo(&set, &info);
        printf("SIGRTMIN+%d value %d\n", signal - SIGRTMIN, info.si_value.sival_int);
    }
    struct timespec soon = {0, 20000000};
    SHOW(sigtimedwait(&set, &info, &soon));
    SHOW(sigprocmask(77, &set, NULL));
    /* KILL and STOP can't be blocked. */
    sigfillset(&set);
    SHOW(sigprocmask(SIG_SETMASK, &set, NULL));
    SHOW(sigprocmask(SIG_SETMASK, NULL, &old));
    SHOW(sigismember(&old, SIGKILL));
    SHOW(sigismember(&old, SIGSTOP));
    SHOW(sigismember(&old, SIGTERM));
}

static char *altstack;
static volatile int was_on_altstack, altstack_flags;

static void where(int signal) {
    char here;
    stack_t stack;
    (void)signal;
    was_on_altstack = &here >= altstack && &here < altstack + 65536;
    sigaltstack(NULL, &stack);
    altstack_flags = stack.ss_flags;
}

static void section_altstack(void) {
    altstack = malloc(65536);
    stack_t stack = {.ss_sp = altstack, .ss_size = 65536}, old;
    SHOW(sigaltstack(&stack, &old));
    SHOW(old.ss_flags);
    struct sigaction action = {.sa_handler = where};
    sigaction(SIGUSR1, &action, NULL);
    sigaction(SIGUSR2, &action, NULL);
    SHOW(raise(SIGUSR1));
    printf("without SA_ONSTACK: %d\n", was_on_altstack);
    action.sa_flags = SA_ONSTACK;
    sigaction(SIGUSR1, &action, NULL);
    SHOW(raise(SIGUSR1));
    printf("with SA_ONSTACK: %d flags %d\n", was_on_altstack, altstack_flags);
    SHOW(sigaltstack(NULL, &old));
    CHECK(old.ss_sp == altstack && old.ss_size == 65536 && old.ss_flags == 0);
    stack.ss_size = 100;
    SHOW(sigaltstack(&stack, NULL));
    /* The least that Linux takes, though no frame fits: that is found when a signal comes. */
    stack.ss_size = 2047;
    SHOW(sigaltstack(&stack, NULL));
    stack.ss_size = 2048;
    SHOW(sigaltstack(&stack, NULL));
    catch_faults();
    if (sigsetjmp(fault_return, 1) == 0)
        raise(SIGUSR1);
    SHOW(fault_signal);
    SHOW(raise(SIGUSR2));
    stack.ss_size = 65536;
    stack.ss_flags = 0x55;
    SHOW(sigaltstack(&stack, NULL));
    stack.ss_flags = SS_DISABLE;
    SHOW(sigaltstack(&stack, NULL));
    SHOW(sigaltstack(NULL, &old));
    SHOW(old.ss_flags);
}

/* What a handler makes of the registers it will go back to: a part of its frame, by number. */
static volatile int wrecked;
static char *volatile frame_pages;

static void wreck(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)info;
    ucontext_t *frame = context;
    char *state = (char *)frame->uc_mcontext.fpregs;
    uint32_t size;
    memcpy(&size, state + 464 + 16, sizeof size);
    switch (wrecked) {
    case 1: state[512 + 7] |= 0x40; break;                       /* a component that is not there */
    case 2: state[512 + 15] |= 0x80; break;                      /* compacted */
    case 3: state[512 + 20] = 1; break;                          /* reserved bytes of the header */
    case 4: state[24 + 3] = 1; break;                            /* reserved bits of MXCSR */
    case 5: state[464] ^= 1, state[512 + 7] |= 0x40; break;      /* no header at all: nobody looks at it */
    case 6: state[size] ^= 1, state[512 + 7] |= 0x40; break;     /* the mark behind it */
    case 7: frame->uc_mcontext.fpregs = NULL; break;             /* none */
    case 8: frame->uc_mcontext.fpregs = (void *)frame_pages; break; /* no memory */
    case 9: frame->uc_mcontext.gregs[REG_RIP] = 1l << 62; break; /* no address */
    }
}

/* QEMU's emulated processor takes reserved bits of MXCSR as they come, so Linux on it does. */
static int takes_reserved_bits(void) {
    unsigned most, name[3];
    __cpuid(0x40000000, most, name[0], name[1], name[2]);
    return memcmp(name, "TCGTCGTCGTCG", sizeof name) == 0;
}

static void section_frame(void) {
    struct sigaction action = {.sa_sigaction = wreck, .sa_flags = SA_SIGINFO};
    sigaction(SIGUSR1, &action, NULL);
    frame_pages = mmap(NULL, 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (wrecked = 0; wrecked < 10; wrecked++) {
        if (wrecked == 4 && takes_reserved_bits())
            continue;
        catch_faults();
        fault_signal = 0;
        if (sigsetjmp(fault_return, 1) == 0)
            raise(SIGUSR1);
        printf("%d: signal %d\n", wrecked, fault_signal);
    }
    /* All but these registers goes back as the frame says: a handler finds it done. */
    handle(SIGSEGV, 0);
    calls = 0;
    wrecked = 1;
    SHOW(raise(SIGUSR1));
    SHOW(calls);
    sigset_t mask;
    sigprocmask(SIG_SETMASK, NULL, &mask);
    SHOW(sigismember(&mask, SIGUSR1));
}

static volatile int depth, deepest;

static void raise_inside(int signal) {
    if (++depth > deepest)
        deepest = depth;
    if (++calls < 3)
        raise(signal);
    depth--;
}

static void section_flags(void) {
    struct sigaction action = {.sa_handler = raise_inside};
    sigaction(SIGUSR1, &action, NULL);
    raise(SIGUSR1);
    printf("own signal blocked in its handler: depth %d calls %d\n", deepest, calls);
    calls = deepest = 0;
    action.sa_flags = SA_NODEFER;
    sigaction(SIGUSR1, &action, NULL);
    raise(SIGUSR1);
    printf("SA_NODEFER: depth %d calls %d\n", deepest, calls);
    handle(SIGUSR2, SA_RESETHAND);
    raise(SIGUSR2);
    struct sigaction old;
    sigaction(SIGUSR2, NULL, &old);
    CHECK(old.sa_handler == SIG_DFL);
    handle(SIGUSR2, 0);
    action.sa_flags = 0;
    sigaddset(&action.sa_mask, SIGUSR2);
    calls = 0;
    sigaction(SIGUSR1, &action, NULL);
    raise(SIGUSR1);
    SHOW(sigaction(SIGKILL, &action, NULL));
    SHOW(sigaction(SIGSTOP, &action, NULL));
    SHOW(sigaction(SIGKILL, NULL, &old));
    SHOW(sigaction(0, NULL, &old));
    SHOW(sigaction(65, NULL, &old));
}

static int pipes[2];

static void write_pipe(int signal) {
    (void)signal;
    calls++;
    if (write(pipes[1], "x", 1) != 1)
        _exit(98);
}

/* A timer that ticks again and again: a tick before the call that it shall interrupt is no loss. */
static void tick(long milliseconds) {
    struct itimerval timer = {.it_interval = {0, milliseconds * 1000}, .it_value = {0, milliseconds * 1000}};
    if (setitimer(ITIMER_REAL, &timer, NULL))
        printf("setitimer: %s\n", strerror(errno));
}

/* A blocking read: EINTR without SA_RESTART, and it goes on with it. */
static void section_interrupt(void) {
    char byte;
    SHOW(pipe(pipes));
    handle(SIGALRM, 0);
    tick(40);
    SHOW(read(pipes[0], &byte, 1));
    tick(0);
    CHECK(calls > 0);
    calls = 0;
    struct sigaction action = {.sa_handler = write_pipe, .sa_flags = SA_RESTART};
    sigaction(SIGALRM, &action, NULL);
    tick(40);
    SHOW(read(pipes[0], &byte, 1));
    tick(0);
    CHECK(calls > 0);
}

/* Sleeping is cut short whatever SA_RESTART says. */
static void section_sleep(void) {
    handle(SIGALRM, SA_RESTART);
    struct timespec long_time = {30, 0}, left = {0, 0};
    tick(40);
    SHOW(nanosleep(&long_time, &left));
    CHECK(left.tv_sec >= 20 && left.tv_sec < 30);
    SHOW(pause());
    sigset_t none, all, old;
    sigemptyset(&none);
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    int before = calls;
    SHOW(sigsuspend(&none));
    CHECK(calls > before);
    sigprocmask(SIG_SETMASK, &none, &old);
    SHOW(sigismember(&old, SIGUSR1));
    tick(0);
}

/* A ticking timer reaches a program that computes and calls nothing. */
static void section_tick(void) {
    handle(SIGALRM, SA_RESTART);
    tick(10);
    while (calls < 5)
        ;
    tick(0);
    CHECK(calls >= 5);
    SHOW(alarm(100));
    CHECK(alarm(0) >= 99);
    SHOW(alarm(0));
}

static pthread_t main_thread;

/* Takes one SIGUSR2, answers the main thread with SIGUSR1. */
static void *target(void *argument) {
    (void)argument;
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    int signal = 0;
    sigwait(&set, &signal);
    pthread_kill(main_thread, SIGUSR1);
    return (void *)(long)signal;
}

static void await_calls(int wanted) {
    while (calls < wanted)
        sched_yield();
    printf("calls %d signal %d\n", calls, last_signal);
}

static void section_threads(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    sigprocmask(SIG_BLOCK, &set, NULL);
    handle(SIGUSR1, 0);
    main_thread = pthread_self();
    pthread_t thread;
    void *taken;
    pthread_create(&thread, NULL, target, NULL);
    SHOW(pthread_kill(thread, SIGUSR2));
    SHOW(pthread_join(thread, &taken));
    printf("thread took signal %ld\n", (long)taken);
    await_calls(1);
    /* A process-wide signal goes to a thread that waits for it. */
    pthread_create(&thread, NULL, target, NULL);
    SHOW(kill(getpid(), SIGUSR2));
    SHOW(pthread_join(thread, &taken));
    printf("thread took signal %ld\n", (long)taken);
    await_calls(2);
    SHOW(syscall(SYS_tgkill, getpid(), gettid(), SIGUSR1));
    await_calls(3);
    SHOW(syscall(SYS_tgkill, getpid(), 0x3ffffffe, SIGUSR1));
    SHOW(syscall(SYS_tgkill, -1, gettid(), SIGUSR1));
}

static void die(int signal) {
    printf("before signal %d\n", signal);
    raise(signal);
    printf("after\n");
}

/* A fault must end the program although no further real-time signal finds room. */
static void section_die_segv(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN);
    sigprocmask(SIG_BLOCK, &set, NULL);
    for (int i = 0; i < 1500; i++)
        syscall(SYS_tgkill, getpid(), gettid(), SIGRTMIN);
    alarm(10);
    volatile int *volatile nowhere = NULL;
    *nowhere = 0;
}

/* The next time lies beyond the end of all clocks. */
static void section_interval(void) {
    struct itimerval once = {{INT64_MAX, 0}, {0, 1000}};
    handle(SIGALRM, 0);
    SHOW(setitimer(ITIMER_REAL, &once, NULL));
    while (!calls)
        usleep(1000);
    usleep(20000);
    SHOW(calls);
}

static void section_die_term(void) { die(SIGTERM); }
static void section_die_kill(void) { die(SIGKILL); }
static void section_die_usr1(void) { die(SIGUSR1); }
static void section_die_pipe(void) {
    SHOW(pipe(pipes));
    close(pipes[0]);
    signal(SIGPIPE, SIG_IGN);
    SHOW(write(pipes[1], "x", 1));
    signal(SIGPIPE, SIG_DFL);
    SHOW(write(pipes[1], "x", 1));
}

static int tid_pipe[2];

static void *wait_blocked(void *argument) {
    (void)argument;
    long tid = syscall(SYS_gettid);
    if (write(tid_pipe[1], &tid, sizeof tid) < 0)
        perror("write");
    pause();
    return NULL;
}

/* The number of a thread names its process to kill(2): any thread may take the signal. */
static void section_by_thread(void) {
    pthread_t thread;
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    handle(SIGUSR1, 0);
    SHOW(pipe(tid_pipe));
    pthread_create(&thread, NULL, wait_blocked, NULL);
    long tid;
    SHOW(read(tid_pipe[0], &tid, sizeof tid));
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    SHOW(kill(tid, 0));
    SHOW(kill(tid, SIGUSR1));
    SHOW(calls);
    SHOW(last_code);
    union sigval value = {.sival_int = 4711};
    SHOW(sigqueue(tid, SIGUSR1, value));
    SHOW(calls);
    SHOW(last_value);
}

int main(int argc, char **argv) {
    static const struct section sections[] = {
        {"raise", section_raise}, {"mask", section_mask}, {"altstack", section_altstack}, {"frame", section_frame},
        {"flags", section_flags}, {"interrupt", section_interrupt}, {"sleep", section_sleep}, {"tick", section_tick},
        {"threads", section_threads}, {"die_term", section_die_term}, {"die_kill", section_die_kill}, {"die_usr1", section_die_usr1},
        {"die_pipe", section_die_pipe}, {"die_segv", section_die_segv}, {"interval", section_interval},
        {"by_thread", section_by_thread}, {NULL, NULL}};
    return run_section(argc, argv, sections);
}
