// tok_steps.c - normalizer, pre_tokenizer and decoder of a tokenizer.json as lists of steps. What is not known is
// refused with its path.
#include <stdlib.h>

#include "core/token/tok_impl.h"

#define STEPS_MAX 64
static const char gpt2_pattern[] = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

hy_tok_step *hy_tok_steps_add(hy_tok_steps *s, hy_tok_step_kind kind) {
    s->v = hy_xrealloc(s->v, (size_t)(s->n + 1) * sizeof *s->v);
    s->v[s->n] = (hy_tok_step){.kind = kind};
    return &s->v[s->n++];
}

void hy_tok_steps_free(hy_tok_steps *s) {
    for (int i = 0; i < s->n; i++) {
        free(s->v[i].from);
        free(s->v[i].to);
        hy_regex_free(s->v[i].re);
    }
    free(s->v);
    *s = (hy_tok_steps){0};
}

// ---------------------------------------------------------------------------------------------------- members
static hy_status flag(const hy_json *o, const char *where, const char *key, bool missing, bool *out) {
    *out = missing;
    const hy_json *j = hy_json_get(o, key);
    if (!j || hy_json_type_of(j) == HY_JSON_NULL) return HY_OK;
    return hy_json_get_bool(o, where, key, out);
}

static hy_status text_member(const hy_json *o, const char *where, const char *key, char **out, size_t *n) {
    const char *s;
    HY_TRY(hy_json_get_string(o, where, key, &s));
    *out = hy_xstrdup(s);
    *n = strlen(s);
    return HY_OK;
}

// {"String": "..."} or {"Regex": "..."}.
static hy_status pattern(const hy_json *o, const char *where, hy_tok_step *step) {
    const hy_json *p;
    char path[640];
    HY_TRY(hy_json_get_object(o, where, "pattern", &p));
    if (hy_json_get(p, "String")) {
        snprintf(path, sizeof path, "%s: \"pattern\"", where);
        HY_TRY(text_member(p, path, "String", &step->from, &step->from_n));
        return step->from_n ? HY_OK : hy_error(HY_EINPUT, "%s: \"String\": is empty", path);
    }
    const char *s;
    snprintf(path, sizeof path, "%s: \"pattern\"", where);
    HY_TRY(hy_json_get_string(p, path, "Regex", &s));
    return hy_regex_new(s, path, &step->re);
}

static hy_status one_char(const hy_json *o, const char *where, const char *key, hy_tok_step *step) {
    HY_TRY(text_member(o, where, key, &step->from, &step->from_n));
    if (step->from_n && (size_t)hy_utf8_length(step->from, step->from_n) == step->from_n) return HY_OK;
    return hy_error(HY_EINPUT, "%s: \"%s\": \"%.40s\" is not one character", where, key, step->from);
}

static hy_status unsupported(const char *where, const char *type, const char *known) {
    return hy_error(HY_EINPUT, "%s: \"type\": \"%.60s\" is not supported; %s are", where, type, known);
}

// Calls `one` for the object itself, or for each member of a Sequence's list, in depth.
typedef hy_status (*step_reader)(const hy_json *o, const char *where, const char *type, hy_tok_steps *out);
static hy_status read_steps(const hy_json *j, const char *where, const char *list_key, step_reader one,
                            hy_tok_steps *out) {
    const char *type;
    if (!j || hy_json_type_of(j) == HY_JSON_NULL) return HY_OK;
    HY_TRY(hy_json_get_string(j, where, "type", &type));
    if (strcmp(type, "Sequence"))
        return out->n < STEPS_MAX ? one(j, where, type, out)
                                  : hy_error(HY_EINPUT, "%s: more than %d steps", where, STEPS_MAX);
    const hy_json *list;
    HY_TRY(hy_json_get_array(j, where, list_key, &list));
    for (size_t i = 0; i < hy_json_size(list); i++) {
        char path[512];
        snprintf(path, sizeof path, "%s.%s[%zu]", where, list_key, i);
        if (hy_json_type_of(hy_json_at(list, i)) != HY_JSON_OBJECT)
            return hy_error(HY_EINPUT, "%s: an object is wanted here", path);
        HY_TRY(read_steps(hy_json_at(list, i), path, list_key, one, out));
    }
    return HY_OK;
}

// ---------------------------------------------------------------------------------------------------- normalizers
static hy_status replace_step(const hy_json *o, const char *where, hy_tok_steps *out) {
    hy_tok_step *step = hy_tok_steps_add(out, HY_STEP_REPLACE);
    HY_TRY(pattern(o, where, step));
    return text_member(o, where, "content", &step->to, &step->to_n);
}

// In this order. strip_accents null: as lowercase.
static hy_status bert_steps(const hy_json *o, const char *where, hy_tok_steps *out) {
    bool clean, ideographs, low, marks;
    HY_TRY(flag(o, where, "clean_text", true, &clean));
    HY_TRY(flag(o, where, "handle_chinese_chars", true, &ideographs));
    HY_TRY(flag(o, where, "lowercase", true, &low));
    HY_TRY(flag(o, where, "strip_accents", low, &marks));
    if (clean) hy_tok_steps_add(out, HY_STEP_BERT_CLEAN);
    if (ideographs) hy_tok_steps_add(out, HY_STEP_BERT_IDEOGRAPHS);
    if (marks) hy_tok_steps_add(out, HY_STEP_NFD);
    if (marks) hy_tok_steps_add(out, HY_STEP_BERT_MARKS);
    if (low) hy_tok_steps_add(out, HY_STEP_LOWERCASE);
    return HY_OK;
}

static hy_status normalizer_step(const hy_json *o, const char *where, const char *type, hy_tok_steps *out) {
    static const struct {
        const char *name;
        hy_tok_step_kind kind;
    } forms[] = {{"NFC", HY_STEP_NFC},
                 {"NFD", HY_STEP_NFD},
                 {"NFKC", HY_STEP_NFKC},
                 {"NFKD", HY_STEP_NFKD},
                 {"Lowercase", HY_STEP_LOWERCASE},
                 {"StripAccents", HY_STEP_STRIP_ACCENTS}};
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++)
        if (!strcmp(type, forms[i].name)) {
            hy_tok_steps_add(out, forms[i].kind);
            return HY_OK;
        }
    if (!strcmp(type, "Replace")) return replace_step(o, where, out);
    if (!strcmp(type, "BertNormalizer")) return bert_steps(o, where, out);
    if (!strcmp(type, "Strip")) {
        hy_tok_step *step = hy_tok_steps_add(out, HY_STEP_TRIM);
        HY_TRY(flag(o, where, "strip_left", true, &step->left));
        return flag(o, where, "strip_right", true, &step->right);
    }
    if (strcmp(type, "Prepend"))
        return unsupported(where, type,
                           "Sequence|Prepend|Replace|NFC|NFD|NFKC|NFKD|Lowercase|StripAccents|Strip|BertNormalizer");
    hy_tok_step *step = hy_tok_steps_add(out, HY_STEP_PREPEND);
    return text_member(o, where, "prepend", &step->to, &step->to_n);
}

hy_status hy_tok_steps_normalizer(const hy_json *j, const char *where, hy_tok_steps *out) {
    return read_steps(j, where, "normalizers", normalizer_step, out);
}

// ---------------------------------------------------------------------------------------------------- pre-tokenizers
static hy_status behavior(const hy_json *o, const char *where, hy_tok_step *step) {
    static const char *const names[] = {"Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"};
    const char *s;
    HY_TRY(hy_json_get_string(o, where, "behavior", &s));
    for (int i = 0; i < 5; i++)
        if (!strcmp(s, names[i])) {
            step->behavior = (hy_split_behavior)i;
            return HY_OK;
        }
    return hy_error(
        HY_EINPUT,
        "%s: \"behavior\": \"%.60s\" is not Removed, Isolated, MergedWithPrevious, MergedWithNext or Contiguous", where,
        s);
}

static hy_status prepend_of(const hy_json *o, const char *where, hy_prepend *out) {
    static const char *const names[] = {"never", "first", "always"};
    *out = HY_PREPEND_ALWAYS;
    const hy_json *scheme = hy_json_get(o, "prepend_scheme");
    if (scheme && hy_json_type_of(scheme) != HY_JSON_NULL) {
        const char *s;
        int i = 0;
        HY_TRY(hy_json_get_string(o, where, "prepend_scheme", &s));
        while (i < 3 && strcmp(s, names[i])) i++;
        if (i == 3)
            return hy_error(HY_EINPUT, "%s: \"prepend_scheme\": \"%.60s\" is not always, first or never", where, s);
        *out = (hy_prepend)i;
    }
    bool space;  // the older form
    HY_TRY(flag(o, where, "add_prefix_space", true, &space));
    if (!space && scheme && *out != HY_PREPEND_NEVER)
        return hy_error(HY_EINPUT, "%s: \"add_prefix_space\": false contradicts \"prepend_scheme\": \"%s\"", where,
                        names[*out]);
    if (!space) *out = HY_PREPEND_NEVER;
    return HY_OK;
}

static hy_status metaspace_step(const hy_json *o, const char *where, hy_tok_step_kind kind, hy_tok_steps *out) {
    hy_tok_step *step = hy_tok_steps_add(out, kind);
    HY_TRY(one_char(o, where, "replacement", step));
    HY_TRY(prepend_of(o, where, &step->prepend));
    return flag(o, where, "split", true, &step->split);
}

static hy_status byte_level_step(const hy_json *o, const char *where, hy_tok_steps *out) {
    hy_tok_step *step = hy_tok_steps_add(out, HY_STEP_BYTE_LEVEL);
    HY_TRY(flag(o, where, "add_prefix_space", true, &step->add_space));
    HY_TRY(flag(o, where, "use_regex", true, &step->split));
    return step->split ? hy_regex_new(gpt2_pattern, where, &step->re) : HY_OK;
}

// What the pattern matches goes away; inverted: what it does not match.
static hy_status removed_step(const char *where, const char *pattern, bool invert, hy_tok_steps *out) {
    hy_tok_step *step = hy_tok_steps_add(out, HY_STEP_SPLIT);
    step->behavior = HY_SPLIT_REMOVED;
    step->invert = invert;
    return hy_regex_new(pattern, where, &step->re);
}

static hy_status pre_step(const hy_json *o, const char *where, const char *type, hy_tok_steps *out) {
    if (!strcmp(type, "ByteLevel")) return byte_level_step(o, where, out);
    if (!strcmp(type, "Metaspace")) return metaspace_step(o, where, HY_STEP_METASPACE, out);
    if (!strcmp(type, "Whitespace"))
        return removed_step(where, "\\p{rust_word}+|[^\\p{space}\\p{rust_word}]+", true, out);
    if (!strcmp(type, "WhitespaceSplit")) return removed_step(where, "\\p{space}", false, out);
    if (!strcmp(type, "BertPreTokenizer")) {
        HY_TRY(removed_step(where, "\\p{space}", false, out));
        hy_tok_step *step = hy_tok_steps_add(out, HY_STEP_SPLIT);
        step->behavior = HY_SPLIT_ISOLATED;
        return hy_regex_class("rust_punctuation", &step->re);
    }
    if (!strcmp(type, "CharDelimiterSplit")) {
        hy_tok_step *step = hy_tok_steps_add(out, HY_STEP_SPLIT);
        step->behavior = HY_SPLIT_REMOVED;
        return one_char(o, where, "delimiter", step);
    }
    const bool digits = !strcmp(type, "Digits"), punctuation = !strcmp(type, "Punctuation");
    if (!digits && !punctuation && strcmp(type, "Split"))
        return unsupported(where, type,
                           "Sequence|Split|ByteLevel|Metaspace|Digits|Punctuation|Whitespace|WhitespaceSplit|"
                           "BertPreTokenizer|CharDelimiterSplit");
    hy_tok_step *step = hy_tok_steps_add(out, HY_STEP_SPLIT);
    if (digits) {
        bool each;
        HY_TRY(flag(o, where, "individual_digits", false, &each));
        step->behavior = each ? HY_SPLIT_ISOLATED : HY_SPLIT_CONTIGUOUS;
        return hy_regex_class("rust_numeric", &step->re);
    }
    if (punctuation) {
        step->behavior = HY_SPLIT_ISOLATED;
        if (hy_json_get(o, "behavior")) HY_TRY(behavior(o, where, step));
        return hy_regex_class("rust_punctuation", &step->re);
    }
    HY_TRY(pattern(o, where, step));
    HY_TRY(behavior(o, where, step));
    return flag(o, where, "invert", false, &step->invert);
}

hy_status hy_tok_steps_pre(const hy_json *j, const char *where, hy_tok_steps *out) {
    return read_steps(j, where, "pretokenizers", pre_step, out);
}

// ---------------------------------------------------------------------------------------------------- decoders
static hy_status decoder_step(const hy_json *o, const char *where, const char *type, hy_tok_steps *out) {
    if (!strcmp(type, "Replace")) return replace_step(o, where, out);
    if (!strcmp(type, "Metaspace")) return metaspace_step(o, where, HY_STEP_METASPACE_BACK, out);
    const bool bytes = !strcmp(type, "ByteLevel"), fallback = !strcmp(type, "ByteFallback"),
               fuse = !strcmp(type, "Fuse");
    if (bytes || fallback || fuse) {
        hy_tok_steps_add(out, bytes ? HY_STEP_BYTES_BACK : fallback ? HY_STEP_BYTE_FALLBACK : HY_STEP_FUSE);
        return HY_OK;
    }
    if (!strcmp(type, "WordPiece")) {
        hy_tok_step *step = hy_tok_steps_add(out, HY_STEP_WORDPIECE_BACK);
        HY_TRY(text_member(o, where, "prefix", &step->from, &step->from_n));
        return flag(o, where, "cleanup", true, &step->cleanup);
    }
    if (!strcmp(type, "BPEDecoder")) {
        hy_tok_step *step = hy_tok_steps_add(out, HY_STEP_SUFFIX_BACK);
        HY_TRY(text_member(o, where, "suffix", &step->from, &step->from_n));
        return step->from_n ? HY_OK : hy_error(HY_EINPUT, "%s: \"suffix\": is empty", where);
    }
    if (strcmp(type, "Strip"))
        return unsupported(where, type,
                           "Sequence|ByteLevel|ByteFallback|Metaspace|Replace|Fuse|Strip|WordPiece|BPEDecoder");
    hy_tok_step *step = hy_tok_steps_add(out, HY_STEP_STRIP);
    int64_t start, stop;
    HY_TRY(one_char(o, where, "content", step));
    HY_TRY(hy_json_get_int(o, where, "start", 0, 1 << 20, &start));
    HY_TRY(hy_json_get_int(o, where, "stop", 0, 1 << 20, &stop));
    step->start = (int)start;
    step->stop = (int)stop;
    return HY_OK;
}

hy_status hy_tok_steps_decoder(const hy_json *j, const char *where, hy_tok_steps *out) {
    return read_steps(j, where, "decoders", decoder_step, out);
}
