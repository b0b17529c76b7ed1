/* Calls that are wrong in several ways: which error comes first. */
#define _GNU_SOURCE
#include "show.h"
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

/* Addresses where nothing is: low, between mappings, and beyond a program's. */
#define LOW ((void *)8)
#define HIGH ((void *)0xffff800000000000ul)
#define NO_FD 99

static char *edge, *read_only;
static int file, pipe_read, pipe_write, sockets[2], epoll;

static void set_up(void) {
    edge = (char *)mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) + 4096 - 4;
    munmap(edge + 4, 4096);
    read_only = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    file = open("wrong", O_RDWR | O_CREAT | O_TRUNC, 0644);
    if (write(file, "some text", 9) != 9)
        puts("no file");
    int fds[2];
    SHOW(pipe2(fds, O_NONBLOCK));
    pipe_read = fds[0], pipe_write = fds[1];
    SHOW(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, sockets));
    epoll = epoll_create1(0);
}

#define CALL(name, ...) SHOW(syscall(SYS_##name, __VA_ARGS__))

static void run_files(void) {
    CALL(read, NO_FD, LOW, 10);
    CALL(read, file, LOW, 10);
    CALL(read, file, HIGH, 0);
    CALL(read, sockets[0], HIGH, 10);
    CALL(read, pipe_read, LOW, 10);
    CALL(read, pipe_write, LOW, 10);
    CALL(write, NO_FD, LOW, 10);
    CALL(write, pipe_read, LOW, 10);
    CALL(write, file, LOW, 0);
    CALL(pread64, pipe_read, LOW, 10, 0);
    CALL(pread64, file, LOW, 10, -1);
    CALL(pwrite64, file, edge, 8, 100);
    CALL(readv, NO_FD, LOW, 1);
    CALL(readv, file, LOW, 1);
    CALL(readv, file, LOW, 0);
    CALL(readv, file, LOW, 2000);
    CALL(readv, NO_FD, LOW, -1);
    CALL(writev, file, edge, 1);
    CALL(fstat, NO_FD, LOW);
    CALL(fstat, file, edge);
    CALL(stat, "/no/such", LOW);
    CALL(stat, "", LOW);
    CALL(stat, LOW, LOW);
    CALL(newfstatat, NO_FD, "relative", LOW, 0);
    CALL(newfstatat, NO_FD, LOW, LOW, 0);
    CALL(newfstatat, AT_FDCWD, "wrong", LOW, 0x10000);
    CALL(statx, AT_FDCWD, "wrong", 0, 0, LOW);
    CALL(openat, NO_FD, LOW, 0, 0);
    CALL(openat, NO_FD, "x", 0, 0);
    CALL(openat2, NO_FD, "x", LOW, 24);
    CALL(openat2, NO_FD, "x", LOW, 3);
    CALL(getdents64, NO_FD, LOW, 100);
    CALL(getdents64, file, LOW, 100);
    CALL(readlink, "/proc/self/exe", LOW, 0);
    CALL(readlink, "/proc/self/exe", LOW, -5);
    CALL(readlink, "wrong", LOW, 100);
    CALL(readlink, "/no/such", LOW, 100);
    CALL(getcwd, LOW, 1);
    CALL(getcwd, LOW, 4096);
    CALL(fcntl, NO_FD, F_GETLK, LOW);
    CALL(fcntl, file, F_GETLK, LOW);
    CALL(fcntl, file, F_DUPFD, 1l << 40 | 50);
    CALL(ioctl, NO_FD, 0x5401, LOW);
    CALL(ioctl, file, 0x5401, LOW);
    CALL(dup3, NO_FD, 5, 0x1234);
    CALL(dup3, file, file, 0);
    CALL(dup2, NO_FD, 100000);
    CALL(pipe2, LOW, 0x1234);
    CALL(pipe2, LOW, 0);
    CALL(sendfile, NO_FD, file, LOW, 10);
    CALL(sendfile, pipe_write, file, LOW, 10);
    CALL(splice, NO_FD, LOW, pipe_write, NULL, 10, 0);
    CALL(copy_file_range, NO_FD, NULL, file, LOW, 10, 0);
    CALL(vmsplice, NO_FD, LOW, 1, 0x100);
    CALL(vmsplice, NO_FD, LOW, 1, 0);
    CALL(utimensat, AT_FDCWD, "/no/such", LOW, 0);
    CALL(mknodat, NO_FD, LOW, 0, 0);
    CALL(truncate, "/no/such", -1l);
    CALL(ftruncate, NO_FD, -1l);
    CALL(lseek, NO_FD, 0, 99);
}

static void run_sockets(void) {
    struct iovec piece = {LOW, 10};
    struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};
    CALL(bind, NO_FD, LOW, 16);
    CALL(bind, file, LOW, 16);
    CALL(bind, sockets[0], LOW, 16);
    CALL(bind, sockets[0], LOW, -1);
    CALL(connect, file, LOW, 16);
    CALL(connect, sockets[0], LOW, 1000);
    CALL(accept4, NO_FD, LOW, LOW, 0);
    CALL(accept4, file, LOW, LOW, 0x1234);
    CALL(getsockname, file, LOW, LOW);
    CALL(getsockname, sockets[0], LOW, LOW);
    CALL(getsockname, sockets[0], LOW, NULL);
    CALL(getsockopt, file, SOL_SOCKET, SO_TYPE, LOW, LOW);
    CALL(getsockopt, sockets[0], SOL_SOCKET, SO_TYPE, LOW, LOW);
    CALL(setsockopt, file, SOL_SOCKET, SO_RCVBUF, LOW, 4);
    CALL(setsockopt, sockets[0], SOL_SOCKET, SO_RCVBUF, LOW, 4);
    CALL(setsockopt, sockets[0], SOL_SOCKET, SO_RCVBUF, LOW, -4);
    CALL(sendto, file, LOW, 10, 0, NULL, 0);
    CALL(sendto, NO_FD, HIGH, 10, 0, NULL, 0);
    CALL(sendto, sockets[0], LOW, 10, 0, NULL, 0);
    CALL(recvfrom, file, LOW, 10, 0, NULL, NULL);
    CALL(recvfrom, sockets[0], LOW, 10, 0, NULL, NULL);
    CALL(sendmsg, NO_FD, LOW, 0);
    CALL(sendmsg, file, LOW, 0);
    CALL(sendmsg, file, &message, 0x80000000);
    CALL(sendmsg, sockets[0], LOW, 0);
    CALL(sendmsg, sockets[0], &message, 0);
    CALL(recvmsg, file, LOW, 0);
    CALL(recvmsg, sockets[0], LOW, 0);
    CALL(sendmmsg, NO_FD, LOW, 0, 0);
    CALL(sendmmsg, file, LOW, 1, 0);
    CALL(recvmmsg, NO_FD, LOW, 1, 0, LOW);
    CALL(recvmmsg, NO_FD, LOW, 1, 0, NULL);
    CALL(socketpair, AF_UNIX, SOCK_STREAM, 0, LOW);
    CALL(shutdown, file, 99);
}

static void run_waiting(void) {
    static const struct timeval brief = {0, 1000};
    struct timeval *constant = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    *constant = brief;
    mprotect(constant, 4096, PROT_READ);
    CALL(poll, LOW, 1, 0);
    CALL(poll, LOW, 1000000, 0);
    CALL(select, 1, LOW, NULL, NULL, LOW);
    CALL(select, -1, NULL, NULL, NULL, LOW);
    CALL(select, -1, NULL, NULL, NULL, constant);
    CALL(select, 0, NULL, NULL, NULL, constant);
    CALL(ppoll, NULL, 0, LOW, NULL, 0);
    CALL(ppoll, NULL, 0, NULL, LOW, 3);
    CALL(epoll_ctl, NO_FD, EPOLL_CTL_ADD, file, LOW);
    CALL(epoll_ctl, epoll, EPOLL_CTL_ADD, NO_FD, LOW);
    CALL(epoll_wait, epoll, LOW, 0, 0);
    CALL(epoll_wait, NO_FD, LOW, 1, 0);
    CALL(epoll_wait, file, LOW, 1, 0);
    CALL(epoll_pwait, NO_FD, LOW, 1, 0, LOW, 3);
    CALL(signalfd4, NO_FD, LOW, 8, 0x1234);
    CALL(signalfd4, NO_FD, LOW, 4, 0);
    CALL(timerfd_settime, NO_FD, 0, LOW, NULL);
    CALL(timerfd_settime, file, 99, LOW, NULL);
    CALL(nanosleep, LOW, NULL);
    CALL(clock_nanosleep, 99, 0, LOW, NULL);
    CALL(wait4, -1, NULL, 0x1000, NULL);
    CALL(waitid, P_ALL, 0, LOW, 0, NULL);
    CALL(waitid, P_ALL, 0, LOW, WEXITED, NULL);
    CALL(semop, -1, LOW, 1000000);
    CALL(semop, -1, LOW, 0);
    CALL(msgsnd, -1, LOW, 1 << 30, 0);
}

static void run_process(void) {
    struct rlimit limit = {10, 5};
    CALL(getrlimit, 99, LOW);
    CALL(getrlimit, RLIMIT_CPU, LOW);
    CALL(prlimit64, 0, 99, NULL, LOW);
    CALL(prlimit64, 0, RLIMIT_NOFILE, &limit, NULL);
    CALL(setitimer, 9, LOW, NULL);
    CALL(getitimer, 9, LOW);
    CALL(getitimer, 1l << 40, edge);
    CALL(timer_create, 77, LOW, LOW);
    CALL(rt_sigaction, 99, LOW, NULL, 8);
    CALL(rt_sigaction, SIGKILL, LOW, NULL, 8);
    CALL(rt_sigaction, SIGKILL, NULL, LOW, 8);
    CALL(rt_sigaction, SIGUSR1, LOW, NULL, 4);
    CALL(rt_sigprocmask, 77, LOW, NULL, 8);
    CALL(rt_sigprocmask, 77, LOW, NULL, 4);
    CALL(rt_sigprocmask, SIG_BLOCK, NULL, LOW, 8);
    CALL(rt_sigpending, LOW, 0);
    CALL(rt_sigpending, LOW, 16);
    CALL(rt_sigsuspend, LOW, 4);
    CALL(rt_sigtimedwait, LOW, NULL, LOW, 8);
    CALL(sched_setaffinity, 0, 0, LOW);
    CALL(sched_setaffinity, -1, 8, LOW);
    CALL(sched_getaffinity, 0, 3, LOW);
    CALL(sched_getaffinity, 0, 1l << 40, LOW);
    CALL(sched_setscheduler, 0, -1, LOW);
    CALL(sched_setscheduler, 0, SCHED_OTHER, LOW);
    CALL(sched_setscheduler, 0, SCHED_OTHER, NULL);
    CALL(sched_getparam, -1, LOW);
    CALL(sched_getparam, 0, NULL);
    CALL(sched_get_priority_max, SCHED_FIFO);
    CALL(sched_get_priority_min, 1l << 40 | SCHED_RR);
    CALL(sched_get_priority_max, 77);
    CALL(mincore, LOW, 4096, LOW);
    CALL(mincore, read_only, 4096, HIGH);
    CALL(mincore, HIGH, 4096, HIGH);
    CALL(mmap, NULL, 4096, PROT_READ, 0x1f, NO_FD, 0);
    CALL(mmap, NULL, 4096, PROT_READ, 0x1f, NO_FD, 1);
    CALL(mmap, NULL, 0, PROT_READ, MAP_PRIVATE, file, 0);
    CALL(set_mempolicy, 77, LOW, 64);
    CALL(set_mempolicy, 2, LOW, 64);
    CALL(mbind, read_only, 4096, 77, LOW, 64, 0);
    CALL(getgroups, -1, LOW);
    CALL(uname, LOW);
    CALL(sysinfo, LOW);
    CALL(times, LOW);
    CALL(getrusage, 77, LOW);
    CALL(getrandom, LOW, 10, 0x1234);
    CALL(getrandom, LOW, 10, 0);
    CALL(personality, 0xffffffff);
    CALL(prctl, 77777, LOW, 0, 0, 0);
    CALL(get_robust_list, 0, LOW, LOW);
    CALL(set_robust_list, LOW, 3);
}

int main(int argc, char **argv) {
    const struct section sections[] = {
        {"files", run_files}, {"sockets", run_sockets}, {"waiting", run_waiting}, {"process", run_process}, {0},
    };
    set_up();
    return run_section(argc, argv, sections);
}
