// status.c - the status of functions that can fail, with the text of the newest failure. See base.h.
#include "core/base/base.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

static _Thread_local char g_error[2048];

void hy_text_hide_controls(char *s) {
    for (; *s; s++) {
        const unsigned char c = (unsigned char)s[0], next = (unsigned char)s[1];
        const bool wide = c == 0xc2 && next >= 0x80 && next < 0xa0;  // C1 controls are two bytes of UTF-8
        if ((c < 0x20 && c != '\n' && c != '\t') || c == 0x7f || wide) *s = '?';
        if (wide) *++s = '?';
    }
}

static void keep_text(const char *text) {
    snprintf(g_error, sizeof g_error, "%s", text);
    hy_text_hide_controls(g_error);
}

hy_status hy_error(hy_status code, const char *fmt, ...) {
    char text[sizeof g_error];  // the arguments may point into g_error
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    keep_text(text);
    return code;
}

hy_status hy_error_context(hy_status code, const char *fmt, ...) {
    char text[sizeof g_error], old[sizeof g_error];  // the arguments may point into g_error
    va_list ap;
    va_start(ap, fmt);
    const int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    snprintf(old, sizeof old, "%s", g_error);
    hy_error(code, "%s", n < 0 ? "" : text);
    const size_t used = strlen(g_error);
    const size_t left = sizeof g_error - used;
    if (left > 3) snprintf(g_error + used, left, ": %.*s", (int)(left - 3), old);
    return code;
}

const char *hy_error_text(void) { return g_error; }

int hy_status_exit(hy_status s) {
    switch (s) {
        case HY_OK: return 0;
        case HY_EINPUT: return 2;
        case HY_EINTR: return 130;
        case HY_EPIPE: return 141;
        default: return 1;
    }
}

// The error of an earlier write is not kept by the stream, but whether a pipe has a reader can be asked at any time.
static bool nobody_reads(FILE *f) {
    struct pollfd p = {.fd = fileno(f), .events = POLLOUT};
    return p.fd >= 0 && poll(&p, 1, 0) == 1 && (p.revents & POLLERR);
}

hy_status hy_stream_end(FILE *f, const char *what) {
    errno = 0;
    if (!fflush(f) && !ferror(f)) return HY_OK;
    const int why = errno;
    if (why == EPIPE || nobody_reads(f)) return hy_error(HY_EPIPE, "cannot write %s: nobody reads it any more", what);
    return hy_error(HY_EFAIL, "cannot write %s: %s", what, why ? strerror(why) : "an earlier write failed");
}

void hy_assert_fail(const char *file, int line, const char *text) {
    fprintf(stderr, "hylab: internal error at %s:%d: %s\nThis is a bug in hylab; please report it with the command.\n",
            file, line, text);
    abort();
}
