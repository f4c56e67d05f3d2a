// api_model.c - see hylab_api.h: models, what they compute, and every value on the way.
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/model/device.h"
#include "python/capi/api_impl.h"
#include "results/identity.h"

// ---------------------------------------------------------------------------------------------------- opening
static hy_status open_model(const char *path, const char *const *sets, uint64_t seed, int threads, const char *isa,
                            const char *weights, const char *precision, hylab_model *m) {
    hy_weights how;
    if (!path || !*path)
        return hy_error(HY_EINPUT, "no model: a path to a variant, a checkpoint or a folder is wanted");
    if (threads < 0 || threads > 4096) return hy_error(HY_EINPUT, "threads %d: 0 (all cores) to 4096", threads);
    if (hy_weights_parse(weights, &how))
        return hy_error(HY_EINPUT, "weights %s: there are auto, f32 and bf16", weights);
    HY_TRY(hy_precision_parse(precision, &m->precision));
    const hy_device cpu = {"cpu", -1};
    HY_TRY(hy_device_open(&cpu, isa ? isa : "auto", threads, &m->be));
    HY_TRY(hy_precision_set(m->precision, &m->be));
    m->path = hy_xstrdup(path);
    return hy_model_open(path, sets, &m->be, how, m->precision, seed, &m->model);
}

hylab_status hylab_model_open(const char *path, const char *const *sets, uint64_t seed, int threads, const char *isa,
                              const char *weights, const char *precision, hylab_model **out) {
    hy_api_begin();
    *out = NULL;
    hylab_model *m = hy_xcalloc(1, sizeof *m);
    const hy_status s = open_model(path, sets, seed, threads, isa, weights, precision, m);
    if (s)
        hylab_model_close(m);
    else
        *out = m;
    return hy_api_end(s);
}

void hylab_model_close(hylab_model *m) {
    if (!m) return;
    hy_model_close(&m->model);
    free(m->path);
    free(m);
}

// ---------------------------------------------------------------------------------------------------- facts
static void leaf(void *user, const char *path, const char *value) { hy_json_set_string(user, path, value); }

static hy_json *parameters(const hy_program *p, const hy_params *w) {
    hy_json *list = hy_json_new_array();
    for (int i = 0; i < p->n_params; i++) {
        hy_json *j = hy_json_new_object(), *shape = hy_json_new_array();
        for (int k = 0; k < p->params[i].ndim; k++) hy_json_add(shape, hy_json_new_int(p->params[i].shape[k]));
        hy_json_set_string(j, "name", p->params[i].name);
        hy_json_set(j, "shape", shape);
        hy_json_set_string(j, "type", hy_params_dtype(w, i) == HY_BF16 ? "bf16" : "f32");
        hy_json_add(list, j);
    }
    return list;
}

// All that the body makes; logits have their own function.
static bool is_shown(const hy_program *p, int v) { return p->values[v].rows == HY_ROWS_TOKENS; }

static hy_json *values(const hy_program *p) {
    hy_json *list = hy_json_new_array();
    for (int i = 0; i < p->n_values; i++) {
        if (!is_shown(p, i)) continue;
        hy_json *j = hy_json_new_object();
        hy_json_set_string(j, "name", p->values[i].name);
        hy_json_set_int(j, "width", p->values[i].width);
        hy_json_add(list, j);
    }
    return list;
}

static hy_json *heads(const hy_model_spec *spec) {
    hy_json *list = hy_json_new_array();
    for (int i = 0; i < spec->n_layers; i++) {
        const hy_layer_spec *l = &spec->layers[i];
        hy_json *j = hy_json_new_object();
        hy_json_set_int(j, "attention", hy_layer_has_attention(l) ? l->heads : 0);
        hy_json_set_int(j, "ssm", hy_layer_ssm_units(l));
        hy_json_set_int(j, "window", l->window);
        hy_json_set_int(j, "kv_source", l->kv_source);
        hy_json_add(list, j);
    }
    return list;
}

char *hylab_model_facts(const hylab_model *m) {
    const hy_model_spec *spec = &m->model.p->spec;
    hy_json *j = hy_json_new_object(), *of = hy_json_new_object();
    char *text = hy_model_spec_text(spec);
    hy_canonical_leaves(text, leaf, of);
    hy_json_set_string(j, "name", spec->name);
    hy_json_set_string(j, "path", m->path);
    hy_json_set_bool(j, "trained", m->model.trained);
    hy_json_set_string(j, "notes", m->model.notes ? m->model.notes : "");
    hy_json_set_int(j, "vocab", spec->vocab);
    hy_json_set_int(j, "d_model", spec->d_model);
    hy_json_set_int(j, "layers", spec->n_layers);
    hy_json_set_int(j, "meta_tokens", spec->meta_tokens);
    hy_json_set_int(j, "threads", m->be.threads);
    hy_json_set_string(j, "isa", hy_isa_name(m->be.isa));
    hy_json_set_string(j, "precision", hy_precision_name(m->precision));
    hy_json_set(j, "spec", of);
    hy_json_set_string(j, "spec_text", text);
    hy_json_set(j, "parameters", parameters(m->model.p, m->model.w));
    hy_json_set(j, "values", values(m->model.p));
    hy_json_set(j, "heads", heads(spec));
    free(text);
    return hy_api_json_text(j);
}

hylab_status hylab_parameter(const hylab_model *m, int i, float *out) {
    hy_api_begin();
    if (i < 0 || i >= m->model.p->n_params)
        return hy_api_end(hy_error(HY_EINPUT, "there is no parameter %d, the model has %d", i, m->model.p->n_params));
    return hy_api_end(hy_params_get(m->model.w, i, false, out));
}

// ---------------------------------------------------------------------------------------------------- sequences
hy_status hy_api_check_ids(const hylab_model *m, int B, int T, const int32_t *ids) {
    const hy_model_spec *spec = &m->model.p->spec;
    if (B < 1 || T < 1) return hy_error(HY_EINPUT, "%d sequences of %d tokens: at least one of each is needed", B, T);
    if ((double)B * ((double)T + spec->meta_tokens) > INT_MAX / 2)
        return hy_error(HY_EINPUT, "%d sequences of %d tokens are too many for one call", B, T);
    for (size_t i = 0; i < (size_t)B * (size_t)T; i++)
        if (ids[i] < 0 || ids[i] >= spec->vocab)
            return hy_error(HY_EINPUT, "ids[%zu] is %d: %s has tokens 0 to %d", i, (int)ids[i], spec->name,
                            spec->vocab - 1);
    return hy_model_check_length(spec, T);
}

// A pass over whole sequences, which ends when it is interrupted.
typedef struct {
    hylab_model *m;
    int B, T, S;
    int32_t *ids, *labels, *rows;  // with meta tokens; NULL: not wanted
    hy_exec *e;
    // of hylab_values
    const hy_program *p;
    float **to;  // [n_values] NULL: not wanted
    int missing;
} pass;

static bool wants(void *user, const char *name) {
    const pass *a = user;
    if (hy_interrupted) return true;
    const hy_val v = a->to ? hy_program_find(a->p, name) : HY_NOVAL;
    return v != HY_NOVAL && a->to[v];
}
static hy_status got(void *user, const char *name, const float *data, int rows, int width) {
    pass *a = user;
    if (hy_interrupted) return hy_error(HY_EINTR, "interrupted at %s", name);
    memcpy(a->to[hy_program_find(a->p, name)], data, (size_t)rows * (size_t)width * sizeof *data);
    a->missing--;
    return HY_OK;
}

static hy_status open_pass(hylab_model *m, int B, int T, const int32_t *ids, const int32_t *labels, bool logits,
                           pass *a) {
    *a = (pass){.m = m, .B = B, .T = T, .S = T + m->model.p->spec.meta_tokens, .p = m->model.p};
    HY_TRY(hy_api_check_ids(m, B, T, ids));
    const size_t n = (size_t)B * (size_t)a->S;
    a->ids = hy_alloc(n * sizeof *a->ids);
    if (labels) a->labels = hy_alloc(n * sizeof *a->labels);
    if (logits) a->rows = hy_alloc((size_t)B * (size_t)T * sizeof *a->rows);
    if (!a->ids || (labels && !a->labels) || (logits && !a->rows)) return HY_ENOMEM;
    hy_ids_with_meta(B, T, a->S - T, ids, 0, a->ids);
    if (labels) hy_ids_with_meta(B, T, a->S - T, labels, HY_IGNORE, a->labels);
    for (int b = 0; logits && b < B; b++)
        for (int t = 0; t < T; t++) a->rows[(size_t)b * (size_t)T + (size_t)t] = b * a->S + a->S - T + t;
    return hy_exec_create(m->model.p, &m->be, m->model.w->compute, HY_EXEC_INFER, B, a->S, logits ? B * T : 0, &a->e);
}

static hy_status run_pass(pass *a, unsigned head) {
    const hy_batch b = {.B = a->B,
                        .T = a->S,
                        .ids = a->ids,
                        .labels = a->labels,
                        .out_rows = a->rows,
                        .n_out = a->rows ? a->B * a->T : 0};
    const hy_probe probe = {wants, got, a};
    return hy_exec_forward(a->e, a->m->model.w, &b, NULL, head, &probe);
}

static void close_pass(pass *a) {
    hy_exec_free(a->e);
    free(a->ids), free(a->labels), free(a->rows), free(a->to);
}

static hy_status check_finite(const pass *a, const float *v, size_t n, size_t width, const char *what) {
    for (size_t i = 0; i < n; i++)
        if (!isfinite(v[i])) {
            const size_t at = i / width;
            return hy_error(HY_EDIVERGED,
                            "%s of sequence %zu at position %zu is not a finite number: the weights of %s hold NaN or "
                            "infinity, or are too large; activations tell where it begins",
                            what, at / (size_t)a->T, at % (size_t)a->T, a->p->spec.name);
        }
    return HY_OK;
}

static hy_status logits(hylab_model *m, int B, int T, const int32_t *ids, float *out, pass *a) {
    HY_TRY(open_pass(m, B, T, ids, NULL, true, a));
    HY_TRY(run_pass(a, HY_HEAD_LOGITS));
    const float *found = hy_exec_logits(a->e);
    const size_t V = (size_t)a->p->spec.vocab, n = (size_t)B * (size_t)T * V;
    if (!found) return HY_EFAIL;
    HY_TRY(check_finite(a, found, n, V, "a logit"));
    memcpy(out, found, n * sizeof *out);
    return HY_OK;
}

hylab_status hylab_logits(hylab_model *m, int B, int T, const int32_t *ids, float *out) {
    pass a;
    hy_api_begin();
    const hy_status s = logits(m, B, T, ids, out, &a);
    close_pass(&a);
    return hy_api_end(s);
}

// The label of a position: as given, or the next token.
static hy_status check_labels(const hylab_model *m, int B, int T, const int32_t *ids, const int32_t *labels,
                              int32_t **out) {
    const size_t n = (size_t)B * (size_t)T;
    HY_TRY(hy_api_check_ids(m, B, T, ids));
    if (!(*out = hy_alloc(n * sizeof **out))) return HY_ENOMEM;
    for (size_t i = 0; i < n; i++) {
        (*out)[i] = labels ? labels[i] : (i + 1) % (size_t)T ? ids[i + 1] : HY_IGNORE;
        if ((*out)[i] >= m->model.p->spec.vocab)
            return hy_error(HY_EINPUT, "labels[%zu] is %d: %s has tokens 0 to %d", i, (int)(*out)[i],
                            m->model.p->spec.name, m->model.p->spec.vocab - 1);
    }
    return HY_OK;
}

static hy_status loss(hylab_model *m, int B, int T, const int32_t *ids, const int32_t *labels, float *nll,
                      int32_t *predicted, pass *a) {
    HY_TRY(open_pass(m, B, T, ids, labels, false, a));
    HY_TRY(run_pass(a, HY_HEAD_LOSS));
    const float *found = hy_exec_nll(a->e);
    const int32_t *pred = hy_exec_pred(a->e);
    if (!found || !pred) return HY_EFAIL;
    for (int b = 0; b < B; b++) {
        const size_t from = (size_t)b * (size_t)a->S + (size_t)(a->S - T), to = (size_t)b * (size_t)T;
        memcpy(nll + to, found + from, (size_t)T * sizeof *nll);
        if (predicted) memcpy(predicted + to, pred + from, (size_t)T * sizeof *predicted);
    }
    return check_finite(a, nll, (size_t)B * (size_t)T, 1, "the loss");
}

hylab_status hylab_loss(hylab_model *m, int B, int T, const int32_t *ids, const int32_t *labels, float *nll,
                        int32_t *predicted) {
    pass a = {0};
    int32_t *wanted = NULL;
    hy_api_begin();
    hy_status s = check_labels(m, B, T, ids, labels, &wanted);
    if (!s) s = loss(m, B, T, ids, wanted, nll, predicted, &a);
    close_pass(&a);
    free(wanted);
    return hy_api_end(s);
}

static hy_status take_values(hylab_model *m, int B, int T, const int32_t *ids, int n, const int *which,
                             float *const *out, pass *a) {
    const hy_program *p = m->model.p;
    HY_TRY(open_pass(m, B, T, ids, NULL, false, a));
    int *place = hy_xcalloc((size_t)p->n_values, sizeof *place), shown = 0;
    for (int v = 0; v < p->n_values; v++)
        if (is_shown(p, v)) place[shown++] = v;
    a->to = hy_xcalloc((size_t)p->n_values, sizeof *a->to);
    hy_status s = HY_OK;
    for (int i = 0; i < n && !s; i++) {
        if (which[i] < 0 || which[i] >= shown)
            s = hy_error(HY_EINPUT, "there is no value %d, the model has %d", which[i], shown);
        else if (a->to[place[which[i]]])
            s = hy_error(HY_EINPUT, "value %s is asked for twice", p->values[place[which[i]]].name);
        else
            a->to[place[which[i]]] = out[i];
    }
    free(place);
    a->missing = n;
    if (!s) s = run_pass(a, 0);
    if (!s && a->missing) s = hy_error(HY_EFAIL, "%d values were not made: this is a mistake of hylab", a->missing);
    return s;
}

hylab_status hylab_values(hylab_model *m, int B, int T, const int32_t *ids, int n, const int *which,
                          float *const *out) {
    pass a;
    hy_api_begin();
    const hy_status s = take_values(m, B, T, ids, n, which, out, &a);
    close_pass(&a);
    return hy_api_end(s);
}
