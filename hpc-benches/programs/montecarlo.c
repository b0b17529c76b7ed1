/*
 * Monte Carlo transport: neutrons enter a rod from the left, fly exponentially distributed distances, are
 * absorbed or scattered forward or back, and leave at either end. The rod model has a closed solution
 * (G. M. Wing, "An Introduction to Transport Theory", 1962), against which the counts are checked.
 *
 * Each neutron draws from a sequence of its own, whose key is its number: what happens to it depends neither
 * on the number of ranks and threads nor on their order, and counts are whole numbers. A sample is a batch of
 * neutrons on all ranks and the sum of what became of them.
 */
#include "app.h"
#include <math.h>

static const double LENGTH = 2;        /* of the rod, in mean free paths */
static const double SCATTERING = 0.7;  /* probability that a collision scatters */
static const double ALLOWED_SIGMAS = 5;

enum fate { TRANSMITTED, REFLECTED, ABSORBED, FATES };

static enum fate follow(uint64_t neutron, double scattering)
{
    uint64_t key = random_bits(0, neutron + 1), drawn = 0;
    double position = 0, direction = 1;
    for (;;) {
        position -= direction * log(random_double(key, ++drawn));
        if (position >= LENGTH)
            return TRANSMITTED;
        if (position < 0)
            return REFLECTED;
        double chance = random_double(key, ++drawn);
        if (chance >= scattering)
            return ABSORBED;
        direction = chance < scattering / 2 ? 1 : -1;
    }
}

/*
 * Streams u to the right and w to the left: u' = -u + c/2 (u + w), -w' = -w + c/2 (u + w), u(0) = 1, w(L) = 0.
 * With k = sqrt(1 - c): u(L) and w(0).
 */
static void expected_shares(double *shares)
{
    double k = sqrt(1 - SCATTERING), half = SCATTERING / 2;
    double divisor = k * cosh(k * LENGTH) + (1 - half) * sinh(k * LENGTH);
    shares[TRANSMITTED] = k / divisor;
    shares[REFLECTED] = half * sinh(k * LENGTH) / divisor;
    shares[ABSORBED] = 1 - shares[TRANSMITTED] - shares[REFLECTED];
}

/* Adds up what becomes of the neutrons `first` and following on all ranks. */
static void run_batch(const struct app *app, int64_t first, int64_t neutrons, double scattering, int64_t *totals)
{
    int64_t transmitted = 0, reflected = 0, absorbed = 0;
    int64_t begin = first + first_of(neutrons, app->rank, app->ranks);
    int64_t end = first + first_of(neutrons, app->rank + 1, app->ranks);
#pragma omp parallel for schedule(static) reduction(+ : transmitted, reflected, absorbed)
    for (int64_t neutron = begin; neutron < end; neutron++) {
        enum fate fate = follow(neutron, scattering);
        transmitted += fate == TRANSMITTED;
        reflected += fate == REFLECTED;
        absorbed += fate == ABSORBED;
    }
    int64_t mine[FATES] = {transmitted, reflected, absorbed}, all[FATES];
    MPI_Allreduce(mine, all, FATES, MPI_INT64_T, MPI_SUM, MPI_COMM_WORLD);
    for (int i = 0; i < FATES; i++)
        totals[i] += all[i];
}

static void verify(const struct app *app, const int64_t *counts, int64_t neutrons)
{
    static const char *names[FATES] = {"transmitted", "reflected", "absorbed"};
    double shares[FATES];
    expected_shares(shares);
    if (counts[0] + counts[1] + counts[2] != neutrons)
        refuse(app, 1, "verification failed: %lld neutrons are not accounted for",
               (long long)(neutrons - counts[0] - counts[1] - counts[2]));
    for (int i = 0; i < FATES; i++) {
        double sigma = sqrt(neutrons * shares[i] * (1 - shares[i]));
        double off = (counts[i] - neutrons * shares[i]) / sigma;
        if (!(fabs(off) <= ALLOWED_SIGMAS))
            refuse(app, 1, "verification failed: %lld of %lld neutrons were %s, %.1f standard deviations from %.1f",
                   (long long)counts[i], (long long)neutrons, names[i], off, neutrons * shares[i]);
        result(app, names[i], counts[i]);
    }
}

int main(int argc, char **argv)
{
    struct app app = {.name = "montecarlo", .size = 100, .repeats = 50};
    int64_t counts[FATES] = {0};
    start(&app, &argc, &argv, "the number of neutrons of a batch, in thousands");
    /* The first numbers of the sequence with key 0, as its authors' program gives them. */
    if (random_bits(0, 1) != UINT64_C(0xE220A8397B1DCDAF) || random_bits(0, 2) != UINT64_C(0x6E789E6AA1B965F4))
        refuse(&app, 1, "verification failed: the random numbers are not those of SplitMix64");

    int64_t batch = (int64_t)app.size * 1000;
    double scattering = app.spoil ? SCATTERING * 0.9 : SCATTERING;
    double *samples = allocate(&app, app.repeats, sizeof *samples);
    for (int i = 0; i < app.repeats; i++) {
        double start = now();
        run_batch(&app, i * batch, batch, scattering, counts);
        samples[i] = now() - start;
    }
    result(&app, "ranks", app.ranks);
    result(&app, "threads", app.threads);
    verify(&app, counts, batch * app.repeats);
    report(&app, "montecarlo-batch", samples, app.repeats);
    MPI_Finalize();
    return 0;
}
