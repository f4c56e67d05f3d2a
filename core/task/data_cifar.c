// data_cifar.c - CIFAR-10 and CIFAR-100 as their binary versions have them: records of one label byte (CIFAR-100: a
// coarse and a fine one) and 32 x 32 values of red, of green and of blue. See seq_impl.h.
#include <stdlib.h>

#include "core/task/seq_impl.h"

enum { SIDE = 32, PLANE = SIDE * SIDE };

static hy_status records_add(hy_seq *d, const char *path, const uint8_t *b, size_t n, hy_cifar kind, bool grey,
                             hy_split split) {
    const size_t head = kind == HY_CIFAR_10 ? 1 : 2, record = head + 3 * PLANE;
    const int classes = kind == HY_CIFAR_10 ? 10 : kind == HY_CIFAR_100_FINE ? 100 : 20;
    if (n >= 2 && b[0] == 0x1f && b[1] == 0x8b)
        return hy_error(HY_EINPUT, "%s: is compressed with gzip: unpack it first", path);
    if (!n || n % record)
        return hy_error(HY_EINPUT,
                        "%s: %zu bytes are no whole number of records of %zu: not the binary version of %s, or not "
                        "all of it",
                        path, n, record, kind == HY_CIFAR_10 ? "CIFAR-10" : "CIFAR-100");
    HY_TRY(hy_seq_room(d, path, (int64_t)(n / record), grey ? PLANE : 3 * PLANE));
    d->height = d->width = SIDE, d->channels = grey ? 1 : 3, d->classes = classes;
    for (; n; n -= record, b += record, d->n++) {
        const int label = b[kind == HY_CIFAR_100_FINE];
        if (label >= classes)
            return hy_error(HY_EINPUT, "%s: a label is %d, but there are %d classes", path, label, classes);
        const uint8_t *red = b + head, *green = red + PLANE, *blue = green + PLANE;
        uint8_t *out = d->values + (size_t)d->n * (size_t)d->len;
        for (int i = 0; i < PLANE; i++) {
            if (grey) {  // luma of ITU-R BT.601, rounded
                out[i] = (uint8_t)((299 * red[i] + 587 * green[i] + 114 * blue[i] + 500) / 1000);
            } else {
                out[3 * i] = red[i], out[3 * i + 1] = green[i], out[3 * i + 2] = blue[i];
            }
        }
        d->label[d->n] = label;
        d->split[d->n] = split == HY_SPLIT_EVAL ? HY_SPLIT_EVAL : HY_SEQ_ANY;
    }
    return HY_OK;
}

hy_status hy_cifar_images(hy_seq *d, const char *path, hy_cifar kind, bool grey, hy_split split) {
    char *data = NULL;
    size_t n = 0;
    HY_TRY(hy_file_read(path, HY_SEQ_MAX_BYTES, &data, &n));
    const hy_status s = records_add(d, path, (const uint8_t *)data, n, kind, grey, split);
    if (!s) hy_seq_hash(d, split == HY_SPLIT_EVAL ? "test" : "train", data, n);
    free(data);
    return s;
}
