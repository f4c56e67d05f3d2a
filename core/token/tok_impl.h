// tok_impl.h - what the files of the tokenizer (tok_*.c) share. Internal: users include tokenizer.h.
#ifndef HY_TOK_IMPL_H
#define HY_TOK_IMPL_H
#include <string.h>

#include "core/format/gguf.h"
#include "core/format/json.h"
#include "core/token/tok_sp.h"
#include "core/token/tokenizer.h"
#include "core/base/utf8.h"

// ------------------------------------------------------------------------------------------------ pieces (tok_vocab.c)
typedef struct {
    hy_buf pool;
    uint32_t *at, *len;  // [size]: where in pool; len UINT32_MAX: no piece
    int size;            // highest id + 1
    int n;               // pieces
    int32_t *slots;      // [mask + 1]: id + 1, 0 free
    uint32_t mask;
} hy_vocab;
void hy_vocab_init(hy_vocab *v, size_t pieces, int size);
void hy_vocab_free(hy_vocab *v);
// false: the piece or the id is there already (nothing is changed), or id is not in 0 .. size-1.
bool hy_vocab_add(hy_vocab *v, const char *s, size_t n, int32_t id);
int32_t hy_vocab_find(const hy_vocab *v, const char *s, size_t n);     // -1: none
const char *hy_vocab_piece(const hy_vocab *v, int32_t id, size_t *n);  // NULL: none
void hy_vocab_grow(hy_vocab *v, int size);
// The character that byte-level BPE writes for a byte, and back (-1: none).
uint32_t hy_byte_char(uint8_t byte);
int hy_char_byte(uint32_t c);

// ---------------------------------------------------------------------------------------------------- BPE (tok_bpe.c)
typedef struct {
    int32_t left, right;
} hy_bpe_merge;
typedef struct hy_bpe hy_bpe;
typedef struct {
    const hy_vocab *vocab;
    const char *unk;  // piece, or NULL
    bool fuse_unk, byte_fallback, ignore_merges;
    const char *prefix, *suffix;  // of symbols that do not begin, that end a word; NULL: none
} hy_bpe_options;
// merges in order of rank. *bad: the first merge whose result is no piece (then NULL is returned).
hy_bpe *hy_bpe_new(const hy_bpe_options *o, const hy_bpe_merge *merges, size_t n, size_t *bad);
void hy_bpe_free(hy_bpe *b);
// Ids of one word. bytes: the symbols of the word are its bytes, each in the character of hy_byte_char; else its
// characters.
hy_status hy_bpe_word(hy_bpe *b, const char *s, size_t n, bool bytes, hy_token_ids *out);

// ---------------------------------------------------------------------------------------------- patterns (tok_regex.c)
// A pattern as the reference writes it (Oniguruma, Ruby syntax), with its meaning of classes (Unicode 16).
typedef struct hy_regex hy_regex;
hy_status hy_regex_new(const char *pattern, const char *where, hy_regex **out);
// A set by name: of tok_classes.def.
hy_status hy_regex_class(const char *name, hy_regex **out);
void hy_regex_free(hy_regex *r);
typedef struct {
    size_t from, last;  // where to look next; end of the last match
    bool any;
} hy_regex_at;  // zero-initialise
// The next match in text; *found false: none. An empty match at the end of the one before is passed over.
hy_status hy_regex_next(hy_regex *r, const char *text, size_t n, hy_regex_at *at, size_t *start, size_t *end,
                        bool *found);

void hy_regex_library(char out[64]);      // name, version, version of Unicode
void hy_normalize_library(char out[64]);  // tok_norm.c

// ---------------------------------------------------------------------------------------------------- steps
typedef enum {
    HY_STEP_PREPEND = 0,
    HY_STEP_REPLACE,
    HY_STEP_NFC,
    HY_STEP_NFD,
    HY_STEP_NFKC,
    HY_STEP_NFKD,
    HY_STEP_LOWERCASE,
    HY_STEP_STRIP_ACCENTS,
    HY_STEP_TRIM,
    HY_STEP_BERT_CLEAN,
    HY_STEP_BERT_IDEOGRAPHS,
    HY_STEP_BERT_MARKS,  // normalizers
    HY_STEP_SPLIT,
    HY_STEP_BYTE_LEVEL,
    HY_STEP_METASPACE,  // pre-tokenizers
    HY_STEP_BYTES_BACK,
    HY_STEP_METASPACE_BACK,
    HY_STEP_BYTE_FALLBACK,
    HY_STEP_FUSE,
    HY_STEP_STRIP,
    HY_STEP_WORDPIECE_BACK,
    HY_STEP_SUFFIX_BACK,  // decoders
} hy_tok_step_kind;
typedef enum {
    HY_SPLIT_REMOVED = 0,
    HY_SPLIT_ISOLATED,
    HY_SPLIT_WITH_PREVIOUS,
    HY_SPLIT_WITH_NEXT,
    HY_SPLIT_CONTIGUOUS
} hy_split_behavior;
typedef enum { HY_PREPEND_NEVER = 0, HY_PREPEND_FIRST, HY_PREPEND_ALWAYS } hy_prepend;
typedef struct {
    hy_tok_step_kind kind;
    char *from, *to;  // PREPEND: to; REPLACE and SPLIT by a string: from; METASPACE, STRIP: from, one character;
                      // WORDPIECE_BACK: the prefix from; SUFFIX_BACK: the suffix from
    size_t from_n, to_n;
    hy_regex *re;  // pattern in place of from
    hy_split_behavior behavior;
    bool invert, split, add_space;
    bool left, right;  // TRIM: at which ends
    bool cleanup;      // WORDPIECE_BACK: no spaces before punctuation
    hy_prepend prepend;
    int start, stop;  // STRIP
} hy_tok_step;
typedef struct {
    hy_tok_step *v;
    int n;
} hy_tok_steps;
hy_tok_step *hy_tok_steps_add(hy_tok_steps *s, hy_tok_step_kind kind);
void hy_tok_steps_free(hy_tok_steps *s);
// The most bytes that steps may make of n bytes of text. What files of real models do is far below; without a bound a
// few steps could double a text until the memory is full.
size_t hy_tok_most(size_t n);
// A text with every match of a REPLACE step replaced; appended to out, of which HY_EINPUT if it gets longer than most.
hy_status hy_replace(const hy_tok_step *step, const char *s, size_t n, size_t most, hy_buf *out);
hy_status hy_normalize(const hy_tok_steps *steps, const char *text, size_t n, hy_buf *out);  // tok_norm.c; replaces out

// Splitting (tok_split.c): pieces of a text, none empty.
typedef struct {
    size_t at, n;
    bool first;  // begins where the whole text begins
} hy_span;
typedef struct {
    hy_span *v;
    size_t n, cap;
    hy_buf text;
} hy_spans;
// Applies the steps to text[0..n-1]. The result lies in one of two[0], two[1] (scratch of the caller), its spans over
// *text_out. *bytes: the last step is byte-level and the spans are still plain bytes (bytes NULL: never).
hy_status hy_presplit(const hy_tok_steps *steps, const char *text, size_t n, bool first, hy_spans two[2],
                      const hy_spans **out, const char **text_out, bool *bytes);

// ------------------------------------------------------------------------------------------ added tokens (tok_added.c)
typedef struct {
    char *content;
    int32_t id;
    bool single_word, lstrip, rstrip, normalized, special;
} hy_added;
typedef struct hy_added_trie hy_added_trie;
// patterns[i] stands for token i of list (NULL: not in this trie). The first of equal patterns counts.
hy_added_trie *hy_added_trie_new(const hy_added *list, char *const *patterns, int n);
void hy_added_trie_free(hy_added_trie *t);
typedef struct {
    int32_t id;  // -1: text
    size_t at, n;
} hy_added_part;
typedef struct {
    hy_added_part *v;
    size_t n, cap;
} hy_added_parts;
// Cuts text into added tokens and what lies between; replaces out.
hy_status hy_added_cut(hy_added_trie *t, const char *text, size_t n, hy_added_parts *out);

// ---------------------------------------------------------------------------------------------------- SentencePiece
// What the library itself does not look at (tok_spcheck.c): that the tables inside a model do not point outside
// themselves.
hy_status hy_sp_check(const char *data, size_t n, const char *where);

// ---------------------------------------------------------------------------------------------------- a tokenizer
typedef enum { HY_TOK_BYTES = 0, HY_TOK_JSON, HY_TOK_SP } hy_tok_type;
typedef enum { HY_TOK_BPE = 0, HY_TOK_WORDLEVEL, HY_TOK_WORDPIECE } hy_tok_model;
struct hy_tokenizer {
    hy_tok_type type;
    char *path;
    char hash[33];
    hy_buf notes;
    int32_t role[4];        // by hy_token_role
    bool add_bos, add_eos;  // of tokenizer_config.json
    // JSON
    hy_tok_model model;
    hy_vocab vocab, extra;  // the model's pieces; added tokens that are none of them, both by id
    uint8_t *special;       // [size]
    int size;               // highest id + 1
    char *unk;              // piece that stands for unknown characters or words, or NULL
    char *prefix, *suffix;  // of pieces inside and at the end of words, or NULL
    int max_chars;          // WORDPIECE: of longer words nothing is known
    size_t longest;         // bytes of the longest piece
    hy_bpe *bpe;
    hy_tok_steps normalizer, pre, decoder;
    bool has_decoder;  // without one, pieces are joined with spaces
    hy_added *added;
    int n_added;
    hy_added_trie *plain, *normalized;
    hy_token_ids before, after;  // what the post-processor adds
    bool pair_given;             // and it is RobertaProcessing or BertProcessing
    bool template_given;         // the post-processor says what is added: tokenizer_config.json does not
    hy_added_parts parts[2];     // scratch of encoding
    hy_buf norm;
    hy_spans spans[2];
    // SentencePiece
    hy_sp *sp;
};
hy_status hy_tok_json_read(hy_tokenizer *t, const hy_json *root);   // tok_json.c
hy_status hy_tok_model_read(hy_tokenizer *t, const hy_json *root);  // tok_model.c
hy_status hy_tok_word(hy_tokenizer *t, const char *s, size_t n, bool bytes, hy_token_ids *out);
hy_status hy_tok_steps_normalizer(const hy_json *j, const char *where, hy_tok_steps *out);  // tok_steps.c; j null: none
hy_status hy_tok_steps_pre(const hy_json *j, const char *where, hy_tok_steps *out);
hy_status hy_tok_steps_decoder(const hy_json *j, const char *where, hy_tok_steps *out);
hy_status hy_tok_json_encode(hy_tokenizer *t, const char *text, size_t n, hy_token_ids *out);
// The tokenizer inside a GGUF file (tok_gguf.c): the tokenizer.json that it stands for; then, of what was read from
// that, roles and add_bos, add_eos.
hy_status hy_tok_gguf_text(const hy_gguf *g, hy_buf *out);
hy_status hy_tok_gguf_roles(const hy_gguf *g, hy_tokenizer *t);
// The config files beside a tokenizer (tok_config.c): roles, add_bos, add_eos.
hy_status hy_tok_config_read(hy_tokenizer *t, const char *dir);
// Growth of a list by one: true when there is room for `n + 1` of `size` bytes each.
#define HY_GROW(list)                                                            \
    do {                                                                         \
        if ((list)->n == (list)->cap) {                                          \
            (list)->cap = (list)->cap ? 2 * (list)->cap : 64;                    \
            (list)->v = hy_xrealloc((list)->v, (list)->cap * sizeof *(list)->v); \
        }                                                                        \
    } while (0)
#endif
