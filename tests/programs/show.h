/* What the test programs share: print what a call returned, pick a section by name.
 *
 * Output is compared between a native run and a run in a cell, so nothing here prints an
 * address, a process id or a time. Results go out line by line: a program that dies has
 * still said how far it came. */
#ifndef SHOW_H
#define SHOW_H

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Prints the expression and its value; -1 also prints the error. */
#define SHOW(expression) show(#expression, (long)(expression))
/* For calls that return a pointer: whether it worked, never where. */
#define SHOW_POINTER(expression) show_pointer(#expression, (void *)(expression))
/* A condition that must hold; a false one makes the exit status 1. */
#define CHECK(condition) check(#condition, (condition))

static int checks_failed;

static inline void show(const char *what, long result) {
    int error = errno;
    if (result == -1)
        printf("%s = -1 (%s)\n", what, strerror(error));
    else
        printf("%s = %ld\n", what, result);
}

static inline void *show_pointer(const char *what, void *result) {
    int error = errno;
    if (result == (void *)-1)
        printf("%s failed (%s)\n", what, strerror(error));
    else
        printf("%s ok\n", what);
    return result;
}

static inline void check(const char *what, int holds) {
    if (!holds)
        checks_failed = 1;
    printf("%s: %s\n", holds ? "holds" : "FAILS", what);
}

struct section {
    const char *name;
    void (*run)(void);
};

/* Runs the section that the first argument names. */
static inline int run_section(int argc, char **argv, const struct section *sections) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (; sections->name; sections++)
        if (argc > 1 && !strcmp(argv[1], sections->name)) {
            sections->run();
            puts("end");
            return checks_failed;
        }
    fprintf(stderr, "%s: no such section\n", argv[0]);
    return 99;
}

/* Touching memory that may fault. */
static sigjmp_buf fault_return;
static volatile int fault_signal, fault_code;
static void *volatile fault_address;

static inline void fault_caught(int signal, siginfo_t *info, void *context) {
    (void)context;
    fault_signal = signal;
    fault_code = info->si_code;
    fault_address = info->si_addr;
    siglongjmp(fault_return, 1);
}

static inline void catch_faults(void) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = fault_caught;
    action.sa_flags = SA_SIGINFO;
    sigaction(SIGSEGV, &action, NULL);
    sigaction(SIGBUS, &action, NULL);
}

static inline void show_touch(const char *what, volatile char *address, int is_write) {
    catch_faults();
    if (sigsetjmp(fault_return, 1) == 0) {
        char value = *address;
        if (is_write)
            *address = value;
        printf("%s: %s works\n", what, is_write ? "write" : "read");
    } else {
        printf("%s: %s gives signal %d code %d, si_addr %s\n", what, is_write ? "write" : "read",
               fault_signal, fault_code, fault_address == (void *)address ? "right" : "WRONG");
    }
}

#define SHOW_READ(address) show_touch(#address, (volatile char *)(address), 0)
#define SHOW_WRITE(address) show_touch(#address, (volatile char *)(address), 1)

/* A pattern that depends on the position, and its check. */
static inline unsigned char pattern(size_t position) {
    return (unsigned char)(position * 2654435761u >> 13 ^ position);
}

static inline void fill(void *memory, size_t length) {
    for (size_t i = 0; i < length; i++)
        ((unsigned char *)memory)[i] = pattern(i);
}

static inline int is_filled(const void *memory, size_t length) {
    for (size_t i = 0; i < length; i++)
        if (((const unsigned char *)memory)[i] != pattern(i))
            return 0;
    return 1;
}

static inline int is_zero(const void *memory, size_t length) {
    for (size_t i = 0; i < length; i++)
        if (((const unsigned char *)memory)[i])
            return 0;
    return 1;
}

#endif
