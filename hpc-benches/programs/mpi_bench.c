/*
 * Messages, collectives and a bulk-synchronous loop of MPI ranks.
 *
 * An ordinary MPI program: `tacet-bench mpi` compiles it with the node's own mpicc and runs it
 * natively and in cells. Rank 0 prints the measures. `tacet-bench-mpi` is the same in Rust.
 *
 *     mpirun -np 2 mpi_bench [--seconds S]
 *
 * What is received is compared with what was sent, after the last sample of each measure.
 */
#include "mpi_bench.h"

const struct size sizes[SIZES] = {
    {8, "8"},         {64, "64"},         {512, "512"},    {4096, "4k"},
    {32 << 10, "32k"}, {256 << 10, "256k"}, {1 << 20, "1m"},
};

int rank, ranks;
double measure_seconds, bulk_seconds;
double samples[MOST_SAMPLES];

enum { WARM_UP = 10, TRIALS = 5, LOOKS = 8, MEASURES = 50 };

int batch_of(int bytes)
{
    return bytes <= 512 ? 20 : bytes <= 32 << 10 ? 4 : 1;
}

static double time_batch(void (*operation)(void *), void *state, int batch)
{
    double start = MPI_Wtime();
    for (int i = 0; i < batch; i++)
        operation(state);
    return (MPI_Wtime() - start) * 1e9 / batch;
}

int count_fitting(double seconds, double sample_ns, int least, int most)
{
    double fitting = seconds * 1e9 / sample_ns;
    int count = fitting > most ? most : fitting < least ? least : (int)fitting;
    MPI_Bcast(&count, 1, MPI_INT, 0, MPI_COMM_WORLD);
    return count;
}

int time_is_left(double end)
{
    int left = MPI_Wtime() < end;
    MPI_Bcast(&left, 1, MPI_INT, 0, MPI_COMM_WORLD);
    MPI_Barrier(MPI_COMM_WORLD);
    return left;
}

static double shortest_trial(void (*operation)(void *), void *state, int batch)
{
    MPI_Barrier(MPI_COMM_WORLD);
    double shortest = time_batch(operation, state, WARM_UP);
    for (int i = 0; i < TRIALS; i++)
        shortest = fmin(shortest, time_batch(operation, state, batch));
    return shortest;
}

int take(void (*operation)(void *state), void *state, int batch)
{
    double sample = shortest_trial(operation, state, batch) * batch;
    int planned = count_fitting(measure_seconds, sample, LEAST_SAMPLES, MOST_SAMPLES);
    int stretch = planned / LOOKS > LEAST_SAMPLES ? planned / LOOKS : LEAST_SAMPLES;
    double end = MPI_Wtime() + measure_seconds;
    int taken = 0;
    do {
        for (int i = 0; i < stretch && taken < planned; i++)
            samples[taken++] = time_batch(operation, state, batch);
    } while (time_is_left(end) && taken < planned);
    return taken;
}

void print_size(const char *curve, const char *unit, struct size size, int count)
{
    char name[64];
    snprintf(name, sizeof name, "%s-%s", curve, size.name);
    if (rank == 0)
        print_point(name, unit, samples, count, curve, "bytes", size.bytes);
}

void *allocate(size_t bytes)
{
    /* A block of no bytes may be a null pointer. */
    void *memory = calloc(bytes + 1, 1);
    if (!memory) {
        fprintf(stderr, "mpi_bench: rank %d has no %zu bytes of memory; give it more\n", rank, bytes);
        MPI_Abort(MPI_COMM_WORLD, 1);
    }
    return memory;
}

unsigned char content(int from, int to, size_t place)
{
    return (unsigned char)((place * 7 + from * 31 + to * 101) % 255 + 1);
}

void fill(unsigned char *buffer, size_t bytes, int from, int to)
{
    for (size_t i = 0; i < bytes; i++)
        buffer[i] = content(from, to, i);
}

void check(const unsigned char *buffer, size_t bytes, int from, int to, const char *measure)
{
    for (size_t i = 0; i < bytes; i++) {
        if (buffer[i] != content(from, to, i)) {
            fprintf(stderr, "mpi_bench: %s: byte %zu of %zu from rank %d arrived wrong on rank %d\n",
                    measure, i, bytes, from, to);
            MPI_Abort(MPI_COMM_WORLD, 1);
        }
    }
}

/* What is wrong on all ranks alike, said by one of them. */
static int refused(const char *message)
{
    if (rank == 0)
        fprintf(stderr, "mpi_bench: %s\n", message);
    MPI_Finalize();
    return 2;
}

/* The seconds asked for; 0 for what is no number of seconds. */
static double seconds_of(int argc, char **argv)
{
    char *end = NULL;
    if (argc == 1)
        return 4;
    double seconds = argc == 3 && !strcmp(argv[1], "--seconds") ? strtod(argv[2], &end) : 0;
    return end && !*end && seconds > 0 && seconds < 1e6 ? seconds : 0;
}

int main(int argc, char **argv)
{
    char library[MPI_MAX_LIBRARY_VERSION_STRING], message[MPI_MAX_LIBRARY_VERSION_STRING + 200];
    int length;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    double seconds = seconds_of(argc, argv);
    if (seconds == 0)
        return refused("takes --seconds S, a positive number, and nothing else");
    if (ranks < 2) {
        MPI_Get_library_version(library, &length);
        library[strcspn(library, "\n")] = 0;
        snprintf(message, sizeof message,
                 "needs 2 ranks, has %d: start it with -np 2, by the launcher of its own library, which is %s",
                 ranks, library);
        return refused(message);
    }
    bulk_seconds = seconds / 4;
    measure_seconds = (seconds - bulk_seconds) / MEASURES;
    messages();
    collectives();
    halo_exchange();
    bulk_synchronous();
    MPI_Finalize();
    return 0;
}
