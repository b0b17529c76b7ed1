/* What a program learns of the machine: the processors that it has, by every way that libraries ask. */
#define _GNU_SOURCE
#include "show.h"
#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <unistd.h>

/* The list of processors that `text` is, such as 0-2,5, as a set. */
static cpu_set_t parse(const char *text) {
    cpu_set_t set;
    CPU_ZERO(&set);
    while (*text && *text != '\n') {
        char *end;
        long first = strtol(text, &end, 10), last = first;
        if (*end == '-')
            last = strtol(end + 1, &end, 10);
        for (long cpu = first; cpu <= last; cpu++)
            CPU_SET(cpu, &set);
        text = *end == ',' ? end + 1 : end;
    }
    return set;
}

static char *content(int directory, const char *path) {
    static char text[1 << 16];
    int fd = openat(directory, path, O_RDONLY);
    ssize_t length = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    text[length > 0 ? length : 0] = 0;
    close(fd);
    return text;
}

int main(void) {
    cpu_set_t mine, seen;
    char path[256];
    int root = open("/", O_RDONLY | O_DIRECTORY), found = 0;
    setvbuf(stdout, NULL, _IOLBF, 0);
    sched_getaffinity(0, sizeof mine, &mine);
    printf("processors: %d\n", CPU_COUNT(&mine));
    CHECK(sysconf(_SC_NPROCESSORS_ONLN) == CPU_COUNT(&mine));
    CHECK(sysconf(_SC_NPROCESSORS_CONF) == CPU_COUNT(&mine));
    CHECK(get_nprocs() == CPU_COUNT(&mine));
    for (int way = 0; way < 3; way++) {
        const char *names[] = {"online", "present", "possible"};
        snprintf(path, sizeof path, "/sys/devices/system/cpu/%s", names[way]);
        seen = parse(content(AT_FDCWD, path));
        CHECK(CPU_EQUAL(&seen, &mine));
        seen = parse(content(root, path + 1));
        CHECK(CPU_EQUAL(&seen, &mine));
    }
    CPU_ZERO(&seen);
    DIR *directory = opendir("/sys/devices/system/cpu");
    for (struct dirent *entry; (entry = readdir(directory));) {
        int cpu, length = 0;
        if (sscanf(entry->d_name, "cpu%d%n", &cpu, &length) == 1 && !entry->d_name[length])
            CPU_SET(cpu, &seen);
    }
    CHECK(CPU_EQUAL(&seen, &mine));
    CPU_ZERO(&seen);
    char *line = content(AT_FDCWD, "/proc/cpuinfo");
    for (; line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
        int cpu;
        if (sscanf(line, "processor : %d", &cpu) == 1)
            CPU_SET(cpu, &seen);
    }
    CHECK(CPU_EQUAL(&seen, &mine));
    cpu_set_t of_nodes;
    CPU_ZERO(&of_nodes);
    for (int node = 0; node < 8; node++) {
        snprintf(path, sizeof path, "/sys/devices/system/node/node%d/cpulist", node);
        seen = parse(content(AT_FDCWD, path));
        CPU_OR(&of_nodes, &of_nodes, &seen);
    }
    CHECK(CPU_EQUAL(&of_nodes, &mine));
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        struct stat status;
        snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology", cpu);
        found += stat(path, &status) == 0 && access(path, R_OK | X_OK) == 0;
        if (!CPU_ISSET(cpu, &mine))
            continue;
        snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/package_cpus_list", cpu);
        seen = parse(content(root, path + 1));
        CHECK(CPU_ISSET(cpu, &seen));
        CPU_AND(&seen, &seen, &mine);
        CHECK(CPU_COUNT(&seen) > 0);
        snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/core_id", cpu);
        CHECK(*content(AT_FDCWD, path) != 0);
        snprintf(path, sizeof path, "/sys/devices/system/cpu/../cpu/cpu%d", cpu);
        CHECK(access(path, F_OK) == 0);
    }
    CHECK(found == CPU_COUNT(&mine));
    CHECK(open("/sys/devices/system/cpu/cpu999/online", O_RDONLY) == -1 && errno == ENOENT);
    puts("end");
    return checks_failed;
}
