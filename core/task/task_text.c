// task_text.c - language modelling of any file or folder, by bytes (256 tokens) or with a tokenizer: the label of a
// position is the next token. Bits per byte = loss / ln 2 / bytes per token of the evaluation part.
//
// A folder is read recursively, entries in order of their names' bytes, hidden ones and links to folders left out,
// files put end to end. The last `validation` share of the bytes is for evaluation (with a tokenizer from the next
// whole character on, and both parts are encoded apart, without BOS and EOS). Training examples are crops of the first
// part at a uniformly drawn place. Evaluation windows stand end to end; the last one reaches back so that it is as long
// as the rest, and what the window before it has scored is ignored: every token but the first is scored once.
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/task/task_impl.h"
#include "core/token/tokenizer.h"

#define TEXT_MAX_BYTES ((size_t)16 << 30)
#define TEXT_MAX_DEPTH 64  // of folders

typedef struct {
    char path[PATH_MAX], tokenizer[PATH_MAX];
    double validation;
    hy_ints train, test, train_examples;
    hy_doubles weights;
} text_options;

static const hy_field text_fields[] = {
    {"path", HY_F_STRING, offsetof(text_options, path), PATH_MAX, "\"\"", 0, 0, NULL,
     "a text file, or a folder of text files"},
    {"validation", HY_F_DOUBLE, offsetof(text_options, validation), 0, "0.1", 1e-6, 0.9, NULL,
     "share of the bytes, at the end, that is kept for evaluation"},
    {"tokenizer", HY_F_STRING, offsetof(text_options, tokenizer), PATH_MAX, "bytes", 0, 0, NULL,
     "bytes, or a tokenizer.json, a SentencePiece model, or a folder with one of them", true},
    {"train", HY_F_INTS, offsetof(text_options, train), 0, "256", 1, HY_TASK_MAX_LEN, NULL,
     "training lengths in tokens"},
    {"test", HY_F_INTS, offsetof(text_options, test), 0, "256", 1, HY_TASK_MAX_LEN, NULL,
     "evaluation lengths in tokens"},
    {"train_examples", HY_F_INTS, offsetof(text_options, train_examples), 0, "0", 0, 1e9, NULL,
     "size of the fixed set of training crops, one number or one per training cell; 0: fresh crops for ever"},
    {"weights", HY_F_DOUBLES, offsetof(text_options, weights), 0, "[]", 0, 1e12, NULL,
     "share of training batches of each training cell; empty: by train_examples, or equal if any is 0"},
    HY_FIELD_END,
};

typedef struct {
    hy_buf all;
    hy_tokenizer *tokenizer;  // NULL: tokens are the bytes of all
    hy_token_ids ids;
    size_t n, n_train;  // tokens; 0 .. n_train-1 are for training, the rest for evaluation
} text_data;

// ---------------------------------------------------------------------------------------------------- reading
static hy_status file_add(const char *path, hy_buf *all) {
    char *data = NULL;
    size_t n = 0;
    HY_TRY(hy_file_read(path, TEXT_MAX_BYTES - all->n, &data, &n));
    if (!all->n) {  // the usual single file is taken over, not copied
        free(all->s);
        *all = (hy_buf){.s = data, .n = n, .cap = n};
        return HY_OK;
    }
    hy_buf_write(all, data, n);
    free(data);
    return HY_OK;
}

static int by_bytes(const struct dirent **a, const struct dirent **b) { return strcmp((*a)->d_name, (*b)->d_name); }
static int not_hidden(const struct dirent *e) { return e->d_name[0] != '.'; }

static hy_status folder_add(const char *path, int depth, hy_buf *all) {
    if (depth > TEXT_MAX_DEPTH)
        return hy_error(HY_EINPUT, "%s: folders are nested more than %d deep", path, TEXT_MAX_DEPTH);
    struct dirent **entries = NULL;
    int n = scandir(path, &entries, not_hidden, by_bytes);
    if (n < 0) return hy_error(HY_EINPUT, "%s: cannot read the folder: %s", path, strerror(errno));
    hy_status s = HY_OK;
    for (int i = 0; i < n; i++) {
        char *sub = hy_asprintf("%s/%s", path, entries[i]->d_name);
        struct stat link, st;
        if (!s && lstat(sub, &link) == 0 && stat(sub, &st) == 0) {
            if (S_ISREG(st.st_mode))
                s = file_add(sub, all);
            else if (S_ISDIR(link.st_mode))
                s = folder_add(sub, depth + 1, all);
        }
        free(sub);
        free(entries[i]);
    }
    free(entries);
    return s;
}

static hy_status path_read(const char *path, hy_buf *all) {
    struct stat st;
    if (!path[0]) return hy_error(HY_EINPUT, "path: name a text file or a folder of text files");
    if (stat(path, &st)) return hy_error(HY_EINPUT, "path: %s: %s", path, strerror(errno));
    HY_TRY(S_ISDIR(st.st_mode) ? folder_add(path, 0, all) : file_add(path, all));
    if (!all->n)
        return hy_error(HY_EINPUT, "path: %s is empty%s", path,
                        S_ISDIR(st.st_mode) ? ": no file in it has any bytes" : "");
    return HY_OK;
}

static void start_at_home(char path[PATH_MAX]) {
    char *at = hy_path_home(path);
    snprintf(path, PATH_MAX, "%s", at);
    free(at);
}

// ---------------------------------------------------------------------------------------------------- the task
static void text_release(hy_task *t) {
    text_data *d = t->data;
    if (d) {
        free(d->all.s);
        free(d->ids.v);
        hy_tokenizer_close(d->tokenizer);
    }
    free(d);
}

static hy_status lengths_check(const text_options *o, const char *name, const char *part, const hy_ints *lengths,
                               size_t tokens) {
    const char *unit = strcmp(o->tokenizer, "bytes") ? "tokens" : "bytes";
    for (int i = 0; i < lengths->n; i++)
        if (tokens < (size_t)lengths->v[i] + 1)
            return hy_error(HY_EINPUT, "%s: %s is too short: its %s part has %zu %s, length %d needs %d", name, o->path,
                            part, tokens, unit, lengths->v[i], lengths->v[i] + 1);
    return HY_OK;
}

// The two parts of the text as tokens; train_bytes: where the second begins. A text longer than one call encodes is
// refused there.
static hy_status text_encode(hy_task *t, text_data *d, size_t train_bytes) {
    const text_options *o = t->options;
    HY_TRY(hy_tokenizer_open(o->tokenizer, &d->tokenizer));
    while (train_bytes < d->all.n && ((unsigned char)d->all.s[train_bytes] & 0xc0) == 0x80) train_bytes++;
    hy_status s = hy_tokenizer_encode(d->tokenizer, d->all.s, train_bytes, false, &d->ids);
    d->n_train = d->ids.n;
    if (!s) s = hy_tokenizer_encode(d->tokenizer, d->all.s + train_bytes, d->all.n - train_bytes, false, &d->ids);
    if (s) return hy_error_context(s, "path: %s, tokenizer %s", o->path, o->tokenizer);
    d->n = d->ids.n;
    t->vocab = hy_tokenizer_vocab(d->tokenizer);
    t->bytes_per_token = d->n > d->n_train ? (double)(d->all.n - train_bytes) / (double)(d->n - d->n_train) : NAN;
    return HY_OK;
}

static hy_status text_setup(hy_task *t) {
    text_options *o = t->options;
    text_data *d = t->data = hy_xcalloc(1, sizeof *d);
    start_at_home(o->path);
    start_at_home(o->tokenizer);
    HY_TRY(path_read(o->path, &d->all));
    size_t n_eval = (size_t)((double)d->all.n * o->validation);
    d->n = d->all.n;
    d->n_train = d->n - n_eval;
    t->vocab = 256;
    t->bytes_per_token = 1;
    if (strcmp(o->tokenizer, "bytes")) {
        HY_TRY(text_encode(t, d, d->n_train));
        n_eval = d->n - d->n_train;
    }
    HY_TRY(lengths_check(o, "train", "training", &o->train, d->n_train));
    HY_TRY(lengths_check(o, "test", "validation", &o->test, n_eval));
    HY_TRY(hy_task_lengths(t, HY_SPLIT_TRAIN, &o->train, &o->train_examples, 0, NAN, "T"));
    if (o->test.n < 1) return hy_error(HY_EINPUT, "test: at least one length is needed");
    for (int i = 0; i < o->test.n; i++) {
        int T = o->test.v[i];
        hy_cell c = {.T = T, .x = T, .y = NAN, .count = ((int64_t)n_eval - 1 + T - 1) / T};
        HY_TRY(hy_task_cell_add(t, HY_SPLIT_EVAL, c, "T%d", T));
    }
    return hy_task_weights(t, &o->weights);
}

static hy_status text_example(const hy_task *t, hy_split s, int cell, int64_t index, hy_rng *r, int32_t *ids,
                              int32_t *labels) {
    const text_data *d = t->data;
    const unsigned char *b = (const unsigned char *)d->all.s;
    const int32_t *tokens = d->ids.v;  // NULL: bytes
    size_t T = (size_t)t->cells[s][cell].T, at, scored = 0;
    if (s == HY_SPLIT_TRAIN) {
        at = (size_t)hy_rng_below(r, d->n_train - T);
    } else {
        size_t wanted = d->n_train + (size_t)index * T, last = d->n - 1 - T;
        at = wanted < last ? wanted : last;
        scored = wanted - at;  // labels that the window before has
    }
    for (size_t i = 0; i < T; i++) {
        ids[i] = tokens ? tokens[at + i] : b[at + i];
        labels[i] = i < scored ? HY_IGNORE : tokens ? tokens[at + i + 1] : b[at + i + 1];
    }
    return HY_OK;
}

static void text_identity(const hy_task *t, hy_buf *out) {
    const text_data *d = t->data;
    char hash[33];
    hy_hash_hex(d->all.s, d->all.n, hash);
    hy_buf_printf(out, "bytes: %zu\ncontent: %s\n", d->all.n, hash);
    if (d->tokenizer) hy_buf_printf(out, "tokens: %zu\ntokenizer_content: %s\n", d->n, hy_tokenizer_hash(d->tokenizer));
}

static const char *text_piece(const hy_task *t, int32_t id) {
    const text_data *d = t->data;
    return d->tokenizer ? hy_tokenizer_piece(d->tokenizer, id, NULL) : NULL;
}

const hy_task_kind_def hy_task_text_kind = {
    .name = "text",
    .about = "next byte, or token of a tokenizer, of any text file or folder",
    .fields = text_fields,
    .options_size = sizeof(text_options),
    .setup = text_setup,
    .example = text_example,
    .release = text_release,
    .text = text_identity,
    .piece = text_piece,
};
