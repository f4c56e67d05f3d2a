// test_contribution.c - contributions of all positions add up to what the mixer gave, in every kind of layer; rows,
// threads and kinds apart and together.
#include <math.h>

#include "analysis/probe/capture.h"
#include "analysis/probe/contribution.h"
#include "core/base/parallel.h"
#include "tests/unit/tiny_models.h"

#define OK(x)                                                                                 \
    do {                                                                                      \
        if ((x) != HY_OK) fail_msg("%s:%d: %s: %s", __FILE__, __LINE__, #x, hy_error_text()); \
    } while (0)

enum { TEXT = 9, VALUES = 512, POSITIONS = 32, WIDTH = 16 };
typedef struct {
    hy_backend be;
    hy_model_spec *spec;
    hy_program *p;
    hy_params *w;
    int32_t ids[TEXT];
    float *value[VALUES];  // what enters and leaves out projections
    int projections;       // looked at
} rig;

static void open_rig(const char *text, uint64_t k, rig *r) {
    *r = (rig){.spec = hy_xcalloc(1, sizeof *r->spec)};
    OK(hy_backend_cpu("auto", 1, &r->be));
    build(text, r->spec, &r->p);
    OK(hy_params_create(r->p, &r->be, HY_F32, &r->w));
    OK(hy_params_init(r->w, 11));
    hy_rng rng = hy_rng_make(3, k);
    for (int i = 0; i < TEXT; i++) r->ids[i] = (int32_t)hy_rng_below(&rng, 13);
    for (int i = 0; i < r->p->n_params; i++) {  // norms at 1 and biases at 0 would hide errors
        float *x = hy_params_ptr(r->w, i, false);
        for (size_t j = 0; j < r->p->params[i].n; j++)
            if (r->p->params[i].init == HY_INIT_ONES || r->p->params[i].init == HY_INIT_ZEROS)
                x[j] += (float)(0.2 * hy_rng_normal(&rng));
    }
    hy_params_changed(r->w);
}

static void close_rig(rig *r) {
    for (int i = 0; i < VALUES; i++) free(r->value[i]);
    hy_params_free(r->w);
    hy_program_free(r->p);
    free(r->spec);
}

// ---------------------------------------------------------------------------------------------------- sums
static bool is_projection(const rig *r, const hy_op *op) {
    return op->kind == HY_OP_LINEAR && op->in[1] >= 0 && strstr(r->p->params[op->par[0]].name, "out_proj");
}
static bool wants(void *user, const char *name) {
    const rig *r = user;
    const hy_val v = hy_program_find(r->p, name);
    for (int i = 0; i < r->p->n_ops; i++)
        if (is_projection(r, &r->p->ops[i]) && (r->p->ops[i].out == v || r->p->ops[i].in[1] == v)) return true;
    return false;
}
static hy_status got(void *user, const char *name, const float *data, int rows, int width) {
    rig *r = user;
    const hy_val v = hy_program_find(r->p, name);
    assert_true(v >= 0 && v < VALUES && width <= WIDTH && rows <= POSITIONS);
    r->value[v] = hy_xcalloc((size_t)rows * (size_t)width, sizeof(float));
    memcpy(r->value[v], data, (size_t)rows * (size_t)width * sizeof(float));
    return HY_OK;
}

// Which kinds of heads go through an out projection.
static void kinds_of(const rig *r, const hy_op *op, bool through[2]) {
    const hy_layer_spec *l = &r->spec->layers[op->layer];
    const char *name = r->p->params[op->par[0]].name;
    const bool second = strstr(name, ".second.") != NULL;
    through[0] = l->mixer == HY_MIXER_ATTENTION || l->mixer == HY_MIXER_PARALLEL;
    through[1] = l->mixer == HY_MIXER_SSM || l->mixer == HY_MIXER_PARALLEL;
    if (l->mixer == HY_MIXER_ATTENTION_SSM) through[second] = true;
    if (l->mixer == HY_MIXER_SSM_ATTENTION) through[!second] = true;
    if (strstr(name, ".attn_out_proj")) through[1] = false;
    if (strstr(name, ".ssm_out_proj")) through[0] = false;
}

static void check_projection(rig *r, const hy_op *op, const hy_contribution_rows *rows) {
    const int d = r->spec->d_model;
    bool through[2];
    float bias[WIDTH] = {0}, one[WIDTH];
    kinds_of(r, op, through);
    if (op->par[1] >= 0) OK(hy_params_get(r->w, op->par[1], false, bias));
    for (int i = 0; i < rows->n; i++) {
        double sum[WIDTH] = {0}, size = 0;
        for (int kind = 0; kind < 2; kind++)
            for (int j = 0; j <= i && through[kind]; j++)
                if (hy_contribution_vector(rows, i, j, (hy_map_src)kind, one))
                    for (int c = 0; c < d; c++) sum[c] += (double)one[c];
        for (int c = 0; c < d; c++) size = fmax(size, fabs((double)r->value[op->out][i * d + c]));
        for (int c = 0; c < d; c++) {
            const double want = (double)r->value[op->out][i * d + c] - (double)r->value[op->in[1]][i * d + c];
            const double have = sum[c] + (double)bias[c];
            if (!(fabs(have - want) <= 3e-6 * (size + 1)))
                fail_msg("%s, %s, position %d, channel %d: %.9g, the layer gave %.9g", r->spec->name,
                         r->p->params[op->par[0]].name, i, c, have, want);
        }
    }
    r->projections++;
}

static hy_status adds_up(void *user, const hy_map_values *v) {
    rig *r = user;
    hy_contribution_layer l;
    hy_contribution_rows rows;
    int all[POSITIONS];
    for (int i = 0; i < v->S; i++) all[i] = i;
    OK(hy_contribution_open(r->p, r->w, v->layer, &l));
    OK(hy_contribution_rows_open(&l, v, all, v->S, &rows));
    for (int i = 0; i < r->p->n_ops; i++)
        if (r->p->ops[i].layer == v->layer && is_projection(r, &r->p->ops[i]))
            check_projection(r, &r->p->ops[i], &rows);
    hy_contribution_rows_close(&rows);
    hy_contribution_close(&l);
    return HY_OK;
}

static void all_of(rig *r, hy_capture_fn fn) {
    bool want[HY_MAX_LAYERS];
    hy_capture *c;
    for (int i = 0; i < r->spec->n_layers; i++) want[i] = true;
    OK(hy_capture_open(r->p, r->w, TEXT, &c));
    if (!r->value[r->p->ops[0].out]) OK(hy_capture_probe(c, r->ids, &(hy_probe){wants, got, r}));
    OK(hy_capture_run(c, r->ids, want, fn, r));
    hy_capture_close(c);
}

static void sums(void **state) {
    (void)state;
    for (size_t k = 0; k < sizeof models / sizeof *models; k++) {
        rig r;
        open_rig(models[k], k, &r);
        int projections = 0;
        for (int i = 0; i < r.p->n_ops; i++) projections += is_projection(&r, &r.p->ops[i]);
        all_of(&r, adds_up);
        assert_int_equal(r.projections, projections);
        close_rig(&r);
    }
}

// ---------------------------------------------------------------------------------------------------- sizes
static hy_status sizes(void *user, const hy_map_values *v) {
    rig *r = user;
    hy_contribution_layer l;
    hy_contribution_rows all, some;
    int every[POSITIONS], few[2] = {v->S / 2, v->S - 1};
    for (int i = 0; i < v->S; i++) every[i] = i;
    assert_int_equal(hy_contribution_tile(v), 32);
    OK(hy_contribution_open(r->p, r->w, v->layer, &l));
    OK(hy_contribution_rows_open(&l, v, every, v->S, &all));
    OK(hy_contribution_rows_open(&l, v, few, 2, &some));
    for (int i = 0; i < v->S; i++) {
        double one[3][POSITIONS], again[3][POSITIONS];
        hy_parallel_set_threads(1);
        OK(hy_contribution_sizes(&all, i, one[0], one[1], one[2]));
        hy_parallel_set_threads(1 + i % 3);
        OK(hy_contribution_sizes(&all, i, again[0], again[1], again[2]));
        for (int k = 0; k < 3; k++) assert_memory_equal(one[k], again[k], (size_t)v->S * sizeof(double));
        for (int k = 0; k < 2; k++) {
            if (few[k] != i) continue;
            OK(hy_contribution_sizes(&some, k, again[0], again[1], again[2]));
            for (int n = 0; n < 3; n++) assert_memory_equal(one[n], again[n], (size_t)v->S * sizeof(double));
        }
        for (int j = 0; j < v->S; j++) {
            float vector[2][WIDTH] = {{0}};
            double want[3] = {0};
            for (int k = 0; k < 2 && j <= i; k++) hy_contribution_vector(&all, i, j, (hy_map_src)k, vector[k]);
            for (int c = 0; c < l.d; c++)
                for (int k = 0; k < 3; k++)
                    want[k] += pow((k == 1 ? 0 : (double)vector[0][c]) + (k == 0 ? 0 : (double)vector[1][c]), 2);
            for (int k = 0; k < 3; k++) assert_true(fabs(one[k][j] - sqrt(want[k])) <= 1e-12 + 1e-6 * sqrt(want[k]));
            const bool seen = v->heads && hy_map_visible(v, HY_MAP_ATTENTION, i, j);
            assert_true((one[0][j] > 0) == seen && (one[1][j] > 0) == (j <= i && v->D > 0));
        }
    }
    hy_parallel_set_threads(0);
    hy_contribution_rows_close(&all), hy_contribution_rows_close(&some);
    hy_contribution_close(&l);
    return HY_OK;
}

static void rows_and_threads(void **state) {
    (void)state;
    static const size_t which[] = {0, 3, 4, 11, 17};
    for (size_t k = 0; k < sizeof which / sizeof *which; k++) {
        rig r;
        open_rig(models[which[k]], k, &r);
        all_of(&r, sizes);
        close_rig(&r);
    }
}

// As many rows at once as fit in 64 MiB: 1 at least, 32 at most.
static void tiles(void **state) {
    (void)state;
    assert_int_equal(hy_contribution_tile(&(hy_map_values){.S = 1000, .heads = 8}), 32);
    assert_int_equal(hy_contribution_tile(&(hy_map_values){.S = 1024, .D = 4096}), 4);
    assert_int_equal(hy_contribution_tile(&(hy_map_values){.S = 1024, .D = 4096, .ssm_heads = 64}), 32);
    assert_int_equal(hy_contribution_tile(&(hy_map_values){.S = 100000, .D = 4096, .heads = 8}), 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(sums), cmocka_unit_test(rows_and_threads),
                                       cmocka_unit_test(tiles)};
    return cmocka_run_group_tests_name("contribution", tests, NULL, NULL);
}
