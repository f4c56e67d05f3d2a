// first_equal.c - see first_equal.h: a hash table with open addressing.
#include "experiments/runner/first_equal.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/base.h"

void hy_first_equal(const void *keys, size_t size, int n, int *first) {
    size_t slots = 16;
    while (slots < 2 * (size_t)n) slots *= 2;
    int *table = hy_xcalloc(slots, sizeof *table);  // index + 1; 0: free
    const char *key = keys;
    for (int i = 0; i < n; i++, key += size) {
        size_t at = hy_hash64(key, size) & (slots - 1);
        while (table[at] && memcmp((const char *)keys + (size_t)(table[at] - 1) * size, key, size))
            at = (at + 1) & (slots - 1);
        if (!table[at]) table[at] = i + 1;
        first[i] = table[at] - 1;
    }
    free(table);
}
