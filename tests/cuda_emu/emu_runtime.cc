// emu_runtime.cc - see emu_runtime.h: the queue of work, recordings, events, errors. One device, streams share one
// queue.
#include <sys/mman.h>

#include <chrono>
#include <cstdarg>
#include <cstdlib>
#include <vector>

#include "tests/cuda_emu/emu_block.h"
#include "tests/cuda_emu/emu_memory.h"

typedef std::function<void()> work;
struct hy_emu_stream {
    int unused;
};
struct hy_emu_graph {
    std::vector<work> list;
};
struct hy_emu_graph_exec {
    std::vector<work> list;
};
struct hy_emu_event {
    std::shared_ptr<double> time;  // when it was reached; negative: queued
};
static std::vector<work> queue;
static hy_emu_graph *recording;
static cudaError_t last = cudaSuccess;

static cudaError_t result(cudaError_t e) {
    if (e != cudaSuccess && e != cudaErrorNotReady) last = e;
    return e;
}
static void add(work w) { (recording ? recording->list : queue).push_back(std::move(w)); }
static void run_all() {
    std::vector<work> now;
    now.swap(queue);
    if (now.empty()) return;
    emu_memory_open(true);
    for (work &w : now) w();
    emu_memory_open(false);
}
static double seconds() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// ---------------------------------------------------------------------------------------------------- launches
static hy_status refuse(const char *name, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static hy_status refuse(const char *name, const char *fmt, ...) {
    char text[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    result(cudaErrorInvalidConfiguration);
    return hy_error(HY_EFAIL, "launch of %s: %s", name, text);
}
hy_status hy_emu_enqueue(const char *name, dim3 grid, dim3 block, size_t shared, size_t arg_bytes,
                         std::function<void()> thread) {
    const uint64_t threads = (uint64_t)block.x * block.y * block.z;
    if (threads < 1 || threads > 1024 || block.x > 1024 || block.y > 1024 || block.z > 64)
        return refuse(name, "a block of (%u,%u,%u) threads; CUDA takes 1 to 1024, z up to 64", block.x, block.y,
                      block.z);
    if (grid.x < 1 || grid.y < 1 || grid.z < 1 || grid.x > 0x7fffffff || grid.y > 65535 || grid.z > 65535)
        return refuse(name, "a grid of (%u,%u,%u) blocks; CUDA takes 1 to 2147483647, 65535, 65535", grid.x, grid.y,
                      grid.z);
    if (shared > 227 * 1024) return refuse(name, "%zu bytes of shared memory; a block may have 232448", shared);
    if (arg_bytes > 4096) return refuse(name, "%zu bytes of arguments; CUDA takes 4096", arg_bytes);
    auto k = std::make_shared<emu_kernel>(emu_kernel{name, grid, block, shared, std::move(thread)});
    add([k] { emu_run_kernel(k.get()); });
    return HY_OK;
}

// ---------------------------------------------------------------------------------------------------- device, memory
static int devices() {
    const char *n = getenv("HYLAB_EMU_DEVICES");
    return n ? atoi(n) : 1;
}
cudaError_t cudaGetDeviceCount(int *n) {
    *n = devices();
    return result(*n ? cudaSuccess : cudaErrorNoDevice);
}
cudaError_t cudaSetDevice(int device) {
    return result(device >= 0 && device < devices() ? cudaSuccess : cudaErrorInvalidDevice);
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp *p, int device) {
    if (device < 0 || device >= devices()) return result(cudaErrorInvalidDevice);
    *p = {};
    strcpy(p->name, "emulated GPU");
    p->totalGlobalMem = emu_memory_total();
    p->sharedMemPerBlock = 48 << 10, p->sharedMemPerBlockOptin = 227 << 10, p->sharedMemPerMultiprocessor = 228 << 10;
    p->major = 9, p->minor = 0, p->multiProcessorCount = 3, p->l2CacheSize = 50 << 20;
    p->maxThreadsPerBlock = 1024, p->warpSize = 32, p->memoryBusWidth = 5120;
    return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr a, int device) {
    cudaDeviceProp p;
    if (cudaGetDeviceProperties(&p, device) != cudaSuccess) return result(cudaErrorInvalidDevice);
    *value = a == cudaDevAttrMaxSharedMemoryPerBlockOptin ? (int)p.sharedMemPerBlockOptin
             : a == cudaDevAttrMultiProcessorCount        ? p.multiProcessorCount
             : a == cudaDevAttrComputeCapabilityMajor     ? p.major
             : a == cudaDevAttrComputeCapabilityMinor     ? p.minor
                                                          : p.l2CacheSize;
    return cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int *v) { return *v = devices() ? 13000 : 0, cudaSuccess; }
cudaError_t cudaRuntimeGetVersion(int *v) { return *v = 13000, cudaSuccess; }
cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total) {
    *total = emu_memory_total();
    *free_bytes = *total - emu_memory_used();
    return cudaSuccess;
}
cudaError_t cudaMalloc(void **p, size_t bytes) {
    if (recording) return result(cudaErrorStreamCaptureUnsupported);
    *p = NULL;
    if (bytes) *p = emu_memory_new(bytes);
    return result(*p || !bytes ? cudaSuccess : cudaErrorMemoryAllocation);
}
cudaError_t cudaFree(void *p) {  // waits for everything, as in CUDA
    if (recording) return result(cudaErrorStreamCaptureUnsupported);
    run_all();
    return result(!p || emu_memory_delete(p) ? cudaSuccess : cudaErrorInvalidValue);
}
cudaError_t cudaMallocHost(void **p, size_t bytes) {
    return result((*p = emu_pinned_new(bytes)) ? cudaSuccess : cudaErrorMemoryAllocation);
}
cudaError_t cudaFreeHost(void *p) {
    run_all();
    return result(!p || emu_pinned_delete(p) ? cudaSuccess : cudaErrorInvalidValue);
}
cudaError_t cudaMemsetAsync(void *p, int value, size_t bytes, cudaStream_t) {
    if (!bytes) return cudaSuccess;
    if (!emu_on_device(p, bytes)) return result(cudaErrorInvalidValue);
    add([=] { memset(p, value, bytes); });
    return cudaSuccess;
}
// Pageable memory of the host is read at the call and written before it returns; pinned memory when the queue runs.
cudaError_t cudaMemcpyAsync(void *dst, const void *src, size_t bytes, cudaMemcpyKind kind, cudaStream_t) {
    if (!bytes) return cudaSuccess;
    const bool to = emu_on_device(dst, bytes), from = emu_on_device(src, bytes);
    if (to != (kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice) ||
        from != (kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice) || (!to && !from))
        return result(cudaErrorInvalidValue);
    const bool pageable = (!to && !emu_pinned(dst, bytes)) || (!from && !emu_pinned(src, bytes));
    if (pageable && recording) return result(cudaErrorStreamCaptureUnsupported);
    if (pageable && to) {
        auto copy = std::make_shared<std::vector<char>>((const char *)src, (const char *)src + bytes);
        add([=] { memcpy(dst, copy->data(), bytes); });
    } else {
        add([=] { memmove(dst, src, bytes); });
        if (pageable) run_all();
    }
    return cudaSuccess;
}

// --------------------------------------------------------------------------------------------- streams, graphs, events
cudaError_t cudaStreamCreateWithFlags(cudaStream_t *s, unsigned) { return *s = new hy_emu_stream{0}, cudaSuccess; }
cudaError_t cudaStreamDestroy(cudaStream_t s) {
    run_all();
    delete s;
    return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t) {
    if (recording) return result(cudaErrorStreamCaptureUnsupported);
    run_all();
    return last;
}
cudaError_t cudaDeviceSynchronize() { return cudaStreamSynchronize(NULL); }
cudaError_t cudaStreamBeginCapture(cudaStream_t, cudaStreamCaptureMode) {
    if (recording) return result(cudaErrorStreamCaptureUnsupported);
    recording = new hy_emu_graph;
    return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t, cudaGraph_t *graph) {
    *graph = recording;
    recording = NULL;
    return result(*graph ? cudaSuccess : cudaErrorInvalidValue);
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t *exec, cudaGraph_t graph, unsigned long long) {
    return *exec = new hy_emu_graph_exec{graph->list}, cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t) {
    if (recording) return result(cudaErrorStreamCaptureUnsupported);
    queue.insert(queue.end(), exec->list.begin(), exec->list.end());
    return cudaSuccess;
}
cudaError_t cudaGraphUpload(cudaGraphExec_t, cudaStream_t) { return cudaSuccess; }
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) { return delete exec, cudaSuccess; }
cudaError_t cudaGraphDestroy(cudaGraph_t graph) { return delete graph, cudaSuccess; }
cudaError_t cudaEventCreate(cudaEvent_t *e) { return *e = new hy_emu_event, cudaSuccess; }
cudaError_t cudaEventCreateWithFlags(cudaEvent_t *e, unsigned) { return cudaEventCreate(e); }
cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t) {
    if (recording) return result(cudaErrorStreamCaptureUnsupported);
    auto t = e->time = std::make_shared<double>(-1);
    add([t] { *t = seconds(); });
    return cudaSuccess;
}
cudaError_t cudaEventQuery(cudaEvent_t e) {  // once not ready, then ready
    const bool ready = !e->time || *e->time >= 0;
    if (!ready) run_all();
    return ready ? cudaSuccess : cudaErrorNotReady;
}
cudaError_t cudaEventSynchronize(cudaEvent_t e) {
    if (e->time && *e->time < 0) run_all();
    return cudaSuccess;
}
cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t from, cudaEvent_t to) {
    if (!from->time || !to->time) return result(cudaErrorInvalidResourceHandle);
    if (*from->time < 0 || *to->time < 0) return cudaErrorNotReady;
    *ms = (float)((*to->time - *from->time) * 1e3);
    return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t e) { return delete e, cudaSuccess; }

// ---------------------------------------------------------------------------------------------------- errors
cudaError_t cudaPeekAtLastError() { return last; }
cudaError_t cudaGetLastError() {
    const cudaError_t e = last;
    last = cudaSuccess;
    return e;
}
static const struct {
    cudaError_t e;
    const char *name, *text;
} errors[] = {{cudaSuccess, "cudaSuccess", "no error"},
              {cudaErrorInvalidValue, "cudaErrorInvalidValue", "invalid argument"},
              {cudaErrorMemoryAllocation, "cudaErrorMemoryAllocation", "out of memory"},
              {cudaErrorInvalidConfiguration, "cudaErrorInvalidConfiguration", "invalid configuration argument"},
              {cudaErrorInsufficientDriver, "cudaErrorInsufficientDriver",
               "CUDA driver version is insufficient for CUDA runtime version"},
              {cudaErrorNoDevice, "cudaErrorNoDevice", "no CUDA-capable device is detected"},
              {cudaErrorInvalidDevice, "cudaErrorInvalidDevice", "invalid device ordinal"},
              {cudaErrorInvalidResourceHandle, "cudaErrorInvalidResourceHandle", "invalid resource handle"},
              {cudaErrorNotReady, "cudaErrorNotReady", "device not ready"},
              {cudaErrorStreamCaptureUnsupported, "cudaErrorStreamCaptureUnsupported",
               "operation not permitted when stream is capturing"}};
const char *cudaGetErrorName(cudaError_t e) {
    for (const auto &k : errors)
        if (k.e == e) return k.name;
    return "cudaErrorUnknown";
}
const char *cudaGetErrorString(cudaError_t e) {
    for (const auto &k : errors)
        if (k.e == e) return k.text;
    return "unknown error";
}
