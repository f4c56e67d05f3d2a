// run_worker.c - what the parts of a run share: reports to the parent, how it ends, by whom its results are. See
// run_impl.h.
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/version.h"
#include "experiments/runner/run_impl.h"

void hy_worker_say(const hy_worker *w, const char *fmt, ...) {
    char *text = NULL;
    va_list ap;
    va_start(ap, fmt);
    const int n = vasprintf(&text, fmt, ap);
    va_end(ap);
    if (n < 0) return;
    for (char *c = text; *c; c++)
        if (*c == '\n') *c = ' ';
    text[n] = '\n';  // in place of the NUL: n + 1 bytes in one write
    const ssize_t written = write(w->fd, text, (size_t)n + 1);
    (void)written;
    free(text);
}

void hy_worker_end(hy_worker *w, hy_run_end end, const char *fmt, ...) {
    if (end <= w->end) return;
    char *text = NULL;
    va_list ap;
    va_start(ap, fmt);
    const int n = vasprintf(&text, fmt, ap);
    va_end(ap);
    free(w->end_text);
    w->end_text = n < 0 ? NULL : text;
    w->end = end;
}

hy_provenance hy_worker_provenance(const hy_worker *w) {
    return (hy_provenance){.commit = hy_version_commit(),
                           .build = hy_version_build(),
                           .dirty = hy_version_dirty(),
                           .device_name = w->be.device,
                           .threads = w->be.threads};
}

char *hy_worker_why(hy_status s, const char *text) {
    return hy_asprintf("%s%s", s == HY_ENOMEM ? "no memory on this machine, so the next run tries again: " : "", text);
}

const char *hy_worker_kernels(const hy_worker *w) {
    return strcmp(w->be.name, "cpu") ? w->be.name : hy_isa_name(w->be.isa);
}
