// spec.c - see spec.h. The fields of a model, the rules between them, canonical text and hash. Reading YAML is
// spec_read.c; what a spec costs is spec_count.c and spec_cache.c.
#include "core/spec/spec.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/spec/spec_sections.h"

enum { MAX_WIDTH = HY_SPEC_MAX_WIDTH };
#define MAX_PARAMS INT64_C(1000000000000)

// ---------------------------------------------------------------------------------------------------- rules
void hy_model_spec_init(hy_model_spec *m) {
    memset(m, 0, sizeof *m);
    for (const hy_spec_section *s = hy_spec_sections; s->fields; s++)
        for (const hy_field *f = s->fields; !s->of_layer && f->name; f++)
            if (f->quiet) hy_fields_default((const hy_field[]){*f, HY_FIELD_END}, m);
}

int hy_layer_rotary(const hy_model_spec *m, const hy_layer_spec *l) {
    if (m->rope == HY_ROPE_NONE || l->no_rope || !hy_layer_has_attention(l)) return 0;
    return l->rotary ? l->rotary : l->d_qk;
}

double hy_model_rope_base(const hy_model_spec *m, int rotary) {
    if (m->rope != HY_ROPE_NTK) return m->rope_base;
    double stretch = 2.0 * m->max_len / m->orig_len - 1.0;
    return m->rope_base * pow(stretch, (double)rotary / (rotary - 2));
}

static bool fault(hy_spec_fault *f, int layer, const char *field, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
static bool fault(hy_spec_fault *f, int layer, const char *field, const char *fmt, ...) {
    f->layer = layer;
    snprintf(f->field, sizeof f->field, "%s", field);
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(f->text, sizeof f->text, fmt, ap);
    va_end(ap);
    return true;
}

static bool section_fault(hy_spec_fault *f, int layer, const hy_spec_section *s, const char *key, const char *text) {
    char path[sizeof f->field];
    snprintf(path, sizeof path, "%s%s%s", s->prefix, s->prefix[0] ? "." : "", key);
    return fault(f, layer, path, "%s", text);
}

static bool has_default(const hy_field *quiet, const void *obj) {
    hy_buf text = {0};
    hy_fields_text((const hy_field[]){*quiet, HY_FIELD_END}, obj, 0, &text);
    free(text.s);
    return !text.n;
}

// A factor of something that no layer has would silently do nothing.
static bool idle_fault(const hy_model_spec *m, hy_spec_fault *f) {
    for (const hy_spec_section *s = hy_spec_sections; s->fields; s++) {
        bool present = s->of_layer || !s->present;
        for (int i = 0; !present && i < m->n_layers; i++) present = s->present(&m->layers[i]);
        for (const hy_field *k = s->fields; !present && k->name; k++) {
            char text[128];
            snprintf(text, sizeof text, "%s, so %s would do nothing: it must be %s", s->lacking, k->name, k->def);
            if (!has_default(k, m)) return section_fault(f, -1, s, k->name, text);
        }
    }
    return false;
}

// Fields that the layer lacks must be cleared: equal models are equal bytes.
static bool absent_fault(hy_spec_fault *f, int layer, const hy_spec_section *s, const hy_layer_spec *l) {
    for (const hy_field *k = s->fields; k->name; k++)
        for (size_t i = 0; i < hy_spec_field_size(k); i++) {
            if (((const unsigned char *)l)[k->offset + i] == s->absent_byte) continue;
            char text[128];
            snprintf(text, sizeof text, "%s, so %s must be %d", s->lacking, k->name, s->absent_byte ? -1 : 0);
            return section_fault(f, layer, s, k->name, text);
        }
    return false;
}

// Ranges of all fields of a layer, or (-1) of the model.
static bool range_fault(const hy_model_spec *m, int layer, hy_spec_fault *f) {
    const hy_layer_spec *l = layer < 0 ? NULL : &m->layers[layer];
    for (const hy_spec_section *s = hy_spec_sections; s->fields; s++) {
        if (s->of_layer != (l != NULL)) continue;
        const char *key = NULL;
        if (l && s->present && !s->present(l)) {
            if (absent_fault(f, layer, s, l)) return true;
        } else if (hy_fields_check(s->fields, l ? (const void *)l : m, &key)) {
            return section_fault(f, layer, s, key, hy_error_text());
        }
    }
    return false;
}

static bool model_fault(const hy_model_spec *m, hy_spec_fault *f) {
    if (range_fault(m, -1, f)) return true;
    size_t n = strnlen(m->name, sizeof m->name);
    if (n == 0 || n == sizeof m->name) return fault(f, -1, "name", "the name is empty or too long");
    if (strspn(m->name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._+-") != n ||
        strchr(".-+", m->name[0]))
        return fault(f, -1, "name",
                     "name \"%s\" must be of letters, digits and . _ + -, and start with a letter or digit", m->name);
    if (m->rope == HY_ROPE_NTK && 2.0 * m->max_len <= m->orig_len)
        return fault(f, -1, "max_len", "rope ntk stretches: max_len (%d) must be more than half of orig_len (%d)",
                     m->max_len, m->orig_len);
    if (m->norm_bias && m->norm != HY_NORM_LAYER)
        return fault(f, -1, "norm.bias", "only norm.kind layer has a bias: RMSNorm takes no mean off");
    const bool scaled = m->rope == HY_ROPE_LINEAR || m->rope == HY_ROPE_LLAMA3;
    if (!scaled && m->rope_factor != 1) return fault(f, -1, "rope.factor", "only rope linear and llama3 have a factor");
    if (m->rope != HY_ROPE_LLAMA3 && (m->rope_low != 1 || m->rope_high != 4))
        return fault(f, -1, "rope.low_freq_factor", "only rope llama3 has low_freq_factor and high_freq_factor");
    if (m->rope_low >= m->rope_high)
        return fault(f, -1, "rope.low_freq_factor", "low_freq_factor (%g) must be below high_freq_factor (%g)",
                     m->rope_low, m->rope_high);
    return false;
}

static bool rotary_fault(const hy_model_spec *m, int i, hy_spec_fault *f) {
    const hy_layer_spec *l = &m->layers[i];
    const int turned = hy_layer_rotary(m, l);
    if (l->no_rope && (m->rope == HY_ROPE_NONE || l->rotary))
        return fault(f, i, "attention.no_rope", "%s",
                     l->rotary ? "a layer without rope turns no values: leave out rotary"
                               : "rope.kind is none already: leave it out");
    if (l->rotary && m->rope == HY_ROPE_NONE)
        return fault(f, i, "attention.rotary", "rope.kind is none: no values turn");
    if (l->rotary >= l->d_qk && l->rotary)
        return fault(f, i, "attention.rotary", "rotary (%d) must be below d_qk (%d); all: all of them", l->rotary,
                     l->d_qk);
    if (turned && l->d_qk % 2)
        return fault(f, i, "attention.d_qk", "rope turns pairs of values: d_qk (%d) must be even, or rope.kind none",
                     l->d_qk);
    if (turned % 2)
        return fault(f, i, "attention.rotary", "rope turns pairs of values: rotary (%d) must be even", turned);
    if (m->rope == HY_ROPE_NTK && turned && turned < 4)
        return fault(f, i, l->rotary ? "attention.rotary" : "attention.d_qk", "rope ntk needs %s of at least 4, not %d",
                     l->rotary ? "rotary" : "d_qk", turned);
    return false;
}

static bool attention_fault(const hy_model_spec *m, int i, hy_spec_fault *f) {
    const hy_layer_spec *l = &m->layers[i];
    if (!l->kv_heads || !l->d_qk || !l->d_v) return fault(f, i, "attention", "heads without a width");
    if (l->heads % l->kv_heads)
        return fault(f, i, "attention.kv_heads",
                     "%d query heads cannot be shared out to %d kv_heads: it must divide heads", l->heads, l->kv_heads);
    if ((int64_t)l->heads * l->d_qk > MAX_WIDTH)
        return fault(f, i, "attention.heads", "heads * d_qk is %lld; at most %d", (long long)l->heads * l->d_qk,
                     MAX_WIDTH);
    if ((int64_t)l->heads * l->d_v > MAX_WIDTH)
        return fault(f, i, "attention.d_v", "heads * d_v is %lld; at most %d", (long long)l->heads * l->d_v, MAX_WIDTH);
    return rotary_fault(m, i, f);
}

static bool sharing_fault(const hy_model_spec *m, int i, hy_spec_fault *f) {
    const hy_layer_spec *l = &m->layers[i];
    int s = l->kv_source;
    if (s == i) return false;
    if (s < 0 || s >= m->n_layers)
        return fault(f, i, "kv_source", "layer %d: there is no layer %d to take keys from", i, s);
    if (s > i) return fault(f, i, "kv_source", "layer %d cannot use the keys of layer %d, which comes after it", i, s);
    const hy_layer_spec *p = &m->layers[s];
    if (!hy_layer_has_attention(p))
        return fault(f, i, "kv_source", "layer %d has no attention, so no keys to share", s);
    if (p->kv_source != s)
        return fault(f, i, "kv_source", "layer %d makes no keys itself; share those of layer %d", s, p->kv_source);
    if (!p->window != !l->window)
        return fault(f, i, "kv_source", "layers %d and %d cannot share: one is global, the other has a window", s, i);
    if (p->window != l->window)
        return fault(f, i, "kv_source", "layers %d and %d cannot share: their windows are %d and %d", s, i, p->window,
                     l->window);
    if (hy_layer_rotary(m, p) != hy_layer_rotary(m, l))
        return fault(f, i, "kv_source", "layers %d and %d cannot share: rope turns %d and %d values of a head", s, i,
                     hy_layer_rotary(m, p), hy_layer_rotary(m, l));
    if (p->kv_heads != l->kv_heads || p->d_qk != l->d_qk || p->d_v != l->d_v)
        return fault(f, i, "kv_source",
                     "layers %d and %d cannot share: kv_heads x d_qk / d_v are %d x %d / %d and %d x %d / %d", s, i,
                     p->kv_heads, p->d_qk, p->d_v, l->kv_heads, l->d_qk, l->d_v);
    return false;
}

static bool ssm_fault(const hy_layer_spec *l, int i, hy_spec_fault *f) {
    if (!l->d_inner || (l->ssm_kind == HY_SSM_MAMBA && !l->dt_rank))
        return fault(f, i, "ssm", "an ssm without a width");
    if (!l->inner_norms && l->inner_norm_eps != 0)
        return fault(f, i, "ssm.inner_norm_eps", "without inner_norms there is nothing that it could be added to");
    if (l->ssm_kind == HY_SSM_MAMBA) return false;
    if (l->d_inner % l->head_dim)
        return fault(f, i, "ssm.head_dim", "the ssm's d_inner %d cannot be split into heads of head_dim %d", l->d_inner,
                     l->head_dim);
    if (hy_layer_ssm_heads(l) % l->groups)
        return fault(f, i, "ssm.groups", "%d ssm heads cannot be shared out to %d groups", hy_layer_ssm_heads(l),
                     l->groups);
    if ((int64_t)l->d_inner + INT64_C(2) * l->groups * l->d_state > MAX_WIDTH)
        return fault(f, i, "ssm.d_state", "d_inner + 2 groups d_state is %lld; at most %d",
                     (long long)l->d_inner + 2LL * l->groups * l->d_state, MAX_WIDTH);
    if (l->dt_max != 0 && l->dt_max < l->dt_min)
        return fault(f, i, "ssm.dt_max", "dt_max (%g) is below dt_min (%g); 0 stands for no limit", l->dt_max,
                     l->dt_min);
    if (l->norm_before_gate && !l->gated_norm)
        return fault(f, i, "ssm.norm_before_gate", "norm_before_gate without gated_norm: there is no norm");
    return false;
}

static bool layer_fault(const hy_model_spec *m, int i, hy_spec_fault *f) {
    const hy_layer_spec *l = &m->layers[i];
    if (range_fault(m, i, f)) return true;
    if (hy_layer_has_attention(l) && attention_fault(m, i, f)) return true;
    if (hy_layer_has_ssm(l) && ssm_fault(l, i, f)) return true;
    if (l->mixer == HY_MIXER_PARALLEL && hy_fusion_same_width(l->fusion) && (int64_t)l->heads * l->d_v != l->d_inner)
        return fault(f, i, "fusion",
                     "fusion by %s needs equal widths, but attention gives heads * d_v = %d and the ssm d_inner = %d; "
                     "make them equal or use fusion: concat or sum",
                     l->fusion == HY_FUSION_MEAN ? "mean" : "gate", l->heads * l->d_v, l->d_inner);
    if (l->mixer == HY_MIXER_PARALLEL && (l->qkv_bias != l->proj_bias || l->out_bias != l->proj_bias))
        return fault(f, i, "ssm.proj_bias",
                     "a parallel layer has one in and one out projection: attention.qkv_bias, attention.out_bias "
                     "and ssm.proj_bias must be alike");
    if (l->mlp != HY_MLP_NONE && !l->d_ff) return fault(f, i, "mlp.d_ff", "an mlp without a width");
    return hy_layer_has_attention(l) && sharing_fault(m, i, f);
}

bool hy_model_spec_fault(const hy_model_spec *m, hy_spec_fault *f) {
    if (model_fault(m, f)) return true;
    for (int i = 0; i < m->n_layers; i++)
        if (layer_fault(m, i, f)) return true;
    if (idle_fault(m, f)) return true;
    hy_param_count n;
    hy_model_count(m, &n);
    if (n.total > MAX_PARAMS)
        return fault(f, -1, "layers", "the model has %.3g parameters; at most %.3g", (double)n.total,
                     (double)MAX_PARAMS);
    return false;
}

hy_status hy_model_spec_check(const hy_model_spec *m, hy_spec_fault *out) {
    hy_spec_fault f;
    if (!hy_model_spec_fault(m, &f)) return HY_OK;
    if (out) *out = f;
    if (f.layer < 0) return hy_error(HY_EINPUT, "model %.63s: %s: %s", m->name, f.field, f.text);
    return hy_error(HY_EINPUT, "model %.63s: layer %d: %s: %s", m->name, f.layer, f.field, f.text);
}

// ---------------------------------------------------------------------------------------------------- text, hash
void hy_model_multipliers_text(const hy_model_spec *m, hy_buf *out) {
    hy_field keys[HY_SPEC_KEYS + 1];
    hy_buf lines = {0};
    hy_spec_keys("multipliers", false, keys);
    hy_fields_text(keys, m, 0, &lines);
    for (char *c = lines.s, *end; c && *c; c = end + 1) {
        end = strchr(c, '\n');
        hy_buf_printf(out, "%s%.*s", c == lines.s ? "" : ", ", (int)(end - c), c);
    }
    free(lines.s);
}

char *hy_model_spec_text(const hy_model_spec *m) {
    hy_buf b = {0};
    hy_spec_sections_text(false, m, 0, &b);
    hy_buf_printf(&b, "layer_table:\n");
    for (int i = 0; i < m->n_layers; i++) {
        const size_t item = b.n + 2;
        hy_spec_sections_text(true, &m->layers[i], 4, &b);
        b.s[item] = '-';  // the first line opens the list item
    }
    return b.s;
}

void hy_model_spec_hash(const hy_model_spec *m, char out[33]) {
    char *text = hy_model_spec_text(m);
    hy_hash_hex(text, strlen(text), out);
    free(text);
}
