/* What a program reads about itself in /proc. */
#define _GNU_SOURCE
#include "show.h"
#include <dirent.h>
#include <elf.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define PAGE 4096ul

static char **arguments, **environment;

/* The whole file, with a zero byte behind it. */
static char *content(const char *path, size_t *length) {
    size_t room = 1 << 20, used = 0;
    char *text = malloc(room + 1);
    int fd = open(path, O_RDONLY);
    ssize_t more = fd < 0 ? -1 : 0;
    while (fd >= 0 && (more = read(fd, text + used, room - used)) > 0)
        used += more;
    if (more < 0)
        printf("%s: %s\n", path, strerror(errno));
    if (fd >= 0)
        close(fd);
    text[used] = 0;
    if (length)
        *length = used;
    return text;
}

struct line {
    unsigned long start, end, offset, inode;
    unsigned major, minor;
    char permissions[5], name[256];
};

/* The line that holds an address; start is 0 when there is none. */
static struct line find_in(const char *path, const void *address) {
    char *text = content(path, NULL);
    struct line found = {0};
    unsigned long last = 0;
    int good = 1;
    for (char *at = strtok(text, "\n"); at; at = strtok(NULL, "\n")) {
        struct line line = {0};
        int fields = sscanf(at, "%lx-%lx %4s %lx %x:%x %lu %255[^\n]", &line.start, &line.end, line.permissions,
                            &line.offset, &line.major, &line.minor, &line.inode, line.name);
        good &= fields >= 7 && line.start < line.end && line.start >= last;
        /* Names begin in the 74th column, or the line ends with a blank. */
        good &= fields == 8 ? at[72] == ' ' && at[73] != ' ' : at[strlen(at) - 1] == ' ';
        last = line.end;
        if (line.start <= (unsigned long)address && (unsigned long)address < line.end)
            found = line;
    }
    free(text);
    if (!good)
        printf("%s: a line is not as it should be\n", path);
    return found;
}

static struct line find(const void *address) {
    return find_in("/proc/self/maps", address);
}

static int is_file(const struct line *line, int fd) {
    struct stat status;
    fstat(fd, &status);
    return line->inode == status.st_ino && line->major == major(status.st_dev) && line->minor == minor(status.st_dev);
}

static int data = 5;

/* Code that comes from no file: a program of C has none. */
static int nameless_code(void) {
    char *text = content("/proc/self/maps", NULL);
    int count = 0;
    for (char *at = strtok(text, "\n"); at; at = strtok(NULL, "\n"))
        count += at[strcspn(at, " ") + 3] == 'x' && at[strlen(at) - 1] == ' ';
    free(text);
    return count;
}

static void section_areas(void) {
    for (int i = 0; i < 100; i++)
        getppid();
    SHOW(nameless_code());
    char executable[256] = "";
    CHECK(readlink("/proc/self/exe", executable, sizeof executable - 1) > 0);
    struct line line = find((void *)section_areas);
    CHECK(!strcmp(line.permissions, "r-xp") && !strcmp(line.name, executable));
    CHECK(line.inode != 0);
    line = find(&data);
    CHECK(!strcmp(line.permissions, "rw-p"));
    int local;
    line = find(&local);
    CHECK(!strcmp(line.permissions, "rw-p") && !strcmp(line.name, "[stack]"));
    sbrk(PAGE);
    line = find((char *)sbrk(0) - 1);
    CHECK(!strcmp(line.permissions, "rw-p") && !strcmp(line.name, "[heap]"));
    CHECK(line.end == (((unsigned long)sbrk(0) + PAGE - 1) & -PAGE));
    line = find((void *)printf);
    CHECK(line.inode && strstr(line.name, "libc"));
    CHECK(!find((void *)8).start);
}

static void section_mappings(void) {
    char *memory = mmap(NULL, 8 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect(memory + 2 * PAGE, 4 * PAGE, PROT_READ | PROT_WRITE);
    munmap(memory + 3 * PAGE, PAGE);
    struct line line = find(memory + 2 * PAGE);
    CHECK(line.start == (unsigned long)memory + 2 * PAGE && line.end == line.start + PAGE);
    CHECK(!strcmp(line.permissions, "rw-p") && !line.name[0] && !line.inode && !line.offset);
    CHECK(!find(memory + 3 * PAGE).start);
    line = find(memory + 7 * PAGE);
    CHECK(!strcmp(line.permissions, "---p") && line.start == (unsigned long)memory + 6 * PAGE);
    line = find(mmap(NULL, PAGE, PROT_READ, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    CHECK(!strcmp(line.permissions, "r--s") && !strcmp(line.name, "/dev/zero (deleted)") && line.inode);
}

static void section_files(void) {
    int fd = open("mapped file", O_RDWR | O_CREAT | O_TRUNC, 0644);
    SHOW(ftruncate(fd, 6 * PAGE));
    char *private = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 2 * PAGE);
    private[PAGE] = 1;
    mprotect(private + 2 * PAGE, PAGE, PROT_READ);
    struct line line = find(private + 2 * PAGE);
    CHECK(line.start == (unsigned long)private + 2 * PAGE && line.end == line.start + PAGE);
    /* Not fstat's numbers: on an overlay Linux tells other ones. */
    CHECK(line.offset == 4 * PAGE && line.inode && !strcmp(line.permissions, "r--p"));
    CHECK(line.name[0] == '/' && strstr(line.name, "/mapped file"));
    close(fd);
    unlink("mapped file");
    line = find(private);
    CHECK(line.offset == 2 * PAGE && strstr(line.name, "/mapped file (deleted)"));
    char *place = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *moved = mremap(private, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, place);
    line = find(moved);
    CHECK(line.offset == 2 * PAGE && strstr(line.name, "/mapped file (deleted)"));
    int memfd = memfd_create("a name", 0);
    SHOW(ftruncate(memfd, 3 * PAGE));
    line = find(mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, PAGE));
    CHECK(line.offset == PAGE && is_file(&line, memfd) && !strcmp(line.permissions, "rw-s"));
    CHECK(!strcmp(line.name, "/memfd:a name (deleted)"));
    int id = shmget(IPC_PRIVATE, PAGE, 0600);
    line = find(shmat(id, NULL, 0));
    shmctl(id, IPC_RMID, NULL);
    CHECK(!strcmp(line.permissions, "rw-s") && !strncmp(line.name, "/SYSV", 5) && line.inode == (unsigned long)id);
}

/* Who the caller is by the links in /proc. */
static void show_links(void) {
    char expected[64], target[64] = "";
    int len = snprintf(expected, sizeof expected, "%d", getpid());
    CHECK(readlink("/proc/self", target, sizeof target) == len && !memcmp(target, expected, len));
    CHECK(readlink("/proc/./self", target, 1) == 1 && target[0] == expected[0]);
    SHOW(readlink("/proc/self/", target, sizeof target));
    SHOW(syscall(SYS_readlink, "/proc/self", target, 0));
    char *volatile nowhere = (char *)8;
    SHOW(readlink("/proc/self", nowhere, sizeof target));
    len = snprintf(expected, sizeof expected, "%d/task/%d", getpid(), gettid());
    CHECK(readlinkat(-1, "/proc/thread-self", target, sizeof target) == len && !memcmp(target, expected, len));
}

static void *in_thread(void *argument) {
    char path[64], name[32] = "";
    (void)argument;
    show_links();
    pthread_setname_np(pthread_self(), "second");
    snprintf(path, sizeof path, "/proc/self/task/%d/maps", gettid());
    CHECK(find_in(path, &data).start != 0);
    CHECK(find_in("/proc/thread-self/maps", name).start != 0);
    snprintf(path, sizeof path, "/proc/%d/task/%d/comm", getpid(), gettid());
    printf("%s", content(path, NULL));
    printf("%s", content("/proc/thread-self/comm", NULL));
    char *threads = strstr(content("/proc/self/status", NULL), "\nThreads:");
    SHOW(atoi(threads + 9));
    return NULL;
}

static void section_threads(void) {
    show_links();
    prctl(PR_SET_NAME, "first");
    pthread_t thread;
    pthread_create(&thread, NULL, in_thread, NULL);
    pthread_join(thread, NULL);
    printf("%s", content("/proc/self/comm", NULL));
    SHOW(open("/proc/self/task/1234567890/maps", O_RDONLY));
    SHOW(open("/proc/self/task/1/maps", O_RDONLY));
    pthread_attr_t attributes;
    pthread_getattr_np(pthread_self(), &attributes);
    char *stack;
    size_t size;
    pthread_attr_getstack(&attributes, (void **)&stack, &size);
    CHECK((char *)&size >= stack && (char *)&size < stack + size);
}

static pthread_barrier_t counted;

static void *waits(void *argument) {
    pthread_barrier_wait(&counted);
    pthread_barrier_wait(&counted);
    return argument;
}

static int threads_in(int directory, int *has_first) {
    DIR *stream = fdopendir(openat(directory, ".", O_RDONLY | O_DIRECTORY));
    int count = 0;
    *has_first = 0;
    for (struct dirent *entry; (entry = readdir(stream));) {
        if (entry->d_name[0] == '.')
            continue;
        char path[300], text[32] = "";
        struct stat status;
        snprintf(path, sizeof path, "/proc/self/task/%s", entry->d_name);
        CHECK(stat(path, &status) == 0 && S_ISDIR(status.st_mode));
        snprintf(path, sizeof path, "%s/comm", entry->d_name);
        int fd = openat(directory, path, O_RDONLY);
        CHECK(read(fd, text, sizeof text) == 7 && !strcmp(text, "procfs\n"));
        close(fd);
        *has_first |= atoi(entry->d_name) == getpid();
        count++;
    }
    closedir(stream);
    return count;
}

/* The directory of the threads. */
static void section_task(void) {
    int has_first, directory = open("/proc/self/task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CHECK(fcntl(directory, F_GETFD) == FD_CLOEXEC);
    SHOW(threads_in(directory, &has_first));
    SHOW(has_first);
    pthread_t threads[3];
    pthread_barrier_init(&counted, NULL, 4);
    for (int number = 0; number < 3; number++)
        pthread_create(&threads[number], NULL, waits, NULL);
    pthread_barrier_wait(&counted);
    close(directory);
    directory = open("/proc/self/task/", O_RDONLY);
    SHOW(threads_in(directory, &has_first));
    SHOW(has_first);
    pthread_barrier_wait(&counted);
    for (int number = 0; number < 3; number++)
        pthread_join(threads[number], NULL);
    close(directory);
    directory = open("/proc/self/./task", O_RDONLY);
    SHOW(threads_in(directory, &has_first));
    close(directory);
    SHOW(open("/proc/self/task", O_RDWR));
    SHOW(access("/proc/self/task/1234567890", F_OK));
    SHOW(access("/proc/self/task/1234567890/comm", F_OK));
}

/* How much of it is in memory. */
static void section_resident(void) {
    enum { BYTES = 3 << 20 };
    char *memory = mmap(NULL, BYTES + 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect(memory, 4096, PROT_NONE);
    mprotect(memory + 4096 + BYTES, 4096, PROT_NONE);
    memory += 4096;
    memset(memory, 1, BYTES);
    const char *text = content("/proc/self/smaps", NULL);
    char head[32];
    snprintf(head, sizeof head, "%08lx-%08lx rw-p", (unsigned long)memory, (unsigned long)memory + BYTES);
    const char *area = strstr(text, head);
    CHECK(area != NULL);
    if (area) {
        CHECK(!strncmp(strstr(area, "\nSize:"), "\nSize:               3072 kB\n", 29));
        CHECK(atol(strstr(area, "\nRss:") + 5) == 3072);
        CHECK(atol(strstr(area, "\nPrivate_Dirty:") + 15) == 3072);
    }
    CHECK(strstr(text, "[stack]\nSize:") && strstr(text, "libc.so.6\nSize:"));
    text = content("/proc/self/smaps_rollup", NULL);
    CHECK(strstr(text, "[rollup]\nRss: ") && atol(strstr(text, "\nRss:") + 5) >= 3072);
    long size, resident, shared, code, zero, data;
    CHECK(sscanf(content("/proc/self/statm", NULL), "%ld %ld %ld %ld %ld %ld", &size, &resident, &shared, &code,
                 &zero, &data) == 6);
    CHECK(resident >= 768 && resident <= size && shared < resident && zero == 0 && data >= 768 && code > 0);
    /* The kernel's own memory is not in it: a gigabyte would be. */
    CHECK(size < 1 << 18);
}

/* The ways to open such a file. */
static void section_paths(void) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/maps", getpid());
    CHECK(find_in(path, &data).start != 0);
    int directory = open("/proc/self", O_RDONLY | O_DIRECTORY);
    int fd = openat(directory, "maps", O_RDONLY | O_CLOEXEC);
    CHECK(fcntl(fd, F_GETFD) == FD_CLOEXEC);
    CHECK((fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDONLY);
    char first[4096], again[4096];
    ssize_t count = read(fd, first, sizeof first), expected = count;
    CHECK(count > 0);
    CHECK(lseek(fd, 0, SEEK_SET) == 0);
    for (ssize_t more; count > 0 && (more = read(fd, again + expected - count, count)) > 0; count -= more)
        ;
    CHECK(!memcmp(first, again, expected));
    SHOW(write(fd, "x", 1));
    CHECK(dup(fd) == fd + 1);
    SHOW(chdir("/proc/self"));
    CHECK(find_in("maps", &data).start != 0);
    CHECK(find_in("./task/../maps", &data).start != 0);
    SHOW(chdir("/proc/1"));
    CHECK(strcmp(content("comm", NULL), "procfs\n"));
    SHOW(open("/proc/self/maps/x", O_RDONLY));
    SHOW(open("/proc/self/maps", O_RDONLY | O_DIRECTORY));
}

static void section_start(void) {
    size_t length;
    char *line = content("/proc/self/cmdline", &length), *at = line;
    int good = 1;
    for (char **argument = arguments; *argument; at += strlen(at) + 1, argument++)
        good &= !strcmp(at, *argument);
    CHECK(good && at == line + length);
    /* Programs that change their title write over their arguments. */
    arguments[1][0] = 'S';
    CHECK(content("/proc/self/cmdline", NULL)[strlen(arguments[0]) + 1] == 'S');
    char *variables = content("/proc/self/environ", &length);
    good = 1;
    at = variables;
    for (char **variable = environment; *variable; at += strlen(at) + 1, variable++)
        good &= !strcmp(at, *variable);
    CHECK(good && at == variables + length);
    Elf64_auxv_t *vector = (Elf64_auxv_t *)content("/proc/self/auxv", &length);
    CHECK(length % sizeof *vector == 0 && length > 10 * sizeof *vector);
    good = 1;
    for (; vector->a_type != AT_NULL; vector++)
        /* The C library has its own mind about what the hardware can do. */
        good &= vector->a_type == AT_HWCAP || vector->a_type == AT_HWCAP2 ||
                getauxval(vector->a_type) == vector->a_un.a_val;
    CHECK(good && vector->a_un.a_val == 0);
}

static unsigned long field(const char *text, int number) {
    for (text = strrchr(text, ')') + 2, number -= 3; number > 0; number--)
        text = strchr(text, ' ') + 1;
    return strtoul(text, NULL, 10);
}

static void section_numbers(void) {
    prctl(PR_SET_NAME, "a) name");
    char *stat = content("/proc/self/stat", NULL);
    CHECK(atoi(stat) == getpid());
    CHECK(strstr(stat, " (a) name) R ") != NULL);
    SHOW(field(stat, 4) == (unsigned long)getppid());
    SHOW(field(stat, 20));
    unsigned long size = field(stat, 23), resident = field(stat, 24) * PAGE;
    char *memory = mmap(NULL, 64 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(memory, 1, 64 << 20);
    stat = content("/proc/self/stat", NULL);
    CHECK(field(stat, 23) >= size + (64 << 20));
    CHECK(field(stat, 24) * PAGE > resident + (60 << 20));
    CHECK(field(stat, 26) <= (unsigned long)section_numbers && (unsigned long)section_numbers < field(stat, 27));
    CHECK(field(stat, 28) > (unsigned long)&stat);
    CHECK(field(stat, 48) == (unsigned long)arguments[0]);
    char *status = content("/proc/self/status", NULL);
    CHECK(!strncmp(status, "Name:\ta) name\n", 14));
    CHECK(atol(strstr(status, "\nPid:") + 5) == getpid());
    CHECK(atol(strstr(status, "\nVmSize:") + 8) >= 64 << 10);
    CHECK(atol(strstr(status, "\nVmRSS:") + 7) >= 60 << 10);
    signal(SIGUSR1, SIG_IGN);
    signal(SIGUSR2, (void (*)(int))section_numbers);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, NULL);
    status = content("/proc/self/status", NULL);
    CHECK(strtoul(strstr(status, "\nSigBlk:") + 8, NULL, 16) == 1ul << (SIGTERM - 1));
    CHECK(strtoul(strstr(status, "\nSigIgn:") + 8, NULL, 16) >> (SIGUSR1 - 1) & 1);
    CHECK(strtoul(strstr(status, "\nSigCgt:") + 8, NULL, 16) >> (SIGUSR2 - 1) & 1);
    cpu_set_t cpus;
    sched_getaffinity(0, sizeof cpus, &cpus);
    int first = atoi(strstr(status, "\nCpus_allowed_list:") + 19);
    CHECK(CPU_ISSET(first, &cpus));
}

/* What is listed there is there, and is the program's. */
static void section_descriptors(void) {
    static const char *const directories[] = {"/proc/self/fd", "/proc/self/fdinfo", "/proc/thread-self/fd"};
    dup2(0, 200);
    for (int i = 0; i < 3; i++) {
        DIR *stream = opendir(directories[i]);
        int listed = 0, missing = 0, found = 0;
        for (struct dirent *entry; stream && (entry = readdir(stream));) {
            struct stat at;
            listed++;
            missing += fstatat(dirfd(stream), entry->d_name, &at, AT_SYMLINK_NOFOLLOW) != 0;
            missing += entry->d_name[0] != '.' && fcntl(atoi(entry->d_name), F_GETFD) == -1;
            found += !strcmp(entry->d_name, "200");
        }
        printf("%s: found %d, missing %d\n", directories[i], found, missing);
        CHECK(listed >= 6);
        closedir(stream);
    }
}

int main(int argc, char **argv, char **envp) {
    arguments = argv;
    environment = envp;
    static const struct section sections[] = {
        {"areas", section_areas}, {"mappings", section_mappings}, {"files", section_files},
        {"threads", section_threads}, {"paths", section_paths}, {"start", section_start},
        {"task", section_task}, {"resident", section_resident},
        {"descriptors", section_descriptors}, {"numbers", section_numbers}, {NULL, NULL}};
    return run_section(argc, argv, sections);
}
