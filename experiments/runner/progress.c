// progress.c - see progress.h.
#include "experiments/runner/progress.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void hy_duration_text(double s, char *out, size_t n) {
    const long t = (long)(s + 0.5);
    if (s < 60)
        snprintf(out, n, "%ld s", t);
    else if (s < 3600)
        snprintf(out, n, "%ld:%02ld", t / 60, t % 60);
    else
        snprintf(out, n, "%ld:%02ld:%02ld", t / 3600, t / 60 % 60, t % 60);
}

hy_progress hy_progress_start(FILE *f, const char *what, double total, double already) {
    hy_progress p = {.f = f, .terminal = isatty(fileno(f)), .start = hy_now(), .total = total, .first = already};
    p.last = p.terminal ? 0 : p.start;
    snprintf(p.what, sizeof p.what, "%s", what);
    return p;
}

void hy_progress_update(hy_progress *p, double done, const char *detail, ...) {
    const double now = hy_now();
    if (now - p->last < (p->terminal ? 0.1 : 10)) return;
    p->last = now;
    const double share = p->total > 0 ? done / p->total : 0, rate = (done - p->first) / (now - p->start + 1e-9);
    char eta[32] = "?", text[160];
    if (rate > 0) hy_duration_text((p->total - done) / rate, eta, sizeof eta);
    va_list ap;
    va_start(ap, detail);
    vsnprintf(text, sizeof text, detail, ap);
    va_end(ap);
    if (p->terminal) {
        char bar[25];
        for (int i = 0; i < 24; i++) bar[i] = i < (int)(share * 24 + 0.5) ? '#' : '.';
        bar[24] = 0;
        fprintf(p->f, "\r\033[K%s [%s] %3.0f %%  ETA %s  %s", p->what, bar, 100 * share, eta, text);
    } else {
        fprintf(p->f, "%s %3.0f %%  ETA %s  %s\n", p->what, 100 * share, eta, text);
    }
    fflush(p->f);
}

void hy_progress_end(hy_progress *p) {
    if (p->terminal) fprintf(p->f, "\r\033[K");
    fflush(p->f);
}
