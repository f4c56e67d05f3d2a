// score_lines.h - what `hylab score` is asked: lines of JSON, each one request or a document of lm-evaluation-harness
// as --log_samples writes it, with the requests that were made of it.
#ifndef HY_SCORE_LINES_H
#define HY_SCORE_LINES_H
#include "core/base/base.h"
#include "core/format/json.h"

typedef enum { HY_ASK_LOGLIKELIHOOD = 0, HY_ASK_ROLLING, HY_ASK_GENERATE } hy_ask_kind;
// What generate_until may be given ("gen_kwargs"). temperature 0: greedy.
typedef struct {
    char **until;  // [n_until] texts at which it ends
    int n_until, max_new, top_k;
    double temperature, top_p;
} hy_ask_generation;
// One request. where: "standard input, line 3", or with the request's place in it; messages begin with it.
typedef struct {
    hy_ask_kind kind;
    char *where;
    char *context, *text;  // text: the continuation, or of rolling the whole; generation has a context only
    hy_ask_generation gen;
    // its answer
    double sum;
    bool greedy;
    int tokens;    // asked for, or generated
    char *answer;  // generated text
} hy_ask_request;
// One line: requests first .. first + n - 1 of those read.
typedef struct {
    int first, n;
    bool logged;    // a document of the harness's log
    hy_json *id;    // "id" of a request, "doc_id" of a document; NULL: none
    size_t number;  // of the line, from 1
} hy_ask_line;
typedef struct {
    hy_ask_request *v;
    int n, cap;
    hy_ask_line *line;
    int n_lines, cap_lines;
    size_t bytes;  // of all texts
} hy_ask_list;

// Adds the line `number` of `name` (n bytes without the newline). HY_EINPUT: "NAME, line N: FIELD: reason".
hy_status hy_ask_read(hy_ask_list *list, const char *name, size_t number, const char *text, size_t n);
void hy_ask_clear(hy_ask_list *list);  // frees all; the list can be used again
// The answer of a line, as one line of JSON without the newline.
void hy_ask_answer(const hy_ask_list *list, const hy_ask_line *line, hy_buf *out);
#endif
