// dist_impl.h - a group of ranks from inside.
#ifndef HY_DIST_IMPL_H
#define HY_DIST_IMPL_H
#include "core/dist/dist.h"

struct hy_dist {
    const hy_dist_transport *t;
    void *self;
    int rank, size;
    double patience;
    bool *late;                  // [size]
    hy_dist_piece *send, *recv;  // [size]
};
// One exchange of d->send and d->recv, which it empties. Where it takes too long, says which ranks have not answered,
// and ends all.
hy_status hy_dist_exchange(hy_dist *d);

// dist_mpi.c: the transport over MPI. launcher: whose library to look for first.
hy_status hy_dist_mpi(const hy_dist_launcher *l, const hy_dist_transport **t, void **self, int *rank, int *size);
#endif
