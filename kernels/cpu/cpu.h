// cpu.h - inside the CPU backend: who implements what.
//   ref_<op>.c   the slow obvious kernels, compiled for float and for double: the oracles
//   fast_<op>.c  float32 kernels, compiled three times (x86-64, x86-64-v3, x86-64-v4) with HY_ISA_SUFFIX set
//   <op>.c       the plan functions: support check and choice in one
#ifndef HY_CPU_H
#define HY_CPU_H
#include "kernels/backend.h"
#include "kernels/cpu/parallel.h"

#define HY_CAT_(a, b) a##_##b
#define HY_CAT(a, b) HY_CAT_(a, b)
#define HY_REF(name) \
    HY_CAT(name, HY_REF_SUFFIX)  // hy_ref_scan -> hy_ref_scan_f32 / hy_ref_scan_f64 (real = float / double)
#define HY_FAST(name) HY_CAT(name, HY_ISA_SUFFIX)  // hy_fast_scan -> hy_fast_scan_base / _avx2 / _avx512

// Every kernel has a run function in its ref form and a plan: hy_ref_<name>_f32, hy_ref_<name>_f64, hy_cpu_plan_<name>.
#define X(name)                                                                        \
    hy_status hy_ref_##name##_f32(const void *args, void *ws, const hy_plan_req *req); \
    hy_status hy_ref_##name##_f64(const void *args, void *ws, const hy_plan_req *req); \
    hy_status hy_cpu_plan_##name(const void *args, const hy_plan_req *req, hy_launch *out);
HY_KERNELS(X)
#undef X

// Picks the f32 or f64 oracle; HY_EINPUT for other types. `workspace` and `saved` stay as the caller set them.
hy_status hy_cpu_choose_ref(const char *op, const hy_plan_req *req, hy_launch *out,
                            hy_status (*f32)(const void *, void *, const hy_plan_req *),
                            hy_status (*f64)(const void *, void *, const hy_plan_req *));

// A plan refuses what the kernel cannot do: HY_EINPUT with the op and the condition that does not hold.
#define HY_NEED(op, cond)                                                             \
    do {                                                                              \
        if (!(cond)) return hy_error(HY_EINPUT, "%s on the CPU needs %s", op, #cond); \
    } while (0)
// Element types of a weight matrix: as the operands, or bfloat16 unless a gradient is wanted.
hy_status hy_cpu_check_weight(const char *op, hy_dtype w_dtype, bool backward, const hy_plan_req *req);
const char *hy_cpu_path(hy_isa isa, hy_dtype w_dtype);  // "avx2", "avx2 (bf16 weights)"
// Element i of a weight matrix as `real`.
#ifdef HY_REF_SUFFIX
static inline real hy_ref_weight(const void *w, hy_dtype w_dtype, size_t i) {
    return w_dtype == HY_BF16 ? (real)hy_f32_from_bf16(((const uint16_t *)w)[i]) : ((const real *)w)[i];
}
#endif
// What a run checks in the data that its plan could not see: positions, lengths, and that the ring holds what is
// needed.
hy_status hy_cpu_attention_check_data(const hy_attention_args *a);
hy_status hy_cpu_kv_append_check_data(const hy_kv_append_args *a);

// Threads worth waking for a row-wise kernel that touches so many elements; the result does not depend on it.
static inline int hy_cpu_threads(const hy_plan_req *req, size_t elements) {
    return elements < 32768 ? 1 : req->threads;
}
// Rows are cut into this many blocks, by their number alone; sums over rows are kept by block and added in block order.
static inline int hy_cpu_row_blocks(int rows) { return rows >= 32 * 32 ? 32 : rows < 1 ? 1 : (rows + 31) / 32; }

// Declares the three builds of a fast kernel.
#define HY_FAST_DECLARE(name)                                         \
    hy_status name##_base(const void *, void *, const hy_plan_req *); \
    hy_status name##_avx2(const void *, void *, const hy_plan_req *); \
    hy_status name##_avx512(const void *, void *, const hy_plan_req *);
// The build of a function that an instruction set allows.
#define HY_FAST_PICK(name, isa) \
    ((isa) >= HY_ISA_AVX512 ? name##_avx512 : (isa) == HY_ISA_AVX2 ? name##_avx2 : name##_base)
// Sets out->run and out->path to the build that req->isa allows (req->isa >= HY_ISA_BASE, float32).
#define HY_FAST_CHOOSE(name, req, out) \
    ((out)->run = HY_FAST_PICK(name, (req)->isa), (out)->path = hy_isa_name((req)->isa))
#endif
