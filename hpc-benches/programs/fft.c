/*
 * Fast Fourier transform of a 3-D grid of complex numbers, cut into slabs: each rank has some planes in z,
 * transforms them in x and y, exchanges all with all so that it has some planes in y whole in z, and transforms
 * those in z. The inverse goes the same way back.
 *
 * The transform in one direction is the radix-2 algorithm of Stockham, which sorts as it goes (P. N.
 * Swarztrauber, "FFT Algorithms for Vector Computers", Parallel Computing 1, 1984). Checked: a plane wave
 * becomes one number; the energy is the same before and after (Parseval); the inverse gives back what was
 * there. A sample is one transform of the whole grid.
 */
#include "app.h"
#include <math.h>
#include <string.h>

static const double ALLOWED_ERROR = 1e-12; /* relative, and per transform there and back */

struct complex {
    double re, im;
};

struct grid {
    int n, planes, first; /* points in each direction; planes of this rank, and their first */
    size_t points;        /* of this rank */
    struct complex *in_z; /* [z of this rank][y][x] */
    struct complex *in_y; /* [y of this rank][x][z] */
    struct complex *send, *receive;
    struct complex *roots; /* exp(-2 pi i k / n) */
    struct complex **scratch;
    double *plane_sums;
};

static void build(const struct app *app, struct grid *g)
{
    g->n = app->size;
    g->planes = g->n / app->ranks;
    g->first = g->planes * app->rank;
    g->points = (size_t)g->planes * g->n * g->n;
    struct complex **grids[] = {&g->in_z, &g->in_y, &g->send, &g->receive};
    for (int i = 0; i < 4; i++)
        *grids[i] = allocate(app, g->points, sizeof(struct complex));
    g->roots = allocate(app, g->n, sizeof *g->roots);
    for (int k = 0; k < g->n; k++) {
        double angle = -2 * M_PI * k / g->n;
        g->roots[k] = (struct complex){cos(angle), sin(angle)};
    }
    g->scratch = allocate(app, app->threads, sizeof *g->scratch);
    for (int i = 0; i < app->threads; i++)
        g->scratch[i] = allocate(app, 2 * (size_t)g->n, sizeof(struct complex));
    g->plane_sums = allocate(app, g->planes, sizeof(double));
}

/* Transforms `line`, whose points are `stride` apart; `sign` is 1 forward, -1 back (then without the factor). */
static void transform_line(const struct grid *g, struct complex *line, size_t stride, int sign)
{
    struct complex *from = g->scratch[omp_get_thread_num()], *to = from + g->n;
    for (int i = 0; i < g->n; i++)
        from[i] = line[i * stride];
    for (int half = g->n / 2, step = 1; half >= 1; half /= 2, step *= 2) {
        for (int p = 0; p < half; p++) {
            struct complex root = g->roots[p * step];
            root.im *= sign;
            for (int q = 0; q < step; q++) {
                struct complex a = from[q + step * p], b = from[q + step * (p + half)];
                struct complex difference = {a.re - b.re, a.im - b.im};
                to[q + step * 2 * p] = (struct complex){a.re + b.re, a.im + b.im};
                to[q + step * (2 * p + 1)] = (struct complex){
                    difference.re * root.re - difference.im * root.im,
                    difference.re * root.im + difference.im * root.re,
                };
            }
        }
        struct complex *other = from;
        from = to;
        to = other;
    }
    for (int i = 0; i < g->n; i++)
        line[i * stride] = from[i];
}

static void transform_planes(const struct grid *g, int sign)
{
    int n = g->n;
#pragma omp parallel for schedule(static)
    for (int z = 0; z < g->planes; z++) {
        struct complex *plane = g->in_z + (size_t)z * n * n;
        for (int y = 0; y < n; y++)
            transform_line(g, plane + (size_t)y * n, 1, sign);
        for (int x = 0; x < n; x++)
            transform_line(g, plane + x, n, sign);
    }
}

static void transform_columns(const struct grid *g, int sign)
{
#pragma omp parallel for schedule(static)
    for (int y = 0; y < g->planes; y++) {
        for (int x = 0; x < g->n; x++)
            transform_line(g, g->in_y + ((size_t)y * g->n + x) * g->n, 1, sign);
    }
}

/* A block on the wire: [y of the one][x][z of the other], for each rank. */
static size_t in_block(const struct grid *g, int y, int x, int z)
{
    size_t of_rank = (size_t)(y / g->planes) * g->planes * g->n * g->planes;
    return of_rank + ((size_t)(y % g->planes) * g->n + x) * g->planes + z;
}

static void exchange(const struct grid *g)
{
    int doubles = 2 * g->planes * g->n * g->planes;
    MPI_Alltoall(g->send, doubles, MPI_DOUBLE, g->receive, doubles, MPI_DOUBLE, MPI_COMM_WORLD);
}

/* From slabs in z to slabs in y. */
static void turn_to_y(const struct grid *g)
{
    int n = g->n;
#pragma omp parallel for schedule(static)
    for (int y = 0; y < n; y++) {
        for (int x = 0; x < n; x++) {
            for (int z = 0; z < g->planes; z++)
                g->send[in_block(g, y, x, z)] = g->in_z[((size_t)z * n + y) * n + x];
        }
    }
    exchange(g);
#pragma omp parallel for schedule(static)
    for (int y = 0; y < g->planes; y++) {
        for (int x = 0; x < n; x++) {
            for (int z = 0; z < n; z++)
                g->in_y[((size_t)y * n + x) * n + z] =
                    g->receive[in_block(g, z / g->planes * g->planes + y, x, z % g->planes)];
        }
    }
}

/* And back. */
static void turn_to_z(const struct grid *g)
{
    int n = g->n;
#pragma omp parallel for schedule(static)
    for (int y = 0; y < g->planes; y++) {
        for (int x = 0; x < n; x++) {
            for (int z = 0; z < n; z++)
                g->send[in_block(g, z / g->planes * g->planes + y, x, z % g->planes)] =
                    g->in_y[((size_t)y * n + x) * n + z];
        }
    }
    exchange(g);
#pragma omp parallel for schedule(static)
    for (int y = 0; y < n; y++) {
        for (int x = 0; x < n; x++) {
            for (int z = 0; z < g->planes; z++)
                g->in_z[((size_t)z * n + y) * n + x] = g->receive[in_block(g, y, x, z)];
        }
    }
}

static void forward(const struct grid *g)
{
    transform_planes(g, 1);
    turn_to_y(g);
    transform_columns(g, 1);
}

static void inverse(const struct grid *g)
{
    double factor = 1.0 / g->n / g->n / g->n;
    transform_columns(g, -1);
    turn_to_z(g);
    transform_planes(g, -1);
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < g->points; i++) {
        g->in_z[i].re *= factor;
        g->in_z[i].im *= factor;
    }
}

/* Summed plane by plane, so that the number of threads does not change the result. */
static double energy(const struct grid *g, const struct complex *grid)
{
    size_t plane = (size_t)g->n * g->n;
    double sum = 0;
#pragma omp parallel for schedule(static)
    for (int i = 0; i < g->planes; i++) {
        double plane_sum = 0;
        for (const struct complex *at = grid + i * plane; at < grid + (i + 1) * plane; at++)
            plane_sum += at->re * at->re + at->im * at->im;
        g->plane_sums[i] = plane_sum;
    }
    for (int i = 0; i < g->planes; i++)
        sum += g->plane_sums[i];
    return sum_over_ranks(sum);
}

/* A wave with 1, 2 and 3 periods in x, y and z becomes n^3 at this place and 0 elsewhere. Gives the error. */
static double wave_error(const struct grid *g)
{
    int n = g->n;
    double largest = 0, peak = (double)n * n * n;
    for (size_t i = 0; i < g->points; i++) {
        int x = i % n, y = i / n % n, z = g->first + i / n / n;
        g->in_z[i] = g->roots[(x + 2 * y + 3 * z) % n];
        g->in_z[i].im *= -1;
    }
    forward(g);
    for (size_t i = 0; i < g->points; i++) {
        int z = i % n, x = i / n % n, y = g->first + i / n / n;
        double expected = x == 1 && y == 2 % n && z == 3 % n ? peak : 0;
        largest = fmax(largest, hypot(g->in_y[i].re - expected, g->in_y[i].im) / peak);
    }
    return largest_over_ranks(largest);
}

static struct complex random_point(const struct grid *g, size_t i)
{
    uint64_t point = (uint64_t)g->first * g->n * g->n + i;
    return (struct complex){random_double(1, 2 * point) - 0.5, random_double(1, 2 * point + 1) - 0.5};
}

static void fill(const struct grid *g)
{
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < g->points; i++)
        g->in_z[i] = random_point(g, i);
}

static double inverse_error(const struct grid *g)
{
    double largest = 0;
    for (size_t i = 0; i < g->points; i++) {
        struct complex before = random_point(g, i);
        largest = fmax(largest, hypot(g->in_z[i].re - before.re, g->in_z[i].im - before.im));
    }
    return largest_over_ranks(largest);
}

static void expect(const struct app *app, const char *what, double error, double allowed)
{
    if (!(error <= allowed))
        refuse(app, 1, "verification failed: the %s by %g, at most %g is right", what, error, allowed);
}

int main(int argc, char **argv)
{
    const char *size_is = "the number of grid points in each direction: a power of two from 4 to 4096, and a "
                          "multiple of the number of ranks";
    struct app app = {.name = "fft", .size = 64, .repeats = 30};
    struct grid g;
    start(&app, &argc, &argv, size_is);
    if (app.size < 4 || app.size > 4096 || app.size & (app.size - 1) || app.size % app.ranks)
        usage(&app, size_is);
    if (2.0 * (app.size / app.ranks) * app.size * (app.size / app.ranks) > INT32_MAX)
        refuse(&app, 2, "a message would be too long; give more ranks or a smaller -n");
    build(&app, &g);
    expect(&app, "transform of a wave is off", wave_error(&g), ALLOWED_ERROR);

    double *there = allocate(&app, app.repeats, sizeof *there), *back = allocate(&app, app.repeats, sizeof *back);
    double before, after = 0;
    fill(&g);
    before = energy(&g, g.in_z);
    for (int i = 0; i < app.repeats; i++) {
        MPI_Barrier(MPI_COMM_WORLD);
        double begin = now();
        forward(&g);
        double between = now();
        there[i] = between - begin;
        if (i == 0)
            after = energy(&g, g.in_y) / app.size / app.size / app.size;
        if (app.spoil && i == 0 && app.rank == 0)
            g.in_y[g.points / 2].re += 0.01 * app.size;
        MPI_Barrier(MPI_COMM_WORLD);
        begin = now();
        inverse(&g);
        back[i] = now() - begin;
    }
    double error = inverse_error(&g);
    expect(&app, "energy changed", fabs(after / before - 1), ALLOWED_ERROR);
    expect(&app, "inverse is off", error, ALLOWED_ERROR * app.repeats);
    result(&app, "ranks", app.ranks);
    result(&app, "threads", app.threads);
    result(&app, "energy", after);
    result(&app, "error", error);
    report(&app, "fft-forward", there, app.repeats);
    report(&app, "fft-inverse", back, app.repeats);
    MPI_Finalize();
    return 0;
}
