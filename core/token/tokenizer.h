// tokenizer.h - text to token ids and back: plain bytes, tokenizer.json (BPE with byte fallback as Llama-2 and Hymba
// have, byte-level BPE as Llama-3, Qwen2.5, GPT-NeoX and Mamba have, BPE of words with affixes, WordPiece, WordLevel)
// and SentencePiece models. Equal to the `tokenizers` and `sentencepiece` packages, id for id. Not a trainer, and no
// chat templates.
#ifndef HY_TOKENIZER_H
#define HY_TOKENIZER_H
#include "core/base/base.h"

typedef struct hy_tokenizer hy_tokenizer;
// A growing list of ids; zero-initialise, free(ids.v).
typedef struct {
    int32_t *v;
    size_t n, cap;
} hy_token_ids;
void hy_token_ids_add(hy_token_ids *ids, int32_t id);

#define HY_TOKENIZER_MAX_VOCAB (1 << 24)         // ids are below this
#define HY_TOKENIZER_MAX_TEXT ((size_t)1 << 30)  // bytes of text that one call encodes

// path: "bytes" (256 ids, the bytes themselves); a tokenizer.json; a GGUF file (*.gguf with a byte-level BPE; its
// hash is that of the tokenizer.json it stands for); a SentencePiece model (any other file name); or a folder with
// tokenizer.json or else tokenizer.model, whose tokenizer_config.json then gives the names of the special tokens and,
// where the tokenizer file does not say it, whether BOS and EOS are added. What is not supported is refused with
// HY_EINPUT that names the file, the place in it and the value.
hy_status hy_tokenizer_open(const char *path, hy_tokenizer **out);
// The same from memory; name stands for the file in messages. json: a tokenizer.json, else a SentencePiece model.
hy_status hy_tokenizer_open_memory(const char *data, size_t n, bool json, const char *name, hy_tokenizer **out);
void hy_tokenizer_close(hy_tokenizer *t);

int hy_tokenizer_vocab(const hy_tokenizer *t);  // highest id + 1: what a model's embedding must have at least
// The text that stands for an id in the file ("\u2581the", "<0x0A>", "<s>"); NULL: no such id. With its length if n is
// not NULL.
const char *hy_tokenizer_piece(const hy_tokenizer *t, int32_t id, size_t *n);
int32_t hy_tokenizer_id(const hy_tokenizer *t, const char *piece, size_t n);  // -1: no such piece
bool hy_tokenizer_is_special(const hy_tokenizer *t, int32_t id);              // left out by decoding with skip_special
typedef enum { HY_TOKEN_BOS = 0, HY_TOKEN_EOS, HY_TOKEN_UNK, HY_TOKEN_PAD } hy_token_role;
int32_t hy_tokenizer_special(const hy_tokenizer *t, hy_token_role role);  // -1: the files do not name one
const char *hy_tokenizer_kind(
    const hy_tokenizer *t);  // "bytes", "BPE", "byte-level BPE", "WordPiece", "WordLevel", "SentencePiece"
const char *hy_tokenizer_path(const hy_tokenizer *t);  // the file that was read; "bytes"
// What was read and left aside (truncation, padding), ids that are not those of the file: lines for people, empty if
// nothing.
const char *hy_tokenizer_notes(const hy_tokenizer *t);
// Hash of the file's bytes: part of a run's identity.
const char *hy_tokenizer_hash(const hy_tokenizer *t);
// The ids at which generation ends, of generation_config.json or else config.json in a folder (eos_token_id, one or a
// list): appended to out, nothing if neither names any.
hy_status hy_tokenizer_folder_eos(const char *dir, hy_token_ids *out);

// Appends the ids of n bytes of text. special: with what the file adds around a text (BOS, EOS). The text must be
// UTF-8, as the strings of the reference are: HY_EINPUT with the offset of the first byte that is not (kind bytes takes
// any byte). One call at a time for a tokenizer: it keeps a cache of words.
hy_status hy_tokenizer_encode(hy_tokenizer *t, const char *text, size_t n, bool special, hy_token_ids *out);
// Appends the text of n ids; ids without a piece are left out as the reference does. UTF-8 always: bytes that are none
// become U+FFFD, as do ids above 255 of kind bytes.
hy_status hy_tokenizer_decode(hy_tokenizer *t, const int32_t *ids, size_t n, bool skip_special, hy_buf *out);

// "PCRE2 10.42 (Unicode 14.0.0), utf8proc 2.8.0 (Unicode 15.0.0)". Newer characters are told apart by tables of the
// reference's own.
void hy_tokenizer_libraries(char out[160]);

// For comparing names as file systems do that know no case: case folded, in one Unicode normal form. The caller frees
// it.
char *hy_text_folded(const char *text);

// Decoding as the ids come. Whatever is appended is whole UTF-8, and all of it together is what hy_tokenizer_decode
// gives; text that later ids may still change is held back until they come (half a character, a run of byte tokens, a
// space that may be cut).
typedef struct hy_token_stream hy_token_stream;
hy_token_stream *hy_token_stream_new(hy_tokenizer *t, bool skip_special);
hy_status hy_token_stream_push(hy_token_stream *s, int32_t id, hy_buf *out);
hy_status hy_token_stream_end(hy_token_stream *s, hy_buf *out);  // what was held back; the stream then starts anew
void hy_token_stream_free(hy_token_stream *s);
#endif
