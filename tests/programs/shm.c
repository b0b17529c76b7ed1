/* Two processes and one piece of memory: `shm KIND ROLE NAME`.
 *
 * KIND is file (mmap of a file), posix (shm_open), sysv (shmget), each with words in the memory
 * as turn marks, or futex, where process-shared mutex and semaphores do it. ROLE is first
 * (makes the memory, says "ready") or second. Both change the data in turn and check what the
 * other did; each prints the sum that both must reach. */
#define _GNU_SOURCE
#include "show.h"
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <unistd.h>

enum { WORDS = 1 << 18, ROUNDS = 40 };

struct shared {
    atomic_int turn;
    atomic_int attached;
    sem_t semaphores[2];
    pthread_mutex_t mutex;
    pthread_cond_t condition;
    int condition_turn;
    long counter;
    unsigned data[WORDS];
};

static struct shared *shared;
static int role;

static void pass(int round) {
    shared->turn = round + 1;
}

static void await(int round) {
    while (shared->turn != round)
        sched_yield();
}

static void work(int round) {
    for (unsigned i = 0; i < WORDS; i++) {
        if (round && shared->data[i] != (unsigned)(round - 1) * 7 + i) {
            printf("round %d: word %u is wrong\n", round, i);
            exit(1);
        }
        shared->data[i] = (unsigned)round * 7 + i;
    }
}

static void by_turns(void) {
    for (int round = role; round < ROUNDS; round += 2) {
        await(round);
        work(round);
        pass(round);
    }
}

static void by_futex(void) {
    for (int round = role; round < ROUNDS; round += 2) {
        sem_wait(&shared->semaphores[role]);
        work(round);
        sem_post(&shared->semaphores[!role]);
    }
    for (int i = 0; i < 5000; i++) {
        pthread_mutex_lock(&shared->mutex);
        shared->counter++;
        pthread_mutex_unlock(&shared->mutex);
    }
    for (int i = 0; i < 200; i++) {
        pthread_mutex_lock(&shared->mutex);
        while (shared->condition_turn != role)
            pthread_cond_wait(&shared->condition, &shared->mutex);
        shared->condition_turn = !role;
        pthread_cond_signal(&shared->condition);
        pthread_mutex_unlock(&shared->mutex);
    }
}

static void prepare(void) {
    sem_init(&shared->semaphores[0], 1, 1);
    sem_init(&shared->semaphores[1], 1, 0);
    pthread_mutexattr_t mutex;
    pthread_mutexattr_init(&mutex);
    pthread_mutexattr_setpshared(&mutex, PTHREAD_PROCESS_SHARED);
    pthread_mutex_init(&shared->mutex, &mutex);
    pthread_condattr_t condition;
    pthread_condattr_init(&condition);
    pthread_condattr_setpshared(&condition, PTHREAD_PROCESS_SHARED);
    pthread_cond_init(&shared->condition, &condition);
}

static void fail(const char *what) {
    printf("%s: %s\n", what, strerror(errno));
    exit(1);
}

static void attach(const char *kind, const char *name) {
    if (!strcmp(kind, "sysv")) {
        key_t key = ftok(name, 'T');
        int id = shmget(key, sizeof *shared, role ? 0 : IPC_CREAT | IPC_EXCL | 0600);
        if (id < 0)
            fail("shmget");
        shared = shmat(id, NULL, 0);
        struct shmid_ds status;
        SHOW(shmctl(id, IPC_STAT, &status));
        CHECK(status.shm_segsz == sizeof *shared);
        /* Gone from the table once both are attached, and when the last leaves. */
        if (role)
            SHOW(shmctl(id, IPC_RMID, NULL));
    } else {
        int is_posix = strcmp(kind, "file") != 0;
        int flags = O_RDWR | (role ? 0 : O_CREAT | O_EXCL);
        int fd = is_posix ? shm_open(name, flags, 0600) : open(name, flags, 0600);
        if (fd < 0)
            fail("open");
        if (!role && ftruncate(fd, sizeof *shared))
            fail("ftruncate");
        shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        close(fd);
        if (role)
            SHOW(is_posix ? shm_unlink(name) : 0);
    }
    if (shared == MAP_FAILED)
        fail("map");
}

int main(int argc, char **argv) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc < 4)
        return 99;
    role = !strcmp(argv[2], "second");
    attach(argv[1], argv[3]);
    if (!role) {
        prepare();
        puts("ready");
        while (!shared->attached)
            sched_yield();
    } else {
        shared->attached = 1;
    }
    if (strcmp(argv[1], "futex"))
        by_turns();
    else
        by_futex();
    /* Both have finished before either prints. */
    atomic_fetch_add(&shared->attached, 1);
    while (shared->attached != 3)
        sched_yield();
    unsigned long sum = 0;
    for (int i = 0; i < WORDS; i++)
        sum = sum * 31 + shared->data[i];
    printf("sum %lx counter %ld\n", sum, shared->counter);
    if (!strcmp(argv[1], "sysv"))
        SHOW(shmdt(shared));
    else
        SHOW(munmap(shared, sizeof *shared));
    return checks_failed;
}
