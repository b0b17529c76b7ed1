/* Large regions that are cut: what a program may do to memory that comes in huge pages. */
#define _GNU_SOURCE
#include "show.h"
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE 4096ul
#define LARGE (2ul << 20)
#define LENGTH (24 * LARGE)

static unsigned char *whole;

/* A region that begins and ends with a huge page, filled with its pattern. */
static unsigned char *region(void) {
    unsigned char *memory =
        mmap(NULL, LENGTH + LARGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(memory != MAP_FAILED);
    whole = memory;
    memory += -(uintptr_t)memory % LARGE;
    fill(memory, LENGTH);
    return memory;
}

static void leave(void) { SHOW(munmap(whole, LENGTH + LARGE)); }

/* Whether a part of the region holds what it held from the start. */
static int holds(const unsigned char *region, size_t from, size_t to) {
    for (size_t i = from; i < to; i++)
        if (region[i] != pattern(i))
            return 0;
    return 1;
}

static void section_unmap(void) {
    unsigned char *memory = region();
    SHOW(munmap(memory + 3 * PAGE, PAGE));
    SHOW_READ(memory + 3 * PAGE);
    SHOW(munmap(memory + LARGE + PAGE, 3 * LARGE));
    CHECK(holds(memory, 0, 3 * PAGE));
    CHECK(holds(memory, 4 * PAGE, LARGE + PAGE));
    CHECK(holds(memory, 4 * LARGE + PAGE, LENGTH));
    SHOW_READ(memory + 4 * LARGE);
    /* The holes can be filled again, and are zero. */
    SHOW_POINTER(mmap(memory + 3 * PAGE, PAGE, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0));
    CHECK(is_zero(memory + 3 * PAGE, PAGE));
    CHECK(holds(memory, 4 * PAGE, LARGE));
    leave();
}

static void section_protect(void) {
    unsigned char *memory = region();
    SHOW(mprotect(memory + LARGE + PAGE, PAGE, PROT_READ));
    SHOW_READ(memory + LARGE + PAGE);
    SHOW_WRITE(memory + LARGE + PAGE);
    SHOW_WRITE(memory + LARGE);
    SHOW_WRITE(memory + LARGE + 2 * PAGE);
    SHOW(mprotect(memory + 2 * LARGE, LARGE, PROT_NONE));
    SHOW_READ(memory + 2 * LARGE + 7);
    SHOW(mprotect(memory + 2 * LARGE, LARGE, PROT_READ | PROT_WRITE));
    SHOW(mprotect(memory + 5 * LARGE - PAGE, 2 * LARGE + 2 * PAGE, PROT_READ));
    SHOW_WRITE(memory + 6 * LARGE);
    SHOW_WRITE(memory + 5 * LARGE - 2 * PAGE);
    CHECK(holds(memory, 0, LENGTH));
    leave();
}

static void section_remap(void) {
    unsigned char *memory = region();
    unsigned char *moved = mremap(memory + 2 * LARGE + PAGE, LARGE, 4 * LARGE, MREMAP_MAYMOVE);
    CHECK(moved != MAP_FAILED);
    CHECK(moved[5] == pattern(2 * LARGE + PAGE + 5));
    CHECK(is_zero(moved + LARGE, 3 * LARGE));
    SHOW_READ(memory + 2 * LARGE + PAGE);
    CHECK(holds(memory, 0, 2 * LARGE + PAGE));
    CHECK(holds(memory, 3 * LARGE + PAGE, LENGTH));
    SHOW(munmap(moved, 4 * LARGE));
    /* To a place that lies differently in its huge page. */
    unsigned char *place = mmap(NULL, 10 * LARGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    place += PAGE;
    CHECK(mremap(memory + 4 * LARGE, 6 * LARGE, 6 * LARGE, MREMAP_MAYMOVE | MREMAP_FIXED, place) == place);
    int same = 1;
    for (size_t i = 0; i < 6 * LARGE; i++)
        same &= place[i] == pattern(4 * LARGE + i);
    CHECK(same);
    CHECK(holds(memory, 10 * LARGE, LENGTH));
    SHOW(munmap(place, 6 * LARGE));
    leave();
}

static void section_advise(void) {
    unsigned char *memory = region();
    SHOW(madvise(memory + PAGE, 3 * LARGE, MADV_DONTNEED));
    CHECK(holds(memory, 0, PAGE));
    CHECK(is_zero(memory + PAGE, 3 * LARGE));
    CHECK(holds(memory, 3 * LARGE + PAGE, LENGTH));
    SHOW(madvise(memory + 6 * LARGE + PAGE, PAGE, MADV_DONTNEED));
    CHECK(is_zero(memory + 6 * LARGE + PAGE, PAGE));
    CHECK(holds(memory, 6 * LARGE + 2 * PAGE, LENGTH));
    leave();
}

static void section_replace(void) {
    unsigned char *memory = region();
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
    CHECK(mmap(memory + LARGE + PAGE, LARGE, PROT_READ | PROT_WRITE, flags, -1, 0) == memory + LARGE + PAGE);
    CHECK(is_zero(memory + LARGE + PAGE, LARGE));
    CHECK(holds(memory, 0, LARGE + PAGE));
    CHECK(holds(memory, 2 * LARGE + PAGE, LENGTH));
    int fd = open("/proc/self/exe", O_RDONLY);
    unsigned char *file = mmap(memory + 5 * LARGE + PAGE, PAGE, PROT_READ, MAP_PRIVATE | MAP_FIXED, fd, 0);
    CHECK(file == memory + 5 * LARGE + PAGE);
    CHECK(!memcmp(file, "\177ELF", 4));
    CHECK(holds(memory, 5 * LARGE, 5 * LARGE + PAGE));
    CHECK(holds(memory, 5 * LARGE + 2 * PAGE, LENGTH));
    /* What can't be mapped leaves what was there. */
    SHOW_POINTER(mmap(memory + 8 * LARGE + PAGE, PAGE, PROT_READ, MAP_PRIVATE | MAP_FIXED, -1, 0));
    CHECK(holds(memory, 8 * LARGE, LENGTH));
    leave();
}

/* Calls that Linux serves find the memory, whole or cut. */
static void section_files(void) {
    unsigned char *memory = region();
    int ends[2];
    SHOW(pipe(ends));
    CHECK(write(ends[1], memory + 3 * LARGE - 100, 200) == 200);
    CHECK(read(ends[0], memory + 7 * LARGE - 50, 200) == 200);
    CHECK(!memcmp(memory + 3 * LARGE - 100, memory + 7 * LARGE - 50, 200));
    SHOW(munmap(memory + 3 * LARGE + PAGE, PAGE));
    CHECK(write(ends[1], memory + 3 * LARGE - 100, 200) == 200);
    CHECK(read(ends[0], memory + 7 * LARGE - 50, 200) == 200);
    CHECK(!memcmp(memory + 3 * LARGE - 100, memory + 7 * LARGE - 50, 200));
    CHECK(holds(memory, 0, 3 * LARGE + PAGE));
    leave();
}

static volatile int cutting_is_over;

/* Counts up all words of a page until the cutting is over: none may go back. */
static void *count(void *word) {
    volatile uint64_t *counter = word;
    uint64_t last = 0;
    while (!cutting_is_over) {
        uint64_t now = *counter;
        if (now != last)
            return (void *)1;
        *counter = last = now + 1;
    }
    return NULL;
}

static void section_threads(void) {
    unsigned char *memory = region();
    pthread_t threads[2];
    for (int round = 0; round < 6; round++) {
        unsigned char *page = memory + 3 * round * LARGE;
        uint64_t *words[2] = {(uint64_t *)(page + LARGE + PAGE), (uint64_t *)(page + 2 * LARGE - PAGE)};
        cutting_is_over = 0;
        for (int i = 0; i < 2; i++) {
            *words[i] = 0;
            pthread_create(&threads[i], NULL, count, words[i]);
        }
        usleep(2000);
        if (munmap(page + LARGE + 4 * PAGE, PAGE) || mprotect(page + LARGE + 6 * PAGE, PAGE, PROT_READ))
            printf("cutting: %s\n", strerror(errno));
        usleep(2000);
        cutting_is_over = 1;
        for (int i = 0; i < 2; i++) {
            void *lost;
            pthread_join(threads[i], &lost);
            CHECK(!lost);
        }
    }
    leave();
}

static void section_heap(void) {
    /* The first output makes the C library take its own heap; what comes above is ours. */
    puts("heap");
    unsigned char *start = sbrk(0);
    CHECK(sbrk(9 * LARGE) == start);
    fill(start, 9 * LARGE);
    CHECK(sbrk(-(long)(3 * LARGE + 5 * PAGE)) == start + 9 * LARGE);
    CHECK(is_filled(start, 6 * LARGE - 5 * PAGE));
    CHECK(sbrk(3 * LARGE) != (void *)-1);
    CHECK(is_filled(start, 6 * LARGE - 5 * PAGE));
    CHECK(is_zero(start + 6 * LARGE, 2 * LARGE));
}

/* Touches much, says so, and waits for its end. */
static void section_wait(void) {
    region();
    puts("touched");
    for (;;)
        pause();
}

int main(int argc, char **argv) {
    static const struct section sections[] = {
        {"unmap", section_unmap},     {"protect", section_protect}, {"remap", section_remap},
        {"advise", section_advise},   {"replace", section_replace}, {"files", section_files},
        {"threads", section_threads}, {"heap", section_heap},       {"wait", section_wait},
        {NULL, NULL},
    };
    return run_section(argc, argv, sections);
}
