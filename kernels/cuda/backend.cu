// backend.cu - the CUDA backend: which GPU, its memory, recordings, and the table of plans. One device and one stream a
// process. The GPU that is taken, for kernels: device.cu; copies between host and device: transfer.cu; the library of
// matrix products: blas.cu. It contains no kernel.
#include <cstdlib>
#include <cstring>

#include "kernels/cuda/backend.h"
#include "kernels/cuda/blas.h"

enum { CC_NEEDED = 80 };  // compute capability 8.0

static struct {
    bool open, recording;
    const char *lost;  // why a recording cannot be kept
    hy_cuda_device d;
    size_t total;
    char name[128];
} gpu;

static double gib(size_t bytes) { return (double)bytes / (1024.0 * 1024 * 1024); }

// ---------------------------------------------------------------------------------------------------- what there is
static int runtime_version(void) {
    int v = 0;
    cudaRuntimeGetVersion(&v);
    return v;
}
static int driver_version(void) {  // the newest CUDA it knows; 0: no driver
    int v = 0;
    if (cudaDriverGetVersion(&v) != cudaSuccess) cudaGetLastError();
    return v;
}
#define VERSION(v) (v) / 1000, (v) % 1000 / 10

// How many GPUs the driver shows; 0 with the reason.
static int count_gpus(char *why, size_t n) {
    const int driver = driver_version();
    int count = 0;
    if (driver == 0) {
        snprintf(why, n, "no NVIDIA driver");
        return 0;
    }
    const cudaError_t e = cudaGetDeviceCount(&count);
    if (e == cudaSuccess && count > 0) return count;
    cudaGetLastError();
    if (e == cudaErrorInsufficientDriver)
        snprintf(why, n, "the NVIDIA driver is older than this build: it knows CUDA %d.%d, the build is of %d.%d",
                 VERSION(driver), VERSION(runtime_version()));
    else if (e == cudaSuccess || e == cudaErrorNoDevice)
        snprintf(why, n, "no GPU%s",
                 getenv("CUDA_VISIBLE_DEVICES") ? " (CUDA_VISIBLE_DEVICES limits what is shown)" : "");
    else
        snprintf(why, n, "%s (%s)", cudaGetErrorString(e), cudaGetErrorName(e));
    return 0;
}

// Whether kernels of this build run on that GPU; else why not.
static bool usable(int device, cudaDeviceProp *p, char *why, size_t n) {
    const cudaError_t e = cudaGetDeviceProperties(p, device);
    if (e != cudaSuccess) {
        cudaGetLastError();
        snprintf(why, n, "GPU %d: %s (%s)", device, cudaGetErrorString(e), cudaGetErrorName(e));
        return false;
    }
    if (p->major * 10 + p->minor >= CC_NEEDED) return true;
    snprintf(why, n, "GPU too old: %.100s has compute capability %d.%d, %d.%d needed", p->name, p->major, p->minor,
             CC_NEEDED / 10, CC_NEEDED % 10);
    return false;
}

// Appends the GPUs; returns how many can be used.
static int list_gpus(hy_buf *b, int count) {
    int good = 0;
    for (int i = 0; i < count; i++) {
        cudaDeviceProp p;
        char why[200];
        hy_buf_printf(b, i ? "; " : ": ");
        if (count > 1) hy_buf_printf(b, "GPU %d: ", i);
        if (usable(i, &p, why, sizeof why)) {
            hy_buf_printf(b, "%s (sm_%d%d, %.1f GiB)", p.name, p.major, p.minor, gib(p.totalGlobalMem));
            good++;
        } else {
            hy_buf_printf(b, "%s", why);
        }
    }
    return good;
}

bool hy_cuda_describe(char *line, size_t n) {
    char why[200], library[256];
    const int count = count_gpus(why, sizeof why);
    hy_buf b = {};
    hy_buf_printf(&b, "CUDA %d.%d", VERSION(runtime_version()));
    if (count)
        hy_buf_printf(&b, ", driver %d.%d", VERSION(driver_version()));
    else
        hy_buf_printf(&b, ": %s", why);
    const int good = list_gpus(&b, count);
    const bool has = (good || line) && hy_blas_describe(library, sizeof library);
    if (good || line) hy_buf_printf(&b, "; %s", library);
    snprintf(line, n, "%s", b.s);
    free(b.s);
    return good > 0 && has;
}

// ---------------------------------------------------------------------------------------------------- memory
static void *cuda_alloc(size_t bytes) {
    if (gpu.recording) {
        hy_error(HY_EFAIL, "%s: memory cannot be had while kernels are being recorded", gpu.name);
        return NULL;
    }
    void *p = NULL;
    const size_t rounded = bytes ? bytes : 1;
    const cudaError_t e = cudaMalloc(&p, rounded);
    if (e == cudaErrorMemoryAllocation) {
        cudaGetLastError();
        size_t available = 0, total = gpu.total;
        cudaMemGetInfo(&available, &total);
        hy_error(HY_ENOMEM, "out of memory on %s: %.3f GiB were asked for, %.3f of %.3f GiB are free", gpu.name,
                 gib(rounded), gib(available), gib(total));
        return NULL;
    }
    if (hy_cuda_check(e, "allocation of %zu bytes", rounded)) return NULL;
    if (hy_cuda_check(cudaMemsetAsync(p, 0, rounded, gpu.d.stream), "clearing %zu new bytes", rounded)) {
        cudaFree(p);
        return NULL;
    }
    return p;
}

static void cuda_free(void *p) {
    if (!p) return;
    if (gpu.recording) {  // waiting is impossible now, and what was recorded may use the memory
        gpu.lost = "memory was given back meanwhile";
        gpu.recording = false;
        cudaGraph_t graph = NULL;
        cudaStreamEndCapture(gpu.d.stream, &graph);
        if (graph) cudaGraphDestroy(graph);
    }
    cudaStreamSynchronize(gpu.d.stream);  // an error stays: the next wait tells it
    cudaFree(p);
}

static hy_status cuda_zero(void *p, size_t bytes) {
    return bytes ? hy_cuda_check(cudaMemsetAsync(p, 0, bytes, gpu.d.stream), "clearing %zu bytes", bytes) : HY_OK;
}

static hy_status cuda_wait(void) {
    if (gpu.recording)
        return hy_error(HY_EFAIL, "%s: there is nothing to wait for while kernels are being recorded", gpu.name);
    return hy_cuda_check(cudaStreamSynchronize(gpu.d.stream),
                         "waiting for the kernels started so far (CUDA_LAUNCH_BLOCKING=1 shows which one fails)");
}

static size_t cuda_memory_free(void) {
    size_t available = 0, total = 0;
    if (cudaMemGetInfo(&available, &total) != cudaSuccess) cudaGetLastError();
    return available;
}

static hy_status cuda_to_host(void *dst, const void *src, size_t bytes) {
    if (gpu.recording) return hy_error(HY_EFAIL, "%s: nothing can be read while kernels are being recorded", gpu.name);
    return hy_cuda_to_host(dst, src, bytes);
}
static hy_status cuda_from_host(void *dst, const void *src, size_t bytes) {
    if (gpu.recording)
        return hy_error(HY_EFAIL, "%s: nothing can be copied to it while kernels are being recorded", gpu.name);
    return hy_cuda_from_host(dst, src, bytes);
}

// ---------------------------------------------------------------------------------------------------- recordings
// A recording is a CUDA graph, captured from the stream. After any failure the stream runs kernels as before.
static hy_status cuda_record_begin(void) {
    if (gpu.recording) return hy_error(HY_EFAIL, "%s: kernels are being recorded already", gpu.name);
    HY_TRY(
        hy_cuda_check(cudaStreamBeginCapture(gpu.d.stream, cudaStreamCaptureModeThreadLocal), "begin of a recording"));
    gpu.recording = true;
    gpu.lost = NULL;
    return HY_OK;
}

static hy_status cuda_record_end(void **recording) {
    if (recording) *recording = NULL;
    const char *lost = gpu.lost;
    gpu.lost = NULL;
    if (lost) return hy_error(HY_EFAIL, "%s: the recording is lost: %s", gpu.name, lost);
    if (!gpu.recording) return hy_error(HY_EFAIL, "%s: no kernels are being recorded", gpu.name);
    gpu.recording = false;
    cudaGraph_t graph = NULL;
    const cudaError_t e = cudaStreamEndCapture(gpu.d.stream, &graph);
    hy_status s = HY_OK;
    cudaGraphExec_t exec = NULL;
    if (!recording)
        cudaGetLastError();  // given up: whatever was wrong with it
    else if (!(s = hy_cuda_check(e, "end of a recording")) &&
             !(s = hy_cuda_check(cudaGraphInstantiate(&exec, graph, 0), "making a recording ready")))
        *recording = exec;
    if (graph) cudaGraphDestroy(graph);
    return s;
}

static hy_status cuda_replay(void *recording) {
    return hy_cuda_check(cudaGraphLaunch((cudaGraphExec_t)recording, gpu.d.stream), "replay of recorded kernels");
}

static void cuda_discard_recording(void *recording) {
    if (!recording) return;
    if (!gpu.recording) cudaStreamSynchronize(gpu.d.stream);
    cudaGraphExecDestroy((cudaGraphExec_t)recording);
}

// ---------------------------------------------------------------------------------------------------- opening
// The GPU that was asked for, or for -1 the first that can be used.
static hy_status choose(int device, cudaDeviceProp *p, int *chosen) {
    char why[200];
    const int count = count_gpus(why, sizeof why);
    if (!count) return hy_error(HY_EINPUT, "CUDA cannot be used here: %s; --device cpu works everywhere", why);
    if (device >= count)
        return hy_error(HY_EINPUT, "there is no GPU %d: this machine shows %d, numbered from 0", device, count);
    *chosen = device < 0 ? 0 : device;
    bool ok = usable(*chosen, p, why, sizeof why);
    while (!ok && device < 0 && ++*chosen < count) ok = usable(*chosen, p, why, sizeof why);
    return ok ? HY_OK : hy_error(HY_EINPUT, "%s; --device cpu works everywhere", why);
}

hy_status hy_cuda_find(int device) {
    cudaDeviceProp p = {};
    int chosen;
    return choose(device, &p, &chosen);
}

static hy_status open_device(int device) {
    cudaDeviceProp p = {};
    int chosen;
    HY_TRY(choose(device, &p, &chosen));
    snprintf(gpu.name, sizeof gpu.name, "%.100s", p.name);
    hy_cuda_take(gpu.name, NULL);  // messages name it from now on
    gpu.total = p.totalGlobalMem;
    gpu.d.device = chosen, gpu.d.cc = p.major * 10 + p.minor, gpu.d.sms = p.multiProcessorCount;
    gpu.d.smem_max = p.sharedMemPerBlockOptin, gpu.d.l2 = (size_t)p.l2CacheSize;
    HY_TRY(hy_cuda_check(cudaSetDevice(chosen), "taking GPU %d", chosen));
    HY_TRY(hy_cuda_check(cudaStreamCreateWithFlags(&gpu.d.stream, cudaStreamNonBlocking), "making a stream"));
    HY_TRY(hy_cuda_transfer_open(gpu.d.stream));
    HY_TRY(hy_blas_open(&gpu.d));
    hy_cuda_take(gpu.name, &gpu.d);
    gpu.open = true;
    return HY_OK;
}

static void set_plans(hy_backend *out) {
#define X(name) out->plan[HY_K_##name] = hy_cuda_plan_##name;
    HY_KERNELS(X)
#undef X
}

hy_status hy_backend_cuda(int device, hy_math math, hy_backend *out) {
    if (gpu.open && device >= 0 && device != gpu.d.device)
        return hy_error(HY_EINPUT, "this process computes on GPU %d already; GPU %d is for another process",
                        gpu.d.device, device);
    if (!gpu.open) HY_TRY(open_device(device));
    *out = hy_backend{};
    out->name = "cuda";
    snprintf(out->device, sizeof out->device, "%s", gpu.name);
    set_plans(out);
    out->alloc = cuda_alloc, out->free = cuda_free, out->zero = cuda_zero, out->to_host = cuda_to_host,
    out->from_host = cuda_from_host;
    out->wait = cuda_wait, out->memory_free = cuda_memory_free;
    out->record_begin = cuda_record_begin, out->record_end = cuda_record_end, out->replay = cuda_replay;
    out->discard_recording = cuda_discard_recording;
    out->async = true, out->threads = 1, out->math = math;
    return HY_OK;
}
