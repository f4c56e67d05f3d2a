// dist_mpi.c - the transport over MPI, and how one comes to it.
//
// The library is loaded when a launcher has started several processes, and not before: one hylab works on machines
// without MPI, with Open MPI and with MPICH and its kin (Intel MPI, MVAPICH, Cray), whose libraries are the cluster's
// own and must be those of its mpirun. Found at build time, as nvcc is, it would be one of them for good, and every
// program would start it. The price: no header, so that the few functions and constants that are used are written down
// here, for both kinds of binary interface: handles are pointers in Open MPI, and numbers in MPICH. Of MPI itself only
// point-to-point messages are used: with them a rank that does not answer is known by its number.
#include <dlfcn.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/dist/dist_impl.h"

typedef int send_open(const void *, int, void *, int, int, void *, void **);
typedef int recv_open(void *, int, void *, int, int, void *, void **);
typedef int test_open(void **, int *, void *);
typedef int send_mpich(const void *, int, int, int, int, int, int *);
typedef int recv_mpich(void *, int, int, int, int, int, int *);
typedef int test_mpich(int *, int *, void *);
enum { MPICH_WORLD = 0x44000000, MPICH_BYTE = 0x4c00010d };
enum { FUNNELED = 1, WORK = 1, CALL = 2 };  // MPI_THREAD_FUNNELED; tags
#define GRACE 1.5                           // seconds in which the others' calls are listened for

typedef union {
    void *open;
    int mpich;
} request;

typedef struct {
    void *lib;
    bool mpich;
    void *world, *byte;  // Open MPI
    int size, rank;
    void *isend, *irecv, *test, *abort, *finalize;
    request *requests;  // [2 size] sends, receives
    bool *busy;         // [2 size]
    int64_t count;      // exchanges so far
    // calls of those that wait for long: "I am at exchange n, and wait"
    int64_t call, *heard;  // [size]
    request *listen;       // [size]
    bool *listening;       // [size]
    bool *alive;           // [size] has called from about here
} mpi;

// ---------------------------------------------------------------------------------------------------- one exchange
static int start(const mpi *m, bool send, int peer, hy_dist_piece p, int tag, request *q) {
    const int n = (int)p.n;
    if (m->mpich)
        return send ? ((send_mpich *)m->isend)(p.data, n, MPICH_BYTE, peer, tag, MPICH_WORLD, &q->mpich)
                    : ((recv_mpich *)m->irecv)(p.data, n, MPICH_BYTE, peer, tag, MPICH_WORLD, &q->mpich);
    return send ? ((send_open *)m->isend)(p.data, n, m->byte, peer, tag, m->world, &q->open)
                : ((recv_open *)m->irecv)(p.data, n, m->byte, peer, tag, m->world, &q->open);
}

static int test(const mpi *m, request *q, int *done) {
    // MPI_STATUS_IGNORE is 0 there and 1 here
    return m->mpich ? ((test_mpich *)m->test)(&q->mpich, done, (void *)1)
                    : ((test_open *)m->test)(&q->open, done, NULL);
}

// One look at what is under way; left: how many are.
static hy_status look(const mpi *m, int *left) {
    *left = 0;
    for (int k = 0; k < 2 * m->size; k++) {
        int done = 0;
        if (!m->busy[k]) continue;
        if (test(m, &m->requests[k], &done))
            return hy_error(HY_EFAIL, "MPI: a message with rank %d failed", k % m->size);
        m->busy[k] = !done;
        *left += !done;
    }
    return HY_OK;
}

// Waiting ranks leave the processor to those that compute, which may be more than there are processors.
static void rest(long turn) {
    const struct timespec moment = {.tv_nsec = 100000};
    if (turn < 200)
        sched_yield();
    else
        nanosleep(&moment, NULL);
}

// A rank that waits for one that hangs keeps others waiting itself. Who has waited for long says so to all: whoever
// calls is alive, and not the one to be named. A number tells old calls from new ones.
static void call_out(mpi *m) {
    m->call = m->count;
    for (int r = 0; r < m->size; r++) {
        request unwatched;
        m->alive[r] = false;
        if (r != m->rank) start(m, true, r, (hy_dist_piece){&m->call, sizeof m->call}, CALL, &unwatched);
    }
}
static void listen_for_calls(mpi *m) {
    for (int r = 0; r < m->size; r++) {
        int done = 0;
        if (r == m->rank) continue;
        if (!m->listening[r])
            m->listening[r] = !start(m, false, r, (hy_dist_piece){&m->heard[r], sizeof *m->heard}, CALL, &m->listen[r]);
        if (!m->listening[r] || test(m, &m->listen[r], &done) || !done) continue;
        m->listening[r] = false;
        if (m->heard[r] > m->count - 8) m->alive[r] = true;
    }
}

// Those that have not answered, and have not called either if that leaves any.
static void name_late(const mpi *m, bool *late) {
    bool any = false;
    for (int turn = 0; turn < 2 && !any; turn++)
        for (int k = 0; k < 2 * m->size; k++)
            if (m->busy[k] && (turn || !m->alive[k % m->size])) late[k % m->size] = any = true;
}

static hy_status exchange(void *self, const hy_dist_piece *send, const hy_dist_piece *recv, double patience,
                          bool *late) {
    mpi *m = self;
    int left = 0;
    bool called = false;
    m->count++;
    for (int k = 0; k < 2 * m->size; k++) {
        const int at = (k + m->size) % (2 * m->size), peer = at % m->size;  // receives first
        const hy_dist_piece p = at < m->size ? send[at] : recv[peer];
        m->busy[at] = p.n && peer != m->rank;
        HY_ASSERT(p.n <= HY_DIST_PIECE);
        if (m->busy[at] && start(m, at < m->size, peer, p, WORK, &m->requests[at]))
            return hy_error(HY_EFAIL, "MPI: no message to rank %d", peer);
    }
    // all may wait for the same rank: the lowest of them speaks, a second before the next would
    const double since = hy_now(), end = patience + GRACE + (m->rank < 10 ? m->rank : 10);
    HY_TRY(look(m, &left));
    for (long turn = 0; left; turn++) {
        rest(turn);
        HY_TRY(look(m, &left));
        const double waited = turn < 200 ? 0 : hy_now() - since;
        if (!left || waited < patience) continue;
        if (!called) call_out(m);
        called = true;
        listen_for_calls(m);
        if (waited < end) continue;
        name_late(m, late);
        return HY_EFAIL;
    }
    return HY_OK;
}

static void end_all(void *self, int status) {
    const mpi *m = self;
    if (m->mpich)
        ((int (*)(int, int))m->abort)(MPICH_WORLD, status);
    else
        ((int (*)(void *, int))m->abort)(m->world, status);
}

static void free_mpi(mpi *m) {
    free(m->requests);
    free(m->busy);
    free(m->heard);
    free(m->listen);
    free(m->listening);
    free(m);
}

static void finish(void *self) {
    mpi *m = self;
    ((int (*)(void))m->finalize)();
    free_mpi(m);  // the library stays: parts of it may be at work until the process ends
}

static const hy_dist_transport over_mpi = {.exchange = exchange, .end_all = end_all, .close = finish};

// ---------------------------------------------------------------------------------------------------- the library
// RTLD_GLOBAL: Open MPI's plugins look for its names there.
static void *load(const hy_dist_launcher *l) {
    static const char *const open[] = {"libmpi.so.40", "libmpi.so.80", "libmpi.so"};
    static const char *const mpich[] = {"libmpich.so.12", "libmpi.so.12", "libmpi_cray.so.12", "libmpi.so"};
    const char *named = getenv("HYLAB_MPI");
    if (named && *named) return dlopen(named, RTLD_NOW | RTLD_GLOBAL);
    const bool mpich_first = !strcmp(l->name, "PMI");
    void *lib = NULL;
    for (int turn = 0; turn < 2 && !lib; turn++) {
        const bool second = (turn == 1) != mpich_first;
        const char *const *names = second ? mpich : open;
        const size_t n = second ? sizeof mpich / sizeof *mpich : sizeof open / sizeof *open;
        for (size_t i = 0; i < n && !lib; i++) lib = dlopen(names[i], RTLD_NOW | RTLD_GLOBAL);
    }
    return lib;
}

static void *find(const mpi *m, const char *name, bool *all) {
    void *f = dlsym(m->lib, name);
    *all = *all && f;
    return f;
}

static hy_status join(mpi *m) {
    bool all = true;
    m->world = dlsym(m->lib, "ompi_mpi_comm_world");
    m->byte = dlsym(m->lib, "ompi_mpi_byte");
    m->mpich = !m->world;
    void *init = find(m, "MPI_Init_thread", &all), *rank = find(m, "MPI_Comm_rank", &all),
         *size = find(m, "MPI_Comm_size", &all);
    m->isend = find(m, "MPI_Isend", &all), m->irecv = find(m, "MPI_Irecv", &all), m->test = find(m, "MPI_Test", &all);
    m->abort = find(m, "MPI_Abort", &all), m->finalize = find(m, "MPI_Finalize", &all);
    if (!all) return hy_error(HY_EINPUT, "the MPI library lacks functions: HYLAB_MPI=libmpi.so names another");
    int got = 0;
    int bad = ((int (*)(int *, char ***, int, int *))init)(NULL, NULL, FUNNELED, &got);
    if (!bad && m->mpich)
        bad = ((int (*)(int, int *))rank)(MPICH_WORLD, &m->rank) || ((int (*)(int, int *))size)(MPICH_WORLD, &m->size);
    else if (!bad)
        bad = ((int (*)(void *, int *))rank)(m->world, &m->rank) || ((int (*)(void *, int *))size)(m->world, &m->size);
    return bad ? hy_error(HY_EFAIL, "MPI cannot be started") : HY_OK;
}

hy_status hy_dist_mpi(const hy_dist_launcher *l, const hy_dist_transport **t, void **self, int *rank, int *size) {
    mpi *m = hy_xcalloc(1, sizeof *m);
    m->lib = load(l);
    hy_status s = HY_OK;
    if (!m->lib)
        s = hy_error(
            HY_EINPUT,
            "several processes were started (%s), but there is no MPI library to talk through: %s; install "
            "that of the launcher (Debian: libopenmpi3 or libmpich12), name it with HYLAB_MPI=/path/libmpi.so, "
            "or let each process train for itself with --ranks 1",
            l->name, dlerror());
    if (!s) s = join(m);
    if (s) {
        free_mpi(m);
        return s;
    }
    m->requests = hy_xcalloc(2 * (size_t)m->size, sizeof *m->requests);
    m->busy = hy_xcalloc(2 * (size_t)m->size, sizeof *m->busy);
    m->heard = hy_xcalloc((size_t)m->size, sizeof *m->heard);
    m->listen = hy_xcalloc((size_t)m->size, sizeof *m->listen);
    m->listening = hy_xcalloc(2 * (size_t)m->size, sizeof *m->listening);
    m->alive = m->listening + m->size;
    *t = &over_mpi, *self = m, *rank = m->rank, *size = m->size;
    return HY_OK;
}
