// summary_text.c - how the figures of a summary came about and what is missing, in words, for tables, pages and
// figures. See summary.h.
#include <stdlib.h>
#include <string.h>

#include "analysis/summary/summary.h"

// The precisions of the rows, each once: "f32 and bf16".
static char *precisions(const hy_summary *s) {
    static const char *const all[] = {"f32", "tf32", "bf16"};
    hy_buf b = {0};
    for (int k = 0; k < 3; k++)
        for (int i = 0; i < s->n_rows; i++)
            if (!strcmp(s->rows[i].precision, all[k])) {
                hy_buf_printf(&b, "%s%s", b.n ? " and " : "", all[k]);
                break;
            }
    return b.s ? b.s : hy_xstrdup("");
}

bool hy_summary_mixes_precisions(const hy_summary *s) {
    char *text = precisions(s);
    const bool mixed = strchr(text, ' ') != NULL;
    free(text);
    return mixed;
}

const char *hy_summary_values_text(const hy_summary *s) {
    bool half = false, full = false;
    for (int i = 0; i < s->n_rows; i++) {
        half = half || !strcmp(s->rows[i].precision, "bf16");
        full = full || (*s->rows[i].precision && strcmp(s->rows[i].precision, "bf16"));
    }
    return !half ? "float32" : full ? "float32 or bfloat16, each as it was computed" : "bfloat16 (SSM states float32)";
}

char *hy_summary_computed_text(const hy_summary *s) {
    char *how = precisions(s), *text = NULL;
    if (*how && (strcmp(how, "f32") || strcmp(s->device, "cpu")))
        text = hy_asprintf("computed in %s on %s (%s)", how, s->device, s->device_names);
    free(how);
    return text;
}

// --------------------------------------------------------------------------------------------- where weights come from
// The variants that have a row of that origin, each once: "A, B"; NULL: none.
static char *variants_of(const hy_summary *s, const char *origin, bool from_file) {
    hy_buf b = {0};
    for (int i = 0; i < s->n_rows; i++) {
        const hy_summary_row *r = &s->rows[i];
        bool seen = strcmp(r->origin, origin) || r->from_file != from_file;
        for (int k = 0; k < i && !seen; k++)
            seen = s->rows[k].variant_ord == r->variant_ord && !strcmp(s->rows[k].origin, origin) &&
                   s->rows[k].from_file == from_file;
        if (!seen) hy_buf_printf(&b, "%s%s", b.n ? ", " : "", r->variant);
    }
    return b.s;
}

char *hy_summary_origin_text(const hy_summary *s) {
    static const struct {
        const char *origin;
        bool from_file;
        const char *how;
    } kinds[] = {{"file", true, "weights from a file"},
                 {"random", false, "random weights"},
                 {"trained", true, "trained on from a file"}};
    hy_buf b = {0};
    for (int i = 0; i < 3; i++) {
        char *names = variants_of(s, kinds[i].origin, kinds[i].from_file);
        if (names) hy_buf_printf(&b, "%s%s: %s", b.n ? "; " : "not trained here from the start: ", kinds[i].how, names);
        free(names);
    }
    return b.s;
}

// ---------------------------------------------------------------------------------------------------- what is missing
static char *count_text(int n, const char *what, const char *tail) {
    return hy_asprintf("%d %s%s %s", n, what, n == 1 ? "" : "s", tail);
}

char *hy_summary_gap_text(const hy_summary *s, int k) {
    enum { NAMED = 3 };  // faults that are told one by one
    int failed = 0, missing = 0, left = 0;
    for (int i = 0; i < s->n_rows; i++) {
        const hy_summary_row *r = &s->rows[i];
        failed += r->failed;
        missing += r->planned - r->done - r->failed;
        left += r->measures_left;
    }
    if (failed && k-- == 0) return count_text(failed, "run", "failed: hylab show runs --status failed");
    if (missing && k-- == 0) return count_text(missing, "run", missing == 1 ? "is still to do" : "are still to do");
    if (left && k-- == 0) return count_text(left, "measurement", left == 1 ? "is still to do" : "are still to do");
    if (k < s->n_faults && k < NAMED)
        return hy_asprintf("a measurement failed, its figures are missing: %s", s->faults[k]);
    if (k == NAMED && s->n_faults > NAMED)
        return count_text(s->n_faults - NAMED, "more measurement", "failed: hylab show sql v_measurement");
    return NULL;
}
