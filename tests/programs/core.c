/* Crashes deep within, beside threads that wait and that compute. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int counter = 4711;
static double fraction = 2.5;
static volatile int begun;

static void *wait_for_ever(void *argument) {
    volatile long number = (long)argument;
    __atomic_fetch_add(&begun, 1, __ATOMIC_SEQ_CST);
    while (number)
        pause();
    return NULL;
}

static void *compute(void *argument) {
    __atomic_fetch_add(&begun, 1, __ATOMIC_SEQ_CST);
    for (volatile long *count = argument;; (*count)++)
        ;
}

__attribute__((noinline)) static void crash(const char *text, int depth) {
    char *copy = strdup(text);
    volatile double here = fraction * depth;
    if (depth > 0)
        crash(copy, depth - 1);
    if (counter > 1000)
        abort();
    fraction = here;
}

int main(void) {
    pthread_t threads[2];
    long count = 0;
    pthread_create(&threads[0], NULL, wait_for_ever, (void *)77);
    pthread_create(&threads[1], NULL, compute, &count);
    while (begun < 2)
        usleep(1000);
    counter++;
    crash("a text on the heap", 3);
    return 0;
}
