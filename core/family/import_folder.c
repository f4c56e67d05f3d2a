// import_folder.c - see import.h: opening a checkpoint folder, what is looked at in it, and copying its weights.
#include <dirent.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/plural.h"
#include "core/family/import.h"
#include "core/family/import_impl.h"
#include "core/format/field.h"
#include "core/model/checkpoint.h"

// ---------------------------------------------------------------------------------------------------- other folders
static bool ends_in(const char *name, const char *end) {
    const size_t n = strlen(name), k = strlen(end);
    return n >= k && !strcmp(name + n - k, end);
}

// A folder without config.json, or a configuration without a family.
static hy_status other_folder(const char *dir) {
    static const hy_folder_sign signs[] = {
        {"adapter_config.json", "is a PEFT adapter (adapter_config.json), not a whole model: merge it into its base "
                                "model (merge_and_unload, then save_pretrained) and give that folder"},
        {"params.json", "is in the layout of the authors' own release (params.json): take the folder in the layout of "
                        "transformers (its name often ends in -hf), or convert it with transformers"},
        {"snapshots", "is a cache of downloads: the model is in one of the folders in snapshots/ there"},
        {NULL, NULL},
    };
    HY_TRY(hy_folder_signs(dir, signs));
    DIR *d = opendir(dir);
    hy_status s = HY_OK;
    for (const struct dirent *e; !s && d && (e = readdir(d));)
        if (ends_in(e->d_name, ".gguf"))
            s = hy_error(
                HY_EINPUT,
                "%s: holds the GGUF file %.100s: give that file itself, or the model's folder with config.json and "
                "safetensors",
                dir, e->d_name);
    if (d) closedir(d);
    return s;
}

// The original state-spaces releases do not say what they are, but nothing else has these keys.
static bool is_mamba_ssm(const hy_json *config) {
    return hy_json_type_of(config) == HY_JSON_OBJECT && !hy_json_get(config, "model_type") &&
           hy_json_get(config, "d_model") && (hy_json_get(config, "ssm_cfg") || hy_json_get(config, "n_layer"));
}

// Families that are not read and never by a table alone: what their layers have that ours have not.
static const char *lacking(const char *type) {
    static const struct {
        const char *types, *what;
    } known[] = {
        {"mixtral|qwen2_moe|qwen3_moe|olmoe|phimoe|granitemoe|granitemoeshared|gpt_oss|dbrx|minimax|ernie4_5_moe|"
         "glm4_moe|hunyuan_v1_moe|lfm2_moe|flex_olmo|bailing_moe|arctic|llama4_text|llama4",
         "mixtures of experts"},
        {"deepseek_v2|deepseek_v3|deepseek_v32|minicpm3|longcat_flash|glm4_moe_lite",
         "latent attention (keys and values kept as a low-rank code)"},
        {"qwen3_next|qwen3_5|qwen3_5_text|qwen3_5_moe|kimi_linear|olmo_hybrid|gated_deltanet",
         "layers of the gated delta rule"},
        {"rwkv|rwkv6|rwkv7|xlstm|recurrent_gemma|lfm2|zamba|zamba2|gla|retnet",
         "mixers that are neither attention nor Mamba, or blocks that share their weights"},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (hy_is_choice(type, known[i].types)) return known[i].what;
    return NULL;
}

static hy_status find_family(const hy_json *config, const char *where, const hy_import_family **out) {
    const char *type = "mamba_ssm";
    if (!is_mamba_ssm(config)) HY_TRY(hy_json_get_string(config, where, "model_type", &type));
    if ((*out = hy_import_find(type))) return HY_OK;
    const char *const what = lacking(type);
    if (what)
        return hy_error(HY_EINPUT, "%s: \"model_type\": \"%.60s\" is not read: it has %s, which hylab has no layer for",
                        where, type, what);
    return hy_error(HY_EINPUT, "%s: \"model_type\": \"%.60s\" is not a family that this build reads (it reads %s)",
                    where, type, hy_import_families());
}

// ---------------------------------------------------------------------------------------------------- checks
// Are two tensors equal, each value rounded to the narrower of their types? Files of mixed precision hold a matrix in
// one type and its copy in another. (NaN equals NaN.)
static bool same_values(const hy_st_tensor *a, const hy_st_tensor *b) {
    enum { MANY = 4096 };
    double x[MANY], y[MANY];
    if (a->n != b->n || !hy_st_is_floating(a->dtype) || !hy_st_is_floating(b->dtype)) return false;
    if (a->dtype == b->dtype) return !memcmp(a->data, b->data, a->n * hy_st_dtype_size(a->dtype));
    for (size_t i = 0; i < a->n; i += MANY) {
        const size_t n = a->n - i < MANY ? a->n - i : MANY;
        hy_st_read_f64(a, i, n, x);
        hy_st_read_f64(b, i, n, y);
        hy_st_round(b->dtype, n, x);
        hy_st_round(a->dtype, n, y);
        for (size_t k = 0; k < n; k++)
            if (x[k] != y[k] && !(isnan(x[k]) && isnan(y[k]))) return false;
    }
    return true;
}

// A tied model's file may hold the output matrix too; another one would make the file a different model from its
// configuration.
static hy_status check_tied(const hy_import *m) {
    const hy_import_family *f = m->family;
    const hy_st_tensor *copy = f->tied_copy ? hy_shards_find(m->weights, f->tied_copy) : NULL;
    const hy_st_tensor *table = f->tied_copy ? hy_shards_find(m->weights, f->tied_to) : NULL;
    if (!m->spec.tied || !copy || !table) return HY_OK;
    const bool same = same_values(copy, table);
    hy_st_release(copy);
    hy_st_release(table);
    if (same) return HY_OK;
    return hy_error(HY_EINPUT,
                    "%s says that the output matrix is tied to the embedding, but in %s \"%s\" and \"%s\" differ",
                    m->config_path, m->weights->path, f->tied_copy, f->tied_to);
}

// A weight that the index does not name: other readers would do without it.
static hy_status check_listed(const hy_import *m, const hy_import_map *map) {
    for (int i = 0; i < m->weights->n_unlisted; i++) {
        const char *name = m->weights->unlisted[i];
        if (hy_import_map_find(map, name))
            return hy_error(HY_EINPUT,
                            "%s: does not fit the files beside it:\n\"%.200s\" is in one of them but not listed",
                            m->weights->path, name);
    }
    return HY_OK;
}

// ---------------------------------------------------------------------------------------------------- left aside
// Tables that modules keep and that follow from the configuration.
static bool is_buffer(const char *name) {
    static const char *const ends[] = {".rotary_emb.inv_freq", ".rotary_emb.original_inv_freq",
                                       ".rotary_emb.cos_cached", ".rotary_emb.sin_cached", ".masked_bias"};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (ends_in(name, ends[i])) return true;
    return false;
}

// Does a name belong to none of the parts of this family ("model.", "lm_head.")? Heads for other tasks, towers for
// images and the like: the model computes its logits without them. What lies within a part might be a piece of it.
static bool is_foreign(const hy_import_family *f, const char *name) {
    for (const hy_import_row *r = f->rows; r->theirs; r++) {
        const size_t n = strcspn(r->theirs, ".") + 1;
        if (!strncmp(r->theirs, name, n)) return false;
    }
    return true;
}

static bool is_left_aside(const hy_import *m, const char *name) {
    return is_buffer(name) || is_foreign(m->family, name);
}

static bool is_ignored(const void *user, const char *name) {
    const hy_import *m = user;
    if (m->spec.tied && m->family->tied_copy && !strcmp(m->family->tied_copy, name)) return true;
    return is_left_aside(m, name);
}

static void note_left_aside(hy_import *m) {
    hy_buf names = {0};
    int n = 0;
    hy_buf_write(&m->notes, "", 0);
    for (int f = 0; f < m->weights->n; f++)
        for (int i = 0; i < hy_st_count(m->weights->files[f]); i++) {
            const char *name = hy_st_at(m->weights->files[f], i)->name;
            if (is_left_aside(m, name) && n++ < 6) hy_buf_printf(&names, "%s%.100s", n > 1 ? ", " : "", name);
        }
    if (n)
        hy_buf_printf(&m->notes, "note: %s: left aside %d tensor%s that a %s model has no use for: %s%s\n",
                      m->weights->path, n, hy_s(n), m->family->model_type, names.s, n > 6 ? ", ..." : "");
    hy_text_hide_controls(m->notes.s);
    free(names.s);
}

// ---------------------------------------------------------------------------------------------------- opening
// gguf: NULL, or what stands for the folder.
static hy_status read_spec(hy_import *m, const hy_gguf *gguf) {
    hy_json *config;
    HY_TRY(gguf ? hy_import_gguf_config(gguf, &config) : hy_json_read(m->config_path, HY_IMPORT_CONFIG_MAX, &config));
    hy_status s = find_family(config, m->config_path, &m->family);
    if (!s) s = hy_import_spec(m->family, config, m->config_path, &m->spec);
    hy_json_free(config);
    if (!s) {
        s = hy_model_spec_check(&m->spec, NULL);
        if (s) hy_error_context(s, "%s", m->config_path);
    }
    return s;
}

static hy_status open_gguf(const char *path, bool weights, hy_import **out) {
    hy_gguf *g;
    HY_TRY(hy_gguf_open(path, &g));
    hy_import *m = hy_xcalloc(1, sizeof *m);
    m->config_path = hy_xstrdup(path);
    hy_status s = read_spec(m, g);
    if (!s && weights) s = hy_import_gguf_weights(g, &m->spec.layers[0], &m->unpacked, &m->weights);
    hy_gguf_close(g);
    if (s)
        hy_import_close(m);
    else
        *out = m;
    return s;
}

hy_status hy_import_open_config(const char *dir, hy_import **out) {
    *out = NULL;
    if (hy_is_gguf(dir)) return open_gguf(dir, false, out);
    hy_import *m = hy_xcalloc(1, sizeof *m);
    m->config_path = hy_asprintf("%s/config.json", dir);
    hy_status s = hy_file_exists(m->config_path) ? HY_OK : other_folder(dir);
    if (!s) s = read_spec(m, NULL);
    if (s)
        hy_import_close(m);
    else
        *out = m;
    return s;
}

hy_status hy_import_open(const char *dir, hy_import **out) {
    hy_import *m;
    *out = NULL;
    const bool gguf = hy_is_gguf(dir);
    HY_TRY(gguf ? open_gguf(dir, true, &m) : hy_import_open_config(dir, &m));
    hy_status s = gguf ? HY_OK : hy_shards_open(dir, &m->weights);
    if (s) {
        hy_import_close(m);
        return s;
    }
    note_left_aside(m);
    *out = m;
    return HY_OK;
}

void hy_import_close(hy_import *m) {
    if (!m) return;
    hy_shards_close(m->weights);
    free(m->unpacked);
    free(m->notes.s);
    free(m->config_path);
    free(m);
}

// ---------------------------------------------------------------------------------------------------- weights
hy_status hy_import_check(const hy_import *m, const hy_import_map *map, hy_buf *report) {
    hy_st_want *want = hy_xcalloc((size_t)map->n, sizeof *want);
    for (int i = 0; i < map->n; i++) want[i] = map->v[i].theirs;
    hy_status s = check_tied(m);
    if (!s)
        s = hy_st_match((const hy_st *const *)m->weights->files, m->weights->n, m->weights->path, want, map->n,
                        m->config_path, is_ignored, m, report);
    free(want);
    return s ? s : check_listed(m, map);
}

void hy_import_keep_types(const hy_import *m, const hy_import_map *map, hy_program *p) {
    bool *all = hy_xcalloc((size_t)p->n_params, sizeof *all);
    for (int i = 0; i < p->n_params; i++) all[i] = true;
    for (int i = 0; i < map->n; i++) {
        const hy_st_tensor *t = hy_shards_find(m->weights, map->v[i].theirs.name);
        for (int k = 0; k < map->v[i].n; k++)
            if (!t || t->dtype != HY_ST_BF16) all[map->pieces[map->v[i].first + k].param] = false;
    }
    for (int i = 0; i < p->n_params; i++)
        if (all[i]) hy_program_keep_bf16(p, i);
    free(all);
}

hy_status hy_import_weights(const hy_import *m, const hy_import_map *map, hy_params *w, hy_buf *report) {
    hy_status s = hy_import_check(m, map, report);
    for (int i = 0; i < map->n && !s; i++) {
        const hy_st_tensor *t = hy_shards_find(m->weights, map->v[i].theirs.name);
        for (int k = 0; k < map->v[i].n && !s; k++) {
            const hy_import_piece *x = &map->pieces[map->v[i].first + k];
            s = hy_checkpoint_set(w, x->param, x->first, t, x->at, x->n);
        }
        hy_st_release(t);
    }
    return s;
}
