/*
 * What the measuring programs share: one line per measure, as tacet-bench reads it:
 *
 *     measure NAME UNIT COUNT MIN MEDIAN P99 MAX MEAN
 */
#ifndef MEASURE_H
#define MEASURE_H

#include <stdio.h>
#include <stdlib.h>

static int ascending(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

/* Nearest rank, as in the rest of the benchmarks. */
static double percentile(const double *sorted, int count, int percent)
{
    int rank = (count * percent + 99) / 100;
    return sorted[rank > 0 ? rank - 1 : 0];
}

static double median(const double *sorted, int count)
{
    double upper = sorted[count / 2];
    return count % 2 ? upper : (sorted[count / 2 - 1] + upper) / 2;
}

static void print_measure(const char *name, const char *unit, double *samples, int count)
{
    double sum = 0;
    for (int i = 0; i < count; i++)
        sum += samples[i];
    qsort(samples, count, sizeof *samples, ascending);
    printf("measure %s %s %d %.3f %.3f %.3f %.3f %.3f\n", name, unit, count, samples[0],
           median(samples, count), percentile(samples, count, 99), samples[count - 1],
           sum / count);
}

#endif
