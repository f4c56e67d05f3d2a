// task_text.c - language modelling of any file or folder, by bytes (256 tokens) or with a tokenizer: the label of a
// position is the next token. Bits per byte = loss / ln 2 / bytes per token of the evaluation part.
//
// A folder is read recursively, entries in order of their names' bytes, hidden ones and links to folders left out,
// files put end to end. The last `validation` share of the bytes is for evaluation, the `tuning` share before it for
// tuning, the rest for training (with a tokenizer a part begins at the next whole character, and each is encoded apart,
// without BOS and EOS). Training examples are crops of the training part at a uniformly drawn place. Windows of the
// other two stand end to end; the last one reaches back so that it is as long as the rest, and what the window before
// it has scored is ignored: every token of the part but its first is scored once.
//
// Of token shards (core/corpus/corpus.h) each document is in one split; examples are windows of documents
// (task_text_docs.c). A set of one document, and .bin files, are cut as a text is.
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/base/utf8.h"
#include "core/task/text_impl.h"

#define TEXT_MAX_BYTES ((size_t)16 << 30)
#define TEXT_MAX_DEPTH 64  // of folders

static const hy_field text_fields[] = {
    {"path", HY_F_STRING, offsetof(hy_text_options, path), PATH_MAX, "\"\"", 0, 0, NULL,
     "a text file, a folder of text files, token shards (hylab tokenize --out), or .bin files of llm.c or nanoGPT"},
    {"validation", HY_F_DOUBLE, offsetof(hy_text_options, validation), 0, "0.1", 1e-6, 0.9, NULL,
     "share of the bytes, at the end, that is kept for evaluation; of shards: of the documents"},
    {"tuning", HY_F_DOUBLE, offsetof(hy_text_options, tuning), 0, "0", 0, 0.9, NULL,
     "share of the bytes, before those of evaluation, that train.stop_accuracy looks at; 0: none", true},
    {"tokenizer", HY_F_STRING, offsetof(hy_text_options, tokenizer), PATH_MAX, "bytes", 0, 0, NULL,
     "bytes, or a tokenizer.json, a SentencePiece model, or a folder with one of them", true},
    {"train", HY_F_INTS, offsetof(hy_text_options, train), 0, "256", 1, HY_TASK_MAX_LEN, NULL,
     "training lengths in tokens"},
    {"test", HY_F_INTS, offsetof(hy_text_options, test), 0, "256", 1, HY_TASK_MAX_LEN, NULL,
     "evaluation lengths in tokens"},
    {"train_examples", HY_F_INTS, offsetof(hy_text_options, train_examples), 0, "0", 0, 1e9, NULL,
     "size of the fixed set of training crops, one number or one per training cell; 0: fresh crops for ever"},
    {"weights", HY_F_DOUBLES, offsetof(hy_text_options, weights), 0, "[]", 0, 1e12, NULL,
     "share of training batches of each training cell; empty: by train_examples, or equal if any is 0"},
    {"vocab", HY_F_INT, offsetof(hy_text_options, vocab), 0, "0", 0, HY_TASK_MAX_VOCAB, NULL,
     "of a .bin file: ids are below it; nanoGPT's files do not tell; 0: what the file tells", true},
    {"draw", HY_F_ENUM, offsetof(hy_text_options, draw), 0, "auto", 0, 0, "auto|crops|windows",
     "training examples: crops at any place; or windows end to end, in a new order in each pass; auto: of documents "
     "windows, else crops",
     true},
    {"pack", HY_F_ENUM, offsetof(hy_text_options, pack), 0, "none", 0, 0, "none|stream|cut",
     "none: examples stay in a document, short ones are padded; stream: documents end to end, which examples cross",
     true},
    {"split_seed", HY_F_LONG, offsetof(hy_text_options, split_seed), 0, "42", 0, 9e15, NULL,
     "seed of which documents are kept for evaluation and tuning", true},
    HY_FIELD_END,
};

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

static hy_status folder_add(const char *path, int depth, hy_buf *all) {
    if (depth > TEXT_MAX_DEPTH)
        return hy_error(HY_EINPUT, "%s: folders are nested more than %d deep", path, TEXT_MAX_DEPTH);
    struct dirent **entries = NULL;
    int n = scandir(path, &entries, hy_entry_shown, hy_by_entry);
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
    hy_text_data *d = t->data;
    if (d) {
        free(d->all.s);
        free(d->ids.v);
        hy_tokenizer_close(d->tokenizer);
        hy_corpus_close(d->corpus);
        hy_text_docs_free(d);
    }
    free(d);
}

// The parts in the order in which they stand in the text.
static const hy_split in_order[HY_SPLITS] = {HY_SPLIT_TRAIN, HY_SPLIT_TUNE, HY_SPLIT_EVAL};

// A part of the text, n bytes of it as tokens from .. upto - 1.
static void part_add(hy_text_data *d, hy_split s, size_t from, size_t upto, size_t bytes) {
    hy_text_docs_add(&d->docs[s], (int64_t)from, (int64_t)(upto - from), (int64_t)bytes);
}

// The parts as bytes, or as tokens: each begins at a whole character. A text longer than one call encodes is refused
// there.
static hy_status text_split(const hy_text_options *o, hy_text_data *d) {
    const size_t n = d->all.n, eval = (size_t)((double)n * o->validation), tune = (size_t)((double)n * o->tuning);
    const size_t ends[HY_SPLITS] = {n - eval - tune, n - eval, n};
    size_t from = 0;
    d->whole = true;
    for (int i = 0; i < HY_SPLITS; i++) {
        size_t to = ends[i];
        if (!d->tokenizer) {
            part_add(d, in_order[i], from, to, to - from);
            from = to;
            continue;
        }
        while (to < n && ((unsigned char)d->all.s[to] & 0xc0) == 0x80) to++;
        const size_t before = d->ids.n;
        const hy_status e =
            to > from ? hy_tokenizer_encode(d->tokenizer, d->all.s + from, to - from, false, &d->ids) : HY_OK;
        if (e) return hy_error_context(e, "path: %s, tokenizer %s", o->path, o->tokenizer);
        part_add(d, in_order[i], before, d->ids.n, to - from);
        from = to;
    }
    return HY_OK;
}

// ---------------------------------------------------------------------------------------------------- sets
static hy_status open_set(const hy_text_options *o, hy_text_data *d) {
    HY_TRY(hy_is_corpus(o->path) ? hy_corpus_open(o->path, &d->corpus)
                                 : hy_corpus_open_bin(o->path, o->vocab, &d->corpus));
    const char *theirs = hy_corpus_about(d->corpus)->tokenizer;
    if (d->tokenizer && *theirs && strcmp(theirs, hy_tokenizer_hash(d->tokenizer)))
        return hy_error(HY_EINPUT, "tokenizer: %s is not the one that made the shards of %s (hash %s, theirs %s)",
                        o->tokenizer, o->path, hy_tokenizer_hash(d->tokenizer), theirs);
    return hy_text_split_set(o, d);
}

// What an option asks of another kind of path, and what is not done.
static hy_status check_options(const hy_text_options *o, bool set, bool bin) {
    if (o->validation + o->tuning >= 1)
        return hy_error(HY_EINPUT, "tuning %g and validation %g leave nothing to train on", o->tuning, o->validation);
    if (o->pack == HY_PACK_CUT)
        return hy_error(
            HY_EINPUT,
            "pack: cut is not there: attention and states of a row have no way to begin anew inside it. none "
            "has each document in rows of its own, which nothing crosses; stream lets all cross");
    if (o->pack && !set)
        return hy_error(HY_EINPUT, "pack: %s is no set of token shards (hylab tokenize --out), so it has no documents",
                        o->path);
    if (o->vocab && !bin) return hy_error(HY_EINPUT, "vocab: is for .bin files of ids; %s is none", o->path);
    return HY_OK;
}

static hy_status text_setup(hy_task *t) {
    hy_text_options *o = t->options;
    hy_text_data *d = t->data = hy_xcalloc(1, sizeof *d);
    hy_task_at_home(o->path);
    hy_task_at_home(o->tokenizer);
    const bool set = hy_is_corpus(o->path), bin = !set && hy_is_bin(o->path);
    HY_TRY(check_options(o, set, bin));
    if (!set && !bin) HY_TRY(path_read(o->path, &d->all));
    if (strcmp(o->tokenizer, "bytes")) HY_TRY(hy_tokenizer_open(o->tokenizer, &d->tokenizer));
    HY_TRY(set || bin ? open_set(o, d) : text_split(o, d));
    t->vocab = d->corpus ? hy_corpus_about(d->corpus)->vocab : d->tokenizer ? hy_tokenizer_vocab(d->tokenizer) : 256;
    const hy_text_docs *eval = &d->docs[HY_SPLIT_EVAL];
    if (eval->bytes >= 0 && eval->upto[eval->n] > 0)
        t->bytes_per_token = (double)eval->bytes / (double)eval->upto[eval->n];
    HY_TRY(hy_text_cells(t, HY_SPLIT_TRAIN));
    HY_TRY(hy_text_cells(t, HY_SPLIT_EVAL));
    if (o->tuning > 0) HY_TRY(hy_text_cells(t, HY_SPLIT_TUNE));
    return hy_task_weights(t, &o->weights);
}

// Shards tell what their tokenizer was, be it named here or not.
static void set_identity(const hy_text_data *d, hy_buf *out) {
    const hy_corpus_facts *f = hy_corpus_about(d->corpus);
    if (f->bytes >= 0) hy_buf_printf(out, "bytes: %lld\n", (long long)f->bytes);
    hy_buf_printf(out, "content: %s\ntokens: %lld\n", f->content, (long long)f->tokens);
    if (f->bytes >= 0) hy_buf_printf(out, "documents: %lld\n", (long long)f->documents);
    const char *tokenizer = *f->tokenizer ? f->tokenizer : d->tokenizer ? hy_tokenizer_hash(d->tokenizer) : "";
    if (*tokenizer) hy_buf_printf(out, "tokenizer_content: %s\n", tokenizer);
}

static void text_identity(const hy_task *t, hy_buf *out) {
    const hy_text_data *d = t->data;
    char hash[33];
    if (d->corpus) {
        set_identity(d, out);
        return;
    }
    hy_hash_hex(d->all.s, d->all.n, hash);
    hy_buf_printf(out, "bytes: %zu\ncontent: %s\n", d->all.n, hash);
    if (d->tokenizer)
        hy_buf_printf(out, "tokens: %zu\ntokenizer_content: %s\n", d->ids.n, hy_tokenizer_hash(d->tokenizer));
}

static const char *text_piece(const hy_task *t, int32_t id) {
    const hy_text_data *d = t->data;
    return d->tokenizer ? hy_tokenizer_piece(d->tokenizer, id, NULL) : NULL;
}

static bool of_bytes(const hy_corpus *c) {
    char hash[33];
    hy_hash_hex("bytes", 5, hash);  // as hy_tokenizer_open has it
    return !strcmp(hy_corpus_about(c)->tokenizer, hash);
}

static hy_status text_tokens(const hy_task *t, const char *text, size_t n, hy_token_ids *out) {
    const hy_text_data *d = t->data;
    if (d->tokenizer) return hy_tokenizer_encode(d->tokenizer, text, n, false, out);
    if (d->corpus && !of_bytes(d->corpus))
        return hy_error(HY_EINPUT, "%s: which tokenizer its ids are of is not known: set tokenizer",
                        hy_corpus_about(d->corpus)->path);
    for (size_t i = 0; i < n; i++) hy_token_ids_add(out, (unsigned char)text[i]);
    return HY_OK;
}

const hy_task_kind_def hy_task_text_kind = {
    .name = "text",
    .about = "next byte, or token of a tokenizer, of any text file or folder, or of token shards",
    .of_data = true,
    .fields = text_fields,
    .options_size = sizeof(hy_text_options),
    .setup = text_setup,
    .example = hy_text_example,
    .pass = hy_text_pass,
    .release = text_release,
    .text = text_identity,
    .piece = text_piece,
    .encode = text_tokens,
};
