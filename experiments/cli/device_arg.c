// device_arg.c - see device_arg.h.
#include "experiments/cli/device_arg.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool asked_for_isa(const char *isa) { return isa && strcmp(isa, "auto"); }

hy_status hy_device_from_args(const char *device, const char *isa, hy_device *out) {
    const char *env = getenv("HYLAB_DEVICE"), *name = device ? device : env && *env ? env : "auto";
    const char *from = device || strcmp(name, "auto") == 0 ? "--device " : "HYLAB_DEVICE=";
    char line[512];
    *out = (hy_device){"cpu", -1};
    if (!strcmp(name, "cpu")) return HY_OK;
    if (!strcmp(name, "auto")) {
        if (asked_for_isa(isa) || !hy_cuda_describe(NULL, 0)) return HY_OK;
        hy_cuda_describe(line, sizeof line);
        fprintf(stderr, "device: %s\n", line);
        out->kind = "cuda";
        return HY_OK;
    }
    int n = 0;
    if (sscanf(name, "cuda:%d%n", &out->number, &n) == 1 && n > 5 && !name[n] && out->number >= 0)
        out->kind = "cuda";
    else if (!strcmp(name, "cuda"))
        out->number = -1, out->kind = "cuda";
    else
        return hy_error(HY_EINPUT, "%s%s: there are cpu, cuda, cuda:N (the GPU of that number) and auto", from, name);
    if (asked_for_isa(isa))
        return hy_error(HY_EINPUT, "--isa %s names kernels of the CPU, but %s%s asks for a GPU: leave one of them out",
                        isa, from, name);
    if (!hy_cuda_describe(line, sizeof line))
        return hy_error(HY_EINPUT, "%s%s: %s; --device cpu works", from, name, line);
    return hy_cuda_find(out->number);
}

hy_status hy_backend_from_args(const char *device, const char *isa, int threads, hy_backend *out) {
    hy_device d;
    HY_TRY(hy_device_from_args(device, isa, &d));
    return hy_device_open(&d, isa, threads, out);
}

void hy_tell_slow(hy_precision precision, const hy_backend *be) {
    const char *why = hy_precision_slow(precision, be);
    if (why) fprintf(stderr, "note: bf16 is slower than f32 here: %s\n", why);
}
