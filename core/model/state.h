// state.h - what a model keeps of its sequences between tokens.
#ifndef HY_STATE_H
#define HY_STATE_H
#include "core/model/program.h"
#include "kernels/backend.h"

// KV rings with pinned meta tokens (one per sharing group), convolution tails, SSM states, and how far each sequence
// is.
typedef struct hy_state {
    const hy_program *prog;
    const hy_backend *be;
    uint64_t id;     // no other state of this process has it
    hy_dtype dtype;  // of keys, values and convolution tails; SSM states: float32 where that is HY_BF16, else the same
    int B, max_tokens;  // text tokens that fit in a global layer's cache
    int32_t *pos;       // host [B]: next position, meta tokens counted
    void **buf;         // device, per slot; KV: K then V
    size_t *bytes;      // per slot
} hy_state;
hy_status hy_state_create(const hy_program *p, const hy_backend *be, hy_dtype dt, int B, int max_tokens,
                          hy_state **out);
hy_status hy_state_reset(hy_state *s);
// Sequence d of dst becomes what sequence s of src is. Both were made for one program, type and number of tokens.
hy_status hy_state_copy(hy_state *dst, int d, const hy_state *src, int s);
void hy_state_free(hy_state *s);
size_t hy_state_bytes(const hy_state *s);  // all slots
// The bytes of one sequence by formula, without making a state: hy_model_cache in the true accounting.
void hy_state_cache(const hy_model_spec *m, hy_dtype dt, int max_tokens, hy_cache_bytes *layers, hy_cache_bytes *sum);
hy_kv_view hy_state_kv(const hy_state *s, int slot);
#endif
