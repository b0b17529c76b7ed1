/*
 * Tasks: what it costs to make one, to run it, and to wait for it.
 *
 * The overhead is that of a task for a thread: the time of all threads together over the number of
 * tasks, less the delay that is in each.
 */
#include "omp_epcc.h"

enum { TREE_DEPTH = 6, TREE_NODES = (1 << (TREE_DEPTH + 1)) - 1, TREE_LEAVES = 1 << TREE_DEPTH };

/* Every thread makes tasks. */
static void by_all(int batch)
{
#pragma omp parallel
    for (int i = 0; i < batch; i++) {
#pragma omp task
        delay();
    }
}

/* One thread makes the tasks of all; the others wait for them at the barrier. */
static void by_master(int batch)
{
#pragma omp parallel
#pragma omp master
    for (int i = 0; i < batch * threads; i++) {
#pragma omp task
        delay();
    }
}

/* One thread makes tasks while the others have work of their own. */
static void busy(int batch)
{
#pragma omp parallel
    {
        if (omp_get_thread_num() == 0) {
            for (int i = 0; i < batch; i++) {
#pragma omp task
                delay();
            }
        } else {
            for (int i = 0; i < batch; i++)
                delay();
        }
    }
}

/* Tasks that are done at once, by who makes them. */
static void undeferred(int batch)
{
#pragma omp parallel
    for (int i = 0; i < batch; i++) {
#pragma omp task if (0)
        delay();
    }
}

static void wait_for_each(int batch)
{
#pragma omp parallel
    for (int i = 0; i < batch; i++) {
#pragma omp task
        delay();
#pragma omp taskwait
    }
}

static void barrier_for_each(int batch)
{
#pragma omp parallel
    for (int i = 0; i < batch; i++) {
#pragma omp task
        delay();
#pragma omp barrier
    }
}

/* A task for each thread, made and waited for by a task. */
static void children(void)
{
    for (int i = 0; i < threads; i++) {
#pragma omp task
        delay();
    }
#pragma omp taskwait
}

static void nested(int batch)
{
#pragma omp parallel
    for (int i = 0; i < batch / threads; i++) {
#pragma omp task
        children();
    }
}

static void nested_by_master(int batch)
{
#pragma omp parallel
#pragma omp master
    for (int i = 0; i < batch; i++) {
#pragma omp task
        children();
    }
}

static void branch(int depth, int inner_delay)
{
    if (depth > 0) {
#pragma omp task
        branch(depth - 1, inner_delay);
#pragma omp task
        branch(depth - 1, inner_delay);
#pragma omp taskwait
    }
    if (depth == 0 || inner_delay)
        delay();
}

/* A binary tree of tasks with work in every node, for each thread one after the other. */
static void tree(int batch)
{
#pragma omp parallel
#pragma omp master
    for (int i = 0; i < batch * threads; i++)
        branch(TREE_DEPTH, 1);
}

/* With work in the leaves only. */
static void tree_of_leaves(int batch)
{
#pragma omp parallel
#pragma omp master
    for (int i = 0; i < batch * threads; i++)
        branch(TREE_DEPTH, 0);
}

void tasks(void)
{
    int batch = (BATCH + threads - 1) / threads * threads;
    /* The root of a tree is no task. */
    const double nodes = TREE_NODES - 1, trees = 2;
    const struct overhead all[] = {
        {"omp-task-parallel", by_all, SAMPLES, BATCH, BATCH, 1},
        {"omp-task-master", by_master, SAMPLES, BATCH, BATCH, 1},
        {"omp-task-busy", busy, SAMPLES, BATCH, BATCH, 1},
        {"omp-task-undeferred", undeferred, SAMPLES, BATCH, BATCH, 1},
        {"omp-taskwait", wait_for_each, SAMPLES, BATCH, BATCH, 1},
        {"omp-task-barrier", barrier_for_each, SAMPLES, BATCH, BATCH, 1},
        {"omp-task-nested", nested, SAMPLES, batch, batch, 1},
        {"omp-task-nested-master", nested_by_master, SAMPLES, BATCH, BATCH, 1},
        {"omp-task-tree", tree, SAMPLES, trees, trees * nodes, TREE_NODES / nodes},
        {"omp-task-leaves", tree_of_leaves, SAMPLES, trees, trees * nodes, TREE_LEAVES / nodes},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        print_overhead(all[i]);
}
