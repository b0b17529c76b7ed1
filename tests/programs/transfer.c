/* Reading and writing files through every kind of buffer and position: what a kernel could do in another
 * way than another one must still come out the same. Each is done several times, as a kernel may learn. */
#define _GNU_SOURCE
#include "show.h"
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGE = 4096, TIMES = 3 };

static int filled(const char *name, size_t size) {
    int fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0644);
    for (size_t at = 0; at < size; at++) {
        unsigned char byte = (unsigned char)(at * 31 + at / 251);
        CHECK(write(fd, &byte, 1) == 1);
    }
    return fd;
}

static unsigned long sum(const unsigned char *bytes, size_t size) {
    unsigned long sum = 0;
    for (size_t at = 0; at < size; at++)
        sum = sum * 131 + bytes[at];
    return sum;
}

/* An address that the compiler does not look at. */
static void *nowhere(long address) {
    void *volatile pointer = (void *)address;
    return pointer;
}

static unsigned char *fresh(size_t size) {
    return mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

/* Memory that nobody has touched, and the end of the file. */
static void cold(void) {
    size_t size = 5 * PAGE + 100;
    int fd = filled("cold", size);
    for (int time = 0; time < TIMES; time++) {
        unsigned char *memory = fresh(1 << 20);
        SHOW(pread(fd, memory + 50, 1 << 19, 10));
        SHOW(sum(memory + 50, size - 10) & 0xffffff);
        SHOW(pread(fd, memory, 100, (off_t)size));
        SHOW(pread(fd, memory, 100, (off_t)size - 1));
        SHOW(pwrite(fd, memory + (1 << 19), PAGE, 0));
        munmap(memory, 1 << 20);
        lseek(fd, 3, SEEK_SET);
        memory = fresh(1 << 20);
        SHOW(read(fd, memory + 7, 2 * PAGE));
        SHOW(lseek(fd, 0, SEEK_CUR));
        SHOW(write(fd, memory + 8 * PAGE, 2 * PAGE));
        SHOW(lseek(fd, 0, SEEK_CUR));
        SHOW(read(fd, memory + PAGE, 1 << 19));
        SHOW(read(fd, memory + PAGE, 1 << 19));
        munmap(memory, 1 << 20);
    }
    SHOW(close(fd));
}

/* Memory that ends within the buffer, or is not to be read or written. */
static void partly(void) {
    int fd = filled("partly", 4 * PAGE);
    for (int time = 0; time < TIMES; time++) {
        unsigned char *memory = fresh(4 * PAGE);
        memset(memory, time, 4 * PAGE);
        munmap(memory + 2 * PAGE, PAGE);
        SHOW(pread(fd, memory + PAGE + 100, 3 * PAGE, 0));
        SHOW(pread(fd, memory + 2 * PAGE, 10, 0));
        SHOW(pwrite(fd, memory + PAGE + 100, 3 * PAGE, 0));
        SHOW(pwrite(fd, memory + 2 * PAGE, 10, 0));
        mprotect(memory + PAGE, PAGE, PROT_READ);
        SHOW(pread(fd, memory + 100, 2 * PAGE, 0));
        SHOW(pread(fd, memory + PAGE, 10, 0));
        SHOW(pwrite(fd, memory, 2 * PAGE, 0));
        mprotect(memory + PAGE, PAGE, PROT_NONE);
        SHOW(pwrite(fd, memory + 100, 2 * PAGE, 0));
        lseek(fd, 0, SEEK_SET);
        SHOW(read(fd, memory + 100, 2 * PAGE));
        SHOW(lseek(fd, 0, SEEK_CUR));
        SHOW(read(fd, nowhere(1), 10));
        SHOW(read(fd, nowhere(-4096), 10));
        SHOW(write(fd, nowhere(0x7fffffffe000), 10));
        SHOW(read(fd, memory, 0));
        SHOW(read(fd, nowhere(1), 0));
        SHOW(pread(fd, memory, 10, -1));
        volatile size_t everything = (size_t)-1;
        SHOW(pwrite(fd, memory, everything, 0));
        munmap(memory, 4 * PAGE);
    }
    close(fd);
}

static volatile sig_atomic_t caught;

static void on_signal(int signal) {
    caught = signal;
}

/* Limits, modes of opening, and devices. */
static void limits(void) {
    unsigned char bytes[PAGE] = {1, 2, 3};
    int fd = filled("limits", 100);
    for (int time = 0; time < TIMES; time++)
        SHOW(pwrite(fd, bytes, 10, 5));
    struct rlimit limit, before;
    getrlimit(RLIMIT_FSIZE, &before);
    limit = (struct rlimit){.rlim_cur = 150, .rlim_max = before.rlim_max};
    signal(SIGXFSZ, on_signal);
    SHOW(setrlimit(RLIMIT_FSIZE, &limit));
    SHOW(pwrite(fd, bytes, 100, 100));
    SHOW(caught);
    SHOW(pwrite(fd, bytes, 100, 150));
    SHOW(caught);
    caught = 0;
    struct iovec vector = {bytes, 100};
    SHOW(pwritev(fd, &vector, 1, 120));
    SHOW(caught);
    SHOW(pwritev(fd, &vector, 1, 150));
    SHOW(caught);
    caught = 0;
    SHOW(ftruncate(fd, 151));
    SHOW(caught);
    SHOW(ftruncate(fd, 140));
    setrlimit(RLIMIT_FSIZE, &before);
    SHOW(pwrite(fd, bytes, 100, 150));
    close(fd);
    fd = open("limits", O_RDONLY);
    for (int time = 0; time < TIMES; time++) {
        SHOW(read(fd, bytes, 7));
        SHOW(write(fd, bytes, 7));
    }
    close(fd);
    fd = open("limits", O_WRONLY | O_APPEND);
    for (int time = 0; time < TIMES; time++) {
        SHOW(write(fd, bytes, 3));
        SHOW(read(fd, bytes, 3));
        SHOW(lseek(fd, 0, SEEK_CUR));
    }
    close(fd);
    const char *devices[] = {"/dev/null", "/dev/zero", "/dev/full"};
    for (int device = 0; device < 3; device++) {
        fd = open(devices[device], O_RDWR);
        for (int time = 0; time < TIMES; time++) {
            SHOW(write(fd, bytes, 100));
            SHOW(read(fd, bytes, 100));
        }
        close(fd);
    }
    for (int time = 0; time < TIMES; time++) {
        char text[64] = "";
        fd = open("/proc/self/comm", O_RDONLY);
        SHOW(read(fd, text, sizeof text));
        SHOW(read(fd, text, sizeof text));
        close(fd);
    }
    fd = open(".", O_RDONLY);
    SHOW(read(fd, bytes, 10));
    SHOW(read(fd, bytes, 10));
    close(fd);
    SHOW(read(fd, bytes, 10));
    SHOW(read(-1, bytes, 10));
}

/* A number that means one file and then another. */
static void numbers(void) {
    unsigned char bytes[16];
    int one = filled("one", 20), pipes[2], two = filled("two", 50);
    for (int time = 0; time < TIMES; time++) {
        SHOW(pread(one, bytes, 16, 10));
        SHOW(dup2(two, one) == one);
        SHOW(pread(one, bytes, 16, 40));
        close(one);
        SHOW(pread(one, bytes, 16, 0));
        CHECK(pipe(pipes) == 0);
        SHOW(pipes[0] == one);
        SHOW(pread(pipes[0], bytes, 16, 0));
        SHOW(write(pipes[1], "through", 7));
        SHOW(read(pipes[0], bytes, 16));
        close(pipes[0]), close(pipes[1]);
        one = open("one", O_RDONLY);
    }
    SHOW(fcntl(one, F_DUPFD, 900) >= 900);
    SHOW(pread(900, bytes, 16, 10));
    SHOW(pread(900, bytes, 16, 10));
    SHOW(close_range(800, 1000, 0));
    SHOW(pread(900, bytes, 16, 10));
    for (int time = 0; time < TIMES; time++) {
        pid_t child = vfork();
        if (child == 0) {
            close(two);
            dup2(one, two);
            execl("/bin/true", "true", (char *)NULL);
            _exit(1);
        }
        int status;
        CHECK(waitpid(child, &status, 0) == child && status == 0);
        SHOW(pread(two, bytes, 16, 40));
    }
}

static atomic_int stop_reading;
static int shared_fd;

static void *reader(void *argument) {
    long *wrong = argument, rounds = 0;
    while (!atomic_load(&stop_reading) || rounds < 100) {
        unsigned char bytes[100];
        ssize_t got = pread(shared_fd, bytes, sizeof bytes, 0);
        // Closed at the moment, or the one file or the other.
        *wrong += !((got == -1 && errno == EBADF) || (got == 100 && (bytes[99] == 'a' || bytes[99] == 'b')));
        if (got == 100)
            for (int at = 1; at < 100; at++)
                *wrong += bytes[at] != bytes[0];
        rounds++;
    }
    return NULL;
}

/* Two threads that read while a third opens and closes under them. */
static void race(void) {
    char text[100];
    const char *names[] = {"a", "b"};
    for (int which = 0; which < 2; which++) {
        memset(text, names[which][0], sizeof text);
        int fd = open(names[which], O_RDWR | O_CREAT, 0644);
        CHECK(write(fd, text, sizeof text) == sizeof text);
        close(fd);
    }
    pthread_t threads[2];
    long wrong[2] = {0, 0};
    shared_fd = open("a", O_RDONLY);
    for (int number = 0; number < 2; number++)
        pthread_create(&threads[number], NULL, reader, &wrong[number]);
    for (int round = 0; round < 300; round++) {
        int fd = open(names[round % 2], O_RDONLY);
        CHECK(dup2(fd, shared_fd) == shared_fd);
        close(fd);
        if (round % 10 == 0) {
            close(shared_fd);
            CHECK(open(names[round % 2], O_RDONLY) == shared_fd);
        }
    }
    atomic_store(&stop_reading, 1);
    for (int number = 0; number < 2; number++)
        pthread_join(threads[number], NULL);
    SHOW(wrong[0] + wrong[1]);
}

int main(int argc, char **argv) {
    const struct section sections[] = {
        {"cold", cold}, {"partly", partly}, {"limits", limits}, {"numbers", numbers}, {"race", race}, {0},
    };
    return run_section(argc, argv, sections);
}
