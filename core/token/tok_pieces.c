// tok_pieces.c - what is known of an open tokenizer: its size, its pieces and their ids. See tokenizer.h.
#include <stdlib.h>
#include <string.h>

#include "core/token/tok_impl.h"

int hy_tokenizer_vocab(const hy_tokenizer *t) { return t->type == HY_TOK_SP ? hy_sp_size(t->sp) : t->size; }
const char *hy_tokenizer_path(const hy_tokenizer *t) { return t->path; }
const char *hy_tokenizer_hash(const hy_tokenizer *t) { return t->hash; }
const char *hy_tokenizer_notes(const hy_tokenizer *t) { return t->notes.s; }
int32_t hy_tokenizer_special(const hy_tokenizer *t, hy_token_role role) { return t->role[role]; }

const char *hy_tokenizer_kind(const hy_tokenizer *t) {
    if (t->type != HY_TOK_JSON) return t->type == HY_TOK_SP ? "SentencePiece" : "bytes";
    if (t->model != HY_TOK_BPE) return t->model == HY_TOK_WORDLEVEL ? "WordLevel" : "WordPiece";
    for (int i = 0; i < t->pre.n; i++)
        if (t->pre.v[i].kind == HY_STEP_BYTE_LEVEL) return "byte-level BPE";
    return "BPE";
}

const char *hy_tokenizer_piece(const hy_tokenizer *t, int32_t id, size_t *n) {
    if (t->type == HY_TOK_SP) return id < 0 || id >= hy_sp_size(t->sp) ? NULL : hy_sp_piece(t->sp, id, n);
    const char *s = hy_vocab_piece(&t->extra, id, n);
    return s ? s : hy_vocab_piece(&t->vocab, id, n);
}

int32_t hy_tokenizer_id(const hy_tokenizer *t, const char *piece, size_t n) {
    if (t->type != HY_TOK_SP) {
        const int32_t id = hy_vocab_find(&t->extra, piece, n);
        return id >= 0 ? id : hy_vocab_find(&t->vocab, piece, n);
    }
    const int id = hy_sp_find(t->sp, piece, n);  // the unknown id for what is no piece
    size_t k;
    const char *s = hy_sp_piece(t->sp, id, &k);
    return k == n && !memcmp(s, piece, n) ? id : -1;
}

bool hy_tokenizer_is_special(const hy_tokenizer *t, int32_t id) {
    if (t->type == HY_TOK_SP) return id >= 0 && id < hy_sp_size(t->sp) && hy_sp_type_of(t->sp, id) == HY_SP_CONTROL;
    return t->special && id >= 0 && id < t->size && t->special[id];
}
