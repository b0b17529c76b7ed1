/* Is stopped, by itself or from outside, while two of its threads compute, and says how many of them
 * stood still for more than a second. Ends with status 3 at SIGTERM. */
#include "show.h"
#include <pthread.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

enum { THREADS = 2 };

static volatile sig_atomic_t is_over, is_continued;
static double longest[THREADS];
static volatile int begun;

static double now(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec + at.tv_nsec * 1e-9;
}

/* Mostly computes: the clock may be a system call. */
static void *compute(void *argument) {
    double *gap = argument;
    double last = now();
    __atomic_fetch_add(&begun, 1, __ATOMIC_SEQ_CST);
    while (!is_over) {
        for (volatile int i = 0; i < 100000; i++)
            ;
        double at = now();
        if (at - last > *gap)
            *gap = at - last;
        last = at;
    }
    return NULL;
}

static void note(int signal) {
    if (signal == SIGTERM)
        is_over = 1;
    else
        is_continued = 1;
}

int main(int argc, char **argv) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    struct sigaction action = {.sa_handler = note};
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGCONT, &action, NULL);
    sigset_t set, old;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGCONT);
    sigprocmask(SIG_BLOCK, &set, &old);
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, compute, &longest[i]);
    while (begun < THREADS)
        usleep(1000);
    puts("ready");
    if (argc > 1 && !strcmp(argv[1], "itself"))
        raise(SIGSTOP);
    while (!is_over) {
        sigsuspend(&old);
        if (is_continued) {
            is_continued = 0;
            puts("continued");
        }
    }
    int still = 0;
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        still += longest[i] > 1;
    }
    printf("stood still: %d of %d\n", still, THREADS);
    return 3;
}
