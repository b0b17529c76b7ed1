/* Queues, semaphores and the calls around them; what a process asks about itself and others. */
#define _GNU_SOURCE
#include "show.h"
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timex.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

union semun {
    int val;
    struct semid_ds *buf;
    unsigned short *array;
    struct seminfo *info;
};

static void run_semaphores(void) {
    int id = semget(IPC_PRIVATE, 3, 0600);
    struct semid_ds set;
    unsigned short values[3] = {4, 5, 6}, read_back[3] = {0};
    SHOW(semctl(id, 0, SETALL, (union semun){.array = values}));
    SHOW(semctl(id, 1, GETVAL));
    SHOW(semctl(id, 1, SETVAL, (union semun){.val = 9}));
    SHOW(semctl(id, 0, GETALL, (union semun){.array = read_back}));
    printf("%d %d %d\n", read_back[0], read_back[1], read_back[2]);
    SHOW(semctl(id, 0, IPC_STAT, (union semun){.buf = &set}));
    SHOW(set.sem_nsems);
    SHOW(set.sem_perm.mode);
    set.sem_perm.mode = 0640;
    SHOW(semctl(id, 0, IPC_SET, (union semun){.buf = &set}));
    SHOW(semctl(id, 0, IPC_STAT, (union semun){.buf = &set}));
    SHOW(set.sem_perm.mode);
    struct sembuf take = {0, -4, IPC_NOWAIT};
    SHOW(semop(id, &take, 1));
    SHOW(semop(id, &take, 1));
    SHOW(semctl(id, 0, GETPID) == getpid());
    SHOW(semctl(id, 0, GETNCNT));
    SHOW(semctl(id, 0, GETALL, (union semun){.array = NULL}));
    SHOW(semctl(id, 0, IPC_STAT, (union semun){.buf = (void *)8}));
    SHOW(semctl(id, 9, GETVAL));
    SHOW(semctl(id, 0, 77));
    SHOW(semctl(id, 0, IPC_RMID));
    SHOW(semctl(id, 0, IPC_RMID));
    SHOW(semctl(id, 0, GETALL, (union semun){.array = read_back}));
    struct seminfo info;
    SHOW(semctl(0, 0, IPC_INFO, (union semun){.info = &info}) >= 0);
    SHOW(info.semmsl > 0);
}

struct message {
    long type;
    char text[64];
};

static void *send_later(void *argument) {
    struct message message = {7, "from another thread"};
    usleep(30000);
    msgsnd(*(int *)argument, &message, 20, 0);
    return NULL;
}

static void run_messages(void) {
    int id = msgget(IPC_PRIVATE, 0600);
    struct message message = {3, "first"}, got;
    struct msqid_ds queue;
    SHOW(msgsnd(id, &message, 6, 0));
    message = (struct message){5, "second"};
    SHOW(msgsnd(id, &message, 7, 0));
    SHOW(msgctl(id, IPC_STAT, &queue));
    SHOW(queue.msg_qnum);
    SHOW(msgrcv(id, &got, sizeof got.text, 5, 0));
    printf("%ld %s\n", got.type, got.text);
    SHOW(msgrcv(id, &got, 2, 0, 0));
    SHOW(msgrcv(id, &got, 2, 0, MSG_NOERROR));
    printf("%ld %.2s\n", got.type, got.text);
    SHOW(msgrcv(id, &got, sizeof got.text, 0, IPC_NOWAIT));
    pthread_t other;
    pthread_create(&other, NULL, send_later, &id);
    SHOW(msgrcv(id, &got, sizeof got.text, 7, 0));
    printf("%s\n", got.text);
    pthread_join(other, NULL);
    message.type = 0;
    SHOW(msgsnd(id, &message, 1, 0));
    message.type = 1;
    SHOW(msgsnd(id, &message, 1 << 20, IPC_NOWAIT));
    SHOW(msgsnd(id, &message, -1, IPC_NOWAIT));
    SHOW(msgsnd(id, (void *)8, 1, IPC_NOWAIT));
    SHOW(msgsnd(id, &message, 1, 0));
    SHOW(msgrcv(id, (void *)8, 10, 0, 0));
    SHOW(msgctl(id, IPC_STAT, (void *)8));
    SHOW(msgctl(id, 99, &queue));
    SHOW(msgctl(id, IPC_RMID, NULL));
    SHOW(msgrcv(id, &got, 1, 0, 0));
}

static void run_several_messages(void) {
    int fds[2];
    SHOW(socketpair(AF_UNIX, SOCK_DGRAM, 0, fds));
    char texts[3][8] = {"one", "three", "seven77"}, in[4][8];
    struct iovec out[3], into[4];
    struct mmsghdr sent[3], received[4];
    memset(sent, 0, sizeof sent);
    memset(received, 0, sizeof received);
    for (int i = 0; i < 3; i++) {
        out[i] = (struct iovec){texts[i], strlen(texts[i])};
        sent[i].msg_hdr = (struct msghdr){.msg_iov = &out[i], .msg_iovlen = 1};
    }
    for (int i = 0; i < 4; i++) {
        into[i] = (struct iovec){in[i], sizeof in[i]};
        received[i].msg_hdr = (struct msghdr){.msg_iov = &into[i], .msg_iovlen = 1};
    }
    SHOW(sendmmsg(fds[0], sent, 3, 0));
    for (int i = 0; i < 3; i++)
        SHOW(sent[i].msg_len);
    SHOW(recvmmsg(fds[1], received, 4, MSG_WAITFORONE, NULL));
    for (int i = 0; i < 3; i++)
        printf("%u %.*s\n", received[i].msg_len, (int)received[i].msg_len, in[i]);
    SHOW(recvmmsg(fds[1], received, 4, MSG_DONTWAIT, NULL));
    SHOW(sendmmsg(fds[0], sent, 3, 0));
    struct timespec limit = {0, 0};
    SHOW(recvmmsg(fds[1], received, 2, 0, &limit) >= 1);
    limit.tv_nsec = -1;
    SHOW(recvmmsg(fds[1], received, 2, 0, &limit));
    SHOW(recvmmsg(fds[1], (void *)8, 2, MSG_DONTWAIT, NULL));
    SHOW(sendmmsg(fds[0], (void *)8, 2, 0));
    SHOW(sendmmsg(99, sent, 2, 0));
    SHOW(sendmmsg(fds[0], sent, 0, 0));
}

static void run_splice(void) {
    int fds[2];
    SHOW(pipe(fds));
    char a[] = "pieces ", b[] = "of memory", got[32] = "";
    struct iovec out[2] = {{a, 7}, {b, 9}}, into = {got, sizeof got - 1};
    SHOW(vmsplice(fds[1], out, 2, 0));
    memset(a, 'x', 7);
    SHOW(vmsplice(fds[0], &into, 1, 0));
    SHOW(vmsplice(fds[0], &into, 1, SPLICE_F_NONBLOCK));
    SHOW(vmsplice(fds[1], out, 2, 64));
    SHOW(vmsplice(99, out, 2, 0));
    int file = open("/dev/null", O_WRONLY);
    SHOW(vmsplice(file, out, 2, 0));
}

static void run_pages(void) {
    char *memory = mmap(NULL, 4 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(memory, 1, 4 * 4096);
    void *pages[3] = {memory, memory + 8192, (void *)0x1000};
    int status[3], node = -1;
    SHOW(syscall(SYS_move_pages, 0, 3, pages, NULL, status, 0));
    SHOW(syscall(SYS_getcpu, NULL, &node, NULL));
    SHOW(status[0] >= 0);
    SHOW(status[1] == status[0]);
    SHOW(status[2]);
    int nodes[1] = {status[0]};
    SHOW(syscall(SYS_move_pages, 0, 1, pages, nodes, status, 2));
    SHOW(syscall(SYS_move_pages, 0, 1, pages, NULL, status, 64));
    SHOW(syscall(SYS_move_pages, 0, 1, (void *)8, NULL, status, 0));
    SHOW(syscall(SYS_move_pages, 0, 1, pages, NULL, (void *)8, 0));
    int key = syscall(SYS_pkey_alloc, 1, 0);
    SHOW(key);
    SHOW(syscall(SYS_pkey_mprotect, memory, 4096, PROT_READ, -1));
    SHOW_WRITE(memory);
    SHOW_WRITE(memory + 4096);
}

static void run_identity(void) {
    uid_t uid = getuid(), gid = getgid();
    SHOW(setuid(uid));
    SHOW(setgid(gid));
    SHOW(setreuid(-1, uid));
    SHOW(setregid(gid, -1));
    SHOW(setresuid(-1, -1, -1));
    SHOW(setresgid(gid, gid, gid));
    SHOW(syscall(SYS_setfsuid, -1) == uid);
    SHOW(syscall(SYS_setfsgid, -1) == gid);
    SHOW(getpriority(PRIO_PROCESS, 0));
    SHOW(setpriority(PRIO_PROCESS, 0, 5));
    SHOW(getpriority(PRIO_PROCESS, 0));
    SHOW(setpriority(PRIO_PROCESS, 0, 6));
    SHOW(getpriority(PRIO_PROCESS, getpid()));
    SHOW(setpriority(9, 0, 6));
    SHOW(syscall(SYS_ioprio_get, 9, 0));
    struct timex times = {0};
    SHOW(adjtimex(&times) >= 0);
    SHOW(times.tick > 0);
    SHOW(adjtimex((void *)8));
    int fds[2];
    SHOW(pipe(fds));
    int copy = dup(fds[0]);
    pid_t me = getpid();
    SHOW(syscall(SYS_kcmp, me, me, 0, fds[0], copy));
    SHOW(syscall(SYS_kcmp, me, me, 0, fds[0], fds[1]) > 0);
    SHOW(syscall(SYS_kcmp, me, me, 0, fds[0], 99));
    int pidfd = syscall(SYS_pidfd_open, getppid(), 0);
    SHOW(pidfd >= 0);
    SHOW(syscall(SYS_pidfd_getfd, pidfd, 999, 0));
    struct {
        unsigned size, policy;
        unsigned long flags;
        int nice;
        unsigned priority;
        unsigned long times[3];
    } attributes;
    SHOW(syscall(SYS_sched_getattr, 0, &attributes, sizeof attributes, 0));
    SHOW(attributes.size);
    SHOW(attributes.policy);
    attributes.nice = 0;
    SHOW(syscall(SYS_sched_setattr, 0, &attributes, 0));
    attributes.policy = 77;
    SHOW(syscall(SYS_sched_setattr, 0, &attributes, 0));
    SHOW(syscall(SYS_sched_getattr, 0, &attributes, 4, 0));
    SHOW(syscall(SYS_sched_getattr, 0, NULL, 48, 0));
    SHOW(syscall(SYS_sched_getattr, 0, &attributes, 48, 1));
}

int main(int argc, char **argv) {
    const struct section sections[] = {
        {"semaphores", run_semaphores},
        {"messages", run_messages},
        {"several_messages", run_several_messages},
        {"splice", run_splice},
        {"pages", run_pages},
        {"identity", run_identity},
        {0},
    };
    return run_section(argc, argv, sections);
}
