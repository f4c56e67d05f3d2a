// spec_expand.c - the keys of a variant that speak of many layers at once: attention.global_layers and kv_share. The
// rules that any spec must obey are in spec.c.
#include <stdlib.h>
#include <string.h>

#include "core/spec/spec_read_impl.h"

// Numbers of the layers with attention, in order.
static int attention_layers(const hy_model_spec *m, int out[HY_MAX_LAYERS]) {
    int n = 0;
    for (int i = 0; i < m->n_layers; i++)
        if (hy_layer_has_attention(&m->layers[i])) out[n++] = i;
    return n;
}

// ---------------------------------------------------------------------------------------------------- global layers
static hy_status layer_number(const hy_spec_reader *r, const hy_yaml *v, const char *what, int *out) {
    static const hy_field number[] = {{"a layer number", HY_F_INT, 0, 0, "0", 0, 0, NULL, ""}, HY_FIELD_END};
    int n = r->spec->n_layers;
    HY_TRY(hy_yaml_field(v, number, out));
    if (*out < 0 || *out >= n)
        return hy_yaml_error(v, "%s %d does not exist: the model has layers 0 to %d", what, *out, n - 1);
    if (!hy_layer_has_attention(&r->spec->layers[*out])) return hy_yaml_error(v, "layer %d has no attention", *out);
    return HY_OK;
}

static hy_status global_item(hy_spec_reader *r, const hy_yaml *v, const int *at, int n) {
    int i = -1;
    bool first = hy_yaml_is(v, "first"), middle = hy_yaml_is(v, "middle"), last = hy_yaml_is(v, "last");
    if (first || middle || last) {
        if (n > 0) i = at[first ? 0 : middle ? (n - 1) / 2 : n - 1];  // a model without attention has none
    } else if (v->kind == HY_YAML_SCALAR && strspn(v->text, "+-0123456789") < strlen(v->text)) {
        char *hint = hy_suggest(v->text, "first|middle|last|none|all");
        hy_status s = hy_yaml_error(v, "\"%s\" is not a layer: write a number, first, middle or last%s", v->text, hint);
        free(hint);
        return s;
    } else {
        HY_TRY(layer_number(r, v, "global layer", &i));
    }
    if (i >= 0) r->spec->layers[i].window = 0;
    return HY_OK;
}

typedef struct {
    int every, offset;
} stride;
static const hy_field stride_fields[] = {
    {"every", HY_F_INT, offsetof(stride, every), 0, "1", 1, HY_MAX_LAYERS, NULL, "distance"},
    {"offset", HY_F_INT, offsetof(stride, offset), 0, "0", 0, HY_MAX_LAYERS - 1, NULL, "the first"},
    HY_FIELD_END,
};

hy_status hy_spec_place_globals(hy_spec_reader *r) {
    const hy_yaml *section = hy_yaml_get(r->root, "attention");
    const hy_yaml *v = section ? hy_yaml_get(section, "global_layers") : NULL;
    int at[HY_MAX_LAYERS], n = attention_layers(r->spec, at);
    if (!v || hy_yaml_is(v, "none")) return HY_OK;
    if (hy_yaml_is(v, "all")) {
        for (int i = 0; i < n; i++) r->spec->layers[at[i]].window = 0;
    } else if (v->kind == HY_YAML_MAP) {
        stride s = {0};
        HY_TRY(hy_yaml_fields(v, stride_fields, &s, NULL));
        if (!s.every) return hy_yaml_error(v, "global_layers needs every: n (and may have offset: k)");
        if (n > 0 && s.offset >= n)
            return hy_yaml_error(hy_yaml_get(v, "offset"), "offset %d is past the last of %d layers with attention",
                                 s.offset, n);
        for (int i = s.offset; i < n; i += s.every) r->spec->layers[at[i]].window = 0;
    } else if (v->kind == HY_YAML_LIST) {
        for (int i = 0; i < v->n; i++) HY_TRY(global_item(r, v->child[i], at, n));
    } else {
        return global_item(r, v, at, n);
    }
    return HY_OK;
}

// ---------------------------------------------------------------------------------------------------- sharing
static bool same_cache(const hy_layer_spec *a, const hy_layer_spec *b) {
    return a->window == b->window && a->kv_heads == b->kv_heads && a->d_qk == b->d_qk && a->d_v == b->d_v &&
           a->no_rope == b->no_rope && a->rotary == b->rotary;
}

static void share_pairs(hy_model_spec *m) {
    int at[HY_MAX_LAYERS], n = attention_layers(m, at);
    for (int i = 0; i + 1 < n;) {
        if (same_cache(&m->layers[at[i]], &m->layers[at[i + 1]])) {
            m->layers[at[i + 1]].kv_source = at[i];
            i += 2;
        } else {
            i++;
        }
    }
}

static hy_status share_group(hy_spec_reader *r, const hy_yaml *group) {
    if (group->kind != HY_YAML_LIST || group->n < 2)
        return hy_yaml_error(group, "a group is a list of at least two layers, e.g. [1, 2]: the first makes the keys");
    int producer = -1;
    for (int k = 0; k < group->n; k++) {
        const hy_yaml *v = group->child[k];
        int i = 0;
        HY_TRY(layer_number(r, v, "layer", &i));
        if (r->sharer[i]) return hy_yaml_error(v, "layer %d is in two groups or twice in one", i);
        if (k == 0) producer = i;
        if (i < producer)
            return hy_yaml_error(v, "layer %d comes before layer %d, the first of its group, which makes the keys", i,
                                 producer);
        r->sharer[i] = v;
        r->spec->layers[i].kv_source = producer;
    }
    return HY_OK;
}

hy_status hy_spec_place_sharing(hy_spec_reader *r) {
    const hy_yaml *v = hy_yaml_get(r->root, "kv_share");
    if (!v || hy_yaml_is(v, "none")) return HY_OK;
    if (hy_yaml_is(v, "pairs")) {
        share_pairs(r->spec);
        return HY_OK;
    }
    if (v->kind != HY_YAML_LIST)
        return hy_yaml_error(v, "kv_share must be none, pairs, or a list of groups like [[1, 2], [3, 4, 5]]");
    for (int g = 0; g < v->n; g++) HY_TRY(share_group(r, v->child[g]));
    return HY_OK;
}
