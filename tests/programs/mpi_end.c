/* How an MPI program ends badly: `mpi_end abort|crash|exit|stdin`, done by the last rank. The
 * other one waits for a message that never comes, so only the launcher can end it. What the MPI
 * library says of an abort goes to the file `abort.err`: a launcher that ends the run at once may
 * not have read the pipe of standard error to its end. */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv) {
    int rank, size, value = 0;
    const char *how = argc > 1 ? argv[1] : "";
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (!strcmp(how, "stdin")) {
        char line[100] = "";
        if (rank == 0 && fgets(line, sizeof line, stdin))
            printf("rank 0 read: %s", line);
        MPI_Finalize();
        return 0;
    }
    MPI_Barrier(MPI_COMM_WORLD);
    if (rank == size - 1) {
        if (!strcmp(how, "abort") && freopen("abort.err", "w", stderr))
            MPI_Abort(MPI_COMM_WORLD, 17);
        if (!strcmp(how, "crash"))
            *(volatile int *)NULL = 1;
        if (!strcmp(how, "exit"))
            exit(5);
    }
    MPI_Recv(&value, 1, MPI_INT, 1 - rank, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    MPI_Finalize();
    return 0;
}
