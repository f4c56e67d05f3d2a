// fig_name.c - names of files from names that people gave: see gnuplot.h.
#include <stdlib.h>
#include <string.h>

#include "analysis/figure/gnuplot.h"
#include "core/base/utf8.h"
#include "core/token/tokenizer.h"

enum { LONGEST = 160 };  // bytes of a stem: with ".svg.tmp.PID" it stays below the 255 of most file systems

// Beyond ASCII everything that can be seen: letters and signs of any script, but no control, space or direction mark.
static bool visible(uint32_t c) {
    return c > 0xA0 && c != 0xAD && c != 0x1680 && c != 0x180E && !(c >= 0x2000 && c <= 0x206F) && c != 0x3000 &&
           c != 0xFEFF && !(c >= 0xFFF0 && c <= 0xFFFF) && !(c >= 0xE0000 && c <= 0xE0FFF);
}

// A single space between other characters is "_"; an underscore then is "__", and every other space is escaped.
static bool plain_space(const char *text, const char *at) {
    return *at == ' ' && at > text && at[-1] != ' ' && at[-1] != '_' && at[1] && at[1] != ' ' && at[1] != '_';
}

static void add_part(hy_buf *b, const char *text, bool keep_dash) {
    const size_t all = strlen(text);
    for (const char *c = text; *c;) {
        const unsigned char u = (unsigned char)*c;
        const int n = hy_utf8_length(c, all - (size_t)(c - text));
        int len;
        if ((u >= '0' && u <= '9') || (u >= 'A' && u <= 'Z') || (u >= 'a' && u <= 'z') || (u == '-' && keep_dash))
            hy_buf_write(b, c, 1);
        else if (u == '_')
            hy_buf_write(b, "__", 2);
        else if (plain_space(text, c))
            hy_buf_write(b, "_", 1);
        else if (n > 1 && visible(hy_utf8_get(c, &len)))
            hy_buf_write(b, c, (size_t)n);
        else
            for (int i = 0; i < (n > 1 ? n : 1); i++) hy_buf_printf(b, ".%02x", (unsigned char)c[i]);
        c += n > 1 ? n : 1;
    }
}

char *hy_fig_name(const char *const *parts, int n, bool alike) {
    hy_buf b = {0};
    hy_buf_printf(&b, "%s", "");
    for (int i = 0; i < n; i++) {
        if (i) hy_buf_write(&b, "-", 1);
        add_part(&b, parts[i], i == 0 || i == n - 1);
    }
    if (b.n <= LONGEST && !alike) return b.s;
    size_t cut = b.n <= LONGEST - 18 ? b.n : LONGEST - 18;
    while (cut > 0 && cut < b.n && ((unsigned char)b.s[cut] & 0xC0) == 0x80) cut--;
    char *name = hy_asprintf("%.*s..%016llx", (int)cut, b.s, (unsigned long long)hy_hash64(b.s, b.n));
    free(b.s);
    return name;
}

bool hy_fig_alike(const char *a, const char *b) {
    if (!strcmp(a, b)) return false;
    char *x = hy_fig_name(&a, 1, false), *y = hy_fig_name(&b, 1, false);  // without bytes that are no text
    char *u = hy_text_folded(x), *v = hy_text_folded(y);
    const bool same = !strcmp(u, v);
    free(x), free(y), free(u), free(v);
    return same;
}
