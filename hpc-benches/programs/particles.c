/*
 * Molecular dynamics: atoms that attract and repel each other over short distances, in a periodic box
 * (L. Verlet, "Computer Experiments on Classical Fluids I", Physical Review 159, 1967), in reduced units:
 * density 0.8442, temperature 1.44, Lennard-Jones forces that end at 2.5, shifted so that neither force nor
 * energy jumps there.
 *
 * Each rank moves a part of the atoms and knows the places of all (atom decomposition of S. Plimpton, "Fast
 * Parallel Algorithms for Short-Range Molecular Dynamics", Journal of Computational Physics 117, 1995). A
 * sample is one step: a move, an exchange of places, cell lists, forces, and sums over all ranks. Both atoms
 * of a pair compute its force by themselves, so that momentum is conserved only if all are right; energy is
 * only if places, forces and cells are.
 */
#include "app.h"
#include <math.h>
#include <string.h>

static const double DENSITY = 0.8442, TEMPERATURE = 1.44, STEP = 0.002, CUTOFF = 2.5;
static const double ALLOWED_MOMENTUM = 1e-10; /* per atom */
static const double ALLOWED_DRIFT = 1e-3;     /* of the energy, relative to the kinetic one */

struct vector {
    double x, y, z;
};

struct box {
    int atoms, first, mine; /* all; the first of this rank, and how many */
    int side;               /* cells in each direction */
    double length;
    struct vector *places;  /* of all */
    struct vector *speeds, *forces;
    double *energies;       /* of this rank's atoms: half of each pair */
    int *counts, *displacements;
    int *cells, *begins;    /* cell of each atom; where the atoms of a cell begin in `sorted` */
    struct vector *sorted;
    double force_shift, energy_shift;
};

static int cell_of(const struct box *b, struct vector at)
{
    double scale = b->side / b->length;
    int x = at.x * scale, y = at.y * scale, z = at.z * scale;
    /* An atom may lie on the very edge after it was put back into the box. */
    x -= x == b->side;
    y -= y == b->side;
    z -= z == b->side;
    return (z * b->side + y) * b->side + x;
}

/* A face-centred cubic crystal of n cells, and speeds without a common drift, of the temperature wanted. */
static void place_atoms(struct box *b, int n, struct vector *speeds)
{
    static const double corner[4][3] = {{0, 0, 0}, {0.5, 0.5, 0}, {0.5, 0, 0.5}, {0, 0.5, 0.5}};
    double spacing = b->length / n, square = 0;
    struct vector drift = {0, 0, 0};
    for (int i = 0; i < b->atoms; i++) {
        int cell = i / 4, x = cell % n, y = cell / n % n, z = cell / n / n;
        const double *at = corner[i % 4];
        b->places[i] = (struct vector){(x + at[0] + 0.25) * spacing, (y + at[1] + 0.25) * spacing,
                                       (z + at[2] + 0.25) * spacing};
        speeds[i] = (struct vector){random_double(2, 3 * (uint64_t)i) - 0.5, random_double(2, 3 * (uint64_t)i + 1) - 0.5,
                                    random_double(2, 3 * (uint64_t)i + 2) - 0.5};
        drift.x += speeds[i].x / b->atoms;
        drift.y += speeds[i].y / b->atoms;
        drift.z += speeds[i].z / b->atoms;
    }
    for (int i = 0; i < b->atoms; i++) {
        struct vector *v = &speeds[i];
        *v = (struct vector){v->x - drift.x, v->y - drift.y, v->z - drift.z};
        square += v->x * v->x + v->y * v->y + v->z * v->z;
    }
    double scale = sqrt(3 * TEMPERATURE * b->atoms / square);
    for (int i = 0; i < b->atoms; i++)
        speeds[i] = (struct vector){speeds[i].x * scale, speeds[i].y * scale, speeds[i].z * scale};
}

static void build(const struct app *app, struct box *b)
{
    int n = app->size;
    b->atoms = 4 * n * n * n;
    b->length = cbrt(b->atoms / DENSITY);
    b->side = b->length / CUTOFF;
    b->first = first_of(b->atoms, app->rank, app->ranks);
    b->mine = first_of(b->atoms, app->rank + 1, app->ranks) - b->first;
    b->counts = allocate(app, app->ranks, sizeof(int));
    b->displacements = allocate(app, app->ranks, sizeof(int));
    for (int i = 0; i < app->ranks; i++) {
        b->displacements[i] = 3 * first_of(b->atoms, i, app->ranks);
        b->counts[i] = 3 * first_of(b->atoms, i + 1, app->ranks) - b->displacements[i];
    }
    b->places = allocate(app, b->atoms, sizeof(struct vector));
    b->sorted = allocate(app, b->atoms, sizeof(struct vector));
    b->speeds = allocate(app, b->mine, sizeof(struct vector));
    b->forces = allocate(app, b->mine, sizeof(struct vector));
    b->energies = allocate(app, b->mine, sizeof(double));
    b->cells = allocate(app, b->atoms, sizeof(int));
    b->begins = allocate(app, (size_t)b->side * b->side * b->side + 1, sizeof(int));
    struct vector *speeds = allocate(app, b->atoms, sizeof *speeds);
    place_atoms(b, n, speeds);
    memcpy(b->speeds, speeds + b->first, b->mine * sizeof *speeds);
    free(speeds);
    double i6 = pow(CUTOFF, -6);
    b->energy_shift = 4 * i6 * (i6 - 1);
    b->force_shift = 24 * i6 * (2 * i6 - 1) / CUTOFF;
}

/* Puts the places of all atoms into the order of their cells. */
static void sort_into_cells(struct box *b)
{
    int cells = b->side * b->side * b->side;
    memset(b->begins, 0, (cells + 1) * sizeof *b->begins);
#pragma omp parallel for schedule(static)
    for (int i = 0; i < b->atoms; i++)
        b->cells[i] = cell_of(b, b->places[i]);
    for (int i = 0; i < b->atoms; i++)
        b->begins[b->cells[i] + 1]++;
    for (int i = 0; i < cells; i++)
        b->begins[i + 1] += b->begins[i];
    /* From the end, so that each begin moves down to where it belongs. */
    for (int i = b->atoms - 1; i >= 0; i--)
        b->sorted[--b->begins[b->cells[i] + 1]] = b->places[i];
    for (int i = 0; i < cells; i++)
        b->begins[i] = b->begins[i + 1];
    b->begins[cells] = b->atoms;
}

/* A neighbouring cell in one direction, and how far its atoms are to be moved to lie beside this one. */
static int beside(const struct box *b, int cell, int step, double *shift)
{
    int other = cell + step;
    *shift = other < 0 ? -b->length : other >= b->side ? b->length : 0;
    return other < 0 ? b->side - 1 : other >= b->side ? 0 : other;
}

/* Adds what the atoms of a cell, moved by `shift`, do to an atom at `at`. */
static void add_cell(const struct box *b, int cell, struct vector shift, struct vector at, struct vector *force,
                     double *energy)
{
    at = (struct vector){at.x - shift.x, at.y - shift.y, at.z - shift.z};
    for (int j = b->begins[cell]; j < b->begins[cell + 1]; j++) {
        struct vector d = {at.x - b->sorted[j].x, at.y - b->sorted[j].y, at.z - b->sorted[j].z};
        double square = d.x * d.x + d.y * d.y + d.z * d.z;
        if (square >= CUTOFF * CUTOFF || square == 0)
            continue;
        double i2 = 1 / square, i6 = i2 * i2 * i2, distance = sqrt(square);
        double pull = 24 * i6 * (2 * i6 - 1) * i2 - b->force_shift / distance;
        force->x += pull * d.x;
        force->y += pull * d.y;
        force->z += pull * d.z;
        *energy += 0.5 * (4 * i6 * (i6 - 1) - b->energy_shift + b->force_shift * (distance - CUTOFF));
    }
}

static void compute_forces(struct box *b)
{
    sort_into_cells(b);
#pragma omp parallel for schedule(static)
    for (int i = 0; i < b->mine; i++) {
        struct vector at = b->places[b->first + i], force = {0, 0, 0}, shift;
        int cell = b->cells[b->first + i], side = b->side;
        double energy = 0;
        for (int dz = -1; dz <= 1; dz++) {
            int z = beside(b, cell / side / side, dz, &shift.z);
            for (int dy = -1; dy <= 1; dy++) {
                int y = beside(b, cell / side % side, dy, &shift.y);
                for (int dx = -1; dx <= 1; dx++) {
                    int x = beside(b, cell % side, dx, &shift.x);
                    add_cell(b, (z * side + y) * side + x, shift, at, &force, &energy);
                }
            }
        }
        b->forces[i] = force;
        b->energies[i] = energy;
    }
}

static double back_into(double length, double at)
{
    return at < 0 ? at + length : at >= length ? at - length : at;
}

static void push(struct box *b, double time)
{
#pragma omp parallel for schedule(static)
    for (int i = 0; i < b->mine; i++) {
        b->speeds[i].x += time * b->forces[i].x;
        b->speeds[i].y += time * b->forces[i].y;
        b->speeds[i].z += time * b->forces[i].z;
    }
}

static void move(struct box *b)
{
    struct vector *places = b->places + b->first;
#pragma omp parallel for schedule(static)
    for (int i = 0; i < b->mine; i++) {
        places[i].x = back_into(b->length, places[i].x + STEP * b->speeds[i].x);
        places[i].y = back_into(b->length, places[i].y + STEP * b->speeds[i].y);
        places[i].z = back_into(b->length, places[i].z + STEP * b->speeds[i].z);
    }
    MPI_Allgatherv(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, b->places, b->counts, b->displacements, MPI_DOUBLE,
                   MPI_COMM_WORLD);
}

/* Kinetic energy, potential energy and momentum of all atoms. */
static void measure_state(const struct box *b, double *state)
{
    double mine[5] = {0};
    for (int i = 0; i < b->mine; i++) {
        struct vector v = b->speeds[i];
        mine[0] += 0.5 * (v.x * v.x + v.y * v.y + v.z * v.z);
        mine[1] += b->energies[i];
        mine[2] += v.x;
        mine[3] += v.y;
        mine[4] += v.z;
    }
    MPI_Allreduce(mine, state, 5, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
}

/* At each step, so that wrong forces are told before they drive atoms out of all bounds. */
static void verify(const struct app *app, double momentum, double drift)
{
    if (!(momentum <= ALLOWED_MOMENTUM))
        refuse(app, 1, "verification failed: the momentum changed by %g per atom, at most %g is right", momentum,
               ALLOWED_MOMENTUM);
    if (!(drift <= ALLOWED_DRIFT))
        refuse(app, 1, "verification failed: the energy changed by %g of the kinetic one, at most %g is right", drift,
               ALLOWED_DRIFT);
}

int main(int argc, char **argv)
{
    const char *size_is = "the number of crystal cells in each direction, 5 to 400, each with 4 atoms";
    struct app app = {.name = "particles", .size = 12, .repeats = 100};
    struct box b;
    double state[5], first, drift = 0, momentum = 0;
    start(&app, &argc, &argv, size_is);
    if (app.size < 5 || app.size > 400)
        usage(&app, size_is);
    build(&app, &b);
    compute_forces(&b);
    measure_state(&b, state);
    first = state[0] + state[1];
    double kinetic = state[0];
    double *samples = allocate(&app, app.repeats, sizeof *samples);
    for (int i = 0; i < app.repeats; i++) {
        double begin = now();
        push(&b, STEP / 2);
        move(&b);
        compute_forces(&b);
        if (app.spoil && i == app.repeats / 2 && app.rank == 0)
            b.forces[0].x += 1;
        push(&b, STEP / 2);
        measure_state(&b, state);
        samples[i] = now() - begin;
        drift = fmax(drift, fabs(state[0] + state[1] - first) / kinetic);
        momentum = fmax(momentum, (fabs(state[2]) + fabs(state[3]) + fabs(state[4])) / b.atoms);
        verify(&app, momentum, drift);
    }
    result(&app, "ranks", app.ranks);
    result(&app, "threads", app.threads);
    result(&app, "kinetic", state[0] / b.atoms);
    result(&app, "potential", state[1] / b.atoms);
    result(&app, "drift", drift);
    result(&app, "momentum", momentum);
    report(&app, "particles-step", samples, app.repeats);
    MPI_Finalize();
    return 0;
}
