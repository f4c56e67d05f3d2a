// published.h - what is printed elsewhere about the model of a variant file: figures of the paper's tables, sizes of
// releases. Stated in the file (`published:`), so that commands can print their own figures beside them; no part of the
// model, of its text or of its hash, and not inherited through base:.
#ifndef HY_PUBLISHED_H
#define HY_PUBLISHED_H
#include "core/format/yaml.h"

#define HY_PUBLISHED_MAX 16
#define HY_PUBLISHED_TOKENS 8000  // the paper's caches are of so many tokens
// Figures are kept as the digits that are printed, "394.00"; "" if the place prints none.
typedef struct {
    char in[64];          // where: "Table 10 row 5"
    char cache_mb[24];    // MB of 10^6 bytes in the paper's accounting
    char ratio[24];       // SSM parameters to one of attention: Table 10's 1:3.64 is 3.64
    char parameters[24];  // total
} hy_published;
typedef struct {
    int n;
    hy_published v[HY_PUBLISHED_MAX];
} hy_published_list;

// The value of the key `published`: a list of maps. HY_EINPUT with file:line:column.
hy_status hy_published_read(const hy_yaml *list, hy_published_list *out);
// What a variant file itself states; nothing is fine.
hy_status hy_published_load(const char *path, hy_published_list *out);
// A number written with as many digits after the point as a printed one has.
void hy_published_round(double v, const char *printed, char out[32]);
// The first entry that prints a cache, or NULL.
const hy_published *hy_published_cache(const hy_published_list *l);
// Order of two places, their numbers by value ("Table 2" before "Table 10"): as strcmp.
int hy_published_order(const char *a, const char *b);
// Help text of the keys.
void hy_published_help(hy_buf *out);
#endif
