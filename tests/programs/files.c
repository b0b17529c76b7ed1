/* Files, directories, links and pipes, all inside the working directory. */
#define _GNU_SOURCE
#include "show.h"
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static void put(const char *name, const char *text) {
    int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
        printf("put %s: %s\n", name, strerror(errno));
    close(fd);
}

static void show_stat(const char *what, const struct stat *status) {
    printf("%s: mode %o links %lu size %ld\n", what, status->st_mode, (unsigned long)status->st_nlink,
           S_ISDIR(status->st_mode) ? 0L : (long)status->st_size);
}

static void section_read_write(void) {
    umask(022);
    int fd = open("file", O_RDWR | O_CREAT | O_EXCL, 0666);
    SHOW(fd);
    SHOW(open("file", O_RDWR | O_CREAT | O_EXCL, 0666));
    SHOW(write(fd, "hello, world", 12));
    SHOW(lseek(fd, 0, SEEK_SET));
    char text[64] = "";
    SHOW(read(fd, text, sizeof text));
    puts(text);
    SHOW(read(fd, text, sizeof text));
    SHOW(pwrite(fd, "HELLO", 5, 0));
    SHOW(pread(fd, text, 8, 3));
    printf("%.8s\n", text);
    SHOW(lseek(fd, 0, SEEK_CUR));
    SHOW(lseek(fd, -4, SEEK_END));
    SHOW(lseek(fd, 1 << 20, SEEK_SET));
    SHOW(write(fd, "far", 3));
    SHOW(lseek(fd, 0, SEEK_END));
    SHOW(lseek(fd, -1, SEEK_SET));
    SHOW(lseek(fd, 0, 99));
    SHOW(lseek(fd, 0, SEEK_DATA));
    SHOW(write(fd, "", 0));
    SHOW(read(fd, text, 0));
    size_t length = 5 << 20;
    char *large = malloc(length);
    fill(large, length);
    SHOW(pwrite(fd, large, length, 77));
    memset(large, 0, length);
    SHOW(pread(fd, large, length, 77));
    CHECK(is_filled(large, length));
    SHOW(close(fd));
    SHOW(close(fd));
    SHOW(read(fd, text, 1));
    SHOW(open("file", O_RDONLY));
    SHOW(write(fd, "x", 1));
    SHOW(open("missing", O_RDONLY));
    SHOW(open("file/under", O_RDONLY));
    SHOW(open(".", O_WRONLY));
    SHOW(open("file", O_RDONLY | O_DIRECTORY));
    SHOW(open("", O_RDONLY));
    char name[300];
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = 0;
    SHOW(open(name, O_RDONLY));
    SHOW(open("append", O_WRONLY | O_CREAT | O_APPEND, 0600));
    SHOW(write(4, "one ", 4));
    SHOW(lseek(4, 0, SEEK_SET));
    SHOW(write(4, "two", 3));
    SHOW(creat("created", 0640));
}

static void section_vectors(void) {
    int fd = open("vector", O_RDWR | O_CREAT, 0600);
    char one[] = "one ", two[] = "two ", three[] = "three";
    struct iovec out[] = {{one, 4}, {two, 4}, {NULL, 0}, {three, 5}};
    SHOW(writev(fd, out, 4));
    SHOW(pwritev(fd, out, 2, 100));
    char a[3] = "", b[20] = "";
    struct iovec in[] = {{a, 2}, {b, 19}};
    SHOW(lseek(fd, 0, SEEK_SET));
    SHOW(readv(fd, in, 2));
    printf("\"%s\" \"%s\"\n", a, b);
    SHOW(preadv(fd, in, 2, 100));
    printf("\"%.2s\" \"%.6s\"\n", a, b);
    SHOW(preadv2(fd, in, 2, 0, 0));
    SHOW(syscall(SYS_writev, fd, out, 0));
    SHOW(syscall(SYS_writev, fd, out, -1));
    SHOW(syscall(SYS_writev, fd, out, 5000));
    static struct iovec many[1024];
    static char bytes[1024];
    for (int i = 0; i < 1024; i++) {
        bytes[i] = (char)('a' + i % 26);
        many[i] = (struct iovec){&bytes[i], 1};
    }
    SHOW(pwritev(fd, many, 1024, 200));
    char check_bytes[1024];
    SHOW(pread(fd, check_bytes, 1024, 200));
    CHECK(!memcmp(bytes, check_bytes, 1024));
}

static void section_status(void) {
    umask(0);
    put("file", "12345");
    struct stat status;
    SHOW(stat("file", &status));
    show_stat("file", &status);
    CHECK(status.st_uid == getuid() && status.st_blksize > 0 && status.st_nlink == 1);
    SHOW(chmod("file", 0751));
    SHOW(symlink("file", "symbolic"));
    SHOW(lstat("symbolic", &status));
    show_stat("symbolic", &status);
    SHOW(stat("symbolic", &status));
    show_stat("followed", &status);
    int fd = open("file", O_RDWR);
    SHOW(fstat(fd, &status));
    SHOW(fchmod(fd, 0600));
    SHOW(fstatat(AT_FDCWD, "symbolic", &status, AT_SYMLINK_NOFOLLOW));
    SHOW(fstatat(fd, "", &status, AT_EMPTY_PATH));
    struct statx extended;
    SHOW(statx(AT_FDCWD, "file", 0, STATX_BASIC_STATS, &extended));
    printf("statx: mode %o size %llu\n", extended.stx_mode, (unsigned long long)extended.stx_size);
    CHECK(extended.stx_ino == status.st_ino);
    struct timespec times[2] = {{1000000000, 5}, {1234567890, 987654321}};
    SHOW(utimensat(AT_FDCWD, "file", times, 0));
    SHOW(stat("file", &status));
    printf("times %ld %ld.%09ld\n", status.st_atim.tv_sec, status.st_mtim.tv_sec, status.st_mtim.tv_nsec);
    SHOW(stat("missing", &status));
    SHOW(stat("file/x", &status));
    SHOW(access("file", R_OK));
    SHOW(access("missing", F_OK));
    SHOW(faccessat(AT_FDCWD, "file", F_OK, 0));
    struct statfs system;
    SHOW(statfs(".", &system));
    CHECK(system.f_bsize > 0);
    SHOW(fstatfs(fd, &system));
    SHOW(stat("/proc/self", &status));
    SHOW(ftruncate(fd, 3));
    SHOW(truncate("file", 10));
    SHOW(truncate("missing", 10));
    SHOW(ftruncate(fd, -1));
    char text[11] = "";
    SHOW(pread(fd, text, 10, 0));
    CHECK(!memcmp(text, "123\0\0\0\0\0\0\0", 10));
    SHOW(fsync(fd));
    SHOW(fdatasync(fd));
    SHOW(fallocate(fd, 0, 0, 8192));
    SHOW(fstat(fd, &status));
    show_stat("allocated", &status);
    SHOW(umask(077));
    SHOW(umask(022));
}

static int compare_names(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void list(const char *path) {
    DIR *directory = opendir(path);
    if (!directory) {
        printf("opendir %s: %s\n", path, strerror(errno));
        return;
    }
    static char *names[4096];
    size_t count = 0;
    for (struct dirent *entry; (entry = readdir(directory)) && count < 4096;) {
        char line[600];
        snprintf(line, sizeof line, "%s type %d", entry->d_name, entry->d_type);
        names[count++] = strdup(line);
    }
    closedir(directory);
    qsort(names, count, sizeof *names, compare_names);
    printf("%s has %zu entries\n", path, count);
    for (size_t i = 0; i < count && i < 12; i++)
        puts(names[i]);
}

static void section_directories(void) {
    umask(022);
    SHOW(mkdir("directory", 0755));
    SHOW(mkdir("directory", 0755));
    SHOW(mkdir("no/parent", 0755));
    put("directory/a", "a");
    put("directory/b", "b");
    SHOW(mkdir("directory/c", 0700));
    SHOW(symlink("a", "directory/d"));
    SHOW(mkfifo("directory/e", 0600));
    list("directory");
    list("missing");
    SHOW(mkdir("many", 0755));
    for (int i = 0; i < 1500; i++) {
        char name[64];
        snprintf(name, sizeof name, "many/entry-with-a-longer-name-%d", i);
        put(name, "");
    }
    list("many");
    int fd = open("directory", O_RDONLY | O_DIRECTORY);
    SHOW(openat(fd, "a", O_RDONLY));
    SHOW(mkdirat(fd, "f", 0755));
    SHOW(fchdir(fd));
    char path[PATH_MAX];
    CHECK(getcwd(path, sizeof path) && !strcmp(strrchr(path, '/'), "/directory"));
    SHOW(chdir("f"));
    SHOW(chdir("../.."));
    SHOW(chdir("missing"));
    CHECK(getcwd(path, 2) == NULL && errno == ERANGE);
    SHOW(rmdir("directory/c"));
    SHOW(rmdir("directory"));
    SHOW(rmdir("directory/a"));
    SHOW(unlink("directory/f"));
    SHOW(unlinkat(fd, "f", AT_REMOVEDIR));
    char buffer[8];
    SHOW(syscall(SYS_getdents64, fd, buffer, sizeof buffer));
    /* Nothing is filled beyond the entries. */
    static char entries[1 << 16];
    int here = open(".", O_RDONLY | O_DIRECTORY);
    SHOW(syscall(SYS_getdents64, here, entries, 0x7fffffff) > 0);
    SHOW(syscall(SYS_getdents64, here, entries, 0x7fffffff));
    SHOW(syscall(SYS_getdents64, 0, buffer, sizeof buffer));
}

static void section_names(void) {
    put("old", "old");
    put("other", "other");
    SHOW(rename("old", "new"));
    SHOW(rename("old", "new"));
    SHOW(rename("new", "other"));
    SHOW(mkdir("directory", 0755));
    SHOW(rename("other", "directory"));
    SHOW(rename("other", "directory/moved"));
    SHOW(link("directory/moved", "hard"));
    SHOW(link("directory/moved", "hard"));
    SHOW(link("missing", "hard2"));
    struct stat status;
    stat("hard", &status);
    show_stat("hard", &status);
    SHOW(unlink("directory/moved"));
    SHOW(unlink("directory/moved"));
    SHOW(symlink("hard", "symbolic"));
    SHOW(symlink("nowhere", "dangling"));
    SHOW(symlink("loop", "loop"));
    char text[64] = "";
    SHOW(readlink("symbolic", text, sizeof text));
    puts(text);
    SHOW(readlink("symbolic", text, 2));
    SHOW(readlink("hard", text, sizeof text));
    SHOW(open("dangling", O_RDONLY));
    SHOW(open("loop", O_RDONLY));
    SHOW(open("symbolic", O_RDONLY | O_NOFOLLOW));
    SHOW(renameat2(AT_FDCWD, "symbolic", AT_FDCWD, "hard", RENAME_NOREPLACE));
    SHOW(renameat(AT_FDCWD, "symbolic", AT_FDCWD, "renamed"));
    SHOW(unlink("directory"));
    SHOW(unlink("renamed"));
    /* A deleted file lives on while it is open. */
    int fd = open("hard", O_RDONLY);
    SHOW(unlink("hard"));
    SHOW(read(fd, text, 5));
    printf("%.5s\n", text);
    SHOW(fstat(fd, &status));
    show_stat("deleted", &status);
}

static void section_descriptors(void) {
    put("file", "0123456789");
    int fd = open("file", O_RDWR);
    SHOW(dup(fd));
    char text[16] = "";
    SHOW(read(3, text, 4));
    SHOW(read(4, text, 2));
    printf("%.2s\n", text);
    SHOW(dup2(fd, 50));
    SHOW(dup2(fd, fd));
    SHOW(dup2(99, 51));
    SHOW(dup3(fd, 52, O_CLOEXEC));
    SHOW(dup3(fd, fd, 0));
    SHOW(fcntl(52, F_GETFD));
    SHOW(fcntl(50, F_GETFD));
    SHOW(fcntl(50, F_SETFD, FD_CLOEXEC));
    SHOW(fcntl(50, F_GETFD));
    SHOW(fcntl(fd, F_DUPFD, 60));
    SHOW(fcntl(fd, F_DUPFD_CLOEXEC, 60));
    SHOW(fcntl(fd, F_GETFL) & (O_ACCMODE | O_APPEND | O_NONBLOCK));
    SHOW(fcntl(fd, F_SETFL, O_APPEND));
    SHOW(fcntl(4, F_GETFL) & (O_ACCMODE | O_APPEND | O_NONBLOCK));
    SHOW(write(fd, "end", 3));
    SHOW(lseek(4, 0, SEEK_CUR));
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 5};
    SHOW(fcntl(fd, F_SETLK, &lock));
    SHOW(fcntl(fd, F_GETLK, &lock));
    printf("lock type %d\n", lock.l_type);
    SHOW(flock(fd, LOCK_EX | LOCK_NB));
    int other = open("file", O_RDWR);
    SHOW(flock(other, LOCK_EX | LOCK_NB));
    SHOW(flock(fd, LOCK_UN));
    SHOW(close(3));
    SHOW(open("file", O_RDONLY));
    SHOW(fcntl(1234, F_GETFD));
    SHOW(fcntl(3, 9999));
    int available;
    SHOW(ioctl(3, FIONREAD, &available));
    SHOW(available);
    SHOW(isatty(3));
    SHOW(ioctl(1234, FIONREAD, &available));
    SHOW(close(-1));
    SHOW(close_range(50, 70, 0));
    SHOW(fcntl(60, F_GETFD));
    /* The /proc names of own descriptors lead to the file. */
    int again = open("/proc/self/fd/4", O_RDONLY);
    CHECK(again >= 0);
    SHOW(pread(again, text, 3, 0));
    /* The number of descriptors that are open before the program opens any: 0, 1, 2. */
    SHOW(fcntl(0, F_GETFD) == 0 && fcntl(1, F_GETFD) == 0 && fcntl(2, F_GETFD) == 0);
}

static void section_pipes(void) {
    int ends[2];
    SHOW(pipe(ends));
    printf("descriptors %d %d\n", ends[0], ends[1]);
    SHOW(write(ends[1], "through a pipe", 14));
    char text[32] = "";
    int available;
    SHOW(ioctl(ends[0], FIONREAD, &available));
    SHOW(available);
    SHOW(read(ends[0], text, 7));
    SHOW(read(ends[0], text, sizeof text));
    printf("%.7s\n", text);
    SHOW(lseek(ends[0], 0, SEEK_SET));
    SHOW(write(ends[0], "x", 1));
    SHOW(read(ends[1], text, 1));
    SHOW(close(ends[1]));
    SHOW(read(ends[0], text, 1));
    SHOW(pipe2(ends, O_NONBLOCK | O_CLOEXEC));
    SHOW(read(ends[0], text, 1));
    static char block[4096];
    long total = 0;
    while (write(ends[1], block, sizeof block) == sizeof block)
        total += sizeof block;
    CHECK(errno == EAGAIN);
    SHOW(total == fcntl(ends[1], F_GETPIPE_SZ));
    SHOW(pipe2(ends, 0x55));
    SHOW(mkfifo("fifo", 0600));
    int fifo = open("fifo", O_RDWR);
    SHOW(write(fifo, "fifo", 4));
    SHOW(read(fifo, text, 4));
    SHOW(open("fifo", O_WRONLY | O_NONBLOCK) >= 0);
    put("source", "sent from file to file");
    int from = open("source", O_RDONLY), to = open("sink", O_WRONLY | O_CREAT, 0600);
    SHOW(sendfile(to, from, NULL, 100));
    off_t offset = 5;
    SHOW(sendfile(to, from, &offset, 4));
    SHOW(offset);
}

/* A mapping of a file as the buffer, and a large one. */
static void section_mapped_buffer(void) {
    enum { BYTES = 64 << 20 };
    int file = open("large", O_RDWR | O_CREAT, 0600), zero = open("/dev/zero", O_RDONLY);
    int null = open("/dev/null", O_WRONLY);
    SHOW(ftruncate(file, BYTES));
    char *memory = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    memset(memory, 1, BYTES);
    for (long done = 0, part; done < BYTES; done += part) {
        part = read(zero, memory + done, BYTES - done);
        if (part <= 0) {
            SHOW(part);
            break;
        }
    }
    CHECK(is_zero(memory, BYTES));
    struct iovec halves[2] = {{memory, BYTES / 2}, {memory + BYTES / 2, BYTES / 2}};
    CHECK(writev(null, halves, 2) > 0);
    CHECK(write(null, memory, BYTES) > 0);
    SHOW(unlink("large"));
}

int main(int argc, char **argv) {
    static const struct section sections[] = {
        {"read_write", section_read_write}, {"vectors", section_vectors}, {"status", section_status},
        {"directories", section_directories}, {"names", section_names},
        {"descriptors", section_descriptors}, {"pipes", section_pipes}, {"mapped_buffer", section_mapped_buffer}, {NULL, NULL}};
    return run_section(argc, argv, sections);
}
