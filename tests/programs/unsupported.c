/* Calls that Tacet does not have: each must give ENOSYS and the program goes on. The argument
 * picks one; natively they give something else, so this is not compared. */
#define _GNU_SOURCE
#include "show.h"
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void result(const char *name, long value) {
    printf("%s = %ld errno %d\n", name, value, value == -1 ? errno : 0);
}

static void section_fork(void) {
    for (int i = 0; i < 3; i++) {
        pid_t child = fork();
        if (child == 0)
            _exit(1);
        result("fork", child == -1 ? -1 : 0);
        if (child > 0)
            waitpid(child, NULL, 0);
    }
}

/* Three times the same call: it is named once. */
static void section_bpf(void) {
    for (int i = 0; i < 3; i++)
        result("bpf", syscall(SYS_bpf, 9999, NULL, 0));
}

/* A number that nobody has given to a call. */
static void section_unknown(void) {
    result("1234", syscall(1234, 1, 2, 3));
    result("-1", syscall(-1));
}

int main(int argc, char **argv) {
    static const struct section sections[] = {
        {"fork", section_fork}, {"bpf", section_bpf}, {"unknown", section_unknown}, {NULL, NULL}};
    return run_section(argc, argv, sections);
}
