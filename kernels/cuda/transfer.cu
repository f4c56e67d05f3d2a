// transfer.cu - copies between host and device. To the device they go through a ring of page-locked memory: the call
// returns when the source has been read, the copy itself waits its turn on the stream. To the host they wait for all
// work before them.
#include <cstring>

#include "kernels/cuda/backend.h"

#define PART ((size_t)1 << 20)  // bytes: a large copy travels in such pieces, many small ones share one
enum { PARTS = 8 };

static struct {
    cudaStream_t stream;
    char *ring, *back;        // [PARTS, PART], [PART]: page-locked
    int part;                 // the one being filled
    size_t filled;            // bytes of it
    cudaEvent_t read[PARTS];  // the device has read the part
    bool busy[PARTS];         // that event was recorded and not waited for yet
} t;

hy_status hy_cuda_transfer_open(cudaStream_t stream) {
    t.stream = stream;
    HY_TRY(hy_cuda_check(cudaMallocHost((void **)&t.ring, (PARTS + 1) * PART), "%zu bytes of page-locked memory",
                         (PARTS + 1) * PART));
    t.back = t.ring + PARTS * PART;
    for (int i = 0; i < PARTS; i++)
        HY_TRY(hy_cuda_check(cudaEventCreateWithFlags(&t.read[i], cudaEventDisableTiming), "making an event"));
    return HY_OK;
}

// Room for so many bytes, at most PART, that nothing queued still reads.
static hy_status take(size_t bytes, char **room) {
    if (t.filled + bytes > PART) {
        HY_TRY(hy_cuda_check(cudaEventRecord(t.read[t.part], t.stream), "recording an event"));
        t.busy[t.part] = true;
        const int next = (t.part + 1) % PARTS;
        if (t.busy[next])
            HY_TRY(hy_cuda_check(cudaEventSynchronize(t.read[next]), "waiting for an earlier copy to the device"));
        t.busy[next] = false;
        t.part = next;
        t.filled = 0;
    }
    *room = t.ring + (size_t)t.part * PART + t.filled;
    t.filled += hy_align(bytes);
    return HY_OK;
}

hy_status hy_cuda_from_host(void *dst, const void *src, size_t bytes) {
    for (size_t at = 0; at < bytes;) {
        const size_t n = bytes - at < PART ? bytes - at : PART;
        char *room;
        HY_TRY(take(n, &room));
        memcpy(room, (const char *)src + at, n);
        HY_TRY(hy_cuda_check(cudaMemcpyAsync((char *)dst + at, room, n, cudaMemcpyHostToDevice, t.stream),
                             "copy of %zu bytes to the device", bytes));
        at += n;
    }
    return HY_OK;
}

hy_status hy_cuda_to_host(void *dst, const void *src, size_t bytes) {
    if (!bytes) return HY_OK;
    const bool small = bytes <= PART;
    HY_TRY(hy_cuda_check(cudaMemcpyAsync(small ? t.back : dst, src, bytes, cudaMemcpyDeviceToHost, t.stream),
                         "copy of %zu bytes from the device", bytes));
    HY_TRY(hy_cuda_check(
        cudaStreamSynchronize(t.stream),
        "copy of %zu bytes from the device, or a kernel before it (CUDA_LAUNCH_BLOCKING=1 shows which one fails)",
        bytes));
    if (small) memcpy(dst, t.back, bytes);
    return HY_OK;
}
