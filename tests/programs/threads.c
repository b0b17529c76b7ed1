/* POSIX threads, more of them than cores. */
#define _GNU_SOURCE
#include "show.h"
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { THREADS = 12 };

static pthread_t threads[THREADS];

static void start(void *(*body)(void *)) {
    for (long i = 0; i < THREADS; i++) {
        int error = pthread_create(&threads[i], NULL, body, (void *)i);
        if (error)
            printf("pthread_create: %s\n", strerror(error));
    }
}

static long join(void) {
    long sum = 0;
    for (int i = 0; i < THREADS; i++) {
        void *result;
        int error = pthread_join(threads[i], &result);
        if (error)
            printf("pthread_join: %s\n", strerror(error));
        sum += (long)result;
    }
    return sum;
}

static struct timespec in_milliseconds(clockid_t clock, long milliseconds) {
    struct timespec when;
    clock_gettime(clock, &when);
    when.tv_nsec += milliseconds * 1000000;
    when.tv_sec += when.tv_nsec / 1000000000;
    when.tv_nsec %= 1000000000;
    return when;
}

static void *square(void *argument) {
    return (void *)((long)argument * (long)argument);
}

static void section_join(void) {
    for (int round = 0; round < 20; round++) {
        start(square);
        if (join() != 506)
            puts("wrong sum");
    }
    CHECK(getpid() == gettid());
    puts("20 rounds");
}

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
static long counter;

static void *count(void *argument) {
    (void)argument;
    for (int i = 0; i < 20000; i++) {
        pthread_mutex_lock(&mutex);
        counter++;
        if (i % 1000 == 0)
            sched_yield();
        pthread_mutex_unlock(&mutex);
    }
    return NULL;
}

static void section_mutex(void) {
    start(count);
    join();
    SHOW(counter);
    SHOW(pthread_mutex_trylock(&mutex));
    CHECK(pthread_mutex_trylock(&mutex) == EBUSY);
    struct timespec soon = in_milliseconds(CLOCK_REALTIME, 20);
    CHECK(pthread_mutex_timedlock(&mutex, &soon) == ETIMEDOUT);
    SHOW(pthread_mutex_unlock(&mutex));
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_ERRORCHECK);
    pthread_mutex_t checked;
    pthread_mutex_init(&checked, &attributes);
    SHOW(pthread_mutex_lock(&checked));
    CHECK(pthread_mutex_lock(&checked) == EDEADLK);
    pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_t recursive;
    pthread_mutex_init(&recursive, &attributes);
    SHOW(pthread_mutex_lock(&recursive));
    SHOW(pthread_mutex_lock(&recursive));
}

static int queue[16], queued, produced, consumed;

static void *produce_or_consume(void *argument) {
    long sum = 0;
    for (int i = 0; i < 500; i++) {
        pthread_mutex_lock(&mutex);
        if ((long)argument % 2 == 0) {
            while (queued == 16)
                pthread_cond_wait(&condition, &mutex);
            queue[queued++] = produced++;
        } else {
            while (queued == 0)
                pthread_cond_wait(&condition, &mutex);
            sum += queue[--queued];
            consumed++;
        }
        pthread_cond_broadcast(&condition);
        pthread_mutex_unlock(&mutex);
    }
    return (void *)sum;
}

static void section_condition(void) {
    start(produce_or_consume);
    SHOW(join());
    SHOW(produced);
    SHOW(consumed);
    pthread_mutex_lock(&mutex);
    struct timespec soon = in_milliseconds(CLOCK_REALTIME, 20);
    CHECK(pthread_cond_timedwait(&condition, &mutex, &soon) == ETIMEDOUT);
    struct timespec past = {0, 0};
    CHECK(pthread_cond_timedwait(&condition, &mutex, &past) == ETIMEDOUT);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_t monotonic;
    pthread_cond_init(&monotonic, &attributes);
    soon = in_milliseconds(CLOCK_MONOTONIC, 20);
    CHECK(pthread_cond_timedwait(&monotonic, &mutex, &soon) == ETIMEDOUT);
}

static pthread_barrier_t barrier;
static atomic_int arrived[50], serial;

static void *through_barriers(void *argument) {
    (void)argument;
    long bad = 0;
    for (int i = 0; i < 50; i++) {
        arrived[i]++;
        if (pthread_barrier_wait(&barrier) == PTHREAD_BARRIER_SERIAL_THREAD)
            serial++;
        bad += arrived[i] != THREADS;
    }
    return (void *)bad;
}

static void section_barrier(void) {
    pthread_barrier_init(&barrier, NULL, THREADS);
    start(through_barriers);
    SHOW(join());
    SHOW(serial);
}

static __thread long thread_local = 77;
static __thread char thread_buffer[4000];
static pthread_key_t key;
static atomic_int destroyed;

static void destructor(void *value) {
    destroyed += (int)(long)value;
}

static void *own_values(void *argument) {
    long bad = thread_local != 77 || !is_zero(thread_buffer, sizeof thread_buffer);
    thread_local = (long)argument;
    memset(thread_buffer, (int)(long)argument, sizeof thread_buffer);
    pthread_setspecific(key, (char *)argument + 1);
    for (int i = 0; i < 100; i++) {
        sched_yield();
        bad += thread_local != (long)argument || thread_buffer[i * 30] != (char)(long)argument;
        bad += pthread_getspecific(key) != (char *)argument + 1;
    }
    return (void *)bad;
}

static void section_local(void) {
    pthread_key_create(&key, destructor);
    thread_local = 5;
    start(own_values);
    SHOW(join());
    SHOW(thread_local);
    SHOW(destroyed);
}

static pthread_mutex_t robust;

static void *die_with_lock(void *argument) {
    pthread_mutex_lock(&robust);
    return argument;
}

static void section_robust(void) {
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&robust, &attributes);
    pthread_t thread;
    pthread_create(&thread, NULL, die_with_lock, NULL);
    pthread_join(thread, NULL);
    CHECK(pthread_mutex_lock(&robust) == EOWNERDEAD);
    SHOW(pthread_mutex_consistent(&robust));
    SHOW(pthread_mutex_unlock(&robust));
    SHOW(pthread_mutex_lock(&robust));
}

static sem_t semaphore;
static pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;
static long shared_value;

static void *mixed_locks(void *argument) {
    long bad = 0;
    for (int i = 0; i < 200; i++) {
        sem_wait(&semaphore);
        if ((long)argument % 3 == 0) {
            pthread_rwlock_wrlock(&rwlock);
            shared_value++;
            sched_yield();
            shared_value++;
        } else {
            pthread_rwlock_rdlock(&rwlock);
            bad += shared_value % 2;
            sched_yield();
        }
        pthread_rwlock_unlock(&rwlock);
        sem_post(&semaphore);
    }
    return (void *)bad;
}

static void section_locks(void) {
    sem_init(&semaphore, 0, 3);
    start(mixed_locks);
    SHOW(join());
    SHOW(shared_value);
    int value;
    sem_getvalue(&semaphore, &value);
    SHOW(value);
    sem_t empty;
    sem_init(&empty, 0, 0);
    SHOW(sem_trywait(&empty));
    struct timespec soon = in_milliseconds(CLOCK_REALTIME, 20);
    SHOW(sem_timedwait(&empty, &soon));
}

/* Threads that wait for each other by spinning: with fewer cores than threads each must give
 * up its core. */
static atomic_int turn;

static void *take_turns(void *argument) {
    for (int round = 0; round < 20; round++) {
        while (turn != round * THREADS + (long)argument)
            sched_yield();
        turn++;
    }
    return NULL;
}

static void section_turns(void) {
    start(take_turns);
    SHOW(join());
    SHOW(turn);
}

/* The same without ever giving up the core: only preemption lets the others on. */
static void *spin_turns(void *argument) {
    for (int round = 0; round < 3; round++) {
        while (turn != round * THREADS + (long)argument)
            ;
        turn++;
    }
    return NULL;
}

static void section_spin(void) {
    start(spin_turns);
    SHOW(join());
    SHOW(turn);
}

static atomic_int told;
static int to_teller[2];

static void *tell(void *argument) {
    (void)argument;
    char number;
    while (read(to_teller[0], &number, 1) == 1) {
        for (volatile int i = 0; number && i < 2000000; i++)
            ;
        told = number;
    }
    return NULL;
}

/* A thread that spins shares its core with the one that it spins for, also after the core has
 * slept in the middle of a slice. */
static void section_spin_after_sleep(void) {
    pthread_t teller;
    SHOW(pipe(to_teller));
    pthread_create(&teller, NULL, tell, NULL);
    for (char number = 1; number <= 10; number++) {
        /* The teller begins a slice, of which it takes little; then both sleep. */
        write(to_teller[1], "", 1);
        while (told)
            ;
        poll(NULL, 0, 30);
        /* This thread comes back while the teller is at work. */
        write(to_teller[1], &number, 1);
        poll(NULL, 0, 1);
        while (told != number)
            ;
    }
    close(to_teller[1]);
    pthread_join(teller, NULL);
    puts("10 rounds");
}

static atomic_int cleaned;

enum { TRANSFERS = 1000 };

static sem_t ordered;
static atomic_int transferred;

static void *transfer(void *argument) {
    for (int i = 0; i < TRANSFERS; i++) {
        while (sem_wait(&ordered))
            ;
        atomic_fetch_add(&transferred, 1);
    }
    return argument;
}

/* Wakes another and looks for what it does, without a call, as for transfers of aio(7): it must not take a whole
   slice each time where both have one core. */
static void section_spin_for_woken(void) {
    struct timespec begin, end;
    pthread_t helper;
    sem_init(&ordered, 0, 0);
    pthread_create(&helper, NULL, transfer, NULL);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &begin);
    for (int i = 0; i < TRANSFERS; i++) {
        sem_post(&ordered);
        while (atomic_load(&transferred) <= i)
            ;
    }
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &end);
    pthread_join(helper, NULL);
    double seconds = (double)(end.tv_sec - begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec) * 1e-9;
    printf("%d transfers, in less than two milliseconds each: %s\n", transferred, seconds < 2e-3 * TRANSFERS ? "yes" : "no");
}

static void clean(void *argument) {
    (void)argument;
    cleaned++;
}

static void *sleep_forever(void *argument) {
    pthread_cleanup_push(clean, NULL);
    for (;;) {
        if ((long)argument % 2)
            pause();
        else
            pthread_testcancel();
        sched_yield();
    }
    pthread_cleanup_pop(0);
    return NULL;
}

static void section_cancel(void) {
    start(sleep_forever);
    for (int i = 0; i < THREADS; i++)
        if (pthread_cancel(threads[i]))
            puts("cancel failed");
    long cancelled = 0;
    for (int i = 0; i < THREADS; i++) {
        void *result;
        pthread_join(threads[i], &result);
        cancelled += result == PTHREAD_CANCELED;
    }
    SHOW(cancelled);
    SHOW(cleaned);
}

static void *after_main(void *argument) {
    pthread_join(*(pthread_t *)argument, NULL);
    puts("main is gone");
    exit(23);
}

static void section_main_leaves(void) {
    static pthread_t main_thread;
    main_thread = pthread_self();
    pthread_t thread;
    pthread_create(&thread, NULL, after_main, &main_thread);
    pthread_exit(NULL);
}

static void *leave_all(void *argument) {
    (void)argument;
    puts("a thread ends the program");
    _exit(24);
}

static void section_exit_group(void) {
    pthread_t thread;
    pthread_create(&thread, NULL, sleep_forever, (void *)1);
    pthread_create(&thread, NULL, leave_all, NULL);
    for (;;)
        pause();
}

static void *identity(void *argument) {
    (void)argument;
    char name[17] = "", set[17] = "";
    prctl(PR_GET_NAME, name);
    pthread_setname_np(pthread_self(), "renamed");
    prctl(PR_GET_NAME, set);
    return (void *)(long)(gettid() == getpid() || strcmp(set, "renamed") || !name[0]);
}

static void section_identity(void) {
    start(identity);
    SHOW(join());
    size_t size;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 64 << 10);
    pthread_t thread;
    SHOW(pthread_create(&thread, &attributes, square, (void *)5));
    SHOW(pthread_join(thread, NULL));
    pthread_getattr_np(pthread_self(), &attributes);
    void *stack;
    pthread_attr_getstack(&attributes, &stack, &size);
    CHECK((char *)&size >= (char *)stack && (char *)&size < (char *)stack + size);
    cpu_set_t cores;
    CHECK(sched_getaffinity(0, sizeof cores, &cores) == 0);
    CHECK(CPU_COUNT(&cores) >= 1);
    CHECK(CPU_ISSET(sched_getcpu(), &cores));
    unsigned cpu = 99999;
    CHECK(syscall(SYS_getcpu, &cpu, NULL, NULL) == 0 && CPU_ISSET(cpu, &cores));
    CHECK(sched_setaffinity(0, sizeof cores, &cores) == 0);
    cpu_set_t none;
    CPU_ZERO(&none);
    SHOW(sched_setaffinity(0, sizeof none, &none));
    SHOW(sched_getaffinity(0, 1, &cores));
}

static void section_futex(void) {
    static unsigned word = 5;
    struct timespec soon = {0, 20000000};
    SHOW(syscall(SYS_futex, &word, 0, 4, NULL, NULL, 0));
    SHOW(syscall(SYS_futex, &word, 0, 5, &soon, NULL, 0));
    SHOW(syscall(SYS_futex, &word, 128, 5, &soon, NULL, 0));
    SHOW(syscall(SYS_futex, &word, 1, 10, NULL, NULL, 0));
    SHOW(syscall(SYS_futex, (char *)&word + 1, 0, 5, NULL, NULL, 0));
    SHOW(syscall(SYS_futex, NULL, 0, 5, NULL, NULL, 0));
    SHOW(syscall(SYS_futex, &word, 9, 5, NULL, NULL, 0));
    SHOW(syscall(SYS_futex, &word, 77, 5, NULL, NULL, 0));
    soon.tv_nsec = 2000000000;
    SHOW(syscall(SYS_futex, &word, 0, 5, &soon, NULL, 0));
    struct timespec when = in_milliseconds(CLOCK_MONOTONIC, 20);
    SHOW(syscall(SYS_futex, &word, 9, 5, &when, NULL, -1));
    when = in_milliseconds(CLOCK_REALTIME, 20);
    SHOW(syscall(SYS_futex, &word, 9 | 256, 5, &when, NULL, -1));
}

/* A base for thread-local storage that no CPU can load. */
static void section_bad_base(void) {
    static char stack[65536];
    unsigned flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SETTLS;
    SHOW(syscall(SYS_clone, flags, stack + sizeof stack, NULL, NULL, 1UL << 63));
}

static atomic_int turns, movers_stop;

static void *count_turns(void *argument) {
    (void)argument;
    while (!movers_stop) {
        turns++;
        sched_yield();
    }
    return NULL;
}

static void *keep_busy(void *argument) {
    (void)argument;
    while (!movers_stop)
        ;
    return NULL;
}

/* A thread that waits for its turn on one busy core is moved to another busy core. */
static void section_moved(void) {
    cpu_set_t all, here, there;
    sched_getaffinity(0, sizeof all, &all);
    CPU_ZERO(&here);
    CPU_ZERO(&there);
    int cpu = 0;
    while (!CPU_ISSET(cpu, &all))
        cpu++;
    CPU_SET(cpu++, &there);
    while (cpu < CPU_SETSIZE - 1 && !CPU_ISSET(cpu, &all))
        cpu++;
    CPU_SET(cpu, &here);
    pthread_setaffinity_np(pthread_self(), sizeof here, &here);
    pthread_attr_t on_there;
    pthread_attr_init(&on_there);
    pthread_attr_setaffinity_np(&on_there, sizeof there, &there);
    pthread_t mover, busy;
    pthread_create(&mover, &on_there, count_turns, NULL);
    pthread_create(&busy, &on_there, keep_busy, NULL);
    int starved = 0;
    for (int round = 0; round < 10; round++) {
        usleep(20000);
        pthread_setaffinity_np(mover, sizeof here, &here);
        /* Long enough for a native run on a machine with other things to do. */
        int before = turns;
        time_t until = in_milliseconds(CLOCK_MONOTONIC, 3000).tv_sec;
        while (turns == before && in_milliseconds(CLOCK_MONOTONIC, 0).tv_sec < until)
            ;
        starved += turns == before;
        pthread_setaffinity_np(mover, sizeof there, &there);
    }
    movers_stop = 1;
    pthread_join(mover, NULL);
    pthread_join(busy, NULL);
    SHOW(starved);
}

int main(int argc, char **argv) {
    static const struct section sections[] = {
        {"join", section_join}, {"mutex", section_mutex}, {"condition", section_condition},
        {"barrier", section_barrier}, {"local", section_local}, {"robust", section_robust},
        {"locks", section_locks}, {"turns", section_turns}, {"spin", section_spin},
        {"spin_after_sleep", section_spin_after_sleep}, {"spin_for_woken", section_spin_for_woken},
        {"cancel", section_cancel}, {"main_leaves", section_main_leaves},
        {"exit_group", section_exit_group}, {"identity", section_identity},
        {"futex", section_futex}, {"bad_base", section_bad_base}, {"moved", section_moved}, {NULL, NULL}};
    return run_section(argc, argv, sections);
}
