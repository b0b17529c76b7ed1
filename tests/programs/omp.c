/* What OpenMP programs do with their runtime: regions, schedules, tasks, places. */
#define _GNU_SOURCE
#include "show.h"
#include <omp.h>
#include <sched.h>
#include <unistd.h>

static void run_regions(void) {
    SHOW(omp_get_num_procs());
    SHOW(omp_get_max_threads());
    SHOW(omp_in_parallel());
    int threads = 0, sum = 0, once = 0, masters = 0, sections = 0, critical = 0;
    omp_lock_t lock;
    omp_init_lock(&lock);
#pragma omp parallel reduction(+ : sum)
    {
        sum += omp_get_thread_num();
#pragma omp single
        once++;
#pragma omp master
        threads = omp_get_num_threads();
#pragma omp atomic
        masters++;
#pragma omp critical
        critical++;
#pragma omp sections
        {
#pragma omp section
            {
#pragma omp atomic
                sections++;
            }
#pragma omp section
            {
#pragma omp atomic
                sections++;
            }
        }
        for (int i = 0; i < 100; i++) {
            omp_set_lock(&lock);
            critical++;
            omp_unset_lock(&lock);
        }
    }
    SHOW(threads);
    SHOW(sum == threads * (threads - 1) / 2);
    SHOW(once);
    SHOW(masters == threads);
    SHOW(sections);
    SHOW(critical == 101 * threads);
}

#define LOOP(clause)                                                                                         \
    do {                                                                                                     \
        double total = 0;                                                                                    \
        int seen[1000] = {0}, wrong = 0;                                                                     \
        _Pragma(clause) for (int i = 0; i < 1000; i++) {                                                     \
            total += i * 0.5;                                                                                \
            seen[i]++;                                                                                       \
        }                                                                                                    \
        for (int i = 0; i < 1000; i++)                                                                       \
            wrong += seen[i] != 1;                                                                           \
        printf("%s: %.1f, %d wrong\n", clause, total, wrong);                                                \
    } while (0)

static void run_schedules(void) {
    LOOP("omp parallel for reduction(+ : total) schedule(static)");
    LOOP("omp parallel for reduction(+ : total) schedule(static, 3)");
    LOOP("omp parallel for reduction(+ : total) schedule(dynamic)");
    LOOP("omp parallel for reduction(+ : total) schedule(dynamic, 7)");
    LOOP("omp parallel for reduction(+ : total) schedule(guided)");
    LOOP("omp parallel for reduction(+ : total) schedule(runtime)");
    LOOP("omp parallel for simd reduction(+ : total)");
    char order[101] = "";
#pragma omp parallel for ordered schedule(dynamic)
    for (int i = 0; i < 50; i++) {
#pragma omp ordered
        sprintf(order + strlen(order), "%d", i % 10);
    }
    puts(order);
}

static int fibonacci(int n) {
    if (n < 2)
        return n;
    int a, b;
#pragma omp task shared(a)
    a = fibonacci(n - 1);
#pragma omp task shared(b)
    b = fibonacci(n - 2);
#pragma omp taskwait
    return a + b;
}

static void run_tasks(void) {
    int result = 0, chain = 0, groups = 0;
#pragma omp parallel
#pragma omp single
    result = fibonacci(18);
    SHOW(result);
#pragma omp parallel
#pragma omp single
    {
        for (int i = 0; i < 20; i++) {
#pragma omp task depend(inout : chain)
            chain = chain * 3 % 1000 + i;
        }
#pragma omp taskgroup
        for (int i = 0; i < 50; i++) {
#pragma omp task
            {
#pragma omp atomic
                groups++;
            }
        }
    }
    SHOW(chain);
    SHOW(groups);
    long total = 0;
#pragma omp parallel
#pragma omp single
#pragma omp taskloop reduction(+ : total)
    for (int i = 0; i < 1000; i++)
        total += i;
    SHOW(total);
}

static void run_nested(void) {
    omp_set_max_active_levels(3);
    int innermost = 0;
#pragma omp parallel num_threads(2)
#pragma omp parallel num_threads(3)
#pragma omp parallel num_threads(2)
    {
#pragma omp atomic
        innermost++;
        if (omp_get_level() != 3 || omp_get_team_size(2) != 3)
            puts("wrong level");
    }
    SHOW(innermost);
}

/* Many more threads than cores, again and again: each has to come forward. */
static void run_many(void) {
    int count = 0;
    for (int round = 0; round < 50; round++) {
#pragma omp parallel num_threads(16)
        {
#pragma omp barrier
#pragma omp atomic
            count++;
#pragma omp barrier
        }
    }
    SHOW(count);
    double sum = 0;
#pragma omp parallel for num_threads(9) reduction(+ : sum) schedule(dynamic)
    for (int i = 0; i < 10000; i++)
        sum += i;
    SHOW(sum == 49995000);
}

/* A thread waits for another by looking, without a call. */
static void run_spinning(void) {
    volatile int turn = 0;
    int rounds = 0;
#pragma omp parallel num_threads(4)
    {
        int me = omp_get_thread_num();
        for (int i = 0; i < 5; i++) {
            while (__atomic_load_n(&turn, __ATOMIC_ACQUIRE) != i * 4 + me)
                ;
            rounds++;
            __atomic_store_n(&turn, i * 4 + me + 1, __ATOMIC_RELEASE);
        }
    }
    SHOW(rounds);
}

static void run_places(void) {
    SHOW(omp_get_num_places());
    SHOW(omp_get_proc_bind());
    for (int i = 0; i < omp_get_num_places(); i++) {
        int ids[64];
        printf("place %d:", i);
        omp_get_place_proc_ids(i, ids);
        for (int j = 0; j < omp_get_place_num_procs(i); j++)
            printf(" %d", ids[j]);
        puts("");
    }
    int wrong = 0;
    cpu_set_t all;
    sched_getaffinity(0, sizeof all, &all);
#pragma omp parallel reduction(+ : wrong)
    {
        cpu_set_t mine;
        sched_getaffinity(0, sizeof mine, &mine);
        wrong += omp_get_num_places() > 0 && CPU_COUNT(&mine) != 1;
        wrong += !CPU_ISSET(sched_getcpu(), &mine);
    }
    SHOW(wrong);
}

static void run_time(void) {
    double start = omp_get_wtime();
    usleep(20000);
    SHOW(omp_get_wtime() - start >= 0.02);
    SHOW(omp_get_wtick() > 0 && omp_get_wtick() < 1e-3);
}

int main(int argc, char **argv) {
    const struct section sections[] = {
        {"regions", run_regions},   {"schedules", run_schedules}, {"tasks", run_tasks},   {"nested", run_nested},
        {"many", run_many},         {"spinning", run_spinning},   {"places", run_places}, {"time", run_time},
        {0},
    };
    return run_section(argc, argv, sections);
}
