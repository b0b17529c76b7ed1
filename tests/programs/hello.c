/* The first program: start-up as a C program sees it. Arguments, environment, auxiliary
 * vector, a file, the heap, the clocks. Built dynamic, static (glibc) and static (musl). */
#define _GNU_SOURCE
#include "show.h"
#include <sys/auxv.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static const char *base(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static long long nanoseconds(clockid_t clock) {
    struct timespec now;
    if (clock_gettime(clock, &now))
        return -1;
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static void arguments(int argc, char **argv) {
    printf("argc %d\n", argc);
    for (int i = 1; i < argc; i++)
        printf("argv[%d] \"%s\"\n", i, argv[i]);
    CHECK(argv[argc] == NULL);
    /* The word below argv is argc, and the stack pointer stood there at the entry. */
    CHECK(((uintptr_t)argv - 8) % 16 == 0);
    CHECK(*((long *)argv - 1) == argc);
    CHECK(environ == argv + argc + 1);
    const char *greeting = getenv("GREETING");
    printf("GREETING %s\n", greeting ? greeting : "(none)");
    int variables = 0;
    while (environ[variables])
        variables++;
    CHECK(variables > 0);
}

static void auxiliary_vector(char **argv) {
    CHECK(getauxval(AT_PAGESZ) == 4096);
    CHECK(getauxval(AT_PHDR) != 0);
    CHECK(getauxval(AT_PHENT) == 56);
    CHECK(getauxval(AT_PHNUM) > 0 && getauxval(AT_PHNUM) < 64);
    CHECK(getauxval(AT_ENTRY) != 0);
    CHECK(getauxval(AT_RANDOM) != 0);
    CHECK(getauxval(AT_SECURE) == 0);
    CHECK(getauxval(AT_CLKTCK) == 100);
    CHECK(getauxval(AT_UID) == getuid());
    CHECK(getauxval(AT_EUID) == geteuid());
    CHECK(getauxval(AT_GID) == getgid());
    CHECK(getauxval(AT_EGID) == getegid());
    CHECK(getauxval(AT_PLATFORM) && !strcmp((char *)getauxval(AT_PLATFORM), "x86_64"));
    CHECK(getauxval(AT_EXECFN) && !strcmp(base((char *)getauxval(AT_EXECFN)), base(argv[0])));
    printf("AT_HWCAP %#lx\n", getauxval(AT_HWCAP));
    const unsigned char *random = (unsigned char *)getauxval(AT_RANDOM);
    CHECK(random && !is_zero(random, 16));
    char exe[4096];
    ssize_t length = readlink("/proc/self/exe", exe, sizeof exe - 1);
    CHECK(length > 0);
    exe[length > 0 ? length : 0] = 0;
    CHECK(!strcmp(base(exe), base(argv[0])));
}

static void file(const char *path) {
    FILE *input = fopen(path, "r");
    if (!input) {
        printf("fopen: %s\n", strerror(errno));
        return;
    }
    unsigned long count = 0, sum = 0;
    for (int c; (c = getc(input)) != EOF; count++)
        sum = sum * 31 + (unsigned)c;
    fclose(input);
    printf("file: %lu bytes, sum %lx\n", count, sum);
}

static void heap(void) {
    enum { COUNT = 2000 };
    static char *blocks[COUNT];
    int good = 1;
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < COUNT; i++) {
            size_t length = i * 37 % 9000 + 1;
            blocks[i] = malloc(length);
            fill(blocks[i], length);
        }
        for (size_t i = 0; i < COUNT; i++) {
            good &= is_filled(blocks[i], i * 37 % 9000 + 1);
            free(blocks[i]);
        }
    }
    CHECK(good);
    size_t large = 64u << 20;
    char *block = malloc(large);
    CHECK(block != NULL);
    fill(block, large);
    block = realloc(block, large * 2);
    CHECK(block && is_filled(block, large));
    free(block);
    char *zeroed = calloc(1000, 1000);
    CHECK(zeroed && is_zero(zeroed, 1000000));
    free(zeroed);
}

static void clocks(void) {
    int is_monotonic = 1;
    long long before = nanoseconds(CLOCK_MONOTONIC), last = before;
    for (int i = 0; i < 10000; i++) {
        long long now = nanoseconds(CLOCK_MONOTONIC);
        is_monotonic &= now >= last;
        last = now;
    }
    CHECK(before > 0);
    CHECK(is_monotonic);
    struct timeval day;
    CHECK(gettimeofday(&day, NULL) == 0);
    long long difference = nanoseconds(CLOCK_REALTIME) / 1000 - (day.tv_sec * 1000000LL + day.tv_usec);
    CHECK(difference >= 0 && difference < 1000000);
    CHECK(time(NULL) - day.tv_sec <= 1);
    long long start = nanoseconds(CLOCK_MONOTONIC);
    struct timespec pause = {0, 10000000};
    CHECK(nanosleep(&pause, NULL) == 0);
    long long slept = nanoseconds(CLOCK_MONOTONIC) - start;
    CHECK(slept >= 10000000);
    CHECK(slept < 2000000000);
}

int main(int argc, char **argv) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    arguments(argc, argv);
    auxiliary_vector(argv);
    if (argc > 1)
        file(argv[1]);
    heap();
    clocks();
    fprintf(stderr, "this line goes to stderr\n");
    return checks_failed ? 1 : 42;
}
