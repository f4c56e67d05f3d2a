// spec_read.c - see spec_read.h. Base files, sections, the repeating pattern and the layer table of a variant; each
// fault is reported at the key that caused it. What stands for many layers (global_layers, kv_share) is in
// spec_expand.c.
#include "core/spec/spec_read.h"

#include <stdlib.h>
#include <string.h>

#include "core/spec/published.h"
#include "core/spec/spec_read_impl.h"

enum { MAX_BASES = 8 };

// ---------------------------------------------------------------------------------------------------- base files
// The tree with all its base files under it. A copy, freed by the caller.
static hy_status with_bases(const hy_yaml *node, int depth, hy_yaml **out) {
    const hy_yaml *base = hy_yaml_get(node, "base");
    if (!base) {
        *out = hy_yaml_copy(node);
        return HY_OK;
    }
    if (base->kind != HY_YAML_SCALAR || hy_yaml_is_null(base))
        return hy_yaml_error(base, "base must be the path of a variant");
    if (depth == MAX_BASES)
        return hy_yaml_error(base, "more than %d base files on top of each other: is there a circle?", MAX_BASES);
    char *path = hy_path_beside(node->file, base->text);
    hy_yaml *under = NULL, *whole = NULL;
    hy_status s = hy_file_exists(path) ? hy_yaml_load(path, &under)
                                       : hy_yaml_error(base, "the base file %s does not exist", path);
    free(path);
    if (!s && under->kind != HY_YAML_MAP) s = hy_yaml_error(under, "a variant is a map of keys and values");
    if (!s) s = with_bases(under, depth + 1, &whole);
    if (!s) *out = hy_yaml_merge(whole, node);
    hy_yaml_free(under);
    hy_yaml_free(whole);
    return s;
}

// ---------------------------------------------------------------------------------------------------- positions
static int key_of(const hy_yaml *map, const char *key, size_t n) {
    for (int i = 0; map && map->kind == HY_YAML_MAP && i < map->n; i++)
        if (strlen(map->key[i]) == n && !strncmp(map->key[i], key, n)) return i;
    return -1;
}

// The map and the index of the key that a path like "attention.heads" names, or -1.
static int find_path(const hy_yaml *map, const char *path, const hy_yaml **holder) {
    const char *dot = strchr(path, '.');
    int i = key_of(map, path, dot ? (size_t)(dot - path) : strlen(path));
    *holder = map;
    if (i < 0 || !dot) return i;
    *holder = map->child[i];
    return key_of(*holder, dot + 1, strlen(dot + 1));
}

hy_status hy_spec_error_at(const hy_spec_reader *r, int layer, const char *field, const char *text) {
    const hy_yaml *entry = layer < 0 ? NULL : r->entry[layer];
    const hy_yaml *where[] = {entry, r->root};
    char section[32];
    snprintf(section, sizeof section, "%.*s", (int)strcspn(field, "."), field);
    const char *paths[] = {field, section, "mixer"};  // a default is at fault: its section, or what asks for the part
    char *line = entry ? hy_asprintf("layer %d: %s", layer, text) : hy_xstrdup(text);
    hy_status s = HY_OK;
    for (int p = 0; !s && p < 3; p++)
        for (int w = 0; !s && w < 2; w++) {
            const hy_yaml *holder = NULL;
            int i = find_path(where[w], paths[p], &holder);
            if (i >= 0) s = hy_yaml_error_key(holder, i, "%s", line);
        }
    if (!s) s = hy_yaml_error(entry ? entry : r->root, "%s", line);
    free(line);
    return s;
}

// ---------------------------------------------------------------------------------------------------- sections
static hy_status read_section(const hy_yaml *map, const char *name, const hy_field *table, void *obj,
                              const char *also) {
    const hy_yaml *v = hy_yaml_get(map, name);
    if (!v) return HY_OK;
    if (v->kind == HY_YAML_SCALAR && !hy_yaml_is_null(v))
        return hy_yaml_error(v, "%s holds keys: write %s: {%s: ...}, not %s: %s", name, name, table->name, name,
                             v->text);
    return hy_yaml_fields(v, table, obj, also);
}

static const hy_field expand_field[] = {
    {"expand", HY_F_DOUBLE, offsetof(hy_layer_draft, expand), 0, "2", 1e-3, 1024, NULL,
     "d_inner / d_model, where d_inner is auto"},
    HY_FIELD_END,
};
static const hy_field times_field[] = {
    {"times", HY_F_INT, 0, 0, "1", 1, HY_MAX_LAYERS, NULL, "pattern entries: how many such layers in a row"},
    HY_FIELD_END,
};
// The keys of the maps of a layer or of the model, each after a bar: "|attention|ssm|mlp".
static void add_maps(bool of_layer, hy_buf *out) {
    const char *last = "";
    for (const hy_spec_section *s = hy_spec_sections; s->fields; s++) {
        if (s->of_layer == of_layer && s->prefix[0] && strcmp(s->prefix, last)) hy_buf_printf(out, "|%s", s->prefix);
        last = s->prefix;
    }
}

// Keys of a map that are no fields: they stand for something that is worked out.
static const char *sugar_of(const char *map, bool top) {
    return !strcmp(map, "ssm") ? "expand" : top && !strcmp(map, "attention") ? "global_layers" : NULL;
}

// The maps of a layer or of the model; what they do not give stays as it is in obj.
static hy_status read_maps(const hy_yaml *map, bool of_layer, bool top, void *obj) {
    hy_buf maps = {0};
    add_maps(of_layer, &maps);
    hy_status st = HY_OK;
    char *rest = maps.s;
    for (char *name; !st && (name = strtok_r(rest, "|", &rest));) {
        hy_field keys[HY_SPEC_KEYS + 1];
        hy_spec_keys(name, of_layer, keys);
        st = read_section(map, name, keys, obj, sugar_of(name, top));
    }
    free(maps.s);
    return st;
}

static hy_status read_layer_maps(const hy_yaml *map, bool top, hy_layer_draft *d) {
    HY_TRY(read_maps(map, true, top, d));
    const hy_yaml *ssm = hy_yaml_get(map, "ssm"), *expand = ssm ? hy_yaml_get(ssm, "expand") : NULL;
    if (!expand) return HY_OK;
    if (!hy_yaml_get(ssm, "d_inner")) d->l.d_inner = 0;  // the nearer of the two counts
    return hy_yaml_field(expand, expand_field, d);
}

static hy_status read_entry(const hy_yaml *entry, bool table, hy_layer_draft *d) {
    if (entry->kind != HY_YAML_MAP) return hy_yaml_error(entry, "a layer is a map, e.g. {mixer: ssm}");
    const hy_yaml *at = hy_yaml_get(entry, "attention");
    for (int i = 0; at && at->kind == HY_YAML_MAP && i < at->n; i++)
        if (!strcmp(at->key[i], "global_layers"))
            return hy_yaml_error_key(at, i, "global_layers belongs to attention: at the top; here write window: none");
    hy_field keys[HY_SPEC_KEYS + 1];
    hy_spec_keys("", true, keys);
    hy_buf also = {0};
    hy_buf_printf(&also, table ? "kv_source" : "times");
    add_maps(true, &also);
    hy_status s = hy_yaml_fields(entry, keys, d, also.s);
    free(also.s);
    return s ? s : read_layer_maps(entry, false, d);
}

static hy_status read_model(hy_spec_reader *r, hy_layer_draft *top) {
    hy_field keys[HY_SPEC_KEYS + 1], of_layers[HY_SPEC_KEYS + 1];
    hy_spec_keys("", false, keys);
    hy_spec_keys("", true, of_layers);
    hy_spec_defaults(false, r->spec);
    hy_spec_defaults(true, top);
    hy_fields_default(expand_field, top);
    hy_buf also = {0};
    hy_buf_printf(&also, "base|published|pattern|layer_table|kv_share");
    add_maps(false, &also);
    add_maps(true, &also);
    for (const hy_field *f = of_layers; f->name; f++) hy_buf_printf(&also, "|%s", f->name);
    hy_status s = hy_yaml_fields(r->root, keys, r->spec, also.s);
    free(also.s);
    const hy_yaml *published = hy_yaml_get(r->root, "published");
    hy_published_list printed;
    if (!s && published) s = hy_published_read(published, &printed);
    if (!s) s = read_maps(r->root, false, true, r->spec);
    for (const hy_field *f = of_layers; !s && f->name; f++) {
        const hy_yaml *v = hy_yaml_get(r->root, f->name);
        if (v) s = hy_yaml_field(v, f, top);
    }
    return s ? s : read_layer_maps(r->root, true, top);
}

// ---------------------------------------------------------------------------------------------------- layers
// pattern: fills r->entry by repeating the list over the layers.
static hy_status place_pattern(hy_spec_reader *r, const hy_yaml *list) {
    int n = 0, layers = r->spec->n_layers;
    if (list->kind != HY_YAML_LIST || list->n == 0)
        return hy_yaml_error(list,
                             "pattern must be a list of at least one layer, e.g. [{mixer: ssm}, {mixer: attention}]");
    for (int e = 0; e < list->n; e++) {
        int times = 1;
        const hy_yaml *t = hy_yaml_get(list->child[e], "times");
        if (t) HY_TRY(hy_yaml_field(t, times_field, &times));
        for (; times > 0; times--, n++) {
            if (n == layers)
                return hy_yaml_error(list->child[e], "the pattern is longer than the model, which has %d layers",
                                     layers);
            r->entry[n] = list->child[e];
        }
    }
    for (int i = n; i < layers; i++) r->entry[i] = r->entry[i - n];
    return HY_OK;
}

static hy_status refuse_key(const hy_yaml *root, const char *key) {
    const int i = key_of(root, key, strlen(key));
    return i < 0 ? HY_OK : hy_yaml_error_key(root, i, "layer_table says all about each layer: remove %s", key);
}

// layer_table: one entry a layer, each complete; what would silently have no effect beside it is refused.
static hy_status place_table(hy_spec_reader *r, const hy_yaml *list) {
    hy_field keys[HY_SPEC_KEYS + 1];
    hy_spec_keys("", true, keys);
    for (const hy_field *f = keys; f->name; f++) HY_TRY(refuse_key(r->root, f->name));
    for (const hy_spec_section *s = hy_spec_sections; s->fields; s++)
        if (s->of_layer && s->prefix[0]) HY_TRY(refuse_key(r->root, s->prefix));
    HY_TRY(refuse_key(r->root, "pattern"));
    HY_TRY(refuse_key(r->root, "kv_share"));
    if (list->kind != HY_YAML_LIST || list->n == 0) return hy_yaml_error(list, "layer_table must be a list of layers");
    if (list->n > HY_MAX_LAYERS) return hy_yaml_error(list, "%d layers; at most %d", list->n, HY_MAX_LAYERS);
    if (!hy_yaml_get(r->root, "layers")) r->spec->n_layers = list->n;
    if (r->spec->n_layers != list->n)
        return hy_yaml_error(list, "layer_table has %d layers, but layers is %d", list->n, r->spec->n_layers);
    for (int i = 0; i < list->n; i++) r->entry[i] = list->child[i];
    return HY_OK;
}

static hy_status fault(const hy_spec_reader *r, int layer, const char *field, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
static hy_status fault(const hy_spec_reader *r, int layer, const char *field, const char *fmt, ...) {
    char text[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return hy_spec_error_at(r, layer, field, text);
}

static hy_status resolve_ssm(const hy_spec_reader *r, int i, double expand, hy_layer_spec *l) {
    double wide = expand * r->spec->d_model;
    if (!l->d_inner) {
        l->d_inner = wide >= 1 && wide <= 1 << 20 ? (int)wide : 0;
        if (l->d_inner != wide)
            return fault(r, i, "ssm.expand",
                         "d_inner = expand * d_model = %g * %d = %g must be a whole number, 1 to %d", expand,
                         r->spec->d_model, wide, 1 << 20);
    }
    if (l->ssm_kind == HY_SSM_MAMBA && !l->dt_rank) l->dt_rank = (r->spec->d_model + 15) / 16;
    return HY_OK;
}

static hy_status resolve_attention(const hy_spec_reader *r, int i, hy_layer_spec *l) {
    int d = r->spec->d_model;
    if (!l->kv_heads) l->kv_heads = l->heads;
    if (!l->d_qk) {
        if (d % l->heads)
            return fault(r, i, "attention.heads",
                         "d_model %d cannot be split over %d heads: change one or set attention.d_qk", d, l->heads);
        l->d_qk = d / l->heads;
    }
    if (!l->d_v && l->mixer == HY_MIXER_PARALLEL && hy_fusion_same_width(l->fusion)) {
        if (l->d_inner % l->heads)
            return fault(r, i, "attention.heads",
                         "the ssm's d_inner %d cannot be split over %d heads, as fusion by %s needs: change one or use "
                         "fusion: concat or sum",
                         l->d_inner, l->heads, l->fusion == HY_FUSION_MEAN ? "mean" : "gate");
        l->d_v = l->d_inner / l->heads;
    }
    if (!l->d_v) l->d_v = l->d_qk;
    return HY_OK;
}

// A draft to the layer it stands for: absent fields cleared, auto widths worked out.
static hy_status resolve_layer(const hy_spec_reader *r, int i, const hy_layer_draft *d) {
    hy_layer_spec *l = &r->spec->layers[i];
    *l = d->l;
    l->kv_source = i;
    hy_spec_clear_absent(l);
    if (hy_layer_has_ssm(l)) HY_TRY(resolve_ssm(r, i, d->expand, l));
    if (hy_layer_has_attention(l)) HY_TRY(resolve_attention(r, i, l));
    const int d_model = r->spec->d_model;
    if (l->mlp != HY_MLP_NONE && !l->d_ff)
        l->d_ff = l->mlp == HY_MLP_RELU2 ? 4 * d_model : ((8 * d_model + 2) / 3 + 31) / 32 * 32;
    return HY_OK;
}

static hy_status read_layers(hy_spec_reader *r, const hy_layer_draft *top) {
    const hy_yaml *table = hy_yaml_get(r->root, "layer_table"), *pattern = hy_yaml_get(r->root, "pattern");
    if (table)
        HY_TRY(place_table(r, table));
    else if (pattern && !hy_yaml_is_null(pattern) && !hy_yaml_is(pattern, "none"))
        HY_TRY(place_pattern(r, pattern));
    for (int i = 0; i < r->spec->n_layers; i++) {
        hy_layer_draft d = *top;
        if (r->entry[i]) HY_TRY(read_entry(r->entry[i], table != NULL, &d));
        HY_TRY(resolve_layer(r, i, &d));
        const hy_yaml *source = table ? hy_yaml_get(r->entry[i], "kv_source") : NULL;
        if (!source) continue;
        if (!hy_layer_has_attention(&r->spec->layers[i])) return hy_yaml_error(source, "layer %d has no attention", i);
        HY_TRY(hy_yaml_field(source, hy_spec_kv_source, &r->spec->layers[i]));
        r->sharer[i] = source;
    }
    return HY_OK;
}

static hy_status check(const hy_spec_reader *r) {
    hy_spec_fault f;
    if (!hy_model_spec_fault(r->spec, &f)) return HY_OK;
    if (f.layer >= 0 && !strcmp(f.field, "kv_source") && r->sharer[f.layer])
        return hy_yaml_error(r->sharer[f.layer], "%s", f.text);
    return hy_spec_error_at(r, f.layer, f.field, f.text);
}

static hy_status read_tree(const hy_yaml *root, hy_model_spec *out) {
    memset(out, 0, sizeof *out);
    if (hy_yaml_is_null(root)) return hy_yaml_error(root, "the variant is empty");
    if (root->kind != HY_YAML_MAP) return hy_yaml_error(root, "a variant is a map of keys and values");
    hy_spec_reader *r = hy_xcalloc(1, sizeof *r);
    hy_layer_draft top = {0};
    r->root = root;
    r->spec = out;
    hy_status s = read_model(r, &top);
    if (!s) s = read_layers(r, &top);
    if (!s) s = hy_spec_place_globals(r);
    if (!s) s = hy_spec_place_sharing(r);
    if (!s) s = check(r);
    free(r);
    return s;
}

// ---------------------------------------------------------------------------------------------------- entry points
hy_status hy_spec_from_yaml(const hy_yaml *node, hy_model_spec *out) {
    hy_yaml *whole = NULL;
    HY_TRY(with_bases(node, 0, &whole));
    hy_status s = read_tree(whole, out);
    hy_yaml_free(whole);
    return s;
}

static bool sets_base(const char *set) { return !strncmp(set, "base=", 5); }

// The file's name without folder and .yaml, in the letters of a name.
static hy_status name_after(hy_yaml *root, const char *path) {
    const char *slash = strrchr(path, '/'), *stem = slash ? slash + 1 : path;
    size_t n = strlen(stem);
    if (n > 5 && !strcmp(stem + n - 5, ".yaml"))
        n -= 5;
    else if (n > 4 && !strcmp(stem + n - 4, ".yml"))
        n -= 4;
    if (n > sizeof((hy_model_spec *)0)->name - 1) n = sizeof((hy_model_spec *)0)->name - 1;
    char *set = hy_asprintf("name=\"%.*s\"", (int)n, stem);
    for (char *c = set + 6; c[1]; c++)
        if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._+-", *c)) *c = '_';
    hy_status s = hy_yaml_set(root, set);
    free(set);
    return s;
}

hy_status hy_spec_load(const char *path, const char *const *sets, hy_model_spec *out) {
    hy_yaml *root = NULL, *whole = NULL;
    memset(out, 0, sizeof *out);
    HY_TRY(hy_yaml_load(path, &root));
    hy_status s = HY_OK;
    for (int i = 0; !s && sets && sets[i]; i++)
        if (sets_base(sets[i])) s = hy_yaml_set(root, sets[i]);
    if (!s && root->kind == HY_YAML_MAP && !hy_yaml_get(root, "name")) s = name_after(root, path);
    if (!s) s = with_bases(root, 0, &whole);
    for (int i = 0; !s && sets && sets[i]; i++)
        if (!sets_base(sets[i])) s = hy_yaml_set(whole, sets[i]);
    if (!s) s = read_tree(whole, out);
    hy_yaml_free(root);
    hy_yaml_free(whole);
    return s;
}

static void help_of(const char *prefix, bool of_layer, hy_buf *out) {
    hy_field keys[HY_SPEC_KEYS + 1];
    int n = hy_spec_keys(prefix, of_layer, keys);
    if (!strcmp(prefix, "ssm")) keys[n++] = expand_field[0], keys[n] = (hy_field)HY_FIELD_END;
    const char *const entry = " in an entry of pattern";
    char *title = !prefix[0] && !of_layer ? hy_xstrdup("At the top")
                  : !prefix[0]            ? hy_asprintf("\nAt the top, or%s", entry)
                  : !of_layer             ? hy_asprintf("\n%s: {...}", prefix)
                                          : hy_asprintf("\n%s: {...}, at the top or%s", prefix, entry);
    hy_fields_help(keys, title, out);
    free(title);
}

void hy_spec_fields_help(hy_buf *out) {
    hy_buf_printf(
        out,
        "A variant is a YAML file of these keys; all are optional. `base: other.yaml` starts from another file.\n\n");
    const char *last = NULL;
    for (const hy_spec_section *s = hy_spec_sections; s->fields; s++) {
        if (!last || strcmp(last, s->prefix)) help_of(s->prefix, s->of_layer, out);
        last = s->prefix;
    }
    hy_buf_printf(
        out,
        "\nattention.global_layers: which attention layers of a model with a window see everything:\n"
        "  none (default), all, or a list of layer numbers from 0 and of the words first, middle, last, which\n"
        "  count the layers with attention (middle of n is number (n - 1) / 2, rounded down: 15 of 32);\n"
        "  {every: n, offset: k}: of the layers with attention numbers k, k + n, k + 2 n, ...\n"
        "\nkv_share: which layers use the keys and values of an earlier one:\n"
        "  none (default); pairs: of the layers with attention, each two neighbours with the same window and\n"
        "  widths, from the first of such a run on; the last of an odd run keeps its own;\n"
        "  a list of groups, e.g. [[1, 2], [3, 4, 5]]: the first of each makes the keys and values.\n"
        "\npattern: a list of layers that is repeated over the model; an entry changes what the top says for its\n"
        "  layers and may hold mixer, fusion, attention, ssm, mlp and times, e.g.\n"
        "  [{mixer: ssm, times: 3}, {mixer: attention, attention: {window: 64}}]\n"
        "\nlayer_table: every layer written out, as `hylab show spec FILE --yaml` prints it; instead of the above.\n");
    hy_published_help(out);
}
