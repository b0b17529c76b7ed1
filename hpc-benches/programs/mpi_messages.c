/*
 * Messages between two ranks: latency, bandwidth one way and both ways, and how many a second all
 * pairs of ranks send. The definitions are those of the OSU Micro-Benchmarks (osu_latency, osu_bw,
 * osu_bibw, osu_mbw_mr).
 */
#include "mpi_bench.h"

enum { TAG = 1, REPLY = 2, MOST_IN_FLIGHT = 64, BYTES_IN_FLIGHT = 4 << 20 };

/* Messages between this rank and a peer; a rank without one waits for the others. */
struct pair {
    int peer;
    int bytes;
    int window;
    unsigned char *sent, *received;
    MPI_Request requests[2 * MOST_IN_FLIGHT];
};

static int has_peer(const struct pair *pair)
{
    return pair->peer >= 0;
}

/* The lower rank of a pair begins. */
static int begins(const struct pair *pair)
{
    return rank < pair->peer;
}

static int window_of(int bytes)
{
    int fitting = BYTES_IN_FLIGHT / bytes;
    return fitting > MOST_IN_FLIGHT ? MOST_IN_FLIGHT : fitting;
}

static void open_pair(struct pair *pair, int peer, int bytes, int window)
{
    pair->peer = peer;
    pair->bytes = bytes;
    pair->window = window;
    pair->sent = allocate((size_t)bytes * window);
    pair->received = allocate((size_t)bytes * window);
    fill(pair->sent, (size_t)bytes * window, rank, peer);
}

static void close_pair(struct pair *pair, int receives, const char *measure)
{
    if (has_peer(pair) && receives)
        check(pair->received, (size_t)pair->bytes * pair->window, pair->peer, rank, measure);
    free(pair->sent);
    free(pair->received);
}

static void round_trip(void *state)
{
    struct pair *pair = state;
    if (!has_peer(pair))
        return;
    if (begins(pair))
        MPI_Send(pair->sent, pair->bytes, MPI_BYTE, pair->peer, TAG, MPI_COMM_WORLD);
    MPI_Recv(pair->received, pair->bytes, MPI_BYTE, pair->peer, TAG, MPI_COMM_WORLD,
             MPI_STATUS_IGNORE);
    if (!begins(pair))
        MPI_Send(pair->sent, pair->bytes, MPI_BYTE, pair->peer, TAG, MPI_COMM_WORLD);
}

static int post_receives(struct pair *pair, int requests)
{
    for (int i = 0; i < pair->window; i++)
        MPI_Irecv(pair->received + (size_t)i * pair->bytes, pair->bytes, MPI_BYTE, pair->peer, TAG,
                  MPI_COMM_WORLD, &pair->requests[requests++]);
    return requests;
}

static int post_sends(struct pair *pair, int requests)
{
    for (int i = 0; i < pair->window; i++)
        MPI_Isend(pair->sent + (size_t)i * pair->bytes, pair->bytes, MPI_BYTE, pair->peer, TAG,
                  MPI_COMM_WORLD, &pair->requests[requests++]);
    return requests;
}

/* A window of messages, and a reply when all are there. */
static void one_way(void *state)
{
    struct pair *pair = state;
    if (!has_peer(pair))
        return;
    int requests = begins(pair) ? post_sends(pair, 0) : post_receives(pair, 0);
    MPI_Waitall(requests, pair->requests, MPI_STATUSES_IGNORE);
    if (begins(pair))
        MPI_Recv(NULL, 0, MPI_BYTE, pair->peer, REPLY, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    else
        MPI_Send(NULL, 0, MPI_BYTE, pair->peer, REPLY, MPI_COMM_WORLD);
}

/* A window of messages each way at once. */
static void both_ways(void *state)
{
    struct pair *pair = state;
    if (!has_peer(pair))
        return;
    int requests = post_sends(pair, post_receives(pair, 0));
    MPI_Waitall(requests, pair->requests, MPI_STATUSES_IGNORE);
}

/* Ranks 0 and 1 are a pair; the others have no peer. */
static int first_pair(void)
{
    return rank < 2 ? 1 - rank : -1;
}

static void latency(struct size size)
{
    struct pair pair;
    open_pair(&pair, first_pair(), size.bytes, 1);
    int count = take(round_trip, &pair, batch_of(size.bytes));
    for (int i = 0; i < count; i++)
        samples[i] /= 2;
    close_pair(&pair, 1, "latency");
    print_size("latency", "ns", size, count);
}

static void bandwidth(struct size size, const char *curve, void (*operation)(void *), int ways)
{
    struct pair pair;
    int window = window_of(size.bytes);
    open_pair(&pair, first_pair(), size.bytes, window);
    int count = take(operation, &pair, 1);
    /* Bytes in a nanosecond are thousands of megabytes in a second. */
    for (int i = 0; i < count; i++)
        samples[i] = (double)ways * window * size.bytes / samples[i] * 1e3;
    close_pair(&pair, ways == 2 || !begins(&pair), curve);
    print_size(curve, "MB/s", size, count);
}

/* Rank i of the lower half sends to its counterpart in the upper half; an odd one is left over. */
static void message_rate(struct size size)
{
    static double of_all[MOST_SAMPLES];
    struct pair pair;
    int pairs = ranks / 2, window = MOST_IN_FLIGHT;
    int peer = rank < pairs ? rank + pairs : rank < 2 * pairs ? rank - pairs : -1;
    open_pair(&pair, peer, size.bytes, window);
    int count = take(one_way, &pair, 1);
    if (!has_peer(&pair) || !begins(&pair))
        memset(samples, 0, sizeof samples);
    MPI_Reduce(samples, of_all, count, MPI_DOUBLE, MPI_SUM, 0, MPI_COMM_WORLD);
    /* of_all / pairs is the time that a pair took, on average. */
    for (int i = 0; rank == 0 && i < count; i++)
        samples[i] = (double)pairs * window / (of_all[i] / pairs) * 1e9;
    close_pair(&pair, !begins(&pair), "message-rate");
    print_size("message-rate", "1/s", size, count);
}

void messages(void)
{
    for (int i = 0; i < SIZES; i++)
        latency(sizes[i]);
    for (int i = 0; i < SIZES; i++)
        bandwidth(sizes[i], "bandwidth", one_way, 1);
    for (int i = 0; i < SIZES; i++)
        bandwidth(sizes[i], "bidirectional", both_ways, 2);
    for (int i = 0; i < SMALL_SIZES; i++)
        message_rate(sizes[i]);
}
