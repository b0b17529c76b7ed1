/* Ping-pong of 8 B to 4 MiB between ranks 0 and 1, every byte checked; then both send at once. */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static unsigned char expected(size_t position, int round, int from) {
    return (unsigned char)(position * 31 + (position >> 11) + (size_t)round * 7 + (size_t)from * 101);
}

static void fill(unsigned char *data, size_t length, int round, int from) {
    for (size_t i = 0; i < length; i++)
        data[i] = expected(i, round, from);
}

static long count_wrong(const unsigned char *data, size_t length, int round, int from) {
    long wrong = 0;
    for (size_t i = 0; i < length; i++)
        wrong += data[i] != expected(i, round, from);
    return wrong;
}

int main(int argc, char **argv) {
    int rank, size;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    if (size != 2)
        MPI_Abort(MPI_COMM_WORLD, 2);
    int peer = 1 - rank;
    size_t most = 4u << 20;
    unsigned char *out = malloc(most), *in = malloc(most);
    long wrong = 0, all_wrong;
    for (size_t length = 8; length <= most; length *= 2) {
        int rounds = length <= 4096 ? 50 : 4;
        for (int round = 0; round < rounds; round++) {
            fill(out, length, round, rank);
            memset(in, 0, length);
            if (rank == 0)
                MPI_Send(out, (int)length, MPI_BYTE, peer, round, MPI_COMM_WORLD);
            MPI_Status status;
            int received;
            MPI_Recv(in, (int)most, MPI_BYTE, peer, round, MPI_COMM_WORLD, &status);
            MPI_Get_count(&status, MPI_BYTE, &received);
            wrong += received != (int)length;
            if (rank == 1)
                MPI_Send(out, (int)length, MPI_BYTE, peer, round, MPI_COMM_WORLD);
            wrong += count_wrong(in, length, round, peer);
        }
        fill(out, length, 99, rank);
        memset(in, 0, length);
        MPI_Sendrecv(out, (int)length, MPI_BYTE, peer, 1000, in, (int)length, MPI_BYTE, peer, 1000, MPI_COMM_WORLD,
                     MPI_STATUS_IGNORE);
        wrong += count_wrong(in, length, 99, peer);
        MPI_Reduce(&wrong, &all_wrong, 1, MPI_LONG, MPI_SUM, 0, MPI_COMM_WORLD);
        if (rank == 0)
            printf("%zu bytes: %ld wrong\n", length, all_wrong);
    }
    MPI_Finalize();
    return wrong != 0;
}
