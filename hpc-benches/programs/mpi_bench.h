/*
 * What the parts of mpi_bench.c share: the ranks, the sizes, and how samples are taken.
 */
#ifndef MPI_BENCH_H
#define MPI_BENCH_H

#include "measure.h"
#include <mpi.h>
#include <stdint.h>
#include <string.h>

enum { SIZES = 7, SMALL_SIZES = 4, MOST_SAMPLES = 4000, LEAST_SAMPLES = 10 };

/* A size of messages, as the names of the measures have it. */
struct size {
    int bytes;
    const char *name;
};

extern const struct size sizes[SIZES];
extern int rank, ranks;

/* Seconds that a measure may take; the bulk-synchronous loop takes longer. */
extern double measure_seconds, bulk_seconds;

/* Samples of the measure in progress, on rank 0. */
extern double samples[MOST_SAMPLES];

/*
 * Times `operation` on every rank, after a warm-up that also tells how many samples fit: fills
 * samples with nanoseconds of one, each a mean of `batch`, and tells how many. Where they take
 * longer than expected there are fewer.
 */
int take(void (*operation)(void *state), void *state, int batch);

/* How many samples fit, at least and at most so many; as rank 0 sees it. */
int count_fitting(double seconds, double sample_ns, int least, int most);

/* Whether it is before `end` on rank 0. All ranks ask, and go on together. */
int time_is_left(double end);

/* How many of an operation on messages of this size make a sample: what is short against a call of
 * MPI_Wtime is timed in batches. */
int batch_of(int bytes);

/* Prints CURVE-SIZE, a point of the curve, on rank 0. */
void print_size(const char *curve, const char *unit, struct size size, int count);

/* Memory, or the end of all ranks. */
void *allocate(size_t bytes);

/* The byte at this place of the message from one rank to another, not zero. */
unsigned char content(int from, int to, size_t place);

void fill(unsigned char *buffer, size_t bytes, int from, int to);

/* Ends all ranks when a message is not what was sent. */
void check(const unsigned char *buffer, size_t bytes, int from, int to, const char *measure);

void messages(void);
void collectives(void);
void halo_exchange(void);
void bulk_synchronous(void);

#endif
