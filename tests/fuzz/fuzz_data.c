// fuzz_data.c - libFuzzer target of the data files of tasks (`make fuzz-data`): any bytes are images and labels (i:
// IDX, cut at "\n---\n"), a recording (w) or a list of them (m), or a clear refusal that names the file. The first byte
// tells which.
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/task/seq_impl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static char images[64], labels[64];

static void leave(void) { unlink(images), unlink(labels); }

static void enter(void) {
    const char *dir = access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm";
    snprintf(images, sizeof images, "%s/hylab_fuzz_i.%ld", dir, (long)getpid());
    snprintf(labels, sizeof labels, "%s/hylab_fuzz_l.%ld", dir, (long)getpid());
    atexit(leave);
}

static void put(const char *path, const uint8_t *data, size_t n) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    HY_ASSERT(fd >= 0 && write(fd, data, n) == (ssize_t)n && !close(fd));
}

static void give_idx(const uint8_t *data, size_t n) {
    const uint8_t *cut = memmem(data, n, "\n---\n", 5);
    const size_t first = cut ? (size_t)(cut - data) : n;
    put(images, data, first);
    put(labels, cut ? cut + 5 : data, cut ? n - first - 5 : 0);
    hy_seq *d = hy_xcalloc(1, sizeof *d);
    const hy_status s = hy_idx_images(d, images, labels, HY_SPLIT_TRAIN);
    HY_ASSERT(s == HY_OK || (s == HY_EINPUT && !d->n && strstr(hy_error_text(), "hylab_fuzz_")));
    int64_t sum = 0;
    for (int64_t i = 0; i < d->n; i++) {
        HY_ASSERT(d->label[i] >= 0 && d->label[i] < d->classes);
        for (int p = 0; p < d->len; p++) sum += d->values[i * d->len + p];
    }
    HY_ASSERT(s || (d->n > 0 && d->len == d->height * d->width && sum >= 0));
    hy_seq_free(d);
}

static void give_wav(const uint8_t *data, size_t n) {
    hy_wav w;
    const hy_status s = hy_wav_read("x.wav", data, n, &w);
    HY_ASSERT(s == HY_OK || (s == HY_EINPUT && !w.v && strstr(hy_error_text(), "x.wav")));
    HY_ASSERT(s || (w.n > 0 && (size_t)w.n <= n && w.rate > 0));
    for (int64_t i = 0; i < w.n; i++) HY_ASSERT(w.v[i] >= -1 && w.v[i] < 1);
    free(w.v);
}

static void give_manifest(const uint8_t *data, size_t n) {
    hy_clips c = {0};
    char *text = malloc(n + 1);  // as hy_file_read ends it
    memcpy(text, data, n);
    text[n] = 0;
    const hy_status s = hy_clips_manifest(&c, "x.csv", text, n);
    HY_ASSERT(s == HY_OK || (s == HY_EINPUT && strstr(hy_error_text(), "x.csv")));
    HY_ASSERT(s || c.n > 0);
    for (int64_t i = 0; i < c.n; i++) {
        const hy_clip *v = &c.v[i];
        HY_ASSERT(v->path[0] && v->label[0] && (v->split < HY_SPLITS || v->split == HY_SEQ_ANY));
    }
    hy_clips_free(&c);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    if (!images[0]) enter();
    if (!n) return 0;
    if (data[0] == 'i') give_idx(data + 1, n - 1);
    if (data[0] == 'w') give_wav(data + 1, n - 1);
    if (data[0] == 'm') give_manifest(data + 1, n - 1);
    return 0;
}
