/* Waits for signals from outside: says "ready", names what arrives, ends with status 3 at
 * SIGTERM. The argument says how it waits: pause, compute, read (on stdin), or default (no handler). */
#include "show.h"
#include <unistd.h>

static volatile sig_atomic_t received[65];

static void take(int signal) {
    received[signal] = 1;
}

static void report(void) {
    static const struct {
        int signal;
        const char *name;
    } known[] = {{SIGUSR1, "SIGUSR1"}, {SIGINT, "SIGINT"}, {SIGTERM, "SIGTERM"}};
    for (int i = 0; i < 3; i++)
        if (received[known[i].signal]) {
            received[known[i].signal] = 0;
            printf("got %s\n", known[i].name);
            if (known[i].signal == SIGTERM)
                exit(3);
        }
}

int main(int argc, char **argv) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    const char *how = argc > 1 ? argv[1] : "pause";
    sigset_t set, none;
    sigemptyset(&set);
    sigemptyset(&none);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    struct sigaction action = {.sa_handler = take};
    if (strcmp(how, "default")) {
        sigaction(SIGUSR1, &action, NULL);
        sigaction(SIGINT, &action, NULL);
        sigaction(SIGTERM, &action, NULL);
    }
    if (!strcmp(how, "pause"))
        sigprocmask(SIG_BLOCK, &set, NULL);
    puts("ready");
    for (;;) {
        char byte;
        if (!strcmp(how, "pause"))
            sigsuspend(&none);
        else if (!strcmp(how, "read")) {
            if (read(0, &byte, 1) == 0)
                return 97;
        } else if (!strcmp(how, "default"))
            pause();
        report();
    }
}
