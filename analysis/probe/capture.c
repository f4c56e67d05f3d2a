// capture.c - see capture.h. Which values a layer's maps need is read off the program's ops, so shared keys, views and
// sequential layers need no cases of their own.
#include "analysis/probe/capture.h"

#include <stdlib.h>
#include <string.h>

#include "analysis/probe/ssm_alpha.h"
#include "core/base/memory.h"

enum { Q, K, V, ATTN_OUT, X, DT, BM, CM, GATE, SSM_OUT, SSM_Y, FUSE_GATE, K_RAW, N_PARTS };

typedef struct {
    hy_val part[N_PARTS];  // HY_NOVAL: the layer has none
    int attn_op, scan_op;  // -1: none
    int missing;           // parts not seen yet in this run
    float *A_log, *skip, *dt_bias;
} layer_need;

struct hy_capture {
    const hy_program *p;
    hy_params *w;
    hy_exec *exec;
    int T, S;
    int32_t *ids;   // [S]
    int32_t *rows;  // [S] all positions, where logits are made; NULL
    const hy_probe *also;
    layer_need *need;  // [n_layers]
    // of one run
    const bool *want;
    int *users;    // [n_values] wanted layers that still need it
    float **held;  // [n_values]
    hy_capture_fn on_layer;
    void *user;
};

// ---------------------------------------------------------------------------------------------------- what is needed
// Which values and ops; parameters are not read.
static void find_values(const hy_program *p, layer_need *need) {
    for (int i = 0; i < p->spec.n_layers; i++) {
        need[i].attn_op = need[i].scan_op = -1;
        for (int k = 0; k < N_PARTS; k++) need[i].part[k] = HY_NOVAL;
    }
    for (int o = 0; o < p->n_ops; o++) {
        const hy_op *op = &p->ops[o];
        if (op->layer < 0) continue;
        layer_need *n = &need[op->layer];
        if (op->kind == HY_OP_GATED_NORM)
            n->part[GATE] = op->in[1], n->part[SSM_Y] = op->in[0], n->part[SSM_OUT] = op->out;
        if (op->kind == HY_OP_FUSE) n->part[FUSE_GATE] = op->in[2];
        if (op->kind != HY_OP_ATTENTION && op->kind != HY_OP_SCAN && op->kind != HY_OP_SSD) continue;
        bool attn = op->kind == HY_OP_ATTENTION;
        for (int k = 0; k < (attn ? 3 : 5); k++) n->part[(attn ? Q : X) + k] = op->in[k];
        n->part[attn ? ATTN_OUT : SSM_OUT] = op->out;
        *(attn ? &n->attn_op : &n->scan_op) = o;
    }
}

static hy_status find_needs(hy_capture *c) {
    find_values(c->p, c->need);
    for (int i = 0; i < c->p->spec.n_layers; i++) {
        layer_need *n = &c->need[i];
        if (n->scan_op < 0) continue;
        const hy_op *op = &c->p->ops[n->scan_op];
        HY_TRY(hy_params_read(c->w, op->par[0], &n->A_log));
        HY_TRY(hy_params_read(c->w, op->par[1], &n->skip));
        HY_TRY(hy_params_read(c->w, op->par[2], &n->dt_bias));
    }
    return HY_OK;
}

void hy_capture_raw_keys(hy_capture *c) {
    for (int i = 0; i < c->p->spec.n_layers; i++) {
        layer_need *n = &c->need[i];
        n->part[K_RAW] = n->part[K];  // without a rotation they are the same
        for (int o = 0; o < c->p->n_ops && n->attn_op >= 0; o++)
            if (c->p->ops[o].kind == HY_OP_ROPE && c->p->ops[o].out == n->part[K]) n->part[K_RAW] = c->p->ops[o].in[0];
    }
}

// Bytes of the parts of the layers in flight at once, of S positions: what a later layer still needs is held till then.
static double held_most(const layer_need *need, const hy_program *p, int S) {
    double most = 0;
    const int L = p->spec.n_layers;
    int *last = hy_xcalloc((size_t)p->n_values, sizeof *last), *first = hy_xcalloc((size_t)p->n_values, sizeof *first);
    for (int v = 0; v < p->n_values; v++) first[v] = last[v] = -1;
    for (int i = 0; i < L; i++)
        for (int k = 0; k < N_PARTS; k++) {
            const hy_val v = need[i].part[k];
            if (v == HY_NOVAL) continue;
            if (first[v] < 0) first[v] = i;
            last[v] = i;
        }
    for (int i = 0; i < L; i++) {
        double now = 0;
        for (int v = 0; v < p->n_values; v++)
            if (first[v] >= 0 && first[v] <= i && last[v] >= i) now += 4.0 * S * p->values[v].width;
        most = now > most ? now : most;
    }
    free(last), free(first);
    return most;
}

hy_status hy_capture_needs(const hy_program *p, const hy_backend *be, hy_dtype dt, int T, bool logits,
                           hy_capture_need *out) {
    const int S = T + p->spec.meta_tokens;
    layer_need *need = hy_xcalloc((size_t)p->spec.n_layers, sizeof *need);
    hy_exec_memory m;
    *out = (hy_capture_need){0};
    hy_status s = hy_exec_memory_plan(p, be, dt, HY_EXEC_INFER, 1, S, logits ? S : 0, &m);
    find_values(p, need);
    double widest = 0, tables = 0;
    for (int v = 0; v < p->n_values; v++)
        if ((logits || v != p->logits) && p->values[v].width > widest) widest = p->values[v].width;
    for (int i = 0; i < p->spec.n_layers; i++) {
        const double states = 2.0 * HY_SSM_BLOCK * p->spec.layers[i].d_state * S * sizeof(double);
        tables = states > tables ? states : tables;
    }
    out->weights = 0;
    for (int i = 0; i < p->n_params; i++)
        out->weights += (double)p->params[i].n * (p->params[i].kept == HY_BF16 ? 2 : 4);
    out->executor = s ? 0 : (double)m.device;
    // the value at hand twice, as it lies on the device and as float32; tiles of rows of maps, five at most
    out->captured =
        held_most(need, p, S) + 2 * 4.0 * S * widest + tables + 5.0 * hy_map_tile_rows(S) * S * sizeof(double);
    free(need);
    return s;
}

hy_status hy_capture_fits(const hy_program *p, const hy_backend *be, int T, const hy_capture_need *n) {
    const double have = hy_memory_physical(), gb = 1e9;
    const bool host = !strcmp(be->name, "cpu");
    const double needs = n->captured + (host ? n->weights + n->executor : 0);
    if (have <= 0 || needs <= have) return HY_OK;
    return hy_error(
        HY_EINPUT,
        "looking into %s on %d tokens needs about %.1f GB (weights %.1f, activations %.1f, what is looked at "
        "%.1f), and this machine has %.1f GB: take fewer tokens",
        p->spec.name, T, needs / gb, host ? n->weights / gb : 0, host ? n->executor / gb : 0, n->captured / gb,
        have / gb);
}

static hy_status open_capture(const hy_program *p, hy_params *w, int T, bool logits, hy_capture **out) {
    *out = NULL;
    if (T < 1) return hy_error(HY_EINPUT, "a map needs at least one token, not %d", T);
    hy_capture *c = hy_xcalloc(1, sizeof *c);
    *c = (hy_capture){.p = p, .w = w, .T = T, .S = T + p->spec.meta_tokens};
    c->ids = hy_xcalloc((size_t)c->S, sizeof *c->ids);
    if (logits) c->rows = hy_xcalloc((size_t)c->S, sizeof *c->rows);
    for (int i = 0; logits && i < c->S; i++) c->rows[i] = i;
    c->need = hy_xcalloc((size_t)p->spec.n_layers, sizeof *c->need);
    c->users = hy_xcalloc((size_t)p->n_values, sizeof *c->users);
    c->held = hy_xcalloc((size_t)p->n_values, sizeof *c->held);
    hy_capture_need n;
    hy_status s = hy_capture_needs(p, w->be, w->compute, T, logits, &n);
    if (!s) s = hy_capture_fits(p, w->be, T, &n);
    if (!s) s = find_needs(c);
    if (!s) s = hy_exec_create(p, w->be, w->compute, HY_EXEC_INFER, 1, c->S, logits ? c->S : 0, &c->exec);
    if (s)
        hy_capture_close(c);
    else
        *out = c;
    return s;
}

hy_status hy_capture_open(const hy_program *p, hy_params *w, int T, hy_capture **out) {
    return open_capture(p, w, T, false, out);
}

hy_status hy_capture_open_logits(const hy_program *p, hy_params *w, int T, hy_capture **out) {
    return open_capture(p, w, T, true, out);
}

void hy_capture_also(hy_capture *c, const hy_probe *also) { c->also = also; }

static void drop_held(hy_capture *c) {
    for (int v = 0; v < c->p->n_values; v++) {
        free(c->held[v]);
        c->held[v] = NULL;
        c->users[v] = 0;
    }
}

void hy_capture_close(hy_capture *c) {
    if (!c) return;
    drop_held(c);
    for (int i = 0; i < c->p->spec.n_layers; i++)
        free(c->need[i].A_log), free(c->need[i].skip), free(c->need[i].dt_bias);
    hy_exec_free(c->exec);
    free(c->ids), free(c->rows), free(c->need), free(c->users), free(c->held);
    free(c);
}

// ---------------------------------------------------------------------------------------------------- one run
static hy_map_values layer_values(const hy_capture *c, int i) {
    const layer_need *n = &c->need[i];
    const float *part[N_PARTS];
    for (int k = 0; k < N_PARTS; k++) part[k] = n->part[k] == HY_NOVAL ? NULL : c->held[n->part[k]];
    hy_map_values v = {.layer = i,
                       .S = c->S,
                       .meta = c->p->spec.meta_tokens,
                       .q = part[Q],
                       .k = part[K],
                       .v = part[V],
                       .attn_out = part[ATTN_OUT],
                       .x = part[X],
                       .dt = part[DT],
                       .Bm = part[BM],
                       .Cm = part[CM],
                       .gate = part[GATE],
                       .ssm_out = part[SSM_OUT],
                       .A_log = n->A_log,
                       .skip = n->skip,
                       .dt_bias = n->dt_bias,
                       .ssm_y = part[SSM_Y],
                       .fuse_gate = part[FUSE_GATE],
                       .k_raw = part[K_RAW]};
    if (v.fuse_gate) v.fuse_groups = c->p->values[n->part[FUSE_GATE]].width;
    if (n->attn_op >= 0) {
        const hy_attention_op *op = &c->p->ops[n->attn_op].attention;
        v.heads = op->heads, v.kv_heads = op->kv_heads, v.d_qk = op->d_qk, v.d_v = op->d_v;
        v.window = op->window;
        v.scale = op->scale;
    }
    if (n->scan_op >= 0) {
        v.D = c->p->values[n->part[X]].width;
        v.N = c->p->values[n->part[BM]].width;
        if (c->p->ops[n->scan_op].kind == HY_OP_SSD) {
            const hy_ssd_op *op = &c->p->ops[n->scan_op].ssd;
            v.ssm_heads = op->heads, v.groups = op->groups, v.N /= op->groups;
            v.dt_min = op->dt_min, v.dt_max = op->dt_max;
        }
    }
    return v;
}

// A value has arrived: the layers that waited for nothing else are complete.
static hy_status arrived(hy_capture *c, hy_val v) {
    for (int i = 0; i < c->p->spec.n_layers; i++) {
        layer_need *n = &c->need[i];
        int hits = 0;
        for (int k = 0; k < N_PARTS && c->want[i]; k++) hits += n->part[k] == v;
        n->missing -= hits;
        if (!hits || n->missing > 0) continue;
        hy_map_values values = layer_values(c, i);
        HY_TRY(c->on_layer(c->user, &values));
        for (int k = 0; k < N_PARTS; k++) {
            hy_val u = n->part[k];
            if (u == HY_NOVAL || --c->users[u] > 0) continue;
            free(c->held[u]);
            c->held[u] = NULL;
        }
    }
    return hy_interrupted ? hy_error(HY_EINTR, "interrupted") : HY_OK;
}

static bool is_held(const hy_capture *c, hy_val v) { return v != HY_NOVAL && c->users[v] > 0; }

static bool wants(void *user, const char *name) {
    const hy_capture *c = user;
    return is_held(c, hy_program_find(c->p, name)) || (c->also && c->also->wants(c->also->user, name));
}

static hy_status got(void *user, const char *name, const float *data, int rows, int width) {
    hy_capture *c = user;
    hy_val v = hy_program_find(c->p, name);
    size_t bytes = (size_t)rows * (size_t)width * sizeof(float);
    if (c->also && c->also->wants(c->also->user, name)) HY_TRY(c->also->got(c->also->user, name, data, rows, width));
    if (!is_held(c, v)) return HY_OK;
    HY_ASSERT(v != HY_NOVAL && rows == c->S && width == c->p->values[v].width && !c->held[v]);
    c->held[v] = hy_alloc(bytes);
    if (!c->held[v]) return HY_ENOMEM;
    memcpy(c->held[v], data, bytes);
    return arrived(c, v);
}

hy_status hy_capture_probe(hy_capture *c, const int32_t *ids, const hy_probe *probe) {
    hy_ids_with_meta(1, c->T, c->p->spec.meta_tokens, ids, 0, c->ids);
    const hy_batch b = {.B = 1, .T = c->S, .ids = c->ids, .out_rows = c->rows, .n_out = c->rows ? c->S : 0};
    return hy_exec_forward(c->exec, c->w, &b, NULL, c->rows ? HY_HEAD_LOGITS : 0, probe);
}

hy_status hy_capture_run(hy_capture *c, const int32_t *ids, const bool *want, hy_capture_fn on_layer, void *user) {
    drop_held(c);
    c->want = want;
    c->on_layer = on_layer;
    c->user = user;
    for (int i = 0; i < c->p->spec.n_layers; i++) {
        c->need[i].missing = 0;
        for (int k = 0; k < N_PARTS && want[i]; k++) {
            if (c->need[i].part[k] == HY_NOVAL) continue;
            c->users[c->need[i].part[k]]++;
            c->need[i].missing++;
        }
    }
    const hy_probe probe = {.wants = wants, .got = got, .user = c};
    hy_status s = hy_capture_probe(c, ids, &probe);
    drop_held(c);
    return s;
}
