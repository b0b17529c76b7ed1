/*
 * What the constructs of OpenMP cost: the method of the EPCC microbenchmarks (J. M. Bull,
 * "Measuring Synchronisation and Scheduling Overheads in OpenMP", EWOMP 1999).
 *
 * An ordinary OpenMP program. Each measure is the time of a construct around a short delay, less
 * the time of the delay alone; for schedules, of a loop over many delays, less those of a thread's
 * share. A sample is a mean over a batch. An overhead below the clock's noise counts as one
 * nanosecond.
 */
#include "measure.h"
#include <omp.h>
#include <time.h>

enum { SAMPLES = 100, BATCH = 200, SHARE = 128, LOOPS = 10 };

static int threads, delay_steps;
static double reference_time;
static double samples[SAMPLES];
static double sink;

static double now(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec * 1e9 + at.tv_nsec;
}

/* Work that asks nothing of the runtime. */
__attribute__((noinline)) static void delay(void)
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

static void reference(int batch)
{
    for (int i = 0; i < batch; i++)
        delay();
}

static void parallel(int batch)
{
    for (int i = 0; i < batch; i++) {
#pragma omp parallel
        delay();
    }
}

static void loop(int batch)
{
#pragma omp parallel
    for (int i = 0; i < batch; i++) {
#pragma omp for
        for (int j = 0; j < threads; j++)
            delay();
    }
}

static void barrier(int batch)
{
#pragma omp parallel
    for (int i = 0; i < batch; i++) {
        delay();
#pragma omp barrier
    }
}

static void single(int batch)
{
#pragma omp parallel
    for (int i = 0; i < batch; i++) {
#pragma omp single
        delay();
    }
}

static void critical(int batch)
{
#pragma omp parallel
    for (int i = 0; i < batch / threads; i++) {
#pragma omp critical
        delay();
    }
}

static void locks(int batch)
{
    omp_lock_t lock;
    omp_init_lock(&lock);
#pragma omp parallel
    for (int i = 0; i < batch / threads; i++) {
        omp_set_lock(&lock);
        delay();
        omp_unset_lock(&lock);
    }
    omp_destroy_lock(&lock);
}

static void atomic(int batch)
{
    double value = 0;
#pragma omp parallel
    for (int i = 0; i < batch; i++) {
        delay();
#pragma omp atomic
        value += 1;
    }
    sink += value;
}

static void reduction(int batch)
{
    double value = 0;
    for (int i = 0; i < batch; i++) {
#pragma omp parallel reduction(+ : value)
        {
            delay();
            value += 1;
        }
    }
    sink += value;
}

static void ordered(int batch)
{
#pragma omp parallel for ordered schedule(static, 1)
    for (int i = 0; i < batch; i++) {
#pragma omp ordered
        delay();
    }
}

static void task(int batch)
{
#pragma omp parallel
#pragma omp master
    for (int i = 0; i < batch; i++) {
#pragma omp task
        delay();
    }
}

#define SCHEDULE(name, clause)                                                   \
    static void name(int batch)                                                  \
    {                                                                            \
        (void)batch;                                                             \
        _Pragma("omp parallel") for (int i = 0; i < LOOPS; i++)                  \
        {                                                                        \
            _Pragma(clause) for (int j = 0; j < SHARE * threads; j++) delay();   \
        }                                                                        \
    }

SCHEDULE(static_all, "omp for schedule(static)")
SCHEDULE(static_1, "omp for schedule(static, 1)")
SCHEDULE(dynamic_1, "omp for schedule(dynamic, 1)")
SCHEDULE(dynamic_16, "omp for schedule(dynamic, 16)")
SCHEDULE(guided_1, "omp for schedule(guided, 1)")

/* Fills samples with nanoseconds per construct beyond `expected` delays each. */
static void measure(const char *name, void (*construct)(int), int constructs, double expected)
{
    construct(BATCH);
    for (int i = 0; i < SAMPLES; i++) {
        double start = now();
        construct(BATCH);
        double overhead = (now() - start) / constructs - expected * reference_time;
        samples[i] = overhead > 1 ? overhead : 1;
    }
    print_measure(name, "ns", samples, SAMPLES);
}

int main(void)
{
#pragma omp parallel
#pragma omp master
    threads = omp_get_num_threads();
    calibrate();
    for (int i = 0; i < SAMPLES; i++) {
        double start = now();
        reference(BATCH);
        samples[i] = (now() - start) / BATCH;
    }
    qsort(samples, SAMPLES, sizeof *samples, ascending);
    reference_time = median(samples, SAMPLES);

    measure("omp-parallel", parallel, BATCH, 1);
    measure("omp-for", loop, BATCH, 1);
    measure("omp-barrier", barrier, BATCH, 1);
    measure("omp-single", single, BATCH, 1);
    measure("omp-critical", critical, BATCH / threads * threads, 1);
    measure("omp-lock", locks, BATCH / threads * threads, 1);
    measure("omp-atomic", atomic, BATCH, 1);
    measure("omp-reduction", reduction, BATCH, 1);
    measure("omp-ordered", ordered, BATCH, 1);
    measure("omp-task", task, BATCH, 1.0 / threads);
    measure("omp-static", static_all, LOOPS * SHARE, 1);
    measure("omp-static-1", static_1, LOOPS * SHARE, 1);
    measure("omp-dynamic-1", dynamic_1, LOOPS * SHARE, 1);
    measure("omp-dynamic-16", dynamic_16, LOOPS * SHARE, 1);
    measure("omp-guided-1", guided_1, LOOPS * SHARE, 1);
    return sink < 0;
}
