// device_arg.c - see device_arg.h.
#include "experiments/cli/device_arg.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool asked_for_isa(const char *isa) { return isa && strcmp(isa, "auto"); }

// What a name asks for, whatever there is here; kind NULL: auto. from: how it was asked for.
static hy_status read_name(const char *device, const char **name, const char **from, hy_device *out) {
    const char *env = getenv("HYLAB_DEVICE");
    *name = device ? device : env && *env ? env : "auto";
    *from = device || strcmp(*name, "auto") == 0 ? "--device " : "HYLAB_DEVICE=";
    *out = (hy_device){"cuda", -1};
    int n = 0;
    if (!strcmp(*name, "auto")) return out->kind = NULL, HY_OK;
    if (!strcmp(*name, "cpu")) return out->kind = "cpu", HY_OK;
    if (!strcmp(*name, "cuda")) return HY_OK;
    if (sscanf(*name, "cuda:%d%n", &out->number, &n) == 1 && n > 5 && !(*name)[n] && out->number >= 0) return HY_OK;
    return hy_error(HY_EINPUT, "%s%s: there are cpu, cuda, cuda:N (the GPU of that number) and auto", *from, *name);
}

hy_status hy_device_kind(const char *device, const char **kind) {
    const char *name, *from;
    hy_device d;
    HY_TRY(read_name(device, &name, &from, &d));
    *kind = d.kind;
    return HY_OK;
}

hy_status hy_device_from_args(const char *device, const char *isa, hy_device *out) {
    const char *name, *from;
    char line[512];
    HY_TRY(read_name(device, &name, &from, out));
    if (!out->kind) {
        out->kind = "cpu";
        if (asked_for_isa(isa) || !hy_cuda_describe(NULL, 0)) return HY_OK;
        hy_cuda_describe(line, sizeof line);
        fprintf(stderr, "device: %s\n", line);
        out->kind = "cuda";
        return HY_OK;
    }
    if (!strcmp(out->kind, "cpu")) return HY_OK;
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

hy_status hy_compute_from_args(const char *precision, const char *device, const char *isa, int threads,
                               hy_precision *how, hy_backend *out) {
    HY_TRY(hy_precision_parse(precision, how));
    HY_TRY(hy_backend_from_args(device, isa, threads, out));
    HY_TRY(hy_precision_set(*how, out));
    hy_tell_slow(*how, out);
    return HY_OK;
}
