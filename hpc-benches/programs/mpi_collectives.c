/*
 * Collectives over all ranks, and the exchange of halos. A sample is the time from the start to the
 * end on rank 0.
 */
#include "mpi_bench.h"

struct buffers {
    int count;
    void *sent, *received;
};

static void barrier(void *state)
{
    (void)state;
    MPI_Barrier(MPI_COMM_WORLD);
}

static void sum(void *state)
{
    struct buffers *buffers = state;
    MPI_Allreduce(buffers->sent, buffers->received, buffers->count, MPI_DOUBLE, MPI_SUM,
                  MPI_COMM_WORLD);
}

static void transpose(void *state)
{
    struct buffers *buffers = state;
    MPI_Alltoall(buffers->sent, buffers->count, MPI_BYTE, buffers->received, buffers->count,
                 MPI_BYTE, MPI_COMM_WORLD);
}

/* A sum over all ranks of as many doubles as the size has. */
static void allreduce(struct size size)
{
    struct buffers buffers = {size.bytes / (int)sizeof(double), allocate(size.bytes),
                              allocate(size.bytes)};
    double *mine = buffers.sent, *sums = buffers.received;
    for (int i = 0; i < buffers.count; i++)
        mine[i] = i + rank;
    int count = take(sum, &buffers, batch_of(size.bytes));
    for (int i = 0; i < buffers.count; i++) {
        if (sums[i] != (double)i * ranks + ranks * (ranks - 1) / 2) {
            fprintf(stderr, "mpi_bench: allreduce: sum %d of %d is wrong\n", i, buffers.count);
            MPI_Abort(MPI_COMM_WORLD, 1);
        }
    }
    free(mine);
    free(sums);
    print_size("allreduce", "ns", size, count);
}

/* Every rank sends as many bytes to every rank. */
static void alltoall(struct size size)
{
    size_t bytes = (size_t)size.bytes * ranks;
    struct buffers buffers = {size.bytes, allocate(bytes), allocate(bytes)};
    unsigned char *sent = buffers.sent, *received = buffers.received;
    for (int to = 0; to < ranks; to++)
        fill(sent + (size_t)to * size.bytes, size.bytes, rank, to);
    int count = take(transpose, &buffers, batch_of(size.bytes));
    for (int from = 0; from < ranks; from++)
        check(received + (size_t)from * size.bytes, size.bytes, from, rank, "alltoall");
    free(sent);
    free(received);
    print_size("alltoall", "ns", size, count);
}

void collectives(void)
{
    int count = take(barrier, NULL, 10);
    if (rank == 0)
        print_measure("barrier", "ns", samples, count);
    for (int i = 0; i < SIZES; i++)
        allreduce(sizes[i]);
    for (int i = 0; i < SIZES; i++)
        alltoall(sizes[i]);
}
