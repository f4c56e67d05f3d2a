// retrieval.c - see retrieval.h.
#include "analysis/probe/retrieval.h"

#include <stdlib.h>
#include <string.h>

// ---------------------------------------------------------------------------------------------------- queries
void hy_retrieval_find(const int32_t *ids, const int32_t *labels, int T, hy_retrieve_source source,
                       hy_retrieve_which which, hy_retrieval_queries *out) {
    int room = 0, n = 0;
    *out = (hy_retrieval_queries){.at = hy_xcalloc((size_t)T + 1, sizeof(int)),
                                  .first = hy_xcalloc((size_t)T + 2, sizeof(int))};
    for (int t = 0; t < T; t++) {
        const int before = n;
        for (int j = t - 1; j >= 0 && labels[t] >= 0; j--) {
            if (ids[j] != labels[t]) continue;
            if (source == HY_RETRIEVE_MATCH && (j == 0 || ids[j - 1] != ids[t])) continue;
            if (n == room) out->sources = hy_xrealloc(out->sources, (size_t)(room = 2 * room + 16) * sizeof(int));
            out->sources[n++] = j;
            if (which == HY_RETRIEVE_LAST) break;
        }
        if (n == before) continue;
        out->at[out->n++] = t;
        out->first[out->n] = n;
    }
}

void hy_retrieval_free(hy_retrieval_queries *q) {
    free(q->at), free(q->first), free(q->sources);
    *q = (hy_retrieval_queries){0};
}

// ---------------------------------------------------------------------------------------------------- a map
static void add_row(const hy_map_values *v, hy_map_src src, const hy_retrieval_queries *q, int k, const double *row,
                    hy_retrieval *out) {
    const int i = v->meta + q->at[k];
    int seen = 0, best = 0, visible = 0;
    bool top = false;
    for (int j = 0; j <= i; j++) {
        visible += hy_map_visible(v, src, i, j);
        if (row[j] > row[best]) best = j;
    }
    for (int s = q->first[k]; s < q->first[k + 1]; s++) {
        const int j = v->meta + q->sources[s];
        out->score += row[j] / q->n;
        seen += hy_map_visible(v, src, i, j);
        top = top || j == best;
    }
    out->top += (double)top / q->n;
    out->uniform += (double)seen / visible / q->n;
}

hy_status hy_retrieval_measure(const hy_map_values *v, hy_map_src src, int index, const hy_map_options *o,
                               const hy_retrieval_queries *q, hy_retrieval *out) {
    enum { TILE = 32 };  // rows of an SSM's map are cheaper together
    const int tile = src == HY_MAP_SSM ? TILE : 1;
    double *rows = hy_alloc((size_t)tile * (size_t)v->S * sizeof *rows);
    hy_status s = rows ? HY_OK : HY_ENOMEM;
    *out = (hy_retrieval){0};
    HY_ASSERT(q->n > 0);
    for (int k = 0; k < q->n && !s;) {
        const int from = v->meta + q->at[k], n = v->S - from < tile ? v->S - from : tile;
        s = hy_map_rows(v, src, index, o, from, n, rows);
        for (; k < q->n && v->meta + q->at[k] < from + n && !s; k++)
            add_row(v, src, q, k, rows + (size_t)(v->meta + q->at[k] - from) * (size_t)v->S, out);
    }
    free(rows);
    return s;
}
