// progress.h - one line that tells how far long work is: redrawn on a terminal, a plain line every few seconds
// elsewhere.
#ifndef HY_PROGRESS_H
#define HY_PROGRESS_H
#include "core/base/base.h"

typedef struct {
    FILE *f;        // stderr
    bool terminal;  // redraw in place
    double start, last;
    double total;  // units of work
    double first;  // units done before the start (a resumed run): not counted in the rate
    char what[64];
} hy_progress;

// what: "train hymba", shown in front. f: usually stderr.
hy_progress hy_progress_start(FILE *f, const char *what, double total, double already);
// done: units so far. detail: printf text after the bar ("loss 2.31"), may be "". Draws at most 10 times a second
// (terminal) or every 10 seconds (elsewhere).
void hy_progress_update(hy_progress *p, double done, const char *detail, ...) __attribute__((format(printf, 3, 4)));
// Clears the line on a terminal.
void hy_progress_end(hy_progress *p);
// "1:02:03" or "4:05" or "12 s"
void hy_duration_text(double seconds, char *out, size_t n);
#endif
