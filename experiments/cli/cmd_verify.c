// cmd_verify.c - `hylab verify DIR`: a released checkpoint folder with expected outputs; the relative error of every
// tensor.
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/format/gguf.h"
#include "core/task/task.h"
#include "experiments/cli/args.h"
#include "experiments/cli/commands.h"
#include "core/family/model_file.h"
#include "experiments/cli/device_arg.h"
#include "core/base/plural.h"

// Largest relative errors, ||out - expected|| / ||expected||, of outputs and of gradients, which pass through every
// layer twice. The expected tensors are float32 results of another program.
static const struct {
    const char *name, *why;
    double forward, gradient;
} limits[] = {
    {"f64", "a forward in double differs from the expected float32 by up to 3e-7, their rounding", 1e-6, 1e-5},
    {"f32", "adds its own rounding of 6e-8 a value, which grows with depth", 1e-5, 1e-4},
    {"tf32",
     "both factors of a product are cut to 11 bits, by 4.9e-4 or, by hardware that does not round, twice that, at "
     "random in every layer",
     5e-3, 5e-2},
    {"bf16",
     "every activation and matrix is rounded by up to 3.9e-3 (8 bits), at random, some ten times a layer: some 20 "
     "times what tf32 does, "
     "where sums cancel, as in gradients of dt and A_log, no less than elsewhere",
     4e-2, 3e-1},
};

typedef struct {
    const char *dir, *dtype, *device, *isa, *weights, *precision, *limit;
    int threads;
    hy_table_format format;
} options;

typedef struct {
    const options *o;
    hy_import *import;
    hy_import_map map;
    hy_program *prog;
    hy_backend be;
    hy_params *w;
    char *path;  // kernels in use
    hy_st *expected;
    hy_table *table;
    int B, T;         // of input_ids, meta tokens not counted
    int32_t *ids;     // [B, m+T]
    int32_t *labels;  // [B, m+T] the next token; ignored at meta positions and at the last one
    int32_t *rows;    // [B*T] the text positions
    bool *seen;       // [n_layers+1] hidden states that the program showed
    int limit;        // index into limits
    double given;     // with --limit; 0: that of the table
    int checked, failed;
    bool gradients;  // expected and, with weights in float32, possible
} verify;

// Of a limit that is given gradients get ten times as much, about as in the table.
static double limit(const verify *v, bool grad) {
    if (v->given > 0) return grad ? 10 * v->given : v->given;
    return grad ? limits[v->limit].gradient : limits[v->limit].forward;
}

// ---------------------------------------------------------------------------------------------------- comparing
// NaN or infinity anywhere gives NaN, which passes no limit; so does infinity, where zeros alone are expected and
// others come.
static hy_status relative_error(const hy_st_tensor *t, const float *out, double *error) {
    double *ref = hy_alloc(t->n * sizeof *ref), diff = 0, norm = 0;
    if (!ref) return HY_ENOMEM;
    hy_st_read_f64(t, 0, t->n, ref);
    for (size_t i = 0; i < t->n; i++) {
        diff += (out[i] - ref[i]) * (out[i] - ref[i]);
        norm += ref[i] * ref[i];
    }
    free(ref);
    *error = diff == 0 ? 0 : !isfinite(diff) ? NAN : sqrt(diff) / sqrt(norm);
    return HY_OK;
}

static void report(verify *v, const char *name, int ndim, const int64_t *shape, double error, double max,
                   const char *problem) {
    char text[192];
    hy_st_shape_text(ndim, shape, text, sizeof text);
    const bool pass = !problem && error <= max;
    v->checked++;
    v->failed += !pass;
    hy_table_row(v->table);
    hy_table_text(v->table, "%s", name);
    hy_table_text(v->table, "%s", text);
    if (problem)
        hy_table_empty(v->table);
    else
        hy_table_num(v->table, error, -3);
    hy_table_num(v->table, max, -1);
    hy_table_text(v->table, "%s", pass ? "PASS" : "FAIL");
    hy_table_text(v->table, "%s",
                  problem           ? problem
                  : isinf(error)    ? "only zeros are expected"
                  : isfinite(error) ? ""
                                    : "not a finite number");
}

// Compares `out` with the expected tensor of that name and shape and adds a line; a missing or mis-shaped one fails.
static hy_status compare(verify *v, const char *name, int ndim, const int64_t *shape, const float *out, double max) {
    const hy_st_tensor *t;
    double error = 0;
    if (hy_st_expect(v->expected, name, ndim, shape, &t)) {
        report(v, name, ndim, shape, 0, max,
               hy_st_find(v->expected, name) ? "of another shape in the file" : "missing in the file");
        return HY_OK;
    }
    HY_TRY(relative_error(t, out, &error));
    report(v, name, ndim, shape, error, max, NULL);
    return HY_OK;
}

// ---------------------------------------------------------------------------------------------------- set-up
static hy_status read_ids(verify *v) {
    const hy_st_tensor *t = hy_st_find(v->expected, "input_ids");
    const hy_model_spec *m = &v->prog->spec;
    if (!t || t->ndim != 2 || t->n == 0)
        return hy_error(HY_EINPUT, "%s: tensor \"input_ids\" [sequences, tokens] is %s", hy_st_path(v->expected),
                        t ? "of another shape" : "missing");
    if (t->n > (1 << 28) || t->shape[1] < 2)
        return hy_error(HY_EINPUT, "%s: \"input_ids\" must hold 2 .. 2^28 tokens a sequence", hy_st_path(v->expected));
    int64_t *wide = hy_alloc(t->n * sizeof *wide);
    if (!wide) return HY_ENOMEM;
    v->B = (int)t->shape[0];
    v->T = (int)t->shape[1];
    const size_t all = (size_t)v->B * (size_t)(v->T + m->meta_tokens);
    int32_t *text = hy_xcalloc(t->n, sizeof *text), *next = hy_xcalloc(t->n, sizeof *next);
    v->ids = hy_xcalloc(all, sizeof *v->ids);
    v->labels = hy_xcalloc(all, sizeof *v->labels);
    v->rows = hy_xcalloc(t->n, sizeof *v->rows);
    hy_status s = hy_st_read_i64(t, 0, t->n, wide);
    for (size_t i = 0; i < t->n && !s; i++) {
        if (wide[i] < 0 || wide[i] >= m->vocab)
            s = hy_error(HY_EINPUT, "%s: \"input_ids\": token %" PRId64 " is outside the vocabulary 0 .. %d",
                         hy_st_path(v->expected), wide[i], m->vocab - 1);
        else
            text[i] = (int32_t)wide[i];
        next[i] = (int)(i % (size_t)v->T) == v->T - 1 ? HY_IGNORE : (int32_t)wide[i + 1];
        v->rows[i] = (int)(i / (size_t)v->T) * (v->T + m->meta_tokens) + m->meta_tokens + (int)(i % (size_t)v->T);
    }
    hy_ids_with_meta(v->B, v->T, m->meta_tokens, text, 0, v->ids);
    hy_ids_with_meta(v->B, v->T, m->meta_tokens, next, HY_IGNORE, v->labels);
    free(wide);
    free(text);
    free(next);
    return s;
}

// Does the file hold tensors whose names begin so?
static bool has_some(const hy_st *st, const char *begin) {
    for (int i = 0; i < hy_st_count(st); i++)
        if (!strncmp(hy_st_at(st, i)->name, begin, strlen(begin))) return true;
    return false;
}
static bool has_gradients(const hy_st *st) { return has_some(st, "grad."); }

// Gradients need float32 weights, and double takes the weights as double.
static hy_status read_weights(verify *v, hy_dtype dt, hy_precision precision) {
    hy_weights how;
    HY_TRY(hy_weights_parse(v->o->weights, &how));
    if (how == HY_WEIGHTS_AUTO && (dt == HY_F64 || has_gradients(v->expected))) how = HY_WEIGHTS_F32;
    how = hy_weights_in(how, precision);
    HY_TRY(hy_model_build(&v->import->spec, &v->prog));
    HY_TRY(hy_import_map_make(v->import->family, v->prog, &v->map));
    HY_TRY(hy_import_check(v->import, &v->map, NULL));
    hy_weights_apply(how, v->import, &v->map, v->prog);
    v->gradients = has_gradients(v->expected) && !hy_program_keeps_bf16(v->prog);
    HY_TRY(hy_params_create(v->prog, &v->be, dt, &v->w));
    HY_TRY(hy_import_weights(v->import, &v->map, v->w, NULL));
    return v->gradients ? hy_params_want_grad(v->w) : HY_OK;
}

static hy_status read_limit(const char *text, double *out) {
    char *end = NULL;
    if (!text) return HY_OK;
    *out = strtod(text, &end);
    if (end == text || *end || !(*out > 0 && *out <= 1))
        return hy_error(HY_EINPUT, "--limit %s: a relative error above 0, up to 1, is wanted", text);
    return HY_OK;
}

static hy_status set_up(verify *v) {
    const options *o = v->o;
    hy_precision precision;
    HY_TRY(hy_precision_parse(o->precision, &precision));
    const bool f64 = o->dtype && !strcmp(o->dtype, "f64");
    if (o->dtype && !f64 && strcmp(o->dtype, "f32"))
        return hy_error(HY_EINPUT, "--dtype %s: there are f32 and f64", o->dtype);
    if (o->dtype && o->precision && (f64 || precision != HY_PRECISION_F32))
        return hy_error(HY_EINPUT, "--dtype %s and --precision %s: give one of the two", o->dtype, o->precision);
    const hy_dtype dt = f64 ? HY_F64 : hy_precision_dtype(precision);
    v->limit = f64 ? 0 : 1 + (int)precision;
    HY_TRY(read_limit(o->limit, &v->given));
    hy_device device;
    HY_TRY(hy_device_from_args(f64 && !o->device ? "cpu" : o->device, o->isa, &device));
    if (f64 && strcmp(device.kind, "cpu"))
        return hy_error(HY_EINPUT, "--dtype f64 is for --device cpu: a GPU computes in float32 and less");
    HY_TRY(hy_device_open(&device, o->isa, o->threads, &v->be));
    HY_TRY(hy_precision_set(precision, &v->be));
    HY_TRY(hy_import_open(o->dir, &v->import));
    // of a GGUF file: in its folder
    const char *slash = hy_is_gguf(o->dir) ? strrchr(o->dir, '/') : NULL;
    const bool here = hy_is_gguf(o->dir) && !slash;
    char *path = hy_asprintf("%.*s/expected.safetensors",
                             (int)(here    ? 1
                                   : slash ? slash - o->dir
                                           : (ptrdiff_t)strlen(o->dir)),
                             here ? "." : o->dir);
    hy_status s = hy_st_open(path, 0, &v->expected);
    free(path);
    if (!s) s = read_weights(v, dt, precision);
    if (!s) fputs(v->import->notes.s, stderr);  // of a model that is whole without them
    return s ? s : read_ids(v);
}

static void tear_down(verify *v) {
    hy_table_free(v->table);
    free(v->path);
    hy_params_free(v->w);
    hy_import_map_free(&v->map);
    if (v->prog) hy_program_free(v->prog);
    hy_import_close(v->import);
    hy_st_close(v->expected);
    free(v->ids);
    free(v->labels);
    free(v->rows);
    free(v->seen);
}

// ---------------------------------------------------------------------------------------------------- running
// hidden.i is the input of layer i; the last one is what follows the final norm.
static int hidden_index(const verify *v, const char *value) {
    const int L = v->prog->spec.n_layers;
    char name[48];
    if (!strcmp(value, "final_norm")) return L;
    for (int i = 0; i < L; i++) {
        snprintf(name, sizeof name, "layers.%d.input", i);
        if (!strcmp(value, name)) return i;
    }
    return -1;
}

// Hidden states are compared if the file has any; then all of them must be there.
static bool wants(void *user, const char *value) {
    const verify *v = user;
    return hidden_index(user, value) >= 0 && has_some(v->expected, "hidden.");
}

static hy_status got(void *user, const char *value, const float *data, int rows, int width) {
    verify *v = user;
    char name[32];
    snprintf(name, sizeof name, "hidden.%d", hidden_index(v, value));
    v->seen[hidden_index(v, value)] = true;
    return compare(v, name, 3, (int64_t[]){v->B, rows / v->B, width}, data, limit(v, false));
}

// Two runs, as people use them: inference gives hidden states and logits, training gives the loss and the gradients (a
// loss without gradients is inference too).
static hy_status infer(verify *v, hy_exec *e, const hy_batch *b) {
    const hy_model_spec *m = &v->prog->spec;
    const hy_probe probe = {wants, got, v};
    v->seen = hy_xcalloc((size_t)m->n_layers + 1, sizeof *v->seen);
    HY_TRY(hy_exec_forward(e, v->w, b, NULL, HY_HEAD_LOGITS, &probe));
    for (int i = 0; i <= m->n_layers; i++) HY_ASSERT(v->seen[i] || !has_some(v->expected, "hidden."));
    const float *logits = hy_exec_logits(e);
    if (!logits) return HY_EFAIL;
    v->path = hy_xstrdup(hy_exec_path(e));
    return compare(v, "logits", 3, (int64_t[]){v->B, v->T, m->vocab}, logits, limit(v, false));
}

static hy_status loss(verify *v, hy_exec *e, const hy_batch *b) {
    const double labels = (double)v->B * (v->T - 1);
    HY_TRY(hy_exec_forward(e, v->w, b, NULL, HY_HEAD_LOSS, NULL));
    if (v->gradients) HY_TRY(hy_exec_backward(e, v->w, 1.0 / labels, NULL));
    const float mean = (float)(hy_exec_nll_sum(e) / labels);
    const hy_st_tensor *t = hy_st_find(v->expected, "loss");
    if (!t) return HY_OK;
    return compare(v, "loss", t->ndim == 0 ? 0 : 1, (int64_t[]){1}, &mean, limit(v, false));  // a scalar, or [1]
}

static hy_status run_model(verify *v) {
    const hy_batch b = {.B = v->B,
                        .T = v->T + v->prog->spec.meta_tokens,
                        .ids = v->ids,
                        .labels = v->labels,
                        .out_rows = v->rows,
                        .n_out = v->B * v->T};
    const int passes = v->gradients || hy_st_find(v->expected, "loss") ? 2 : 1;
    hy_status s = HY_OK;
    for (int pass = 0; pass < passes && !s; pass++) {
        hy_exec *e;
        s = hy_exec_create(v->prog, &v->be, v->w->compute, pass && v->gradients ? HY_EXEC_TRAIN : HY_EXEC_INFER, b.B,
                           b.T, pass ? 0 : b.n_out, &e);
        if (!s) s = pass ? loss(v, e, &b) : infer(v, e, &b);
        hy_exec_free(e);
    }
    return s;
}

static hy_status compare_gradient(verify *v, const hy_st_tensor *t) {
    const hy_import_tensor *r = hy_import_map_find(&v->map, t->name + strlen("grad."));
    if (!r) {
        report(v, t->name, t->ndim, t->shape, 0, limit(v, true), "the model has no such tensor");
        return HY_OK;
    }
    float *grad = hy_alloc(r->elems * sizeof *grad);
    if (!grad) return HY_ENOMEM;
    hy_status s = hy_import_gather(&v->map, r, v->w, true, grad);
    if (!s) s = compare(v, t->name, r->theirs.ndim, r->theirs.shape, grad, limit(v, true));
    free(grad);
    return s;
}

// Every tensor of the file is either compared or refused: none is passed over in silence.
static hy_status compare_rest(verify *v) {
    int grads = 0;
    for (int i = 0; i < hy_st_count(v->expected); i++) {
        const hy_st_tensor *t = hy_st_at(v->expected, i);
        int layer, end = 0;
        if (!strncmp(t->name, "grad.", 5)) {
            if (v->gradients) HY_TRY(compare_gradient(v, t));
            grads++;
        } else if (strcmp(t->name, "logits") && strcmp(t->name, "loss") && strcmp(t->name, "input_ids") &&
                   !(sscanf(t->name, "hidden.%d%n", &layer, &end) == 1 && !t->name[end] && layer >= 0 &&
                     layer <= v->prog->spec.n_layers))
            report(v, t->name, t->ndim, t->shape, 0, limit(v, false), "not an output that is known");
    }
    if (!hy_st_find(v->expected, "loss")) hy_table_note(v->table, "the file holds no loss: it is untested");
    if (!has_some(v->expected, "hidden."))
        hy_table_note(v->table, "the file holds no hidden states: they are untested but for the logits");
    if (!grads)
        hy_table_note(v->table, "the file holds no gradients: they are untested");
    else if (!v->gradients)
        hy_table_note(v->table, "%d gradients were not compared: they need weights in float32 (--weights f32)", grads);
    return HY_OK;
}

static hy_status run(const options *o) {
    verify v = {.o = o};
    hy_status s = set_up(&v);
    if (!s) {
        v.table = hy_table_new(NULL);
        hy_table_column(v.table, "tensor", NULL, NULL, HY_LEFT);
        hy_table_column(v.table, "shape", NULL, NULL, HY_LEFT);
        hy_table_column(v.table, "relative_error", "rel. error", NULL, HY_RIGHT);
        hy_table_column(v.table, "limit", NULL, NULL, HY_RIGHT);
        hy_table_column(v.table, "verdict", NULL, NULL, HY_LEFT);
        hy_table_column(v.table, "remark", NULL, NULL, HY_LEFT);
        s = run_model(&v);
    }
    if (!s) s = compare_rest(&v);
    if (!s) {
        hy_table_note(v.table, "%s, %s, %s", limits[v.limit].name, v.be.device, v.path);
        hy_table_note(v.table, "limits: %g, gradients %g: %s", limit(&v, false), limit(&v, true),
                      v.given > 0 ? "given with --limit" : limits[v.limit].why);
        hy_table_note(v.table, "%d of %d tensors agree", v.checked - v.failed, v.checked);
        s = hy_table_print(v.table, o->format, stdout);
    }
    if (!s && v.failed)
        s = hy_error(HY_EFAIL, "%s: %d of %d tensors are missing or differ by more than their limit", o->dir, v.failed,
                     v.checked);
    tear_down(&v);
    return s;
}

int hy_cmd_verify(int argc, char **argv) {
    options o = {.isa = "auto"};
    const hy_arg args[] = {
        {"--precision", HY_PRECISION_NAMES, HY_ARG_TEXT, &o.precision, 0, HY_PRECISION_HELP},
        {"--dtype", "f32|f64", HY_ARG_TEXT, &o.dtype, 0, "f64: in float64 instead, on the CPU"},
        {"--weights", HY_WEIGHTS_NAMES, HY_ARG_TEXT, &o.weights, 0,
         HY_WEIGHTS_HELP "; auto is f32 where gradients are expected"},
        {"--limit", "X", HY_ARG_TEXT, &o.limit, 0,
         "largest relative error that passes, in place of those above; gradients may have ten times it"},
        {"--isa", "NAME", HY_ARG_TEXT, &o.isa, 0,
         "kernels: ref, base, avx2, avx512 or auto, the best of this machine (auto)"},
        {"--threads", "N", HY_ARG_INT, &o.threads, 0, "threads (0: all cores)"},
        {"--device", HY_DEVICE_NAMES, HY_ARG_TEXT, &o.device, 0, HY_DEVICE_HELP},
        {"--format", HY_TABLE_FORMATS, HY_ARG_FORMAT, &o.format, 0, "how to print"},
        {0},
    };
    const hy_args a = {
        .usage = "hylab verify DIR|FILE.gguf [options]",
        .text = "Runs a released checkpoint and compares with expected outputs, tensor by tensor: the 2-norm of the "
                "difference over\n"
                "the 2-norm of the expected tensor. DIR holds config.json, the weights as released and "
                "expected.safetensors (of a GGUF file: in the same folder):\n"
                "  input_ids [B,T]    the tokens\n"
                "  logits             of them; all that follows may be left out and is then untested\n"
                "  loss               the mean next-token cross-entropy in nats, [] or [1]\n"
                "  hidden.0 .. N      the input of layer 0 .. N-1 and what follows the final norm; meta positions "
                "included\n"
                "  grad.NAME          gradient of that loss by tensor NAME of model.safetensors (any number of them)\n"
                "Limits: 1e-5 (gradients 1e-4) in f32, 1e-6 (1e-5) in f64, 5e-3 (5e-2) in tf32, 4e-2 (3e-1) in bf16. "
                "Exit status 1 if a tensor is above, logits are missing, or some hidden states are.\n\n"
                "examples:\n"
                "  hylab verify tests/golden/hymba-tiny\n"
                "  hylab verify tests/golden/hymba-tiny --dtype f64 --isa ref --format csv",
        .args = args,
        .min_rest = 1,
        .max_rest = 1,
    };
    hy_arg_list rest;
    bool help;
    hy_status st = hy_args_read(&a, argc, argv, &rest, &help);
    if (!st && !help) {
        o.dir = rest.v[0];
        st = run(&o);
    }
    free(rest.v);
    return hy_command_end("verify", st);
}
