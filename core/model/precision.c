// precision.c - see precision.h.
#include "core/model/precision.h"

#include <string.h>

static const char *const names[] = {"f32", "tf32", "bf16"};

const char *hy_precision_name(hy_precision p) { return names[p]; }

hy_status hy_precision_parse(const char *text, hy_precision *out) {
    *out = HY_PRECISION_F32;
    if (!text) return HY_OK;
    for (int i = HY_PRECISION_F32; i <= HY_PRECISION_BF16; i++)
        if (!strcmp(text, names[i])) {
            *out = (hy_precision)i;
            return HY_OK;
        }
    return hy_error(HY_EINPUT, "precision %s: there are f32, tf32 and bf16", text);
}

hy_status hy_precision_set(hy_precision p, hy_backend *be) {
    if (p == HY_PRECISION_TF32 && be->no_tf32)
        return hy_error(HY_EINPUT, "tf32 computing needs --device cuda; --device %s computes in f32 and bf16",
                        be->name);
    be->math = p == HY_PRECISION_TF32 ? HY_MATH_TF32 : HY_MATH_F32;
    return HY_OK;
}

const char *hy_precision_slow(hy_precision p, const hy_backend *be) {
    return p == HY_PRECISION_BF16 ? be->bf16_slow : NULL;
}
