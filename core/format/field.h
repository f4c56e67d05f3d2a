// field.h - a configuration struct described once: name, type, range, default, documentation. Readers of YAML, --set,
// canonical text and `hylab show fields` all use the same table.
#ifndef HY_FIELD_H
#define HY_FIELD_H
#include <string.h>

#include "core/base/base.h"

typedef enum {
    HY_F_INT,      // int
    HY_F_LONG,     // int64_t
    HY_F_DOUBLE,   // double
    HY_F_BOOL,     // int 0/1
    HY_F_STRING,   // char[size]
    HY_F_ENUM,     // int: index into choices "a|b|c"
    HY_F_INTS,     // hy_ints; a scalar is a list of one
    HY_F_DOUBLES,  // hy_doubles; a scalar is a list of one
    HY_F_PAIRS,    // hy_ints holding pairs, written [[a, b], [c, d]]
} hy_field_type;
#define HY_LIST_MAX 64
typedef struct {
    int n;  // values (for pairs: twice the number of pairs)
    int v[HY_LIST_MAX];
} hy_ints;
typedef struct {
    int n;
    double v[HY_LIST_MAX];
} hy_doubles;

typedef struct {
    const char *name;
    hy_field_type type;
    size_t offset;
    size_t size;          // of a STRING's array; of other types 0
    const char *def;      // default in YAML syntax
    double min, max;      // of numbers, inclusive (of each list element); both 0, or min > max: unbounded
    const char *choices;  // of ENUM; of INT and DOUBLE: the word that stands for 0 ("auto", "none"), or NULL
    const char *doc;      // one line, units included
    // Left out of the canonical text while it has its default: for fields added later, so that the texts and hashes of
    // models that do not use them stay what they were.
    bool quiet;
} hy_field;
// Whether a list of numbers, where an empty one is all, has i.
bool hy_ints_want(const hy_ints *list, int i);
#define HY_FIELD_END \
    { 0 }

// Fills obj with the defaults of a table (ends at name NULL).
void hy_fields_default(const hy_field *f, void *obj);
// Sets one field from YAML text; HY_EINPUT with name, text, allowed range. For --set and defaults.
hy_status hy_fields_set(const hy_field *f, void *obj, const char *name, const char *yaml_text);
// The ranges of a filled struct: HY_EINPUT with the value and its range; *name (if not NULL) is the field at fault.
hy_status hy_fields_check(const hy_field *f, const void *obj, const char **name);
// Canonical YAML "name: value\n" of every field (quiet ones: only where they differ from their default), in table
// order, each line after `indent` spaces.
void hy_fields_text(const hy_field *f, const void *obj, int indent, hy_buf *out);
// A canonical text in one line for notes of figures and tables: "examples=8 cell=0". Caller frees.
char *hy_fields_line(const char *text);
// A table for people: name, default, range, documentation.
void hy_fields_help(const hy_field *f, const char *title, hy_buf *out);

// The place of a word of n bytes among `choices` ("a|b|c", NULL: none), -1: it is none of them.
int hy_choice_of(const char *word, size_t n, const char *choices);
static inline bool hy_is_choice(const char *word, const char *choices) {
    return hy_choice_of(word, strlen(word), choices) >= 0;
}
// ` (did you mean "x"?)` for the word of `list` ("a|b|c") nearest to `word`, or an empty text when none is near.
// Caller frees.
char *hy_suggest(const char *word, const char *list);
// The shortest decimal text that reads back as the same double.
void hy_double_text(double v, char out[32]);
// A YAML scalar for a string: plain where that is safe, else in double quotes.
void hy_yaml_quote(const char *s, hy_buf *out);
#endif
