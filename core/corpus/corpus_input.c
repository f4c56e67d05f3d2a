// corpus_input.c - documents out of files, one after the other, through a buffer that is no larger than the longest
// document may be and a block. See corpus_impl.h.
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/utf8.h"
#include "core/corpus/corpus_impl.h"

#define BLOCK ((size_t)1 << 20)

struct hy_corpus_input {
    const hy_corpus_job *job;
    hy_corpus_source *sources;
    bool utf8;
    int file, fd;  // fd -1: not open
    char *buf;
    size_t cap, from, to;   // what is not taken yet
    size_t seen;            // of that, behind `from`, what has been searched for an end
    bool ended;             // the file holds no more
    int64_t offset, line;   // of buf[from]
    int64_t before, empty;  // bytes of the files before; empty documents
    hy_hasher *hasher;
};

hy_corpus_input *hy_corpus_input_new(const hy_corpus_job *job, hy_corpus_source *sources, bool utf8) {
    hy_corpus_input *in = hy_xcalloc(1, sizeof *in);
    *in = (hy_corpus_input){.job = job, .sources = sources, .utf8 = utf8, .fd = -1, .line = 1};
    return in;
}

static void close_file(hy_corpus_input *in) {
    char unused[33];
    if (in->fd >= 0) close(in->fd);
    if (in->hasher) hy_hasher_end(in->hasher, unused);
    in->fd = -1;
    in->hasher = NULL;
}

void hy_corpus_input_free(hy_corpus_input *in) {
    if (!in) return;
    close_file(in);
    free(in->buf);
    free(in);
}

int64_t hy_corpus_input_done(const hy_corpus_input *in) { return in->before + in->offset; }
int64_t hy_corpus_input_empty(const hy_corpus_input *in) { return in->empty; }

void hy_corpus_input_place(const hy_corpus_input *in, hy_corpus_place *out) {
    *out = (hy_corpus_place){.file = in->file, .offset = in->offset, .line = in->line};
    if (in->hasher) hy_hasher_so_far(in->hasher, out->hash);
}

static const char *path_of(const hy_corpus_input *in) { return in->job->files[in->file]; }

static hy_status changed(const hy_corpus_input *in) {
    return hy_error(HY_EINPUT,
                    "%s: is not what it was when the shards of it were made: begin in another folder, or remove "
                    "them",
                    path_of(in));
}

// ---------------------------------------------------------------------------------------------------- the buffer
// More of the file behind what there is.
static hy_status fill(hy_corpus_input *in) {
    if (in->from) {
        memmove(in->buf, in->buf + in->from, in->to - in->from);
        in->to -= in->from;
        in->from = 0;
    }
    if (in->cap - in->to < BLOCK) {
        in->cap = in->to + BLOCK > 2 * in->cap ? in->to + BLOCK : 2 * in->cap;
        char *more = realloc(in->buf, in->cap);
        if (!more)
            return hy_error(HY_ENOMEM, "%s: out of memory reading a document of more than %zu bytes", path_of(in),
                            in->to);
        in->buf = more;
    }
    ssize_t n;
    do n = read(in->fd, in->buf + in->to, BLOCK);
    while (n < 0 && errno == EINTR && !hy_interrupted);
    if (n < 0) return hy_error(HY_EFAIL, "%s: cannot read: %s", path_of(in), strerror(errno));
    in->to += (size_t)n;
    in->ended = n == 0;
    return HY_OK;
}

// n bytes are done with: for the hash, the number of the line and the place.
static void take(hy_corpus_input *in, size_t n) {
    const char *at = in->buf + in->from, *end = at + n;
    hy_hasher_add(in->hasher, at, n);
    while ((at = memchr(at, '\n', (size_t)(end - at)))) at++, in->line++;
    in->from += n;
    in->offset += (int64_t)n;
    in->seen = 0;
}

static hy_status open_file(hy_corpus_input *in) {
    struct stat st;
    in->fd = open(path_of(in), O_RDONLY | O_CLOEXEC);
    if (in->fd < 0) return hy_error(HY_EINPUT, "%s: cannot open: %s", path_of(in), strerror(errno));
    if (fstat(in->fd, &st) || !S_ISREG(st.st_mode)) return hy_error(HY_EINPUT, "%s: is no plain file", path_of(in));
    in->hasher = hy_hasher_new();
    in->from = in->to = in->seen = 0;
    in->offset = 0, in->line = 1;
    in->ended = false;
    return HY_OK;
}

// A byte order mark is no text.
static hy_status begin_file(hy_corpus_input *in) {
    HY_TRY(open_file(in));
    while (in->to < 3 && !in->ended) HY_TRY(fill(in));
    const char *at = in->buf;
    size_t n = in->to;
    const hy_status s = hy_utf8_begin(path_of(in), &at, &n);
    if (s && in->utf8) return s;
    if (!s) take(in, (size_t)(at - in->buf));
    return HY_OK;
}

static hy_status end_file(hy_corpus_input *in) {
    hy_corpus_source *s = &in->sources[in->file];
    char hash[33];
    hy_hasher_end(in->hasher, hash);
    in->hasher = NULL;
    close_file(in);
    if (*s->hash && (strcmp(s->hash, hash) || s->bytes != in->offset)) return changed(in);
    memcpy(s->hash, hash, sizeof hash);
    s->bytes = in->offset;
    in->before += in->offset;
    in->offset = 0, in->line = 1;
    in->from = in->to = in->seen = 0;
    in->file++;
    return HY_OK;
}

hy_status hy_corpus_input_skip(hy_corpus_input *in, const hy_corpus_place *to) {
    char hash[33] = "";
    while (in->file < to->file || (in->file == to->file && in->offset < to->offset)) {
        if (hy_interrupted) return hy_error(HY_EINTR, "interrupted");
        if (in->fd < 0) HY_TRY(open_file(in));
        HY_TRY(fill(in));
        size_t n = in->to - in->from;
        if (in->file == to->file && (int64_t)n > to->offset - in->offset) n = (size_t)(to->offset - in->offset);
        take(in, n);
        if (!in->ended) continue;
        if (in->file == to->file) return changed(in);
        HY_TRY(end_file(in));
    }
    if (in->hasher) hy_hasher_so_far(in->hasher, hash);
    return *to->hash && strcmp(hash, to->hash) ? changed(in) : HY_OK;
}

// ---------------------------------------------------------------------------------------------------- where one ends
typedef struct {
    bool found;       // it is in the buffer
    size_t len, gap;  // bytes of the document; behind it, of what separates it from the next
    size_t seen;      // not found: it does not end before there
} extent;

// A line of white space at s[0..n-1]: its bytes with the newline; 0: it is none. *open: it may be one that goes on.
static size_t blank_line(const char *s, size_t n, bool ended, bool *open) {
    size_t i = 0;
    while (i < n && (s[i] == ' ' || s[i] == '\t' || s[i] == '\r')) i++;
    *open = i == n && !ended;
    return i < n ? (s[i] == '\n' ? i + 1 : 0) : ended ? i : 0;
}

static extent to_blank(const hy_corpus_input *in) {
    const char *s = in->buf + in->from;
    const size_t n = in->to - in->from;
    size_t at = in->seen;
    while (at < n) {
        const char *nl = memchr(s + at, '\n', n - at);
        if (!nl) break;
        const size_t end = (size_t)(nl - s);
        bool open;
        const size_t blank = blank_line(s + end + 1, n - end - 1, in->ended, &open);
        if (open) break;
        if (blank || end + 1 == n) return (extent){true, end, 1 + blank, 0};
        at = end + 1;
    }
    return (extent){.found = in->ended, .len = n, .seen = at};
}

static extent to_text(const hy_corpus_input *in, const char *text) {
    const size_t n = in->to - in->from, m = strlen(text), back = in->seen < m ? 0 : in->seen - m;
    const char *s = in->buf + in->from, *at = n > back ? memmem(s + back, n - back, text, m) : NULL;
    return at ? (extent){true, (size_t)(at - s), m, 0} : (extent){.found = in->ended, .len = n, .seen = n};
}

static extent find_end(const hy_corpus_input *in) {
    switch (in->job->cut) {
        case HY_CUT_BLANK: return to_blank(in);
        case HY_CUT_SEPARATOR: return to_text(in, in->job->text);
        case HY_CUT_JSONL: return to_text(in, "\n");
        case HY_CUT_FILE: break;
    }
    return (extent){.found = in->ended, .len = in->to - in->from};
}

// A document that goes on past the limit: cut behind the last line, else word, else character that fits.
static hy_status cut_long(const hy_corpus_input *in, extent *e) {
    const size_t most = in->job->max_document;
    const char *s = in->buf + in->from;
    if (in->job->cut == HY_CUT_JSONL)
        return hy_error(HY_EINPUT, "%s: line %lld: is longer than %zu bytes: raise --max-document", path_of(in),
                        (long long)in->line, most);
    if (!in->job->split_long)
        return hy_error(HY_EINPUT,
                        "%s: line %lld: begins a document of more than %zu bytes: say how documents are separated "
                        "(--split), cut long ones (--split-long), or raise --max-document",
                        path_of(in), (long long)in->line, most);
    size_t k = most;
    while (k && s[k - 1] != '\n') k--;
    if (!k)
        for (k = most; k && s[k - 1] != ' ' && s[k - 1] != '\t';) k--;
    if (!k)
        for (k = most; k > 1 && ((unsigned char)s[k] & 0xc0) == 0x80;) k--;
    *e = (extent){.found = true, .len = k};
    return HY_OK;
}

static hy_status next_extent(hy_corpus_input *in, extent *e) {
    for (;;) {
        const size_t n = in->to - in->from;
        *e = find_end(in);
        if ((e->found ? e->len : n) > in->job->max_document) return cut_long(in, e);
        if (e->found) return HY_OK;
        in->seen = e->seen;
        HY_TRY(fill(in));
    }
}

// Blank lines before a document of those that blank lines separate.
static hy_status pass_blanks(hy_corpus_input *in) {
    for (;;) {
        bool open;
        const size_t n = blank_line(in->buf + in->from, in->to - in->from, in->ended, &open);
        if (n) take(in, n);
        if (open && in->to - in->from > in->job->max_document) return HY_OK;
        if (open)
            HY_TRY(fill(in));
        else if (!n)
            return HY_OK;
    }
}

static bool is_space(const char *s, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (s[i] != ' ' && s[i] != '\t' && s[i] != '\r' && s[i] != '\n') return false;
    return true;
}

hy_status hy_corpus_input_next(hy_corpus_input *in, hy_buf *all, hy_corpus_text *out, bool *found) {
    *found = false;
    while (in->file < in->job->n_files) {
        if (in->fd < 0) HY_TRY(begin_file(in));
        if (in->job->cut == HY_CUT_BLANK) HY_TRY(pass_blanks(in));
        if (in->from == in->to && !in->ended) HY_TRY(fill(in));
        if (in->from == in->to && in->ended) {
            HY_TRY(end_file(in));
            continue;
        }
        extent e;
        HY_TRY(next_extent(in, &e));
        const char *s = in->buf + in->from;
        *found = in->job->cut == HY_CUT_JSONL ? !is_space(s, e.len) : e.len > 0;
        if (*found) {
            *out = (hy_corpus_text){path_of(in), in->line, in->offset, all->n, e.len};
            hy_buf_write(all, s, e.len);
        }
        take(in, e.len + e.gap);
        if (*found) return HY_OK;
        in->empty += in->job->cut != HY_CUT_JSONL;
    }
    return HY_OK;
}
