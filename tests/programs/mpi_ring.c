/* A token goes around the ring of ranks, each adds its number; rank 0 prints what came back. */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv) {
    int rank, size, rounds = argc > 1 ? atoi(argv[1]) : 100;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    long token = 0;
    for (int round = 0; round < rounds; round++) {
        int left = (rank + size - 1) % size, right = (rank + 1) % size;
        if (rank > 0)
            MPI_Recv(&token, 1, MPI_LONG, left, round, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        token += rank + 1;
        MPI_Send(&token, 1, MPI_LONG, right, round, MPI_COMM_WORLD);
        if (rank == 0)
            MPI_Recv(&token, 1, MPI_LONG, left, round, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        if (rank == 0 && round == 0) {
            puts("under way");
            fflush(stdout);
        }
    }
    long expected = (long)rounds * size * (size + 1) / 2;
    if (rank == 0)
        printf("%d ranks, %d rounds, token %ld: %s\n", size, rounds, token, token == expected ? "right" : "WRONG");
    MPI_Finalize();
    return rank == 0 && token != expected;
}
