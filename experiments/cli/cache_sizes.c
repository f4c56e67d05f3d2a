// cache_sizes.c - see cache_views.h.
#include <stdio.h>

#include "experiments/cli/cache_views.h"

void hy_cache_sizes_text(int bytes, int conv_bytes, int ssm_bytes, char out[96]) {
    const char *s = bytes == 1 ? "" : "s";
    if (bytes == conv_bytes && bytes == ssm_bytes)
        snprintf(out, 96, "%d byte%s a value", bytes, s);
    else if (conv_bytes == ssm_bytes)
        snprintf(out, 96, "%d byte%s a key or value, %d a value of states", bytes, s, ssm_bytes);
    else
        snprintf(out, 96, "%d byte%s a key or value, %d of a convolution tail, %d of an SSM state", bytes, s,
                 conv_bytes, ssm_bytes);
}
