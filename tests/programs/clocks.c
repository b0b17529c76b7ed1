/* Clocks and sleeping. Only relations are printed, never times. */
#define _GNU_SOURCE
#include "show.h"
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/auxv.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/times.h>
#include <time.h>
#include <unistd.h>

static long long in_nanoseconds(struct timespec time) {
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static long long now(clockid_t clock) {
    struct timespec time;
    return clock_gettime(clock, &time) ? -1 : in_nanoseconds(time);
}

static long long by_call(clockid_t clock) {
    struct timespec time;
    return syscall(SYS_clock_gettime, clock, &time) ? -1 : in_nanoseconds(time);
}

static void section_read(void) {
    static const struct {
        clockid_t clock;
        const char *name;
    } clocks[] = {{CLOCK_REALTIME, "REALTIME"}, {CLOCK_MONOTONIC, "MONOTONIC"},
                  {CLOCK_MONOTONIC_RAW, "MONOTONIC_RAW"}, {CLOCK_BOOTTIME, "BOOTTIME"},
                  {CLOCK_REALTIME_COARSE, "REALTIME_COARSE"}, {CLOCK_MONOTONIC_COARSE, "MONOTONIC_COARSE"},
                  {CLOCK_PROCESS_CPUTIME_ID, "PROCESS_CPUTIME"}, {CLOCK_THREAD_CPUTIME_ID, "THREAD_CPUTIME"}};
    for (size_t i = 0; i < sizeof clocks / sizeof *clocks; i++) {
        long long last = now(clocks[i].clock);
        int runs_forward = last >= 0;
        for (int n = 0; n < 20000; n++) {
            /* The C library's way and the system call must agree. */
            long long next = n % 100 ? now(clocks[i].clock) : by_call(clocks[i].clock);
            runs_forward &= next >= last;
            last = next;
        }
        struct timespec resolution;
        int result = clock_getres(clocks[i].clock, &resolution);
        printf("%s runs forward: %d, resolution in (0, 10 ms]: %d\n", clocks[i].name, runs_forward,
               result == 0 && in_nanoseconds(resolution) > 0 && in_nanoseconds(resolution) <= 10000000);
    }
    /* In this order: one of them may take long to read. */
    long long monotonic = now(CLOCK_MONOTONIC), apart = now(CLOCK_BOOTTIME) - monotonic;
    CHECK(apart > -1000000);
    struct timeval day;
    gettimeofday(&day, NULL);
    long long difference = now(CLOCK_REALTIME) - (day.tv_sec * 1000000000LL + day.tv_usec * 1000LL);
    CHECK(difference >= 0 && difference < 1000000000);
    CHECK(llabs(time(NULL) - now(CLOCK_REALTIME) / 1000000000) <= 1);
    struct timespec unused;
    SHOW(clock_gettime(12345, &unused));
    SHOW(clock_getres(12345, &unused));
    SHOW(syscall(SYS_clock_gettime, CLOCK_MONOTONIC, 8));
}

/* What the C library reads by itself: a hundred thousand times, a thousandth of that by a call. */
static void section_vdso(void) {
    const char *image = (const char *)getauxval(AT_SYSINFO_EHDR);
    CHECK(image && !memcmp(image, "\177ELF", 4));
    static const clockid_t clocks[] = {CLOCK_REALTIME, CLOCK_MONOTONIC};
    for (int i = 0; i < 2; i++) {
        long long last = 0;
        int runs_forward = 1;
        for (int n = 0; n < 50000; n++) {
            long long next = n % 1000 ? now(clocks[i]) : by_call(clocks[i]);
            runs_forward &= next >= last;
            last = next;
        }
        CHECK(runs_forward);
    }
    int agree = 1;
    for (int n = 0; n < 1000; n++) {
        long long before = now(CLOCK_REALTIME) / 1000;
        struct timeval day;
        struct timezone zone = {1, 1};
        gettimeofday(&day, &zone);
        long long between = day.tv_sec * 1000000LL + day.tv_usec;
        long long seconds, returned = time((time_t *)&seconds), after = now(CLOCK_REALTIME) / 1000;
        agree &= before <= between && between <= after && day.tv_usec < 1000000 && !zone.tz_minuteswest;
        /* Linux's time(2) is that of the last tick. */
        agree &= returned == seconds && returned >= before / 1000000 - 1 && returned <= after / 1000000;
    }
    CHECK(agree);
    cpu_set_t cpus, one;
    sched_getaffinity(0, sizeof cpus, &cpus);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &cpus)) {
            CPU_ZERO(&one);
            CPU_SET(cpu, &one);
            sched_setaffinity(0, sizeof one, &one);
            unsigned there = 9999, node = 9999, by_call_there = 9998, by_call_node = 9998;
            getcpu(&there, &node);
            syscall(SYS_getcpu, &by_call_there, &by_call_node, NULL);
            agree &= there == (unsigned)cpu && there == by_call_there && node == by_call_node;
        }
    CHECK(agree);
    struct timespec resolution;
    SHOW(clock_getres(CLOCK_MONOTONIC, &resolution));
    CHECK(resolution.tv_sec == 0 && resolution.tv_nsec == 1);
}

/* The coarse drift of the two clocks over 200 ms of computing: within one in a thousand. */
static void section_rate(void) {
    long long monotonic = now(CLOCK_MONOTONIC), raw = now(CLOCK_MONOTONIC_RAW), call = by_call(CLOCK_MONOTONIC);
    /* How far apart the clocks were read: whoever runs the machine may have stopped it there. */
    long long apart = now(CLOCK_MONOTONIC) - monotonic;
    while (now(CLOCK_MONOTONIC) - monotonic < 200000000)
        ;
    long long d1 = now(CLOCK_MONOTONIC) - monotonic, d2 = now(CLOCK_MONOTONIC_RAW) - raw, d3 = by_call(CLOCK_MONOTONIC) - call;
    apart += now(CLOCK_MONOTONIC) - monotonic - d1;
    CHECK(llabs(d1 - d2) < 20000000 + apart);
    CHECK(llabs(d1 - d3) < 20000000 + apart);
    CHECK(now(CLOCK_PROCESS_CPUTIME_ID) > 20000000);
    struct rusage usage;
    SHOW(getrusage(RUSAGE_SELF, &usage));
    CHECK(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec < 60);
    struct tms ticks;
    CHECK(times(&ticks) > 0);
    CHECK(clock() > 0);
}

static void section_sleep(void) {
    long long start = now(CLOCK_MONOTONIC);
    struct timespec pause = {0, 20000000};
    SHOW(nanosleep(&pause, NULL));
    CHECK(now(CLOCK_MONOTONIC) - start >= 20000000);
    start = now(CLOCK_MONOTONIC);
    SHOW(clock_nanosleep(CLOCK_REALTIME, 0, &pause, NULL));
    CHECK(now(CLOCK_MONOTONIC) - start >= 19000000);
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += 20000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    SHOW(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL));
    CHECK(now(CLOCK_MONOTONIC) >= in_nanoseconds(until));
    SHOW(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL));
    for (int i = 0; i < 50; i++) {
        struct timespec short_pause = {0, 100000};
        start = now(CLOCK_MONOTONIC);
        nanosleep(&short_pause, NULL);
        if (now(CLOCK_MONOTONIC) - start < 100000)
            puts("woke up early");
    }
    SHOW(usleep(1000));
    pause.tv_nsec = -1;
    SHOW(nanosleep(&pause, NULL));
    pause.tv_nsec = 1000000000;
    SHOW(nanosleep(&pause, NULL));
    pause = (struct timespec){-1, 0};
    SHOW(nanosleep(&pause, NULL));
    /* clock_nanosleep returns the error number. */
    SHOW(clock_nanosleep(12345, 0, &until, NULL));
    SHOW(clock_nanosleep(CLOCK_THREAD_CPUTIME_ID, 0, &until, NULL));
}

static atomic_int is_over;

static void *compute(void *argument) {
    while (!is_over) {
    }
    return argument;
}

/* Sleeping until others have used so much of a processor. */
static void section_cpu_sleep(void) {
    pthread_t thread;
    clockid_t of_thread, of_process, of_main;
    struct timespec pause = {0, 30000000}, until;
    pthread_create(&thread, NULL, compute, NULL);
    SHOW(pthread_getcpuclockid(thread, &of_thread));
    SHOW(pthread_getcpuclockid(pthread_self(), &of_main));
    SHOW(clock_getcpuclockid(0, &of_process));
    clockid_t clocks[] = {of_thread, of_process, CLOCK_PROCESS_CPUTIME_ID};
    for (int i = 0; i < 3; i++) {
        long long start = now(clocks[i]);
        SHOW(clock_nanosleep(clocks[i], 0, &pause, NULL));
        CHECK(now(clocks[i]) - start >= 30000000);
        clock_gettime(clocks[i], &until);
        until.tv_nsec += 30000000;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        SHOW(clock_nanosleep(clocks[i], TIMER_ABSTIME, &until, NULL));
        CHECK(now(clocks[i]) >= in_nanoseconds(until));
        SHOW(clock_nanosleep(clocks[i], TIMER_ABSTIME, &until, NULL));
    }
    SHOW(clock_nanosleep(of_main, 0, &pause, NULL));
    is_over = 1;
    pthread_join(thread, NULL);
    SHOW(clock_nanosleep(CLOCK_MONOTONIC_RAW, 0, &pause, NULL));
    SHOW(clock_nanosleep(CLOCK_REALTIME_COARSE, 0, &pause, NULL));
    SHOW(clock_nanosleep(CLOCK_BOOTTIME, 0, &pause, NULL));
    SHOW(syscall(SYS_clock_nanosleep, CLOCK_THREAD_CPUTIME_ID, 0, &pause, NULL));
    pause.tv_nsec = -1;
    SHOW(clock_nanosleep(CLOCK_MONOTONIC_RAW, 0, &pause, NULL));
    SHOW(clock_nanosleep(CLOCK_PROCESS_CPUTIME_ID, 0, &pause, NULL));
}

static void *sleep_in_thread(void *argument) {
    struct timespec pause = {0, ((long)argument + 1) * 2000000};
    return (void *)(long)nanosleep(&pause, NULL);
}

/* Eight threads sleep at once: on one core they must overlap. */
static void section_sleepers(void) {
    pthread_t threads[8];
    long long start = now(CLOCK_MONOTONIC);
    long sum = 0;
    for (long i = 0; i < 8; i++)
        pthread_create(&threads[i], NULL, sleep_in_thread, (void *)(i + 100));
    for (int i = 0; i < 8; i++) {
        void *result;
        pthread_join(threads[i], &result);
        sum += (long)result;
    }
    SHOW(sum);
    long long took = now(CLOCK_MONOTONIC) - start;
    CHECK(took >= 200000000);
    CHECK(took < 1200000000);
}

/* Computes for a second; gives how many thousandths of it the clock `id` counted. */
static long share(clockid_t id) {
    long long start = now(CLOCK_MONOTONIC), before = now(id), took;
    while ((took = now(CLOCK_MONOTONIC) - start) < 1000000000) {
    }
    return (long)((now(id) - before) * 1000 / took);
}

/* Another program computes on the same core: what it had of the time does not count. */
static void section_shared(void) {
    struct rusage before, after;
    getrusage(RUSAGE_SELF, &before);
    long of_thread = share(CLOCK_THREAD_CPUTIME_ID), of_process = share(CLOCK_PROCESS_CPUTIME_ID);
    getrusage(RUSAGE_SELF, &after);
    long used = (after.ru_utime.tv_sec - before.ru_utime.tv_sec + after.ru_stime.tv_sec - before.ru_stime.tv_sec) * 1000 +
                (after.ru_utime.tv_usec - before.ru_utime.tv_usec + after.ru_stime.tv_usec - before.ru_stime.tv_usec) / 1000;
    fprintf(stderr, "thread %ld, process %ld, both runs %ld\n", of_thread, of_process, used);
    CHECK(of_thread > 0 && of_thread < 750);
    CHECK(of_process > 0 && of_process < 750);
    CHECK(used > 0 && used < 1500);
}

/* Nobody else is on the core: all of it counts. */
static void section_own(void) {
    long of_thread = share(CLOCK_THREAD_CPUTIME_ID), of_process = share(CLOCK_PROCESS_CPUTIME_ID);
    fprintf(stderr, "thread %ld, process %ld\n", of_thread, of_process);
    CHECK(of_thread > 900 && of_process > 900);
}

int main(int argc, char **argv) {
    static const struct section sections[] = {{"shared", section_shared}, {"own", section_own}, {"read", section_read}, {"vdso", section_vdso}, {"rate", section_rate},
                                              {"sleep", section_sleep}, {"cpu_sleep", section_cpu_sleep},
                                              {"sleepers", section_sleepers}, {NULL, NULL}};
    return run_section(argc, argv, sections);
}
