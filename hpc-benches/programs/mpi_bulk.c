/*
 * The bulk-synchronous loop: every rank computes a fixed work, then all meet in an Allreduce of one
 * number. On silent cores every step takes the same time; what disturbs any rank delays them all.
 *
 * After F. Petrini, D. Kerbyson, S. Pakin, "The Case of the Missing Supercomputer Performance",
 * SC 2003.
 */
#include "mpi_bench.h"

/* The steps between two looks at the time. */
enum { WORK_STEPS = 1 << 16, MOST_STEPS = 20000, STRETCH = 100 };

/* When this rank's step began, when its work was done and when all had met, in seconds. */
struct step {
    double start, computed, met;
};

static struct step steps[MOST_STEPS];
static double values[MOST_STEPS], of_all[MOST_STEPS];

/* A chain of xorshift steps, as in the fixed-work quantum: each needs the one before, none touches
 * memory. */
__attribute__((noinline)) static void compute(void)
{
    uint64_t x = 0x9E3779B97F4A7C15;
    __asm__ volatile("" : "+r"(x));
    for (int i = 0; i < WORK_STEPS; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
    }
    __asm__ volatile("" ::"r"(x));
}

/* Steps touch: the reading that ends one starts the next. */
static void loop(struct step *step, int count)
{
    double one = 1, sum = 0, start = MPI_Wtime();
    for (int i = 0; i < count; i++) {
        step[i].start = start;
        compute();
        step[i].computed = MPI_Wtime();
        MPI_Allreduce(&one, &sum, 1, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
        step[i].met = start = MPI_Wtime();
        if (sum != ranks) {
            fprintf(stderr, "mpi_bench: bsp: %g ranks met, not %d\n", sum, ranks);
            MPI_Abort(MPI_COMM_WORLD, 1);
        }
    }
}

static int steps_that_fit(void)
{
    MPI_Barrier(MPI_COMM_WORLD);
    loop(steps, STRETCH);
    for (int i = 0; i < STRETCH; i++)
        values[i] = (steps[i].met - steps[i].start) * 1e9;
    qsort(values, STRETCH, sizeof *values, ascending);
    return count_fitting(bulk_seconds, values[0], STRETCH, MOST_STEPS);
}

static void print_steps(int count)
{
    double sum = 0;
    for (int i = 0; i < count; i++)
        sum += values[i] = (steps[i].met - steps[i].start) * 1e9;
    print_measure("bsp-step", "ns", values, count);
    print_histogram("bsp-step", values, count);
    /* How much longer it took than if every step had been as short as the shortest. */
    double loss = (sum / count / values[0] - 1) * 100;
    print_measure("bsp-loss", "%", &loss, 1);
}

void bulk_synchronous(void)
{
    int planned = steps_that_fit(), count = 0;
    double end = MPI_Wtime() + bulk_seconds;
    MPI_Barrier(MPI_COMM_WORLD);
    do {
        int stretch = planned - count < STRETCH ? planned - count : STRETCH;
        loop(steps + count, stretch);
        count += stretch;
    } while (time_is_left(end) && count < planned);
    for (int i = 0; i < count; i++)
        values[i] = (steps[i].computed - steps[i].start) * 1e9;
    MPI_Reduce(values, of_all, count, MPI_DOUBLE, MPI_MAX, 0, MPI_COMM_WORLD);
    if (rank != 0)
        return;
    print_measure("bsp-compute", "ns", values, count);
    print_measure("bsp-slowest", "ns", of_all, count);
    print_steps(count);
}
