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

typedef struct {
    const char *name, *text, *minus;  // insides of [...]: the set is text without minus
} char_class;
static const char_class classes[] = {
#define X(name, text, minus) {#name, text, minus},
#include "core/token/tok_classes.def"
#undef X
};

// Names count without regard to case, spaces, - and _.
static bool same_name(const char *a, size_t n, const char *b) {
    size_t i = 0;
    for (;;) {
        while (i < n && strchr(" -_", a[i])) i++;
        while (*b && strchr(" -_", *b)) b++;
        if (i == n || !*b) return i == n && !*b;
        if ((a[i] | 32) != (*b | 32)) return false;
        i++, b++;
    }
}

static const char_class *find_class(const char *name, size_t n) {
    static const char *const other[][2] = {
        {"Letter", "L"},
        {"Uppercase_Letter", "Lu"},
        {"Lowercase_Letter", "Ll"},
        {"Number", "N"},
        {"Decimal_Number", "Nd"},
        {"Digit", "Nd"},
        {"Punctuation", "P"},
        {"Punct", "P"},
        {"Symbol", "S"},
        {"Separator", "Z"},
        {"Mark", "M"},
        {"Other", "C"},
        {"Alpha", "Alphabetic"},
        {"Upper", "Uppercase"},
        {"Lower", "Lowercase"},
        {"White_Space", "space"},
    };
    for (size_t i = 0; i < sizeof other / sizeof *other; i++)
        if (same_name(name, n, other[i][0])) return find_class(other[i][1], strlen(other[i][1]));
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++)
        if (same_name(name, n, classes[i].name)) return &classes[i];
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
// A set under construction: what stands inside one [...], and patterns of one character each for what does not.
typedef struct {
    hy_buf plain, others;  // others: "|X|Y"
} charset;
typedef struct {
    const char *p, *start, *where;
    charset *set;  // inside [...], else NULL
    int caseless;  // depth of groups inside the outermost (?i:...), 0: none
    int depth, sets;
    hy_buf *out;
} rewrite;
#define ANY "[\\x{0}-\\x{10FFFF}]"
#define SETS_MAX 8  // sets inside one another

static hy_status refuse(const rewrite *r, const char *what) {
    return hy_error(HY_EINPUT, "%s: pattern \"%.200s\": %s at byte %zu is not supported", r->where, r->start, what,
                    (size_t)(r->p - r->start));
}

// Text that is a set by itself goes into the [...], or stands in brackets of its own.
static void put_plain(rewrite *r, const char *text) {
    if (r->set)
        hy_buf_printf(&r->set->plain, "%s", text);
    else
        hy_buf_printf(r->out, "[%s]", text);
}

static void put_other(rewrite *r, const char *pattern) {
    if (r->set)
        hy_buf_printf(&r->set->others, "|%s", pattern);
    else
        hy_buf_printf(r->out, "(?:%s)", pattern);
}

static hy_status put_class(rewrite *r, const char *name, size_t n, bool negated) {
    const char_class *c = find_class(name, n);
    if (!c) return refuse(r, "this class");
    if (r->set && !strcmp(c->name, "word")) c = find_class("posix_word", 10);  // without six characters like U+00B2
    const bool cased =
        (strlen(c->name) == 2 && c->name[0] == 'L') || strstr(c->name, "pper") || strstr(c->name, "ower");
    if (r->caseless && cased) return refuse(r, "a class of one case where case does not count");
    if (!*c->minus && !negated) {
        put_plain(r, c->text);
        return HY_OK;
    }
    char *pattern = *c->minus ? hy_asprintf(negated ? "[%s]|[^%s]" : "(?![%s])[%s]", c->minus, c->text)
                              : hy_asprintf("[^%s]", c->text);
    put_other(r, pattern);
    free(pattern);
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

// [:alpha:], [:^alpha:]
static hy_status posix(rewrite *r) {  // at "[:"
    static const char *const names[] = {"alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph",
                                        "lower", "print", "punct", "space", "upper", "word",  "xdigit"};
    static const char *const ours[] = {"Alnum", "Alphabetic",  "posix_ascii", "posix_blank", "Cc",
                                       "Nd",    "posix_graph", "Lowercase",   "posix_print", "posix_punct",
                                       "space", "Uppercase",   "posix_word",  "posix_xdigit"};
    const bool negated = r->p[2] == '^';
    const char *name = r->p + 2 + negated;
    const size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyz");
    if (name[n] != ':' || name[n + 1] != ']') return refuse(r, "[: without :]");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strlen(names[i]) != n || memcmp(name, names[i], n)) continue;
        HY_TRY(put_class(r, ours[i], strlen(ours[i]), negated));
        r->p = name + n + 2;
        return HY_OK;
    }
    return refuse(r, "this class");
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
    hy_buf_printf(r->set ? &r->set->plain : r->out, "\\x{%lX}", value);
    r->p = braces ? end + 1 : digits + 4;
    return HY_OK;
}

// What stands for no character of its own. PCRE2's own \b and anchors differ: other words; ^ and $ only at the ends.
static hy_status between(rewrite *r, char c) {
    hy_buf word = {0};
    hy_buf_printf(&word, "[%s]", find_class("word", 4)->text);
    switch (c) {
        case 'b': hy_buf_printf(r->out, "(?:(?<=%s)(?!%s)|(?<!%s)(?=%s))", word.s, word.s, word.s, word.s); break;
        case 'B': hy_buf_printf(r->out, "(?:(?<=%s)(?=%s)|(?<!%s)(?!%s))", word.s, word.s, word.s, word.s); break;
        case '^': hy_buf_printf(r->out, "(?:\\A|(?<=\\n)(?!\\z))"); break;
        case '$': hy_buf_printf(r->out, "(?=\\n|\\z)"); break;
        case 'A': hy_buf_printf(r->out, "\\A"); break;
        case 'z': hy_buf_printf(r->out, "\\z"); break;
        default: hy_buf_printf(r->out, "(?=\\n?\\z)"); break;  // Z
    }
    free(word.s);
    const char *after = r->p + strspn(r->p, "*+?{");
    return after == r->p ? HY_OK : refuse(r, "a repeated place between characters");
}

// Escapes that mean a set or several characters.
static hy_status escape_set(rewrite *r, char c) {
    switch (c) {
        case 's': return put_class(r, "space", 5, false);
        case 'S': return put_class(r, "space", 5, true);
        case 'w': return put_class(r, "word", 4, false);
        case 'W': return put_class(r, "word", 4, true);
        case 'd': return put_class(r, "Nd", 2, false);
        case 'D': return put_class(r, "Nd", 2, true);
        case 'h': put_plain(r, "0-9A-Fa-f"); return HY_OK;
        case 'H': put_other(r, "[^0-9A-Fa-f]"); return HY_OK;
        case 'R': hy_buf_printf(r->out, "(?>\\r\\n|[\\n-\\r\\x{85}\\x{2028}\\x{2029}])"); return HY_OK;
        case 'N': hy_buf_printf(r->out, "[^\\n]"); return HY_OK;
        default: hy_buf_printf(r->out, ANY); return HY_OK;  // O
    }
}

static hy_status escape(rewrite *r) {  // at the character after the backslash
    const char c = *r->p++;
    hy_buf *out = r->set ? &r->set->plain : r->out;
    if (c == 'p' || c == 'P') return property(r, c == 'P');
    if (c && strchr("sSwWdDhH", c)) return escape_set(r, c);
    if (c && !r->set && strchr("RNO", c)) return escape_set(r, c);
    if (c && !r->set && strchr("bBAzZ", c)) return between(r, c);
    switch (c) {
        case 'v': hy_buf_printf(out, "\\x{B}"); return HY_OK;
        case 'b': hy_buf_printf(out, "\\x{8}"); return HY_OK;  // in a set
        case 'r':
        case 'n':
        case 't':
        case 'f':
        case 'a':
        case 'e': hy_buf_printf(out, "\\%c", c); return HY_OK;
        case 'u': return code_point(r, false);
        case 'x':
            if (*r->p == '{') return code_point(r, true);
            break;
        default:
            if (c > 32 && c < 127 && !strchr("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", c)) {
                hy_buf_printf(out, "\\%c", c);
                return HY_OK;
            }
    }
    r->p--;
    return refuse(r, "this escape");
}

// ---------------------------------------------------------------------------------------------------- sets
// A set as a pattern of one character.
static void charset_text(const charset *c, bool negated, hy_buf *out) {
    const char *others = c->others.n ? c->others.s : "";
    if (!c->others.n)
        hy_buf_printf(out, "[%s%s]", negated ? "^" : "", c->plain.s);
    else if (c->plain.n)
        hy_buf_printf(out, negated ? "(?:(?![%s]%s)" ANY ")" : "(?:[%s]%s)", c->plain.s, others);
    else
        hy_buf_printf(out, negated ? "(?:(?!%s)" ANY ")" : "(?:%s)", others + 1);
}

static hy_status set(rewrite *r, hy_buf *out);

// One member of a set: a set inside it, a class, an escape, a character.
static hy_status set_member(rewrite *r) {
    const char *before = r->p;
    bool many = false;
    if (r->p[0] == '-' && (r->p[1] == '[' || (r->p[1] == '\\' && r->p[2] && strchr("pPsSwWdDhH", r->p[2]))))
        return refuse(r, "a range up to a class");
    if (r->p[0] == '[' && r->p[1] == ':') {
        many = true;
        HY_TRY(posix(r));
    } else if (*r->p == '[') {
        hy_buf inner = {0};
        many = true;
        r->p++;
        hy_status s = set(r, &inner);
        if (!s) put_other(r, inner.s);
        free(inner.s);
        HY_TRY(s);
    } else if (*r->p == '\\') {
        many = r->p[1] && strchr("pPsSwWdDhH", r->p[1]);
        r->p++;
        HY_TRY(escape(r));
    } else {
        hy_buf_write(&r->set->plain, r->p++, 1);
    }
    if (many && *r->p == '-' && r->p[1] != ']')
        hy_buf_printf(&r->set->plain, "\\%c", *r->p++);  // not a range from the last of the class
    HY_ASSERT(r->p > before);
    return HY_OK;
}

static bool charset_empty(const charset *c) { return !c->plain.n && !c->others.n; }

// Members up to the end of the set, && between the parts of which all must hold; *both: the parts but the last, each as
// a look ahead.
static hy_status set_members(rewrite *r, charset *c, hy_buf *both) {
    while (*r->p && *r->p != ']') {
        if (r->p[0] != '&' || r->p[1] != '&') {
            HY_TRY(set_member(r));
            continue;
        }
        if (charset_empty(c)) return refuse(r, "an empty side of &&");
        hy_buf_printf(both, "(?=");
        charset_text(c, false, both);
        hy_buf_printf(both, ")");
        c->plain.n = c->others.n = 0;
        hy_buf_write(&c->plain, "", 0);
        r->p += 2;
    }
    if (!*r->p) return refuse(r, "[ without ]");
    return charset_empty(c) ? refuse(r, "an empty side of &&") : HY_OK;
}

static hy_status set(rewrite *r, hy_buf *out) {  // after "["
    charset c = {0}, *outer = r->set;
    hy_buf both = {0};
    const bool negated = *r->p == '^';
    if (++r->sets > SETS_MAX) return refuse(r, "so many [...] inside one another");
    r->p += negated;
    if (*r->p == ']') return refuse(r, "an empty [...]");
    hy_buf_write(&c.plain, "", 0);
    hy_buf_write(&both, "", 0);
    r->set = &c;
    hy_status s = set_members(r, &c, &both);
    r->set = outer;
    r->sets--;
    if (!s && !both.n)
        charset_text(&c, negated, out);
    else if (!s) {
        hy_buf_printf(out, negated ? "(?:(?!%s" : "(?:%s", both.s);
        charset_text(&c, false, out);
        hy_buf_printf(out, negated ? ")" ANY ")" : ")");
    }
    r->p += !s;
    free(c.plain.s);
    free(c.others.s);
    free(both.s);
    return s;
}

// ---------------------------------------------------------------------------------------------------- the rest
static hy_status group(rewrite *r) {  // after "("
    static const char *const known[] = {"?:", "?=", "?!", "?<=", "?<!", "?>", "?i:"};
    const char *kind = "?:";  // what a plain group captures is not used, nor what a named one does
    const char *name = r->p[0] == '?' && r->p[1] == '<' ? r->p + 2 : "";
    const size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789");
    if (n && name[n] == '>') {
        r->p = name + n + 1;
    } else if (*r->p == '?') {
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
        if (c == '{' && r->p[1] && strchr("0123456789,", r->p[1])) {
            HY_TRY(repeat(r));
            continue;
        }
        r->p++;
        if (c == '{')
            hy_buf_printf(r->out, "\\{");
        else if (c == '^' || c == '$')
            HY_TRY(between(r, c));
        else if (c == '\\')
            HY_TRY(escape(r));
        else if (c == '[')
            HY_TRY(set(r, r->out));
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
    char *pattern = hy_asprintf("[%s]", find_class(name, strlen(name))->text);
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
