// baseline.c - what plain classifiers get on a task with classes (images, speech, mnist1d), read and split as hylab
// reads and splits it, so that accuracies of sequence models mean something: multinomial logistic regression on the
// values, and a small convolutional net. Build: make build/release/bench/baseline.
//
// Values are scaled to mean 0 and standard deviation 1 over the training set. Adam (0.9, 0.999), batches of 32, a fixed
// number of passes, each in an order of its own; what counts is the pass that was best on the tuning examples (the last
// one where there are none). Everything is in double precision on one core; seeds draw weights and order.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/format/table.h"
#include "core/task/task.h"
#include "experiments/cli/args.h"
#include "experiments/cli/task_arg.h"

enum { BATCH = 32, LAYERS = 3 };  // convolutions and the last, dense layer

// ---------------------------------------------------------------------------------------------------- data
typedef struct {
    int len, classes, height, width, channels;
    int64_t n[HY_SPLITS];
    double *x[HY_SPLITS];  // [n, len]
    int *y[HY_SPLITS];
} data;

static void data_free(data *d) {
    for (int s = 0; s < HY_SPLITS; s++) free(d->x[s]), free(d->y[s]);
}

// A square of grey pixels, of three colours, or a row.
static void shape_guess(data *d, const char *kind) {
    d->height = 1, d->width = d->len, d->channels = 1;
    for (int c = 1; c <= 3 && !strcmp(kind, "images"); c += 2)
        for (int side = 2; side * side * c <= d->len; side++)
            if (side * side * c == d->len) d->height = d->width = side, d->channels = c;
}

static hy_status split_load(const hy_task *t, hy_split s, data *d) {
    const hy_cell *c = hy_task_cell(t, s, 0);
    if (!c->count) return hy_error(HY_EINPUT, "a finite training set is wanted: set train_examples");
    d->n[s] = c->count, d->len = c->T - 1;
    d->x[s] = hy_xcalloc((size_t)c->count * (size_t)d->len, sizeof(double));
    d->y[s] = hy_xcalloc((size_t)c->count, sizeof(int));
    int32_t *ids = hy_xcalloc(2 * (size_t)c->T, sizeof *ids), *labels = ids + c->T;
    hy_status st = HY_OK;
    for (int64_t i = 0; i < c->count && !st; i++) {
        st = hy_task_example(t, s, 0, i, ids, labels);
        const int query = ids[d->len];  // the token behind the levels
        for (int p = 0; p < d->len; p++) d->x[s][i * d->len + p] = ids[p];
        if (!st && labels[d->len] <= query)
            st = hy_error(HY_EINPUT, "target: a class at the end of each example is wanted");
        d->y[s][i] = labels[d->len] - query - 1;
        d->classes = hy_task_vocab(t) - query - 1;
    }
    free(ids);
    return st;
}

static hy_status data_load(const hy_task *t, data *d) {
    for (int s = 0; s < HY_SPLITS; s++)
        if (hy_task_cells(t, (hy_split)s)) HY_TRY(split_load(t, (hy_split)s, d));
    shape_guess(d, hy_task_kind(t));
    const int64_t n = d->n[0] * d->len;
    double sum = 0, sum2 = 0;
    for (int64_t i = 0; i < n; i++) sum += d->x[0][i], sum2 += d->x[0][i] * d->x[0][i];
    const double mean = sum / (double)n, var = sum2 / (double)n - mean * mean, scale = var > 0 ? 1 / sqrt(var) : 1;
    for (int s = 0; s < HY_SPLITS; s++)
        for (int64_t i = 0; i < d->n[s] * d->len; i++) d->x[s][i] = (d->x[s][i] - mean) * scale;
    return HY_OK;
}

// ---------------------------------------------------------------------------------------------------- the net
// A convolution over [h, w, c] with kernels of kh x kw x c, stride s, zeros around; then rectified but for the last
// layer, whose kernel is all of its input: a dense layer.
typedef struct {
    int h, w, c, oh, ow, oc, kh, kw, s, pad_h, pad_w;
    int64_t at;  // of its weights [kh, kw, c, oc] and biases [oc] in the parameters
} layer;

typedef struct {
    int layers;
    layer l[LAYERS];
    int64_t n;                        // parameters
    double *p, *g, *m, *v;            // [n] and their gradients, Adam's means
    double *out[LAYERS], *d[LAYERS];  // values and gradients of each layer
} net;

static int64_t out_size(const layer *l) { return (int64_t)l->oh * l->ow * l->oc; }

static void add_layer(net *n, int kh, int kw, int s, int oc, const data *d) {
    const layer *before = n->layers ? &n->l[n->layers - 1] : NULL;
    layer *l = &n->l[n->layers++];
    l->h = before ? before->oh : d->height, l->w = before ? before->ow : d->width,
    l->c = before ? before->oc : d->channels;
    l->kh = kh ? kh : l->h, l->kw = kw ? kw : l->w, l->s = s, l->oc = oc;
    l->pad_h = kh ? l->kh / 2 : 0, l->pad_w = kw ? l->kw / 2 : 0;
    l->oh = (l->h + 2 * l->pad_h - l->kh) / s + 1, l->ow = (l->w + 2 * l->pad_w - l->kw) / s + 1;
    l->at = n->n;
    n->n += (int64_t)l->kh * l->kw * l->c * oc + oc;
}

// linear: the dense layer alone. conv: two convolutions before it, 16 and 32 channels: of 3 x 3 over images, of 5 over
// short rows and 9 over long ones; stride 2 (long rows: 4), but 1 in the first layer where a side is at most 8.
static void net_make(net *n, bool conv, const data *d) {
    const bool row = d->height == 1, lengthy = row && d->width > 256;
    const int kw = !row ? 3 : lengthy ? 9 : 5, kh = row ? 1 : 3, s = lengthy ? 4 : 2;
    if (conv) {
        add_layer(n, kh, kw, !row && d->width <= 8 ? 1 : s, 16, d);
        add_layer(n, kh, kw, s, 32, d);
    }
    add_layer(n, 0, 0, 1, d->classes, d);
    n->p = hy_xcalloc(4 * (size_t)n->n, sizeof(double));
    n->g = n->p + n->n, n->m = n->g + n->n, n->v = n->m + n->n;
    for (int i = 0; i < n->layers; i++) {
        n->out[i] = hy_xcalloc(2 * (size_t)out_size(&n->l[i]), sizeof(double));
        n->d[i] = n->out[i] + out_size(&n->l[i]);
    }
}

static void net_free(net *n) {
    for (int i = 0; i < n->layers; i++) free(n->out[i]);
    free(n->p);
}

// He's initial weights; zero where a single layer has no need of any.
static void net_init(net *n, uint64_t seed) {
    memset(n->p, 0, 4 * (size_t)n->n * sizeof(double));
    for (int i = 0; i < n->layers && n->layers > 1; i++) {
        const layer *l = &n->l[i];
        const int64_t fan = (int64_t)l->kh * l->kw * l->c;
        hy_rng r = hy_rng_make(seed, (uint64_t)i);
        for (int64_t k = 0; k < fan * l->oc; k++) n->p[l->at + k] = hy_rng_normal(&r) * sqrt(2.0 / (double)fan);
    }
}

// One place of a layer forward (back false) or backward: dx may be NULL.
static void place(const layer *l, const double *p, double *g, const double *x, double *dx, double *y, const double *dy,
                  int oy, int ox, bool back) {
    for (int ky = 0; ky < l->kh; ky++)
        for (int kx = 0; kx < l->kw; kx++) {
            const int iy = oy * l->s + ky - l->pad_h, ix = ox * l->s + kx - l->pad_w;
            if (iy < 0 || iy >= l->h || ix < 0 || ix >= l->w) continue;
            for (int c = 0; c < l->c; c++) {
                const int64_t in = ((int64_t)iy * l->w + ix) * l->c + c;
                const int64_t row = l->at + (((int64_t)ky * l->kw + kx) * l->c + c) * l->oc;
                const double v = x[in];
                if (!back) {
                    for (int o = 0; o < l->oc; o++) y[o] += p[row + o] * v;
                    continue;
                }
                double sum = 0;
                for (int o = 0; o < l->oc; o++) g[row + o] += dy[o] * v, sum += dy[o] * p[row + o];
                if (dx) dx[in] += sum;
            }
        }
}

static void forward(net *n, const double *x) {
    for (int i = 0; i < n->layers; i++, x = n->out[i - 1]) {
        const layer *l = &n->l[i];
        const double *bias = n->p + l->at + (int64_t)l->kh * l->kw * l->c * l->oc;
        for (int at = 0; at < l->oh * l->ow; at++) {
            double *y = n->out[i] + (int64_t)at * l->oc;
            memcpy(y, bias, (size_t)l->oc * sizeof *y);
            place(l, n->p, NULL, x, NULL, y, NULL, at / l->ow, at % l->ow, false);
            for (int o = 0; o < l->oc && i + 1 < n->layers; o++) y[o] = y[o] > 0 ? y[o] : 0;
        }
    }
}

// Adds the gradient of one example's loss, of which the layers' values are at hand; n->d of the last layer is set.
static void backward(net *n, const double *x) {
    for (int i = n->layers - 1; i >= 0; i--) {
        const layer *l = &n->l[i];
        const double *in = i ? n->out[i - 1] : x;
        double *bias = n->g + l->at + (int64_t)l->kh * l->kw * l->c * l->oc, *dx = i ? n->d[i - 1] : NULL;
        if (dx) memset(dx, 0, (size_t)out_size(&n->l[i - 1]) * sizeof *dx);
        for (int at = 0; at < l->oh * l->ow; at++) {
            const double *dy = n->d[i] + (int64_t)at * l->oc;
            for (int o = 0; o < l->oc; o++) bias[o] += dy[o];
            place(l, n->p, n->g, in, dx, NULL, dy, at / l->ow, at % l->ow, true);
        }
        for (int64_t k = 0; dx && k < out_size(&n->l[i - 1]); k++)
            if (!(in[k] > 0)) dx[k] = 0;
    }
}

// Cross-entropy of one example; its gradient goes into the last layer's d. *best: the class that is named.
static double loss_of(net *n, int classes, int label, int *best) {
    const double *y = n->out[n->layers - 1];
    double *d = n->d[n->layers - 1], sum = 0;
    *best = 0;
    for (int c = 0; c < classes; c++)
        if (y[c] > y[*best]) *best = c;
    for (int c = 0; c < classes; c++) sum += d[c] = exp(y[c] - y[*best]);
    for (int c = 0; c < classes; c++) d[c] = d[c] / sum - (c == label);
    return log(sum) - (y[label] - y[*best]);
}

// ---------------------------------------------------------------------------------------------------- training
static double accuracy(net *n, const data *d, hy_split s) {
    int64_t right = 0;
    for (int64_t i = 0; i < d->n[s]; i++) {
        int best;
        forward(n, d->x[s] + i * d->len);
        loss_of(n, d->classes, d->y[s][i], &best);
        right += best == d->y[s][i];
    }
    return d->n[s] ? (double)right / (double)d->n[s] : NAN;
}

static void adam(net *n, int64_t step, double lr, int examples) {
    const double a = 1 - pow(0.9, (double)step), b = 1 - pow(0.999, (double)step);
    for (int64_t i = 0; i < n->n; i++) {
        const double g = n->g[i] / examples;
        n->m[i] = 0.9 * n->m[i] + 0.1 * g;
        n->v[i] = 0.999 * n->v[i] + 0.001 * g * g;
        n->p[i] -= lr * n->m[i] / a / (sqrt(n->v[i] / b) + 1e-8);
        n->g[i] = 0;
    }
}

// Accuracy in evaluation of the pass that was best in tuning; *pass tells which.
static double train(net *n, const data *d, int passes, double lr, uint64_t seed, int *pass) {
    double best = -1, result = 0;
    int64_t step = 0, *order = hy_xcalloc((size_t)d->n[0], sizeof *order);
    net_init(n, seed);
    for (int64_t i = 0; i < d->n[0]; i++) order[i] = i;
    for (int e = 1; e <= passes; e++) {
        hy_rng r = hy_rng_make(seed, 1000 + (uint64_t)e);
        for (int64_t i = d->n[0] - 1; i > 0; i--) {
            const int64_t with = (int64_t)hy_rng_below(&r, (uint64_t)i + 1), kept = order[i];
            order[i] = order[with], order[with] = kept;
        }
        for (int64_t i = 0; i < d->n[0]; i++) {
            int named;
            forward(n, d->x[0] + order[i] * d->len);
            loss_of(n, d->classes, d->y[0][order[i]], &named);
            backward(n, d->x[0] + order[i] * d->len);
            if (i % BATCH == BATCH - 1 || i == d->n[0] - 1) adam(n, ++step, lr, (int)(i % BATCH) + 1);
        }
        const double tuned = d->n[HY_SPLIT_TUNE] ? accuracy(n, d, HY_SPLIT_TUNE) : e;
        if (tuned > best) best = tuned, *pass = e, result = accuracy(n, d, HY_SPLIT_EVAL);
    }
    free(order);
    return result;
}

// The largest difference between the gradient of a few examples' loss and finite differences of it, relative to the
// largest gradient.
static double gradient_error(net *n, const data *d) {
    const double step = 1e-5;
    double worst = 0, largest = 0;
    int named;
    net_init(n, 7);
    hy_rng r = hy_rng_make(7, 99);
    for (int64_t k = 0; k < n->n; k++) n->p[k] += 0.02 * hy_rng_normal(&r);  // also of what begins at 0
    for (int i = 0; i < 3 && i < d->n[0]; i++) {
        forward(n, d->x[0] + (int64_t)i * d->len);
        loss_of(n, d->classes, d->y[0][i], &named);
        backward(n, d->x[0] + (int64_t)i * d->len);
    }
    for (int k = 0; k < 200; k++) {
        const int64_t at = (int64_t)hy_rng_below(&r, (uint64_t)n->n);
        const double kept = n->p[at];
        double change = 0;
        for (int sign = -1; sign <= 1; sign += 2) {
            n->p[at] = kept + sign * step;
            for (int i = 0; i < 3 && i < d->n[0]; i++) {
                forward(n, d->x[0] + (int64_t)i * d->len);
                change += sign * loss_of(n, d->classes, d->y[0][i], &named);
            }
        }
        n->p[at] = kept;
        worst = fmax(worst, fabs(change / (2 * step) - n->g[at]));
        largest = fmax(largest, fabs(n->g[at]));
    }
    return worst / largest;
}

// ---------------------------------------------------------------------------------------------------- the program
static hy_status measure(const data *d, int seeds, int passes, hy_table *t) {
    for (int conv = 0; conv < 2; conv++) {
        net n = {0};
        double *v = hy_xcalloc((size_t)seeds, sizeof *v);
        int pass = 0;
        net_make(&n, conv, d);
        for (int s = 0; s < seeds; s++) v[s] = 100 * train(&n, d, passes, conv ? 1e-3 : 3e-3, (uint64_t)s + 1, &pass);
        double mean = 0, var = 0;
        for (int s = 0; s < seeds; s++) mean += v[s] / seeds;
        for (int s = 0; s < seeds; s++) var += (v[s] - mean) * (v[s] - mean) / (seeds > 1 ? seeds - 1 : 1);
        hy_table_row(t);
        hy_table_text(t, "%s", conv ? "convolutions" : "linear");
        hy_table_int(t, n.n);
        hy_table_int(t, seeds);
        hy_table_num(t, mean, 2);
        hy_table_num(t, seeds > 1 ? sqrt(var) : NAN, 2);
        hy_table_int(t, pass);
        free(v);
        net_free(&n);
    }
    return HY_OK;
}

static hy_status check(const data *d) {
    for (int conv = 0; conv < 2; conv++) {
        net n = {0};
        net_make(&n, conv, d);
        const double error = gradient_error(&n, d);
        net_free(&n);
        printf("%s: gradient against finite differences, largest relative error %.2g\n",
               conv ? "convolutions" : "linear", error);
        if (!(error < 1e-5)) return hy_error(HY_EFAIL, "the gradient is wrong");
    }
    return HY_OK;
}

int main(int argc, char **argv) {
    const char *kind = "mnist1d";
    hy_arg_list sets = {0}, rest = {0};
    int seeds = 5, passes = 40;
    bool help = false, only_check = false;
    hy_table_format format = HY_TABLE_TEXT;
    const hy_arg args[] = {
        {"--task", "KIND", HY_ARG_TEXT, &kind, 0, "images, speech or mnist1d (mnist1d)"},
        {"--task-set", "NAME=VALUE", HY_ARG_LIST, &sets, 0, "sets a field of the task; may be given many times"},
        {"--seeds", "N", HY_ARG_INT, &seeds, 1, "trainings of each (5)"},
        {"--passes", "N", HY_ARG_INT, &passes, 1, "passes over the training set (40)"},
        {"--check", NULL, HY_ARG_FLAG, &only_check, 0, "compares gradients with finite differences, trains nothing"},
        {"--format", HY_TABLE_FORMATS, HY_ARG_FORMAT, &format, 0, "how to print"},
        {0},
    };
    const hy_args a = {.usage = "baseline [options]",
                       .text =
                           "Accuracy of logistic regression and of a small convolutional net on a task with classes.",
                       .args = args};
    hy_task *task = NULL;
    data d = {0};
    hy_status s = hy_args_read(&a, argc, argv, &rest, &help);
    if (!s && !help) s = hy_task_from_args(kind, &sets, 1, &task);
    if (!s && !help) s = data_load(task, &d);
    if (!s && !help && only_check) s = check(&d);
    if (!s && !help && !only_check) {
        hy_table *t = hy_table_new(NULL);
        hy_table_column(t, "model", NULL, NULL, HY_LEFT);
        hy_table_column(t, "parameters", NULL, NULL, HY_RIGHT);
        hy_table_column(t, "seeds", NULL, NULL, HY_RIGHT);
        hy_table_column(t, "accuracy", NULL, "%", HY_RIGHT);
        hy_table_column(t, "accuracy_sd", "s.d.", "%", HY_RIGHT);
        hy_table_column(t, "pass", "best pass", NULL, HY_RIGHT);
        hy_table_note(t,
                      "%lld training, %lld tuning, %lld evaluation examples of %d values, %d classes; who always names "
                      "the commonest class is right in %.2f %%",
                      (long long)d.n[HY_SPLIT_TRAIN], (long long)d.n[HY_SPLIT_TUNE], (long long)d.n[HY_SPLIT_EVAL],
                      d.len, d.classes, 100 * hy_task_cell(task, HY_SPLIT_EVAL, 0)->chance);
        s = measure(&d, seeds, passes, t);
        if (!s) s = hy_table_print(t, format, stdout);
        hy_table_free(t);
    }
    data_free(&d);
    hy_task_close(task);
    free(sets.v), free(rest.v);
    return hy_command_end("baseline", s);
}
