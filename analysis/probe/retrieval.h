// retrieval.h - retrieval heads: how much of what a head looks at lies on the token that has to be copied.
//
// A label wants token y at position t, where token x stands. Its sources are the earlier positions j < t that hold y:
//     match  those right after a token x: the value behind the same key, the token after the same trigger
//     token  all of them
// The score of a head (after Wu et al., arXiv 2404.15574, with the mass in place of the largest weight; and that as
// `top`) is the mean over the labels with a source of what row t of its map has on the sources together.
#ifndef HY_RETRIEVAL_H
#define HY_RETRIEVAL_H
#include "analysis/probe/attnmap.h"

typedef enum { HY_RETRIEVE_MATCH = 0, HY_RETRIEVE_TOKEN } hy_retrieve_source;
typedef enum { HY_RETRIEVE_ALL = 0, HY_RETRIEVE_LAST } hy_retrieve_which;  // of several sources the nearest alone
#define HY_RETRIEVE_SOURCE_CHOICES "match|token"
#define HY_RETRIEVE_WHICH_CHOICES "all|last"

// The queries of an example: labels that have a source. Positions count text only.
typedef struct {
    int n, *at;            // [n] positions of the labels
    int *first, *sources;  // query k: sources[first[k] .. first[k + 1] - 1]
} hy_retrieval_queries;
// labels: as tasks give them, negative: none.
void hy_retrieval_find(const int32_t *ids, const int32_t *labels, int T, hy_retrieve_source source,
                       hy_retrieve_which which, hy_retrieval_queries *out);
void hy_retrieval_free(hy_retrieval_queries *q);

typedef struct {
    double score;    // mean over the queries of the share of the row on the sources
    double top;      // share of the queries whose largest value is on a source
    double uniform;  // the score of a head that looks at all it may see alike
} hy_retrieval;
// Of one attention head (HY_MAP_ATTENTION), or of the SSM as one map (index -1). Needs a query.
hy_status hy_retrieval_measure(const hy_map_values *v, hy_map_src src, int index, const hy_map_options *o,
                               const hy_retrieval_queries *q, hy_retrieval *out);
#endif
