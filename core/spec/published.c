// published.c - see published.h. Reading and rounding only: what is compared, and how, is the business of the commands.
#include "core/spec/published.h"

#include <string.h>

#define P(member) offsetof(hy_published, member), sizeof((hy_published *)0)->member
static const hy_field fields[] = {
    {"in", HY_F_STRING, P(in), "", 0, 0, NULL, "where it is printed, e.g. Table 10 row 5"},
    {"cache_mb", HY_F_STRING, P(cache_mb), "", 0, 0, NULL,
     "cache in MB of 10^6 bytes as the paper counts, at 8000 tokens, with every printed digit"},
    {"ratio", HY_F_STRING, P(ratio), "", 0, 0, NULL, "SSM parameters to one of attention (Table 10)"},
    {"parameters", HY_F_STRING, P(parameters), "", 0, 0, NULL, "all parameters"},
    HY_FIELD_END,
};

static hy_status check_digits(const hy_yaml *map, const char *key, const char *text, bool whole) {
    size_t n = strspn(text, "0123456789");
    bool good = n > 0 && n <= 15;
    if (good && !whole && text[n] == '.') {
        size_t after = strspn(text + n + 1, "0123456789");
        good = after > 0 && after <= 6;
        n += 1 + after;
    }
    if (text[0] && (!good || text[n]))
        return hy_yaml_error(hy_yaml_get(map, key), "%s must be a %snumber as it is printed, not \"%s\"", key,
                             whole ? "whole " : "", text);
    return HY_OK;
}

hy_status hy_published_read(const hy_yaml *list, hy_published_list *out) {
    memset(out, 0, sizeof *out);
    if (hy_yaml_is_null(list)) return HY_OK;
    if (list->kind != HY_YAML_LIST)
        return hy_yaml_error(list, "published must be a list of maps, e.g. [{in: Table 10 row 5, cache_mb: 148.24}]");
    if (list->n > HY_PUBLISHED_MAX)
        return hy_yaml_error(list, "published has %d entries; at most %d fit", list->n, HY_PUBLISHED_MAX);
    for (int i = 0; i < list->n; i++) {
        const hy_yaml *e = list->child[i];
        hy_published *p = &out->v[out->n];
        if (e->kind != HY_YAML_MAP) return hy_yaml_error(e, "an entry of published is a map with the key in");
        HY_TRY(hy_yaml_fields(e, fields, p, NULL));
        if (!p->in[0]) return hy_yaml_error(e, "an entry of published needs in: where it is printed");
        HY_TRY(check_digits(e, "cache_mb", p->cache_mb, false));
        HY_TRY(check_digits(e, "ratio", p->ratio, false));
        HY_TRY(check_digits(e, "parameters", p->parameters, true));
        out->n++;
    }
    return HY_OK;
}

hy_status hy_published_load(const char *path, hy_published_list *out) {
    hy_yaml *root = NULL;
    memset(out, 0, sizeof *out);
    HY_TRY(hy_yaml_load(path, &root));
    const hy_yaml *list = hy_yaml_get(root, "published");
    hy_status s = list ? hy_published_read(list, out) : HY_OK;
    hy_yaml_free(root);
    return s;
}

void hy_published_round(double v, const char *printed, char out[32]) {
    const char *point = strchr(printed, '.');
    snprintf(out, 32, "%.*f", point ? (int)strlen(point + 1) : 0, v);
}

const hy_published *hy_published_cache(const hy_published_list *l) {
    for (int i = 0; i < l->n; i++)
        if (l->v[i].cache_mb[0]) return &l->v[i];
    return NULL;
}

void hy_published_help(hy_buf *out) {
    hy_fields_help(
        fields, "\npublished: [{...}], what is printed of this model elsewhere (not part of it, not taken from a base)",
        out);
}

int hy_published_order(const char *a, const char *b) {
    while (*a && *b) {
        size_t na = strspn(a, "0123456789"), nb = strspn(b, "0123456789");
        if (na && nb) {
            if (na != nb) return na < nb ? -1 : 1;
            int c = strncmp(a, b, na);
            if (c) return c;
            a += na, b += nb;
        } else if (*a != *b) {
            return (unsigned char)*a < (unsigned char)*b ? -1 : 1;
        } else {
            a++, b++;
        }
    }
    return (*a != 0) - (*b != 0);
}
