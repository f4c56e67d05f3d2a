// train_ranks.c - gradients of micro-batches in parts, which one process or several make, and what several say to each
// other. All of them go through the same steps; where one may fail alone, all hear of it before any waits for more.
#include <stdlib.h>
#include <string.h>

#include "core/base/version.h"
#include "core/train/train_impl.h"

static size_t gradient_bytes(const hy_trainer *t) { return t->p->param_elems * hy_dtype_size(t->w->dtype); }

// What the CPU's kernels write can be sent as it is.
static bool is_in_host_memory(const hy_trainer *t) { return !strcmp(t->be->name, "cpu"); }

hy_status hy_trainer_open_sum(hy_trainer *t) {
    hy_trainer_close_sum(t);
    if (t->spec.sum == HY_SUM_RUNNING) return HY_OK;
    if (!is_in_host_memory(t) && !(t->staged = hy_alloc(gradient_bytes(t)))) return HY_ENOMEM;
    return hy_dist_sum_open(t->dist, t->p->param_elems, hy_dtype_size(t->w->dtype), &t->sum);
}

void hy_trainer_close_sum(hy_trainer *t) {
    hy_dist_sum_close(t->sum);
    free(t->staged);
    t->sum = NULL;
    t->staged = NULL;
}

// ---------------------------------------------------------------------------------------------------- joining
static hy_status check_recipe(const hy_trainer *t, int size) {
    if (t->spec.sum != HY_SUM_PARTS)
        return hy_error(HY_EINPUT,
                        "several processes add gradients in parts: set train.sum to parts (--train sum=parts; one "
                        "process with it gives the same bits as %d)",
                        size);
    if (t->spec.accumulate < size)
        return hy_error(HY_EINPUT,
                        "%d processes, but a step has %d micro-batch%s to share: set train.accumulate to %d or a "
                        "multiple, and train.batch (%d here) to fewer sequences",
                        size, t->spec.accumulate, t->spec.accumulate == 1 ? "" : "es", size, t->spec.batch);
    return HY_OK;
}

static hy_status same_build(hy_dist *d, const hy_trainer *t) {
    char hash[33] = "?";
    hy_buf b = {0};
    const hy_status s = hy_dist_agree(d, hy_hash_file("/proc/self/exe", hash));
    hy_buf_printf(&b, "hylab %s %s%s, %s, program %s\n%s %s", HY_VERSION, hy_version_commit(),
                  hy_version_dirty() ? "+changes" : "", hy_version_build(), hash, t->be->name, hy_isa_name(t->be->isa));
    const hy_status same = s ? s : hy_dist_same(d, "their build or instruction set", b.s);
    free(b.s);
    return same;
}

static hy_status same_text(hy_dist *d, const char *what, char *text) {
    const hy_status s = hy_dist_same(d, what, text);
    free(text);
    return s;
}

// Hash of device memory, by way of the host where it is not that.
static hy_status hash_device(const hy_trainer *t, const void *x, size_t bytes, char out[33]) {
    if (is_in_host_memory(t)) {
        hy_hash_hex(x, bytes, out);
        return HY_OK;
    }
    HY_ASSERT(t->staged && bytes <= gradient_bytes(t));
    HY_TRY(t->be->to_host(t->staged, x, bytes));
    hy_hash_hex(t->staged, bytes, out);
    return HY_OK;
}

static hy_status same_weights(hy_dist *d, const hy_trainer *t, const char *what) {
    char w[33] = "?", m[33] = "?", v[33] = "?";
    const bool whole = !t->opt.n_own;
    hy_status s = hash_device(t, t->w->data, t->w->bytes, w);
    if (!s && whole) s = hash_device(t, t->opt.m, gradient_bytes(t), m);
    if (!s && whole) s = hash_device(t, t->opt.v, gradient_bytes(t), v);
    HY_TRY(hy_dist_agree(d, s));
    return same_text(d, what,
                     hy_asprintf("step %ld\nweights of hash %s\nfirst moments of hash %s\nsecond moments of hash %s",
                                 t->step, w, m, v));
}

hy_status hy_trainer_share(hy_trainer *t, hy_dist *d, const char *how) {
    if (!d) return HY_OK;
    HY_TRY(same_build(d, t));
    HY_TRY(same_text(d, "what they are to do", hy_xstrdup(how ? how : "")));
    HY_TRY(same_text(d, "the model", hy_model_spec_text(&t->p->spec)));
    HY_TRY(same_text(d, "the recipe, the task or its data", hy_trainer_recipe_text(t)));
    HY_TRY(hy_dist_agree(d, check_recipe(t, hy_dist_size(d))));
    HY_TRY(same_weights(d, t, "the weights they begin with"));
    t->dist = d;
    return hy_dist_agree(d, hy_trainer_open_sum(t));
}

hy_status hy_trainer_check_ranks(hy_trainer *t) {
    if (!t->dist) return HY_OK;
    char *what =
        hy_asprintf("their weights after step %ld, which should be equal (is a processor or memory faulty?)", t->step);
    const hy_status s = same_weights(t->dist, t, what);
    free(what);
    return s == HY_EINPUT ? hy_error_context(HY_EFAIL, "not saved") : s;
}

// ---------------------------------------------------------------------------------------------------- sharded moments
hy_status hy_trainer_shard_moments(hy_trainer *t) {
    if (!t->dist) return HY_OK;
    int n = 0;
    size_t from, count;
    while (hy_dist_sum_share(t->sum, (size_t)n, &from, &count)) n++;
    hy_optim_stretch *own = hy_xcalloc((size_t)n + 1, sizeof *own);
    for (int b = 0; b < n; b++) {
        hy_dist_sum_share(t->sum, (size_t)b, &from, &count);
        own[b] = (hy_optim_stretch){count ? from : 0, count};
    }
    const hy_status s = hy_optim_keep(&t->opt, own, n);
    free(own);
    return hy_dist_agree(t->dist, s);
}

hy_status hy_trainer_spread_weights(hy_trainer *t) {
    if (!t->opt.n_own) return HY_OK;
    if (!t->staged) return hy_dist_sum_spread(t->sum, t->w->data);
    HY_TRY(t->be->to_host(t->staged, t->w->data, gradient_bytes(t)));
    HY_TRY(hy_dist_sum_spread(t->sum, t->staged));
    return t->be->from_host(t->w->data, t->staged, gradient_bytes(t));
}

void hy_trainer_drop_moments(hy_trainer *t) {
    free(t->whole[0]);
    free(t->whole[1]);
    t->whole[0] = t->whole[1] = NULL;
}

hy_status hy_trainer_collect_moments(hy_trainer *t) {
    if (!t->opt.n_own) return HY_OK;
    hy_status s = HY_OK;
    hy_trainer_drop_moments(t);
    for (int k = 0; k < 2 && !s && hy_trainer_leads(t); k++)
        if (!(t->whole[k] = hy_alloc(gradient_bytes(t)))) s = HY_ENOMEM;
    HY_TRY(hy_dist_agree(t->dist, s));
    for (int k = 0; k < 2; k++) {
        const void *packed = k ? t->opt.v : t->opt.m;
        const size_t bytes = hy_optim_kept(&t->opt) * hy_dtype_size(t->w->dtype);
        if (t->staged) HY_TRY(t->be->to_host(t->staged, packed, bytes));
        HY_TRY(hy_dist_sum_collect(t->sum, t->staged ? t->staged : packed, t->whole[k]));
    }
    return HY_OK;
}

// ---------------------------------------------------------------------------------------------------- a step
typedef struct {
    int32_t status, end, save, unused;
    int64_t labelled, tokens;
} count_word;

hy_status hy_trainer_count(hy_trainer *t, hy_status loaded, int64_t *labelled, int64_t *tokens) {
    if (!t->dist) return loaded;
    const int size = hy_dist_size(t->dist);
    const count_word mine = {.status = loaded,
                             .end = hy_interrupted != 0,
                             .save = hy_trainer_time_to_save(t),
                             .labelled = *labelled,
                             .tokens = *tokens};
    count_word *all = hy_xcalloc((size_t)size, sizeof *all);
    const hy_status s = hy_dist_gather(t->dist, &mine, sizeof mine, all);
    bool bad = false;
    t->told_end = false;
    t->told_save = all[0].save;
    *labelled = *tokens = 0;
    for (int r = 0; r < size; r++) {
        bad = bad || all[r].status;
        t->told_end = t->told_end || all[r].end;
        *labelled += all[r].labelled;
        *tokens += all[r].tokens;
    }
    free(all);
    return s || !bad ? s : hy_dist_agree(t->dist, loaded);
}

// A micro-batch by itself: its gradient in w->grad, and its loss.
static hy_status make_part(hy_trainer *t, const hy_batch *b, bool first, double scale, double *nll) {
    if (!first) HY_TRY(hy_optim_clear(&t->opt));
    HY_TRY(hy_optim_add(&t->opt, t->e, b, scale));
    HY_TRY(hy_optim_nll(&t->opt, nll));
    return t->staged ? t->be->to_host(t->staged, t->w->grad, gradient_bytes(t)) : HY_OK;
}

typedef struct {
    int32_t status, unused;
    double nll;
} part_word;

// How the parts of a round went, and their losses in order, added to *nll.
static hy_status gather_losses(hy_trainer *t, hy_status made, double mine, int ranks, double *nll) {
    const int size = hy_dist_size(t->dist);
    const part_word word = {.status = made, .nll = mine};
    part_word *all = hy_xcalloc((size_t)size, sizeof *all);
    const hy_status s = hy_dist_gather(t->dist, &word, sizeof word, all);
    bool bad = false;
    for (int r = 0; r < size; r++) bad = bad || all[r].status;
    for (int r = 0; r < ranks; r++) *nll += all[r].nll;
    free(all);
    return s || !bad ? s : hy_dist_agree(t->dist, made);
}

hy_status hy_trainer_sum_parts(hy_trainer *t, long step, double scale, hy_micro_batch_fn *load) {
    const int size = hy_dist_size(t->dist), rank = hy_dist_rank(t->dist);
    void *gradient = t->staged ? t->staged : t->w->grad;
    int parts = 0;
    double nll = 0;
    while (parts < t->spec.accumulate && t->sizes[parts]) parts++;
    for (int first = 0; first < parts; first += size) {
        const int k = first + rank, ranks = parts - first < size ? parts - first : size;
        double mine = 0;
        hy_status made = HY_OK;
        if (k < parts) {
            const hy_batch b = load(t, step, k);
            made = make_part(t, &b, first == 0, scale, &mine);
        }
        HY_TRY(gather_losses(t, made, mine, ranks, &nll));
        HY_TRY(hy_dist_sum_add(t->sum, ranks, k < parts ? gradient : NULL));
    }
    HY_TRY(hy_dist_sum_end(t->sum, gradient));
    if (t->staged) HY_TRY(t->be->from_host(t->w->grad, t->staged, gradient_bytes(t)));
    return hy_optim_set_nll(&t->opt, nll);
}

// ---------------------------------------------------------------------------------------------------- the run
// An evaluation may take longer than any step; that it goes on is heard.
enum { AT_WORK = 1, DONE = 2 };
hy_status hy_trainer_beat(void *trainer) {
    hy_trainer *t = trainer;
    char word = AT_WORK;
    if (hy_now() - t->beat < hy_dist_patience(t->dist) / 4) return HY_OK;
    t->beat = hy_now();
    return hy_dist_broadcast(t->dist, 0, &word, sizeof word);
}

hy_status hy_trainer_settle(hy_trainer *t, hy_status s, bool *stop) {
    if (!t->dist) return s;
    char word = DONE;
    do HY_TRY(hy_dist_broadcast(t->dist, 0, &word, sizeof word));
    while (word == AT_WORK);
    HY_TRY(hy_dist_agree(t->dist, s));
    return stop ? hy_dist_broadcast(t->dist, 0, stop, sizeof *stop) : HY_OK;
}

hy_status hy_trainer_first_of(hy_trainer *t, int64_t score, char *out, size_t n) {
    if (!t->dist) return HY_OK;
    const int size = hy_dist_size(t->dist);
    int64_t *all = hy_xcalloc((size_t)size, sizeof *all);
    const hy_status s = hy_dist_gather(t->dist, &score, sizeof score, all);
    int first = 0;
    for (int r = 1; r < size; r++)
        if (all[r] < all[first]) first = r;
    const bool whose = all[first] != INT64_MAX;
    free(all);
    HY_TRY(s);
    HY_TRY(hy_dist_broadcast(t->dist, first, out, n));
    const size_t used = strlen(out);
    if (whose) snprintf(out + used, n - used, " (rank %d)", first);
    return HY_OK;
}
