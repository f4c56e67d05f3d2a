// tok_sp.h - the SentencePiece library in C words: core/token/tok_sentencepiece.cc is the only file that knows it. No
// exception comes out.
#ifndef HY_TOK_SP_H
#define HY_TOK_SP_H
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
typedef struct hy_sp hy_sp;
typedef void (*hy_sp_write)(void *user, const char *data, size_t n);
// NULL with the reason in error.
hy_sp *hy_sp_open(const char *data, size_t n, char *error, size_t cap);
void hy_sp_close(hy_sp *s);
int hy_sp_size(const hy_sp *s);
const char *hy_sp_piece(const hy_sp *s, int id, size_t *n);
int hy_sp_find(const hy_sp *s, const char *piece, size_t n);  // the unknown id if there is none
typedef enum { HY_SP_NORMAL = 0, HY_SP_UNKNOWN, HY_SP_CONTROL, HY_SP_BYTE, HY_SP_UNUSED } hy_sp_type;
hy_sp_type hy_sp_type_of(const hy_sp *s, int id);
int hy_sp_role(const hy_sp *s, int role);  // a hy_token_role; -1: none
// 0, or -1 with the reason in error. Ids are written as int32_t.
int hy_sp_encode(const hy_sp *s, const char *text, size_t n, hy_sp_write write, void *user, char *error, size_t cap);
int hy_sp_decode(const hy_sp *s, const int32_t *ids, size_t n, hy_sp_write write, void *user, char *error, size_t cap);
#ifdef __cplusplus
}
#endif
#endif
