/*
 * MPI ping-pong between ranks 0 and 1, and collectives over all ranks.
 *
 * An ordinary MPI program: `tacet-bench mpi` compiles it with the node's own mpicc and runs it
 * natively and in cells. Rank 0 prints the measures.
 *
 * A latency sample is half a round trip. Small messages are timed in batches, because
 * MPI_Wtime may take as long as a message. A bandwidth sample is message size over half a
 * round trip. Every message is checked on arrival of the last one. A sample of a collective
 * is the time from its start to its end on rank 0, a mean of a batch.
 */
#include "measure.h"
#include <mpi.h>

enum { SMALL = 8, LARGE = 1 << 20, TAG = 1 };

struct plan {
    int bytes;
    int samples;
    int batch;
    int warm_up;
};

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

/* Fills samples with nanoseconds of a sum over all ranks of so many doubles; 0: of a barrier. */
static void collective(int ranks, int doubles, struct plan plan, double *samples)
{
    double *mine = malloc((doubles + 1) * sizeof *mine), *sum = malloc((doubles + 1) * sizeof *sum);
    if (!mine || !sum)
        MPI_Abort(MPI_COMM_WORLD, 1);
    for (int i = 0; i < doubles; i++)
        mine[i] = i;
    MPI_Barrier(MPI_COMM_WORLD);
    for (int i = -plan.warm_up; i < plan.samples; i++) {
        double start = MPI_Wtime();
        for (int j = 0; j < plan.batch; j++) {
            if (doubles == 0)
                MPI_Barrier(MPI_COMM_WORLD);
            else
                MPI_Allreduce(mine, sum, doubles, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
        }
        if (i >= 0)
            samples[i] = (MPI_Wtime() - start) * 1e9 / plan.batch;
    }
    for (int i = 0; i < doubles; i++) {
        if (sum[i] != (double)i * ranks) {
            fprintf(stderr, "pingpong: the sum %d of %d is wrong\n", i, doubles);
            MPI_Abort(MPI_COMM_WORLD, 1);
        }
    }
    free(mine);
    free(sum);
}

int main(int argc, char **argv)
{
    const struct plan small = {SMALL, 2000, 20, 1000};
    const struct plan large = {LARGE, 500, 1, 50};
    const struct plan short_collective = {0, 1000, 10, 100};
    const struct plan long_collective = {0, 200, 1, 20};
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
    collective(ranks, 0, short_collective, samples);
    if (rank == 0)
        print_measure("barrier", "ns", samples, short_collective.samples);
    collective(ranks, 1, short_collective, samples);
    if (rank == 0)
        print_measure("allreduce-8", "ns", samples, short_collective.samples);
    collective(ranks, 1 << 17, long_collective, samples);
    if (rank == 0)
        print_measure("allreduce-1m", "ns", samples, long_collective.samples);
    MPI_Finalize();
    return 0;
}
