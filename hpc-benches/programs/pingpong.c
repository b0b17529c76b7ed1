/*
 * MPI ping-pong between ranks 0 and 1.
 *
 * An ordinary MPI program: `tacet-bench mpi` compiles it with the node's own mpicc and runs it
 * natively and in cells. Rank 0 prints one line per measure:
 *
 *     measure NAME UNIT COUNT MIN MEDIAN P99 MAX MEAN
 *
 * A latency sample is half a round trip. Small messages are timed in batches, because
 * MPI_Wtime may take as long as a message. A bandwidth sample is message size over half a
 * round trip. Every message is checked on arrival of the last one.
 */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SMALL = 8, LARGE = 1 << 20, TAG = 1 };

struct plan {
    int bytes;
    int samples;
    int batch;
    int warm_up;
};

static int ascending(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

/* Nearest rank, as in the rest of the benchmarks. */
static double percentile(const double *sorted, int count, int percent)
{
    int rank = (count * percent + 99) / 100;
    return sorted[rank > 0 ? rank - 1 : 0];
}

static double median(const double *sorted, int count)
{
    double upper = sorted[count / 2];
    return count % 2 ? upper : (sorted[count / 2 - 1] + upper) / 2;
}

static void print_measure(const char *name, const char *unit, double *samples, int count)
{
    double sum = 0;
    for (int i = 0; i < count; i++)
        sum += samples[i];
    qsort(samples, count, sizeof *samples, ascending);
    printf("measure %s %s %d %.3f %.3f %.3f %.3f %.3f\n", name, unit, count, samples[0],
           median(samples, count), percentile(samples, count, 99), samples[count - 1],
           sum / count);
}

static void round_trip(int rank, char *buffer, int bytes)
{
    if (rank == 0) {
        MPI_Send(buffer, bytes, MPI_BYTE, 1, TAG, MPI_COMM_WORLD);
        MPI_Recv(buffer, bytes, MPI_BYTE, 1, TAG, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    } else if (rank == 1) {
        MPI_Recv(buffer, bytes, MPI_BYTE, 0, TAG, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        MPI_Send(buffer, bytes, MPI_BYTE, 0, TAG, MPI_COMM_WORLD);
    }
}

static void check(const char *buffer, int bytes)
{
    for (int i = 0; i < bytes; i++) {
        if (buffer[i] != (char)(i * 7)) {
            fprintf(stderr, "pingpong: byte %d of %d arrived wrong\n", i, bytes);
            MPI_Abort(MPI_COMM_WORLD, 1);
        }
    }
}

/* Fills samples with nanoseconds one way. */
static void ping_pong(int rank, struct plan plan, double *samples)
{
    char *buffer = malloc(plan.bytes);
    if (!buffer)
        MPI_Abort(MPI_COMM_WORLD, 1);
    for (int i = 0; i < plan.bytes; i++)
        buffer[i] = rank == 0 ? (char)(i * 7) : 0;
    MPI_Barrier(MPI_COMM_WORLD);
    for (int i = 0; i < plan.warm_up; i++)
        round_trip(rank, buffer, plan.bytes);
    for (int i = 0; i < plan.samples; i++) {
        double start = MPI_Wtime();
        for (int j = 0; j < plan.batch; j++)
            round_trip(rank, buffer, plan.bytes);
        samples[i] = (MPI_Wtime() - start) * 1e9 / plan.batch / 2;
    }
    if (rank < 2)
        check(buffer, plan.bytes);
    free(buffer);
}

int main(int argc, char **argv)
{
    const struct plan small = {SMALL, 2000, 20, 1000};
    const struct plan large = {LARGE, 500, 1, 50};
    static double samples[2000];
    int rank, ranks;

    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    if (ranks < 2) {
        fprintf(stderr, "pingpong: needs 2 ranks, has %d; start it with mpirun -np 2\n", ranks);
        MPI_Abort(MPI_COMM_WORLD, 2);
    }

    ping_pong(rank, small, samples);
    if (rank == 0)
        print_measure("latency-8", "ns", samples, small.samples);

    ping_pong(rank, large, samples);
    if (rank == 0) {
        print_measure("latency-1m", "ns", samples, large.samples);
        for (int i = 0; i < large.samples; i++)
            samples[i] = LARGE / samples[i] * 1e3;
        print_measure("bandwidth-1m", "MB/s", samples, large.samples);
    }
    MPI_Finalize();
    return 0;
}
