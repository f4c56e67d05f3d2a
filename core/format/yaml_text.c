// yaml_text.c - see yaml_text.h.
#include "core/format/yaml_text.h"

#include <stdlib.h>
#include <string.h>

void hy_yaml_flow(const hy_yaml *y, hy_buf *out) {
    if (y->kind == HY_YAML_SCALAR) {
        // plain text that flow style would read otherwise can only be a string: quoting keeps its meaning
        if (y->quoted || strpbrk(y->text, ",[]{}:#&*!|>'\"%@`\n"))
            hy_yaml_quote(y->text, out);
        else
            hy_buf_printf(out, "%s", y->text[0] ? y->text : "null");
        return;
    }
    hy_buf_printf(out, "%c", y->kind == HY_YAML_MAP ? '{' : '[');
    for (int i = 0; i < y->n; i++) {
        if (i) hy_buf_printf(out, ", ");
        if (y->kind == HY_YAML_MAP) {
            hy_yaml_quote(y->key[i], out);
            hy_buf_printf(out, ": ");
        }
        hy_yaml_flow(y->child[i], out);
    }
    hy_buf_printf(out, "%c", y->kind == HY_YAML_MAP ? '}' : ']');
}

void hy_yaml_leaves(const hy_yaml *map, const char *prefix, hy_yaml_leaf add, void *user) {
    for (int i = 0; i < map->n; i++) {
        char *path = hy_asprintf("%s%s%s", prefix, *prefix ? "." : "", map->key[i]);
        if (map->child[i]->kind == HY_YAML_MAP && map->child[i]->n) {
            hy_yaml_leaves(map->child[i], path, add, user);
        } else {
            hy_buf b = {0};
            hy_buf_printf(&b, "%s=", path);
            hy_yaml_flow(map->child[i], &b);
            add(user, b.s, map->child[i]);
            free(b.s);
        }
        free(path);
    }
}
