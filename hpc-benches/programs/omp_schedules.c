/*
 * Schedules: what it costs to hand out the iterations of a loop, by the size of the chunk.
 *
 * The loop has SHARE delays for each thread; the overhead is that of one of them.
 */
#include "omp_epcc.h"

enum { SHARE = 128, LOOPS = 10 };

static void unchunked(int loops)
{
#pragma omp parallel
    for (int i = 0; i < loops; i++) {
#pragma omp for schedule(static)
        for (int j = 0; j < SHARE * threads; j++)
            delay();
    }
}

#define CHUNKED(name, clause)                                                                      \
    static void name(int loops)                                                                    \
    {                                                                                              \
        _Pragma("omp parallel") for (int i = 0; i < loops; i++)                                    \
        {                                                                                          \
            _Pragma(clause) for (int j = 0; j < SHARE * threads; j++) delay();                     \
        }                                                                                          \
    }

static int chunk;
CHUNKED(static_chunks, "omp for schedule(static, chunk)")
CHUNKED(dynamic_chunks, "omp for schedule(dynamic, chunk)")
CHUNKED(guided_chunks, "omp for schedule(guided, chunk)")

static void over_chunks(const char *curve, void (*construct)(int), int largest)
{
    for (chunk = 1; chunk <= largest; chunk *= 2) {
        char name[32];
        snprintf(name, sizeof name, "%s-%d", curve, chunk);
        struct overhead of = {name, construct, SAMPLES, LOOPS, LOOPS * SHARE, 1};
        print_overhead_at(of, curve, "iterations", chunk);
    }
}

void schedules(void)
{
    print_overhead((struct overhead){"omp-static", unchunked, SAMPLES, LOOPS, LOOPS * SHARE, 1});
    over_chunks("omp-static", static_chunks, SHARE);
    over_chunks("omp-dynamic", dynamic_chunks, SHARE);
    /* The first guided chunk is an n-th of the loop by n threads: a larger least one changes nothing. */
    over_chunks("omp-guided", guided_chunks, SHARE / threads > 1 ? SHARE / threads : 1);
}
