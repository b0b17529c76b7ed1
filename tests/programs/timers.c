/* Timers that send signals, and descriptors that take them. */
#define _GNU_SOURCE
#include "show.h"
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

static double now(clockid_t clock) {
    struct timespec at;
    clock_gettime(clock, &at);
    return at.tv_sec + at.tv_nsec * 1e-9;
}

static volatile sig_atomic_t count, code, value, overrun, thread;

static void note(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)context;
    count++;
    code = info->si_code;
    value = info->si_value.sival_int;
    overrun = info->si_overrun;
    thread = syscall(SYS_gettid);
}

static void handle(int signal) {
    struct sigaction action = {.sa_sigaction = note, .sa_flags = SA_SIGINFO};
    sigaction(signal, &action, NULL);
}

static sigset_t block(int signal) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, signal);
    sigprocmask(SIG_BLOCK, &set, NULL);
    return set;
}

static struct itimerspec in(long first_ms, long then_ms) {
    return (struct itimerspec){{then_ms / 1000, then_ms % 1000 * 1000000}, {first_ms / 1000, first_ms % 1000 * 1000000}};
}

static timer_t make(clockid_t clock, int signal, int argument) {
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = signal, .sigev_value = {.sival_int = argument}};
    timer_t timer = 0;
    SHOW(timer_create(clock, &event, &timer));
    return timer;
}

static void run_once(void) {
    handle(SIGUSR1);
    timer_t timer = make(CLOCK_MONOTONIC, SIGUSR1, 42);
    struct itimerspec value_at, set = in(50, 0);
    SHOW(timer_gettime(timer, &value_at));
    SHOW(value_at.it_value.tv_sec == 0 && value_at.it_value.tv_nsec == 0);
    double start = now(CLOCK_MONOTONIC);
    SHOW(timer_settime(timer, 0, &set, NULL));
    SHOW(timer_gettime(timer, &value_at));
    SHOW(value_at.it_value.tv_nsec > 0 && value_at.it_value.tv_nsec <= 50000000);
    while (!count)
        pause();
    SHOW(now(CLOCK_MONOTONIC) - start >= 0.05);
    SHOW(code == SI_TIMER);
    SHOW(value);
    SHOW(overrun);
    SHOW(timer_gettime(timer, &value_at));
    SHOW(value_at.it_value.tv_sec == 0 && value_at.it_value.tv_nsec == 0);
    SHOW(timer_delete(timer));
    SHOW(timer_delete(timer));
}

static void run_periodic(void) {
    handle(SIGRTMIN + 1);
    timer_t timer = make(CLOCK_REALTIME, SIGRTMIN + 1, 7);
    struct itimerspec set = in(10, 10), old;
    SHOW(timer_settime(timer, 0, &set, NULL));
    while (count < 5)
        pause();
    SHOW(value);
    set = in(0, 0);
    SHOW(timer_settime(timer, 0, &set, &old));
    SHOW(old.it_interval.tv_nsec);
    SHOW(old.it_value.tv_nsec > 0 && old.it_value.tv_nsec <= 10000000);
    int before = count;
    usleep(50000);
    SHOW(count == before);
}

/* While its signal is blocked, a timer counts how often it would have come. */
static void run_overrun(void) {
    handle(SIGUSR2);
    block(SIGUSR2);
    timer_t timer = make(CLOCK_MONOTONIC, SIGUSR2, 1);
    struct itimerspec set = in(20, 20);
    double start = now(CLOCK_MONOTONIC);
    SHOW(timer_settime(timer, 0, &set, NULL));
    usleep(210000);
    sigset_t none;
    sigemptyset(&none);
    SHOW(sigsuspend(&none));
    double periods = (now(CLOCK_MONOTONIC) - start) / 0.02;
    SHOW(count);
    SHOW(overrun >= 9 && overrun <= periods);
    SHOW(timer_getoverrun(timer) == overrun);
    timer_delete(timer);
}

static void run_absolute(void) {
    sigset_t set = block(SIGUSR1);
    siginfo_t info;
    for (int i = 0; i < 2; i++) {
        clockid_t clock = i ? CLOCK_REALTIME : CLOCK_MONOTONIC;
        timer_t timer = make(clock, SIGUSR1, i);
        struct itimerspec at = {0};
        clock_gettime(clock, &at.it_value);
        at.it_value.tv_nsec += 50000000;
        if (at.it_value.tv_nsec >= 1000000000)
            at.it_value.tv_sec++, at.it_value.tv_nsec -= 1000000000;
        SHOW(timer_settime(timer, TIMER_ABSTIME, &at, NULL));
        SHOW(sigwaitinfo(&set, &info) == SIGUSR1);
        SHOW(info.si_value.sival_int);
        struct timespec later;
        clock_gettime(clock, &later);
        SHOW(later.tv_sec > at.it_value.tv_sec ||
             (later.tv_sec == at.it_value.tv_sec && later.tv_nsec >= at.it_value.tv_nsec));
        /* In the past: at once. (The machine may have started just now.) */
        at.it_value = (struct timespec){0, 1};
        SHOW(timer_settime(timer, TIMER_ABSTIME, &at, NULL));
        SHOW(sigwaitinfo(&set, &info) == SIGUSR1);
        timer_delete(timer);
    }
}

static void spin(double seconds, clockid_t clock) {
    for (double until = now(clock) + seconds; now(clock) < until;)
        for (volatile int i = 0; i < 10000; i++)
            ;
}

static void run_cpu(void) {
    handle(SIGUSR1);
    timer_t timer = make(CLOCK_PROCESS_CPUTIME_ID, SIGUSR1, 3);
    struct itimerspec set = in(50, 0);
    double start = now(CLOCK_PROCESS_CPUTIME_ID);
    SHOW(timer_settime(timer, 0, &set, NULL));
    usleep(100000);
    SHOW(count);
    while (!count && now(CLOCK_PROCESS_CPUTIME_ID) < start + 5)
        spin(0.001, CLOCK_PROCESS_CPUTIME_ID);
    SHOW(count);
    SHOW(now(CLOCK_PROCESS_CPUTIME_ID) - start >= 0.045);
    count = 0;
    timer = make(CLOCK_THREAD_CPUTIME_ID, SIGUSR1, 4);
    SHOW(timer_settime(timer, 0, &set, NULL));
    spin(0.2, CLOCK_THREAD_CPUTIME_ID);
    SHOW(count);
    SHOW(value);
}

static void run_itimers(void) {
    handle(SIGVTALRM);
    handle(SIGPROF);
    struct itimerval set = {{0, 20000}, {0, 20000}}, got;
    SHOW(setitimer(ITIMER_VIRTUAL, &set, NULL));
    SHOW(getitimer(ITIMER_VIRTUAL, &got));
    SHOW(got.it_interval.tv_usec);
    SHOW(got.it_value.tv_usec > 0 && got.it_value.tv_usec <= 24000);
    while (count < 3)
        spin(0.001, CLOCK_PROCESS_CPUTIME_ID);
    SHOW(code == SI_KERNEL);
    memset(&set, 0, sizeof set);
    SHOW(setitimer(ITIMER_VIRTUAL, &set, NULL));
    count = 0;
    set.it_value.tv_usec = 20000;
    SHOW(setitimer(ITIMER_PROF, &set, NULL));
    spin(0.2, CLOCK_PROCESS_CPUTIME_ID);
    SHOW(count);
    SHOW(getitimer(ITIMER_PROF, &got));
    SHOW(got.it_value.tv_usec);
    SHOW(setitimer(3, &set, NULL));
    SHOW(getitimer(3, &got));
}

static void *wait_here(void *argument) {
    *(int *)argument = syscall(SYS_gettid);
    __atomic_store_n((int *)argument + 1, 1, __ATOMIC_SEQ_CST);
    while (!count)
        usleep(1000);
    return NULL;
}

static void run_thread(void) {
    handle(SIGUSR1);
    pthread_t other;
    static int tid[2];
    pthread_create(&other, NULL, wait_here, tid);
    while (!__atomic_load_n(tid + 1, __ATOMIC_SEQ_CST))
        usleep(1000);
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGUSR1};
    event.sigev_notify_thread_id = tid[0];
    timer_t timer;
    SHOW(timer_create(CLOCK_MONOTONIC, &event, &timer));
    struct itimerspec set = in(20, 0);
    SHOW(timer_settime(timer, 0, &set, NULL));
    pthread_join(other, NULL);
    SHOW(thread == tid[0]);
    event.sigev_notify_thread_id = 1;
    SHOW(timer_create(CLOCK_MONOTONIC, &event, &timer));
    event.sigev_notify = SIGEV_NONE;
    SHOW(timer_create(CLOCK_MONOTONIC, &event, &timer));
    set = in(30, 0);
    SHOW(timer_settime(timer, 0, &set, NULL));
    usleep(60000);
    SHOW(timer_gettime(timer, &set));
    SHOW(set.it_value.tv_sec == 0 && set.it_value.tv_nsec == 0);
}

static int called;

static void call_back(union sigval with) {
    __atomic_store_n(&called, with.sival_int, __ATOMIC_SEQ_CST);
}

/* glibc's helper thread. */
static void run_function(void) {
    struct sigevent event = {.sigev_notify = SIGEV_THREAD, .sigev_notify_function = call_back, .sigev_value = {.sival_int = 9}};
    timer_t timer;
    SHOW(timer_create(CLOCK_MONOTONIC, &event, &timer));
    struct itimerspec set = in(20, 0);
    SHOW(timer_settime(timer, 0, &set, NULL));
    while (!__atomic_load_n(&called, __ATOMIC_SEQ_CST))
        usleep(1000);
    SHOW(called);
    SHOW(timer_delete(timer));
}

static void run_ignored(void) {
    signal(SIGUSR1, SIG_IGN);
    timer_t timer = make(CLOCK_MONOTONIC, SIGUSR1, 0);
    struct itimerspec set = in(5, 5);
    SHOW(timer_settime(timer, 0, &set, NULL));
    usleep(50000);
    handle(SIGUSR1);
    while (count < 2)
        pause();
    puts("came again");
    /* What becomes of a timer whose pending signal is thrown away differs between versions of Linux. */
}

static void run_errors(void) {
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = 0};
    struct itimerspec set = in(1, 0);
    int timer;
    SHOW(syscall(SYS_timer_create, CLOCK_MONOTONIC, &event, &timer));
    event.sigev_signo = 65;
    SHOW(syscall(SYS_timer_create, CLOCK_MONOTONIC, &event, &timer));
    event.sigev_signo = SIGUSR1;
    event.sigev_notify = 99;
    SHOW(syscall(SYS_timer_create, CLOCK_MONOTONIC, &event, &timer));
    SHOW(syscall(SYS_timer_create, 77, NULL, &timer));
    SHOW(syscall(SYS_timer_create, CLOCK_MONOTONIC_RAW, NULL, &timer));
    SHOW(syscall(SYS_timer_create, CLOCK_MONOTONIC, NULL, (int *)8));
    SHOW(syscall(SYS_timer_create, CLOCK_MONOTONIC, (void *)8, &timer));
    SHOW(syscall(SYS_timer_settime, 12345, 0, &set, NULL));
    SHOW(syscall(SYS_timer_create, CLOCK_MONOTONIC, NULL, &timer));
    SHOW(syscall(SYS_timer_settime, timer, 0, NULL, NULL));
    SHOW(syscall(SYS_timer_settime, timer, 0, (void *)8, NULL));
    set.it_value.tv_nsec = 1000000000;
    SHOW(syscall(SYS_timer_settime, timer, 0, &set, NULL));
    set.it_value.tv_nsec = -1;
    SHOW(syscall(SYS_timer_settime, timer, 0, &set, NULL));
    SHOW(syscall(SYS_timer_gettime, timer, (void *)8));
    SHOW(syscall(SYS_timer_gettime, -1, &set));
    SHOW(syscall(SYS_timer_getoverrun, timer));
    SHOW(syscall(SYS_timer_getoverrun, 999));
    SHOW(syscall(SYS_timer_delete, 999));
    SHOW(syscall(SYS_timer_delete, timer));
}

static void show_record(const struct signalfd_siginfo *record) {
    printf("signal %u code %d own %d int %d overrun %u\n", record->ssi_signo, record->ssi_code,
           record->ssi_pid == (unsigned)getpid(), record->ssi_int, record->ssi_overrun);
}

static void run_signalfd(void) {
    sigset_t set = block(SIGUSR1);
    sigaddset(&set, SIGRTMIN);
    sigprocmask(SIG_BLOCK, &set, NULL);
    int fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    SHOW(fd >= 0);
    SHOW(fcntl(fd, F_GETFD));
    SHOW(fcntl(fd, F_GETFL) & O_NONBLOCK);
    struct signalfd_siginfo records[4];
    SHOW(read(fd, records, sizeof records));
    /* It is never ready to be written to. */
    struct pollfd poll_fd = {fd, POLLIN | POLLOUT | POLLPRI, 0};
    struct itimerspec timer_value = {0};
    SHOW(poll(&poll_fd, 1, 0));
    SHOW(timerfd_settime(fd, 0, &timer_value, NULL));
    SHOW(timerfd_gettime(fd, &timer_value));
    raise(SIGUSR1);
    SHOW(poll(&poll_fd, 1, 0));
    SHOW(poll_fd.revents == POLLIN);
    SHOW(sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = 5}));
    SHOW(sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = 6}));
    SHOW(read(fd, records, sizeof records) / (long)sizeof records[0]);
    for (int i = 0; i < 3; i++)
        show_record(&records[i]);
    SHOW(poll(&poll_fd, 1, 0));
    SHOW(read(fd, records, 100));
    SHOW(write(fd, records, 128));
    /* By a copy, with epoll. */
    int copy = dup(fd), epoll = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT, .data = {.u32 = 77}};
    SHOW(epoll_ctl(epoll, EPOLL_CTL_ADD, copy, &event));
    SHOW(close(fd));
    SHOW(epoll_wait(epoll, &event, 1, 0));
    kill(getpid(), SIGUSR1);
    SHOW(epoll_wait(epoll, &event, 1, 1000));
    SHOW(event.data.u32);
    SHOW(read(copy, records, sizeof records) / (long)sizeof records[0]);
    /* The same descriptor for other signals. */
    block(SIGUSR2);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    SHOW(signalfd(copy, &set, 0) == copy);
    raise(SIGUSR1);
    SHOW(read(copy, records, sizeof records));
    raise(SIGUSR2);
    SHOW(epoll_wait(epoll, &event, 1, 0));
    /* Taken otherwise, it is gone. */
    SHOW(sigwaitinfo(&set, NULL) == SIGUSR2);
    SHOW(epoll_wait(epoll, &event, 1, 0));
    SHOW(close(copy));
    SHOW(read(copy, records, sizeof records));
    SHOW(signalfd(-1, &set, 0x1234));
    SHOW(signalfd(0, &set, 0));
    SHOW(signalfd(99, &set, 0));
    SHOW(syscall(SYS_signalfd4, -1, &set, 4, 0));
    SHOW(syscall(SYS_signalfd4, -1, (void *)8, 8, 0));
    SHOW(signalfd(-1, &set, 0) >= 0);
}

#define QUEUED 2000

static void *queue_signals(void *argument) {
    for (int i = 0; i < QUEUED; i++)
        while (sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = i}))
            sched_yield();
    return argument;
}

/* One thread sends while the other waits and reads: what poll says is so, and nothing is lost. */
static void run_signalfd_threads(void) {
    sigset_t set = block(SIGRTMIN);
    int fd = signalfd(-1, &set, SFD_NONBLOCK);
    struct pollfd poll_fd = {fd, POLLIN, 0};
    struct signalfd_siginfo record;
    pthread_t sender;
    pthread_create(&sender, NULL, queue_signals, NULL);
    int expected = 0, wrong = 0, early = 0;
    while (expected < QUEUED) {
        wrong += poll(&poll_fd, 1, -1) != 1;
        if (read(fd, &record, sizeof record) == sizeof record)
            wrong += record.ssi_int != expected++;
        else
            early++;
    }
    pthread_join(sender, NULL);
    SHOW(wrong);
    SHOW(early);
    SHOW(poll(&poll_fd, 1, 0));
}

static void *send_later(void *argument) {
    (void)argument;
    usleep(50000);
    kill(getpid(), SIGUSR1);
    return NULL;
}

static void run_signalfd_waits(void) {
    sigset_t set = block(SIGUSR1);
    int fd = signalfd(-1, &set, 0);
    pthread_t other;
    struct signalfd_siginfo record[1];
    pthread_create(&other, NULL, send_later, NULL);
    SHOW(read(fd, record, sizeof record));
    show_record(record);
    pthread_join(other, NULL);
    timer_t timer = make(CLOCK_MONOTONIC, SIGUSR1, 33);
    struct itimerspec at = in(20, 0);
    timer_settime(timer, 0, &at, NULL);
    struct iovec piece = {record, sizeof record};
    SHOW(readv(fd, &piece, 1));
    show_record(record);
    /* Another signal interrupts. */
    handle(SIGALRM);
    ualarm(50000, 0);
    SHOW(read(fd, record, sizeof record));
    /* The end of a child. */
    set = block(SIGCHLD);
    fd = signalfd(-1, &set, 0);
    if (vfork() == 0)
        _exit(3);
    SHOW(read(fd, record, sizeof record));
    SHOW(record->ssi_signo == SIGCHLD && record->ssi_code == CLD_EXITED);
    SHOW(record->ssi_status);
    SHOW(wait(NULL) == (int)record->ssi_pid);
}

/* What a timer that is switched off still tells. */
static void run_off(void) {
    const int which[] = {ITIMER_REAL, ITIMER_VIRTUAL, ITIMER_PROF};
    struct itimerval off = {{10, 20}, {0, 0}}, old;
    for (int i = 0; i < 3; i++) {
        SHOW(setitimer(which[i], &off, NULL));
        SHOW(getitimer(which[i], &old));
        SHOW(old.it_interval.tv_sec);
        SHOW(setitimer(which[i], &(struct itimerval){0}, &old));
        SHOW(old.it_interval.tv_sec);
        SHOW(old.it_value.tv_sec + old.it_value.tv_usec);
    }
    const clockid_t clocks[] = {CLOCK_MONOTONIC, CLOCK_PROCESS_CPUTIME_ID};
    for (int i = 0; i < 2; i++) {
        timer_t timer = make(clocks[i], SIGUSR1, 0);
        struct itimerspec spec = in(0, 5000);
        SHOW(timer_settime(timer, 0, &spec, NULL));
        SHOW(timer_gettime(timer, &spec));
        /* On CPU time, Linux 6.1 keeps the interval and 6.18 does not. */
        if (i == 0)
            SHOW(spec.it_interval.tv_sec);
        SHOW(spec.it_value.tv_sec + spec.it_value.tv_nsec);
        SHOW(timer_delete(timer));
    }
}

int main(int argc, char **argv) {
    const struct section sections[] = {
        {"once", run_once},
        {"periodic", run_periodic},
        {"overrun", run_overrun},
        {"absolute", run_absolute},
        {"cpu", run_cpu},
        {"itimers", run_itimers},
        {"thread", run_thread},
        {"function", run_function},
        {"ignored", run_ignored},
        {"off", run_off},
        {"errors", run_errors},
        {"signalfd", run_signalfd},
        {"signalfd_waits", run_signalfd_waits},
        {"signalfd_threads", run_signalfd_threads},
        {0},
    };
    return run_section(argc, argv, sections);
}
