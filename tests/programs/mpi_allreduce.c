/* Allreduce of 1 to 1 M doubles, every sum checked on every rank. */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv) {
    int rank, size;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    int most = 1 << 20;
    double *mine = malloc(most * sizeof *mine), *sums = malloc(most * sizeof *sums);
    long wrong = 0, all_wrong;
    for (int count = 1; count <= most; count *= 4) {
        for (int round = 0; round < 3; round++) {
            for (int i = 0; i < count; i++) {
                mine[i] = (double)(i % 1000) * (rank + 1) + round;
                sums[i] = -1;
            }
            MPI_Allreduce(mine, sums, count, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
            for (int i = 0; i < count; i++)
                wrong += sums[i] != (double)(i % 1000) * size * (size + 1) / 2 + (double)round * size;
        }
        MPI_Reduce(&wrong, &all_wrong, 1, MPI_LONG, MPI_SUM, 0, MPI_COMM_WORLD);
        if (rank == 0)
            printf("%d doubles: %ld wrong sums\n", count, all_wrong);
    }
    double low = rank, high;
    MPI_Allreduce(&low, &high, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
    MPI_Barrier(MPI_COMM_WORLD);
    if (rank == 0)
        printf("maximum %g\n", high);
    MPI_Finalize();
    return wrong != 0;
}
