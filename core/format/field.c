// field.c - see field.h and the end of yaml.h. Tables of fields: defaults, reading a YAML value by type and range,
// canonical text, help, suggestions. Knows nothing of what the fields mean.
#include "core/base/memory.h"
#include "core/format/field.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/format/yaml.h"

// ---------------------------------------------------------------------------------------------------- suggestions
enum { WORD_MAX = 63 };

// Edits (insert, delete, replace, swap of neighbours) from a to b; both at most WORD_MAX long.
static int edit_distance(const char *a, int na, const char *b, int nb) {
    int row[3][WORD_MAX + 1];
    int *two = row[0], *one = row[1], *now = row[2];
    for (int j = 0; j <= nb; j++) one[j] = j;
    for (int i = 1; i <= na; i++) {
        now[0] = i;
        for (int j = 1; j <= nb; j++) {
            int best = one[j - 1] + (a[i - 1] != b[j - 1]);
            if (one[j] + 1 < best) best = one[j] + 1;
            if (now[j - 1] + 1 < best) best = now[j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && two[j - 2] + 1 < best)
                best = two[j - 2] + 1;
            now[j] = best;
        }
        int *t = two;
        two = one, one = now, now = t;
    }
    return one[nb];
}

int hy_choice_of(const char *word, size_t n, const char *choices) {
    int i = 0;
    for (const char *p = choices; p && *p; i++) {
        const size_t len = strcspn(p, "|");
        if (len == n && !strncmp(p, word, n)) return i;
        p += len + (p[len] == '|');
    }
    return -1;
}

char *hy_suggest(const char *word, const char *list) {
    int nw = (int)strnlen(word, WORD_MAX + 1), best = nw / 3 + 2;  // more edits than this is another word
    const char *hit = NULL;
    int nhit = 0;
    for (const char *p = list; nw <= WORD_MAX && *p;) {
        int n = (int)strcspn(p, "|");
        if (n > 0 && n <= WORD_MAX) {
            bool part = nw >= 3 && ((n > nw && !strncmp(p, word, (size_t)nw)) ||
                                    (n >= 3 && nw > n && !strncmp(word, p, (size_t)n)));
            int d = part ? 1 : edit_distance(word, nw, p, n);
            if (d < best && d < n) best = d, hit = p, nhit = n;
        }
        p += n + (p[n] == '|');
    }
    return hit ? hy_asprintf(" (did you mean \"%.*s\"?)", nhit, hit) : hy_xstrdup("");
}

// ---------------------------------------------------------------------------------------------------- text of values
void hy_double_text(double v, char out[32]) {
    if (v == floor(v) && fabs(v) < 1e15 && !(v == 0 && signbit(v))) {
        snprintf(out, 32, "%.0f", v);
        return;
    }
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(out, 32, "%.*g", digits, v);
        if (strtod(out, NULL) == v) return;
    }
}

static bool plain_is_safe(const char *s) {
    static const char *const words[] = {"null", "true", "false", "yes", "no", "on", "off"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (!strcasecmp(s, words[i])) return false;
    if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_/", s[0]) || !s[0]) return false;
    return strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_/.+-") == strlen(s);
}

void hy_yaml_quote(const char *s, hy_buf *out) {
    if (plain_is_safe(s)) {
        hy_buf_printf(out, "%s", s);
        return;
    }
    hy_buf_printf(out, "\"");
    for (const unsigned char *c = (const unsigned char *)s; *c; c++) {
        if (*c == '"' || *c == '\\')
            hy_buf_printf(out, "\\%c", *c);
        else if (*c == '\n')
            hy_buf_printf(out, "\\n");
        else if (*c == '\t')
            hy_buf_printf(out, "\\t");
        else if (*c < 0x20 || *c == 0x7F)
            hy_buf_printf(out, "\\x%02X", *c);
        else
            hy_buf_write(out, c, 1);
    }
    hy_buf_printf(out, "\"");
}

static void choice_text(const hy_field *f, int v, hy_buf *out) {
    const char *p = f->choices;
    for (int i = 0; i < v && *p; i++) p += strcspn(p, "|") + (p[strcspn(p, "|")] == '|');
    hy_buf_printf(out, "%.*s", (int)strcspn(p, "|"), p);
}

static void value_text(const hy_field *f, const void *obj, hy_buf *out) {
    const char *p = (const char *)obj + f->offset;
    const hy_ints *ints = (const hy_ints *)p;
    const hy_doubles *doubles = (const hy_doubles *)p;
    char num[32];
    switch (f->type) {
        case HY_F_INT:
            if (f->choices && *(const int *)p == 0)
                hy_buf_printf(out, "%s", f->choices);
            else
                hy_buf_printf(out, "%d", *(const int *)p);
            break;
        case HY_F_LONG: hy_buf_printf(out, "%lld", (long long)*(const int64_t *)p); break;
        case HY_F_DOUBLE:
            hy_double_text(*(const double *)p, num);
            hy_buf_printf(out, "%s", f->choices && *(const double *)p == 0 ? f->choices : num);
            break;
        case HY_F_BOOL: hy_buf_printf(out, *(const int *)p ? "true" : "false"); break;
        case HY_F_STRING: hy_yaml_quote(p, out); break;
        case HY_F_ENUM: choice_text(f, *(const int *)p, out); break;
        case HY_F_INTS:
            hy_buf_printf(out, "[");
            for (int i = 0; i < ints->n; i++) hy_buf_printf(out, "%s%d", i ? ", " : "", ints->v[i]);
            hy_buf_printf(out, "]");
            break;
        case HY_F_PAIRS:
            hy_buf_printf(out, "[");
            for (int i = 0; i + 1 < ints->n; i += 2)
                hy_buf_printf(out, "%s[%d, %d]", i ? ", " : "", ints->v[i], ints->v[i + 1]);
            hy_buf_printf(out, "]");
            break;
        case HY_F_DOUBLES:
            hy_buf_printf(out, "[");
            for (int i = 0; i < doubles->n; i++) {
                hy_double_text(doubles->v[i], num);
                hy_buf_printf(out, "%s%s", i ? ", " : "", num);
            }
            hy_buf_printf(out, "]");
            break;
    }
}

// Has a quiet field its default?
static bool is_default(const hy_field *f, const void *obj) {
    if (f->type == HY_F_STRING) return !strcmp((const char *)obj + f->offset, f->def);  // a plain word
    hy_field one[2] = {*f, HY_FIELD_END};
    hy_doubles value = {0};  // the largest type there is
    hy_buf a = {0}, b = {0};
    one[0].offset = 0;
    hy_fields_default(one, &value);
    value_text(f, obj, &a);
    value_text(one, &value, &b);
    const bool same = !strcmp(a.s, b.s);
    free(a.s);
    free(b.s);
    return same;
}

void hy_fields_text(const hy_field *f, const void *obj, int indent, hy_buf *out) {
    for (; f->name; f++) {
        const bool quiet = f->quiet;
        if (quiet && is_default(f, obj)) continue;
        hy_buf_printf(out, "%*s%s: ", indent, "", f->name);
        value_text(f, obj, out);
        hy_buf_printf(out, "\n");
    }
}

char *hy_fields_line(const char *text) {
    hy_buf b = {0};
    hy_buf_printf(&b, "%s", "");
    for (const char *c = text; *c; c++) {
        if (c[0] == ':' && c[1] == ' ')
            hy_buf_printf(&b, "="), c++;
        else
            hy_buf_printf(&b, "%c", *c == '\n' ? ' ' : *c);
    }
    while (b.n && b.s[b.n - 1] == ' ') b.s[--b.n] = 0;
    return b.s;
}

bool hy_ints_want(const hy_ints *list, int i) {
    for (int k = 0; k < list->n; k++)
        if (list->v[k] == i) return true;
    return list->n == 0;
}

// ---------------------------------------------------------------------------------------------------- reading values
static bool bounded(const hy_field *f) { return f->min <= f->max && (f->min != 0 || f->max != 0); }

// A number that has a word for 0.
static bool has_word(const hy_field *f) { return (f->type == HY_F_INT || f->type == HY_F_DOUBLE) && f->choices; }

static void range_text(const hy_field *f, char out[96]) {
    char lo[32], hi[32];
    hy_double_text(f->min, lo);
    hy_double_text(f->max, hi);
    const char *word = has_word(f) ? f->choices : "", *sep = word[0] ? ", or " : "";
    if (!bounded(f))
        snprintf(out, 96, "%s", word);
    else if (isinf(f->max))
        snprintf(out, 96, "%s or more%s%s", lo, sep, word);
    else if (isinf(f->min))
        snprintf(out, 96, "at most %s%s%s", hi, sep, word);
    else
        snprintf(out, 96, "%s to %s%s%s", lo, hi, sep, word);
}

static hy_status wrong(const hy_yaml *v, const hy_field *f, const char *wanted) {
    char range[96];
    range_text(f, range);
    const char *sep = range[0] ? ", " : "";
    if (v->kind != HY_YAML_SCALAR)
        return hy_yaml_error(v, "%s must be %s%s%s, not a %s", f->name, wanted, sep, range,
                             v->kind == HY_YAML_LIST ? "list" : "map");
    return hy_yaml_error(v, "%s must be %s%s%s, not \"%s\"", f->name, wanted, sep, range, v->text);
}

static hy_status out_of_range(const hy_yaml *v, const hy_field *f) {
    char range[96];
    range_text(f, range);
    return hy_yaml_error(v, "%s is %s; it must be %s", f->name, v->text, range);
}

// [-+]digits, within int64 and the field's range.
static hy_status read_long(const hy_yaml *v, const hy_field *f, int64_t lo, int64_t hi, int64_t *out) {
    const char *t = v->kind == HY_YAML_SCALAR && !v->quoted ? v->text : "";
    size_t sign = t[0] == '-' || t[0] == '+', digits = strspn(t + sign, "0123456789");
    if (!digits || t[sign + digits]) return wrong(v, f, "a whole number");
    errno = 0;
    long long x = strtoll(t, NULL, 10);
    if (bounded(f) && (errno || (double)x < f->min || (double)x > f->max)) return out_of_range(v, f);
    if (errno || x < lo || x > hi) return hy_yaml_error(v, "%s is %s: too large a number", f->name, t);
    *out = x;
    return HY_OK;
}

static hy_status read_int(const hy_yaml *v, const hy_field *f, int *out) {
    int64_t x = 0;
    HY_TRY(read_long(v, f, INT32_MIN, INT32_MAX, &x));
    *out = (int)x;
    return HY_OK;
}

static hy_status read_double(const hy_yaml *v, const hy_field *f, double *out) {
    const char *t = v->kind == HY_YAML_SCALAR && !v->quoted ? v->text : "";
    if (!t[0] || strspn(t, "0123456789+-.eE") != strlen(t)) return wrong(v, f, "a number");
    char *end = NULL;
    double x = strtod(t, &end);
    if (*end) return wrong(v, f, "a number");
    if (!isfinite(x)) return hy_yaml_error(v, "%s is %s: too large a number", f->name, t);
    if (bounded(f) && (x < f->min || x > f->max)) return out_of_range(v, f);
    *out = x;
    return HY_OK;
}

static hy_status read_bool(const hy_yaml *v, const hy_field *f, int *out) {
    bool yes = hy_yaml_is(v, "true"), no = hy_yaml_is(v, "false");
    if ((!yes && !no) || v->quoted) return wrong(v, f, "true or false");
    *out = yes;
    return HY_OK;
}

static hy_status read_string(const hy_yaml *v, const hy_field *f, char *out) {
    if (v->kind != HY_YAML_SCALAR) return wrong(v, f, "a text");
    if (hy_yaml_is_null(v)) return hy_yaml_error(v, "%s has no value (write \"\" for an empty text)", f->name);
    if (strlen(v->text) >= f->size) return hy_yaml_error(v, "%s is longer than %zu bytes", f->name, f->size - 1);
    memset(out, 0, f->size);  // specs are compared with memcmp
    memcpy(out, v->text, strlen(v->text));
    return HY_OK;
}

static hy_status read_enum(const hy_yaml *v, const hy_field *f, int *out) {
    const int i = v->kind == HY_YAML_SCALAR ? hy_choice_of(v->text, strlen(v->text), f->choices) : -1;
    if (i >= 0) {
        *out = i;
        return HY_OK;
    }
    hy_buf b = {0};
    hy_buf_printf(&b, "one of");
    for (const char *p = f->choices; *p; p += strcspn(p, "|") + (p[strcspn(p, "|")] == '|'))
        hy_buf_printf(&b, "%s %.*s", p == f->choices ? "" : ",", (int)strcspn(p, "|"), p);
    char *hint = hy_suggest(v->kind == HY_YAML_SCALAR ? v->text : "", f->choices);
    hy_status s = wrong(v, f, b.s);
    if (hint[0]) s = hy_error(HY_EINPUT, "%s%s", hy_error_text(), hint);
    free(hint);
    free(b.s);
    return s;
}

static hy_status too_long(const hy_yaml *v, const hy_field *f) {
    return hy_yaml_error(v, "%s has %d items; at most %d fit", f->name, v->n, HY_LIST_MAX);
}

static hy_status read_ints(const hy_yaml *v, const hy_field *f, hy_ints *out) {
    hy_ints r = {0};
    if (v->kind == HY_YAML_MAP) return wrong(v, f, "a list of whole numbers");
    if (v->kind == HY_YAML_SCALAR) {
        r.n = 1;
        HY_TRY(read_int(v, f, &r.v[0]));
    } else {
        if (v->n > HY_LIST_MAX) return too_long(v, f);
        for (; r.n < v->n; r.n++) HY_TRY(read_int(v->child[r.n], f, &r.v[r.n]));
    }
    *out = r;
    return HY_OK;
}

static hy_status read_doubles(const hy_yaml *v, const hy_field *f, hy_doubles *out) {
    hy_doubles r = {0};
    if (v->kind == HY_YAML_MAP) return wrong(v, f, "a list of numbers");
    if (v->kind == HY_YAML_SCALAR) {
        r.n = 1;
        HY_TRY(read_double(v, f, &r.v[0]));
    } else {
        if (v->n > HY_LIST_MAX) return too_long(v, f);
        for (; r.n < v->n; r.n++) HY_TRY(read_double(v->child[r.n], f, &r.v[r.n]));
    }
    *out = r;
    return HY_OK;
}

static hy_status read_pairs(const hy_yaml *v, const hy_field *f, hy_ints *out) {
    hy_ints r = {0};
    if (v->kind != HY_YAML_LIST) return wrong(v, f, "a list of pairs, [[a, b], [c, d]]");
    if (v->n > HY_LIST_MAX / 2) return too_long(v, f);
    for (int i = 0; i < v->n; i++) {
        const hy_yaml *pair = v->child[i];
        if (pair->kind != HY_YAML_LIST || pair->n != 2) return wrong(pair, f, "pairs, each [a, b]");
        HY_TRY(read_int(pair->child[0], f, &r.v[r.n++]));
        HY_TRY(read_int(pair->child[1], f, &r.v[r.n++]));
    }
    *out = r;
    return HY_OK;
}

hy_status hy_yaml_field(const hy_yaml *v, const hy_field *f, void *obj) {
    char *p = (char *)obj + f->offset;
    switch (f->type) {
        case HY_F_INT:
            if (f->choices && hy_yaml_is(v, f->choices)) {
                *(int *)p = 0;
                return HY_OK;
            }
            return read_int(v, f, (int *)p);
        case HY_F_LONG: return read_long(v, f, INT64_MIN, INT64_MAX, (int64_t *)p);
        case HY_F_DOUBLE:
            if (f->choices && hy_yaml_is(v, f->choices)) {
                *(double *)p = 0;
                return HY_OK;
            }
            return read_double(v, f, (double *)p);
        case HY_F_BOOL: return read_bool(v, f, (int *)p);
        case HY_F_STRING: return read_string(v, f, p);
        case HY_F_ENUM: return read_enum(v, f, (int *)p);
        case HY_F_INTS: return read_ints(v, f, (hy_ints *)p);
        case HY_F_DOUBLES: return read_doubles(v, f, (hy_doubles *)p);
        case HY_F_PAIRS: return read_pairs(v, f, (hy_ints *)p);
    }
    return hy_error(HY_EFAIL, "field %s has no known type", f->name);
}

// ---------------------------------------------------------------------------------------------------- whole tables
static const hy_field *find(const hy_field *f, const char *name) {
    for (; f->name; f++)
        if (!strcmp(f->name, name)) return f;
    return NULL;
}

// The names of a table and of `also`, with bars: what hy_suggest chooses from.
static char *known_names(const hy_field *f, const char *also) {
    hy_buf b = {0};
    hy_buf_printf(&b, "%s", also ? also : "");
    for (; f->name; f++) hy_buf_printf(&b, "%s%s", b.n ? "|" : "", f->name);
    return b.s;
}

hy_status hy_yaml_fields(const hy_yaml *map, const hy_field *f, void *obj, const char *also) {
    if (hy_yaml_is_null(map)) return HY_OK;
    if (map->kind != HY_YAML_MAP)
        return hy_yaml_error(map, "keys and values are wanted here (key: value), not a %s",
                             map->kind == HY_YAML_LIST ? "list" : "single value");
    for (int i = 0; i < map->n; i++) {
        const hy_field *hit = find(f, map->key[i]);
        if (hit) {
            HY_TRY(hy_yaml_field(map->child[i], hit, obj));
        } else if (!hy_is_choice(map->key[i], also)) {
            char *known = known_names(f, also), *hint = hy_suggest(map->key[i], known);
            hy_status s = hy_yaml_error_key(map, i, "unknown key \"%s\"%s", map->key[i], hint);
            if (!hint[0] && known[0]) {
                for (char *c = known; (c = strchr(c, '|'));) *c = ' ';
                s = hy_error(HY_EINPUT, "%s; known: %s", hy_error_text(), known);
            }
            free(hint);
            free(known);
            return s;
        }
    }
    return HY_OK;
}

hy_status hy_fields_set(const hy_field *f, void *obj, const char *name, const char *yaml_text) {
    const hy_field *hit = find(f, name);
    if (!hit) {
        char *known = known_names(f, NULL), *hint = hy_suggest(name, known);
        hy_status s = hy_error(HY_EINPUT, "unknown key \"%s\"%s", name, hint);
        free(hint);
        free(known);
        return s;
    }
    hy_yaml *v = NULL;
    if (hit->type == HY_F_STRING && !yaml_text[0]) {  // nothing given: an empty text
        memset((char *)obj + hit->offset, 0, hit->size);
        return HY_OK;
    }
    HY_TRY(hy_yaml_parse(name, yaml_text, strlen(yaml_text), &v));
    hy_status s = hy_yaml_field(v, hit, obj);
    hy_yaml_free(v);
    return s;
}

void hy_fields_default(const hy_field *f, void *obj) {
    for (; f->name; f++) {
        hy_status s = hy_fields_set(f, obj, f->name, f->def);
        if (s == HY_ENOMEM) hy_no_memory();
        if (s) fprintf(stderr, "hylab: default of %s: %s\n", f->name, hy_error_text());
        HY_ASSERT(s == HY_OK);  // a table with a bad default is a bug
    }
}

// Is x, a value of field f, outside its range? A word that stands for 0 is inside.
static bool outside(const hy_field *f, double x) {
    if (has_word(f) && x == 0) return false;
    return !isfinite(x) || (bounded(f) && (x < f->min || x > f->max));
}

hy_status hy_fields_check(const hy_field *f, const void *obj, const char **name) {
    for (; f->name; f++) {
        const char *p = (const char *)obj + f->offset;
        const hy_ints *ints = (const hy_ints *)p;
        const hy_doubles *doubles = (const hy_doubles *)p;
        double bad = 0;
        bool wrong_one = false;
        if (f->type == HY_F_INT || f->type == HY_F_BOOL || f->type == HY_F_ENUM) {
            int choices = 1;
            for (const char *c = f->choices; c && *c; c++) choices += *c == '|';
            bad = *(const int *)p;
            if (f->type == HY_F_INT)
                wrong_one = outside(f, bad);
            else
                wrong_one = bad < 0 || bad >= (f->type == HY_F_BOOL ? 2 : choices);
        } else if (f->type == HY_F_LONG) {
            wrong_one = outside(f, bad = (double)*(const int64_t *)p);
        } else if (f->type == HY_F_DOUBLE) {
            wrong_one = outside(f, bad = *(const double *)p);
        } else if (f->type == HY_F_DOUBLES) {
            for (int i = 0; i < doubles->n && !wrong_one; i++) wrong_one = outside(f, bad = doubles->v[i]);
        } else if (f->type != HY_F_STRING) {
            for (int i = 0; i < ints->n && !wrong_one; i++) wrong_one = outside(f, bad = ints->v[i]);
        }
        if (!wrong_one) continue;
        if (name) *name = f->name;
        char range[96], value[32];
        range_text(f, range);
        hy_double_text(bad, value);
        return hy_error(HY_EINPUT, "%s is %s; it must be %s", f->name, value,
                        range[0]     ? range
                        : f->choices ? f->choices
                                     : "finite");
    }
    return HY_OK;
}

void hy_fields_help(const hy_field *table, const char *title, hy_buf *out) {
    static const char *const types[] = {"whole number",  "whole number", "number",
                                        "true, false",   "text",         "",
                                        "whole numbers", "numbers",      "pairs of whole numbers"};
    int wn = 4, wd = 7;
    for (const hy_field *f = table; f->name; f++) {
        if ((int)strlen(f->name) > wn) wn = (int)strlen(f->name);
        if ((int)strlen(f->def) > wd) wd = (int)strlen(f->def);
    }
    hy_buf_printf(out, "%s\n  %-*s  %-*s  %s\n", title, wn, "name", wd, "default", "meaning (range)");
    for (const hy_field *f = table; f->name; f++) {
        char range[96];
        range_text(f, range);
        hy_buf_printf(out, "  %-*s  %-*s  %s", wn, f->name, wd, f->def[0] ? f->def : "\"\"", f->doc);
        if (f->type == HY_F_ENUM) {
            hy_buf_printf(out, " (");
            for (const char *p = f->choices; *p; p++) hy_buf_printf(out, *p == '|' ? ", " : "%c", *p);
            hy_buf_printf(out, ")\n");
        } else {
            hy_buf_printf(out, " (%s%s%s)\n", types[f->type], range[0] ? ", " : "", range);
        }
    }
}
