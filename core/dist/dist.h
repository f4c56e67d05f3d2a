// dist.h - several processes that train one model: what they say to each other. A process is a rank, 0 .. size - 1, of
// a group that a launcher started (mpirun, srun). Everything here is made of one function of a transport, `exchange`:
// each rank sends bytes to some others and gets bytes of them. MPI is behind it (dist_mpi.c); NCCL has the same in
// ncclSend and ncclRecv within a group call, and would be another transport with device addresses.
//
// Sums are made here, never by the transport: in an order of their own, so that they have the same bits for any number
// of ranks. A NULL hy_dist is a process alone: rank 0 of 1, and every function does what is left to do then.
//
// All ranks call the same functions in the same order. A rank that others wait for longer than `patience` is named, and
// all are ended.
#ifndef HY_DIST_H
#define HY_DIST_H
#include "core/base/base.h"

typedef struct hy_dist hy_dist;

// ---------------------------------------------------------------------------------------------------- transports
typedef struct {
    void *data;  // of a send: only read
    size_t n;    // bytes, at most HY_DIST_PIECE; 0: nothing is sent
} hy_dist_piece;
#define HY_DIST_PIECE ((size_t)1 << 24)
typedef struct {
    // Sends send[r] to rank r and gets recv[r] from it, for all r but the own rank; both sides know the sizes. Returns
    // when all of it is there and send may change. Where it takes `patience` seconds and a few more, in which it finds
    // out who else waits: HY_EFAIL, and late ([size], false before) has the ranks that have not answered.
    hy_status (*exchange)(void *self, const hy_dist_piece *send, const hy_dist_piece *recv, double patience,
                          bool *late);
    void (*end_all)(void *self, int status);  // ends the processes of all ranks; does not return
    void (*close)(void *self);
} hy_dist_transport;
// A group over a transport. Closed with the group; on an error at once.
hy_status hy_dist_over(const hy_dist_transport *t, void *self, int rank, int size, double patience, hy_dist **out);

// ---------------------------------------------------------------------------------------------------- launchers
// What the environment says of a launcher: Open MPI (OMPI_COMM_WORLD_*), MPICH and its kin (PMI_*), PMIx (PMIX_*,
// without a size: 0), torchrun and its like (RANK, WORLD_SIZE); with `asked` also Slurm (SLURM_PROCID, SLURM_NTASKS),
// whose variables are there for every process of a batch job, be it one of a step of several tasks or not.
typedef struct {
    const char *name;  // NULL: none
    int rank, size;    // alone: 0 of 1
} hy_dist_launcher;
hy_dist_launcher hy_dist_launched(bool asked);
// Joins the others. ranks 0: those of the launcher, if there is one (alone: *out is NULL); 1: alone, whatever the
// environment says; more: so many, else HY_EINPUT. patience: seconds. HY_EINPUT: no MPI library, or one of another kind
// than the launcher.
hy_status hy_dist_open(int ranks, double patience, hy_dist **out);
void hy_dist_close(hy_dist *d);

// ---------------------------------------------------------------------------------------------------- talking
int hy_dist_rank(const hy_dist *d);
int hy_dist_size(const hy_dist *d);
double hy_dist_patience(const hy_dist *d);
// What each rank has, n bytes (few), in the order of ranks: all [size * n].
hy_status hy_dist_gather(hy_dist *d, const void *mine, size_t n, void *all);
// data of rank `from` on all.
hy_status hy_dist_broadcast(hy_dist *d, int from, void *data, size_t n);
hy_status hy_dist_barrier(hy_dist *d);
// Whether all is well everywhere: HY_OK, or on all ranks the status and the text of the lowest rank where it is not;
// the text begins with that rank, unless it is 0.
hy_status hy_dist_agree(hy_dist *d, hy_status mine);
// HY_EINPUT on all ranks unless all have the same text: with `what`, a rank that differs from most, and the first line
// in which it does.
hy_status hy_dist_same(hy_dist *d, const char *what, const char *text);

// ---------------------------------------------------------------------------------------------------- sums in order
// The sum of vectors p_0, p_1, ... as (p_0 + p_1) + p_2 ..., element by element in their own type, for any number of
// ranks. Rank r of N has p_r, p_{N+r}, ...; of the sum, each rank adds up a share of its own (1 / N of the memory of
// one vector), and gets the rest at the end. Moves 2 (N - 1) / N of a vector out of each rank for N parts.
typedef struct hy_dist_sum hy_dist_sum;
// Vectors of n elements of `size` bytes, 4 (float) or 8 (double).
hy_status hy_dist_sum_open(hy_dist *d, size_t n, size_t size, hy_dist_sum **out);
void hy_dist_sum_close(hy_dist_sum *s);
// The next parts, one of each rank below `ranks` (the last parts may be fewer than the ranks). part: host memory;
// others give NULL.
hy_status hy_dist_sum_add(hy_dist_sum *s, int ranks, const void *part);
// The sum on all ranks, in host memory; the next sum begins. Without a part: zeros.
hy_status hy_dist_sum_end(hy_dist_sum *s, void *out);
size_t hy_dist_sum_bytes(size_t n, size_t size, int ranks);  // what an open one holds
// Of a sum of so many parts, and of shares that are spread so many times, that of the sum being one: bytes out of the
// rank that sends most, and how many exchanges follow each other.
void hy_dist_sum_moves(size_t n, size_t size, int ranks, int parts, int spreads, size_t *bytes, size_t *exchanges);
// The shares that sums are made in serve other vectors of that length too. Stretch b = 0, 1, ... of the own share: n
// elements (0: none in this block) of the vector from `from` on. False: there is none.
bool hy_dist_sum_share(const hy_dist_sum *s, size_t b, size_t *from, size_t *n);
size_t hy_dist_sum_largest(size_t n, size_t size, int ranks);  // elements of rank 0's share, the largest
hy_status hy_dist_sum_spread(hy_dist_sum *s, void *vector);    // each has its own share of it right: gets the others'
// Rank 0 gets the vector of which each has its share, stretch after stretch; out: NULL on the others.
hy_status hy_dist_sum_collect(hy_dist_sum *s, const void *packed, void *out);
#endif
