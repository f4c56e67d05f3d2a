// corpus.h - text at scale: sets of token ids on disk, made once (`hylab tokenize --out`) and mapped into memory by
// whoever trains on them; and the .bin files of llm.c and nanoGPT. A set is a folder:
//
//   manifest.json      what the set is and was made of; "checksum" is its last member: the hash of all bytes before
//                      the name "checksum" in the file
//   00000.tokens       the ids of shard 0, one document behind the other and nothing else: "dtype" u16 or u32,
//                      little-endian (u16 where the vocabulary is at most 65536)
//   00000.documents    for each document of shard 0 three little-endian u64: the tokens of the shard up to its end, the
//                      bytes of its text, the 64-bit XXH3 of its ids as they are stored
//
// Other hashes are 128-bit XXH3 in 32 hexadecimal digits. A document lies in one shard. In the manifest:
//   format "hylab.tokens", version 1, dtype, vocab (ids are below it);
//   tokens, documents, bytes: in all; bytes are those of the text, without what separates documents;
//   content: hash of the line "hylab.tokens 1 DTYPE VOCAB\n" and of each document its tokens, bytes, hash, as three
//     little-endian u64: the same however the set is cut into shards, whatever it is called and wherever it lies;
//   tokenizer: kind, and hash of its file; settings: how texts became documents and ids;
//   sources: path as it was given, bytes, hash of each file that was read;
//   shards: of each its tokens, documents, bytes, the hashes tokens_hash and documents_hash of its two files, and in
//     `from` where its text begins: number of the source, offset in it, line there, hash of the source up to there.
// While a set is made, unfinished.json stands in the place of manifest.json; shards that it names are whole.
#ifndef HY_CORPUS_H
#define HY_CORPUS_H
#include "core/base/base.h"

// ---------------------------------------------------------------------------------------------------- reading
typedef struct hy_corpus hy_corpus;
typedef struct {
    const char *path;
    int vocab;              // ids are below it
    int64_t tokens, bytes;  // bytes of the text; -1: a .bin file does not tell
    int64_t documents;      // 1 where a file does not tell where documents begin
    const char *content;    // hash; of .bin files that of all their bytes
    const char *tokenizer;  // hash of its file; "" where a file does not tell
} hy_corpus_facts;
typedef struct {
    int64_t from, tokens;  // its tokens in the set: from .. from + tokens - 1
    int64_t bytes;         // of its text; -1: unknown
    uint64_t hash;         // of its ids
} hy_corpus_document;

// Whether path is a folder with a set, be it unfinished or damaged.
bool hy_is_corpus(const char *path);
// Maps a set. Manifest and documents are checked against their checksums here, the ids of a shard when the first of
// them is read. HY_EINPUT: what is missing, unfinished, damaged or of a newer version.
hy_status hy_corpus_open(const char *path, hy_corpus **out);
// Whether path is a file NAME.bin, or a folder of nothing else.
bool hy_is_bin(const char *path);
// A .bin file, or a folder of them, end to end in the order of their names: llm.c's, of 256 int32 (magic 20240520,
// version 1, tokens; ids u16; or 20240801, 7; ids u32) and the ids, or nanoGPT's, u16 ids alone. vocab: 0 takes that of
// the tokenizers which these headers stand for (50257, 128256); without a header it must be told.
hy_status hy_corpus_open_bin(const char *path, int vocab, hy_corpus **out);
void hy_corpus_close(hy_corpus *c);
const hy_corpus_facts *hy_corpus_about(const hy_corpus *c);
hy_corpus_document hy_corpus_document_at(const hy_corpus *c, int64_t i);
// The ids at .. at + n - 1 of the set. May be called by several threads. HY_EINPUT: the shard is damaged, or an id is
// not below vocab.
hy_status hy_corpus_ids(const hy_corpus *c, int64_t at, size_t n, int32_t *out);

// ---------------------------------------------------------------------------------------------------- making
typedef enum { HY_CUT_FILE = 0, HY_CUT_BLANK, HY_CUT_SEPARATOR, HY_CUT_JSONL } hy_corpus_cut;
typedef struct {
    int64_t done, total;  // bytes of the sources
    int64_t documents, tokens;
} hy_corpus_progress;
typedef struct {
    const char *tokenizer;  // as hy_tokenizer_open takes it
    const char *const *files;
    int n_files;
    // A document is a file; or what stands between blank lines, or between occurrences of `text`; or the string that
    // is member `text` of each line's JSON object. Empty ones are passed over.
    hy_corpus_cut cut;
    const char *text;
    const char *begin, *end;  // "bos", "eos", an id or a piece, put before and after every document; NULL: nothing
    size_t max_document;      // bytes of a document (of JSONL: of a line); longer ones are refused
    bool split_long;          // or, but for JSONL, cut into documents of at most so many bytes, at ends of lines
    size_t shard_bytes;       // of the sources, after which a shard ends at the next document
    int threads;              // 0: as many as there are
    void (*progress)(void *user, const hy_corpus_progress *p);  // may be NULL
    void (*note)(void *user, const char *text);                 // what people may want to know; may be NULL
    void *user;
} hy_corpus_job;
typedef struct {
    int64_t documents, empty, bytes, tokens;
    int vocab, shards, kept;  // kept: shards that were there
    const char *kind;         // of the tokenizer; a constant
} hy_corpus_counts;
// Makes a set in `dir`, or goes on with one that was begun by the same job; dir NULL: only counts. The same bytes for
// any number of threads and any number of interruptions. Memory is bounded by threads, shard and longest document, not
// by the sources. HY_EINPUT: what is wrong with a source, with file and line; dir holds anything else. HY_EFAIL: no
// room. What is finished stays.
hy_status hy_corpus_make(const hy_corpus_job *job, const char *dir, hy_corpus_counts *out);
#endif
