// choose.c - what plan functions share: which instructions there are, the reference kernels, what is said of weights.
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/gemm.h"

hy_isa hy_isa_best(void) {
    // __builtin_cpu_supports looks at CPUID and at XGETBV, so it is false where the system does not save the registers.
    __builtin_cpu_init();
    bool v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
    bool v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
              __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
              __builtin_cpu_supports("avx512vl");
    return v4 ? HY_ISA_AVX512 : v3 ? HY_ISA_AVX2 : HY_ISA_BASE;
}

const char *hy_cpu_bf16_slow(void) {
    if (hy_gemm_has_half(hy_isa_best())) return NULL;
    return "bfloat16 is computed with float32 kernels between widened and rounded operands";
}

const char *hy_isa_name(hy_isa isa) {
    static const char *const names[] = {"ref", "base", "avx2", "avx512"};
    return names[isa];
}

const char *hy_cpu_path(hy_isa isa, hy_dtype w_dtype) {
    static const char *const names[] = {"ref (bf16 weights)", "base (bf16 weights)", "avx2 (bf16 weights)",
                                        "avx512 (bf16 weights)"};
    return w_dtype == HY_BF16 ? names[isa] : hy_isa_name(isa);
}

hy_status hy_cpu_check_weight(const char *op, hy_dtype w_dtype, bool backward, const hy_plan_req *req) {
    if (w_dtype == HY_BF16 && backward)
        return hy_error(HY_EINPUT, "%s: weights in bfloat16 are for inference; gradients need them in float32", op);
    if (w_dtype != HY_F32 && w_dtype != HY_BF16 && w_dtype != req->dtype)
        return hy_error(HY_EINPUT, "%s on the CPU: the weights must be bfloat16 or have the type of the other operands",
                        op);
    return HY_OK;
}

hy_status hy_cpu_choose_ref(const char *op, const hy_plan_req *req, hy_launch *out,
                            hy_status (*f32)(const void *, void *, const hy_plan_req *),
                            hy_status (*f64)(const void *, void *, const hy_plan_req *)) {
    if (req->dtype != HY_F32 && req->dtype != HY_F64)
        return hy_error(HY_EINPUT, "%s: the float kernels were asked for bfloat16", op);
    out->path = "ref";
    out->run = req->dtype == HY_F32 ? f32 : f64;
    return HY_OK;
}
