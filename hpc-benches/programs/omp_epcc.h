/*
 * What the parts of omp_overheads.c share: the delay, and how an overhead is taken.
 */
#ifndef OMP_EPCC_H
#define OMP_EPCC_H

#include "measure.h"
#include <omp.h>

enum { SAMPLES = 100, BATCH = 200 };

/* Threads of a team. */
extern int threads;

/* Where results go that nobody reads. */
extern double sink;

/* Work of a tenth of a microsecond that asks nothing of the runtime. */
void delay(void);

/*
 * An overhead: up to `samples` times the time of `construct(batch)`, as nanoseconds for each of
 * `constructs` constructs, less `expected` delays each. Below the clock's noise it counts as one
 * nanosecond. Where threads wait for a core, which takes long, there are fewer samples.
 */
struct overhead {
    const char *name;
    void (*construct)(int batch);
    int samples;
    int batch;
    double constructs;
    double expected;
};

void print_overhead(struct overhead overhead);
void print_overhead_at(struct overhead overhead, const char *curve, const char *axis, double x);

void synchronisation(void);
void schedules(void);
void arrays(void);
void tasks(void);

#endif
