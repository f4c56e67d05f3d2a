// yaml.c - see yaml.h. libyaml events to a tree with positions, --set, merging. What the values mean is not known here:
// tables of fields are read in field.c.
#include "core/format/yaml.h"

#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "core/base/utf8.h"

enum { MAX_BYTES = 4 << 20, MAX_NODES = 100000, MAX_DEPTH = 64, MAX_KEYS = 1000, MAX_ANCHORS = 1000 };

// ---------------------------------------------------------------------------------------------------- nodes
static hy_yaml *node_new(hy_yaml_kind kind, const char *file, int line, int column) {
    hy_yaml *y = hy_xcalloc(1, sizeof *y);
    y->kind = kind;
    y->file = hy_xstrdup(file);  // every node its own copy: trees of several files are merged and freed in any order
    y->line = line;
    y->column = column;
    return y;
}

void hy_yaml_free(hy_yaml *y) {
    if (!y) return;
    for (int i = 0; i < y->n; i++) {
        hy_yaml_free(y->child[i]);
        if (y->key) free(y->key[i]);
    }
    free(y->child);
    free(y->key);
    free(y->key_line);
    free(y->key_column);
    free(y->text);
    free((char *)y->file);
    free(y);
}

// Appends a child; takes over `child` and copies `key` (NULL in a list).
static void node_add(hy_yaml *y, const char *key, int line, int column, hy_yaml *child) {
    if ((y->n & (y->n - 1)) == 0) {  // a power of two is full
        size_t cap = y->n ? 2 * (size_t)y->n : 1;
        y->child = hy_xrealloc(y->child, cap * sizeof *y->child);
        if (y->kind == HY_YAML_MAP) {
            y->key = hy_xrealloc(y->key, cap * sizeof *y->key);
            y->key_line = hy_xrealloc(y->key_line, cap * sizeof *y->key_line);
            y->key_column = hy_xrealloc(y->key_column, cap * sizeof *y->key_column);
        }
    }
    y->child[y->n] = child;
    if (y->kind == HY_YAML_MAP) {
        y->key[y->n] = hy_xstrdup(key);
        y->key_line[y->n] = line;
        y->key_column[y->n] = column;
    }
    y->n++;
}

hy_yaml *hy_yaml_copy(const hy_yaml *y) {
    hy_yaml *c = node_new(y->kind, y->file, y->line, y->column);
    c->quoted = y->quoted;
    if (y->text) c->text = hy_xstrdup(y->text);
    for (int i = 0; i < y->n; i++)
        node_add(c, y->key ? y->key[i] : NULL, y->key ? y->key_line[i] : 0, y->key ? y->key_column[i] : 0,
                 hy_yaml_copy(y->child[i]));
    return c;
}

static int key_index(const hy_yaml *map, const char *key) {
    if (!map || map->kind != HY_YAML_MAP) return -1;
    for (int i = 0; i < map->n; i++)
        if (!strcmp(map->key[i], key)) return i;
    return -1;
}

hy_yaml *hy_yaml_get(const hy_yaml *map, const char *key) {
    int i = key_index(map, key);
    return i < 0 ? NULL : map->child[i];
}

bool hy_yaml_is_null(const hy_yaml *y) {
    return y->kind == HY_YAML_SCALAR && !y->quoted &&
           (!y->text[0] || !strcmp(y->text, "~") || !strcmp(y->text, "null"));
}

bool hy_yaml_is(const hy_yaml *y, const char *word) { return y && y->kind == HY_YAML_SCALAR && !strcmp(y->text, word); }

// ---------------------------------------------------------------------------------------------------- errors
static hy_status error_at(const char *file, int line, int column, const char *fmt, va_list ap) {
    char *text = NULL;
    if (vasprintf(&text, fmt, ap) < 0) return hy_error(HY_ENOMEM, "out of memory");
    hy_status s = hy_error(HY_EINPUT, "%s:%d:%d: %s", file, line, column, text);
    free(text);
    return s;
}

hy_status hy_yaml_error(const hy_yaml *at, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    hy_status s = error_at(at->file, at->line, at->column, fmt, ap);
    va_end(ap);
    return s;
}

hy_status hy_yaml_error_key(const hy_yaml *map, int i, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    // a key stands in the file of its value: in a merged map the two may differ from the map's own
    hy_status s = error_at(map->child[i]->file, map->key_line[i], map->key_column[i], fmt, ap);
    va_end(ap);
    return s;
}

// ---------------------------------------------------------------------------------------------------- reading
typedef struct {
    yaml_parser_t parser;
    const char *name;
    const char *text;
    size_t size;
    int column0;  // added to columns of the first line (values inside a --set)
    int nodes;
    int n_anchors;
    struct {
        char *name;
        const hy_yaml *node;  // inside the tree under construction
    } anchor[MAX_ANCHORS];
} reader;

static int mark_line(yaml_mark_t m) { return (int)m.line + 1; }
static int mark_column(const reader *r, yaml_mark_t m) { return (int)m.column + 1 + (m.line == 0 ? r->column0 : 0); }

static hy_status fail(reader *r, yaml_mark_t m, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static hy_status fail(reader *r, yaml_mark_t m, const char *fmt, ...) {
    size_t lines = 0, last = 0;  // libyaml puts the end of a text without newline on a line that does not exist
    for (size_t i = 0; i < r->size; i++)
        if (r->text[i] == '\n') lines++, last = i + 1;
    if (m.line > lines) m.line = lines, m.column = r->size - last;
    va_list ap;
    va_start(ap, fmt);
    hy_status s = error_at(r->name, mark_line(m), mark_column(r, m), fmt, ap);
    va_end(ap);
    return s;
}

static hy_status fail_parser(reader *r) {
    const yaml_parser_t *p = &r->parser;
    const char *problem = p->problem ? p->problem : "cannot be read";
    if (p->error == YAML_MEMORY_ERROR) return hy_error(HY_ENOMEM, "%s: out of memory", r->name);
    if (p->error != YAML_READER_ERROR)
        return p->context ? fail(r, p->problem_mark, "%s (%s)", problem, p->context)
                          : fail(r, p->problem_mark, "%s", problem);
    yaml_mark_t m = {0};  // a reader error has only a byte offset
    for (size_t i = 0; i < p->problem_offset && i < r->size; i++) {
        unsigned char c = (unsigned char)r->text[i];
        if (c == '\n')
            m.line++, m.column = 0;
        else if ((c & 0xC0) != 0x80)
            m.column++;
    }
    return fail(r, m, "not valid UTF-8 text: %s", problem);
}

static hy_status next(reader *r, yaml_event_t *ev) {
    return yaml_parser_parse(&r->parser, ev) ? HY_OK : fail_parser(r);
}

static hy_status check_tag(reader *r, const yaml_event_t *ev, const yaml_char_t *tag, const char *allowed) {
    const char *t = (const char *)tag;
    if (!t || !strcmp(t, allowed) || !strcmp(t, "!")) return HY_OK;
    return fail(r, ev->start_mark, "tag \"%s\" is not understood: write the value without a tag", t);
}

static hy_status count_node(reader *r, yaml_mark_t m) {
    return ++r->nodes > MAX_NODES ? fail(r, m, "more than %d values (aliases count as what they stand for)", MAX_NODES)
                                  : HY_OK;
}

static hy_status anchor_add(reader *r, const yaml_event_t *ev, const yaml_char_t *name, const hy_yaml *node) {
    if (!name) return HY_OK;
    for (int i = 0; i < r->n_anchors; i++)
        if (!strcmp(r->anchor[i].name, (const char *)name))
            return fail(r, ev->start_mark, "anchor \"%s\" is defined twice", (const char *)name);
    if (r->n_anchors == MAX_ANCHORS) return fail(r, ev->start_mark, "more than %d anchors", MAX_ANCHORS);
    r->anchor[r->n_anchors].name = hy_xstrdup((const char *)name);
    r->anchor[r->n_anchors++].node = node;
    return HY_OK;
}

// Nodes and levels of a finished tree: what an alias to it costs.
static int tree_nodes(const hy_yaml *y) {
    int n = 1;
    for (int i = 0; i < y->n; i++) n += tree_nodes(y->child[i]);
    return n;
}
static int tree_depth(const hy_yaml *y) {
    int d = 0;
    for (int i = 0; i < y->n; i++) {
        int c = tree_depth(y->child[i]);
        if (c > d) d = c;
    }
    return d + 1;
}

static hy_status read_alias(reader *r, const yaml_event_t *ev, int depth, hy_yaml **out) {
    const char *name = (const char *)ev->data.alias.anchor;
    for (int i = 0; i < r->n_anchors; i++) {
        if (strcmp(r->anchor[i].name, name)) continue;
        r->nodes += tree_nodes(r->anchor[i].node) - 1;
        HY_TRY(count_node(r, ev->start_mark));
        if (depth + tree_depth(r->anchor[i].node) > MAX_DEPTH)
            return fail(r, ev->start_mark, "nested deeper than %d levels", MAX_DEPTH);
        *out = hy_yaml_copy(r->anchor[i].node);
        return HY_OK;
    }
    return fail(r, ev->start_mark, "alias \"%s\" has no anchor before it", name);
}

static hy_status read_node(reader *r, const yaml_event_t *ev, int depth, hy_yaml **out);

static hy_status read_list(reader *r, hy_yaml *y, int depth) {
    for (;;) {
        yaml_event_t ev;
        HY_TRY(next(r, &ev));
        if (ev.type == YAML_SEQUENCE_END_EVENT) {
            yaml_event_delete(&ev);
            return HY_OK;
        }
        hy_yaml *item = NULL;
        hy_status s = read_node(r, &ev, depth + 1, &item);
        yaml_event_delete(&ev);
        if (s) return s;
        node_add(y, NULL, 0, 0, item);
    }
}

static hy_status read_key(reader *r, const hy_yaml *y, const yaml_event_t *ev) {
    yaml_mark_t m = ev->start_mark;
    if (ev->type != YAML_SCALAR_EVENT) return fail(r, m, "a key must be a plain word");
    const char *key = (const char *)ev->data.scalar.value;
    if (ev->data.scalar.anchor || ev->data.scalar.tag) return fail(r, m, "a key takes no anchor and no tag");
    if (strlen(key) != ev->data.scalar.length) return fail(r, m, "a key contains a zero byte");
    if (!key[0]) return fail(r, m, "a key is empty");
    if (!strcmp(key, "<<") && ev->data.scalar.style == YAML_PLAIN_SCALAR_STYLE)
        return fail(r, m, "merge keys (<<) are not supported: use base: or repeat the keys");
    int first = key_index(y, key);
    if (first >= 0) return fail(r, m, "key \"%s\" is given twice, first in line %d", key, y->key_line[first]);
    return y->n >= MAX_KEYS ? fail(r, m, "more than %d keys in one map", MAX_KEYS) : HY_OK;
}

static hy_status read_map(reader *r, hy_yaml *y, int depth) {
    for (;;) {
        yaml_event_t key, ev;
        HY_TRY(next(r, &key));
        if (key.type == YAML_MAPPING_END_EVENT) {
            yaml_event_delete(&key);
            return HY_OK;
        }
        hy_yaml *item = NULL;
        hy_status s = read_key(r, y, &key);
        if (!s) s = next(r, &ev);
        if (!s) {
            s = read_node(r, &ev, depth + 1, &item);
            yaml_event_delete(&ev);
        }
        if (!s)
            node_add(y, (const char *)key.data.scalar.value, mark_line(key.start_mark), mark_column(r, key.start_mark),
                     item);
        yaml_event_delete(&key);
        if (s) return s;
    }
}

static hy_status read_scalar(reader *r, const yaml_event_t *ev, hy_yaml *y) {
    const char *text = (const char *)ev->data.scalar.value;
    HY_TRY(check_tag(r, ev, ev->data.scalar.tag, YAML_STR_TAG));
    if (strlen(text) != ev->data.scalar.length) return fail(r, ev->start_mark, "a value contains a zero byte");
    y->text = hy_xstrdup(text);
    y->quoted = ev->data.scalar.style != YAML_PLAIN_SCALAR_STYLE || ev->data.scalar.tag;
    return HY_OK;
}

static hy_status read_node(reader *r, const yaml_event_t *ev, int depth, hy_yaml **out) {
    int line = mark_line(ev->start_mark), column = mark_column(r, ev->start_mark);
    if (depth > MAX_DEPTH) return fail(r, ev->start_mark, "nested deeper than %d levels", MAX_DEPTH);
    if (ev->type == YAML_ALIAS_EVENT) return read_alias(r, ev, depth, out);
    HY_TRY(count_node(r, ev->start_mark));
    hy_yaml *y = NULL;
    const yaml_char_t *anchor = NULL;
    hy_status s;
    if (ev->type == YAML_SCALAR_EVENT) {
        y = node_new(HY_YAML_SCALAR, r->name, line, column);
        anchor = ev->data.scalar.anchor;
        s = read_scalar(r, ev, y);
    } else if (ev->type == YAML_SEQUENCE_START_EVENT) {
        y = node_new(HY_YAML_LIST, r->name, line, column);
        anchor = ev->data.sequence_start.anchor;
        s = check_tag(r, ev, ev->data.sequence_start.tag, YAML_SEQ_TAG);
        if (!s) s = read_list(r, y, depth);
    } else {
        HY_ASSERT(ev->type == YAML_MAPPING_START_EVENT);
        y = node_new(HY_YAML_MAP, r->name, line, column);
        anchor = ev->data.mapping_start.anchor;
        s = check_tag(r, ev, ev->data.mapping_start.tag, YAML_MAP_TAG);
        if (!s) s = read_map(r, y, depth);
    }
    if (!s) s = anchor_add(r, ev, anchor, y);  // after its content: a value cannot contain itself
    if (s)
        hy_yaml_free(y);
    else
        *out = y;
    return s;
}

// The stream: one document, then its end.
static hy_status read_stream(reader *r, hy_yaml **out) {
    hy_yaml *root = NULL;
    hy_status s = HY_OK;
    for (bool end = false; !s && !end;) {
        yaml_event_t ev;
        s = next(r, &ev);
        if (s) break;
        switch (ev.type) {
            case YAML_STREAM_START_EVENT:
            case YAML_DOCUMENT_END_EVENT: break;
            case YAML_STREAM_END_EVENT: end = true; break;
            case YAML_DOCUMENT_START_EVENT:
                if (root) s = fail(r, ev.start_mark, "a second document starts here: one file holds one document");
                break;
            default: s = read_node(r, &ev, 1, &root); break;
        }
        yaml_event_delete(&ev);
    }
    if (!s && !root) {
        root = node_new(HY_YAML_SCALAR, r->name, 1, 1 + r->column0);
        root->text = hy_xstrdup("");
    }
    if (s)
        hy_yaml_free(root);
    else
        *out = root;
    return s;
}

// One word or number that means itself. Defaults of fields are such, and a model has hundreds: no parser is set up for
// them.
static bool is_word(const char *text, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const char c = text[i];
        const bool alnum = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!alnum && (i == 0 || !c || !strchr("._+-", c))) return false;
    }
    return n > 0 && n <= 64;
}

static hy_status parse(const char *name, const char *text, size_t n, int column0, hy_yaml **out) {
    *out = NULL;
    if (is_word(text, n)) {
        hy_yaml *y = node_new(HY_YAML_SCALAR, name, 1, 1 + column0);
        y->text = hy_xcalloc(n + 1, 1);
        memcpy(y->text, text, n);
        *out = y;
        return HY_OK;
    }
    if (n > MAX_BYTES)
        return hy_error(HY_EINPUT, "%s: %zu bytes are more than the %d that are read", name, n, MAX_BYTES);
    HY_TRY(hy_utf8_begin(name, &text, &n));
    reader *r = hy_xcalloc(1, sizeof *r);
    r->name = name;
    r->text = text;
    r->size = n;
    r->column0 = column0;
    hy_status s = HY_OK;
    if (!yaml_parser_initialize(&r->parser)) s = hy_error(HY_ENOMEM, "%s: out of memory", name);
    if (!s) {
        yaml_parser_set_input_string(&r->parser, (const unsigned char *)text, n);
        yaml_parser_set_encoding(&r->parser, YAML_UTF8_ENCODING);
        s = read_stream(r, out);
        yaml_parser_delete(&r->parser);
    }
    for (int i = 0; i < r->n_anchors; i++) free(r->anchor[i].name);
    free(r);
    return s;
}

hy_status hy_yaml_parse(const char *name, const char *text, size_t n, hy_yaml **out) {
    return parse(name, text, n, 0, out);
}

hy_status hy_yaml_load(const char *path, hy_yaml **out) {
    char *text = NULL;
    size_t n = 0;
    *out = NULL;
    HY_TRY(hy_file_read(path, MAX_BYTES, &text, &n));
    hy_status s = parse(path, text, n, 0, out);
    free(text);
    return s;
}

// ---------------------------------------------------------------------------------------------------- --set, merging
// Index written in `part` if it is one of list y; -1 if not.
static int list_index(const hy_yaml *y, const char *part) {
    size_t n = strlen(part);
    if (n == 0 || n > 6 || strspn(part, "0123456789") != n) return -1;
    int i = atoi(part);
    return i < y->n ? i : -1;
}

// Replaces or creates the child of `y` that `part` names; takes over value (a map when more parts follow).
static hy_status set_part(const char *label, hy_yaml *y, const char *part, int column, bool last, hy_yaml *value,
                          hy_yaml **child) {
    if (y->kind == HY_YAML_LIST) {
        int i = list_index(y, part);
        if (i < 0)
            return hy_error(HY_EINPUT, "%s:1:%d: the list has items 0 to %d, no \"%s\"", label, column, y->n - 1, part);
        if (last) {
            hy_yaml_free(y->child[i]);
            y->child[i] = value;
        }
        *child = y->child[i];
        return HY_OK;
    }
    int i = key_index(y, part);
    if (i < 0) {
        if (y->n >= MAX_KEYS)
            return hy_error(HY_EINPUT, "%s:1:%d: more than %d keys in one map", label, column, MAX_KEYS);
        node_add(y, part, 1, column, last ? value : node_new(HY_YAML_MAP, label, 1, column));
        i = y->n - 1;
    } else if (last || hy_yaml_is_null(y->child[i])) {
        hy_yaml_free(y->child[i]);
        y->child[i] = last ? value : node_new(HY_YAML_MAP, label, 1, column);
        y->key_line[i] = 1;
        y->key_column[i] = column;
    }
    *child = y->child[i];
    return HY_OK;
}

static hy_status set_path(const char *label, hy_yaml *root, char *path, hy_yaml **value) {
    int column = 1, depth = 1;
    hy_yaml *y = root;
    for (char *part = path; part;) {
        char *dot = strchr(part, '.');
        if (dot) *dot = 0;
        if (!part[0]) return hy_error(HY_EINPUT, "%s:1:%d: empty name in the path", label, column);
        if (++depth > MAX_DEPTH) return hy_error(HY_EINPUT, "%s:1:%d: path deeper than %d", label, column, MAX_DEPTH);
        if (y->kind == HY_YAML_SCALAR)
            return hy_error(HY_EINPUT, "%s:1:%d: what holds \"%s\" is a single value (\"%s\"), not a map", label,
                            column, part, y->text);
        HY_TRY(set_part(label, y, part, column, !dot, *value, &y));
        if (!dot) *value = NULL;  // now part of the tree
        column += (int)strlen(part) + 1;
        part = dot ? dot + 1 : NULL;
    }
    return HY_OK;
}

hy_status hy_yaml_set(hy_yaml *root, const char *assignment) {
    const char *eq = strchr(assignment, '=');
    if (!eq || eq == assignment) return hy_error(HY_EINPUT, "--set %s: write it as key.path=value", assignment);
    char *label = hy_asprintf("--set %s", assignment);
    char *path = hy_xstrdup(assignment);
    path[eq - assignment] = 0;
    hy_yaml *value = NULL;
    hy_status s = parse(label, eq + 1, strlen(eq + 1), (int)(eq + 1 - assignment), &value);
    if (!s && tree_depth(value) > MAX_DEPTH / 2) s = hy_error(HY_EINPUT, "%s: nested too deeply", label);
    if (!s && hy_yaml_is_null(root)) {  // an empty file
        root->kind = HY_YAML_MAP;
        free(root->text);
        root->text = NULL;
    }
    if (!s) s = set_path(label, root, path, &value);
    hy_yaml_free(value);
    free(path);
    free(label);
    return s;
}

hy_yaml *hy_yaml_merge(const hy_yaml *a, const hy_yaml *b) {
    if (!a || a->kind != HY_YAML_MAP || b->kind != HY_YAML_MAP) return hy_yaml_copy(b);
    hy_yaml *m = node_new(HY_YAML_MAP, b->file, b->line, b->column);
    for (int i = 0; i < a->n; i++) {
        int j = key_index(b, a->key[i]);
        if (j < 0)
            node_add(m, a->key[i], a->key_line[i], a->key_column[i], hy_yaml_copy(a->child[i]));
        else
            node_add(m, b->key[j], b->key_line[j], b->key_column[j], hy_yaml_merge(a->child[i], b->child[j]));
    }
    for (int j = 0; j < b->n; j++)
        if (key_index(a, b->key[j]) < 0)
            node_add(m, b->key[j], b->key_line[j], b->key_column[j], hy_yaml_copy(b->child[j]));
    return m;
}

void hy_yaml_library(char out[64]) { snprintf(out, 64, "libyaml %s", yaml_get_version_string()); }
