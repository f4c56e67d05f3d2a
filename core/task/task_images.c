// task_images.c - an image as a sequence of its pixels, row by row, and its class at the end: sequential and permuted
// MNIST, sequential CIFAR, the 8 x 8 digits, whatever stands in files of these formats. `path` is a folder:
//
//   IDX       train-images-idx3-ubyte, train-labels-idx1-ubyte; t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte if there
//             is a test part (MNIST, Fashion-MNIST, KMNIST; also with . for the - before idx)
//   CIFAR-10  data_batch_1.bin .. data_batch_5.bin, test_batch.bin
//   CIFAR-100 train.bin, test.bin
//
// A test part is for evaluation and decides nothing else; without one, `validation` is the share that is kept for it.
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "core/task/seq_impl.h"

typedef struct {
    hy_seq_options seq;
    char path[PATH_MAX];
    int downsample, channels, classes, permute;
    int64_t permute_seed;
} image_options;

static const hy_field image_fields[] = {
    {"path", HY_F_STRING, offsetof(image_options, path), PATH_MAX, "\"\"", 0, 0, NULL,
     "a folder with IDX files (train-images-idx3-ubyte ...) or with the binary version of CIFAR-10 or CIFAR-100"},
    HY_SEQ_TOKENS(image_options, "256"),
    {"downsample", HY_F_INT, offsetof(image_options, downsample), 0, "1", 1, 4096, NULL,
     "a pixel is the mean of so many by so many, rounded; must divide both sides"},
    {"channels", HY_F_ENUM, offsetof(image_options, channels), 0, "grey", 0, 0, "grey|colour",
     "of CIFAR: luma, or red, green, blue of each pixel in turn (three tokens)"},
    {"classes", HY_F_ENUM, offsetof(image_options, classes), 0, "fine", 0, 0, "fine|coarse", "of CIFAR-100: 100 or 20"},
    {"permute", HY_F_BOOL, offsetof(image_options, permute), 0, "false", 0, 0, NULL,
     "all images have their values in one other order, drawn by permute_seed (permuted MNIST)"},
    {"permute_seed", HY_F_LONG, offsetof(image_options, permute_seed), 0, "1", 0, 9e15, NULL, "seed of that order"},
    HY_SEQ_SPLITS(image_options),
    HY_FIELD_END,
};

// ---------------------------------------------------------------------------------------------------- files
// The file of a folder if it is there, else NULL. Caller frees.
static char *there(const char *folder, const char *name) {
    char *path = hy_asprintf("%s/%s", folder, name);
    if (hy_file_exists(path)) return path;
    free(path);
    return NULL;
}

static char *idx_file(const char *folder, const char *part, const char *what, int dims) {
    char name[64];
    char *path = NULL;
    for (int dot = 0; dot < 2 && !path; dot++) {
        snprintf(name, sizeof name, "%s-%s%cidx%d-ubyte", part, what, dot ? '.' : '-', dims);
        path = there(folder, name);
    }
    return path;
}

// One part of IDX files; *found: whether its images are there.
static hy_status idx_part(hy_seq *d, const char *folder, hy_split split, bool *found) {
    const char *part = split == HY_SPLIT_EVAL ? "t10k" : "train";
    char *images = idx_file(folder, part, "images", 3), *labels = idx_file(folder, part, "labels", 1);
    hy_status s = HY_OK;
    *found = images;
    if (images && !labels) s = hy_error(HY_EINPUT, "%s: there is no %s-labels-idx1-ubyte beside it", images, part);
    if (images && labels) s = hy_idx_images(d, images, labels, split);
    free(images), free(labels);
    return s;
}

static hy_status cifar_file(hy_seq *d, const image_options *o, const char *name, hy_cifar kind, hy_split split) {
    char *path = hy_asprintf("%s/%s", o->path, name);
    const hy_status s = hy_cifar_images(d, path, kind, !o->channels, split);
    free(path);
    return s;
}

static hy_status cifar_read(hy_seq *d, const image_options *o, bool hundred) {
    if (hundred) {
        const hy_cifar kind = o->classes ? HY_CIFAR_100_COARSE : HY_CIFAR_100_FINE;
        HY_TRY(cifar_file(d, o, "train.bin", kind, HY_SPLIT_TRAIN));
        return cifar_file(d, o, "test.bin", kind, HY_SPLIT_EVAL);
    }
    char name[32];
    for (int i = 1; i <= 5; i++) {
        snprintf(name, sizeof name, "data_batch_%d.bin", i);
        HY_TRY(cifar_file(d, o, name, HY_CIFAR_10, HY_SPLIT_TRAIN));
    }
    return cifar_file(d, o, "test_batch.bin", HY_CIFAR_10, HY_SPLIT_EVAL);
}

static hy_status folder_read(hy_seq *d, const image_options *o) {
    if (!o->path[0]) return hy_error(HY_EINPUT, "path: name a folder with images (IDX or CIFAR files)");
    bool found = false, test = false;
    HY_TRY(idx_part(d, o->path, HY_SPLIT_TRAIN, &found));
    if (found) return idx_part(d, o->path, HY_SPLIT_EVAL, &test);
    char *ten = there(o->path, "data_batch_1.bin"), *hundred = there(o->path, "train.bin");
    hy_status s;
    if (ten || hundred)
        s = cifar_read(d, o, !ten);
    else
        s = hy_error(HY_EINPUT,
                     "path: %s has no train-images-idx3-ubyte (IDX; .gz files must be unpacked with gunzip), no "
                     "data_batch_1.bin (CIFAR-10) and no train.bin (CIFAR-100)",
                     o->path);
    free(ten), free(hundred);
    return s;
}

// ---------------------------------------------------------------------------------------------------- pixels
// In place: the mean of k x k pixels of each channel, halves up.
static hy_status downsample(hy_seq *d, int k) {
    if (k == 1) return HY_OK;
    if (d->height % k || d->width % k)
        return hy_error(HY_EINPUT, "downsample: %d does not divide both sides of images of %d x %d pixels", k,
                        d->height, d->width);
    const int height = d->height / k, width = d->width / k, C = d->channels, len = height * width * C;
    for (int64_t n = 0; n < d->n; n++) {
        const uint8_t *in = d->values + (size_t)n * (size_t)d->len;
        uint8_t *out = d->values + (size_t)n * (size_t)len;  // never ahead of what is still to be read
        for (int at = 0; at < len; at++) {
            const int c = at % C, x = at / C % width, y = at / C / width;
            int64_t sum = 0;
            for (int j = 0; j < k; j++)
                for (int i = 0; i < k; i++) sum += in[((y * k + j) * d->width + x * k + i) * C + c];
            out[at] = (uint8_t)((2 * sum + k * k) / (2 * k * k));
        }
    }
    d->height = height, d->width = width, d->len = len;
    return HY_OK;
}

static hy_status images_setup(hy_task *t) {
    image_options *o = t->options;
    hy_seq *d = t->data = hy_xcalloc(1, sizeof *d);
    hy_task_at_home(o->path);
    HY_TRY(folder_read(d, o));
    HY_TRY(downsample(d, o->downsample));
    const size_t n = (size_t)d->n * (size_t)d->len;
    for (size_t i = 0; o->seq.levels < 256 && i < n; i++) d->values[i] = (uint8_t)(d->values[i] * o->seq.levels / 256);
    if (o->permute) d->from = hy_seq_order(d->len, o->permute_seed);
    return hy_seq_finish(t, d, &o->seq, o->path);
}

// ---------------------------------------------------------------------------------------------------- the task
static void images_picture(const hy_task *t, const int32_t *ids, const int32_t *labels, hy_buf *out) {
    const image_options *o = t->options;
    const hy_seq *d = t->data;
    int32_t *v = hy_seq_values(&o->seq, d->len, d->from, ids, labels);
    hy_seq_draw_image(v, d->height, d->width, d->channels, o->seq.levels, out);
    if (d->from) hy_buf_printf(out, "  (every pixel in its place; the tokens are in the permuted order)\n");
    free(v);
}

const hy_task_kind_def hy_task_images = {
    .name = "images",
    .about = "class of an image from its pixels in a row (IDX: MNIST and others; CIFAR), or each next pixel",
    .of_data = true,
    .fields = image_fields,
    .options_size = sizeof(image_options),
    .setup = images_setup,
    .example = hy_seq_example,
    .release = hy_seq_release,
    .text = hy_seq_identity,
    .piece = hy_seq_piece,
    .picture = images_picture,
};
