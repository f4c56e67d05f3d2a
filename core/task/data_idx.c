// data_idx.c - IDX files, the format of MNIST: two zero bytes, a byte for the type (8: unsigned bytes), the number of
// dimensions, each dimension as four bytes, highest first, then the values. See seq_impl.h.
#include <stdlib.h>
#include <string.h>

#include "core/task/seq_impl.h"

#define IDX_MAX_SIDE 4096

typedef struct {
    char *data;
    size_t n;
    int dims;
    uint32_t dim[4];
    const uint8_t *values;
} idx;

static hy_status idx_open(const char *path, int dims, const char *what, idx *out) {
    HY_TRY(hy_file_read(path, HY_SEQ_MAX_BYTES, &out->data, &out->n));
    const uint8_t *b = (const uint8_t *)out->data;
    const size_t head = 4 + 4 * (size_t)dims;
    if (out->n >= 2 && b[0] == 0x1f && b[1] == 0x8b)
        return hy_error(HY_EINPUT, "%s: is compressed with gzip: run gunzip on it first", path);
    if (out->n < 4 || b[0] || b[1]) return hy_error(HY_EINPUT, "%s: is no IDX file: its first bytes are not 0 0", path);
    if (b[2] != 8)
        return hy_error(HY_EINPUT, "%s: IDX type 0x%02x; only unsigned bytes (0x08) are read: convert it", path, b[2]);
    if (b[3] != dims)
        return hy_error(HY_EINPUT, "%s: an IDX file of %d dimensions; %s have %d", path, b[3], what, dims);
    if (out->n < head)
        return hy_error(HY_EINPUT, "%s: ends inside its header, after %zu bytes: download it again", path, out->n);
    uint64_t want = 1;
    for (int i = 0; i < dims; i++) {
        const uint8_t *d = b + 4 + 4 * i;
        out->dim[i] = (uint32_t)d[0] << 24 | (uint32_t)d[1] << 16 | (uint32_t)d[2] << 8 | d[3];
        if (i && out->dim[i] > IDX_MAX_SIDE)
            return hy_error(HY_EINPUT, "%s: its header tells of images of %u pixels a side; at most %d are read", path,
                            out->dim[i], IDX_MAX_SIDE);
        want *= out->dim[i];  // 32 and twice 13 bits
    }
    if (!want) return hy_error(HY_EINPUT, "%s: its header tells of nothing: a dimension is 0", path);
    if (want != out->n - head)
        return hy_error(HY_EINPUT, "%s: its header tells of %llu values, but %zu follow: download it again", path,
                        (unsigned long long)want, out->n - head);
    out->values = b + head;
    return HY_OK;
}

static hy_status pair_add(hy_seq *d, const char *images, const char *labels, hy_split split, idx *x, idx *y) {
    HY_TRY(idx_open(images, 3, "images", x));
    HY_TRY(idx_open(labels, 1, "labels", y));
    if (x->dim[0] != y->dim[0])
        return hy_error(HY_EINPUT, "%s has %u images, %s %u labels: they do not belong together", images, x->dim[0],
                        labels, y->dim[0]);
    const int height = (int)x->dim[1], width = (int)x->dim[2];
    if (d->n && (d->height != height || d->width != width))
        return hy_error(HY_EINPUT, "%s: images of %d x %d pixels, those of training have %d x %d", images, height,
                        width, d->height, d->width);
    HY_TRY(hy_seq_room(d, images, x->dim[0], height * width));
    d->height = height, d->width = width, d->channels = 1;
    memcpy(d->values + (size_t)d->n * (size_t)d->len, x->values, (size_t)x->dim[0] * (size_t)d->len);
    for (uint32_t i = 0; i < x->dim[0]; i++, d->n++) {
        d->label[d->n] = y->values[i];
        d->split[d->n] = split == HY_SPLIT_EVAL ? HY_SPLIT_EVAL : HY_SEQ_ANY;
        if (y->values[i] >= d->classes) d->classes = y->values[i] + 1;
    }
    hy_seq_hash(d, split == HY_SPLIT_EVAL ? "test images" : "images", x->data, x->n);
    hy_seq_hash(d, split == HY_SPLIT_EVAL ? "test labels" : "labels", y->data, y->n);
    return HY_OK;
}

hy_status hy_idx_images(hy_seq *d, const char *images, const char *labels, hy_split split) {
    idx x = {0}, y = {0};
    const hy_status s = pair_add(d, images, labels, split, &x, &y);
    free(x.data), free(y.data);
    return s;
}
