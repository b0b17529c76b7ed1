/*
 * When a program got where: the time-stamp counter at its way stations, on one line.
 *
 *     startup_probe                    prints `probe start=T main=T exit=T` and exits
 *     startup_probe exec COMMAND...    notes the counter as the start, and becomes COMMAND
 *     startup_probe wait               prints `probe waits`, and waits for the end of its standard input
 *
 * Compiled with -DWITH_MPI it is an MPI program, each of whose ranks prints
 * `probe start=T main=T init=T ranks=N`.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <x86intrin.h>
#ifdef WITH_MPI
#include <mpi.h>
#endif

/* Holds the counter before exec. */
#define START_VARIABLE "TACET_BENCH_START"

/* The time-stamp counter, which Linux and a cell read alike, after all that was before. */
static unsigned long long counter(void)
{
    _mm_lfence();
    return __rdtsc();
}

static const char *start(void)
{
    const char *value = getenv(START_VARIABLE);
    return value ? value : "0";
}

/* One call, so that lines of several ranks stay whole. */
static void say(const char *line)
{
    if (write(1, line, strlen(line)) < 0)
        _exit(1);
}

#ifdef WITH_MPI

int main(int argc, char **argv)
{
    unsigned long long at_main = counter(), initialised;
    char line[200];
    int ranks;
    MPI_Init(&argc, &argv);
    initialised = counter();
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    snprintf(line, sizeof line, "probe start=%s main=%llu init=%llu ranks=%d\n", start(), at_main,
             initialised, ranks);
    say(line);
    MPI_Finalize();
    return 0;
}

#else

static int become(char **command)
{
    char noted[32];
    snprintf(noted, sizeof noted, "%llu", counter());
    if (setenv(START_VARIABLE, noted, 1) == 0)
        execvp(command[0], command);
    int error = errno;
    fprintf(stderr, "startup_probe: cannot run %s: %s; check that it is installed\n", command[0],
            strerror(error));
    return error == ENOENT ? 127 : 126;
}

static int wait_for_end_of_input(void)
{
    char byte;
    say("probe waits\n");
    while (read(0, &byte, 1) > 0)
        ;
    return 0;
}

int main(int argc, char **argv)
{
    unsigned long long at_main = counter();
    char line[200];
    if (argc > 2 && !strcmp(argv[1], "exec"))
        return become(argv + 2);
    if (argc == 2 && !strcmp(argv[1], "wait"))
        return wait_for_end_of_input();
    if (argc != 1) {
        fprintf(stderr, "startup_probe: takes nothing, `wait` or `exec COMMAND`\n");
        return 2;
    }
    snprintf(line, sizeof line, "probe start=%s main=%llu exit=%llu\n", start(), at_main, counter());
    say(line);
    _exit(0);
}

#endif
