// task_text.c - language modelling of any file or folder, by bytes (256 tokens) or with a tokenizer: the label of a
// position is the next token. Bits per byte = loss / ln 2 / bytes per token of the evaluation part.
//
// A folder is read recursively, entries in order of their names' bytes, hidden ones and links to folders left out,
// files put end to end. The last `validation` share of the bytes is for evaluation, the `tuning` share before it for
// tuning, the rest for training (with a tokenizer a part begins at the next whole character, and each is encoded apart,
// without BOS and EOS). Training examples are crops of the training part at a uniformly drawn place. Windows of the
// other two stand end to end; the last one reaches back so that it is as long as the rest, and what the window before
// it has scored is ignored: every token of the part but its first is scored once.
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/base/utf8.h"
#include "core/task/task_impl.h"
#include "core/token/tokenizer.h"

#define TEXT_MAX_BYTES ((size_t)16 << 30)
#define TEXT_MAX_DEPTH 64  // of folders

typedef struct {
    char path[PATH_MAX], tokenizer[PATH_MAX];
    double validation, tuning;
    hy_ints train, test, train_examples;
    hy_doubles weights;
} text_options;

static const hy_field text_fields[] = {
    {"path", HY_F_STRING, offsetof(text_options, path), PATH_MAX, "\"\"", 0, 0, NULL,
     "a text file, or a folder of text files"},
    {"validation", HY_F_DOUBLE, offsetof(text_options, validation), 0, "0.1", 1e-6, 0.9, NULL,
     "share of the bytes, at the end, that is kept for evaluation"},
    {"tuning", HY_F_DOUBLE, offsetof(text_options, tuning), 0, "0", 0, 0.9, NULL,
     "share of the bytes, before those of evaluation, that train.stop_accuracy looks at; 0: none", true},
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
    size_t begin[HY_SPLITS], end[HY_SPLITS];  // the tokens of each part: training, then tuning, then evaluation
    size_t n;
} text_data;

// ---------------------------------------------------------------------------------------------------- reading
static hy_status file_add(const char *path, hy_buf *all) {
    char *data = NULL;
    size_t n = 0;
    HY_TRY(hy_file_read(path, TEXT_MAX_BYTES - all->n, &data, &n));
    const char *text = data;
    (void)hy_utf8_begin(path, &text, &n);  // a byte order mark is no text; what UTF-16 may be is the tokenizer's matter
    memmove(data, text, n);
    if (!all->n) {  // the usual single file is taken over, not copied
        free(all->s);
        *all = (hy_buf){.s = data, .n = n, .cap = n};
        return HY_OK;
    }
    hy_buf_write(all, data, n);
    free(data);
    return HY_OK;
}

static int not_hidden(const struct dirent *e) { return e->d_name[0] != '.'; }

static hy_status folder_add(const char *path, int depth, hy_buf *all) {
    if (depth > TEXT_MAX_DEPTH)
        return hy_error(HY_EINPUT, "%s: folders are nested more than %d deep", path, TEXT_MAX_DEPTH);
    struct dirent **entries = NULL;
    int n = scandir(path, &entries, not_hidden, hy_by_entry);
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

// The parts in the order in which they stand in the text.
static const hy_split in_order[HY_SPLITS] = {HY_SPLIT_TRAIN, HY_SPLIT_TUNE, HY_SPLIT_EVAL};

// The bytes of each part.
static hy_status text_split(const text_options *o, text_data *d) {
    if (o->validation + o->tuning >= 1)
        return hy_error(HY_EINPUT, "tuning %g and validation %g leave nothing to train on", o->tuning, o->validation);
    const size_t n = d->all.n, eval = (size_t)((double)n * o->validation), tune = (size_t)((double)n * o->tuning);
    d->n = n;
    d->end[HY_SPLIT_TRAIN] = d->begin[HY_SPLIT_TUNE] = n - eval - tune;
    d->end[HY_SPLIT_TUNE] = d->begin[HY_SPLIT_EVAL] = n - eval;
    d->end[HY_SPLIT_EVAL] = n;
    return HY_OK;
}

// The parts as tokens instead of bytes. A text longer than one call encodes is refused there.
static hy_status text_encode(hy_task *t, text_data *d) {
    const text_options *o = t->options;
    HY_TRY(hy_tokenizer_open(o->tokenizer, &d->tokenizer));
    size_t from = 0, to = 0;
    for (int i = 0; i < HY_SPLITS; i++, from = to) {
        const hy_split s = in_order[i];
        to = d->end[s];
        while (to < d->all.n && ((unsigned char)d->all.s[to] & 0xc0) == 0x80) to++;  // whole characters
        d->begin[s] = d->ids.n;
        const hy_status e =
            to > from ? hy_tokenizer_encode(d->tokenizer, d->all.s + from, to - from, false, &d->ids) : HY_OK;
        if (e) return hy_error_context(e, "path: %s, tokenizer %s", o->path, o->tokenizer);
        d->end[s] = d->ids.n;
        if (s == HY_SPLIT_EVAL)
            t->bytes_per_token = d->ids.n > d->begin[s] ? (double)(to - from) / (double)(d->ids.n - d->begin[s]) : NAN;
    }
    d->n = d->ids.n;
    t->vocab = hy_tokenizer_vocab(d->tokenizer);
    return HY_OK;
}

static size_t part_tokens(const text_data *d, hy_split s) { return d->end[s] - d->begin[s]; }

// Cells of windows that cover a part.
static hy_status window_cells(hy_task *t, hy_split s) {
    const text_options *o = t->options;
    const text_data *d = t->data;
    const char *part = s == HY_SPLIT_EVAL ? "validation" : "tuning";
    HY_TRY(lengths_check(o, s == HY_SPLIT_EVAL ? "test" : "tuning", part, &o->test, part_tokens(d, s)));
    for (int i = 0; i < o->test.n; i++) {
        const int T = o->test.v[i];
        const hy_cell c = {.T = T, .x = T, .y = NAN, .count = ((int64_t)part_tokens(d, s) - 1 + T - 1) / T};
        HY_TRY(hy_task_cell_add(t, s, c, "T%d", T));
    }
    return HY_OK;
}

static hy_status text_setup(hy_task *t) {
    text_options *o = t->options;
    text_data *d = t->data = hy_xcalloc(1, sizeof *d);
    hy_task_at_home(o->path);
    hy_task_at_home(o->tokenizer);
    HY_TRY(path_read(o->path, &d->all));
    HY_TRY(text_split(o, d));
    t->vocab = 256;
    t->bytes_per_token = 1;
    if (strcmp(o->tokenizer, "bytes")) HY_TRY(text_encode(t, d));
    HY_TRY(lengths_check(o, "train", "training", &o->train, part_tokens(d, HY_SPLIT_TRAIN)));
    HY_TRY(hy_task_lengths(t, HY_SPLIT_TRAIN, &o->train, &o->train_examples, 0, NAN, "T"));
    if (o->test.n < 1) return hy_error(HY_EINPUT, "test: at least one length is needed");
    HY_TRY(window_cells(t, HY_SPLIT_EVAL));
    if (o->tuning > 0) HY_TRY(window_cells(t, HY_SPLIT_TUNE));
    return hy_task_weights(t, &o->weights);
}

static hy_status text_example(const hy_task *t, hy_split s, int cell, int64_t index, hy_rng *r, int32_t *ids,
                              int32_t *labels) {
    const text_data *d = t->data;
    const unsigned char *b = (const unsigned char *)d->all.s;
    const int32_t *tokens = d->ids.v;  // NULL: bytes
    size_t T = (size_t)t->cells[s][cell].T, at, scored = 0;
    if (s == HY_SPLIT_TRAIN) {
        at = (size_t)hy_rng_below(r, d->end[s] - T);
    } else {
        size_t wanted = d->begin[s] + (size_t)index * T, last = d->end[s] - 1 - T;
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

static hy_status text_tokens(const hy_task *t, const char *text, size_t n, hy_token_ids *out) {
    const text_data *d = t->data;
    if (d->tokenizer) return hy_tokenizer_encode(d->tokenizer, text, n, false, out);
    for (size_t i = 0; i < n; i++) hy_token_ids_add(out, (unsigned char)text[i]);
    return HY_OK;
}

const hy_task_kind_def hy_task_text_kind = {
    .name = "text",
    .about = "next byte, or token of a tokenizer, of any text file or folder",
    .of_data = true,
    .fields = text_fields,
    .options_size = sizeof(text_options),
    .setup = text_setup,
    .example = text_example,
    .release = text_release,
    .text = text_identity,
    .piece = text_piece,
    .encode = text_tokens,
};
