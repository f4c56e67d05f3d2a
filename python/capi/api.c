// api.c - see hylab_api.h: errors, interrupts, texts.
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/summary/student.h"
#include "core/base/version.h"
#include "python/capi/api_impl.h"

_Static_assert((int)HYLAB_OK == (int)HY_OK && (int)HYLAB_FAILED == (int)HY_EFAIL &&
                   (int)HYLAB_BAD_INPUT == (int)HY_EINPUT && (int)HYLAB_NO_MEMORY == (int)HY_ENOMEM &&
                   (int)HYLAB_NOT_FINITE == (int)HY_EDIVERGED && (int)HYLAB_INTERRUPTED == (int)HY_EINTR,
               "the API hands statuses on as they are");

const char *hylab_error(void) { return hy_error_text(); }

const char *hylab_version(void) {
    static char text[256];
    if (!*text)
        snprintf(text, sizeof text, HY_VERSION " (commit %s%s, %s)", hy_version_commit(),
                 hy_version_dirty() ? " with local changes" : "", hy_version_build());
    return text;
}

void hylab_free(void *text) { free(text); }

double hylab_student_quantile(double p, double df) { return hy_student_quantile(p, df); }

char *hy_api_json_text(hy_json *j) {
    hy_buf b = {0};
    hy_json_text(j, 0, &b);
    hy_json_free(j);
    return b.s;
}

// ---------------------------------------------------------------------------------------------------- interrupts
static struct sigaction before;
static bool ours;

static void on_interrupt(int sig, siginfo_t *info, void *context) {
    hy_interrupted = sig;
    if (before.sa_flags & SA_SIGINFO)
        before.sa_sigaction(sig, info, context);
    else
        before.sa_handler(sig);
}

void hy_api_begin(void) {
    hy_interrupted = 0;
    hy_error(HY_OK, "%s", "");
    ours = !sigaction(SIGINT, NULL, &before) &&
           ((before.sa_flags & SA_SIGINFO) || (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN));
    if (!ours) return;
    struct sigaction mine = before;
    mine.sa_sigaction = on_interrupt;
    mine.sa_flags |= SA_SIGINFO;
    sigaction(SIGINT, &mine, NULL);
}

hylab_status hy_api_end(hy_status s) {
    if (ours) sigaction(SIGINT, &before, NULL);
    ours = false;
    hy_interrupted = 0;
    return (hylab_status)(s == HY_EPIPE ? HY_EFAIL : s);
}

// ---------------------------------------------------------------------------------------------------- for people
char *hylab_measure_help(const char *name) {
    hy_buf b = {0};
    hy_buf_printf(&b, "%s", "");
    if (!name || hy_measure_find(name)) {
        hy_measure_help(name, &b);
        return b.s;
    }
    char *names = hy_measure_names();
    hy_error(HY_EINPUT, "there is no measure \"%s\"; there are %s", name, names);
    free(names), free(b.s);
    return NULL;
}

char *hylab_task_help(const char *kind) {
    hy_buf b = {0};
    if (!kind) return hy_xstrdup(hy_task_kinds());
    const hy_field *fields = hy_task_fields(kind);
    if (!fields) {
        hy_error(HY_EINPUT, "no task kind \"%s\"; there are %s", kind, hy_task_kinds());
        return NULL;
    }
    char *title = hy_asprintf("Task %s: %s", kind, hy_task_about(kind));
    hy_fields_help(fields, title, &b);
    free(title);
    return b.s;
}

hy_status hy_api_read_options(const char *measure, const char *yaml, hy_measure_options *out) {
    const hy_measure *m = hy_measure_find(measure);
    if (m) return hy_measure_options_read(m, yaml ? yaml : "", out);
    char *names = hy_measure_names(), *hint = hy_suggest(measure, names);
    const hy_status s = hy_error(HY_EINPUT, "there is no measure \"%s\"%s; there are %s", measure, hint, names);
    free(names), free(hint);
    return s;
}
