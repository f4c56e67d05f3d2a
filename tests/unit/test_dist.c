// test_dist.c - what ranks say to each other and sums in order, over a transport of threads: no launcher, no MPI.
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "core/dist/dist.h"
#include "tests/unit/error_check.h"

enum { RANKS = 5 };
#define NEED(e) ((e) ? (void)fail_now(#e) : (void)0)  // of a thread: cmocka's asserts are the main thread's
static void fail_now(const char *what) {
    fprintf(stderr, "%s: %s\n", what, hy_error_text());
    abort();
}
static void want(bool ok, const char *what) {
    if (ok) return;
    fprintf(stderr, "not so: %s\n", what);
    abort();
}

// ---------------------------------------------------------------------------------------------------- threads
typedef struct {
    pthread_barrier_t turn;
    const hy_dist_piece *sends[RANKS];
    int size, silent;  // silent: the rank that does not answer, -1: none
    size_t sent[RANKS], exchanges;
} room;
typedef struct {
    room *in;
    int rank;
} member;

static hy_status exchange(void *self, const hy_dist_piece *send, const hy_dist_piece *recv, double patience,
                          bool *late) {
    const member *m = self;
    room *in = m->in;
    in->sends[m->rank] = send;
    pthread_barrier_wait(&in->turn);
    want(patience >= 7, "patience is handed on");
    for (int r = 0; r < in->size; r++) {
        if (r == m->rank) continue;
        want(in->sends[r][m->rank].n == recv[r].n, "both sides know the sizes");
        in->sent[m->rank] += send[r].n;
        if (recv[r].n) memcpy(recv[r].data, in->sends[r][m->rank].data, recv[r].n);
    }
    if (m->rank == 0) in->exchanges++;
    pthread_barrier_wait(&in->turn);
    if (in->silent < 0 || in->silent == m->rank) return HY_OK;
    late[in->silent] = true;
    return HY_EFAIL;
}
static const hy_dist_transport by_threads = {.exchange = exchange};

typedef void work(hy_dist *d, void *user);
typedef struct {
    member m;
    work *fn;
    void *user;
} job;
static void *run_rank(void *arg) {
    job *j = arg;
    hy_dist *d;
    NEED(hy_dist_over(&by_threads, &j->m, j->m.rank, j->m.in->size, 7, &d));
    want(hy_dist_rank(d) == j->m.rank && hy_dist_size(d) == j->m.in->size, "rank and size");
    j->fn(d, j->user);
    hy_dist_close(d);
    return NULL;
}
static size_t most_sent, exchanges;  // of the last group
static void on_ranks(int size, int silent, work *fn, void *user) {
    room in = {.size = size, .silent = silent};
    pthread_t threads[RANKS];
    job jobs[RANKS];
    pthread_barrier_init(&in.turn, NULL, (unsigned)size);
    for (int r = 0; r < size; r++) {
        jobs[r] = (job){{&in, r}, fn, user};
        assert_int_equal(pthread_create(&threads[r], NULL, run_rank, &jobs[r]), 0);
    }
    for (int r = 0; r < size; r++) pthread_join(threads[r], NULL);
    pthread_barrier_destroy(&in.turn);
    most_sent = 0, exchanges = in.exchanges;
    for (int r = 0; r < size; r++)
        if (in.sent[r] > most_sent) most_sent = in.sent[r];
}

// ---------------------------------------------------------------------------------------------------- talking
static void talk(hy_dist *d, void *user) {
    (void)user;
    const int me = hy_dist_rank(d), size = hy_dist_size(d);
    int mine = 100 + me, all[RANKS] = {0};
    NEED(hy_dist_gather(d, &mine, sizeof mine, all));
    for (int r = 0; r < size; r++) want(all[r] == 100 + r, "gathered in the order of ranks");
    for (int from = 0; from < size; from++) {
        mine = me == from ? 7 * from : -1;
        NEED(hy_dist_broadcast(d, from, &mine, sizeof mine));
        want(mine == 7 * from, "all have what one had");
    }
    NEED(hy_dist_barrier(d));
}
static void test_talk(void **state) {
    (void)state;
    for (int n = 1; n <= RANKS; n++) on_ranks(n, -1, talk, NULL);
    talk(NULL, NULL);
}

static void disagree(hy_dist *d, void *user) {
    const int *bad = user, me = hy_dist_rank(d);  // bit r: rank r has failed
    hy_status mine = HY_OK;
    if (*bad >> me & 1) mine = hy_error(me == 2 ? HY_EINPUT : HY_ENOMEM, "trouble of %d", me);
    const hy_status s = hy_dist_agree(d, mine);
    int first = 0;
    while (first < hy_dist_size(d) && !(*bad >> first & 1)) first++;
    if (first == hy_dist_size(d)) {
        want(s == HY_OK, "all is well");
        return;
    }
    char text[64];
    snprintf(text, sizeof text, first ? "rank %d: trouble of %d" : "trouble of %d", first, first);
    want(s == (first == 2 ? HY_EINPUT : HY_ENOMEM), "the status of the lowest rank that failed");
    want(!strcmp(hy_error_text(), text), "its text, on all ranks");
}
static void test_agree(void **state) {
    (void)state;
    for (int bad = 0; bad < 16; bad++) on_ranks(4, -1, disagree, &bad);
    assert_int_equal(hy_dist_agree(NULL, hy_error(HY_EINPUT, "mine")), HY_EINPUT);
    assert_string_equal(hy_error_text(), "mine");
}

static void compare(hy_dist *d, void *user) {
    const int odd = *(const int *)user, me = hy_dist_rank(d);
    char text[64];
    snprintf(text, sizeof text, "first\nsecond %d\nthird", me == odd ? 4 : 5);
    const hy_status s = hy_dist_same(d, "colour", text);
    if (odd < 0) {
        want(s == HY_OK, "the same text");
        return;
    }
    char told[128];
    snprintf(told, sizeof told, "ranks differ in colour: rank %d has second 4, rank %d has second 5", odd, odd ? 0 : 1);
    want(s == HY_EINPUT && !strcmp(hy_error_text(), told), "the rank that differs, and its line");
}
static void test_same(void **state) {
    (void)state;
    for (int odd = -1; odd < 3; odd++) on_ranks(3, -1, compare, &odd);
    assert_int_equal(hy_dist_same(NULL, "colour", "any"), HY_OK);
}

static void hear_nothing(hy_dist *d, void *user) {
    (void)user;
    const hy_status s = hy_dist_barrier(d);
    if (hy_dist_rank(d) == 1) return;
    want(s == HY_EFAIL && !strncmp(hy_error_text(), "rank 1 of 3: no answer for 7 seconds", 36), "who is late");
}
static void test_late(void **state) {
    (void)state;
    on_ranks(3, 1, hear_nothing, NULL);
}

// ---------------------------------------------------------------------------------------------------- sums
typedef struct {
    size_t n, size;
    int parts;
    char *part[8], *sum;  // sum: of the parts in order, as a plain loop makes it
} sum_case;

static void fill(sum_case *c, size_t n, size_t size, int parts) {
    *c = (sum_case){.n = n, .size = size, .parts = parts, .sum = hy_xcalloc(n + 1, size)};
    hy_rng r = hy_rng_make(n, (uint64_t)parts);
    for (int k = 0; k < parts; k++) {
        c->part[k] = hy_xcalloc(n + 1, size);
        for (size_t i = 0; i < n; i++) {
            const double v = i % 7 == 0 ? -0.0 : (hy_rng_uniform(&r) - 0.5) * (double)(1 << (hy_rng_u32(&r) % 20));
            float *f = (float *)c->sum + i;
            double *g = (double *)c->sum + i;
            if (size == 4) {
                ((float *)c->part[k])[i] = (float)v;
                *f = k ? *f + (float)v : (float)v;
            } else {
                ((double *)c->part[k])[i] = v;
                *g = k ? *g + v : v;
            }
        }
    }
}
static void drop(sum_case *c) {
    for (int k = 0; k < c->parts; k++) free(c->part[k]);
    free(c->sum);
}

static void add_up(hy_dist *d, void *user) {
    const sum_case *c = user;
    const int me = hy_dist_rank(d), size = hy_dist_size(d);
    hy_dist_sum *s;
    NEED(hy_dist_sum_open(d, c->n, c->size, &s));
    char *out = hy_xcalloc(c->n + 1, c->size);
    for (int again = 0; again < 2; again++) {  // the next sum does not begin with this one
        for (int k = 0; k < c->parts; k += size) {
            const int ranks = c->parts - k < size ? c->parts - k : size;
            NEED(hy_dist_sum_add(s, ranks, me < ranks ? c->part[k + me] : NULL));
        }
        memset(out, 1, c->n * c->size);
        NEED(hy_dist_sum_end(s, out));
        want(!memcmp(out, c->sum, c->n * c->size), "the bits of the plain sum");
    }
    // the same shares of another vector: packed on each rank, whole on the first, and spread
    char *packed = hy_xcalloc(c->n + 1, c->size);
    size_t from, n, kept = 0;
    memset(out, 1, c->n * c->size);
    for (size_t b = 0; hy_dist_sum_share(s, b, &from, &n); b++, kept += n) {
        want(from % 16 == 0 || !n, "shares begin at blocks of weight decay");
        memcpy(packed + kept * c->size, c->sum + from * c->size, n * c->size);
        memcpy(out + from * c->size, c->sum + from * c->size, n * c->size);
    }
    want(kept <= hy_dist_sum_largest(c->n, c->size, size), "the largest share");
    want(me || kept == hy_dist_sum_largest(c->n, c->size, size), "which is the first one's");
    if (c->parts) {
        NEED(hy_dist_sum_spread(s, out));
        want(!memcmp(out, c->sum, c->n * c->size), "what is spread");
        memset(out, 1, c->n * c->size);
        NEED(hy_dist_sum_collect(s, packed, me ? NULL : out));
        want(me || !memcmp(out, c->sum, c->n * c->size), "what is collected");
    }
    free(packed);
    free(out);
    hy_dist_sum_close(s);
}
static void test_sum(void **state) {
    (void)state;
    static const size_t sizes[] = {1, 1000, 1024, 1025, 5000, 40000};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int parts = 0; parts <= 7; parts++)
            for (size_t size = 4; size <= 8; size += 4) {
                sum_case c;
                fill(&c, sizes[i], size, parts);
                add_up(NULL, &c);
                for (int n = 1; n <= RANKS; n++) on_ranks(n, -1, add_up, &c);
                drop(&c);
            }
}
// Vectors longer than what one message carries, by a little, which is the first rank's, and by something of
// everybody's.
static void sum_of_blocks(size_t more) {
    sum_case c;
    fill(&c, HY_DIST_PIECE / 4 + more, 4, 3);
    add_up(NULL, &c);
    on_ranks(3, -1, add_up, &c);
    drop(&c);
}
static void test_sum_of_blocks(void **state) {
    (void)state;
    sum_of_blocks(1030);
    sum_of_blocks(HY_DIST_PIECE / 4 - 4000);
}
static void add_once(hy_dist *d, void *user) {
    const sum_case *c = user;
    const int me = hy_dist_rank(d), size = hy_dist_size(d);
    hy_dist_sum *s;
    char *out = hy_xcalloc(c->n + 1, c->size);
    NEED(hy_dist_sum_open(d, c->n, c->size, &s));
    for (int k = 0; k < c->parts; k += size) {
        const int ranks = c->parts - k < size ? c->parts - k : size;
        NEED(hy_dist_sum_add(s, ranks, me < ranks ? c->part[k + me] : NULL));
    }
    NEED(hy_dist_sum_end(s, out));
    hy_dist_sum_close(s);
    free(out);
}
// What is foretold is what the transport counts.
static void test_sum_moves(void **state) {
    (void)state;
    static const size_t sizes[] = {1, 1024, 5000, HY_DIST_PIECE / 4 + 1030};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int parts = i == 3 ? 4 : 0; parts <= (i == 3 ? 4 : 7); parts++)
            for (int n = i == 3 ? 3 : 1; n <= (i == 3 ? 3 : 4); n++) {
                sum_case c;
                size_t bytes, turns;
                fill(&c, sizes[i], 4, parts);
                on_ranks(n, -1, add_once, &c);
                hy_dist_sum_moves(sizes[i], 4, n, parts, 1, &bytes, &turns);
                assert_int_equal(bytes, most_sent);
                assert_int_equal(turns, exchanges);
                drop(&c);
            }
}
// A share and what is received of a block's parts: not a vector for each rank.
static void test_sum_memory(void **state) {
    (void)state;
    const size_t n = (size_t)100 << 20;
    assert_int_equal(hy_dist_sum_bytes(n, 4, 1), n * 4);
    assert_in_range(hy_dist_sum_bytes(n, 4, 4), n, n + 2 * HY_DIST_PIECE);
}

// ---------------------------------------------------------------------------------------------------- launchers
static const char *const names[] = {
    "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "PMI_RANK",     "PMI_SIZE",    "PMIX_RANK", "RANK",
    "WORLD_SIZE",           "LOCAL_RANK",           "SLURM_PROCID", "SLURM_NTASKS"};
static void clear_names(void) {
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) unsetenv(names[i]);
}
static void launched(const char *rank_name, const char *size_name, bool asked, const char *name, int rank, int size) {
    clear_names();
    if (rank_name) setenv(rank_name, "2", 1);
    if (size_name) setenv(size_name, "3", 1);
    const hy_dist_launcher l = hy_dist_launched(asked);
    assert_int_equal(l.rank, rank);
    assert_int_equal(l.size, size);
    if (name)
        assert_string_equal(l.name, name);
    else
        assert_null(l.name);
}
static void test_launchers(void **state) {
    (void)state;
    launched(NULL, NULL, true, NULL, 0, 1);
    launched("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", false, "Open MPI", 2, 3);
    launched("OMPI_COMM_WORLD_RANK", NULL, false, NULL, 0, 1);
    launched("PMI_RANK", "PMI_SIZE", false, "PMI", 2, 3);
    launched("PMIX_RANK", NULL, false, "PMIx", 2, 0);
    launched("RANK", "WORLD_SIZE", false, NULL, 0, 1);  // words that anyone may use
    setenv("LOCAL_RANK", "0", 1);
    assert_string_equal(hy_dist_launched(false).name, "RANK and WORLD_SIZE");
    launched("SLURM_PROCID", "SLURM_NTASKS", false, NULL, 0, 1);  // those of a batch job's script too
    launched("SLURM_PROCID", "SLURM_NTASKS", true, "Slurm", 2, 3);
    clear_names();
    setenv("PMI_RANK", "one", 1);
    setenv("PMI_SIZE", "3", 1);
    assert_null(hy_dist_launched(false).name);
    clear_names();
}
static void test_alone(void **state) {
    (void)state;
    hy_dist *d = (hy_dist *)1;
    clear_names();
    assert_int_equal(hy_dist_open(0, 1, &d), HY_OK);
    assert_null(d);
    assert_int_equal(hy_dist_open(2, 1, &d), HY_EINPUT);
    assert_non_null(strstr(hy_error_text(), "started alone"));
    setenv("PMI_RANK", "0", 1);
    setenv("PMI_SIZE", "3", 1);
    assert_int_equal(hy_dist_open(1, 1, &d), HY_OK);  // asked to be alone
    assert_null(d);
    assert_int_equal(hy_dist_open(2, 1, &d), HY_EINPUT);
    assert_non_null(strstr(hy_error_text(), "has started 3 processes"));
    setenv("HYLAB_MPI", "/none/libmpi.so", 1);
    assert_int_equal(hy_dist_open(0, 1, &d), HY_EINPUT);
    assert_non_null(strstr(hy_error_text(), "no MPI library"));
    unsetenv("HYLAB_MPI");
    clear_names();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_talk),      cmocka_unit_test(test_agree),     cmocka_unit_test(test_same),
        cmocka_unit_test(test_late),      cmocka_unit_test(test_sum),       cmocka_unit_test(test_sum_of_blocks),
        cmocka_unit_test(test_alone),     cmocka_unit_test(test_launchers), cmocka_unit_test(test_sum_memory),
        cmocka_unit_test(test_sum_moves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
