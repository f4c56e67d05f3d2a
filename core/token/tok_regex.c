// tok_regex.c - patterns of tokenizer files: Oniguruma's Ruby syntax, as far as tokenizers use it, rewritten for PCRE2
// so that it means the same. Anything whose meaning would differ or is not known is refused. The only file that knows
// PCRE2.
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdlib.h>

#include "core/token/tok_impl.h"

#define PATTERN_MAX 4096       // bytes
#define MATCH_LIMIT 10000000u  // steps of one match, and 8 a byte of text: a pattern that needs more explodes
#define JIT_STACK ((size_t)1 << 20)

struct hy_regex {
    pcre2_code *code;
    pcre2_match_data *data;
    pcre2_match_context *context;
    pcre2_jit_stack *stack;
    char *shown;  // the pattern, for messages
};

static const char *class_text(const char *name, size_t n) {
    static const struct {
        const char *name, *text;
    } all[] = {
#define X(name, text) {#name, text},
#include "core/token/tok_classes.def"
#undef X
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (strlen(all[i].name) == n && !memcmp(all[i].name, name, n)) return all[i].text;
    return NULL;
}

void hy_regex_library(char out[64]) {
    char version[32] = "", unicode[32] = "";
    if (pcre2_config(PCRE2_CONFIG_VERSION, NULL) < 32) pcre2_config(PCRE2_CONFIG_VERSION, version);
    if (pcre2_config(PCRE2_CONFIG_UNICODE_VERSION, NULL) < 32) pcre2_config(PCRE2_CONFIG_UNICODE_VERSION, unicode);
    version[strcspn(version, " ")] = 0;  // without the date
    snprintf(out, 64, "PCRE2 %s (Unicode %s)", version, unicode);
}

// ---------------------------------------------------------------------------------------------------- rewriting
typedef struct {
    const char *p, *start, *where;
    bool set;      // inside [...]
    int caseless;  // depth of groups inside the outermost (?i:...), 0: none
    int depth;
    hy_buf *out;
} rewrite;

static hy_status refuse(const rewrite *r, const char *what) {
    return hy_error(HY_EINPUT, "%s: pattern \"%.200s\": %s at byte %zu is not supported", r->where, r->start, what,
                    (size_t)(r->p - r->start));
}

static hy_status put_class(rewrite *r, const char *name, size_t n, bool negated) {
    const char *text = class_text(name, n);
    if (!text) return refuse(r, "this class");
    if (r->set && negated) return refuse(r, "a negated class inside [...]");
    if (r->caseless && n == 2 && name[0] == 'L') return refuse(r, "a class of one case where case does not count");
    if (r->set)
        hy_buf_printf(r->out, "%s", text);
    else
        hy_buf_printf(r->out, "[%s%s]", negated ? "^" : "", text);
    return HY_OK;
}

static hy_status property(rewrite *r, bool negated) {  // at "{"
    if (r->p[0] != '{') return refuse(r, "\\p without {}");
    const char *name = r->p + 1, *end = strchr(name, '}');
    if (!end) return refuse(r, "\\p{ without }");
    if (*name == '^') negated = !negated, name++;
    HY_TRY(put_class(r, name, (size_t)(end - name), negated));
    r->p = end + 1;
    return HY_OK;
}

static hy_status code_point(rewrite *r, bool braces) {
    char *end;
    const char *digits = r->p + braces;
    const unsigned long c = strtoul(digits, &end, 16);
    const bool bad =
        braces ? end == digits || end > digits + 6 || *end != '}' : strspn(digits, "0123456789abcdefABCDEF") < 4;
    if (bad || !strchr("0123456789abcdefABCDEF", digits[0])) return refuse(r, "this character code");
    unsigned long value = c;
    if (!braces) {
        char four[5] = {digits[0], digits[1], digits[2], digits[3], 0};
        value = strtoul(four, NULL, 16);
    }
    if (value > 0x10ffff || (value >= 0xd800 && value < 0xe000)) return refuse(r, "this character code");
    hy_buf_printf(r->out, "\\x{%lX}", value);
    r->p = braces ? end + 1 : digits + 4;
    return HY_OK;
}

static hy_status escape(rewrite *r) {  // at the character after the backslash
    const char c = *r->p++;
    switch (c) {
        case 'p': return property(r, false);
        case 'P': return property(r, true);
        case 's': return put_class(r, "space", 5, false);
        case 'S': return put_class(r, "space", 5, true);
        case 'w': return put_class(r, "word", 4, false);
        case 'W': return put_class(r, "word", 4, true);
        case 'd': return put_class(r, "Nd", 2, false);
        case 'D': return put_class(r, "Nd", 2, true);
        case 'v': hy_buf_printf(r->out, "\\x{B}"); return HY_OK;
        case 'r':
        case 'n':
        case 't':
        case 'f':
        case 'a':
        case 'e': hy_buf_printf(r->out, "\\%c", c); return HY_OK;
        case 'u': return code_point(r, false);
        case 'x':
            if (*r->p == '{') return code_point(r, true);
            break;
        default:
            if (c > 32 && c < 127 && !strchr("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", c)) {
                hy_buf_printf(r->out, "\\%c", c);
                return HY_OK;
            }
    }
    r->p--;
    return refuse(r, "this escape");
}

static hy_status set(rewrite *r) {  // after "["
    hy_buf_printf(r->out, "[");
    if (*r->p == '^') hy_buf_printf(r->out, "%c", *r->p++);
    if (*r->p == ']') return refuse(r, "an empty [...]");
    r->set = true;
    while (*r->p && *r->p != ']') {
        if (*r->p == '[') return refuse(r, "[...] inside [...]");
        if (r->p[0] == '&' && r->p[1] == '&') return refuse(r, "&&");
        if (r->p[0] == '-' && r->p[1] == '\\' && r->p[2] && strchr("pPsSwWdD", r->p[2]))
            return refuse(r, "a range up to a class");
        if (*r->p == '\\') {
            const bool many = r->p[1] && strchr("pswd", r->p[1]);
            r->p++;
            HY_TRY(escape(r));
            if (many && *r->p == '-') hy_buf_printf(r->out, "\\%c", *r->p++);  // not a range from the last of the class
        } else
            hy_buf_write(r->out, r->p++, 1);
    }
    if (!*r->p) return refuse(r, "[ without ]");
    r->p++;
    r->set = false;
    hy_buf_printf(r->out, "]");
    return HY_OK;
}

static hy_status group(rewrite *r) {  // after "("
    static const char *const known[] = {"?:", "?=", "?!", "?<=", "?<!", "?>", "?i:"};
    const char *kind = "?:";  // what a plain group captures is not used
    if (*r->p == '?') {
        kind = NULL;
        for (size_t i = 0; i < sizeof known / sizeof *known; i++)
            if (!strncmp(r->p, known[i], strlen(known[i]))) kind = known[i];
        if (!kind) return refuse(r, "this kind of group");
        r->p += strlen(kind);
    }
    r->depth++;
    if (!strcmp(kind, "?i:") && !r->caseless) r->caseless = r->depth;
    hy_buf_printf(r->out, "(%s", kind);
    return HY_OK;
}

// {n}, {n,}, {,m}, {n,m}; a + after it would repeat the whole in one syntax and be possessive in the other.
static hy_status repeat(rewrite *r) {  // at "{"
    const char *a = r->p + 1;
    const size_t na = strspn(a, "0123456789");
    const bool comma = a[na] == ',';
    const char *b = a + na + comma;
    const size_t nb = comma ? strspn(b, "0123456789") : 0;
    if (b[nb] != '}' || na + nb == 0 || na > 4 || nb > 4) return refuse(r, "this {");
    const char *after = b + nb + 1;
    if (*after == '+' || (*after == '?' && !comma)) return refuse(r, "a repeat after {...}");
    hy_buf_printf(r->out, "{%.*s%s%.*s}", na ? (int)na : 1, na ? a : "0", comma ? "," : "", (int)nb, b);
    r->p = after;
    return HY_OK;
}

static hy_status translate(rewrite *r) {
    while (*r->p) {
        const char c = *r->p;
        if (c == '^' || c == '$') return refuse(r, "an anchor");
        if (c == '{') {
            HY_TRY(repeat(r));
            continue;
        }
        r->p++;
        if (c == '\\')
            HY_TRY(escape(r));
        else if (c == '[')
            HY_TRY(set(r));
        else if (c == '(')
            HY_TRY(group(r));
        else {
            if (c == ')' && r->caseless == r->depth) r->caseless = 0;
            r->depth -= c == ')';
            if (r->caseless && (unsigned char)c >= 0x80)
                return refuse(r, "a letter outside ASCII where case does not count");
            hy_buf_write(r->out, &c, 1);
        }
    }
    return HY_OK;
}

// ---------------------------------------------------------------------------------------------------- compiling
static hy_status compile(const char *pattern, size_t n, const char *shown, const char *where, hy_regex **out) {
    pcre2_compile_context *cc = pcre2_compile_context_create(NULL);
    if (!cc) return hy_error(HY_ENOMEM, "%s: out of memory", where);
    pcre2_set_newline(cc, PCRE2_NEWLINE_LF);  // what . leaves out
    pcre2_set_parens_nest_limit(cc, 50);
    int code;
    size_t at;
    hy_regex *r = hy_xcalloc(1, sizeof *r);
    r->shown = hy_xstrdup(shown);
    r->code = pcre2_compile((PCRE2_SPTR)pattern, n, PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &code, &at, cc);
    pcre2_compile_context_free(cc);
    hy_status s = HY_OK;
    if (!r->code) {
        char reason[128];
        pcre2_get_error_message(code, (PCRE2_UCHAR *)reason, sizeof reason);
        s = hy_error(HY_EINPUT, "%s: pattern \"%.200s\": %s", where, shown, reason);
    } else {
        pcre2_jit_compile(r->code, PCRE2_JIT_COMPLETE);  // without it matching is slower, not different
        r->data = pcre2_match_data_create(1, NULL);
        r->context = pcre2_match_context_create(NULL);
        r->stack = pcre2_jit_stack_create(32 << 10, JIT_STACK, NULL);
        if (!r->data || !r->context)
            s = hy_error(HY_ENOMEM, "%s: out of memory", where);
        else if (r->stack)
            pcre2_jit_stack_assign(r->context, NULL, r->stack);
    }
    if (s)
        hy_regex_free(r);
    else
        *out = r;
    return s;
}

hy_status hy_regex_new(const char *pattern, const char *where, hy_regex **out) {
    *out = NULL;
    const size_t n = strlen(pattern);
    if (n == 0 || n > PATTERN_MAX)
        return hy_error(HY_EINPUT, "%s: a pattern has 1 to %d bytes, this has %zu", where, PATTERN_MAX, n);
    hy_buf b = {0};
    rewrite r = {.p = pattern, .start = pattern, .where = where, .out = &b};
    hy_status s = translate(&r);
    if (!s) s = compile(b.s, b.n, pattern, where, out);
    free(b.s);
    return s;
}

hy_status hy_regex_class(const char *name, hy_regex **out) {
    char *pattern = hy_asprintf("[%s]", class_text(name, strlen(name)));
    hy_status s = compile(pattern, strlen(pattern), name, "class", out);
    free(pattern);
    return s;
}

void hy_regex_free(hy_regex *r) {
    if (!r) return;
    pcre2_match_data_free(r->data);
    pcre2_match_context_free(r->context);
    pcre2_jit_stack_free(r->stack);
    pcre2_code_free(r->code);
    free(r->shown);
    free(r);
}

// ---------------------------------------------------------------------------------------------------- matching
hy_status hy_regex_next(hy_regex *r, const char *text, size_t n, hy_regex_at *at, size_t *start, size_t *end,
                        bool *found) {
    *found = false;
    pcre2_set_match_limit(r->context, MATCH_LIMIT + (uint32_t)(n < (size_t)400000000 ? 8 * n : 3200000000u));
    while (at->from <= n) {
        int k = pcre2_match(r->code, (PCRE2_SPTR)text, n, at->from, PCRE2_NO_UTF_CHECK, r->data, r->context);
        if (k == PCRE2_ERROR_JIT_STACKLIMIT)
            k = pcre2_match(r->code, (PCRE2_SPTR)text, n, at->from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, r->data,
                            r->context);
        if (k == PCRE2_ERROR_NOMATCH) return HY_OK;
        if (k < 0) {
            char reason[128];
            pcre2_get_error_message(k, (PCRE2_UCHAR *)reason, sizeof reason);
            return hy_error(HY_EINPUT, "pattern \"%.200s\" cannot be matched at byte %zu of a part of the text: %s",
                            r->shown, at->from, reason);
        }
        const PCRE2_SIZE *v = pcre2_get_ovector_pointer(r->data);
        *start = v[0];
        *end = v[1];
        if (v[1] == v[0] && at->any && v[1] == at->last) {  // empty, right after the last match: one character further
            if (at->from >= n) return HY_OK;
            at->from += (size_t)hy_utf8_length(text + at->from, n - at->from);
            continue;
        }
        at->from = at->last = v[1];
        at->any = *found = true;
        return HY_OK;
    }
    return HY_OK;
}
