/*
 * Arrays: what it costs to give each thread a copy of its own, by the number of its elements
 * (doubles): private (none is copied), firstprivate and copyin (all threads copy the master's),
 * copyprivate (all copy that of the thread that was alone).
 */
#include "omp_epcc.h"

enum { ARRAY_SAMPLES = 20, ARRAY_BATCH = 50 };

/* A delay that may have used the array: else no copy need be made. */
static void delay_with(double *array)
{
    __asm__ volatile("" ::"r"(array) : "memory");
    delay();
}

#define ARRAY(n)                                                                                   \
    static double copied_##n[n];                                                                   \
    static double own_##n[n];                                                                      \
    _Pragma(THREADPRIVATE(own_##n))                                                                \
                                                                                                   \
    static void private_##n(int batch)                                                             \
    {                                                                                              \
        for (int i = 0; i < batch; i++) {                                                          \
            _Pragma(CLAUSE(parallel private, copied_##n)) delay_with(copied_##n);                  \
        }                                                                                          \
    }                                                                                              \
    static void firstprivate_##n(int batch)                                                        \
    {                                                                                              \
        for (int i = 0; i < batch; i++) {                                                          \
            _Pragma(CLAUSE(parallel firstprivate, copied_##n)) delay_with(copied_##n);             \
        }                                                                                          \
    }                                                                                              \
    static void copyin_##n(int batch)                                                              \
    {                                                                                              \
        for (int i = 0; i < batch; i++) {                                                          \
            _Pragma(CLAUSE(parallel copyin, own_##n)) delay_with(own_##n);                         \
        }                                                                                          \
    }                                                                                              \
    static void copyprivate_##n(int batch)                                                         \
    {                                                                                              \
        _Pragma(CLAUSE(parallel private, copied_##n)) for (int i = 0; i < batch; i++)              \
        {                                                                                          \
            _Pragma(CLAUSE(single copyprivate, copied_##n)) delay_with(copied_##n);                \
            __asm__ volatile("" ::"r"(copied_##n) : "memory");                                     \
        }                                                                                          \
    }

/* The operand of _Pragma is one string; both steps are needed to expand what is pasted. */
#define TEXT(words) #words
#define CLAUSE(construct, array) TEXT(omp construct(array))
#define THREADPRIVATE(array) TEXT(omp threadprivate(array))

ARRAY(1)
ARRAY(9)
ARRAY(81)
ARRAY(729)
ARRAY(6561)
ARRAY(59049)

#define ALL(construct)                                                                             \
    {                                                                                              \
        construct##_1, construct##_9, construct##_81, construct##_729, construct##_6561,           \
            construct##_59049                                                                      \
    }

void arrays(void)
{
    static const struct {
        const char *curve;
        void (*of_size[6])(int);
    } all[] = {
        {"omp-private", ALL(private)},
        {"omp-firstprivate", ALL(firstprivate)},
        {"omp-copyin", ALL(copyin)},
        {"omp-copyprivate", ALL(copyprivate)},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        int elements = 1;
        for (int size = 0; size < 6; size++, elements *= 9) {
            char name[32];
            snprintf(name, sizeof name, "%s-%d", all[i].curve, elements);
            struct overhead of = {name,        all[i].of_size[size], ARRAY_SAMPLES,
                                  ARRAY_BATCH, ARRAY_BATCH,          1};
            print_overhead_at(of, all[i].curve, "doubles", elements);
        }
    }
}
