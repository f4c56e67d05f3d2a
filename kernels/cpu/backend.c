// backend.c - the CPU backend: which instructions and how many threads, memory, and the table of plans.
// It contains no kernel.
#include <omp.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cpu/bf16.h"
#include "kernels/cpu/gemm.h"

static hy_status isa_by_name(const char *name, hy_isa *out) {
    hy_isa best = hy_isa_best();
    *out = best;
    if (!name || !strcmp(name, "auto")) return HY_OK;
    for (int i = HY_ISA_REF; i <= HY_ISA_AVX512; i++) {
        if (strcmp(name, hy_isa_name((hy_isa)i))) continue;
        if (i > (int)best)
            return hy_error(HY_EINPUT,
                            "the instruction set \"%s\" is not available here; the best of this machine is \"%s\"",
                            name, hy_isa_name(best));
        *out = (hy_isa)i;
        return HY_OK;
    }
    return hy_error(HY_EINPUT, "unknown instruction set \"%s\"; choose auto, ref, base, avx2 or avx512", name);
}

static int cpus_allowed(void) {
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set)) return 1;
    int n = CPU_COUNT(&set);
    return n < 1 ? 1 : n;
}

static void cpu_model(char *dst, size_t n) {
    snprintf(dst, n, "CPU");
    FILE *f = fopen("/proc/cpuinfo", "r");
    if (!f) return;
    char line[256];
    while (fgets(line, sizeof line, f)) {
        char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) || !colon) continue;
        colon += 1 + strspn(colon + 1, " \t");
        colon[strcspn(colon, "\n")] = 0;
        if (*colon) snprintf(dst, n, "%s", colon);
        break;
    }
    fclose(f);
}

static hy_status cpu_zero(void *p, size_t bytes) {
    if (bytes) memset(p, 0, bytes);
    return HY_OK;
}
static hy_status cpu_wait(void) { return HY_OK; }
static hy_status cpu_copy(void *dst, const void *src, size_t bytes) {
    if (bytes) memmove(dst, src, bytes);
    return HY_OK;
}

#define X(name)                                                                              \
    static hy_status plan_##name(const void *args, const hy_plan_req *req, hy_launch *out) { \
        return hy_cpu_plan_any(HY_K_##name, args, req, out);                                 \
    }
HY_KERNELS(X)
#undef X

#define MAX_THREADS 4096  // more is a slip of the keyboard
hy_status hy_backend_cpu(const char *isa, int threads, hy_backend *out) {
    hy_isa level;
    HY_TRY(isa_by_name(isa, &level));
    if (threads < 0 || threads > MAX_THREADS)
        return hy_error(HY_EINPUT, "the number of threads is %d; it must be 0 (all cores) to %d", threads, MAX_THREADS);
    if (threads == 0) threads = cpus_allowed();
    omp_set_dynamic(0);
    omp_set_num_threads(threads);
    *out = (hy_backend){.name = "cpu",
                        .alloc = hy_alloc,
                        .free = free,
                        .zero = cpu_zero,
                        .to_host = cpu_copy,
                        .from_host = cpu_copy,
                        .wait = cpu_wait,
                        .no_tf32 = true,
                        .bf16_slow = hy_cpu_bf16_slow(),
                        .few_rows = HY_GEMM_ROWS,
                        .isa = level,
                        .threads = threads,
#define X(name) .plan[HY_K_##name] = plan_##name,
                        HY_KERNELS(X)
#undef X
    };
    char model[80];
    cpu_model(model, sizeof model);
    snprintf(out->device, sizeof out->device, "%s, %d thread%s", model, threads, threads == 1 ? "" : "s");
    return HY_OK;
}
