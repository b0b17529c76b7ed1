/*
 * What the constructs of OpenMP cost: the method of the EPCC microbenchmarks (J. M. Bull,
 * "Measuring Synchronisation and Scheduling Overheads in OpenMP", EWOMP 1999; arrays: J. M. Bull,
 * D. O'Neill, "A Microbenchmark Suite for OpenMP 2.0", EWOMP 2001; tasks: J. M. Bull, F. Reid,
 * N. McDonnell, "A Microbenchmark Suite for OpenMP Tasks", IWOMP 2012).
 *
 * An ordinary OpenMP program. Each measure is the time of a construct around a short delay, less
 * the time of the delay alone; for schedules, of a loop over many delays, less those of a thread's
 * share. A sample is a mean over a batch.
 */
#include "omp_epcc.h"
#include <time.h>

enum { LEAST_SAMPLES = 10 };

/* Of one measure, in nanoseconds. */
static const double time_limit = 200e6;

int threads;
double sink;

static int delay_steps;
static double reference_time;
static double samples[SAMPLES];

static double now(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec * 1e9 + at.tv_nsec;
}

__attribute__((noinline)) void delay(void)
{
    double value = 0;
    for (int i = 0; i < delay_steps; i++)
        value += i;
    if (value < 0)
        sink += value;
    __asm__ volatile("" ::"r"(&value) : "memory");
}

static void calibrate(void)
{
    for (delay_steps = 1;; delay_steps *= 2) {
        double start = now();
        for (int i = 0; i < 1000; i++)
            delay();
        if ((now() - start) / 1000 >= 100)
            return;
    }
}

static void take_reference_time(void)
{
    for (int i = 0; i < SAMPLES; i++) {
        double start = now();
        for (int j = 0; j < BATCH; j++)
            delay();
        samples[i] = (now() - start) / BATCH;
    }
    qsort(samples, SAMPLES, sizeof *samples, ascending);
    reference_time = median(samples, SAMPLES);
}

/* Fills samples and tells how many. */
static int take(struct overhead of)
{
    of.construct(of.batch);
    double end = now() + time_limit;
    int taken = 0;
    while (taken < of.samples && (taken < LEAST_SAMPLES || now() < end)) {
        double start = now();
        of.construct(of.batch);
        double overhead = (now() - start) / of.constructs - of.expected * reference_time;
        samples[taken++] = overhead > 1 ? overhead : 1;
    }
    return taken;
}

void print_overhead(struct overhead of)
{
    int taken = take(of);
    print_measure(of.name, "ns", samples, taken);
}

void print_overhead_at(struct overhead of, const char *curve, const char *axis, double x)
{
    int taken = take(of);
    print_point(of.name, "ns", samples, taken, curve, axis, x);
}

int main(void)
{
#pragma omp parallel
#pragma omp master
    threads = omp_get_num_threads();
    calibrate();
    take_reference_time();
    synchronisation();
    schedules();
    arrays();
    tasks();
    return sink < 0;
}
