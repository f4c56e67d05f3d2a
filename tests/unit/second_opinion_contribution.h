// second_opinion_contribution.h - contributions of positions once more, from the values of plain_model.h: what stands
// between heads and out projection is what came out of it over what went in.
#ifndef HY_SECOND_OPINION_CONTRIBUTION_H
#define HY_SECOND_OPINION_CONTRIBUTION_H
#include "tests/unit/second_opinion_maps.h"
#include "tests/unit/second_opinion_score.h"

enum { FEW = 40, KINDS_OF_SIZES = 3 };
typedef struct {
    double v[KINDS_OF_SIZES][FEW][FEW];  // of attention, SSM, both: [row, position]
} plain_sizes;

static inline bool is_contribution(const char *metric) { return !strncmp(metric, "contribution_", 13); }

// Adds W (what reaches the out projection of what `raw` is made of) of one kind of heads: parts [C] of raw [C] at row
// i.
typedef struct {
    const double *W, *entering;  // [d, in] from its first column on; [C] of this row
    int in, C;
    double by, *raw;  // [C]
} plain_way;

static inline plain_way way_of(const plain_run *r, int layer, int kind) {
    const hy_layer_spec *l = &r->m->layers[layer];
    const plain_layer *o = &r->layer[layer];
    const bool second = l->mixer == (kind ? HY_MIXER_ATTENTION_SSM : HY_MIXER_SSM_ATTENTION);
    const bool sum = l->mixer == HY_MIXER_PARALLEL && l->fusion == HY_FUSION_SUM;
    const int na = l->heads * l->d_v, C = kind ? l->d_inner : na;
    const bool beside = l->mixer == HY_MIXER_PARALLEL && l->fusion == HY_FUSION_CONCAT;
    char name[64];
    snprintf(name, sizeof name, "layers.%d.%s%sout_proj", layer, second ? "second." : "",
             !sum   ? ""
             : kind ? "ssm_"
                    : "attn_");
    plain_way w = {.W = plain_get(r->w, "", name), .in = beside ? na + l->d_inner : C, .C = C, .by = 1};
    if (beside && kind) w.W += na;
    w.entering = l->mixer == HY_MIXER_PARALLEL ? o->part[kind] : kind ? o->s : o->a;
    if (l->mixer != HY_MIXER_PARALLEL) w.by = kind ? r->m->multipliers.ssm_out : r->m->multipliers.attention_out;
    return w;
}

// What row i of one kind has of position j before all that stands between, [C].
static inline void raw_part(const plain_run *r, int layer, int kind, int i, int j, const double *weights, double *out) {
    const hy_layer_spec *l = &r->m->layers[layer];
    const plain_layer *o = &r->layer[layer];
    if (!kind) {
        for (int h = 0; h < l->heads; h++)
            for (int c = 0; c < l->d_v; c++)
                out[h * l->d_v + c] =
                    weights[h * r->S + j] *
                    r->layer[l->kv_source].v[(j * l->kv_heads + h * l->kv_heads / l->heads) * l->d_v + c];
        return;
    }
    char skip[48];
    const bool second = l->mixer == HY_MIXER_ATTENTION_SSM;
    snprintf(skip, sizeof skip, "layers.%d.%sD", layer, second ? "second." : "");
    const double *D = plain_get(r->w, "", skip);
    for (int c = 0; c < l->d_inner; c++) {
        const int u = c / (l->d_inner / o->units);
        out[c] = (weights[u * r->S + j] + (i == j ? D[u] : 0)) * o->x[j * l->d_inner + c];
    }
}

// The vectors of row i of one kind, [i + 1, d].
static inline void plain_vectors(const plain_run *r, int layer, int kind, int i, double *out) {
    const plain_way w = way_of(r, layer, kind);
    const int d = r->m->d_model, units = kind ? r->layer[layer].units : r->m->layers[layer].heads;
    double *weights = hy_xcalloc((size_t)units * (size_t)r->S, sizeof *weights);
    double *part = hy_xcalloc((size_t)(i + 2) * (size_t)w.C, sizeof *part), *all = part + (i + 1) * w.C;
    for (int u = 0; u < units; u++) (kind ? plain_alpha_row : plain_attention_row)(r, layer, u, i, weights + u * r->S);
    for (int j = 0; j <= i; j++) {
        raw_part(r, layer, kind, i, j, weights, part + j * w.C);
        for (int c = 0; c < w.C; c++) all[c] += part[j * w.C + c];
    }
    for (int j = 0; j <= i; j++)
        for (int o = 0; o < d; o++) {
            double sum = 0;
            for (int c = 0; c < w.C; c++)
                sum += w.W[o * w.in + c] * w.by * w.entering[i * w.C + c] / all[c] * part[j * w.C + c];
            out[j * d + o] = sum;
        }
    free(weights), free(part);
}

static inline const plain_sizes *sizes_of(const plain_run *r, int layer, int end) {
    enum { KEPT = 8 };
    static plain_sizes kept[KEPT];
    static char keys[KEPT][96];
    static int next;
    char key[96];
    const double told_by = r->logits[r->S * r->m->vocab - 1];  // of the last position: it has seen all
    snprintf(key, sizeof key, "%s %.17g %d %d", r->m->name, told_by, layer, end);
    for (int k = 0; k < KEPT; k++)
        if (!strcmp(keys[k], key)) return &kept[k];
    const hy_layer_spec *l = &r->m->layers[layer];
    const int d = r->m->d_model;
    plain_sizes *s = &kept[next];
    assert_true(end <= FEW);
    snprintf(keys[next++ % KEPT], sizeof key, "%s", key);
    next %= KEPT;
    memset(s, 0, sizeof *s);
    double *v[2] = {hy_xcalloc((size_t)(FEW * d), sizeof(double)), hy_xcalloc((size_t)(FEW * d), sizeof(double))};
    for (int i = 0; i < end; i++) {
        if (l->heads) plain_vectors(r, layer, 0, i, v[0]);
        if (l->d_inner) plain_vectors(r, layer, 1, i, v[1]);
        for (int j = 0; j <= i; j++) {
            double sum[KINDS_OF_SIZES] = {0};
            for (int c = 0; c < d; c++) {
                const double a = v[0][j * d + c], b = v[1][j * d + c];
                sum[0] += a * a, sum[1] += b * b, sum[2] += (a + b) * (a + b);
            }
            for (int k = 0; k < KINDS_OF_SIZES; k++) s->v[k][i][j] = sqrt(sum[k]);
        }
    }
    free(v[0]), free(v[1]);
    return s;
}

static inline int kind_of_sizes(const char *kind) {
    return !strcmp(kind, "attention") ? 0 : !strcmp(kind, "ssm") ? 1 : 2;
}

static inline double contribution_of(const figure *f, const plain_run *r, int end) {
    const plain_sizes *s = sizes_of(r, layer_of(f), end);
    const int kind = kind_of_sizes(f->kind), M = r->m->meta_tokens, T = end - M,
              asked = option_int(f->options, "rows", T);
    const int rows = asked < T ? asked : T;
    double mean = 0, total[2] = {0};
    for (int k = 0; k < rows; k++) {
        const int i = end - 1 - (int)floor((double)k * T / rows);
        const double *a = s->v[kind][i];
        double all = 0, part = 0;
        for (int j = 0; j <= i; j++) all += a[j], total[0] += s->v[0][i][j], total[1] += s->v[1][i][j];
        for (int j = 0; j <= i; j++) {
            const bool meta = j < M, self = j == i && !meta, bos = j == M && !self;
            if (!strcmp(f->metric, "contribution_distance")) part += a[j] * (i - j);
            if (!strcmp(f->metric, "contribution_meta") && meta) part += a[j];
            if (!strcmp(f->metric, "contribution_bos") && bos) part += a[j];
            if (!strcmp(f->metric, "contribution_self") && self) part += a[j];
            if (!strcmp(f->metric, "contribution_cross") && !meta && !self && !bos) part += a[j];
        }
        mean += part / all / rows;
    }
    return strcmp(f->metric, "contribution_share") ? mean : total[kind] / (total[0] + total[1]);
}

// A stored map [S, S]: mean sizes, NaN where nothing may come from.
static inline void check_sizes(const subject *s, const char *name, const char *options, const float *v, int n) {
    int layer;
    char kind[16];
    assert_int_equal(sscanf(name, "contribution.layer%d.%15s", &layer, kind), 2);
    const int cell = option_int(options, "cell", 0), most = option_int(options, "examples", 1), k = kind_of_sizes(kind);
    const int M = s->spec->meta_tokens, T = s->examples[cell][0].T, max = option_int(options, "max_len", 256);
    const int S = M + (T < max ? T : max);
    assert_int_equal(n, S * S);
    for (int i = 0; i < S; i++)
        for (int j = 0; j < S; j++) {
            const bool sees = k ? j <= i : plain_sees(i, j, s->spec->layers[layer].window, M);
            double mean = 0;
            for (int e = 0; e < most; e++) mean += sizes_of(&s->examples[cell][e].run, layer, S)->v[k][i][j] / most;
            if (!close_to((double)v[i * S + j], sees ? mean : NAN, 2e-4, 1e-6))
                fail_msg("%s of %s, [%d, %d]: %g, wanted %g", name, s->variant, i, j, (double)v[i * S + j], mean);
        }
}
#endif
