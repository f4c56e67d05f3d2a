// shards.c - see shards.h.
#include "core/format/shards.h"

#include <stdlib.h>
#include <string.h>

#include "core/format/json.h"

#define INDEX_MAX ((size_t)64 << 20)  // bytes of an index: far above any real one
enum { FILES_MAX = 4096 };

// ---------------------------------------------------------------------------------------------------- reports
typedef struct {
    hy_buf list;
    int n;
} problems;
static void problem(problems *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void problem(problems *p, const char *fmt, ...) {
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (++p->n <= 12) hy_buf_printf(&p->list, "\n%s", text);
}

static hy_status problems_end(problems *p, const char *path) {
    hy_status s = HY_OK;
    if (p->n)
        s = hy_error(HY_EINPUT, "%s: does not fit the files beside it:%s%s", path, p->list.s, p->n > 12 ? "\n..." : "");
    free(p->list.s);
    return s;
}

// ---------------------------------------------------------------------------------------------------- index
// A plain name of a .safetensors file in the folder itself: no way out of it.
static bool plain_name(const char *name) {
    const size_t n = strlen(name);
    return n > 12 && n < 256 && name[0] != '.' && !strchr(name, '/') && !strchr(name, '\\') &&
           !strcmp(name + n - 12, ".safetensors");
}

static int find_file(char *const *names, int n, const char *name) {
    for (int i = 0; i < n; i++)
        if (!strcmp(names[i], name)) return i;
    return -1;
}

static hy_status open_file(hy_shards *s, const char *dir, const char *name) {
    s->files = hy_xrealloc(s->files, sizeof *s->files * (size_t)(s->n + 1));
    char *path = hy_asprintf("%s/%s", dir, name);
    hy_status st = hy_st_open(path, 0, &s->files[s->n]);
    if (!st)
        s->n++;
    else if (s->indexed)
        st = hy_error_context(st, "%s", s->path);
    free(path);
    return st;
}

// Opens every file that the map names, in the order of their first mention. names[i]: the file s->files[i], borrowed.
static hy_status open_files(hy_shards *s, const char *dir, const hy_json *map, char ***names) {
    for (void *it = hy_json_first(map); it; it = hy_json_next(map, it)) {
        const char *file;
        char *where = hy_asprintf("%s: \"weight_map\": \"%.200s\"", s->path, hy_json_key(it));
        hy_status st = hy_json_string(hy_json_member(it), where, &file);
        if (!st && !plain_name(file))
            st = hy_error(HY_EINPUT, "%s: \"%.200s\" is not the name of a .safetensors file in the same folder", where,
                          file);
        free(where);
        HY_TRY(st);
        if (find_file(*names, s->n, file) >= 0) continue;
        if (s->n == FILES_MAX) return hy_error(HY_EINPUT, "%s: names more than %d files", s->path, FILES_MAX);
        *names = hy_xrealloc(*names, sizeof **names * (size_t)(s->n + 1));
        (*names)[s->n] = (char *)file;
        HY_TRY(open_file(s, dir, file));
    }
    return s->n ? HY_OK : hy_error(HY_EINPUT, "%s: \"weight_map\" names no tensors", s->path);
}

static void unlisted_add(hy_shards *s, const char *name) {
    if ((s->n_unlisted & (s->n_unlisted - 1)) == 0)  // a power of two is full
        s->unlisted = hy_xrealloc(s->unlisted, sizeof *s->unlisted * (s->n_unlisted ? 2 * (size_t)s->n_unlisted : 1));
    s->unlisted[s->n_unlisted++] = name;
}

// Is a tensor of file i in a file before it too?
static bool twice(const hy_shards *s, int i, const char *name) {
    while (i-- > 0)
        if (hy_st_find(s->files[i], name)) return true;
    return false;
}

// Every tensor lies where the index says, and nowhere else. What it does not name at all is kept apart.
static hy_status check_map(hy_shards *s, const hy_json *map, char *const *names) {
    problems p = {0};
    const char *file;
    for (void *it = hy_json_first(map); it; it = hy_json_next(map, it)) {
        HY_TRY(hy_json_string(hy_json_member(it), s->path, &file));
        const char *name = hy_json_key(it);
        if (hy_st_find(s->files[find_file(names, s->n, file)], name)) continue;
        const char *other = NULL;
        for (int i = 0; i < s->n && !other; i++)
            if (hy_st_find(s->files[i], name)) other = names[i];
        if (other)
            problem(&p, "\"%.200s\" is listed in %s but found in %s", name, file, other);
        else
            problem(&p, "\"%.200s\" is listed in %s but is not there", name, file);
    }
    for (int i = 0; i < s->n; i++)
        for (int k = 0; k < hy_st_count(s->files[i]); k++) {
            const char *name = hy_st_at(s->files[i], k)->name;
            const hy_json *j = hy_json_get(map, name);
            if (!j && twice(s, i, name))
                problem(&p, "\"%.200s\" is in %s and in another file, and not listed", name, names[i]);
            else if (!j)
                unlisted_add(s, name);
            else if (hy_json_string(j, s->path, &file) == HY_OK && strcmp(file, names[i]) &&
                     hy_st_find(s->files[find_file(names, s->n, file)], name))
                problem(&p, "\"%.200s\" is both in %s and in %s", name, file, names[i]);
        }
    return problems_end(&p, s->path);
}

static hy_status read_index(hy_shards *s, const char *dir) {
    hy_json *index;
    const hy_json *map, *meta;
    char **names = NULL;
    HY_TRY(hy_json_read(s->path, INDEX_MAX, &index));
    hy_status st =
        hy_json_type_of(index) == HY_JSON_OBJECT ? HY_OK : hy_error(HY_EINPUT, "%s: must be an object", s->path);
    if (!st && hy_json_get(index, "metadata")) st = hy_json_get_object(index, s->path, "metadata", &meta);
    if (!st) st = hy_json_get_object(index, s->path, "weight_map", &map);
    if (!st) st = open_files(s, dir, map, &names);
    if (!st) st = check_map(s, map, names);
    free(names);
    hy_json_free(index);
    return st;
}

// ---------------------------------------------------------------------------------------------------- folder
hy_status hy_folder_signs(const char *dir, const hy_folder_sign *signs) {
    for (; signs->file; signs++) {
        char *path = hy_asprintf("%s/%s", dir, signs->file);
        const bool there = hy_file_exists(path);
        free(path);
        if (there) return hy_error(HY_EINPUT, "%s: %s", dir, signs->what);
    }
    return HY_OK;
}

#define WEIGHTS_IN(file, advice) "has its weights in " file ", " advice
#define NOT_READ "which is not read: save the model as safetensors"
// There are no weights as they should be: are there others?
static const hy_folder_sign other_weights[] = {
    {"pytorch_model.bin", WEIGHTS_IN("pytorch_model.bin", NOT_READ)},
    {"pytorch_model.bin.index.json", WEIGHTS_IN("pytorch_model.bin", NOT_READ)},
    {"adapter_model.safetensors",
     WEIGHTS_IN("adapter_model.safetensors", "a PEFT adapter: merge it into its base model (merge_and_unload, then "
                                             "save_pretrained)")},
    {"consolidated.safetensors",
     WEIGHTS_IN("consolidated.safetensors",
                "under the names of the authors' own release: take the files model*.safetensors")},
    {"consolidated.00.pth",
     WEIGHTS_IN("consolidated.*.pth", "which are not read: take the folder in the layout of transformers")},
    {"tf_model.h5", WEIGHTS_IN("tf_model.h5", NOT_READ)},
    {"flax_model.msgpack", WEIGHTS_IN("flax_model.msgpack", NOT_READ)},
    {NULL, NULL},
};

hy_status hy_shards_open(const char *dir, hy_shards **out) {
    hy_shards *s = hy_xcalloc(1, sizeof *s);
    *out = NULL;
    s->path = hy_asprintf("%s/model.safetensors", dir);
    char *index = hy_asprintf("%s/model.safetensors.index.json", dir);
    hy_status st;
    if (!hy_file_exists(s->path) && hy_file_exists(index)) {
        free(s->path);
        s->path = hy_xstrdup(index);
        s->indexed = true;
        st = read_index(s, dir);
    } else {
        st = open_file(s, dir, "model.safetensors");
        if (st && !hy_file_exists(s->path) && hy_folder_signs(dir, other_weights)) st = HY_EINPUT;
    }
    free(index);
    if (st)
        hy_shards_close(s);
    else
        *out = s;
    return st;
}

void hy_shards_close(hy_shards *s) {
    if (!s) return;
    for (int i = 0; i < s->n; i++) hy_st_close(s->files[i]);
    free(s->files);
    free(s->unlisted);
    free(s->path);
    free(s);
}

const hy_st_tensor *hy_shards_find(const hy_shards *s, const char *name) {
    const hy_st_tensor *t = NULL;
    for (int i = 0; i < s->n && !t; i++) t = hy_st_find(s->files[i], name);
    return t;
}
