/*
 * Synchronisation: what it costs to start threads, to wait for each other, and to keep others out.
 */
#include "omp_epcc.h"

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

static void parallel_loop(int batch)
{
    for (int i = 0; i < batch; i++) {
#pragma omp parallel for
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

void synchronisation(void)
{
    /* What only one thread at a time may do is done this often by all of them together. */
    int batch = (BATCH + threads - 1) / threads * threads;
    const struct overhead all[] = {
        {"omp-parallel", parallel, SAMPLES, BATCH, BATCH, 1},
        {"omp-for", loop, SAMPLES, BATCH, BATCH, 1},
        {"omp-parallel-for", parallel_loop, SAMPLES, BATCH, BATCH, 1},
        {"omp-barrier", barrier, SAMPLES, BATCH, BATCH, 1},
        {"omp-single", single, SAMPLES, BATCH, BATCH, 1},
        {"omp-critical", critical, SAMPLES, batch, batch, 1},
        {"omp-lock", locks, SAMPLES, batch, batch, 1},
        {"omp-atomic", atomic, SAMPLES, BATCH, BATCH, 1},
        {"omp-reduction", reduction, SAMPLES, BATCH, BATCH, 1},
        {"omp-ordered", ordered, SAMPLES, BATCH, BATCH, 1},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        print_overhead(all[i]);
}
