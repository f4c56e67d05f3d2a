// fuzz_shards.c - libFuzzer target of folders of several weight files (`make fuzz-shards`): an index and two headers,
// any bytes each, are a folder whose tensors lie where the index says, or a clear refusal. The input is cut at lines
// "---".
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/format/json.h"
#include "core/format/shards.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { DATA = 24 };  // bytes behind each header

static char folder[64];

static void put(const char *name, const uint8_t *head, size_t n_head, const void *text, size_t n, size_t zeros) {
    char path[128];
    static const uint8_t nothing[DATA];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    HY_ASSERT(fd >= 0 && write(fd, head, n_head) == (ssize_t)n_head && write(fd, text, n) == (ssize_t)n);
    HY_ASSERT(write(fd, nothing, zeros) == (ssize_t)zeros && !close(fd));
}

static void put_weights(const char *name, const uint8_t *text, size_t n) {
    uint8_t head[8] = {0};
    for (int i = 0; i < 8; i++) head[i] = (uint8_t)((uint64_t)n >> 8 * i);
    put(name, head, 8, text, n, DATA);
}

static void leave(void) {
    static const char *const names[] = {"a.safetensors", "b.safetensors", "model.safetensors.index.json"};
    char path[128];
    for (int i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        unlink(path);
    }
    rmdir(folder);
}

static void enter(void) {
    snprintf(folder, sizeof folder, "%s/hylab_fuzz.%ld", access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm",
             (long)getpid());
    HY_ASSERT(!mkdir(folder, 0700));
    atexit(leave);
}

// Length of the part at data, and what comes after its "\n---\n".
static size_t part(const uint8_t **data, size_t *left) {
    const uint8_t *start = *data, *cut = memmem(start, *left, "\n---\n", 5);
    size_t n = cut ? (size_t)(cut - start) : *left, used = cut ? n + 5 : n;
    *data += used;
    *left -= used;
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    if (!folder[0]) enter();
    const uint8_t *index = data;
    put("model.safetensors.index.json", NULL, 0, index, part(&data, &n), 0);
    const uint8_t *a = data;
    put_weights("a.safetensors", a, part(&data, &n));
    put_weights("b.safetensors", data, n);
    hy_shards *s;
    hy_status st = hy_shards_open(folder, &s);
    HY_ASSERT(st == HY_OK || (st == HY_EINPUT && !s && strstr(hy_error_text(), "model.safetensors.index.json")));
    if (st) return 0;
    HY_ASSERT(s->indexed && s->n >= 1 && s->n <= 2);
    for (int f = 0; f < s->n; f++)
        for (int i = 0; i < hy_st_count(s->files[f]); i++) {
            const hy_st_tensor *t = hy_st_at(s->files[f], i);
            HY_ASSERT(hy_shards_find(s, t->name) == t);  // nowhere else
            float *v = malloc(t->n * sizeof *v + 1);
            hy_st_read_f32(t, 0, t->n, v);
            free(v);
        }
    hy_shards_close(s);
    return 0;
}
