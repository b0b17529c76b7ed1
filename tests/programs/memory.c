/* Memory calls: what they return, what the memory holds afterwards, what bad arguments give. */
#define _GNU_SOURCE
#include "show.h"
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PAGE 4096ul
#define MEBIBYTE (1ul << 20)
#define GIBIBYTE (1ul << 30)

static char *map(size_t length, int protection) {
    char *memory = mmap(NULL, length, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        printf("mmap of %zu bytes: %s\n", length, strerror(errno));
        exit(1);
    }
    return memory;
}

static int pattern_file(const char *name, size_t length) {
    int fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0644);
    char *content = malloc(length);
    fill(content, length);
    if (write(fd, content, length) != (ssize_t)length)
        printf("write: %s\n", strerror(errno));
    free(content);
    return fd;
}

static void section_brk(void) {
    /* The first output makes the C library take its own heap; what comes above is ours. */
    puts("break");
    char *start = sbrk(0);
    CHECK((char *)syscall(SYS_brk, 0) == start);
    SHOW(brk(start + 10 * PAGE));
    CHECK(sbrk(0) == start + 10 * PAGE);
    CHECK(is_zero(start, 10 * PAGE));
    fill(start, 10 * PAGE);
    SHOW(brk(start + 10 * PAGE + 123));
    CHECK(is_filled(start, 10 * PAGE));
    SHOW(brk(start + 2 * PAGE));
    CHECK(is_filled(start, 2 * PAGE));
    SHOW_READ(start + 5 * PAGE);
    SHOW(brk(start + 6 * PAGE));
    CHECK(is_zero(start + 2 * PAGE, 4 * PAGE));
    SHOW(brk(start + 20 * MEBIBYTE));
    CHECK(is_zero(start + 6 * PAGE, 19 * MEBIBYTE));
    SHOW(brk(start));
    /* A break that can't be leaves things as they are. */
    CHECK((char *)syscall(SYS_brk, 1) == start);
    CHECK((char *)syscall(SYS_brk, 1ul << 62) == start);
}

static void section_anonymous(void) {
    static const size_t lengths[] = {1, PAGE, 3 * PAGE, 2 * MEBIBYTE, 10 * MEBIBYTE + PAGE, 200 * MEBIBYTE};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        size_t length = lengths[i];
        char *memory = map(length, PROT_READ | PROT_WRITE);
        CHECK((uintptr_t)memory % PAGE == 0);
        CHECK(is_zero(memory, length));
        fill(memory, length);
        CHECK(is_filled(memory, length));
        SHOW(munmap(memory, length));
    }
    char *memory = map(3 * PAGE, PROT_READ | PROT_WRITE);
    fill(memory, 3 * PAGE);
    SHOW(munmap(memory + PAGE, PAGE));
    SHOW_READ(memory + PAGE);
    CHECK(is_filled(memory, PAGE));
    CHECK(memory[2 * PAGE] == (char)pattern(2 * PAGE));
    /* Memory that comes again is zero again. */
    SHOW(munmap(memory, 3 * PAGE));
    memory = mmap(memory, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    CHECK(is_zero(memory, 3 * PAGE));
    /* Thousands of mappings side by side and in between. */
    enum { COUNT = 3000 };
    static char *maps[COUNT];
    int good = 1;
    for (int i = 0; i < COUNT; i++) {
        maps[i] = map((i % 7 + 1) * PAGE, PROT_READ | PROT_WRITE);
        memset(maps[i], i % 251, (i % 7 + 1) * PAGE);
    }
    for (int i = 0; i < COUNT; i += 2)
        munmap(maps[i], (i % 7 + 1) * PAGE);
    for (int i = 1; i < COUNT; i += 2)
        for (size_t at = 0; at < (i % 7 + 1) * PAGE; at += PAGE / 2)
            good &= (unsigned char)maps[i][at] == i % 251;
    CHECK(good);
}

static void section_fixed(void) {
    char *memory = map(8 * PAGE, PROT_READ | PROT_WRITE);
    fill(memory, 8 * PAGE);
    char *middle = mmap(memory + 2 * PAGE, 2 * PAGE, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    CHECK(middle == memory + 2 * PAGE);
    CHECK(is_zero(middle, 2 * PAGE));
    CHECK(is_filled(memory, 2 * PAGE));
    CHECK(memory[4 * PAGE] == (char)pattern(4 * PAGE));
    SHOW_POINTER(mmap(memory, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0));
    SHOW(munmap(memory, PAGE));
    SHOW_POINTER(mmap(memory, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0));
    SHOW(munmap(memory, 8 * PAGE));
    CHECK(mmap(memory, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == memory);
    char *elsewhere = mmap(memory, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(elsewhere != MAP_FAILED && elsewhere != memory);
    CHECK((uintptr_t)mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0) < 1ul << 32);
}

/* Programs that want an address to be the same in several processes take one at random. Of all that they can
 * have nearly every one is free. */
static void section_anywhere(void) {
    const int rounds = 4096;
    int file = memfd_create("memory", 0), refused[2] = {0}, wrong = 0;
    ftruncate(file, 4096);
    uint64_t state = 88172645463325252;
    for (int round = 0; round < rounds; round++) {
        state ^= state << 13, state ^= state >> 7, state ^= state << 17;
        char *at = (char *)(state % (UINT64_C(1) << 47) / 4096 * 4096), *got;
        if (at < (char *)0x100000) continue;
        int shared = round % 2, flags = shared ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS;
        got = mmap(at, 4096, PROT_READ | PROT_WRITE, flags | MAP_FIXED_NOREPLACE, shared ? file : -1, 0);
        if (got == MAP_FAILED) {
            refused[shared]++;
            continue;
        }
        *got = (char)round;
        wrong += got != at || *got != (char)round;
        munmap(got, 4096);
    }
    SHOW(wrong);
    CHECK(refused[0] < rounds / 2 * 4 / 100);
    CHECK(refused[1] < rounds / 2 * 6 / 100);
}

static void section_file_private(void) {
    int fd = pattern_file("private", 2 * PAGE + 100);
    char *memory = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    CHECK(memory != MAP_FAILED);
    CHECK(is_filled(memory, 2 * PAGE + 100));
    CHECK(is_zero(memory + 2 * PAGE + 100, PAGE - 100));
    SHOW_READ(memory + 3 * PAGE);
    memset(memory, 'w', PAGE);
    char head[16];
    SHOW(pread(fd, head, sizeof head, 0));
    CHECK(is_filled(head, sizeof head));
    char *second = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, fd, PAGE);
    CHECK(!memcmp(second, memory + PAGE, PAGE));
    SHOW(close(fd));
    CHECK(memory[PAGE + 5] == (char)pattern(PAGE + 5) && memory[0] == 'w');
    SHOW(munmap(memory, 4 * PAGE));
}

static void section_file_shared(void) {
    int fd = pattern_file("shared", 3 * PAGE);
    char *memory = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(memory != MAP_FAILED && is_filled(memory, 3 * PAGE));
    char text[8] = "";
    memcpy(memory + PAGE, "mapped", 7);
    SHOW(pread(fd, text, 7, PAGE));
    puts(text);
    SHOW(pwrite(fd, "written", 8, 2 * PAGE));
    puts(memory + 2 * PAGE);
    SHOW(msync(memory, 3 * PAGE, MS_SYNC));
    SHOW(msync(memory, PAGE, MS_ASYNC));
    char *twice = mmap(NULL, 3 * PAGE, PROT_READ, MAP_SHARED, fd, 0);
    memcpy(memory, "alias", 6);
    puts(twice);
    SHOW(munmap(memory, 3 * PAGE));
    SHOW(munmap(twice, 3 * PAGE));
    /* tmpfs by memfd_create */
    int memfd = memfd_create("test", MFD_CLOEXEC);
    SHOW(ftruncate(memfd, 5 * MEBIBYTE));
    memory = mmap(NULL, 5 * MEBIBYTE, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0);
    CHECK(is_zero(memory, 5 * MEBIBYTE));
    fill(memory, 5 * MEBIBYTE);
    twice = mmap(NULL, 5 * MEBIBYTE, PROT_READ, MAP_SHARED, memfd, 0);
    CHECK(is_filled(twice, 5 * MEBIBYTE));
    char *anonymous = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(anonymous != MAP_FAILED && is_zero(anonymous, PAGE));
    fill(anonymous, PAGE);
    CHECK(is_filled(anonymous, PAGE));
}

/* Pages that the file no longer has, and pages that it has again. */
static void section_file_shrunk(void) {
    int fd = pattern_file("shared", 3 * PAGE);
    char *memory = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(memory != MAP_FAILED && is_filled(memory, 3 * PAGE));
    SHOW(ftruncate(fd, PAGE));
    SHOW_READ(memory + PAGE);
    SHOW(ftruncate(fd, 2 * PAGE));
    CHECK(is_zero(memory + PAGE, PAGE));
    SHOW(munmap(memory, 3 * PAGE));
}

static void section_protect(void) {
    char *memory = map(5 * PAGE, PROT_READ | PROT_WRITE);
    fill(memory, 5 * PAGE);
    SHOW(mprotect(memory + PAGE, PAGE, PROT_READ));
    SHOW_READ(memory + PAGE);
    SHOW_WRITE(memory + PAGE);
    SHOW_WRITE(memory);
    SHOW_WRITE(memory + 2 * PAGE);
    SHOW(mprotect(memory + 2 * PAGE, PAGE, PROT_NONE));
    SHOW_READ(memory + 2 * PAGE);
    SHOW(mprotect(memory, 5 * PAGE, PROT_READ | PROT_WRITE));
    CHECK(is_filled(memory, 5 * PAGE));
    SHOW_WRITE(memory + 2 * PAGE);
    /* mov eax, 42; ret */
    memcpy(memory, "\xb8\x2a\0\0\0\xc3", 6);
    SHOW(mprotect(memory, PAGE, PROT_READ | PROT_EXEC));
    SHOW(((int (*)(void))(uintptr_t)memory)());
    SHOW_WRITE(memory);
    char *large = map(8 * MEBIBYTE, PROT_READ | PROT_WRITE);
    fill(large, 8 * MEBIBYTE);
    for (size_t at = 0; at < 8 * MEBIBYTE; at += 16 * PAGE)
        if (mprotect(large + at, PAGE, PROT_READ))
            printf("mprotect: %s\n", strerror(errno));
    SHOW_WRITE(large + 4 * MEBIBYTE);
    SHOW_WRITE(large + 4 * MEBIBYTE + PAGE);
    CHECK(is_filled(large, 8 * MEBIBYTE));
}

static void section_remap(void) {
    char *memory = map(4 * PAGE, PROT_READ | PROT_WRITE);
    fill(memory, 4 * PAGE);
    memory = mremap(memory, 4 * PAGE, 40 * PAGE, MREMAP_MAYMOVE);
    CHECK(memory != MAP_FAILED && is_filled(memory, 4 * PAGE) && is_zero(memory + 4 * PAGE, 36 * PAGE));
    CHECK(mremap(memory, 40 * PAGE, 2 * PAGE, 0) == memory);
    CHECK(is_filled(memory, 2 * PAGE));
    SHOW_READ(memory + 2 * PAGE);
    SHOW(munmap(memory, 2 * PAGE));
    char *two = map(2 * PAGE, PROT_READ | PROT_WRITE);
    SHOW_POINTER(mremap(two, PAGE, 2 * PAGE, 0));
    char *target = map(16 * PAGE, PROT_READ | PROT_WRITE);
    fill(two, 2 * PAGE);
    char *moved = mremap(two, 2 * PAGE, 3 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, target + 4 * PAGE);
    CHECK(moved == target + 4 * PAGE && is_filled(moved, 2 * PAGE) && is_zero(moved + 2 * PAGE, PAGE));
    SHOW_READ(two);
    size_t length = 3 * MEBIBYTE;
    char *growing = map(length, PROT_READ | PROT_WRITE);
    fill(growing, length);
    for (int i = 0; i < 6; i++) {
        growing = mremap(growing, length, length * 2, MREMAP_MAYMOVE);
        if (growing == MAP_FAILED || !is_filled(growing, 3 * MEBIBYTE))
            puts("lost");
        length *= 2;
    }
    CHECK(is_zero(growing + 3 * MEBIBYTE, length - 3 * MEBIBYTE));
    SHOW(munmap(growing, length));
    int fd = pattern_file("remapped", 4 * PAGE);
    char *file = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    file = mremap(file, 2 * PAGE, 4 * PAGE, MREMAP_MAYMOVE);
    CHECK(file != MAP_FAILED && is_filled(file, 4 * PAGE));
    char *hole = map(3 * PAGE, PROT_READ | PROT_WRITE);
    munmap(hole + PAGE, PAGE);
    SHOW_POINTER(mremap(hole + PAGE, PAGE, 2 * PAGE, MREMAP_MAYMOVE));
    SHOW_POINTER(mremap(hole + 1, PAGE, 2 * PAGE, MREMAP_MAYMOVE));
    SHOW_POINTER(mremap(hole, PAGE, 0, MREMAP_MAYMOVE));
    SHOW_POINTER(mremap(hole, PAGE, PAGE, 64));
    SHOW_POINTER(mremap(hole, PAGE, PAGE, MREMAP_FIXED, target));
}

/* What is in memory moves, the mapping stays. */
static void section_remap_alone(void) {
    const int moves = MREMAP_MAYMOVE | MREMAP_DONTUNMAP;
    char *memory = map(5 * PAGE, PROT_READ | PROT_WRITE);
    fill(memory, 5 * PAGE);
    char *moved = mremap(memory, 5 * PAGE, 5 * PAGE, moves, NULL);
    CHECK(moved != MAP_FAILED && moved != memory && is_filled(moved, 5 * PAGE) && is_zero(memory, 5 * PAGE));
    fill(memory, 2 * PAGE);
    CHECK(is_filled(moved, 5 * PAGE) && is_filled(memory, 2 * PAGE));
    char *target = map(8 * PAGE, PROT_READ);
    CHECK(mremap(moved + PAGE, 2 * PAGE, 2 * PAGE, moves | MREMAP_FIXED, target + PAGE) == target + PAGE);
    CHECK(!memcmp(target + PAGE, memory + PAGE, PAGE) && is_filled(moved, PAGE) && is_zero(moved + PAGE, 2 * PAGE));
    SHOW_WRITE(target);
    SHOW_WRITE(target + PAGE);
    SHOW_WRITE(target + 3 * PAGE);
    SHOW(mprotect(memory, PAGE, PROT_READ));
    char *protected = mremap(memory, PAGE, PAGE, moves, NULL);
    SHOW_WRITE(protected);
    SHOW_READ(memory);
    CHECK(is_zero(memory, PAGE) && is_filled(protected, PAGE));
    char *large = map(6 * MEBIBYTE, PROT_READ | PROT_WRITE);
    fill(large, 6 * MEBIBYTE);
    moved = mremap(large, 6 * MEBIBYTE, 6 * MEBIBYTE, moves, NULL);
    CHECK(moved != MAP_FAILED && is_filled(moved, 6 * MEBIBYTE) && is_zero(large, 6 * MEBIBYTE));
    SHOW(munmap(large, 6 * MEBIBYTE));
    char *hint = map(PAGE, PROT_READ);
    munmap(hint, PAGE);
    SHOW_POINTER(mremap(moved, PAGE, PAGE, moves, hint + 1));
    SHOW_POINTER(mremap(moved, 2 * PAGE, 2 * PAGE, moves, moved + PAGE));
    CHECK(mremap(moved, PAGE, PAGE, moves, hint) == hint && is_filled(hint, PAGE));
    CHECK(mremap(hint, PAGE, PAGE, moves, target) != target);
    SHOW_POINTER(mremap(moved, PAGE, 2 * PAGE, moves, NULL));
    SHOW_POINTER(mremap(moved, PAGE, PAGE, MREMAP_DONTUNMAP, NULL));
    SHOW_POINTER(mremap(large, PAGE, PAGE, moves, NULL));
}

static void section_advise(void) {
    char *memory = map(4 * PAGE, PROT_READ | PROT_WRITE);
    fill(memory, 4 * PAGE);
    SHOW(madvise(memory + PAGE, PAGE, MADV_DONTNEED));
    CHECK(is_zero(memory + PAGE, PAGE));
    CHECK(is_filled(memory, PAGE));
    char *large = map(8 * MEBIBYTE, PROT_READ | PROT_WRITE);
    fill(large, 8 * MEBIBYTE);
    SHOW(madvise(large, 8 * MEBIBYTE, MADV_DONTNEED));
    CHECK(is_zero(large, 8 * MEBIBYTE));
    SHOW(madvise(memory, PAGE, MADV_WILLNEED));
    SHOW(madvise(memory, PAGE, MADV_NORMAL));
    SHOW(madvise(memory, PAGE, MADV_SEQUENTIAL));
    SHOW(madvise(memory, PAGE, MADV_RANDOM));
    int fd = pattern_file("advised", PAGE);
    char *file = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    memset(file, 0, PAGE);
    SHOW(madvise(file, PAGE, MADV_DONTNEED));
    CHECK(is_filled(file, PAGE));
    SHOW(madvise(memory, PAGE, 12345));
    SHOW(madvise(memory + 1, PAGE, MADV_DONTNEED));
    SHOW(madvise(memory, 0, MADV_DONTNEED));
    munmap(memory + 2 * PAGE, PAGE);
    SHOW(madvise(memory, 4 * PAGE, MADV_DONTNEED));
    CHECK(is_zero(memory + 3 * PAGE, PAGE));
    for (int prot = PROT_NONE; prot <= (PROT_READ | PROT_WRITE); prot++) {
        char *guarded = map(2 * PAGE, prot);
        SHOW(madvise(guarded, 2 * PAGE, MADV_POPULATE_READ));
        SHOW(madvise(guarded, 2 * PAGE, MADV_POPULATE_WRITE));
    }
}

/* What MADV_DONTNEED shows of a file: what it holds by then, even if nobody has it open any more. */
static void section_advise_file(void) {
    int fd = pattern_file("advised", 2 * PAGE + 100);
    char *file = mmap(NULL, 5 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    memset(file, 'w', 2 * PAGE + 500);
    SHOW(pwrite(fd, "changed", 7, PAGE));
    SHOW(madvise(file + PAGE, 4 * PAGE, MADV_DONTNEED));
    CHECK(file[0] == 'w' && !memcmp(file + PAGE, "changed", 7));
    CHECK(is_zero(file + 2 * PAGE + 100, PAGE - 100));
    SHOW_READ(file + 3 * PAGE);
    SHOW(pwrite(fd, "grown", 5, 3 * PAGE));
    SHOW(close(fd));
    SHOW(unlink("advised"));
    SHOW(mprotect(file, 5 * PAGE, PROT_READ));
    SHOW(madvise(file, 5 * PAGE, MADV_DONTNEED));
    CHECK(is_filled(file, PAGE));
    CHECK(!memcmp(file + 3 * PAGE, "grown", 6));
    SHOW_READ(file + 4 * PAGE);
    SHOW_WRITE(file + 3 * PAGE);
    char *moved = mremap(file + PAGE, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, map(PAGE, PROT_NONE));
    SHOW(munmap(file, 5 * PAGE));
    SHOW(mprotect(moved, PAGE, PROT_READ | PROT_WRITE));
    memset(moved, 'x', PAGE);
    SHOW(madvise(moved, PAGE, MADV_DONTNEED));
    CHECK(!memcmp(moved, "changed", 7));
}

/* Which pages of a file are in memory: of one without content those that somebody has touched. */
static void section_resident(void) {
    unsigned char pages[8];
    int fd = memfd_create("sparse", 0);
    SHOW(ftruncate(fd, 8 * PAGE));
    char *file = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    SHOW(mincore(file, 8 * PAGE, pages));
    CHECK(is_zero(pages, 8));
    file[3 * PAGE] = 1;
    SHOW(pwrite(fd, "x", 1, 6 * PAGE));
    SHOW(mincore(file, 8 * PAGE, pages));
    for (int page = 0; page < 8; page++)
        SHOW(pages[page] & 1);
    SHOW(munmap(file + 4 * PAGE, PAGE));
    SHOW(mincore(file, 8 * PAGE, pages));
    char *anonymous = map(2 * PAGE, PROT_READ | PROT_WRITE);
    memset(anonymous, 1, 2 * PAGE);
    SHOW(mincore(anonymous, 2 * PAGE, pages));
    SHOW(pages[0] & pages[1] & 1);
}

static void section_reserve(void) {
    /* The way allocators and language runtimes reserve address space. */
    size_t length = 64 * GIBIBYTE;
    char *memory = mmap(NULL, length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(memory != MAP_FAILED);
    SHOW_READ(memory + 17 * GIBIBYTE);
    SHOW(mprotect(memory + 17 * GIBIBYTE, 4 * MEBIBYTE, PROT_READ | PROT_WRITE));
    CHECK(is_zero(memory + 17 * GIBIBYTE, 4 * MEBIBYTE));
    fill(memory + 17 * GIBIBYTE, 4 * MEBIBYTE);
    CHECK(is_filled(memory + 17 * GIBIBYTE, 4 * MEBIBYTE));
    CHECK(mmap(memory + GIBIBYTE, MEBIBYTE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
          memory + GIBIBYTE);
    fill(memory + GIBIBYTE, MEBIBYTE);
    CHECK(is_filled(memory + GIBIBYTE, MEBIBYTE));
    SHOW_READ(memory + GIBIBYTE + MEBIBYTE);
    SHOW(munmap(memory, length));
    SHOW_READ(memory + GIBIBYTE);
    /* Sparse: touched here and there. */
    length = 32 * GIBIBYTE;
    memory = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(memory != MAP_FAILED);
    for (size_t at = 0; at < length; at += GIBIBYTE)
        memory[at + 12345] = (char)(at >> 30);
    int good = 1;
    for (size_t at = 0; at < length; at += GIBIBYTE)
        good &= memory[at + 12345] == (char)(at >> 30) && memory[at] == 0;
    CHECK(good);
    SHOW(munmap(memory, length));
}

static int __attribute__((noinline)) use_stack(int depth) {
    volatile char frame[PAGE];
    frame[0] = (char)depth;
    frame[PAGE - 1] = 1;
    return depth == 0 ? 0 : frame[PAGE - 1] + use_stack(depth - 1) + (frame[0] != (char)depth);
}

static void section_stack(void) {
    struct rlimit limit;
    SHOW(getrlimit(RLIMIT_STACK, &limit));
    CHECK(limit.rlim_cur >= 8 * MEBIBYTE);
    SHOW(use_stack(1700));
}

/* Limits of what may be mapped, which are not those of the memory that there is. */
static void section_limits(void) {
    struct rlimit before, limit;
    SHOW(getrlimit(RLIMIT_AS, &before));
    char *memory = map(64 * MEBIBYTE, PROT_READ | PROT_WRITE);
    limit = (struct rlimit){.rlim_cur = 100 * MEBIBYTE, .rlim_max = before.rlim_max};
    SHOW(setrlimit(RLIMIT_AS, &limit));
    limit.rlim_cur = 0;
    SHOW(getrlimit(RLIMIT_AS, &limit));
    SHOW(limit.rlim_cur / MEBIBYTE);
    SHOW_POINTER(mmap(NULL, 64 * MEBIBYTE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    SHOW_POINTER(mmap(NULL, 64 * MEBIBYTE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    SHOW_POINTER(mremap(memory, 64 * MEBIBYTE, 128 * MEBIBYTE, MREMAP_MAYMOVE));
    SHOW_POINTER(sbrk(64 * MEBIBYTE));
    /* In place of something it is no more. */
    SHOW_POINTER(mmap(memory, 64 * MEBIBYTE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
    SHOW(use_stack(1000));
    memset(memory, 1, 64 * MEBIBYTE);
    SHOW(munmap(memory, 64 * MEBIBYTE));
    SHOW_POINTER(memory = mmap(NULL, 64 * MEBIBYTE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    /* Less than there is takes nothing away. */
    limit = (struct rlimit){.rlim_cur = MEBIBYTE, .rlim_max = before.rlim_max};
    SHOW(prlimit(getpid(), RLIMIT_AS, &limit, NULL));
    SHOW_POINTER(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    SHOW(use_stack(30));
    SHOW(setrlimit(RLIMIT_AS, &before));
    limit = (struct rlimit){.rlim_cur = 2, .rlim_max = 1};
    SHOW(setrlimit(RLIMIT_AS, &limit));
    SHOW(setrlimit(RLIMIT_DATA, &limit));
    limit = (struct rlimit){.rlim_cur = 40 * MEBIBYTE, .rlim_max = before.rlim_max};
    SHOW(setrlimit(RLIMIT_DATA, &limit));
    SHOW_POINTER(mmap(NULL, 64 * MEBIBYTE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    SHOW_POINTER(mmap(NULL, 64 * MEBIBYTE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    SHOW_POINTER(mmap(NULL, 64 * MEBIBYTE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    /* A child has them too. */
    SHOW(system("ulimit -d"));
}

static void section_errors(void) {
    char *memory = map(4 * PAGE, PROT_READ | PROT_WRITE);
    int anonymous = MAP_PRIVATE | MAP_ANONYMOUS;
    int fd = pattern_file("readable", PAGE), readonly = open("readable", O_RDONLY);
    int writeonly = open("readable", O_WRONLY), directory = open(".", O_RDONLY | O_DIRECTORY);
    int pipes[2];
    SHOW(pipe(pipes));
    SHOW_POINTER(mmap(NULL, 0, PROT_READ, anonymous, -1, 0));
    SHOW_POINTER(mmap(NULL, PAGE, PROT_READ, MAP_ANONYMOUS, -1, 0));
    SHOW_POINTER(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, -1, 0));
    SHOW_POINTER(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, 12345, 0));
    SHOW_POINTER(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, directory, 0));
    SHOW_POINTER(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, pipes[0], 0));
    SHOW_POINTER(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, writeonly, 0));
    SHOW_POINTER(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, readonly, 0));
    SHOW_POINTER(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, readonly, 0));
    SHOW_POINTER(mmap(memory + 1, PAGE, PROT_READ, anonymous | MAP_FIXED, -1, 0));
    SHOW_POINTER((void *)syscall(SYS_mmap, NULL, PAGE, PROT_READ, MAP_PRIVATE, fd, 100));
    SHOW_POINTER(mmap(NULL, 1ul << 47, PROT_READ, anonymous, -1, 0));
    SHOW_POINTER(mmap(NULL, -1ul, PROT_READ, anonymous, -1, 0));
    SHOW_POINTER(mmap((void *)-PAGE, PAGE, PROT_READ, anonymous | MAP_FIXED, -1, 0));
    SHOW(munmap(memory + 1, PAGE));
    SHOW(munmap(memory, 0));
    SHOW(munmap((void *)(1ul << 63), PAGE));
    SHOW(munmap(memory + PAGE, PAGE));
    SHOW(munmap(memory + PAGE, PAGE));
    SHOW(mprotect(memory, 4 * PAGE, PROT_READ));
    SHOW(mprotect(memory + PAGE, PAGE, PROT_READ));
    SHOW(mprotect(memory + 1, PAGE, PROT_READ));
    SHOW(mprotect(memory, PAGE, 0x1000));
    SHOW(mprotect(memory, 0, PROT_READ));
    SHOW(msync(memory + PAGE, PAGE, MS_SYNC));
    SHOW(msync(memory, PAGE, MS_SYNC | MS_ASYNC));
    SHOW(msync(memory + 1, PAGE, MS_SYNC));
    SHOW_POINTER(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, readonly, 0));
}

int main(int argc, char **argv) {
    static const struct section sections[] = {
        {"brk", section_brk}, {"anonymous", section_anonymous}, {"fixed", section_fixed}, {"anywhere", section_anywhere},
        {"file_private", section_file_private}, {"file_shared", section_file_shared},
        {"file_shrunk", section_file_shrunk},
        {"protect", section_protect}, {"remap", section_remap}, {"remap_alone", section_remap_alone}, {"resident", section_resident}, {"advise", section_advise},
        {"advise_file", section_advise_file},
        {"reserve", section_reserve}, {"stack", section_stack}, {"limits", section_limits},
        {"errors", section_errors}, {NULL, NULL}};
    return run_section(argc, argv, sections);
}
