// sweep_view.c - what a sweep shows while it runs: one line for the whole with the time left, one for each current run.
// See sweep.h.
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "experiments/runner/progress.h"
#include "experiments/runner/sweep.h"
#include "core/base/plural.h"

#define REDRAW_S 0.2  // on a terminal
#define PLAIN_S 30.0  // plain lines about current runs

struct hy_sweepview {
    bool terminal;
    int drawn;  // lines on the screen that will be redrawn
    double last;
};

hy_sweepview *hy_sweepview_new(void) {
    hy_sweepview *p = hy_xcalloc(1, sizeof *p);
    const char *term = getenv("TERM");
    p->terminal = isatty(STDERR_FILENO) && term && strcmp(term, "dumb");
    p->last = hy_now();
    return p;
}

void hy_sweepview_free(hy_sweepview *p) { free(p); }

void hy_sweepview_clear(hy_sweepview *p) {
    if (p->drawn) fprintf(stderr, "\033[%dA\033[J", p->drawn);
    p->drawn = 0;
    fflush(stderr);
}

void hy_sweepview_line(hy_sweepview *p, const char *fmt, ...) {
    hy_sweepview_clear(p);
    va_list ap;
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
    fflush(stderr);
    p->last = p->terminal ? 0 : p->last;
}

// Seconds that an item takes: the mean of its variant's finished runs, else of all, else what the current ones promise.
static double expected(const hy_sweep *s, int variant) {
    double sum[2] = {0}, n[2] = {0};
    for (int i = 0; i < s->e->n_items; i++) {
        if (s->items[i].state != HY_ITEM_DONE) continue;
        int same = s->e->items[i].variant_ord == variant;
        for (int k = 0; k <= same; k++) sum[k] += s->items[i].seconds, n[k]++;
    }
    if (n[1] > 0) return sum[1] / n[1];
    if (n[0] > 0) return sum[0] / n[0];
    for (int k = 0; k < s->jobs; k++) {
        const hy_sweep_slot *c = &s->slots[k];
        if (c->item >= 0 && c->steps && c->step * 20 > c->steps)
            return (hy_now() - c->start) * (double)c->steps / (double)c->step;
    }
    return -1;
}

// Negative: not known yet.
static double time_left(const hy_sweep *s) {
    double left = 0;
    for (int i = 0; i < s->e->n_items; i++) {
        if (s->items[i].state != HY_ITEM_PENDING && s->items[i].state != HY_ITEM_RUNNING) continue;
        double t = expected(s, s->e->items[i].variant_ord);
        if (t < 0) return -1;
        left += t;
    }
    for (int k = 0; k < s->jobs; k++) {
        const hy_sweep_slot *c = &s->slots[k];
        if (c->item < 0) continue;
        double t = expected(s, s->e->items[c->item].variant_ord), gone = hy_now() - c->start;
        left -= gone < t ? gone : t;
    }
    return left / s->jobs;
}

static void put(hy_sweepview *p, const char *text) {  // one line, cut to the width of the terminal
    struct winsize w = {0};
    int width = ioctl(STDERR_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col > 10 ? w.ws_col - 1 : 79;
    fprintf(stderr, "%.*s\n", p->terminal ? width : 1000, text);
    if (p->terminal) p->drawn++;
}

static void whole_line(const hy_sweep *s, char out[256]) {
    int total = 0, stored = 0, failed = 0;
    for (int i = 0; i < s->e->n_items; i++) {
        hy_item_state st = s->items[i].state;
        if (st == HY_ITEM_LEFT_OUT || st == HY_ITEM_TWIN) continue;
        total++;
        stored += st == HY_ITEM_STORED || st == HY_ITEM_DONE;
        failed += st == HY_ITEM_FAILED || st == HY_ITEM_STORED_FAILED || st == HY_ITEM_LOST;
    }
    char gone[32], left[32] = "?";
    hy_duration_text(hy_now() - s->start, gone, sizeof gone);
    double t = time_left(s);
    if (t >= 0) hy_duration_text(t, left, sizeof left);
    int n = snprintf(out, 256, "%s: %d of %d run%s stored", s->e->name, stored, total, hy_s(total));
    if (failed && n < 200) n += snprintf(out + n, 256 - (size_t)n, ", %d failed", failed);
    if (n < 200)
        snprintf(out + n, 256 - (size_t)n, " | %s gone, about %s left%s", gone, left,
                 hy_interrupted ? " | stopping" : "");
}

static void run_line(const hy_sweep *s, const hy_sweep_slot *c, char out[512]) {
    char label[256];
    hy_item_label(&s->e->items[c->item], label);
    if (c->phase[0] || !c->steps)
        snprintf(out, 512, "  %s: %s", label, c->phase[0] ? c->phase : "starting");
    else
        snprintf(out, 512, "  %s: step %ld of %ld, loss %.4f, %.0f tok/s", label, c->step, c->steps, c->loss, c->rate);
}

void hy_sweepview_draw(hy_sweepview *p, const hy_sweep *s) {
    double now = hy_now();
    if (now - p->last < (p->terminal ? REDRAW_S : PLAIN_S)) return;
    p->last = now;
    hy_sweepview_clear(p);
    char text[512];
    whole_line(s, text);
    put(p, text);
    for (int k = 0; k < s->jobs; k++) {
        if (s->slots[k].item < 0) continue;
        run_line(s, &s->slots[k], text);
        put(p, text);
    }
    fflush(stderr);
}
