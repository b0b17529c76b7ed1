/* Bad arguments, call by call: each call with pointers that lead nowhere and with descriptors
 * that are not open, as name = result or error number. Raw system calls, so that no C library
 * looks at the arguments first. The argument picks the sweep: pointers, descriptors or values. */
#define _GNU_SOURCE
#include "show.h"
#include <fcntl.h>
#include <limits.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static void line(const char *name, const char *what, long result) {
    int error = errno;
    if (result == -1)
        printf("%s(%s) = -%d %s\n", name, what, error, strerror(error));
    else
        printf("%s(%s) = %ld\n", name, what, result);
}

#define CALL(name, what, ...) line(#name, what, syscall(SYS_##name, ##__VA_ARGS__))

static char *readonly_page;
static int file, directory, ends[2], pair[2], epoll;

static void prepare(void) {
    readonly_page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    file = open("file", O_RDWR | O_CREAT, 0600);
    if (write(file, "content", 7) != 7 || pipe(ends) || socketpair(AF_UNIX, SOCK_STREAM, 0, pair))
        exit(98);
    if (write(ends[1], "pipe", 4) != 4 || write(pair[1], "pair", 4) != 4)
        exit(98);
    directory = open(".", O_RDONLY | O_DIRECTORY);
    epoll = (int)syscall(SYS_epoll_create1, 0);
}

/* Every call that reads program memory, with one pointer after another. */
static void bad_pointers(const char *what, char *bad) {
    struct iovec bad_base[2] = {{"good", 4}, {bad, 4}}, all_bad = {bad, 4};
    struct msghdr bad_message = {.msg_iov = &all_bad, .msg_iovlen = 1};
    CALL(write, what, file, bad, 10);
    CALL(pwrite64, what, file, bad, 10, 0);
    CALL(writev, what, file, bad, 1);
    CALL(writev, what, file, &all_bad, 1);
    CALL(pwritev, what, file, bad_base, 2, 0);
    CALL(open, what, bad, O_RDONLY);
    CALL(openat, what, AT_FDCWD, bad, O_RDONLY);
    CALL(stat, what, bad, bad);
    CALL(access, what, bad, R_OK);
    CALL(readlink, what, bad, bad, 10);
    CALL(unlink, what, bad);
    CALL(rename, what, bad, "x");
    CALL(rename, what, "file", bad);
    CALL(mkdir, what, bad, 0700);
    CALL(rmdir, what, bad);
    CALL(symlink, what, bad, "x");
    CALL(link, what, "file", bad);
    CALL(chdir, what, bad);
    CALL(chmod, what, bad, 0600);
    CALL(truncate, what, bad, 0);
    CALL(statfs, what, bad, bad);
    CALL(sendto, what, pair[0], bad, 4, MSG_DONTWAIT, NULL, 0);
    CALL(sendmsg, what, pair[0], bad, MSG_DONTWAIT);
    CALL(sendmsg, what, pair[0], &bad_message, MSG_DONTWAIT);
    CALL(bind, what, pair[0], bad, 16);
    CALL(connect, what, pair[0], bad, 16);
    CALL(setsockopt, what, pair[0], SOL_SOCKET, SO_SNDBUF, bad, 4);
    CALL(poll, what, bad, 1, 0);
    CALL(select, what, 5, bad, NULL, NULL, NULL);
    CALL(epoll_ctl, what, epoll, 1, ends[0], bad);
    CALL(futex, what, bad, 0, 0, NULL, NULL, 0);
    CALL(futex, what, bad, 1, 1, NULL, NULL, 0);
    CALL(nanosleep, what, bad, NULL);
    CALL(clock_nanosleep, what, 1, 0, bad, NULL);
    CALL(rt_sigaction, what, SIGUSR1, bad, NULL, 8);
    CALL(rt_sigprocmask, what, SIG_BLOCK, bad, NULL, 8);
    CALL(sigaltstack, what, bad, NULL);
    CALL(sched_setaffinity, what, 0, 128, bad);
}

/* Every call that writes program memory. */
static void bad_results(const char *what, char *bad) {
    struct iovec all_bad = {bad, 4};
    struct msghdr bad_message = {.msg_iov = &all_bad, .msg_iovlen = 1};
    CALL(read, what, ends[0], bad, 2);
    CALL(pread64, what, file, bad, 4, 0);
    CALL(lseek, "0", file, 0, 0);
    CALL(readv, what, file, &all_bad, 1);
    CALL(preadv, what, file, &all_bad, 1, 0);
    CALL(fstat, what, file, bad);
    CALL(stat, what, "file", bad);
    CALL(lstat, what, "file", bad);
    CALL(newfstatat, what, AT_FDCWD, "file", bad, 0);
    CALL(statx, what, AT_FDCWD, "file", 0, 0x7ff, bad);
    CALL(fstatfs, what, file, bad);
    CALL(getcwd, what, bad, 4096);
    CALL(getdents64, what, directory, bad, 4096);
    CALL(readlink, what, "/proc/self/exe", bad, 10);
    CALL(pipe, what, bad);
    CALL(pipe2, what, bad, 0);
    CALL(socketpair, what, AF_UNIX, SOCK_STREAM, 0, bad);
    CALL(recvfrom, what, pair[0], bad, 2, MSG_DONTWAIT | MSG_PEEK, NULL, NULL);
    CALL(recvmsg, what, pair[0], &bad_message, MSG_DONTWAIT | MSG_PEEK);
    CALL(getsockname, what, pair[0], bad, bad);
    CALL(getsockopt, what, pair[0], SOL_SOCKET, SO_TYPE, bad, bad);
    CALL(ioctl, what, ends[0], 0x541b, bad);
    CALL(uname, what, bad);
    CALL(getrandom, what, bad, 16, 0);
    CALL(getrusage, what, 0, bad);
    CALL(getrlimit, what, 7, bad);
    CALL(prlimit64, what, 0, 7, NULL, bad);
    CALL(sysinfo, what, bad);
    CALL(times, what, bad);
    CALL(clock_gettime, what, 1, bad);
    CALL(clock_getres, what, 1, bad);
    CALL(gettimeofday, what, bad, NULL);
    CALL(time, what, bad);
    CALL(rt_sigprocmask, what, SIG_BLOCK, NULL, bad, 8);
    CALL(rt_sigpending, what, bad, 8);
    CALL(rt_sigaction, what, SIGUSR1, NULL, bad, 8);
    CALL(sigaltstack, what, NULL, bad);
    CALL(sched_getaffinity, what, 0, 128, bad);
    CALL(getcpu, what, bad, NULL, NULL);
    CALL(getgroups, what, 10000, bad);
    CALL(getresuid, what, bad, bad, bad);
    CALL(epoll_wait, what, epoll, bad, 1, 0);
    CALL(get_robust_list, what, 0, bad, bad);
}

static void sweep_pointers(void) {
    prepare();
    bad_pointers("page 1", (char *)0x1000);
    bad_pointers("noncanonical", (char *)0x800000000000);
    bad_pointers("top", (char *)-64l);
    bad_results("page 1", (char *)0x1000);
    bad_results("read-only", readonly_page);
    bad_results("noncanonical", (char *)0x800000000000);
    /* A buffer that begins well and runs over the edge of its mapping. */
    char *edge = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    munmap(edge + 4096, 4096);
    char *name = edge + 4096 - 4;
    memcpy(name, "file", 4);
    CALL(open, "path without end", name, O_RDONLY);
    CALL(fstat, "over the edge", file, edge + 4096 - 8);
    CALL(uname, "over the edge", edge + 4096 - 8);
    CALL(pipe, "over the edge", edge + 4096 - 4);
    CALL(clock_gettime, "over the edge", 1, edge + 4096 - 8);
    CALL(rt_sigprocmask, "over the edge", SIG_BLOCK, NULL, edge + 4096 - 4, 8);
}

static void sweep_descriptors(void) {
    static const int bad[] = {-1, 77, 1000000, INT_MAX, INT_MIN};
    static char space[4096];
    struct iovec vector = {space, 10};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
    prepare();
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char what[32];
        int fd = bad[i];
        snprintf(what, sizeof what, "%d", fd);
        CALL(read, what, fd, space, 10);
        CALL(write, what, fd, space, 10);
        CALL(pread64, what, fd, space, 10, 0);
        CALL(pwrite64, what, fd, space, 10, 0);
        CALL(readv, what, fd, &vector, 1);
        CALL(writev, what, fd, &vector, 1);
        CALL(preadv, what, fd, &vector, 1, 0);
        CALL(lseek, what, fd, 0, 0);
        CALL(close, what, fd);
        CALL(fstat, what, fd, space);
        CALL(fstatfs, what, fd, space);
        CALL(fcntl, what, fd, F_GETFL);
        CALL(ioctl, what, fd, 0x541b, space);
        CALL(dup, what, fd);
        CALL(dup2, what, fd, 70);
        CALL(dup3, what, fd, 70, 0);
        CALL(fsync, what, fd);
        CALL(ftruncate, what, fd, 0);
        CALL(fchmod, what, fd, 0600);
        CALL(fchdir, what, fd);
        CALL(flock, what, fd, 2);
        CALL(getdents64, what, fd, space, sizeof space);
        CALL(sendfile, what, fd, file, NULL, 10);
        CALL(sendfile, what, file, fd, NULL, 10);
        CALL(mmap, what, NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0);
        CALL(bind, what, fd, space, 16);
        CALL(connect, what, fd, space, 16);
        CALL(listen, what, fd, 1);
        CALL(accept, what, fd, NULL, NULL);
        CALL(accept4, what, fd, NULL, NULL, 0);
        CALL(shutdown, what, fd, 0);
        CALL(sendto, what, fd, space, 1, 0, NULL, 0);
        CALL(recvfrom, what, fd, space, 1, 0, NULL, NULL);
        CALL(sendmsg, what, fd, &message, 0);
        CALL(recvmsg, what, fd, &message, 0);
        CALL(getsockname, what, fd, space, space);
        CALL(getpeername, what, fd, space, space);
        CALL(setsockopt, what, fd, 1, 2, space, 4);
        CALL(getsockopt, what, fd, 1, 2, space, space);
        CALL(epoll_ctl, what, fd, 1, file, space);
        CALL(epoll_ctl, what, epoll, 1, fd, space);
        CALL(epoll_wait, what, fd, space, 1, 0);
    }
    /* Relative to a descriptor; -100 would be the working directory. */
    for (size_t i = 0; i < 2; i++) {
        char what[32];
        int fd = bad[i];
        snprintf(what, sizeof what, "%d", fd);
        CALL(openat, what, fd, "file", O_RDONLY);
        CALL(newfstatat, what, fd, "file", space, 0);
        CALL(statx, what, fd, "file", 0, 0x7ff, space);
        CALL(unlinkat, what, fd, "file", 0);
        CALL(mkdirat, what, fd, "x", 0700);
        CALL(readlinkat, what, fd, "file", space, 10);
        CALL(faccessat, what, fd, "file", 0);
        CALL(renameat, what, fd, "file", fd, "x");
    }
    CALL(read, "wrong kind: directory", directory, space, 10);
    CALL(getdents64, "wrong kind: file", file, space, sizeof space);
    CALL(bind, "wrong kind: file", file, space, 16);
    CALL(recvfrom, "wrong kind: file", file, space, 1, 0, NULL, NULL);
    CALL(lseek, "wrong kind: pipe", ends[0], 0, 0);
    CALL(epoll_wait, "wrong kind: file", file, space, 1, 0);
    CALL(ftruncate, "wrong kind: pipe", ends[0], 0);
    CALL(fsync, "wrong kind: pipe", ends[0]);
}

static void sweep_values(void) {
    static char space[4096];
    prepare();
    CALL(rt_sigaction, "size 4", SIGUSR1, NULL, NULL, 4);
    CALL(rt_sigprocmask, "size 4", SIG_BLOCK, space, NULL, 4);
    CALL(rt_sigprocmask, "how 9", 9, space, NULL, 8);
    CALL(rt_sigpending, "size 99", space, 99);
    CALL(arch_prctl, "code 7", 7, 0);
    CALL(arch_prctl, "FS high", 0x1002, 1ul << 63);
    CALL(prctl, "option 9999", 9999, 0, 0, 0, 0);
    CALL(set_robust_list, "size 1", space, 1);
    CALL(getrandom, "flags 99", space, 4, 99);
    CALL(getrlimit, "99", 99, space);
    CALL(getrusage, "99", 99, space);
    CALL(setrlimit, "99", 99, space);
    CALL(sched_getaffinity, "size 3", 0, 3, space);
    CALL(sched_getaffinity, "no such thread", 0x3ffffffe, 128, space);
    CALL(sched_setaffinity, "no such thread", 0x3ffffffe, 128, space);
    CALL(kill, "no such process", 0x3ffffffe, 0);
    CALL(tgkill, "no such thread", 1, 0x3ffffffe, 0);
    CALL(tkill, "0", 0, 0);
    CALL(open, "access mode 3 is allowed", "file", 3);
    CALL(pipe2, "flags", space, 0x7777);
    CALL(epoll_create1, "flags", 99);
    CALL(eventfd2, "flags", 0, 99);
    CALL(socket, "family 99", 99, 1, 0);
    CALL(socket, "type 99", 1, 99, 0);
    CALL(accept4, "flags", pair[0], NULL, NULL, 0x7777);
    CALL(lseek, "whence 9", file, 0, 9);
    CALL(pread64, "negative offset", file, space, 4, -5l);
    CALL(pwrite64, "negative offset", file, space, 4, -5l);
    CALL(readv, "count 2000", file, space, 2000);
    CALL(poll, "count too large", space, 1ul << 40, 0);
    CALL(fcntl, "command 9999", file, 9999);
    CALL(dup2, "target -1", file, -1);
    CALL(dup3, "flags", file, 80, 0x7777);
    CALL(statx, "flags", AT_FDCWD, "file", 0x77777, 0x7ff, space);
    CALL(unlinkat, "flags", AT_FDCWD, "file", 0x7777);
    CALL(faccessat, "mode 99", AT_FDCWD, "file", 99);
    CALL(readlink, "size 0", "/proc/self/exe", space, 0);
    CALL(getcwd, "size 0", space, 0);
    CALL(shmget, "size 0", 0, 0, 01600);
    CALL(shmat, "no such segment", 0x7ffffff, NULL, 0);
    CALL(shmctl, "no such segment", 0x7ffffff, 2, space);
    CALL(shmdt, "not attached", space);
    CALL(madvise, "advice 999", readonly_page, 4096, 999);
    CALL(mremap, "flags 8", readonly_page, 4096, 4096, 8);
    CALL(futex, "operation 99", space, 99, 0, NULL, NULL, 0);
}

int main(int argc, char **argv) {
    static const struct section sections[] = {{"pointers", sweep_pointers},
                                              {"descriptors", sweep_descriptors},
                                              {"values", sweep_values}, {NULL, NULL}};
    return run_section(argc, argv, sections);
}
