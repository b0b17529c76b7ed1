/* An MPI rank with threads, files, one-sided communication and shared windows: what libraries offer
 * beyond messages. Each rank checks what it gets; rank 0 prints what went wrong where, in all. */
#include <mpi.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ITEMS = 1000 };
static int rank, size, wrong;

static void sum_up(const char *what) {
    int all;
    MPI_Reduce(&wrong, &all, 1, MPI_INT, MPI_SUM, 0, MPI_COMM_WORLD);
    if (rank == 0)
        printf("%s: %d wrong\n", what, all);
    wrong = 0;
}

static void threads(int provided) {
    wrong += provided != MPI_THREAD_MULTIPLE;
    double sum = 0, all;
#pragma omp parallel for reduction(+ : sum)
    for (int i = 0; i < 1000000; i++)
        sum += i;
    MPI_Allreduce(&sum, &all, 1, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
    wrong += all != size * 499999500000.0;
    int bad = 0;
#pragma omp parallel num_threads(2) reduction(+ : bad)
    {
        int me = omp_get_thread_num();
        for (int i = 0; i < 200; i++) {
            int out = rank * 1000 + me * 500 + i, in = -1;
            MPI_Sendrecv(&out, 1, MPI_INT, (rank + 1) % size, me, &in, 1, MPI_INT, (rank + size - 1) % size, me,
                         MPI_COMM_WORLD, MPI_STATUS_IGNORE);
            bad += in != (rank + size - 1) % size * 1000 + me * 500 + i;
        }
    }
    wrong += bad;
    sum_up("threads");
}

static void files(void) {
    MPI_File file;
    int out[ITEMS], in[ITEMS];
    for (int i = 0; i < ITEMS; i++)
        out[i] = rank * ITEMS + i;
    wrong += MPI_File_open(MPI_COMM_WORLD, "shared.dat", MPI_MODE_CREATE | MPI_MODE_RDWR, MPI_INFO_NULL, &file) != 0;
    wrong += MPI_File_write_at_all(file, rank * sizeof out, out, ITEMS, MPI_INT, MPI_STATUS_IGNORE) != 0;
    MPI_File_sync(file);
    MPI_Barrier(MPI_COMM_WORLD);
    int next = (rank + 1) % size;
    wrong += MPI_File_read_at_all(file, next * sizeof in, in, ITEMS, MPI_INT, MPI_STATUS_IGNORE) != 0;
    for (int i = 0; i < ITEMS; i++)
        wrong += in[i] != next * ITEMS + i;
    MPI_Offset length;
    MPI_File_get_size(file, &length);
    wrong += length != (MPI_Offset)(size * sizeof out);
    MPI_File_close(&file);
    sum_up("files");
}

static void one_sided(void) {
    int *window, out[100], one = 1, old;
    MPI_Win win;
    for (int i = 0; i < 100; i++)
        out[i] = rank * 100 + i;
    MPI_Win_allocate(ITEMS * sizeof(int), sizeof(int), MPI_INFO_NULL, MPI_COMM_WORLD, &window, &win);
    memset(window, 0, ITEMS * sizeof(int));
    MPI_Win_fence(0, win);
    MPI_Put(out, 100, MPI_INT, (rank + 1) % size, 0, 100, MPI_INT, win);
    MPI_Win_fence(0, win);
    for (int i = 0; i < 100; i++)
        wrong += window[i] != (rank + size - 1) % size * 100 + i;
    int got[100];
    MPI_Get(got, 100, MPI_INT, (rank + 1) % size, 0, 100, MPI_INT, win);
    MPI_Win_fence(0, win);
    for (int i = 0; i < 100; i++)
        wrong += got[i] != rank * 100 + i;
    MPI_Win_lock_all(0, win);
    for (int i = 0; i < 50; i++) {
        MPI_Fetch_and_op(&one, &old, MPI_INT, 0, 500, MPI_SUM, win);
        MPI_Win_flush(0, win);
    }
    MPI_Accumulate(out, 10, MPI_INT, 0, 600, 10, MPI_INT, MPI_MAX, win);
    MPI_Win_unlock_all(win);
    MPI_Barrier(MPI_COMM_WORLD);
    if (rank == 0) {
        MPI_Win_lock(MPI_LOCK_SHARED, 0, 0, win);
        wrong += window[500] != 50 * size;
        for (int i = 0; i < 10; i++)
            wrong += window[600 + i] != (size - 1) * 100 + i;
        MPI_Win_unlock(0, win);
    }
    MPI_Win_free(&win);
    sum_up("one-sided");
}

static void shared(void) {
    MPI_Comm node;
    MPI_Win win;
    int on_node, *mine, *peer, unit;
    MPI_Aint bytes;
    MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &node);
    MPI_Comm_size(node, &on_node);
    wrong += on_node != size;
    MPI_Win_allocate_shared(4096, sizeof(int), MPI_INFO_NULL, node, &mine, &win);
    MPI_Win_lock_all(0, win);
    MPI_Win_shared_query(win, (rank + 1) % size, &bytes, &unit, &peer);
    mine[0] = rank + 7;
    MPI_Win_sync(win);
    MPI_Barrier(node);
    MPI_Win_sync(win);
    wrong += peer[0] != (rank + 1) % size + 7;
    MPI_Barrier(node);
    MPI_Win_unlock_all(win);
    MPI_Win_free(&win);
    MPI_Comm_free(&node);
    sum_up("shared");
}

static void collectives(void) {
    int *all = malloc(size * sizeof *all), *back = malloc(size * sizeof *back), scan, first = rank == 0 ? 99 : 0;
    for (int i = 0; i < size; i++)
        all[i] = rank * size + i;
    MPI_Alltoall(all, 1, MPI_INT, back, 1, MPI_INT, MPI_COMM_WORLD);
    for (int i = 0; i < size; i++)
        wrong += back[i] != i * size + rank;
    MPI_Scan(&rank, &scan, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
    wrong += scan != rank * (rank + 1) / 2;
    MPI_Bcast(&first, 1, MPI_INT, 0, MPI_COMM_WORLD);
    wrong += first != 99;
    MPI_Allgather(&rank, 1, MPI_INT, back, 1, MPI_INT, MPI_COMM_WORLD);
    for (int i = 0; i < size; i++)
        wrong += back[i] != i;
    /* Every other element of a row, as one message; a request that is used again and again. */
    MPI_Datatype comb;
    MPI_Type_vector(50, 1, 2, MPI_INT, &comb);
    MPI_Type_commit(&comb);
    int row[100], into[100];
    MPI_Request requests[2];
    MPI_Send_init(row, 1, comb, (rank + 1) % size, 5, MPI_COMM_WORLD, &requests[0]);
    MPI_Recv_init(into, 1, comb, (rank + size - 1) % size, 5, MPI_COMM_WORLD, &requests[1]);
    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < 100; i++)
            row[i] = round + i, into[i] = -1;
        MPI_Startall(2, requests);
        MPI_Waitall(2, requests, MPI_STATUSES_IGNORE);
        for (int i = 0; i < 100; i++)
            wrong += into[i] != (i % 2 ? -1 : round + i);
    }
    MPI_Request_free(&requests[0]);
    MPI_Request_free(&requests[1]);
    MPI_Type_free(&comb);
    MPI_Request barrier;
    MPI_Ibarrier(MPI_COMM_WORLD, &barrier);
    MPI_Wait(&barrier, MPI_STATUS_IGNORE);
    double *large = malloc(8 << 20), *sums = malloc(8 << 20);
    for (int i = 0; i < 1 << 20; i++)
        large[i] = rank + i;
    MPI_Allreduce(large, sums, 1 << 20, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
    for (int i = 0; i < 1 << 20; i++)
        wrong += sums[i] != size * (double)i + size * (size - 1) / 2;
    free(all), free(back), free(large), free(sums);
    sum_up("collectives");
}

int main(int argc, char **argv) {
    int provided;
    setvbuf(stdout, NULL, _IOLBF, 0);
    MPI_Init_thread(&argc, &argv, MPI_THREAD_MULTIPLE, &provided);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    threads(provided);
    files();
    one_sided();
    shared();
    collectives();
    MPI_Finalize();
    return 0;
}
