// task_mnist1d.c - MNIST-1D (Greydanus and Kobak, "Scaling down deep learning with MNIST-1D", arXiv 2011.14439), made
// anew: ten templates of 12 points like pen strokes, which are padded, scaled, moved, sheared and drowned in noise
// until 40 points are left. No file is read.
//
// As the published code (github.com/greydanus/mnist1d, data.py and transform.py) has it: the templates and their
// normalisation; 36 to 60 zeros appended; stretched linearly to 72 points; factor 1 + 0.4 (u - 1/2); turned round by 0
// to 47 points; where the signal is 0, noise of standard deviation 0.25 smoothed by a Gaussian of 2 points (cut off at
// 8, mirrored at the ends); noise of 0.02 everywhere; minus 0.75 (u - 1/2) times a line from -1/2 to 1/2; 40 points by
// linear interpolation; 4000 training and 1000 test examples, as many of each class.
// Not as there: the random numbers are hylab's, so no signal is one of the published file; mean and standard deviation
// of all values, by which they are normalised, are those of 800,000 values that the published code gave, not those of
// the set at hand; examples may be fresh for ever; values are cut off at 4 standard deviations and put into `levels`
// equal steps.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/task/seq_impl.h"

enum { CLASSES = 10, TEMPLATE = 12, PAD_LEAST = 36, PAD_MOST = 60, LONG = TEMPLATE + PAD_MOST, TURN = 48, POINTS = 40 };
enum { SMOOTH = 2, REACH = 4 * SMOOTH };  // of the Gaussian, in points
#define MEAN_OF_ALL -0.00609
#define SD_OF_ALL 0.15494
#define CUT 4.0  // in standard deviations

typedef struct {
    hy_seq_options seq;
    int permute;
    int64_t permute_seed;
} mnist1d_options;

static const hy_field mnist1d_fields[] = {
    HY_SEQ_TOKENS(mnist1d_options, "64"),
    {"train_examples", HY_F_INT, offsetof(mnist1d_options, seq.train_examples), 0, "4000", 0, 1e9, NULL,
     "size of the fixed training set; 0: fresh examples for ever"},
    {"test_examples", HY_F_INT, offsetof(mnist1d_options, seq.test_examples), 0, "1000", 1, 1e9, NULL,
     "evaluation examples, and tuning examples"},
    {"permute", HY_F_BOOL, offsetof(mnist1d_options, permute), 0, "false", 0, 0, NULL,
     "all signals have their points in one other order (the published code's shuffle_seq)"},
    {"permute_seed", HY_F_LONG, offsetof(mnist1d_options, permute_seed), 0, "1", 0, 9e15, NULL, "seed of that order"},
    HY_FIELD_END,
};

typedef struct {
    double shape[CLASSES][TEMPLATE];
    double smooth[2 * REACH + 1];
    int32_t *from;  // [POINTS] or NULL
} mnist1d_data;

static const double strokes[CLASSES][TEMPLATE] = {
    {5, 6, 6.5, 6.75, 7, 7, 7, 7, 6.75, 6.5, 6, 5},     {5, 3, 3, 3.4, 3.8, 4.2, 4.6, 5, 5.4, 5.8, 5, 5},
    {5, 6, 6.5, 6.5, 6, 5.25, 4.75, 4, 3.5, 3.5, 4, 5}, {5, 6, 6.5, 6.5, 6, 5, 5, 6, 6.5, 6.5, 6, 5},
    {5, 4.4, 3.8, 3.2, 2.6, 2.6, 5, 5, 5, 5, 5, 5},     {5, 3, 3, 3, 3, 5, 6, 6.5, 6.5, 6, 4.5, 5},
    {5, 4, 3.5, 3.25, 3, 3, 3, 3, 3.25, 3.5, 4, 5},     {5, 7, 7, 6.6, 6.2, 5.8, 5.4, 5, 4.6, 4.2, 5, 5},
    {5, 4, 3.5, 3.5, 4, 5, 5, 4, 3.5, 3.5, 4, 5},       {5, 4, 3.5, 3.5, 4, 5, 5, 5, 5, 4.7, 4.3, 5},
};

// Mean 0 and standard deviation 1/6, then moved so that it begins (and nearly ends) at 0.
static void shapes_make(mnist1d_data *d) {
    for (int c = 0; c < CLASSES; c++) {
        double mean = 0, var = 0;
        for (int i = 0; i < TEMPLATE; i++) mean += strokes[c][i] / TEMPLATE;
        for (int i = 0; i < TEMPLATE; i++) var += (strokes[c][i] - mean) * (strokes[c][i] - mean) / TEMPLATE;
        for (int i = 0; i < TEMPLATE; i++) d->shape[c][i] = (strokes[c][i] - strokes[c][0]) / sqrt(var) / 6;
    }
    double sum = 0;
    for (int k = -REACH; k <= REACH; k++) sum += d->smooth[k + REACH] = exp(-0.5 * k * k / (SMOOTH * SMOOTH));
    for (int k = 0; k <= 2 * REACH; k++) d->smooth[k] /= sum;
}

// The curve through n points at m places from its first to its last point.
static void stretch(const double *x, int n, int m, double *out) {
    for (int j = 0; j < m; j++) {
        const double at = (double)j * (n - 1) / (m - 1);
        const int i = at < n - 2 ? (int)at : n - 2;
        out[j] = x[i] + (x[i + 1] - x[i]) * (at - i);
    }
}

static double smoothed(const mnist1d_data *d, const double *noise, int at) {
    double sum = 0;
    for (int k = -REACH; k <= REACH; k++) {
        int i = at + k;  // the ends are mirrors: .. 1 0 0 1 ..
        if (i < 0) i = -1 - i;
        if (i >= LONG) i = 2 * LONG - 1 - i;
        sum += d->smooth[k + REACH] * noise[i];
    }
    return sum;
}

static void signal_draw(const mnist1d_data *d, int label, hy_rng *r, double out[POINTS]) {
    double x[LONG] = {0}, dilated[LONG], noise[LONG], white[LONG];
    // a stroke's own zeros are not taken for padding
    for (int i = 0; i < TEMPLATE; i++) x[i] = d->shape[label][i] + 1e-8;
    stretch(x, TEMPLATE + PAD_LEAST + (int)hy_rng_below(r, PAD_MOST - PAD_LEAST + 1), LONG, dilated);
    const double factor = 1 + 0.4 * (hy_rng_uniform(r) - 0.5);
    const int turn = (int)hy_rng_below(r, TURN);
    for (int i = 0; i < LONG; i++) x[(i + turn) % LONG] = factor * dilated[i];
    hy_rng_normals(r, LONG, noise);
    hy_rng_normals(r, LONG, white);
    const double tilt = 0.75 * (hy_rng_uniform(r) - 0.5);
    for (int i = 0; i < LONG; i++) {
        const double v = x[i] != 0 ? x[i] : 0.25 * smoothed(d, noise, i);
        dilated[i] = v + 0.02 * white[i] - tilt * ((double)i / (LONG - 1) - 0.5);
    }
    stretch(dilated, LONG, POINTS, out);
}

static hy_status mnist1d_setup(hy_task *t) {
    const mnist1d_options *o = t->options;
    mnist1d_data *d = t->data = hy_xcalloc(1, sizeof *d);
    shapes_make(d);
    if (o->permute) d->from = hy_seq_order(POINTS, o->permute_seed);
    const int T = hy_seq_length(&o->seq, POINTS);
    for (int s = 0; s <= HY_SPLIT_EVAL; s++) {
        hy_cell c = {.T = T, .x = T, .y = NAN, .weight = 1};
        c.count = s == HY_SPLIT_TRAIN ? o->seq.train_examples : o->seq.test_examples;
        const int64_t commonest = (c.count + CLASSES - 1) / CLASSES;  // classes take turns
        if (o->seq.target == HY_SEQ_LABEL) c.chance = c.count ? (double)commonest / (double)c.count : 1.0 / CLASSES;
        HY_TRY(hy_task_cell_add(t, (hy_split)s, c, "T%d", T));
    }
    t->vocab = hy_seq_vocab(&o->seq, CLASSES);
    return HY_OK;
}

static void mnist1d_release(hy_task *t) {
    mnist1d_data *d = t->data;
    if (d) free(d->from);
    free(d);
}

static hy_status mnist1d_example(const hy_task *t, hy_split s, int cell, int64_t index, hy_rng *r, int32_t *ids,
                                 int32_t *labels) {
    (void)s, (void)cell;
    const mnist1d_options *o = t->options;
    const mnist1d_data *d = t->data;
    const int label = (int)(index % CLASSES);
    double x[POINTS];
    uint8_t values[POINTS];
    signal_draw(d, label, r, x);
    for (int i = 0; i < POINTS; i++) {
        const double z = (x[i] - MEAN_OF_ALL) / SD_OF_ALL, level = floor((z + CUT) / (2 * CUT) * o->seq.levels);
        values[i] = (uint8_t)(level < 0 ? 0 : level > o->seq.levels - 1 ? o->seq.levels - 1 : level);
    }
    hy_seq_tokens(&o->seq, POINTS, values, d->from, label, ids, labels);
    return HY_OK;
}

static const char *mnist1d_piece(const hy_task *t, int32_t id) {
    static const char *const pieces[] = {"?",       "class 0", "class 1", "class 2", "class 3", "class 4",
                                         "class 5", "class 6", "class 7", "class 8", "class 9"};
    const int levels = ((const mnist1d_options *)t->options)->seq.levels;
    return id < levels || id >= t->vocab ? NULL : pieces[id - levels];
}

static void mnist1d_picture(const hy_task *t, const int32_t *ids, const int32_t *labels, hy_buf *out) {
    const mnist1d_options *o = t->options;
    int32_t *v = hy_seq_values(&o->seq, POINTS, ((const mnist1d_data *)t->data)->from, ids, labels);
    hy_seq_draw_curve(v, POINTS, o->seq.levels, out);
    free(v);
}

const hy_task_kind_def hy_task_mnist1d = {
    .name = "mnist1d",
    .about = "MNIST-1D: class of a noisy signal of 40 points, made by its published recipe, or each next point",
    .fields = mnist1d_fields,
    .options_size = sizeof(mnist1d_options),
    .setup = mnist1d_setup,
    .example = mnist1d_example,
    .release = mnist1d_release,
    .piece = mnist1d_piece,
    .picture = mnist1d_picture,
};
