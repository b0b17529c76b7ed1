/*
 * Conjugate gradients on a 3-D grid: the 27-point stencil of HPCG (J. Dongarra, M. Heroux, P. Luszczek, "HPCG
 * Benchmark: a New Metric for Ranking High Performance Computing Systems", 2015) without its preconditioner.
 *
 * Each rank has n x n x n points, the ranks are stacked in z. The matrix has 26 on its diagonal, -1 for each
 * neighbour, and is stored row by row with column numbers, so that it is read from memory like that of any
 * sparse solver. The right-hand side is such that the solution is 1 everywhere. A sample is one iteration:
 * an exchange of planes, a product with the matrix, two sums over all ranks, three updates of vectors.
 */
#include "app.h"
#include <math.h>

enum { NEIGHBOURS = 27 };

static const double TOLERANCE = 1e-10;          /* where the iteration ends */
static const double ALLOWED_RESIDUAL = 1e-9;    /* of the solution, computed anew */
static const double ALLOWED_ERROR = 1e-5;

struct problem {
    int n, below, above;    /* points in each direction; ranks beside this one */
    int64_t plane, rows;
    int *counts, *columns;  /* columns count in a vector with ghost planes */
    double *values;
    double *b, *x, *r, *ap; /* without ghost planes */
    double *p;              /* with one below and one above */
    double *plane_sums;
};

static void build_row(const struct problem *q, int64_t row, int z)
{
    int n = q->n, y = row / n % n, x = row % n, count = 0;
    int *columns = q->columns + row * NEIGHBOURS;
    double *values = q->values + row * NEIGHBOURS;
    for (int dz = -1; dz <= 1; dz++) {
        if ((z + dz < 0 && q->below == MPI_PROC_NULL) || (z + dz >= n && q->above == MPI_PROC_NULL))
            continue;
        for (int dy = -1; dy <= 1; dy++) {
            for (int dx = -1; dx <= 1; dx++) {
                if (y + dy < 0 || y + dy >= n || x + dx < 0 || x + dx >= n)
                    continue;
                columns[count] = (z + dz + 1) * q->plane + (y + dy) * n + x + dx;
                values[count++] = dx || dy || dz ? -1 : 26;
            }
        }
    }
    q->counts[row] = count;
    q->b[row] = 26 - (count - 1);
}

/* Memory is written first by the thread that will use it. */
static void build(const struct app *app, struct problem *q)
{
    int n = q->n = app->size;
    q->below = app->rank > 0 ? app->rank - 1 : MPI_PROC_NULL;
    q->above = app->rank + 1 < app->ranks ? app->rank + 1 : MPI_PROC_NULL;
    q->plane = (int64_t)n * n;
    q->rows = q->plane * n;
    q->counts = allocate(app, q->rows, sizeof *q->counts);
    q->columns = allocate(app, q->rows * NEIGHBOURS, sizeof *q->columns);
    q->values = allocate(app, q->rows * NEIGHBOURS, sizeof *q->values);
    double **vectors[] = {&q->b, &q->x, &q->r, &q->ap};
    for (int i = 0; i < 4; i++)
        *vectors[i] = allocate(app, q->rows, sizeof(double));
    q->p = allocate(app, q->rows + 2 * q->plane, sizeof(double));
    q->plane_sums = allocate(app, n, sizeof(double));
#pragma omp parallel for schedule(static)
    for (int z = 0; z < n; z++) {
        for (int64_t row = z * q->plane; row < (z + 1) * q->plane; row++) {
            build_row(q, row, z);
            q->x[row] = q->r[row] = q->ap[row] = q->p[row + q->plane] = 0;
        }
    }
}

static void exchange_planes(struct problem *q)
{
    double *p = q->p;
    int count = q->plane;
    MPI_Sendrecv(p + q->plane, count, MPI_DOUBLE, q->below, 0, p + q->plane + q->rows, count, MPI_DOUBLE,
                 q->above, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    MPI_Sendrecv(p + q->rows, count, MPI_DOUBLE, q->above, 1, p, count, MPI_DOUBLE, q->below, 1,
                 MPI_COMM_WORLD, MPI_STATUS_IGNORE);
}

/* ap = A p */
static void multiply(struct problem *q)
{
    exchange_planes(q);
#pragma omp parallel for schedule(static)
    for (int z = 0; z < q->n; z++) {
        for (int64_t row = z * q->plane; row < (z + 1) * q->plane; row++) {
            const int *columns = q->columns + row * NEIGHBOURS;
            const double *values = q->values + row * NEIGHBOURS;
            double sum = 0;
            for (int k = 0; k < q->counts[row]; k++)
                sum += values[k] * q->p[columns[k]];
            q->ap[row] = sum;
        }
    }
}

/* Summed plane by plane, so that the number of threads does not change the result. */
static double dot(struct problem *q, const double *a, const double *b)
{
    double sum = 0;
#pragma omp parallel for schedule(static)
    for (int z = 0; z < q->n; z++) {
        double plane_sum = 0;
        for (int64_t row = z * q->plane; row < (z + 1) * q->plane; row++)
            plane_sum += a[row] * b[row];
        q->plane_sums[z] = plane_sum;
    }
    for (int z = 0; z < q->n; z++)
        sum += q->plane_sums[z];
    return sum_over_ranks(sum);
}

/* y = a x + b y */
static void combine(const struct problem *q, double a, const double *x, double b, double *y)
{
#pragma omp parallel for schedule(static)
    for (int z = 0; z < q->n; z++) {
        for (int64_t row = z * q->plane; row < (z + 1) * q->plane; row++)
            y[row] = a * x[row] + b * y[row];
    }
}

/* Solves from 0; appends the time of each iteration to `samples`; gives the number of iterations. */
static int solve(struct problem *q, int most, double *samples)
{
    double *p = q->p + q->plane;
    combine(q, 0, q->b, 0, q->x);
    combine(q, 1, q->b, 0, q->r);
    combine(q, 1, q->b, 0, p);
    double rr = dot(q, q->r, q->r), goal = TOLERANCE * TOLERANCE * rr;
    int iterations = 0;
    while (iterations < most && rr > goal) {
        double start = now();
        multiply(q);
        double alpha = rr / dot(q, p, q->ap);
        combine(q, alpha, p, 1, q->x);
        combine(q, -alpha, q->ap, 1, q->r);
        double next = dot(q, q->r, q->r);
        combine(q, 1, q->r, next / rr, p);
        rr = next;
        samples[iterations++] = now() - start;
    }
    return iterations;
}

static double largest_error(const struct problem *q)
{
    double largest = 0;
    for (int64_t row = 0; row < q->rows; row++)
        largest = fmax(largest, fabs(q->x[row] - 1));
    return largest_over_ranks(largest);
}

/* |b - A x| / |b|, from the solution alone. */
static double residual(struct problem *q)
{
    combine(q, 1, q->x, 0, q->p + q->plane);
    multiply(q);
    combine(q, 1, q->b, -1, q->ap);
    return sqrt(dot(q, q->ap, q->ap) / dot(q, q->b, q->b));
}

int main(int argc, char **argv)
{
    struct app app = {.name = "cg", .size = 48, .repeats = 2};
    struct problem q;
    start(&app, &argc, &argv, "the number of grid points of a rank in each direction, at most 1000");
    if (app.size > 1000)
        usage(&app, "at most 1000");
    build(&app, &q);
    int most = 200 + 10 * app.size, iterations = 0;
    double *samples = allocate(&app, (size_t)most * app.repeats, sizeof *samples);
    for (int i = 0; i < app.repeats; i++)
        iterations += solve(&q, most, samples + iterations);
    if (app.spoil && app.rank == 0)
        q.x[q.rows / 2] += 0.001;

    double left = residual(&q), error = largest_error(&q);
    if (!(left <= ALLOWED_RESIDUAL))
        refuse(&app, 1, "verification failed: the residual is %g after %d iterations, at most %g is right", left,
               iterations / app.repeats, ALLOWED_RESIDUAL);
    if (!(error <= ALLOWED_ERROR))
        refuse(&app, 1, "verification failed: the solution is off by %g, at most %g is right", error, ALLOWED_ERROR);
    result(&app, "ranks", app.ranks);
    result(&app, "threads", app.threads);
    result(&app, "iterations", iterations);
    result(&app, "residual", left);
    result(&app, "error", error);
    report(&app, "cg-iteration", samples, iterations);
    MPI_Finalize();
    return 0;
}
