/*
 * The exchange of halos: ranks form a grid of three dimensions, periodic and as near to a cube as
 * their number allows. Each sends a face to each of its neighbours and gets one from them.
 *
 * In a dimension that is one rank wide, a rank would be its own neighbour: nothing is sent there.
 * In one of two, both neighbours are the same rank, as in any periodic grid.
 */
#include "mpi_bench.h"

enum { DIMENSIONS = 3, FACES = 2 * DIMENSIONS };

/* A face: which way it is sent, who gets it, and who sends one to this rank the same way. */
struct face {
    int to, from;
    unsigned char *sent, *received;
};

struct halo {
    int bytes;
    int faces;
    struct face face[FACES];
};

/* The box of so many ranks with the smallest surface. */
static void near_cube(int extent[DIMENSIONS])
{
    double smallest = -1;
    for (int a = 1; a <= ranks; a++) {
        for (int b = 1; a * b <= ranks; b++) {
            int c = ranks / (a * b);
            double surface = (double)a * b + (double)b * c + (double)a * c;
            if (a * b * c == ranks && a >= b && b >= c && (smallest < 0 || surface < smallest)) {
                smallest = surface;
                extent[0] = a;
                extent[1] = b;
                extent[2] = c;
            }
        }
    }
}

static void open_halo(struct halo *halo, int bytes)
{
    int extent[DIMENSIONS], stride = 1;
    near_cube(extent);
    halo->bytes = bytes;
    halo->faces = 0;
    for (int d = 0; d < DIMENSIONS; stride *= extent[d], d++) {
        if (extent[d] == 1)
            continue;
        int place = rank / stride % extent[d], row = rank - place * stride;
        int above = row + (place + 1) % extent[d] * stride;
        int below = row + (place + extent[d] - 1) % extent[d] * stride;
        halo->face[halo->faces++] = (struct face){above, below, allocate(bytes), allocate(bytes)};
        halo->face[halo->faces++] = (struct face){below, above, allocate(bytes), allocate(bytes)};
    }
    for (int i = 0; i < halo->faces; i++)
        fill(halo->face[i].sent, bytes, rank * FACES + i, halo->face[i].to);
}

static void close_halo(struct halo *halo)
{
    for (int i = 0; i < halo->faces; i++) {
        struct face *face = &halo->face[i];
        check(face->received, halo->bytes, face->from * FACES + i, rank, "halo");
        free(face->sent);
        free(face->received);
    }
}

static void exchange(void *state)
{
    struct halo *halo = state;
    MPI_Request requests[2 * FACES];
    for (int i = 0; i < halo->faces; i++)
        MPI_Irecv(halo->face[i].received, halo->bytes, MPI_BYTE, halo->face[i].from, i,
                  MPI_COMM_WORLD, &requests[i]);
    for (int i = 0; i < halo->faces; i++)
        MPI_Isend(halo->face[i].sent, halo->bytes, MPI_BYTE, halo->face[i].to, i, MPI_COMM_WORLD,
                  &requests[halo->faces + i]);
    MPI_Waitall(2 * halo->faces, requests, MPI_STATUSES_IGNORE);
}

void halo_exchange(void)
{
    for (int i = 0; i < SIZES; i++) {
        struct halo halo;
        open_halo(&halo, sizes[i].bytes);
        int count = take(exchange, &halo, batch_of(sizes[i].bytes));
        close_halo(&halo);
        print_size("halo", "ns", sizes[i], count);
    }
}
