// task_seq.c - sequences with a class: splits, order, tokens, drawings. See seq_impl.h.
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/task/seq_impl.h"

// ---------------------------------------------------------------------------------------------------- items
void hy_seq_free(hy_seq *d) {
    if (!d) return;
    char hash[33];
    if (d->hasher) hy_hasher_end(d->hasher, hash);
    for (int s = 0; s < HY_SPLITS; s++) free(d->order[s]);
    for (int c = 0; d->names && c < d->classes; c++) free(d->names[c]);
    free(d->values), free(d->label), free(d->split), free(d->group), free(d->names), free(d->from), free(d->pieces);
    free(d);
}

hy_status hy_seq_room(hy_seq *d, const char *path, int64_t more, int len) {
    if (d->n && d->len != len)
        return hy_error(HY_EINPUT, "%s: its examples have %d values, those of the files before it %d", path, len,
                        d->len);
    d->len = len;
    if (more > (int64_t)(HY_SEQ_MAX_BYTES / (size_t)len) - d->n)
        return hy_error(HY_EINPUT, "%s: with it there are more than the %zu values that are read", path,
                        HY_SEQ_MAX_BYTES);
    if (d->n + more > d->cap) {
        d->cap = d->n + more > 2 * d->cap ? d->n + more : 2 * d->cap;
        const size_t n = (size_t)d->cap;
        d->values = hy_xrealloc(d->values, n * (size_t)len);
        d->label = hy_xrealloc(d->label, n * sizeof *d->label);
        d->split = hy_xrealloc(d->split, n);
        d->group = hy_xrealloc(d->group, n * sizeof *d->group);
    }
    for (int64_t i = d->n; i < d->n + more; i++) d->group[i] = i;
    memset(d->split + d->n, HY_SEQ_ANY, (size_t)more);
    return HY_OK;
}

void hy_seq_hash(hy_seq *d, const char *name, const void *data, size_t n) {
    if (!d->hasher) d->hasher = hy_hasher_new();
    const uint64_t size = n;  // so that no byte can pass from one file to the next unseen
    hy_hasher_add(d->hasher, name, strlen(name) + 1);
    hy_hasher_add(d->hasher, &size, sizeof size);
    hy_hasher_add(d->hasher, data, n);
}

// ---------------------------------------------------------------------------------------------------- splits
int64_t *hy_seq_permutation(int64_t n, uint64_t seed, int lane) {
    int64_t *p = hy_xcalloc((size_t)n + 1, sizeof *p);
    hy_rng r = hy_task_rng(seed, HY_DRAW_TABLE, lane, 0);
    for (int64_t i = 0; i < n; i++) {
        const int64_t with = (int64_t)hy_rng_below(&r, (uint64_t)i + 1);
        p[i] = p[with];
        p[with] = i;
    }
    return p;
}

int32_t *hy_seq_order(int len, int64_t seed) {
    int64_t *order = hy_seq_permutation(len, (uint64_t)seed, 0);
    int32_t *from = hy_xcalloc((size_t)len, sizeof *from);
    for (int i = 0; i < len; i++) from[i] = (int32_t)order[i];
    free(order);
    return from;
}

enum { LANE_SPLIT = 1, LANE_ORDER = 2, LANE_ITEMS = 3 };  // of the permutations

static int64_t count_split(const hy_seq *d, uint8_t split) {
    int64_t n = 0;
    for (int64_t i = 0; i < d->n; i++) n += d->split[i] == split;
    return n;
}

static hy_status shares_check(const hy_seq *d, const hy_seq_options *o, const char *path) {
    if (count_split(d, HY_SPLIT_EVAL) && o->validation > 0)
        return hy_error(HY_EINPUT, "validation: %s has a test part of its own: leave validation out", path);
    if (!count_split(d, HY_SPLIT_EVAL) && !(o->validation > 0))
        return hy_error(HY_EINPUT,
                        "validation: %s has no test part: say what share is kept for evaluation, such as 0.2", path);
    if (count_split(d, HY_SPLIT_TUNE) && o->tuning > 0)
        return hy_error(HY_EINPUT, "tuning: %s has a part for tuning of its own: write tuning: 0", path);
    if (o->validation + o->tuning >= 1)
        return hy_error(HY_EINPUT, "tuning %g and validation %g leave nothing to train on", o->tuning, o->validation);
    return HY_OK;
}

// What is not split yet, or is for training, goes by groups in an order drawn by split_seed: evaluation first, tuning
// next. Groups are numbered as they first appear.
static hy_status split_draw(hy_seq *d, const hy_seq_options *o, const char *path) {
    int64_t *number = hy_xcalloc((size_t)d->n + 1, sizeof *number), groups = 0, highest = -1;
    for (int64_t i = 0; i < d->n; i++)
        if (d->group[i] > highest) highest = d->group[i];
    int64_t *seen = hy_xcalloc((size_t)highest + 2, sizeof *seen);  // of a group: its number + 1
    for (int64_t i = 0; i < d->n; i++) {
        if (d->split[i] == HY_SPLIT_EVAL || d->split[i] == HY_SPLIT_TUNE) continue;
        d->split[i] = HY_SPLIT_TRAIN;
        if (!seen[d->group[i]]) seen[d->group[i]] = ++groups;
        number[i] = seen[d->group[i]] - 1;
    }
    int64_t *at = hy_seq_permutation(groups, (uint64_t)o->split_seed, LANE_SPLIT);
    int64_t eval = llround(o->validation * (double)groups), tune = llround(o->tuning * (double)groups);
    if (o->validation > 0 && eval < 1) eval = 1;
    if (o->tuning > 0 && tune < 1) tune = 1;
    for (int64_t i = 0; i < d->n; i++)
        if (d->split[i] == HY_SPLIT_TRAIN && at[number[i]] < eval + tune)
            d->split[i] = at[number[i]] < eval ? HY_SPLIT_EVAL : HY_SPLIT_TUNE;
    free(at), free(seen), free(number);
    if (!count_split(d, HY_SPLIT_TRAIN))
        return hy_error(HY_EINPUT, "%s: nothing is left to train on, of %lld examples in %lld groups", path,
                        (long long)d->n, (long long)groups);
    if (!count_split(d, HY_SPLIT_EVAL))
        return hy_error(HY_EINPUT, "%s: nothing is left for evaluation, of %lld examples in %lld groups", path,
                        (long long)d->n, (long long)groups);
    return HY_OK;
}

// The items of each split in an order drawn by split_seed, of which the first so many are used; those for training then
// in an order of the run's seed, the same on every pass. Files are often sorted by class.
static void orders_make(const hy_task *t, hy_seq *d, const hy_seq_options *o) {
    int64_t *all = hy_seq_permutation(d->n, (uint64_t)o->split_seed, LANE_ITEMS);
    for (int s = 0; s < HY_SPLITS; s++) {
        d->order[s] = hy_xcalloc((size_t)d->n + 1, sizeof **d->order);
        const int64_t most = s == HY_SPLIT_TRAIN ? o->train_examples : o->test_examples;
        for (int64_t i = 0; i < d->n; i++)
            if (d->split[all[i]] == s && (!most || d->count[s] < most)) d->order[s][d->count[s]++] = all[i];
    }
    const int64_t n = d->count[HY_SPLIT_TRAIN];
    int64_t *at = hy_seq_permutation(n, t->seed, LANE_ORDER);
    for (int64_t i = 0; i < n; i++) all[i] = d->order[HY_SPLIT_TRAIN][at[i]];
    memcpy(d->order[HY_SPLIT_TRAIN], all, (size_t)n * sizeof *all);
    free(at), free(all);
}

// Accuracy of who always names the commonest class of a split.
static double commonest(const hy_seq *d, hy_split s) {
    int64_t *n = hy_xcalloc((size_t)d->classes, sizeof *n), most = 0;
    for (int64_t i = 0; i < d->count[s]; i++) {
        const int64_t of = ++n[d->label[d->order[s][i]]];
        if (of > most) most = of;
    }
    free(n);
    return (double)most / (double)d->count[s];
}

static void pieces_make(hy_seq *d) {
    d->pieces = hy_xcalloc((size_t)d->classes + 1, sizeof *d->pieces);
    snprintf(d->pieces[0], sizeof *d->pieces, "?");
    for (int c = 0; c < d->classes; c++) {
        if (d->names)
            snprintf(d->pieces[c + 1], sizeof *d->pieces, "%s", d->names[c]);
        else
            snprintf(d->pieces[c + 1], sizeof *d->pieces, "class %d", c);
    }
}

hy_status hy_seq_finish(hy_task *t, hy_seq *d, const hy_seq_options *o, const char *path) {
    HY_TRY(shares_check(d, o, path));
    HY_TRY(split_draw(d, o, path));
    orders_make(t, d, o);
    pieces_make(d);
    hy_hasher_end(d->hasher, d->content);
    d->hasher = NULL;
    const int T = hy_seq_length(o, d->len);
    for (int s = 0; s < HY_SPLITS; s++) {
        if (!d->count[s]) continue;  // no part for tuning
        hy_cell c = {.T = T, .x = T, .y = NAN, .count = d->count[s], .weight = 1};
        if (o->target == HY_SEQ_LABEL) c.chance = commonest(d, (hy_split)s);
        HY_TRY(hy_task_cell_add(t, (hy_split)s, c, "T%d", T));
    }
    t->vocab = hy_seq_vocab(o, d->classes);
    if (o->target == HY_SEQ_NEXT && o->levels == 256) t->bytes_per_token = 1;
    return HY_OK;
}

// ---------------------------------------------------------------------------------------------------- tokens
int hy_seq_length(const hy_seq_options *o, int len) { return o->target == HY_SEQ_NEXT ? len : len + 1; }
int hy_seq_vocab(const hy_seq_options *o, int classes) {
    return o->levels + 1 + (o->target == HY_SEQ_NEXT ? 0 : classes);
}

void hy_seq_tokens(const hy_seq_options *o, int len, const uint8_t *values, const int32_t *from, int label,
                   int32_t *ids, int32_t *labels) {
    const int first = o->target == HY_SEQ_NEXT;  // where the first value stands
    for (int i = 0; i < len; i++) {
        const int32_t v = values[from ? from[i] : i];
        if (i + first < len || !first) ids[i + first] = v;
        labels[i] = first ? v : HY_IGNORE;
    }
    ids[first ? 0 : len] = o->levels;
    if (!first) labels[len] = o->levels + 1 + label;
}

int32_t *hy_seq_values(const hy_seq_options *o, int len, const int32_t *from, const int32_t *ids,
                       const int32_t *labels) {
    int32_t *v = hy_xcalloc((size_t)len, sizeof *v);
    for (int i = 0; i < len; i++) v[from ? from[i] : i] = o->target == HY_SEQ_NEXT ? labels[i] : ids[i];
    return v;
}

// ---------------------------------------------------------------------------------------------------- drawings
// Two characters for a pixel, which makes them about square; channels one beside the other.
void hy_seq_draw_image(const int32_t *values, int height, int width, int channels, int levels, hy_buf *out) {
    static const char ramp[] = " .:-=+*#%@";
    for (int y = 0; y < height; y++) {
        hy_buf_printf(out, "  ");
        for (int c = 0; c < channels; c++) {
            hy_buf_printf(out, "|");
            for (int x = 0; x < width; x++) {
                const int32_t v = values[((size_t)y * (size_t)width + (size_t)x) * (size_t)channels + (size_t)c];
                const char ink = ramp[v * 10 / levels];
                hy_buf_printf(out, "%c%c", ink, ink);
            }
        }
        hy_buf_printf(out, "|\n");
    }
}

// From the lowest to the highest value of each column of at most 80.
void hy_seq_draw_curve(const int32_t *values, int len, int levels, hy_buf *out) {
    enum { ROWS = 12, COLUMNS = 80 };
    const int columns = len < COLUMNS ? len : COLUMNS, rows = levels < ROWS ? levels : ROWS;
    for (int row = rows - 1; row >= 0; row--) {
        hy_buf_printf(out, "  |");
        for (int x = 0; x < columns; x++) {
            int lo = INT_MAX, hi = -1;
            for (int64_t i = (int64_t)x * len / columns; i < (int64_t)(x + 1) * len / columns; i++) {
                const int at = values[i] * rows / levels;
                if (at < lo) lo = at;
                if (at > hi) hi = at;
            }
            hy_buf_printf(out, "%c", row >= lo && row <= hi ? '*' : ' ');
        }
        hy_buf_printf(out, "|\n");
    }
}

// ---------------------------------------------------------------------------------------------------- kinds
void hy_seq_release(hy_task *t) { hy_seq_free(t->data); }

hy_status hy_seq_example(const hy_task *t, hy_split s, int cell, int64_t index, hy_rng *r, int32_t *ids,
                         int32_t *labels) {
    (void)cell, (void)r;
    const hy_seq *d = t->data;
    const int64_t n = d->order[s][index];
    hy_seq_tokens(t->options, d->len, d->values + (size_t)n * (size_t)d->len, d->from, d->label[n], ids, labels);
    return HY_OK;
}

void hy_seq_identity(const hy_task *t, hy_buf *out) {
    hy_buf_printf(out, "content: %s\n", ((const hy_seq *)t->data)->content);
}

const char *hy_seq_piece(const hy_task *t, int32_t id) {
    const int levels = ((const hy_seq_options *)t->options)->levels;
    return id < levels || id >= t->vocab ? NULL : ((const hy_seq *)t->data)->pieces[id - levels];
}
