// data_clips.c - lists of recordings: a CSV manifest with columns path, label and perhaps split and group, or a folder
// whose folders are the labels, as Speech Commands is laid out. See seq_impl.h.
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "core/base/utf8.h"
#include "core/task/seq_impl.h"

#define CLIPS_MOST ((int64_t)1 << 24)

void hy_clips_free(hy_clips *c) {
    for (int64_t i = 0; i < c->n; i++) free(c->v[i].path), free(c->v[i].label), free(c->v[i].group);
    free(c->v);
    *c = (hy_clips){0};
}

hy_status hy_clips_add(hy_clips *c, const char *path, const char *label, const char *group, int split) {
    if (c->n == CLIPS_MOST) return hy_error(HY_EINPUT, "more than %lld recordings", (long long)CLIPS_MOST);
    if (c->n == c->cap) {
        c->cap = c->cap ? 2 * c->cap : 256;
        c->v = hy_xrealloc(c->v, (size_t)c->cap * sizeof *c->v);
    }
    c->v[c->n++] = (hy_clip){
        .path = hy_xstrdup(path), .label = hy_xstrdup(label), .group = hy_xstrdup(group), .split = (uint8_t)split};
    return HY_OK;
}

// ---------------------------------------------------------------------------------------------------- CSV
enum { COLUMNS_MOST = 32 };

// The fields of a line, in place: separated by commas, in double quotes where they have to be ("" is a quote). Ends the
// line; *next is the one after it. Number of fields; -1: the text is not so.
static int line_cut(char *line, char **fields, char **next) {
    char *in = line, *out = line;
    for (int n = 0; n < COLUMNS_MOST; n++) {
        fields[n] = out;
        if (*in == '"') {
            for (in++; *in && (*in != '"' || in[1] == '"'); in++) {
                if (*in == '\n') return -1;
                if (*in == '"') in++;
                *out++ = *in;
            }
            if (*in++ != '"') return -1;
        } else {
            while (*in && *in != ',' && *in != '\n' && *in != '\r') *out++ = *in++;
        }
        const char end = *in;
        if (end == '\r' && in[1] == '\n') in++;
        if (*in && *in != ',' && *in != '\n') return -1;
        const bool more = *in == ',';
        if (*in) in++;
        *out++ = 0;
        if (more) continue;
        *next = in;
        return n + 1;
    }
    return -1;
}

static int split_word(const char *word) {
    static const struct {
        const char *word;
        int split;
    } words[] = {{"", HY_SEQ_ANY},        {"train", HY_SPLIT_TRAIN},
                 {"tune", HY_SPLIT_TUNE}, {"validation", HY_SPLIT_TUNE},
                 {"eval", HY_SPLIT_EVAL}, {"test", HY_SPLIT_EVAL}};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (!strcmp(word, words[i].word)) return words[i].split;
    return -1;
}

typedef struct {
    int n, path, label, split, group;  // columns; -1: there is none
} columns;

static hy_status header_read(const char *path, char *line, char **next, columns *c) {
    char *f[COLUMNS_MOST];
    *c = (columns){line_cut(line, f, next), -1, -1, -1, -1};
    for (int i = 0; i < c->n; i++) {
        if (!strcmp(f[i], "path")) c->path = i;
        if (!strcmp(f[i], "label")) c->label = i;
        if (!strcmp(f[i], "split")) c->split = i;
        if (!strcmp(f[i], "group")) c->group = i;
    }
    if (c->path < 0 || c->label < 0)
        return hy_error(HY_EINPUT,
                        "%s:1: the first line must name the columns: path,label and, if wanted, split and group", path);
    return HY_OK;
}

static hy_status rows_read(hy_clips *clips, const char *path, char *text) {
    columns c;
    char *f[COLUMNS_MOST], *line = NULL;
    HY_TRY(header_read(path, text, &line, &c));
    for (int64_t number = 2; *line; number++) {
        char *next = NULL;
        const int n = line_cut(line, f, &next);
        if (n < 0)
            return hy_error(HY_EINPUT, "%s:%lld: no CSV: a quote is open, or something follows one", path,
                            (long long)number);
        if (n == 1 && !f[0][0]) {
            line = next;
            continue;
        }
        if (n != c.n)
            return hy_error(HY_EINPUT, "%s:%lld: %d fields, the first line names %d", path, (long long)number, n, c.n);
        const int split = c.split < 0 ? HY_SEQ_ANY : split_word(f[c.split]);
        if (split < 0)
            return hy_error(HY_EINPUT,
                            "%s:%lld: split \"%s\"; it must be train, tune (or validation), eval (or test) "
                            "or empty",
                            path, (long long)number, f[c.split]);
        if (!f[c.path][0] || !f[c.label][0])
            return hy_error(HY_EINPUT, "%s:%lld: path or label is empty", path, (long long)number);
        char *file = hy_path_beside(path, f[c.path]);
        const hy_status s = hy_clips_add(clips, file, f[c.label], c.group < 0 ? "" : f[c.group], split);
        free(file);
        HY_TRY(s);
        line = next;
    }
    if (!clips->n) return hy_error(HY_EINPUT, "%s: names no recording", path);
    return HY_OK;
}

hy_status hy_clips_manifest(hy_clips *c, const char *path, const char *text, size_t n) {
    HY_TRY(hy_utf8_begin(path, &text, &n));
    if (strlen(text) != n) return hy_error(HY_EINPUT, "%s: is no text: it has a byte 0", path);
    char *copy = hy_xstrdup(text);
    const hy_status s = rows_read(c, path, copy);
    free(copy);
    return s;
}

// ---------------------------------------------------------------------------------------------------- folders
static int is_label(const struct dirent *e) { return e->d_name[0] != '.' && e->d_name[0] != '_'; }
static int is_wav(const struct dirent *e) {
    const size_t n = strlen(e->d_name);
    return e->d_name[0] != '.' && n > 4 && !strcasecmp(e->d_name + n - 4, ".wav");
}

// Lines "label/file.wav", sorted.
typedef struct {
    char *text, **v;
    size_t n;
} name_list;

static hy_status names_read(const char *folder, const char *name, name_list *l) {
    char *path = hy_asprintf("%s/%s", folder, name);
    size_t n = 0;
    const hy_status s = hy_file_exists(path) ? hy_file_read(path, HY_SEQ_MAX_BYTES, &l->text, &n) : HY_OK;
    free(path);
    HY_TRY(s);
    char *rest = l->text, *line;
    while ((line = strsep(&rest, "\r\n"))) {
        if (!*line) continue;
        if (!(l->n & (l->n + 1))) l->v = hy_xrealloc(l->v, 2 * (l->n + 1) * sizeof *l->v);
        l->v[l->n++] = line;
    }
    if (l->n) qsort(l->v, l->n, sizeof *l->v, hy_by_text);
    return HY_OK;
}

static bool names_have(const name_list *l, const char *name) {
    return l->n && bsearch(&name, l->v, l->n, sizeof *l->v, hy_by_text);
}

// The files of one label. Those of one name in several labels are a group (the same prompt spoken in several
// languages), and so are those with one beginning before "_nohash_" (a speaker of Speech Commands).
static hy_status label_add(hy_clips *c, const char *folder, const char *label, const name_list lists[2]) {
    char *path = hy_asprintf("%s/%s", folder, label);
    struct dirent **files = NULL;
    const int n = scandir(path, &files, is_wav, hy_by_entry);
    hy_status s = HY_OK;
    if (n < 0 && errno != ENOTDIR && errno != ENOENT)  // a file among the labels is none of them
        s = hy_error(HY_EINPUT, "%s: cannot read the folder: %s", path, strerror(errno));
    for (int i = 0; i < n; i++) {
        const char *name = files[i]->d_name, *mark = strstr(name, "_nohash_");
        char *file = hy_asprintf("%s/%s", path, name), *both = hy_asprintf("%s/%s", label, name);
        char *group = hy_asprintf("%.*s", (int)(mark ? (size_t)(mark - name) : strlen(name) - 4), name);
        const int split = names_have(&lists[0], both)   ? HY_SPLIT_EVAL
                          : names_have(&lists[1], both) ? HY_SPLIT_TUNE
                                                        : HY_SEQ_ANY;
        if (!s) s = hy_clips_add(c, file, label, group, split);
        free(group), free(both), free(file), free(files[i]);
    }
    free(files), free(path);
    return s;
}

hy_status hy_clips_folder(hy_clips *c, const char *path) {
    name_list lists[2] = {{0}, {0}};
    struct dirent **labels = NULL;
    hy_status s = names_read(path, "testing_list.txt", &lists[0]);
    if (!s) s = names_read(path, "validation_list.txt", &lists[1]);
    const int n = s ? 0 : scandir(path, &labels, is_label, hy_by_entry);
    if (n < 0) s = hy_error(HY_EINPUT, "%s: cannot read the folder: %s", path, strerror(errno));
    for (int i = 0; i < n; i++) {
        if (!s) s = label_add(c, path, labels[i]->d_name, lists);
        free(labels[i]);
    }
    free(labels);
    for (int i = 0; i < 2; i++) free(lists[i].text), free(lists[i].v);
    if (!s && !c->n)
        s = hy_error(HY_EINPUT, "%s: no folder in it has a .wav file: folders are labels, their files recordings",
                     path);
    return s;
}
