// tokenize_files.c - see tokenize_files.h. What a set is and how it is made: core/corpus/corpus.h.
#include "experiments/cli/tokenize_files.h"

#include <glob.h>
#include <stdlib.h>
#include <string.h>

#include "core/corpus/corpus.h"
#include "experiments/cli/args.h"
#include "experiments/runner/progress.h"

typedef struct {
    char **v;
    int n;
} names_list;

static void list_add(names_list *l, const char *name) {
    l->v = hy_xrealloc(l->v, (size_t)(l->n + 1) * sizeof *l->v);
    l->v[l->n++] = hy_xstrdup(name);
}

// A file of that name, else all that the pattern fits, in the order of their bytes.
static hy_status add_matches(names_list *l, const char *name) {
    char *at = hy_path_home(name);
    hy_status s = HY_OK;
    glob_t g = {0};
    if (hy_file_exists(at)) {
        list_add(l, at);
    } else if (glob(at, GLOB_NOSORT, NULL, &g) || !g.gl_pathc) {
        s = hy_error(HY_EINPUT, "%s: no such file, and no file that it fits as a pattern", name);
    } else {
        qsort(g.gl_pathv, g.gl_pathc, sizeof *g.gl_pathv, hy_by_text);
        for (size_t i = 0; i < g.gl_pathc; i++) list_add(l, g.gl_pathv[i]);
    }
    globfree(&g);
    free(at);
    return s;
}

// \n, \t and \\ in a separator; caller frees.
static char *unescaped(const char *text) {
    char *out = hy_xstrdup(text), *to = out;
    for (const char *c = text; *c; c++) {
        const bool known = *c == '\\' && c[1] && strchr("nt\\", c[1]);
        *to++ = !known ? *c : c[1] == 'n' ? '\n' : c[1] == 't' ? '\t' : '\\';
        c += known;
    }
    *to = 0;
    return out;
}

static hy_status size_of(const char *option, const char *text, size_t otherwise, size_t *out) {
    double v = 0;
    HY_TRY(hy_arg_size(option, text, &v));
    if (text && (v < 100 || v > 1e15)) return hy_error(HY_EINPUT, "%s %s: from 100 bytes to 1P", option, text);
    *out = text ? (size_t)v : otherwise;
    return HY_OK;
}

static void show(void *user, const hy_corpus_progress *p) {
    hy_progress *bar = user;
    if (!bar->total) {
        bar->total = (double)p->total;
        bar->first = (double)p->done;
    }
    hy_progress_update(bar, (double)p->done, "%lld documents, %.4g M tokens", (long long)p->documents,
                       (double)p->tokens / 1e6);
}

static void tell(void *user, const char *text) {
    hy_progress_end(user);
    fprintf(stderr, "note: %s%s", text, *text && text[strlen(text) - 1] == '\n' ? "" : "\n");
}

static hy_status print(const hy_tokenize_files *o, const hy_corpus_counts *c, double seconds) {
    hy_table *t = hy_table_new(o->out);
    hy_table_column(t, "tokenizer", NULL, NULL, HY_LEFT);
    hy_table_column(t, "vocab", "vocabulary", NULL, HY_RIGHT);
    hy_table_column(t, "documents", NULL, NULL, HY_RIGHT);
    hy_table_column(t, "bytes", NULL, NULL, HY_RIGHT);
    hy_table_column(t, "tokens", NULL, NULL, HY_RIGHT);
    hy_table_column(t, "bytes_per_token", "bytes/token", NULL, HY_RIGHT);
    if (o->out) hy_table_column(t, "shards", NULL, NULL, HY_RIGHT);
    hy_table_row(t);
    hy_table_text(t, "%s", c->kind);
    hy_table_int(t, c->vocab);
    hy_table_int(t, c->documents);
    hy_table_int(t, c->bytes);
    hy_table_int(t, c->tokens);
    hy_table_num(t, c->tokens ? (double)c->bytes / (double)c->tokens : 0, 3);
    if (o->out) hy_table_int(t, c->shards);
    if (c->empty) hy_table_note(t, "%lld empty documents are passed over", (long long)c->empty);
    if (c->kept) hy_table_note(t, "%d shards were there already, and are whole", c->kept);
    char took[32];
    hy_duration_text(seconds, took, sizeof took);
    hy_table_note(t, "in %s", took);
    const hy_status s = hy_table_print(t, o->format, stdout);
    hy_table_free(t);
    return s;
}

static hy_status fill_job(const hy_tokenize_files *o, hy_corpus_job *job, char **separator) {
    *separator = o->split ? unescaped(o->split) : NULL;
    if (o->split && o->field)
        return hy_error(HY_EINPUT,
                        "--split is for plain text, --field for JSONL, where a line is a document: leave one out");
    job->cut = o->field                     ? HY_CUT_JSONL
               : !o->split                  ? HY_CUT_FILE
               : !strcmp(o->split, "blank") ? HY_CUT_BLANK
                                            : HY_CUT_SEPARATOR;
    job->text = o->field ? o->field : *separator;
    job->begin = o->begin;
    job->end = o->end;
    job->split_long = o->split_long;
    job->threads = o->threads;
    HY_TRY(size_of("--max-document", o->max_document, (size_t)16000000, &job->max_document));
    return size_of("--shard-size", o->shard, (size_t)64000000, &job->shard_bytes);
}

static void look_at_names(const names_list *l, const hy_tokenize_files *o) {
    for (int i = 0; i < l->n && !o->field; i++) {
        const char *dot = strrchr(l->v[i], '.');
        if (dot && (!strcmp(dot, ".jsonl") || !strcmp(dot, ".ndjson"))) {
            fprintf(stderr, "note: %s is taken for plain text; --field text takes the text out of each line's JSON\n",
                    l->v[i]);
            return;
        }
    }
}

hy_status hy_tokenize_files_run(const hy_tokenize_files *o, const char *tokenizer, const char **names, int n) {
    names_list files = {0};
    char *separator = NULL, *at = hy_path_home(tokenizer);
    hy_progress bar = hy_progress_start(stderr, "tokenize", 0, 0);
    hy_corpus_job job = {.tokenizer = at, .progress = show, .note = tell, .user = &bar};
    hy_corpus_counts counts = {0};
    hy_status s = n ? HY_OK : hy_error(HY_EINPUT, "no files: hylab tokenize TOKENIZER FILE... --out DIR");
    for (int i = 0; i < n && !s; i++) s = add_matches(&files, names[i]);
    if (!s) s = fill_job(o, &job, &separator);
    if (!s) look_at_names(&files, o);
    job.files = (const char *const *)files.v;
    job.n_files = files.n;
    const double start = hy_now();
    hy_interrupts_defer();
    if (!s) s = hy_corpus_make(&job, o->out, &counts);
    hy_interrupts_end();
    hy_progress_end(&bar);
    if (s == HY_EFAIL && o->out)
        s = hy_error_context(s, "shards that are whole stay in %s, and the same command goes on", o->out);
    if (!s) s = print(o, &counts, hy_now() - start);
    for (int i = 0; i < files.n; i++) free(files.v[i]);
    free(files.v);
    free(separator);
    free(at);
    return s;
}

hy_status hy_tokenize_files_unused(const hy_tokenize_files *o) {
    const struct {
        const char *name;
        bool given;
    } all[] = {{"--split", o->split},
               {"--field", o->field},
               {"--begin", o->begin},
               {"--end", o->end},
               {"--max-document", o->max_document},
               {"--split-long", o->split_long},
               {"--shard-size", o->shard},
               {"--threads", o->threads}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i].given)
            return hy_error(HY_EINPUT, "%s is for files: with --out DIR, or --files --count", all[i].name);
    return HY_OK;
}
