// runlog.c - see runlog.h. Lines: "p step loss lr norm rate seconds", "s step seconds" and "m name step value se n x y
// cell"; numbers as hexadecimal floats, so that nothing is rounded.
#include "experiments/runner/runlog.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "results/schema.h"

enum { MAX_LOG = 256 << 20 };

static bool read_point(const char *line, int64_t step, hy_facts *facts, double *seconds) {
    hy_curve_point p;
    long long at;
    double s;
    if (sscanf(line, "p %lld %la %la %la %la %la", &at, &p.loss, &p.lr, &p.grad_norm, &p.tokens_per_s, &s) != 6 ||
        at > step)
        return false;
    if (facts->n_curve && at <= facts->curve[facts->n_curve - 1].step) return false;
    p.step = at;
    hy_facts_curve(facts, &p);
    *seconds = s;
    return true;
}

static bool read_seconds(const char *line, int64_t step, double *seconds) {
    long long at;
    double s;
    if (sscanf(line, "s %lld %la", &at, &s) != 2 || at > step) return false;
    *seconds = s;
    return true;
}

static bool read_fact(const char *line, int64_t step, hy_facts *facts) {
    char name[64];
    long long at, n;
    double value, se, x, y;
    int cell = 0;
    if (sscanf(line, "m %63s %lld %la %la %lld %la %la %n", name, &at, &value, &se, &n, &x, &y, &cell) != 7 || !cell)
        return false;
    if (at > step || !hy_metric_find(name)) return false;
    hy_fact *f = hy_facts_add(facts, name, line + cell, value);
    f->step = at;
    f->final = false;
    f->se = se;
    f->n = n;
    f->x = x;
    f->y = y;
    return true;
}

hy_status hy_runlog_open(hy_runlog *l, const char *path, int64_t step, hy_facts *facts, double *seconds) {
    char *text = NULL;
    size_t n = 0;
    *seconds = 0;
    *l = (hy_runlog){0};
    hy_buf keep = {0};
    hy_buf_printf(&keep, "%s", "");
    if (step > 0 && hy_file_exists(path)) {
        HY_TRY(hy_file_read(path, MAX_LOG, &text, &n));
        for (char *line = text, *end; (end = strchr(line, '\n'));
             line = end + 1) {  // a last line without an end is dropped
            *end = 0;
            if (read_point(line, step, facts, seconds) || read_seconds(line, step, seconds) ||
                read_fact(line, step, facts))
                hy_buf_printf(&keep, "%s\n", line);
        }
        free(text);
    }
    hy_status s = hy_file_write(path, keep.s, keep.n);
    free(keep.s);
    if (s) return s;
    l->path = hy_xstrdup(path);
    l->f = fopen(path, "a");
    if (!l->f) return hy_error(HY_EFAIL, "%s: cannot open: %s", path, strerror(errno));
    return HY_OK;
}

static hy_status flushed(hy_runlog *l) {
    if (fflush(l->f) || ferror(l->f)) return hy_error(HY_EFAIL, "%s: cannot write: %s", l->path, strerror(errno));
    return HY_OK;
}

hy_status hy_runlog_point(hy_runlog *l, const hy_curve_point *p, double seconds) {
    fprintf(l->f, "p %lld %a %a %a %a %a\n", (long long)p->step, p->loss, p->lr, p->grad_norm, p->tokens_per_s,
            seconds);
    return flushed(l);
}

hy_status hy_runlog_seconds(hy_runlog *l, int64_t step, double seconds) {
    fprintf(l->f, "s %lld %a\n", (long long)step, seconds);
    return flushed(l);
}

hy_status hy_runlog_facts(hy_runlog *l, const hy_facts *facts, int first) {
    for (int i = first; i < facts->n_facts; i++) {
        const hy_fact *f = &facts->fact[i];
        fprintf(l->f, "m %s %lld %a %a %lld %a %a %s\n", f->name, (long long)f->step, f->value, f->se, (long long)f->n,
                f->x, f->y, f->cell);
    }
    return flushed(l);
}

void hy_runlog_close(hy_runlog *l) {
    if (l->f) fclose(l->f);
    free(l->path);
    *l = (hy_runlog){0};
}
