// seq_fixture.h - little writers of data files, independent of the readers, in a folder of the test's own.
#ifndef HY_SEQ_FIXTURE_H
#define HY_SEQ_FIXTURE_H
#include "tests/unit/task_fixture.h"

static char folder[64];

static inline int folder_make(void **state) {
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/hylab_seq.XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static inline int folder_remove(void **state) {
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

static inline const char *in_folder(const char *name) {
    static char path[4][256];
    static int next;
    next = (next + 1) % 4;
    snprintf(path[next], sizeof path[next], "%s/%s", folder, name);
    return path[next];
}

static inline void put(const char *name, const void *data, size_t n) {
    FILE *f = fopen(in_folder(name), "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

static inline void put_text(const char *name, const char *text) { put(name, text, strlen(text)); }

// A value that tells image and place apart, 0 .. 255.
static inline int pixel(int image, int at) { return (image * 37 + at * 11 + image * at % 7) % 256; }

// n images of height x width with pixel(first + i, place), class (first + i) % classes.
static inline void put_idx(const char *part, int first, int n, int height, int width, int classes) {
    char name[64];
    const size_t size = (size_t)height * (size_t)width;
    unsigned char *b = calloc(16 + (size_t)n * size, 1);
    b[2] = 8, b[3] = 3;
    for (int i = 0; i < 4; i++) {
        b[4 + i] = (unsigned char)(n >> 8 * (3 - i));
        b[8 + i] = (unsigned char)(height >> 8 * (3 - i));
        b[12 + i] = (unsigned char)(width >> 8 * (3 - i));
    }
    for (int i = 0; i < n; i++)
        for (int p = 0; p < (int)size; p++) b[16 + (size_t)i * size + (size_t)p] = (unsigned char)pixel(first + i, p);
    snprintf(name, sizeof name, "%s-images-idx3-ubyte", part);
    put(name, b, 16 + (size_t)n * size);
    b[3] = 1;
    for (int i = 0; i < n; i++) b[8 + i] = (unsigned char)((first + i) % classes);
    snprintf(name, sizeof name, "%s-labels-idx1-ubyte", part);
    put(name, b, 8 + (size_t)n);
    free(b);
}

// hy_task_open fails with EINPUT and words that have this in them.
static inline void refused(const char *kind, const char *options, const char *words) {
    hy_task *t = NULL;
    assert_int_equal(hy_task_open(kind, options, 1, &t), HY_EINPUT);
    assert_null(t);
    if (!strstr(hy_error_text(), words)) print_message("\"%s\" is not in: %s\n", words, hy_error_text());
    assert_non_null(strstr(hy_error_text(), words));
}

static inline char *identity(const char *kind, const char *options) {
    hy_task *t = open_task(kind, options, 1);
    hy_buf b = {0};
    hy_task_text(t, &b);
    hy_task_close(t);
    return b.s;
}

// Of the images of put_idx: which one an example shows, by its class and all of its values; -1: none of 0 .. n-1.
static inline int which(const hy_task *t, hy_split s, int64_t index, int n, int len, int levels, int classes) {
    example e = example_get(t, s, 0, index);
    int found = -1;
    assert_int_equal(e.T, len + 1);
    for (int i = 0; i < n && found < 0; i++) {
        bool same = e.labels[len] == levels + 1 + i % classes;
        for (int p = 0; p < len && same; p++) same = e.ids[p] == pixel(i, p) * levels / 256;
        if (same) found = i;
    }
    for (int p = 0; p < len; p++) assert_int_equal(e.labels[p], HY_IGNORE);
    assert_int_equal(e.ids[len], levels);
    example_free(&e);
    return found;
}
#endif
