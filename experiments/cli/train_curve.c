// train_curve.c - see train_curve.h.
#include "experiments/cli/train_curve.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define HEADER "step,loss_nats,lr,grad_norm,tokens_per_s\n"
#define CURVE_MAX ((size_t)16 << 30)

// A row is written as it is there: what a killed process has told its checkpoint, it has told the curve before.
static void put(hy_curve *c, const char *row, int n) {
    if (!c->f) return;
    if (fwrite(row, 1, (size_t)n, c->f) == (size_t)n && !fflush(c->f)) {
        c->end += n;
        return;
    }
    c->trouble = hy_asprintf("%s: cannot be written: %s; it ends there", c->path, strerror(errno));
    fprintf(stderr, "\nnote: %s, the training goes on\n", c->trouble);
    const int cut = ftruncate(fileno(c->f), c->end);  // half a row is none; a device has no length
    (void)cut;
    fclose(c->f);
    c->f = NULL;
}

// Steps are rows in order: the bytes of header and rows up to `step`. -1: it is no curve.
static long rows_until(const char *text, size_t n, long step) {
    const size_t header = strlen(HEADER);
    if (n == 0) return 0;
    if (n < header) return strncmp(text, HEADER, n) ? -1 : 0;  // killed in its first line
    if (strncmp(text, HEADER, header)) return -1;
    const char *line = text + header, *end;
    for (long last = 0; (end = strchr(line, '\n')); line = end + 1) {
        char *rest;
        const long at = strtol(line, &rest, 10);
        if (rest == line || *rest != ',' || at <= last || at > step) break;
        last = at;
    }
    return (long)(line - text);
}

static hy_status cut(hy_curve *c, long step) {
    char *text;
    size_t n;
    HY_TRY(hy_file_read(c->path, CURVE_MAX, &text, &n));
    c->end = rows_until(text, n, step);
    free(text);
    if (c->end < 0)
        return hy_error(HY_EINPUT,
                        "--curve %s: is no curve of hylab train (its first line is another) and is left as it is: "
                        "name another file",
                        c->path);
    return truncate(c->path, c->end)
               ? hy_error(HY_EINPUT, "--curve %s: cannot be cut to step %ld: %s", c->path, step, strerror(errno))
               : HY_OK;
}

hy_status hy_curve_open(hy_curve *c, const char *path, long step) {
    *c = (hy_curve){.path = path};
    struct stat st;
    if (!path) return HY_OK;
    HY_TRY(hy_make_folders_above(path));
    if (!hy_is_standard_stream(path) && !stat(path, &st) && S_ISREG(st.st_mode)) HY_TRY(cut(c, step));
    c->f = hy_open_through(path, "a");
    if (!c->f) return hy_error(HY_EINPUT, "--curve %s: cannot be written: %s", path, strerror(errno));
    if (c->end == 0) put(c, HEADER, (int)strlen(HEADER));
    return HY_OK;
}

void hy_curve_add(hy_curve *c, const hy_train_point *p) {
    char row[160];
    const int n =
        snprintf(row, sizeof row, "%ld,%.9g,%.9g,%.9g,%.6g\n", p->step, p->loss, p->lr, p->grad_norm, p->tokens_per_s);
    put(c, row, n);
}

hy_status hy_curve_close(hy_curve *c) {
    if (c->f && fclose(c->f) && !c->trouble)
        c->trouble = hy_asprintf("%s: cannot be written: %s", c->path, strerror(errno));
    const hy_status s = c->trouble ? hy_error(HY_EFAIL, "--curve %s", c->trouble) : HY_OK;
    free(c->trouble);
    *c = (hy_curve){0};
    return s;
}
