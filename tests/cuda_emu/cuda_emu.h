// cuda_emu.h - stands in for cuda_runtime.h when kernels/cuda/*.cu are compiled for the host (g++ -x c++
// -DHY_CUDA_EMU), so that their arithmetic, indexing and barriers are tested without a GPU. What it is: the execution
// model, literally. Blocks run one after another, the threads of a block are fibers whose order is shuffled, barriers
// and warp operations are meetings of fibers, device memory is out of the host's reach. What it is not: fast, or a
// model of speed, caches or memory ordering. HYLAB_EMU_SEED chooses another order, HYLAB_EMU_MEMORY the bytes of the
// device, HYLAB_EMU_DEVICES=0 takes it away.
#ifndef HY_CUDA_EMU_H
#define HY_CUDA_EMU_H
#include <functional>
#include <memory>
#include <tuple>
#include <type_traits>

extern "C" {
#include "core/base/base.h"
}
#include "tests/cuda_emu/emu_device.h"
#include "tests/cuda_emu/emu_runtime.h"

// ---------------------------------------------------------------------------------------------------- launching
// Queues a kernel, or records it; it runs at the next call that waits. The limits of a launch are checked here, as CUDA
// does.
hy_status hy_emu_enqueue(const char *name, dim3 grid, dim3 block, size_t shared, size_t arg_bytes,
                         std::function<void()> thread);
// A kernel must not be given memory of the host: ends the program with a message if one of the words of an argument is
// an address of it.
void hy_emu_check_argument(const char *name, int index, bool pointer, const void *value, size_t bytes);

// Padding within a structure holds what lay there before, by chance an address, which is no argument: it is cleared
// where the compiler can, otherwise structures are not looked into.
#if defined __has_builtin && __has_builtin(__builtin_clear_padding)
    #define HY_EMU_CLEAR_PADDING(p) __builtin_clear_padding(p)
template <class T> constexpr bool hy_emu_checked = true;
#else
    #define HY_EMU_CLEAR_PADDING(p) (void)(p)
template <class T> constexpr bool hy_emu_checked = std::is_scalar<T>::value;
#endif
template <class T> void hy_emu_check(const char *name, int index, T value) {
    HY_EMU_CLEAR_PADDING(&value);
    if (hy_emu_checked<T>) hy_emu_check_argument(name, index, std::is_pointer<T>::value, &value, sizeof value);
}
template <class T> T hy_emu_convert(T x) { return x; }  // as by a call: narrowing and const are the compiler's matter
template <class... P, class... A>
hy_status hy_emu_launch(const char *name, dim3 grid, dim3 block, size_t shared, void (*kernel)(P...), A... a) {
    static_assert(sizeof...(P) == sizeof...(A), "number of arguments of the kernel");
    static_assert((std::is_trivially_copyable<P>::value && ...), "arguments are copied to the device byte by byte");
    auto args = std::make_shared<std::tuple<P...>>(hy_emu_convert<P>(a)...);
    std::apply([](P &...p) { (HY_EMU_CLEAR_PADDING(&p), ...); }, *args);
    int index = 0;
    std::apply([&](const P &...p) { (hy_emu_check<P>(name, index++, p), ...); }, *args);
    return hy_emu_enqueue(name, grid, block, shared, sizeof(std::tuple<P...>),
                          [kernel, args] { std::apply(kernel, *args); });
}
#endif
