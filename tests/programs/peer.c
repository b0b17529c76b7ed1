/* Memory of another process (process_vm_readv(2), process_vm_writev(2)): "serve" lays some out, says in
 * the file "places" where it is, and waits; "reach" reads and writes it. "serve_untouched" and "untouched"
 * do the same with what nobody has touched before. */
#define _GNU_SOURCE
#include "show.h"
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#define PAGE 4096ul
#define LARGE (8ul << 20)
#define VAST (1ul << 40)

struct places {
    pid_t pid;
    /* LARGE bytes with the pattern, then a hole. */
    char *large;
    char *read_only, *none, *shared, *file, *local;
    /* Reserved only: LARGE bytes each. */
    char *sparse, *opened, *deep;
    /* VAST bytes: more than there is. */
    char *vast;
    const void *code;
} places;

static char *map(size_t length, int protection) {
    return mmap(NULL, length, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void serve(void);

/* Until a line comes; then looks at what the other one has written. */
static void serve_to(int untouched) {
    char local[100];
    places.pid = getpid();
    places.large = map(LARGE + PAGE, PROT_READ | PROT_WRITE);
    fill(places.large, LARGE);
    munmap(places.large + LARGE, PAGE);
    places.read_only = map(PAGE, PROT_READ | PROT_WRITE);
    fill(places.read_only, PAGE);
    mprotect(places.read_only, PAGE, PROT_READ);
    places.none = map(PAGE, PROT_READ | PROT_WRITE);
    fill(places.none, PAGE);
    mprotect(places.none, PAGE, PROT_NONE);
    int memfd = memfd_create("shared", 0);
    ftruncate(memfd, 2 * PAGE);
    places.shared = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0);
    fill(places.shared, 2 * PAGE);
    int fd = open("content", O_RDWR | O_CREAT, 0644);
    write(fd, "what a file holds", 17);
    places.file = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, fd, 0);
    places.local = local;
    memset(local, 'l', sizeof local);
    places.code = (const void *)serve;
    places.sparse = mmap(NULL, LARGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    places.vast = mmap(NULL, VAST, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    places.opened = map(LARGE, PROT_NONE);
    mprotect(places.opened, LARGE, PROT_READ | PROT_WRITE);
    volatile char deep[LARGE / 2];
    places.deep = (char *)deep;
    int out = open("places", O_WRONLY | O_CREAT, 0644);
    write(out, &places, sizeof places);
    close(out);
    puts("ready");
    getchar();
    if (untouched) {
        CHECK(is_filled(places.sparse + PAGE, LARGE - PAGE));
        CHECK(!memcmp(places.opened + 2 * PAGE - 2, "both", 4));
        CHECK(is_filled(places.deep + PAGE, LARGE / 4));
        /* The rest is still to be had. */
        fill(places.vast + VAST / 2, LARGE);
        CHECK(is_filled(places.vast + VAST / 2, LARGE));
        return;
    }
    CHECK(!memcmp(places.large + LARGE - 10, "0123456789", 10));
    CHECK(!memcmp(places.large + 3 * PAGE - 4, "wordwordbyte", 12));
    CHECK(is_filled(places.large, 3 * PAGE - 4));
    CHECK(is_filled(places.read_only, PAGE));
    CHECK(!memcmp(places.shared + PAGE - 2, "both", 4));
    CHECK(!memcmp(local, "on the stack", 12) && local[12] == 'l');
}

static void serve(void) {
    serve_to(0);
}

static void serve_untouched(void) {
    serve_to(1);
}

static ssize_t get(void *to, const void *from, size_t length) {
    struct iovec here = {to, length}, there = {(void *)from, length};
    return process_vm_readv(places.pid, &here, 1, &there, 1, 0);
}

static ssize_t put(void *to, const void *from, size_t length) {
    struct iovec here = {(void *)from, length}, there = {to, length};
    return process_vm_writev(places.pid, &here, 1, &there, 1, 0);
}

static void several(char *bytes) {
    struct iovec here[] = {{bytes, 10}, {bytes + 100, 5000}, {bytes + 10000, 1}};
    struct iovec there[] = {{places.large, 3000}, {places.large + 5000, 0}, {places.large + PAGE, 2011}};
    memset(bytes, 0, 20000);
    SHOW(process_vm_readv(places.pid, here, 3, there, 3, 0));
    CHECK(is_filled(bytes, 10) && (unsigned char)bytes[100] == pattern(10));
    CHECK((unsigned char)bytes[10000] == pattern(PAGE + 2010) && !bytes[10001]);
    /* Less on this side, less on the other. */
    SHOW(process_vm_readv(places.pid, here, 1, there, 3, 0));
    SHOW(process_vm_readv(places.pid, here, 3, there, 1, 0));
    struct iovec hole[] = {{places.large, 100}, {places.large + LARGE, 100}, {places.large, 100}};
    SHOW(process_vm_readv(places.pid, here, 2, hole, 3, 0));
    SHOW(process_vm_readv(places.pid, here, 2, hole + 1, 2, 0));
    struct iovec words[] = {{places.large + 3 * PAGE - 4, 4}, {places.large + 3 * PAGE, 8}};
    struct iovec text[] = {{"word", 4}, {"word", 4}, {"byte", 4}};
    SHOW(process_vm_writev(places.pid, text, 3, words, 2, 0));
    /* More pieces than one call of the proxy takes. */
    static struct iovec many[1024];
    for (int i = 0; i < 1024; i++)
        many[i] = (struct iovec){places.large + i * 2 * PAGE, 1};
    struct iovec all = {bytes, 1024};
    SHOW(process_vm_readv(places.pid, &all, 1, many, 1024, 0));
    CHECK((unsigned char)bytes[1023] == pattern(1023 * 2 * PAGE));
    SHOW(process_vm_readv(places.pid, &all, 1, many, 1025, 0));
}

static void reach(void) {
    int in = open("places", O_RDONLY);
    CHECK(read(in, &places, sizeof places) == sizeof places);
    char *bytes = map(LARGE + PAGE, PROT_READ | PROT_WRITE);
    SHOW(get(bytes, places.large, LARGE));
    CHECK(is_filled(bytes, LARGE));
    SHOW(get(bytes, places.large + LARGE - PAGE, 2 * PAGE));
    SHOW(get(bytes, places.large + LARGE, 1));
    SHOW(put(places.large + LARGE - 10, "0123456789", 10));
    SHOW(put(places.large + LARGE - 1, "9x", 2));
    SHOW(get(bytes, places.read_only, PAGE));
    CHECK(is_filled(bytes, PAGE));
    SHOW(put(places.read_only, "x", 1));
    SHOW(get(bytes, places.none, 1));
    SHOW(put(places.none, "x", 1));
    SHOW(get(bytes, places.shared, 2 * PAGE));
    CHECK(is_filled(bytes, 2 * PAGE));
    SHOW(put(places.shared + PAGE - 2, "both", 4));
    SHOW(get(bytes, places.file, 17));
    CHECK(!memcmp(bytes, "what a file holds", 17));
    SHOW(get(bytes, places.local, 100));
    CHECK(bytes[0] == 'l' && bytes[99] == 'l');
    SHOW(put(places.local, "on the stack", 12));
    SHOW(get(bytes, places.code, 64));
    CHECK(!memcmp(bytes, (const void *)serve, 64));
    several(bytes);
    static const unsigned long nowhere[] = {0, 8, 0x7ffffffff000, 0x800000000000, 0xffff800000000000, -PAGE};
    for (size_t i = 0; i < sizeof nowhere / sizeof *nowhere; i++)
        SHOW(get(bytes, (void *)nowhere[i], 8));
    /* This side has to be there as well. */
    SHOW(get((void *)8, places.large, 8));
    SHOW(put(places.large, (void *)8, 8));
    SHOW(get(bytes, places.large, 0));
    SHOW(process_vm_readv(places.pid, NULL, 0, NULL, 0, 0));
    SHOW(process_vm_readv(places.pid, NULL, 0, NULL, 0, 1));
    pid_t peer = places.pid;
    places.pid = 999999999;
    SHOW(get(bytes, peer ? places.large : NULL, 8));
    /* The own process is one like any other. */
    places.pid = getpid();
    strcpy(bytes, "own");
    SHOW(get(bytes + 2 * PAGE, bytes, 4));
    CHECK(!strcmp(bytes + 2 * PAGE, "own"));
    SHOW(put(bytes, "new", 4));
    CHECK(!strcmp(bytes, "new"));
}

/* A copy is a touch. */
static void untouched(void) {
    int in = open("places", O_RDONLY);
    CHECK(read(in, &places, sizeof places) == sizeof places);
    char *bytes = map(LARGE, PROT_READ | PROT_WRITE);
    memset(bytes, 1, LARGE);
    SHOW(get(bytes, places.sparse + LARGE / 2, 2 * PAGE));
    CHECK(!bytes[0] && !memcmp(bytes, bytes + 1, 2 * PAGE - 1) && bytes[2 * PAGE] == 1);
    fill(bytes, LARGE);
    SHOW(put(places.sparse + PAGE, bytes, LARGE - PAGE));
    SHOW(put(places.opened + 2 * PAGE - 2, "both", 4));
    SHOW(put(places.deep + PAGE, bytes, LARGE / 4));
    /* No more is touched than is copied. */
    struct iovec little = {bytes, 100}, vast = {places.vast, VAST};
    SHOW(process_vm_readv(places.pid, &little, 1, &vast, 1, 0));
    SHOW(process_vm_writev(places.pid, &little, 1, &vast, 1, 0));
    /* Several pieces, of which the last two are not there at all. */
    struct iovec here = {bytes, LARGE};
    struct iovec there[] = {{places.opened + 20 * PAGE, 10}, {places.opened + LARGE - 10, 10}, {places.none, 10}, {(void *)8, 10}};
    SHOW(process_vm_readv(places.pid, &here, 1, there, 4, 0));
    SHOW(process_vm_writev(places.pid, &here, 1, there + 2, 2, 0));
}

int main(int argc, char **argv) {
    static const struct section sections[] = {{"serve", serve}, {"reach", reach}, {"serve_untouched", serve_untouched}, {"untouched", untouched}, {NULL, NULL}};
    return run_section(argc, argv, sections);
}
