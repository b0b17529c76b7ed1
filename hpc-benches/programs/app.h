/*
 * What the mini-apps share: options, ranks and threads, random numbers, times, and how a run ends.
 *
 * Each is an ordinary program with MPI and OpenMP, such as people write: `mpirun -np 2 ./cg -n 64`. Rank 0
 * prints one line per measure (measure.h) and one per result,
 *
 *     result NAME VALUE
 *
 * which depends on the options and the number of ranks and threads and on nothing else: sums are taken in
 * a fixed order. A result that fails its check ends the run with one line on standard error and status 1.
 */
#ifndef APP_H
#define APP_H

#include "measure.h"
#include <mpi.h>
#include <omp.h>
#include <stdarg.h>
#include <stdint.h>
#include <unistd.h>

struct app {
    const char *name;
    int rank, ranks, threads;
    int size, repeats;
    int spoil; /* break the result on purpose, to see that the check catches it */
};

/* Called by all ranks, which agree on what is wrong. */
__attribute__((noreturn, format(printf, 3, 4))) static void
refuse(const struct app *app, int status, const char *format, ...)
{
    if (app->rank == 0) {
        va_list arguments;
        va_start(arguments, format);
        fprintf(stderr, "%s: ", app->name);
        vfprintf(stderr, format, arguments);
        fputc('\n', stderr);
        va_end(arguments);
    }
    MPI_Finalize();
    exit(status);
}

__attribute__((noreturn)) static void usage(const struct app *app, const char *size_is)
{
    refuse(app, 2,
           "usage: %s [-n SIZE] [-r REPEATS] [-t THREADS] [-x]; SIZE is %s; -x spoils the result, "
           "to see that the check catches it",
           app->name, size_is);
}

static int positive(const char *text)
{
    char *end;
    long value = strtol(text, &end, 10);
    return *text && !*end && value > 0 && value < INT32_MAX ? (int)value : 0;
}

/* Starts MPI and OpenMP and reads the options. */
static void start(struct app *app, int *argc, char ***argv, const char *size_is)
{
    int level, option, wrong = 0;
    MPI_Init_thread(argc, argv, MPI_THREAD_FUNNELED, &level);
    MPI_Comm_rank(MPI_COMM_WORLD, &app->rank);
    MPI_Comm_size(MPI_COMM_WORLD, &app->ranks);
    app->threads = omp_get_max_threads();
    opterr = 0;
    while ((option = getopt(*argc, *argv, "n:r:t:x")) != -1) {
        switch (option) {
        case 'n':
            wrong |= !(app->size = positive(optarg));
            break;
        case 'r':
            wrong |= !(app->repeats = positive(optarg));
            break;
        case 't':
            wrong |= !(app->threads = positive(optarg));
            break;
        case 'x':
            app->spoil = 1;
            break;
        default:
            wrong = 1;
        }
    }
    if (wrong || optind < *argc)
        usage(app, size_is);
    if (level < MPI_THREAD_FUNNELED)
        refuse(app, 1, "this MPI library allows no threads; use one with MPI_THREAD_FUNNELED");
    omp_set_dynamic(0);
    omp_set_num_threads(app->threads);
}

static void *allocate(const struct app *app, size_t count, size_t bytes)
{
    void *memory = bytes && count > SIZE_MAX / bytes ? NULL : malloc(count * bytes);
    if (!memory) {
        fprintf(stderr, "%s: no memory for %zu values; give a smaller -n\n", app->name, count);
        MPI_Abort(MPI_COMM_WORLD, 1);
    }
    return memory;
}

static double now(void)
{
    return MPI_Wtime() * 1e9;
}

static inline double sum_over_ranks(double mine)
{
    double sum;
    MPI_Allreduce(&mine, &sum, 1, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
    return sum;
}

static inline double largest_over_ranks(double mine)
{
    double largest;
    MPI_Allreduce(&mine, &largest, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
    return largest;
}

/* One sample per iteration: the time of the slowest rank. */
static void report(const struct app *app, const char *name, double *samples, int count)
{
    double *slowest = allocate(app, count, sizeof *slowest);
    MPI_Reduce(samples, slowest, count, MPI_DOUBLE, MPI_MAX, 0, MPI_COMM_WORLD);
    if (app->rank == 0)
        print_measure(name, "ns", slowest, count);
    free(slowest);
}

static void result(const struct app *app, const char *name, double value)
{
    if (app->rank == 0)
        printf("result %s-%s %.17g\n", app->name, name, value);
}

/* The part of `count` things that belongs to `rank`: from here to where the next rank's begins. */
static inline int64_t first_of(int64_t count, int rank, int ranks)
{
    return count / ranks * rank + count % ranks * rank / ranks;
}

/*
 * Random numbers without a state: number `counter` of the sequence `key`, the SplitMix64 generator with its
 * state written as key + counter * gamma (G. Steele, D. Lea, C. Flood, "Fast Splittable Pseudorandom
 * Number Generators", OOPSLA 2014). What is drawn does not depend on who draws it.
 */
static inline uint64_t random_bits(uint64_t key, uint64_t counter)
{
    uint64_t z = key + counter * UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

/* Between 0 and 1, never 0 or 1. */
static inline double random_double(uint64_t key, uint64_t counter)
{
    return ((random_bits(key, counter) >> 12) + 0.5) * 0x1p-52;
}

#endif
