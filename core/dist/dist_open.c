// dist_open.c - whether this process is one of several, and joining the others.
#include <stdlib.h>

#include "core/dist/dist_impl.h"

static bool number(const char *name, int *out) {
    const char *text = getenv(name);
    char *end;
    if (!text || !*text) return false;
    const long v = strtol(text, &end, 10);
    if (*end || v < 0 || v > 1 << 20) return false;
    *out = (int)v;
    return true;
}

hy_dist_launcher hy_dist_launched(bool asked) {
    hy_dist_launcher l = {.size = 1};
    int local;
    if (number("OMPI_COMM_WORLD_RANK", &l.rank) && number("OMPI_COMM_WORLD_SIZE", &l.size))
        l.name = "Open MPI";
    else if (number("PMI_RANK", &l.rank) && number("PMI_SIZE", &l.size))
        l.name = "PMI";
    else if (number("PMIX_RANK", &l.rank))
        l.name = "PMIx", l.size = 0;
    else if (number("RANK", &l.rank) && number("WORLD_SIZE", &l.size) && number("LOCAL_RANK", &local))
        l.name = "RANK and WORLD_SIZE";
    else if (asked && number("SLURM_PROCID", &l.rank) && number("SLURM_NTASKS", &l.size))
        l.name = "Slurm";
    else
        l = (hy_dist_launcher){.size = 1};
    return l;
}

static hy_status check_launcher(const hy_dist_launcher *l, int ranks) {
    if (!ranks || !(l->size || !l->name) || l->size == ranks) return HY_OK;
    if (!l->name || l->size == 1)
        return hy_error(HY_EINPUT,
                        "--ranks %d: this process was started alone: mpirun -n %d (or srun -n %d) in front "
                        "of the command starts so many",
                        ranks, ranks, ranks);
    return hy_error(HY_EINPUT, "--ranks %d: the launcher (%s) has started %d processes", ranks, l->name, l->size);
}

// A library of another kind than the launcher's starts each process as one alone.
static hy_status check_group(const hy_dist_launcher *l, int ranks, int rank, int size) {
    const int wanted = l->size ? l->size : ranks;
    if (!wanted || (size == wanted && rank == l->rank)) return HY_OK;
    return hy_error(HY_EINPUT,
                    "the launcher (%s) has started %d processes, but the MPI library says that this is rank %d of %d: "
                    "start with that library's mpirun (or srun --mpi=pmix or pmi2), or name the launcher's library "
                    "with HYLAB_MPI=/path/libmpi.so",
                    l->name, wanted, rank, size);
}

hy_status hy_dist_open(int ranks, double patience, hy_dist **out) {
    const hy_dist_launcher l = hy_dist_launched(ranks > 1);
    const hy_dist_transport *t;
    void *self;
    int rank, size;
    *out = NULL;
    if (ranks == 1) return HY_OK;
    HY_TRY(check_launcher(&l, ranks));
    if (!l.name || l.size == 1) return HY_OK;
    HY_TRY(hy_dist_mpi(&l, &t, &self, &rank, &size));
    const hy_status s = check_group(&l, ranks, rank, size);
    if (s || size == 1) {
        t->close(self);
        return s;
    }
    return hy_dist_over(t, self, rank, size, patience, out);
}
