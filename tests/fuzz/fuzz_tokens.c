// fuzz_tokens.c - libFuzzer target of text at scale (`make fuzz-tokens`): any bytes are a manifest (m, u: unfinished,
// with the checksum that fits), the two files of a shard (s, cut at "\n---\n"), a .bin file (b) or a source (t), or a
// clear refusal that names the file. The first byte tells which.
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/corpus/corpus_impl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static char dir[64], file[5][96];
static const char *const names[5] = {HY_CORPUS_MANIFEST, HY_CORPUS_UNFINISHED, "00000.tokens", "00000.documents",
                                     "source.bin"};
enum { WHOLE = 0, PART, TOKENS, DOCUMENTS, SOURCE };

static void leave(void) {
    for (int i = 0; i < 5; i++) unlink(file[i]);
    rmdir(dir);
}

static void enter(void) {
    snprintf(dir, sizeof dir, "%s/hylab_fuzz_t.%ld", access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm", (long)getpid());
    mkdir(dir, 0700);
    for (int i = 0; i < 5; i++) snprintf(file[i], sizeof file[i], "%s/%s", dir, names[i]);
    atexit(leave);
}

static void put(const char *path, const void *data, size_t n) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    HY_ASSERT(fd >= 0 && write(fd, data, n) == (ssize_t)n && !close(fd));
}

static bool refused(hy_status s) {
    HY_ASSERT(s == HY_OK || (s == HY_EINPUT && strstr(hy_error_text(), "hylab_fuzz_t")));
    return s != HY_OK;
}

// A member "checksum" that fits goes to the end, in place of the last brace.
static void give_manifest(const uint8_t *data, size_t n, int which) {
    hy_buf text = {0};
    char hash[33];
    hy_corpus_manifest m, again;
    while (n && data[n - 1] != '}') n--;
    hy_buf_write(&text, data, n ? n - 1 : 0);
    hy_buf_printf(&text, ", ");
    hy_hash_hex(text.s, text.n, hash);
    hy_buf_printf(&text, "\"checksum\": \"%s\"}", hash);
    put(file[which], text.s, text.n);
    free(text.s);
    if (refused(hy_corpus_manifest_read(file[which], &m))) return;
    HY_ASSERT(hy_corpus_manifest_write(file[which], &m) == HY_OK);
    HY_ASSERT(hy_corpus_manifest_read(file[which], &again) == HY_OK);
    HY_ASSERT(again.tokens == m.tokens && again.n_shards == m.n_shards && again.n_sources == m.n_sources);
    HY_ASSERT(!strcmp(again.settings, m.settings) && again.next.offset == m.next.offset);
    hy_corpus_manifest_free(&m);
    hy_corpus_manifest_free(&again);
}

static void read_all(hy_corpus *c) {
    const hy_corpus_facts *f = hy_corpus_about(c);
    int32_t *ids = hy_xcalloc((size_t)f->tokens, sizeof *ids);
    int64_t at = 0, bytes = 0;
    for (int64_t i = 0; i < f->documents; i++) {
        const hy_corpus_document d = hy_corpus_document_at(c, i);
        HY_ASSERT(d.from == at && d.tokens > 0);
        at += d.tokens, bytes += d.bytes;
    }
    HY_ASSERT(at == f->tokens && (bytes == f->bytes || f->bytes < 0));
    if (!refused(hy_corpus_ids(c, 0, (size_t)f->tokens, ids)))
        for (int64_t i = 0; i < f->tokens; i++) HY_ASSERT(ids[i] >= 0 && ids[i] < f->vocab);
    free(ids);
    hy_corpus_close(c);
}

// Two bytes of a vocabulary and four of the bytes of the text, then the files; checksums and counts are right.
static void give_shard(const uint8_t *data, size_t n) {
    if (n < 6) return;
    uint32_t bytes;
    memcpy(&bytes, data + 2, sizeof bytes);
    hy_corpus_shard s = {.bytes = bytes, .from = {.line = 1}};
    hy_corpus_manifest m = {.width = 2,
                            .vocab = 1 + data[0] + 256 * data[1],
                            .bytes = bytes,
                            .finished = true,
                            .tokenizer_kind = "x",
                            .settings = "{}",
                            .shards = &s,
                            .n_shards = 1};
    data += 6, n -= 6;
    const uint8_t *cut = memmem(data, n, "\n---\n", 5);
    const size_t first = cut ? (size_t)(cut - data) : n, rest = cut ? n - first - 5 : 0;
    const uint8_t *documents = cut ? cut + 5 : data;
    put(file[TOKENS], data, first);
    put(file[DOCUMENTS], documents, rest);
    m.tokens = s.tokens = (int64_t)first / 2, m.documents = s.documents = (int64_t)(rest / sizeof(hy_corpus_entry));
    hy_hash_hex(data, first, s.tokens_hash);
    hy_hash_hex(documents, rest, s.documents_hash);
    hy_hash_hex("x", 1, m.tokenizer_hash);
    hy_hasher *h = hy_corpus_content_begin(2, m.vocab);
    uint64_t before = 0;
    for (int64_t i = 0; i < s.documents; i++) {
        hy_corpus_entry e;
        memcpy(&e, documents + (size_t)i * sizeof e, sizeof e);
        hy_corpus_content_add(h, e.end - before, &e);
        before = e.end;
    }
    hy_hasher_end(h, m.content);
    HY_ASSERT(hy_corpus_manifest_write(file[WHOLE], &m) == HY_OK);
    hy_corpus *c;
    HY_ASSERT(hy_is_corpus(dir));
    if (!refused(hy_corpus_open(dir, &c))) read_all(c);
}

static void give_bin(const uint8_t *data, size_t n) {
    hy_corpus *c;
    if (n < 2) return;
    put(file[SOURCE], data + 2, n - 2);
    if (!refused(hy_corpus_open_bin(file[SOURCE], data[0] + 256 * data[1], &c))) read_all(c);
}

// A byte of how it is cut and one of how long a document may be; whole, and one document after the other.
static void give_source(const uint8_t *data, size_t n) {
    const char *const sources[] = {file[SOURCE]};
    static const char *const texts[] = {NULL, NULL, "ab", "text"};
    if (n < 2) return;
    const hy_corpus_job job = {.tokenizer = "bytes",
                               .files = sources,
                               .n_files = 1,
                               .cut = (hy_corpus_cut)(data[0] & 3),
                               .text = texts[data[0] & 3],
                               .split_long = data[0] & 4,
                               .end = data[0] & 8 ? "256" : NULL,
                               .max_document = 1 + (size_t)data[1],
                               .shard_bytes = 1,
                               .threads = 1};
    hy_corpus_counts c;
    put(file[SOURCE], data + 2, n - 2);
    if (refused(hy_corpus_make(&job, NULL, &c))) return;
    HY_ASSERT(c.documents > 0 && c.bytes > 0 && (size_t)c.bytes <= n - 2);
    HY_ASSERT(c.tokens == c.bytes + (job.end ? c.documents : 0) && c.bytes <= c.documents * (int64_t)job.max_document);
    if (job.cut == HY_CUT_FILE) HY_ASSERT((size_t)c.bytes + 3 >= n - 2);  // but a byte order mark
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    if (!dir[0]) enter();
    if (!n) return 0;
    switch (data[0]) {
        case 'm': give_manifest(data + 1, n - 1, WHOLE); break;
        case 'u': give_manifest(data + 1, n - 1, PART); break;
        case 's': give_shard(data + 1, n - 1); break;
        case 'b': give_bin(data + 1, n - 1); break;
        case 't': give_source(data + 1, n - 1); break;
        default: break;
    }
    return 0;
}
