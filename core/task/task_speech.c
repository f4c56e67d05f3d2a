// task_speech.c - recordings as sequences of their samples, eight bits each, and a label at the end: language, word,
// speaker, whatever the folders or the manifest say. `path` is
//   a folder whose folders are the labels (en/hello.wav, fr/hello.wav), split by share of groups, or by
//     testing_list.txt and validation_list.txt as Speech Commands has them, or
//   a CSV file with the columns path, label and perhaps split and group (paths beside it).
// No group is in two splits: what is heard in evaluation was never trained on.
//
// A recording is cut into windows of `samples` that stand end to end; what is left at its end counts no further, and a
// recording shorter than one window is filled up with silence. Before that `decimate` samples become their mean, which
// is a plain low-pass of that length: something of the upper half of what is left folds back.
//
// Levels: mu-law with mu = levels - 1, F(x) = sgn(x) ln(1 + mu |x|) / ln(1 + mu), level = floor((F(x) + 1) / 2 mu +
// 1/2), as of 256 levels in WaveNet and in SC09; or linear.
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/task/seq_impl.h"

typedef struct {
    hy_seq_options seq;
    char path[PATH_MAX];
    int samples, decimate, windows, encoding;
    double quiet;
} speech_options;

enum { MU_LAW = 0, LINEAR = 1, WAV_MOST = 1 << 28 };  // bytes of one recording: four hours of a telephone

static const hy_field speech_fields[] = {
    {"path", HY_F_STRING, offsetof(speech_options, path), PATH_MAX, "\"\"", 0, 0, NULL,
     "a folder whose folders are labels with .wav files (PCM, 8 or 16 bits), or a CSV file: "
     "path,label[,split][,group]"},
    HY_SEQ_TOKENS(speech_options, "256"),
    {"encoding", HY_F_ENUM, offsetof(speech_options, encoding), 0, "mu-law", 0, 0, "mu-law|linear",
     "of a sample in levels; mu is levels - 1"},
    {"samples", HY_F_INT, offsetof(speech_options, samples), 0, "1024", 1, HY_TASK_MAX_LEN - 1, NULL,
     "samples of an example, after decimation"},
    {"decimate", HY_F_INT, offsetof(speech_options, decimate), 0, "1", 1, 1024, NULL,
     "so many samples become one, their mean; the rate is divided by it"},
    {"windows", HY_F_INT, offsetof(speech_options, windows), 0, "all", 1, 1e9, "all",
     "windows of a recording at most, from its beginning"},
    {"quiet", HY_F_DOUBLE, offsetof(speech_options, quiet), 0, "0", 0, 1, NULL,
     "windows whose root mean square is below that share of the full range are left out"},
    HY_SEQ_SPLITS(speech_options),
    HY_FIELD_END,
};

// ---------------------------------------------------------------------------------------------------- the list
static hy_status list_read(const char *path, hy_seq *d, hy_clips *c) {
    if (!path[0]) return hy_error(HY_EINPUT, "path: name a folder with recordings, or a CSV file that lists them");
    if (hy_is_folder(path)) return hy_clips_folder(c, path);
    char *text = NULL;
    size_t n = 0;
    HY_TRY(hy_file_read(path, HY_SEQ_MAX_BYTES, &text, &n));
    const hy_status s = hy_clips_manifest(c, path, text, n);
    if (!s) hy_seq_hash(d, "manifest", text, n);
    free(text);
    return s;
}

// The different ones of n texts, sorted: pointers to them. Caller frees.
static char **different(const hy_clips *c, bool groups, int64_t *n) {
    char **v = hy_xcalloc((size_t)c->n, sizeof *v);
    int64_t kept = 0;
    for (int64_t i = 0; i < c->n; i++) v[i] = groups ? c->v[i].group : c->v[i].label;
    qsort(v, (size_t)c->n, sizeof *v, hy_by_text);
    for (int64_t i = 0; i < c->n; i++)
        if (!kept || strcmp(v[kept - 1], v[i])) v[kept++] = v[i];
    *n = kept;
    return v;
}

static int64_t number_of(char *const *v, int64_t n, const char *text) {
    char *const *at = bsearch(&text, v, (size_t)n, sizeof *v, hy_by_text);
    return at - v;
}

static hy_status classes_make(hy_seq *d, const char *path, char **labels, int64_t n) {
    if (n > HY_SEQ_MAX_CLASSES)
        return hy_error(HY_EINPUT, "%s: %lld labels; at most %d are read", path, (long long)n, HY_SEQ_MAX_CLASSES);
    d->classes = (int)n;
    d->names = hy_xcalloc((size_t)n, sizeof *d->names);
    for (int64_t i = 0; i < n; i++) d->names[i] = hy_xstrdup(labels[i]);
    return HY_OK;
}

// Where the list itself says who is in which split, a group must not be in two.
static hy_status groups_check(const hy_clips *c, const char *path, char *const *groups, int64_t n) {
    uint8_t *split = hy_xcalloc((size_t)n + 1, 1);
    hy_status s = HY_OK;
    memset(split, HY_SPLITS, (size_t)n + 1);
    for (int64_t i = 0; i < c->n && !s; i++) {
        if (!c->v[i].group[0]) continue;
        const uint8_t own = c->v[i].split == HY_SEQ_ANY ? HY_SPLIT_TRAIN : c->v[i].split;
        uint8_t *seen = &split[number_of(groups, n, c->v[i].group)];
        if (*seen != HY_SPLITS && *seen != own)
            s = hy_error(HY_EINPUT,
                         "%s: group \"%s\" is in two splits, %s and %s: what is evaluated would be trained on", path,
                         c->v[i].group, hy_split_name((hy_split)*seen), hy_split_name((hy_split)own));
        *seen = own;
    }
    free(split);
    return s;
}

// ---------------------------------------------------------------------------------------------------- samples
static uint8_t level_of(double x, int levels, int encoding) {
    if (encoding == LINEAR) {
        const double at = floor((x + 1) / 2 * levels);
        return (uint8_t)(at > levels - 1 ? levels - 1 : at);
    }
    const double mu = levels - 1, f = copysign(log1p(mu * fabs(x)) / log1p(mu), x);
    return (uint8_t)floor((f + 1) / 2 * mu + 0.5);
}

// In place: means of k samples, the rest left out.
static void decimate(hy_wav *w, int k) {
    if (k == 1) return;
    w->n /= k;
    for (int64_t i = 0; i < w->n; i++) {
        double sum = 0;
        for (int j = 0; j < k; j++) sum += (double)w->v[i * k + j];
        w->v[i] = (float)(sum / k);
    }
}

static bool is_quiet(const float *v, int64_t n, int samples, double least) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += (double)v[i] * (double)v[i];
    return sqrt(sum / samples) < least;
}

static hy_status windows_add(hy_seq *d, const speech_options *o, const hy_clip *clip, const hy_wav *w, int label,
                             int64_t group) {
    int64_t n = w->n / o->samples;
    if (n < 1) n = 1;
    if (o->windows && n > o->windows) n = o->windows;
    HY_TRY(hy_seq_room(d, clip->path, n, o->samples));
    for (int64_t k = 0; k < n; k++) {
        const float *v = w->v + k * o->samples;
        const int64_t there = w->n - k * o->samples < o->samples ? w->n - k * o->samples : o->samples;
        if (is_quiet(v, there, o->samples, o->quiet)) continue;
        uint8_t *out = d->values + (size_t)d->n * (size_t)d->len;
        for (int i = 0; i < o->samples; i++)
            out[i] = level_of(i < there ? (double)v[i] : 0, o->seq.levels, o->encoding);
        d->label[d->n] = label;
        d->split[d->n] = clip->split;
        d->group[d->n++] = group;
    }
    return HY_OK;
}

static hy_status clip_add(hy_seq *d, const speech_options *o, const hy_clip *clip, int *rate, int label,
                          int64_t group) {
    char *data = NULL;
    size_t n = 0;
    hy_wav w = {0};
    HY_TRY(hy_file_read(clip->path, WAV_MOST, &data, &n));
    hy_status s = hy_wav_read(clip->path, data, n, &w);
    if (!s && *rate && *rate != w.rate)
        s = hy_error(HY_EINPUT, "%s: %d samples a second, the recordings before it have %d: convert them to one rate",
                     clip->path, w.rate, *rate);
    if (!s) {
        hy_seq_hash(d, clip->group, &clip->split, 1);  // which part it is for may stand in lists beside it
        hy_seq_hash(d, clip->label, data, n);
        *rate = w.rate;
        decimate(&w, o->decimate);
        s = windows_add(d, o, clip, &w, label, group);
    }
    free(w.v), free(data);
    return s;
}

static hy_status clips_read(hy_seq *d, const speech_options *o, const hy_clips *c) {
    int64_t n_labels, n_groups;
    char **labels = different(c, false, &n_labels), **groups = different(c, true, &n_groups);
    int rate = 0;
    hy_status s = classes_make(d, o->path, labels, n_labels);
    if (!s) s = groups_check(c, o->path, groups, n_groups);
    for (int64_t i = 0; i < c->n && !s; i++) {
        const hy_clip *clip = &c->v[i];  // a recording without a group is one of its own, behind the named ones
        const int64_t group = clip->group[0] ? number_of(groups, n_groups, clip->group) : n_groups + i;
        s = clip_add(d, o, clip, &rate, (int)number_of(labels, n_labels, clip->label), group);
        if (!s && hy_interrupted) s = hy_error(HY_EINTR, "interrupted");
    }
    if (!s && !d->n) s = hy_error(HY_EINPUT, "quiet: %g leaves no window of %s", o->quiet, o->path);
    free(labels), free(groups);
    return s;
}

static hy_status speech_setup(hy_task *t) {
    speech_options *o = t->options;
    hy_seq *d = t->data = hy_xcalloc(1, sizeof *d);
    hy_clips c = {0};
    hy_task_at_home(o->path);
    hy_status s = list_read(o->path, d, &c);
    if (!s) s = clips_read(d, o, &c);
    hy_clips_free(&c);
    return s ? s : hy_seq_finish(t, d, &o->seq, o->path);
}

static void speech_picture(const hy_task *t, const int32_t *ids, const int32_t *labels, hy_buf *out) {
    const speech_options *o = t->options;
    int32_t *v = hy_seq_values(&o->seq, o->samples, NULL, ids, labels);
    hy_seq_draw_curve(v, o->samples, o->seq.levels, out);
    free(v);
}

const hy_task_kind_def hy_task_speech = {
    .name = "speech",
    .about = "label of a recording (language, word, speaker) from its samples (WAV files), or each next sample",
    .of_data = true,
    .fields = speech_fields,
    .options_size = sizeof(speech_options),
    .setup = speech_setup,
    .example = hy_seq_example,
    .release = hy_seq_release,
    .text = hy_seq_identity,
    .piece = hy_seq_piece,
    .picture = speech_picture,
};
