/* Computes for the given number of seconds and asks nothing of the kernel meanwhile. Before and
 * after, an undefined instruction with a number in rax that a trace of the processor's exceptions
 * shows: between the two, such a trace must be empty. */
#define _GNU_SOURCE
#include "show.h"
#include <time.h>
#include <ucontext.h>

static void skip_instruction(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)info;
    ((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP] += 2;
}

static void mark(unsigned long number) {
    __asm__ volatile("ud2" : : "a"(number) : "memory");
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

int main(int argc, char **argv) {
    double seconds = argc > 1 ? atof(argv[1]) : 1, sum = 0;
    struct sigaction action = {.sa_sigaction = skip_instruction, .sa_flags = SA_SIGINFO};
    sigaction(SIGILL, &action, NULL);
    puts("computing");
    fflush(stdout);
    double end = now() + 0.5;
    while (now() < end)
        ;
    mark(0x7ace0001);
    end = now() + seconds;
    while (now() < end)
        for (int i = 1; i < 10000; i++)
            sum += 1.0 / i;
    mark(0x7ace0002);
    puts(sum > 0 ? "computed" : "WRONG");
    return 0;
}
