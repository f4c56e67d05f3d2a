// fuzz_config.c - libFuzzer target of config.json of released folders (`make fuzz-config`): any bytes become a checked
// spec of one of the families, whose tensors are all accounted for, or a clear refusal.
#include <stdlib.h>
#include <string.h>

#include "core/family/import.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
size_t LLVMFuzzerMutate(uint8_t *data, size_t n, size_t most);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t n, size_t most, unsigned seed);

// ---------------------------------------------------------------------------------------------------- mutation
// Bytes changed at random are seldom JSON: mostly a value or two of the object are exchanged or dropped.
static const char *const values[] = {
    "0",
    "1",
    "2",
    "3",
    "4",
    "7",
    "8",
    "64",
    "-1",
    "65536",
    "1048576",
    "1048577",
    "16777216",
    "2147483647",
    "9223372036854775807",
    "0.5",
    "1e-6",
    "1e308",
    "true",
    "false",
    "null",
    "\"auto\"",
    "\"silu\"",
    "\"default\"",
    "\"linear\"",
    "\"llama3\"",
    "\"ntk\"",
    "\"hymba\"",
    "\"llama\"",
    "\"qwen2\"",
    "\"mistral\"",
    "\"mamba\"",
    "\"mamba2\"",
    "\"falcon_h1\"",
    "\"qwen3\"",
    "\"smollm3\"",
    "\"falcon_mamba\"",
    "\"jamba\"",
    "\"bamba\"",
    "\"granitemoehybrid\"",
    "\"nemotron_h\"",
    "\"\"",
    "[]",
    "{}",
    "[0]",
    "[0, 1]",
    "[0.0, 1e30]",
    "[[0, 1]]",
    "[[1, 2], [3, 4]]",
    ("{\"rope_type\": \"llama3\", \"factor\": 8, \"low_freq_factor\": 1, \"high_freq_factor\": 4, "
     "\"original_max_position_embeddings\": 64}"),
    "{\"type\": \"linear\", \"factor\": 2.0}",
};
static const char *exchange(unsigned *seed) {
    *seed = *seed * 1664525u + 1013904223u;
    return values[(*seed >> 8) % (sizeof values / sizeof *values)];
}

// The object's text with the values of one or two members exchanged (or the member dropped).
static void change_members(const hy_json *j, unsigned seed, hy_buf *out) {
    unsigned n = (unsigned)hy_json_size(j), first = seed % n, second = seed % 3 ? n : (seed / 7) % n, i = 0;
    bool drop = seed % 5 == 0, comma = false;
    hy_buf_printf(out, "{");
    for (void *it = hy_json_first(j); it; it = hy_json_next(j, it), i++) {
        bool hit = i == first || i == second;
        if (hit && drop) continue;
        hy_json *key = hy_json_new_string(hy_json_key(it));
        if (comma) hy_buf_printf(out, ", ");
        comma = true;
        hy_json_text(key, 0, out);
        hy_buf_printf(out, ": ");
        if (hit)
            hy_buf_printf(out, "%s", exchange(&seed));
        else
            hy_json_text(hy_json_member(it), 0, out);
        hy_json_free(key);
    }
    hy_buf_printf(out, "}");
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t n, size_t most, unsigned seed) {
    hy_json *j;
    hy_buf b = {0};
    if (seed % 8 == 0 || hy_json_parse((const char *)data, n, "mutator", 0, &j)) return LLVMFuzzerMutate(data, n, most);
    if (hy_json_type_of(j) == HY_JSON_OBJECT && hy_json_size(j)) change_members(j, seed / 8, &b);
    hy_json_free(j);
    size_t size = b.n && b.n <= most ? b.n : 0;
    if (size) memcpy(data, b.s, size);
    free(b.s);
    return size ? size : LLVMFuzzerMutate(data, n, most);
}

// ---------------------------------------------------------------------------------------------------- the target

enum { MOST_LAYERS = 24 };  // deeper models are only checked, which keeps a run short

// The tensors of the layout are the parameters of the program, each element once.
static void check_map(const hy_import_family *f, const hy_model_spec *m) {
    hy_program *p = NULL;
    hy_import_map map;
    hy_param_count count;
    size_t elems = 0, pieces = 0, params = 0;
    HY_ASSERT(hy_model_build(m, &p) == HY_OK);
    hy_model_count(m, &count);
    for (int i = 0; i < p->n_params; i++) params += p->params[i].n;
    HY_ASSERT((int64_t)params == count.total);
    hy_status s = hy_import_map_make(f, p, &map);
    HY_ASSERT(s == HY_OK || (s == HY_EINPUT && hy_error_text()[0]));
    if (!s) {
        for (int i = 0; i < map.n; i++) {
            size_t shape = 1;
            for (int d = 0; d < map.v[i].theirs.ndim; d++) shape *= (size_t)map.v[i].theirs.shape[d];
            HY_ASSERT(shape == map.v[i].elems);
            elems += shape;
        }
        for (int i = 0; i < map.n_pieces; i++) pieces += map.pieces[i].n;
        HY_ASSERT(elems == pieces && elems == params);
        hy_import_map_free(&map);
    }
    hy_program_free(p);
}

// What a family writes for a spec that it has read is the same model again.
static void check_config(const hy_import_family *f, const hy_model_spec *m) {
    static hy_model_spec again;
    if (!f->config) return;
    hy_json *j = hy_json_new_object();
    char x[33], y[33];
    HY_ASSERT(f->config(m, j) == HY_OK);
    if (hy_import_spec(f, j, "again", &again)) fprintf(stderr, "%s\n", hy_error_text()), abort();
    hy_model_spec_hash(m, x);
    hy_model_spec_hash(&again, y);
    HY_ASSERT(!strcmp(x, y));
    hy_json_free(j);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    static hy_model_spec m;
    hy_json *j;
    const char *type;
    const hy_import_family *f;
    if (hy_json_parse((const char *)data, n, "config.json", 0, &j)) return 0;
    if (hy_json_type_of(j) == HY_JSON_OBJECT && !hy_json_get(j, "model_type")) hy_json_set_string(j, "model_type", "mamba_ssm");
    if (hy_json_type_of(j) == HY_JSON_OBJECT && hy_json_get_string(j, "config.json", "model_type", &type) == HY_OK &&
        (f = hy_import_find(type))) {
        hy_status s = hy_import_spec(f, j, "config.json", &m);
        HY_ASSERT(s == HY_OK || (s == HY_EINPUT && strstr(hy_error_text(), "config.json")));
        if (!s) s = hy_model_spec_check(&m, NULL);
        HY_ASSERT(s == HY_OK || (s == HY_EINPUT && hy_error_text()[0]));
        if (!s) check_config(f, &m);
        if (!s && m.n_layers <= MOST_LAYERS) check_map(f, &m);
    }
    hy_json_free(j);
    return 0;
}
