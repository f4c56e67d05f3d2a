// floor.c - picks the build of the exp2 loop of floor.c. For benchmarks; no op uses it.
#include "kernels/cpu/cpu.h"
#include "kernels/ceilings.h"
#include "kernels/cpu/scan.h"

HY_FAST_DECLARE(hy_fast_exp2_floor)

double hy_cpu_exp2_floor(hy_isa isa, int threads, size_t n) {
    double sum = 0;
    const hy_exp2_floor_args a = {.n = n, .sum = &sum};
    const hy_plan_req req = {.dtype = HY_F32, .isa = isa, .threads = threads};
    hy_launch l;
    HY_FAST_CHOOSE(hy_fast_exp2_floor, &req, &l);
    l.run(&a, NULL, &req);
    return sum;
}
