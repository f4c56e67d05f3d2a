// corpus_impl.h - what the files of this folder share. Internal: users include corpus.h.
#ifndef HY_CORPUS_IMPL_H
#define HY_CORPUS_IMPL_H
#include <string.h>

#include "core/corpus/corpus.h"
#include "core/format/json.h"
#include "core/token/tokenizer.h"

#define HY_CORPUS_FORMAT "hylab.tokens"
#define HY_CORPUS_VERSION 1
#define HY_CORPUS_MANIFEST "manifest.json"
#define HY_CORPUS_UNFINISHED "unfinished.json"

// ---------------------------------------------------------------------------------------------------- the manifest
// A place in the sources.
typedef struct {
    int file;
    int64_t offset, line;  // line: 1 for the first
    char hash[33];         // of the file up to there
} hy_corpus_place;
typedef struct {
    int64_t tokens, documents, bytes;
    char tokens_hash[33], documents_hash[33];
    hy_corpus_place from;
} hy_corpus_shard;
typedef struct {
    char *path;
    int64_t bytes;
    char hash[33];  // "": not read to its end yet
} hy_corpus_source;
typedef struct {
    int width, vocab;  // width: bytes of an id
    int64_t tokens, documents, bytes;
    char content[33], tokenizer_hash[33];
    char *tokenizer_kind, *settings;  // settings: JSON in one line
    hy_corpus_source *sources;
    int n_sources;
    hy_corpus_shard *shards;
    int n_shards;
    bool finished;
    hy_corpus_place next;  // unfinished: where the next shard begins
} hy_corpus_manifest;
hy_status hy_corpus_manifest_read(const char *path, hy_corpus_manifest *out);
hy_status hy_corpus_manifest_write(const char *path, const hy_corpus_manifest *m);
void hy_corpus_manifest_free(hy_corpus_manifest *m);
// "DIR/00007.tokens"; the caller frees.
char *hy_corpus_shard_path(const char *dir, int shard, const char *what);

// A document as 00000.documents has it.
typedef struct {
    uint64_t end, bytes, hash;
} hy_corpus_entry;
_Static_assert(sizeof(hy_corpus_entry) == 24, "three u64 of a file");
// The hash of the content; add each document in order.
hy_hasher *hy_corpus_content_begin(int width, int vocab);
void hy_corpus_content_add(hy_hasher *h, uint64_t tokens, const hy_corpus_entry *e);

// ---------------------------------------------------------------------------------------------------- sources
// Texts of documents out of files, in order.
typedef struct hy_corpus_input hy_corpus_input;
typedef struct {
    const char *path;  // of the file
    int64_t line, offset;
    size_t at, n;  // its bytes in the buffer
} hy_corpus_text;
// job and sources are borrowed; hashes of sources are filled in as they are read to their ends, and are compared where
// they are there already. utf8: UTF-16 is refused.
hy_corpus_input *hy_corpus_input_new(const hy_corpus_job *job, hy_corpus_source *sources, bool utf8);
void hy_corpus_input_free(hy_corpus_input *in);
// Reads on to a place where a document began once; HY_EINPUT: what lies before it has changed.
hy_status hy_corpus_input_skip(hy_corpus_input *in, const hy_corpus_place *to);
// Appends the bytes of the next document that is not empty to `all`. *found false: there is none.
hy_status hy_corpus_input_next(hy_corpus_input *in, hy_buf *all, hy_corpus_text *out, bool *found);
void hy_corpus_input_place(const hy_corpus_input *in, hy_corpus_place *out);
int64_t hy_corpus_input_done(const hy_corpus_input *in);   // bytes of all files so far
int64_t hy_corpus_input_empty(const hy_corpus_input *in);  // empty documents so far

// ---------------------------------------------------------------------------------------------------- texts to ids
typedef struct {
    hy_corpus_text text;
    int64_t bytes;  // of the text, after JSON
    int lane;       // its ids: n of those of a thread
    size_t at, n;
    hy_status status;
    char *error;
} hy_corpus_item;
typedef struct hy_corpus_encoder hy_corpus_encoder;
hy_status hy_corpus_encoder_open(const hy_corpus_job *job, hy_corpus_encoder **out);
void hy_corpus_encoder_close(hy_corpus_encoder *e);
const hy_tokenizer *hy_corpus_encoder_tokenizer(const hy_corpus_encoder *e);
int hy_corpus_encoder_threads(const hy_corpus_encoder *e);
int hy_corpus_encoder_vocab(const hy_corpus_encoder *e);               // with the ids before and after documents
int32_t hy_corpus_encoder_mark(const hy_corpus_encoder *e, bool end);  // -1: none
// Ids of n documents, in parallel. HY_EINPUT: what is wrong with the first that is wrong, its file and line.
hy_status hy_corpus_encode(hy_corpus_encoder *e, const char *all, hy_corpus_item *items, size_t n);
const int32_t *hy_corpus_encoder_ids(const hy_corpus_encoder *e, const hy_corpus_item *item);
#endif
