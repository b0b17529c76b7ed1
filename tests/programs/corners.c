/* Corners of the ABI that hardly a program looks into: limits of memory that are set while it runs, what
 * mlock(2) promises, futexes in shared files, buffers that run over the end of memory, the many ways to
 * /proc/self, files there that stay open, numbers that are wider than an int. */
#define _GNU_SOURCE
#include "show.h"
#include <dirent.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <pthread.h>
#include <spawn.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096ul
#define MEBIBYTE (1ul << 20)
#define ANONYMOUS (MAP_PRIVATE | MAP_ANONYMOUS)

static char *map(size_t length, int protection) {
    return mmap(NULL, length, protection, ANONYMOUS, -1, 0);
}

static void *nothing(void *argument) {
    return argument;
}

static void set_limit(int resource, rlim_t soft) {
    struct rlimit limit;
    getrlimit(resource, &limit);
    limit.rlim_cur = soft;
    SHOW(setrlimit(resource, &limit));
    limit.rlim_cur = 0;
    getrlimit(resource, &limit);
    CHECK(limit.rlim_cur == soft);
}

/* A limit forbids what goes beyond it and nothing else: a program under it goes on. */
static void section_limits(void) {
    set_limit(RLIMIT_AS, 128 * MEBIBYTE);
    char *memory = map(64 * MEBIBYTE, PROT_READ | PROT_WRITE);
    CHECK(memory != MAP_FAILED);
    memset(memory, 1, 64 * MEBIBYTE);
    SHOW_POINTER(map(128 * MEBIBYTE, PROT_READ | PROT_WRITE));
    SHOW_POINTER(map(128 * MEBIBYTE, PROT_NONE));
    SHOW_POINTER(mremap(memory, 64 * MEBIBYTE, 128 * MEBIBYTE, MREMAP_MAYMOVE));
    SHOW_POINTER(mmap(memory, 64 * MEBIBYTE, PROT_READ, ANONYMOUS | MAP_FIXED, -1, 0));
    SHOW(sbrk(128 * MEBIBYTE) == (void *)-1);
    pthread_t thread;
    SHOW(pthread_create(&thread, NULL, nothing, NULL));
    SHOW(pthread_join(thread, NULL));
    SHOW(system("ulimit -v"));
    set_limit(RLIMIT_AS, RLIM_INFINITY);
    munmap(memory, 64 * MEBIBYTE);
    set_limit(RLIMIT_DATA, 16 * MEBIBYTE);
    SHOW_POINTER(map(32 * MEBIBYTE, PROT_READ | PROT_WRITE));
    SHOW_POINTER(map(32 * MEBIBYTE, PROT_READ));
    SHOW_POINTER(mmap(NULL, 32 * MEBIBYTE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    SHOW(sbrk(32 * MEBIBYTE) == (void *)-1);
    SHOW(sbrk(MEBIBYTE) == (void *)-1);
    SHOW(system("ulimit -d"));
    struct rlimit wrong = {2, 1};
    SHOW(setrlimit(RLIMIT_DATA, &wrong));
    SHOW(setrlimit(RLIMIT_AS, &wrong));
    /* What can only be read is zeroes, however much it is. */
    SHOW_POINTER(mmap(NULL, 1ul << 42, PROT_READ, ANONYMOUS, -1, 0));
}

static long locked(void) {
    char line[256];
    long kibibytes = -1;
    FILE *status = fopen("/proc/self/status", "r");
    while (fgets(line, sizeof line, status))
        sscanf(line, "VmLck: %ld", &kibibytes);
    fclose(status);
    return kibibytes;
}

static void section_locked(void) {
    char *memory = map(8 * PAGE, PROT_READ | PROT_WRITE);
    SHOW(mlock(memory, 4 * PAGE));
    SHOW(locked());
    SHOW(madvise(memory, PAGE, MADV_DONTNEED));
    SHOW(madvise(memory + 6 * PAGE, PAGE, MADV_DONTNEED));
    SHOW(munlock(memory + PAGE, PAGE));
    SHOW(locked());
    SHOW(madvise(memory + PAGE, PAGE, MADV_DONTNEED));
    int fd = open("file", O_RDWR | O_CREAT, 0600);
    SHOW(ftruncate(fd, PAGE));
    char *file = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    SHOW(mlock(file, PAGE));
    SHOW(msync(file, PAGE, MS_INVALIDATE));
    SHOW(msync(file, PAGE, MS_SYNC | MS_INVALIDATE));
    SHOW(msync(file, PAGE, MS_SYNC));
    SHOW(munlock(file, PAGE));
    SHOW(msync(file, PAGE, MS_INVALIDATE));
    SHOW(munlockall());
    SHOW(locked());
    SHOW(mlockall(MCL_FUTURE));
    unsigned char there[4] = {0};
    memory = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, ANONYMOUS | MAP_NORESERVE, -1, 0);
    SHOW(mincore(memory, 4 * PAGE, there));
    SHOW(there[3] & 1);
    SHOW(locked());
    SHOW(munlockall());
    SHOW(locked());
    SHOW_POINTER(mmap(NULL, 1 << 30, PROT_READ, ANONYMOUS | MAP_HUGETLB | 25 << MAP_HUGE_SHIFT, -1, 0));
    SHOW_POINTER(mmap(memory, 2 * MEBIBYTE, PROT_READ, ANONYMOUS | MAP_HUGETLB | MAP_FIXED_NOREPLACE, -1, 0));
    int segment = shmget(IPC_PRIVATE, PAGE, 0600);
    SHOW_POINTER(shmat(segment, (void *)1, SHM_RND));
    SHOW_POINTER(shmat(segment, (void *)0x7ffffffff000, 0));
    SHOW(shmctl(segment, IPC_RMID, NULL));
}

static void show_limit(int resource) {
    struct rlimit limit;
    SHOW(getrlimit(resource, &limit));
    SHOW(limit.rlim_cur);
    SHOW(limit.rlim_max);
}

/* Limits that the program was started with. */
static void section_inherited(void) {
    show_limit(RLIMIT_AS);
    show_limit(RLIMIT_DATA);
    show_limit(RLIMIT_NOFILE);
    show_limit(RLIMIT_CPU);
    char line[128];
    FILE *file = fopen("/proc/self/limits", "r");
    while (fgets(line, sizeof line, file))
        fputs(line, stdout);
    fclose(file);
    SHOW_POINTER(mmap(NULL, 1l << 30, PROT_READ, ANONYMOUS, -1, 0));
    SHOW_POINTER(mmap(NULL, 200l << 20, PROT_READ | PROT_WRITE, ANONYMOUS, -1, 0));
    char *some = mmap(NULL, 50l << 20, PROT_READ | PROT_WRITE, ANONYMOUS, -1, 0);
    SHOW(some != MAP_FAILED);
    /* What children inherit, too. */
    fflush(stdout);
    SHOW(system("ulimit -v; ulimit -d; ulimit -n; ulimit -t"));
}

static sigjmp_buf back;

static void go_back(int signal, siginfo_t *info, void *context) {
    (void)context;
    printf("signal %d, code %d\n", signal, info->si_code);
    siglongjmp(back, 1);
}

static void touch(volatile char *at) {
    if (!sigsetjmp(back, 1))
        *at = 1, puts("written");
}

/* A mapping that becomes longer when what lies before it is touched, but not up to another one. */
static void section_grows(void) {
    struct sigaction action = {.sa_sigaction = go_back, .sa_flags = SA_SIGINFO};
    sigaction(SIGSEGV, &action, NULL);
    char *all = map(2048 * PAGE, PROT_NONE), *top = all + 2000 * PAGE;
    munmap(all, 2048 * PAGE);
    const int flags = ANONYMOUS | MAP_GROWSDOWN | MAP_FIXED;
    SHOW(mmap(top, PAGE, PROT_READ | PROT_WRITE, flags, -1, 0) == top);
    SHOW(mmap(all + 1000 * PAGE, PAGE, PROT_READ | PROT_WRITE, ANONYMOUS | MAP_FIXED, -1, 0) == all + 1000 * PAGE);
    touch(top - 1);
    touch(top - 10 * PAGE);
    SHOW(read(0, top - 20 * PAGE, 1) >= 0);
    SHOW(mprotect(top, PAGE, PROT_READ | PROT_WRITE | PROT_GROWSDOWN));
    touch(top - 700 * PAGE);
    touch(all + 1256 * PAGE);
    touch(all + 1257 * PAGE);
    touch(all + 1200 * PAGE);
    touch(top + PAGE);
    SHOW(munmap(all + 1000 * PAGE, PAGE));
    struct rlimit limit = {1500 * PAGE, RLIM_INFINITY};
    SHOW(setrlimit(RLIMIT_STACK, &limit));
    touch(top - 1490 * PAGE);
    touch(top - 1510 * PAGE);
    SHOW_POINTER(mmap(NULL, PAGE, PROT_READ, MAP_SHARED | MAP_ANONYMOUS | MAP_GROWSDOWN, -1, 0));
}

static void count_seconds(int signal) {
    static int count;
    (void)signal;
    char text[] = "a second of CPU time: 0\n";
    text[sizeof text - 3] += ++count;
    write(1, text, sizeof text - 1);
}

/* SIGXCPU at each second from the soft limit on, SIGKILL at the hard one. */
static void section_cpu_time(void) {
    signal(SIGXCPU, count_seconds);
    struct rlimit limit = {1, 3};
    SHOW(setrlimit(RLIMIT_CPU, &limit));
    fflush(stdout);
    for (;;)
        ;
}

static long futex(int *word, int operation, int value, long limit, int *second, int third) {
    return syscall(SYS_futex, word, operation, value, limit, second, third);
}

static int *words;
static int finished;

static void *wait_for_bits(void *bits) {
    while (!__atomic_load_n(&words[0], __ATOMIC_SEQ_CST))
        futex(&words[0], FUTEX_WAIT_BITSET, 0, 0, NULL, (int)(long)bits);
    __atomic_add_fetch(&finished, 1, __ATOMIC_SEQ_CST);
    return NULL;
}

static void change(void) {
    usleep(50000);
    __atomic_store_n(&words[0], 1, __ATOMIC_SEQ_CST);
}

/* Waiters in memory that Linux has too are woken by whatever wakes: none of these hangs. */
static void wake_by(const char *how, long (*wake)(void)) {
    pthread_t threads[2];
    words[0] = words[1] = finished = 0;
    for (int i = 0; i < 2; i++)
        pthread_create(&threads[i], NULL, wait_for_bits, (void *)2l);
    change();
    while (__atomic_load_n(&finished, __ATOMIC_SEQ_CST) < 2)
        wake();
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    printf("woken by %s\n", how);
}

static long by_bits(void) {
    return futex(&words[0], FUTEX_WAKE_BITSET, 10, 0, NULL, 2);
}

static long by_operation(void) {
    return futex(&words[1], FUTEX_WAKE_OP, 1, 10, &words[0], FUTEX_OP(FUTEX_OP_OR, 1, FUTEX_OP_CMP_EQ, 1));
}

static long by_requeue(void) {
    futex(&words[0], FUTEX_CMP_REQUEUE, 1, 10, &words[1], 1);
    return futex(&words[1], FUTEX_WAKE, 10, 0, NULL, 0);
}

static void *wait_once(void *bits) {
    return (void *)futex(&words[0], FUTEX_WAIT_BITSET, 0, 0, NULL, (int)(long)bits);
}

/* Those whom a thread wakes are counted once each, though the word stays what it is. */
static void count_woken(void) {
    pthread_t threads[4];
    void *result;
    long woken = 0, wrong = 0;
    words[0] = 0;
    for (long i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, wait_once, (void *)(i < 3 ? 1l : 2l));
    while (woken < 3)
        woken += futex(&words[0], FUTEX_WAKE_BITSET, 10, 0, NULL, 1);
    SHOW(woken);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], &result), wrong += result != NULL;
    SHOW(wrong);
    while (woken < 4)
        woken += futex(&words[0], FUTEX_WAKE, 1, 0, NULL, 0);
    pthread_join(threads[3], &result);
    SHOW(result == NULL);
    SHOW(futex(&words[0], FUTEX_WAKE, 1, 0, NULL, 0));
}

/* What computes beside threads that wait in memory of Linux has the core nearly to itself. */
static void compute_beside_waiters(void) {
    pthread_t threads[2];
    words[0] = finished = 0;
    for (int i = 0; i < 2; i++)
        pthread_create(&threads[i], NULL, wait_for_bits, (void *)2l);
    usleep(1000);
    volatile long sum = 0;
    for (long i = 0; i < 20000000; i++)
        sum += i;
    SHOW(sum);
    __atomic_store_n(&words[0], 1, __ATOMIC_SEQ_CST);
    futex(&words[0], FUTEX_WAKE, 2, 0, NULL, 0);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
}

static void section_futexes(void) {
    int fd = open("file", O_RDWR | O_CREAT, 0600);
    SHOW(ftruncate(fd, PAGE));
    words = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    wake_by("bits", by_bits);
    wake_by("an operation", by_operation);
    wake_by("requeueing", by_requeue);
    count_woken();
    compute_beside_waiters();
    int word = 0, other = 0, *readonly = (int *)map(PAGE, PROT_READ), *gone = (int *)map(PAGE, PROT_READ);
    munmap(gone, PAGE);
    SHOW(futex(gone, FUTEX_WAKE, 1, 0, NULL, 0));
    SHOW(futex(gone, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 1, 0, NULL, 0));
    SHOW(futex(NULL, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 1, 0, NULL, 0));
    SHOW(futex(readonly, FUTEX_WAKE, 1, 0, NULL, 0));
    SHOW(futex(readonly, FUTEX_WAIT, 1, 0, NULL, 0));
    SHOW(futex(readonly, FUTEX_WAIT | FUTEX_PRIVATE_FLAG, 1, 0, NULL, 0));
    SHOW(futex(&word, FUTEX_WAKE_OP, 1, 1, readonly, FUTEX_OP(FUTEX_OP_SET, 1, FUTEX_OP_CMP_EQ, 0)));
    SHOW(futex(&word, FUTEX_WAKE | FUTEX_CLOCK_REALTIME, 1, 0, NULL, 0));
    SHOW(futex(&word, FUTEX_REQUEUE, -1, 1, &other, 0));
    SHOW(futex(&word, FUTEX_REQUEUE, 1, -1, &other, 0));
    SHOW(futex(&word, FUTEX_WAKE_BITSET, 1, 0, NULL, 0));
}

static void *name_me(void *gate) {
    char name[16];
    pthread_barrier_wait(gate);
    pthread_barrier_wait(gate);
    prctl(PR_GET_NAME, name);
    printf("the other's name: %s\n", name);
    return NULL;
}

static void section_prctl(void) {
    int number = 7;
    SHOW(prctl(PR_GET_NO_NEW_PRIVS, 1, 0, 0, 0));
    SHOW(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
    SHOW(prctl(PR_GET_CHILD_SUBREAPER, &number));
    SHOW(number);
    SHOW(prctl(PR_GET_TSC, &number));
    SHOW(number);
    SHOW(prctl(PR_GET_KEEPCAPS));
    SHOW(prctl(PR_SET_KEEPCAPS, 2));
    SHOW(prctl(PR_GET_SECCOMP));
    SHOW(prctl(PR_GET_TIMING));
    SHOW(prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0));
    SHOW(prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0));
    SHOW(prctl(PR_GET_THP_DISABLE, 1, 0, 0, 0));
    SHOW(prctl(PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_EARLY, 0, 0));
    SHOW(prctl(PR_MCE_KILL_GET, 0, 0, 0, 0));
    SHOW(prctl(PR_MCE_KILL, PR_MCE_KILL_CLEAR, 1, 0, 0));
    SHOW(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, 0, 0, 0));
    SHOW(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, 99, 0, 0));
    SHOW(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0));
    SHOW(prctl(PR_SET_TIMING, 1));
    pthread_t other;
    pthread_barrier_t gate;
    pthread_barrier_init(&gate, NULL, 2);
    pthread_create(&other, NULL, name_me, &gate);
    pthread_barrier_wait(&gate);
    char name[16] = "";
    SHOW(pthread_setname_np(other, "told"));
    SHOW(pthread_getname_np(other, name, sizeof name));
    puts(name);
    pthread_barrier_wait(&gate);
    pthread_join(other, NULL);
    int fd = open("/proc/self/comm", O_WRONLY);
    SHOW(write(fd, "a name that is too long", 23));
    SHOW(close(fd));
    prctl(PR_GET_NAME, name);
    puts(name);
    SHOW(syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL_EXPEDITED, 0, 0));
    SHOW(syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE, 0, 0));
    SHOW(syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE, 0, 0));
    SHOW(syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE, 0, 0));
}

static void first_line(const char *path) {
    char line[64] = "";
    int fd = open(path, O_RDONLY);
    int error = errno;
    ssize_t length = fd < 0 ? 0 : read(fd, line, sizeof line - 1);
    line[length < 0 ? 0 : length] = 0;
    line[strcspn(line, "\n")] = 0;
    printf("%s: %s\n", path, fd < 0 ? strerror(error) : line);
    close(fd);
}

static long stat_field(int number) {
    static char text[1024];
    FILE *file = fopen("/proc/self/stat", "r");
    text[fread(text, 1, sizeof text - 1, file)] = 0;
    fclose(file);
    char *at = strrchr(text, ')') + 2;
    for (number -= 3; number > 0; number--)
        at = strchr(at, ' ') + 1;
    return atol(at);
}

static void section_paths(void) {
    static const char *const paths[] = {
        "/proc/self/comm", "/proc/self/../self/comm", "/proc/self/../../proc/self/comm",
        "/proc/thread-self/../../comm", "/proc/thread-self/comm", "/proc/self/task/../comm",
        "/proc/self/root/proc/self/comm", "/proc/self/fd/../comm", "/dev/fd/../comm", "/proc/net/../comm",
        "//proc/.//self//comm", "/proc/self/../1234567/comm", "/proc/self/task/1/comm",
    };
    prctl(PR_SET_NAME, "it is me");
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
        first_line(paths[i]);
    char target[64], expected[64];
    target[readlink("/proc/self", target, sizeof target - 1)] = 0;
    CHECK(atoi(target) == getpid());
    memset(target, 0, sizeof target);
    SHOW(readlink("/proc/thread-self", target, sizeof target - 1) > 0);
    snprintf(expected, sizeof expected, "%d/task/%d", getpid(), gettid());
    CHECK(!strcmp(target, expected));
    SHOW(readlink("/proc/self", target, 0));
    CHECK(stat_field(5) == getpgrp());
    CHECK(stat_field(6) == getsid(0));
    struct stat about;
    int fd = open("/proc/self/maps", O_RDONLY);
    SHOW(fstat(fd, &about));
    SHOW(about.st_mode);
    /* A limit on files is on what the program writes. Its output may be a file, so it ends before. */
    struct rlimit limit;
    getrlimit(RLIMIT_FSIZE, &limit);
    rlim_t before = limit.rlim_cur;
    limit.rlim_cur = 10;
    setrlimit(RLIMIT_FSIZE, &limit);
    fd = open("/proc/self/maps", O_RDONLY);
    ssize_t length = read(fd, target, sizeof target);
    limit.rlim_cur = before;
    setrlimit(RLIMIT_FSIZE, &limit);
    CHECK(fd >= 0 && length == sizeof target);
}

/* Buffers that begin well and end where no memory is. */
static void section_edges(void) {
    char *edge = map(2 * PAGE, PROT_READ | PROT_WRITE) + PAGE;
    munmap(edge, PAGE);
    memset(edge - PAGE, 'x', PAGE);
    int pipes[2], pair[2], packets[2];
    char space[64];
    SHOW(pipe2(pipes, O_NONBLOCK));
    SHOW(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair));
    SHOW(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, packets));
    int counter = eventfd(3, EFD_NONBLOCK), timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    int file = open("file", O_RDWR | O_CREAT, 0600);
    SHOW(syscall(SYS_write, pipes[1], edge - 4, 8));
    SHOW(syscall(SYS_write, pair[1], edge - 4, 8));
    SHOW(syscall(SYS_sendto, packets[1], edge - 4, 8, 0, NULL, 0));
    SHOW(syscall(SYS_write, counter, edge - 4, 8));
    SHOW(syscall(SYS_write, file, edge - 4, 8));
    SHOW(syscall(SYS_pwrite64, file, edge - PAGE, 2 * PAGE, 0));
    struct iovec two[2] = {{edge - 4, 4}, {edge - 2, 4}};
    SHOW(syscall(SYS_writev, pipes[1], two, 2));
    SHOW(syscall(SYS_writev, file, two, 2));
    SHOW(write(pipes[1], "pipe", 4));
    SHOW(write(pair[1], "pair", 4));
    SHOW(write(packets[1], "packet", 6));
    SHOW(syscall(SYS_read, pipes[0], edge - 2, 4));
    SHOW(syscall(SYS_read, pair[0], edge - 2, 4));
    SHOW(syscall(SYS_recvfrom, packets[0], edge - 2, 6, 0, NULL, NULL));
    SHOW(syscall(SYS_readv, pipes[0], two, 2));
    SHOW(syscall(SYS_read, counter, edge - 4, 8));
    SHOW(syscall(SYS_pread64, file, edge - 4, 8, 0));
    SHOW(read(pipes[0], space, sizeof space));
    SHOW(read(pair[0], space, sizeof space));
    SHOW(read(packets[0], space, sizeof space));
    /* Records are whole, wherever in memory they go. */
    char *pages = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, ANONYMOUS | MAP_NORESERVE, -1, 0);
    for (int i = 3; i >= 0; i--)
        pages[i * PAGE] = 1;
    struct itimerspec soon = {{0, 0}, {0, 1}};
    for (int i = 1; i < 4; i++) {
        SHOW(timerfd_settime(timer, 0, &soon, NULL));
        usleep(10000);
        SHOW(read(timer, pages + i * PAGE - 3, 8));
    }
}

/* Where Linux takes an int, what is above it does not matter; and what it does not look at need not be there. */
static void section_widths(void) {
    const long above = 1l << 32;
    char *edge = map(2 * PAGE, PROT_READ | PROT_WRITE) + PAGE;
    munmap(edge, PAGE);
    uint64_t mask = 0;
    SHOW(syscall(SYS_rt_sigaction, above | SIGUSR1, NULL, NULL, 8));
    SHOW(syscall(SYS_rt_sigprocmask, above | SIG_BLOCK, &mask, NULL, 8));
    siginfo_t *info = (siginfo_t *)(edge - 48);
    memset(info, 0, 48);
    info->si_code = SI_QUEUE;
    signal(SIGUSR1, SIG_IGN);
    SHOW(syscall(SYS_rt_sigqueueinfo, getpid(), SIGUSR1, info));
    SHOW(syscall(SYS_rt_tgsigqueueinfo, getpid(), gettid(), SIGUSR1, info));
    pid_t child;
    char *arguments[] = {"true", NULL};
    SHOW(posix_spawn(&child, "/bin/true", NULL, NULL, arguments, NULL));
    info = (siginfo_t *)(edge - 28);
    memset(info, 0x55, 28);
    SHOW(syscall(SYS_waitid, P_ALL, 0, info, WEXITED, NULL));
    SHOW(info->si_code);
    SHOW(((int *)info)[3]);
    /* Which of several errors comes first. */
    int null = open("/dev/null", O_RDWR);
    SHOW(syscall(SYS_pwritev, null, 0, 1, -3L, -1L));
    SHOW(syscall(SYS_pwritev, null, 0, 1, 0, 0));
    SHOW(syscall(SYS_preadv2, -1, 0, 1, 0, 0, 0xffff));
    SHOW(syscall(SYS_preadv2, null, 0, 1, 0, 0, 0xffff));
    SHOW(syscall(SYS_readv, null, 0, 0));
    SHOW(syscall(SYS_writev, null, 8, 2000));
    struct timespec moment = {0, 1000};
    for (int clock = 0; clock < 12; clock++) {
        /* Not where nothing would end the sleep, nor what wants a clock of the machine's. */
        if (clock == CLOCK_PROCESS_CPUTIME_ID || clock == CLOCK_REALTIME_ALARM || clock == CLOCK_BOOTTIME_ALARM)
            continue;
        printf("%d: ", clock);
        SHOW(syscall(SYS_clock_nanosleep, clock, 0, &moment, NULL));
    }
}

static int entries(DIR *directory) {
    int count = 0;
    rewinddir(directory);
    while (readdir(directory))
        count++;
    return count;
}

static void *wait_for(void *barrier) {
    pthread_barrier_wait(barrier);
    pthread_barrier_wait(barrier);
    return NULL;
}

/* Files of /proc that stay open are read again. */
static void section_again(void) {
    DIR *directory = opendir("/proc/self/task");
    int maps = open("/proc/self/maps", O_RDONLY), statm = open("/proc/self/statm", O_RDONLY), copy = dup(maps);
    static char text[1 << 16], later[1 << 16];
    SHOW(entries(directory));
    pthread_barrier_t barrier;
    pthread_barrier_init(&barrier, NULL, 2);
    pthread_t thread;
    pthread_create(&thread, NULL, wait_for, &barrier);
    pthread_barrier_wait(&barrier);
    SHOW(entries(directory));
    ssize_t before = pread(statm, text, sizeof text - 1, 0);
    text[before < 0 ? 0 : before] = 0;
    long pages = atol(text);
    while (read(maps, text, sizeof text) > 0)
        ;
    char *memory = map(16 * PAGE, PROT_NONE);
    mprotect(memory + 5 * PAGE, PAGE, PROT_READ);
    char wanted[64];
    snprintf(wanted, sizeof wanted, "%lx-%lx r--p", (long)memory + 5 * PAGE, (long)memory + 6 * PAGE);
    SHOW(lseek(copy, 0, SEEK_SET));
    size_t length = 0;
    ssize_t count;
    while (length < sizeof later - 1 && (count = read(maps, later + length, sizeof later - 1 - length)) > 0)
        length += (size_t)count;
    SHOW(strstr(later, wanted) != NULL);
    count = pread(statm, text, sizeof text - 1, 0);
    text[count < 0 ? 0 : count] = 0;
    SHOW(atol(text) >= pages + 16);
    SHOW(write(maps, "x", 1) < 0);
    struct stat file;
    SHOW(fstat(maps, &file));
    SHOW(file.st_mode);
    pthread_barrier_wait(&barrier);
    pthread_join(thread, NULL);
    /* A thread that has been joined may be there for a moment. */
    int left;
    while ((left = entries(directory)) > 3)
        usleep(1000);
    SHOW(left);
}

/* Nobody writes to a program that runs. */
static void section_running(void) {
    SHOW(open("/proc/self/exe", O_WRONLY) < 0);
    char path[4096] = {0};
    SHOW(readlink("/proc/self/exe", path, sizeof path - 1) > 0);
    SHOW(open(path, O_RDWR));
    SHOW(open(path, O_RDONLY | O_TRUNC));
    SHOW(creat(path, 0755));
    SHOW(truncate(path, 0));
    SHOW(open(path, O_WRONLY | O_CREAT | O_EXCL, 0755));
    int own = open(path, O_RDONLY);
    SHOW(own < 0);
    SHOW(lseek(own, 0, SEEK_END) > 4096);
}

int main(int argc, char **argv) {
    static const struct section sections[] = {
        {"limits", section_limits}, {"locked", section_locked}, {"futexes", section_futexes},
        {"grows", section_grows},
        {"inherited", section_inherited}, {"cpu_time", section_cpu_time},
        {"prctl", section_prctl}, {"paths", section_paths}, {"edges", section_edges},
        {"widths", section_widths}, {"again", section_again}, {"running", section_running}, {NULL, NULL}};
    return run_section(argc, argv, sections);
}
