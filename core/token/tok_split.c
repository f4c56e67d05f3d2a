// tok_split.c - cutting a normalised text into the words that the model sees: patterns, byte-level, metaspace.
#include <stdlib.h>

#include "core/token/tok_impl.h"

static void span_add(hy_spans *s, size_t at, size_t n, bool first) {
    if (n == 0) return;  // empty pieces vanish, as in the reference
    HY_GROW(s);
    s->v[s->n++] = (hy_span){at, n, first};
}

// ---------------------------------------------------------------------------------------------------- matches to spans
// Matches and the stretches between them come in order; a behavior decides what becomes of each. Spans are put at
// `base`.
typedef struct {
    hy_spans *out;
    hy_split_behavior behavior;
    size_t base;
    bool first, before;      // the text begins the whole text; the stretch before was a match
    size_t open_at, open_n;  // a span that the next stretch may still be joined to
    bool open;
} cutter;

static void cutter_close(cutter *c) {
    if (c->open) span_add(c->out, c->base + c->open_at, c->open_n, c->first && c->open_at == 0);
    c->open = false;
}

static void cutter_stretch(cutter *c, size_t start, size_t end, bool match) {
    bool join = false;
    switch (c->behavior) {
        case HY_SPLIT_REMOVED:
            if (match) return;
            break;
        case HY_SPLIT_ISOLATED: break;
        case HY_SPLIT_WITH_PREVIOUS: join = match && !c->before && c->open; break;
        case HY_SPLIT_WITH_NEXT: break;  // cut_with_next
        case HY_SPLIT_CONTIGUOUS: join = match == c->before && c->open; break;
    }
    c->before = match;
    if (join) {
        c->open_n = end - c->open_at;
        return;
    }
    cutter_close(c);
    c->open = true;
    c->open_at = start;
    c->open_n = end - start;
}

typedef struct {
    size_t start, end;
    bool match;
} stretch;
typedef struct {
    stretch *v;
    size_t n, cap;
} stretches;

static void stretch_add(stretches *s, size_t start, size_t end, bool match) {
    HY_GROW(s);
    s->v[s->n++] = (stretch){start, end, match};
}

// From the end: a match is joined to what follows it, unless that is a match too and was itself joined.
static void cut_with_next(cutter *c, const stretches *list) {
    stretches joined = {0};
    bool before = false;
    for (size_t i = list->n; i-- > 0;) {
        const stretch s = list->v[i];
        if (s.match && !before && joined.n)
            joined.v[joined.n - 1].start = s.start;
        else
            stretch_add(&joined, s.start, s.end, false);
        before = s.match;
    }
    for (size_t i = joined.n; i-- > 0;) {
        const stretch s = joined.v[i];
        span_add(c->out, c->base + s.start, s.end - s.start, c->first && s.start == 0);
    }
    free(joined.v);
}

// Matches of a step (pattern or string) in text: each stretch goes to `each`.
static hy_status step_matches(const hy_tok_step *step, const char *text, size_t n, stretches *list, cutter *c) {
    hy_regex_at at = {0};
    size_t done = 0, start = 0, end = 0;
    for (;;) {
        bool found = false;
        if (step->re)
            HY_TRY(hy_regex_next(step->re, text, n, &at, &start, &end, &found));
        else {
            const char *hit = done < n ? memmem(text + done, n - done, step->from, step->from_n) : NULL;
            found = hit != NULL;
            if (hit) start = (size_t)(hit - text), end = start + step->from_n;
        }
        if (!found) start = n;
        if (start != done) {
            if (list)
                stretch_add(list, done, start, step->invert);
            else
                cutter_stretch(c, done, start, step->invert);
        }
        if (!found) return HY_OK;
        if (list)
            stretch_add(list, start, end, !step->invert);
        else
            cutter_stretch(c, start, end, !step->invert);
        done = end;
    }
}

static hy_status cut(const hy_tok_step *step, hy_split_behavior behavior, const char *text, size_t n, size_t base,
                     bool first, hy_spans *out) {
    cutter c = {.out = out, .behavior = behavior, .base = base, .first = first};
    if (behavior == HY_SPLIT_WITH_NEXT) {
        stretches list = {0};
        hy_status s = step_matches(step, text, n, &list, NULL);
        if (!s) cut_with_next(&c, &list);
        free(list.v);
        return s;
    }
    HY_TRY(step_matches(step, text, n, NULL, &c));
    cutter_close(&c);
    return HY_OK;
}

// ---------------------------------------------------------------------------------------------------- steps
static hy_status metaspace(const hy_tok_step *step, const char *s, size_t n, bool first, hy_spans *out) {
    const size_t base = out->text.n, k = step->from_n;
    const bool begins = n && (s[0] == ' ' || (n >= k && !memcmp(s, step->from, k)));
    if (!begins && (step->prepend == HY_PREPEND_ALWAYS || (step->prepend == HY_PREPEND_FIRST && first)))
        hy_buf_write(&out->text, step->from, k);
    for (size_t i = 0; i < n;) {
        const char *space = memchr(s + i, ' ', n - i);
        const size_t end = space ? (size_t)(space - s) : n;
        hy_buf_write(&out->text, s + i, end - i);
        if (space) hy_buf_write(&out->text, step->from, k);
        i = end + (space != NULL);
    }
    const size_t len = out->text.n - base;
    if (!step->split) {
        span_add(out, base, len, first);
        return HY_OK;
    }
    return cut(step, HY_SPLIT_WITH_NEXT, out->text.s + base, len, base, first, out);
}

static void byte_chars(const char *s, size_t n, hy_buf *out) {
    char c[4];
    for (size_t i = 0; i < n; i++) hy_buf_write(out, c, (size_t)hy_utf8_put(hy_byte_char((uint8_t)s[i]), c));
}

// One step over all spans of `in`. If it changes the text, that is written to out->text, else the spans still lie in
// `text`.
static hy_status step_apply(const hy_tok_step *step, const char *text, const hy_spans *in, hy_spans *out,
                            bool *changes) {
    *changes = step->kind == HY_STEP_METASPACE || (step->kind == HY_STEP_BYTE_LEVEL && step->add_space);
    for (size_t i = 0; i < in->n; i++) {
        const hy_span p = in->v[i];
        const char *s = text + p.at;
        if (step->kind == HY_STEP_METASPACE) {
            HY_TRY(metaspace(step, s, p.n, p.first, out));
            continue;
        }
        size_t at = p.at, n = p.n;
        if (*changes) {
            at = out->text.n;
            if (s[0] != ' ') hy_buf_write(&out->text, " ", 1);
            hy_buf_write(&out->text, s, n);
            n = out->text.n - at;
            s = out->text.s + at;
        }
        if (step->kind == HY_STEP_BYTE_LEVEL && !step->split)
            span_add(out, at, n, p.first);
        else
            HY_TRY(cut(step, step->kind == HY_STEP_SPLIT ? step->behavior : HY_SPLIT_ISOLATED, s, n, at, p.first, out));
    }
    return HY_OK;
}

// The spans' bytes as the characters that byte-level BPE writes for them.
static void map_bytes(const char *text, hy_spans *in, hy_spans *out) {
    for (size_t i = 0; i < in->n; i++) {
        const size_t at = out->text.n;
        byte_chars(text + in->v[i].at, in->v[i].n, &out->text);
        span_add(out, at, out->text.n - at, in->v[i].first);
    }
}

static hy_status too_long(size_t most) {
    return hy_error(HY_EINPUT, "the pre-tokenizer makes a text longer than %zu bytes, far above what it was", most);
}

hy_status hy_presplit(const hy_tok_steps *steps, const char *text, size_t n, bool first, hy_spans two[2],
                      const hy_spans **out, const char **text_out, bool *bytes) {
    int now = 0;
    const size_t most = hy_tok_most(n);
    two[0].n = two[0].text.n = 0;
    span_add(&two[0], 0, n, first);
    if (bytes) *bytes = false;
    for (int i = 0; i < steps->n; i++) {
        const hy_tok_step *step = &steps->v[i];
        hy_spans *in = &two[now], *to = &two[1 - now];
        bool changes;
        // the text may lie in the buffer of `to`, two steps back: it is moved to the other one, which is free then
        if (text == to->text.s && to->text.n) {
            const hy_buf b = in->text;
            in->text = to->text;
            to->text = b;
        }
        to->n = to->text.n = 0;
        HY_TRY(step_apply(step, text, in, to, &changes));
        if (to->text.n > most) return too_long(most);
        if (changes) text = to->text.s;
        now = 1 - now;
        if (step->kind != HY_STEP_BYTE_LEVEL) continue;
        if (bytes && i + 1 == steps->n) {
            *bytes = true;
            break;
        }
        in = &two[now];
        to = &two[1 - now];
        if (text == to->text.s && to->text.n) {
            const hy_buf b = in->text;
            in->text = to->text;
            to->text = b;
        }
        to->n = to->text.n = 0;
        map_bytes(text, in, to);
        if (to->text.n > most) return too_long(most);
        text = to->text.s;
        now = 1 - now;
    }
    *out = &two[now];
    *text_out = text ? text : "";
    return HY_OK;
}
