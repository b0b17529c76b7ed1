/*
 * What the measuring programs share: one line per measure, as tacet-bench reads it:
 *
 *     measure NAME UNIT COUNT MIN MEDIAN P99 MAX MEAN [p99.9 P99.9] [curve CURVE AXIS X]
 *
 * with ns or % (lower is better), MB/s or 1/s (higher is better) as unit. The 99.9th percentile is
 * there where more than 1000 samples are. A measure that is a point
 * of a curve, such as the latency over the size of the message, says so by its last four words. How
 * often the samples of a measure lay where may follow it:
 *
 *     histogram NAME LOWER:COUNT...
 *
 * in bins that rise and end where the next begins.
 */
#ifndef MEASURE_H
#define MEASURE_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static inline int ascending(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

/* Nearest rank, as in the rest of the benchmarks. */
static inline double per_mille(const double *sorted, int count, int share)
{
    long rank = ((long)count * share + 999) / 1000;
    return sorted[rank > 0 ? rank - 1 : 0];
}

static inline double median(const double *sorted, int count)
{
    double upper = sorted[count / 2];
    return count % 2 ? upper : (sorted[count / 2 - 1] + upper) / 2;
}

/* Sorts the samples and prints all of a line but its end. */
static inline void print_summary(const char *name, const char *unit, double *samples, int count)
{
    double sum = 0;
    for (int i = 0; i < count; i++)
        sum += samples[i];
    qsort(samples, count, sizeof *samples, ascending);
    printf("measure %s %s %d %.3f %.3f %.3f %.3f %.3f", name, unit, count, samples[0],
           median(samples, count), per_mille(samples, count, 990), samples[count - 1],
           sum / count);
    /* Of fewer it would be the largest. */
    if (count > 1000)
        printf(" p99.9 %.3f", per_mille(samples, count, 999));
}

static inline void print_measure(const char *name, const char *unit, double *samples, int count)
{
    print_summary(name, unit, samples, count);
    putchar('\n');
}

/* A measure that is the point of a curve at x of an axis; neither name has a space in it. */
static inline void print_point(const char *name, const char *unit, double *samples, int count,
                               const char *curve, const char *axis, double x)
{
    print_summary(name, unit, samples, count);
    printf(" curve %s %s %.10g\n", curve, axis, x);
}

/*
 * The histogram of a measure whose samples are sorted and positive, as print_measure leaves them.
 * Bins are a 32nd of an octave, some 2 % wide; of empty ones only the first is printed, where a
 * bin before it ends.
 */
static inline void print_histogram(const char *name, const double *sorted, int count)
{
    double end = 0, lower = 0;
    printf("histogram %s", name);
    for (int at = 0; at < count;) {
        /* Rounding can't put two bins in one place: bins rise. */
        double bin = floor(log2(sorted[at]) * 32);
        lower = fmax(exp2(bin / 32), end);
        if (end > 0 && lower > end)
            printf(" %.3f:0", end);
        end = fmax(exp2((bin + 1) / 32), sorted[at] * (1 + 1e-9));
        int first = at;
        while (at < count && sorted[at] < end)
            at++;
        printf(" %.3f:%d", lower, at - first);
    }
    printf(" %.3f:0", end);
    putchar('\n');
}

#endif
