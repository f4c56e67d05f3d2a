// token_ids.c - a growing list of token ids. See tokenizer.h.
#include "core/token/tok_impl.h"

void hy_token_ids_add(hy_token_ids *ids, int32_t id) {
    HY_GROW(ids);
    ids->v[ids->n++] = id;
}
