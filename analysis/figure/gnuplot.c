// gnuplot.c - see gnuplot.h. Common style, files beside the figure, and the child process.
#include "analysis/figure/gnuplot.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/utf8.h"

extern char **environ;

// ---------------------------------------------------------------------------------------------------- style
static const char *const colours[HY_PLOT_COLOURS] = {"#0072B2", "#D55E00", "#009E73", "#CC79A7",
                                                     "#E69F00", "#56B4E9", "#000000", "#888888"};
static const int shapes[HY_PLOT_COLOURS] = {7, 5, 9, 11, 13, 15, 6, 4};  // filled circle, square, ... then hollow

// How our scripts begin: by this they are told from files that somebody else put there.
#define OURS "# Drawn by hylab. "

static void style_write(hy_buf *b, const hy_plot *p, const char *name) {
    static const char font[] = "font 'DejaVu Sans,12' background '#ffffff'";
    hy_buf_printf(b,
                  OURS "To draw again, in this folder: gnuplot -d -e \"FORMAT='png'\" %s.gp   (svg, png or pdf)\n"
                       "reset; unset decimalsign  # whatever a user's own settings are\n"
                       "if (!exists('FORMAT')) FORMAT = 'svg'\n"
                       "if (!exists('OUT')) OUT = '%s.' . FORMAT\n"
                       "DATA = '%s.dat'\n",
                  name, name, name);
    hy_buf_printf(b,
                  "if (FORMAT eq 'png') set terminal pngcairo noenhanced size %d,%d fontscale 1.5 linewidth 1.5 "
                  "pointscale 1.4 %s\n"
                  "if (FORMAT eq 'pdf') set terminal pdfcairo noenhanced size %.3fin,%.3fin fontscale 0.78 linewidth "
                  "1.3 pointscale 0.7 %s\n"
                  "if (FORMAT eq 'svg') set terminal svg noenhanced size %d,%d %s\n"
                  "set output OUT\nset encoding utf8\n",
                  p->width * 3 / 2, p->height * 3 / 2, font, p->width / 96.0, p->height / 96.0, font, p->width,
                  p->height, font);
    hy_buf_printf(b, "array LCS[%d] = [", HY_PLOT_COLOURS);
    for (int i = 0; i < HY_PLOT_COLOURS; i++) hy_buf_printf(b, "%s0x%s", i ? ", " : "", colours[i] + 1);
    hy_buf_printf(b, "]  # Okabe and Ito's colours, safe for colour-blind readers\narray PTS[%d] = [", HY_PLOT_COLOURS);
    for (int i = 0; i < HY_PLOT_COLOURS; i++) hy_buf_printf(b, "%s%d", i ? ", " : "", shapes[i]);
    hy_buf_printf(b,
                  "]\nPS(s) = s * (FORMAT eq 'svg' ? 0.7 : 1)  # that terminal draws larger points\n"
                  "LC(i) = LCS[1 + int(i) %% %d]\nPT(i) = PTS[1 + int(i) %% %d]\n"
                  "set border 3 linecolor rgb '#444444'\nset tics out nomirror scale 0.6 textcolor rgb '#222222'\n"
                  "set grid back linecolor rgb '#dddddd' linetype 1 linewidth 0.7\n"
                  "set key outside right top vertical Left reverse samplen 1.5 spacing 1.25\n"
                  "set format '%%g'\nset title font ',14' offset 0,0.3\n\n",
                  HY_PLOT_COLOURS, HY_PLOT_COLOURS);
}

// ---------------------------------------------------------------------------------------------------- text
// Text from people and databases as one line of UTF-8 that XML may hold: control characters become spaces, what is
// broken U+FFFD.
static char *one_line(const char *text) {
    hy_buf b = {0};
    hy_utf8_lossy(text, strlen(text), &b);
    hy_buf_write(&b, "", 0);
    for (size_t i = 0; i < b.n; i++) {
        const unsigned char *c = (const unsigned char *)b.s + i;
        if (*c < ' ' || *c == 0x7F) b.s[i] = ' ';
        if (*c == 0xEF && c[1] == 0xBF && c[2] >= 0xBE) b.s[i + 2] = '\xBD';  // U+FFFE, U+FFFF are no characters
    }
    return b.s;
}

static void quote(hy_buf *b, const char *text, bool format) {
    char *line = one_line(text);
    hy_buf_write(b, "'", 1);
    for (const char *c = line; *c; c++) {
        if (*c == '\'')
            hy_buf_write(b, "''", 2);
        else if (*c == '%' && format)
            hy_buf_write(b, "%%", 2);
        else
            hy_buf_write(b, c, 1);
    }
    hy_buf_write(b, "'", 1);
    free(line);
}

void hy_plot_quote(hy_buf *b, const char *text) { quote(b, text, false); }
void hy_plot_quote_tic(hy_buf *b, const char *text) { quote(b, text, true); }

void hy_plot_comment(hy_buf *b, const char *text) {
    char *line = one_line(text);
    hy_buf_printf(b, "# %s\n", line);
    free(line);
}

void hy_plot_field(hy_buf *b, const char *text) {
    char *line = one_line(text);
    for (char *c = line; *c; c++)
        if (*c == '"' || *c == '\\') *c = '\'';
    hy_buf_printf(b, "\"%s\"", line);
    free(line);
}

void hy_plot_free(hy_plot *p) {
    free(p->data.s);
    free(p->script.s);
    memset(p, 0, sizeof *p);
}

static const char *const format_names[] = {"svg", "png", "pdf"};

hy_status hy_fig_formats_parse(const char *text, unsigned *formats) {
    *formats = 0;
    for (const char *c = text; *c;) {
        size_t n = strcspn(c, ",");
        unsigned bit = 0;
        for (int i = 0; i < 3; i++)
            if (n == strlen(format_names[i]) && !strncmp(c, format_names[i], n)) bit = 1u << i;
        if (!bit) return hy_error(HY_EINPUT, "unknown figure format \"%.*s\": use a list of svg, png, pdf", (int)n, c);
        *formats |= bit;
        c += n + (c[n] == ',');
    }
    return *formats ? HY_OK : hy_error(HY_EINPUT, "no figure format given: use a list of svg, png, pdf");
}

// ---------------------------------------------------------------------------------------------------- the child
// The environment without what gnuplot would read its settings from: terminal, folders of scripts and fonts, language.
// The caller frees the array.
static char **plain_environment(void) {
    static const char *const drop[] = {"GNUTERM", "GNUPLOT", "GNUHELP", "GDFONTPATH", "FIT_", "LC_", "LANG", "PAGER"};
    size_t n = 0, k = 0;
    while (environ[n]) n++;
    char **env = hy_xcalloc(n + 2, sizeof *env);
    for (size_t i = 0; i < n; i++) {
        bool keep = true;
        for (size_t d = 0; d < sizeof drop / sizeof *drop; d++)
            keep = keep && strncmp(environ[i], drop[d], strlen(drop[d]));
        if (keep) env[k++] = environ[i];
    }
    env[k] = "LC_ALL=C.UTF-8";
    return env;
}

// Runs argv with stdout and stderr into *out (at most a few kB are kept). *rc: exit status, 128 + n for a signal.
static hy_status run(char *const argv[], hy_buf *out, int *rc) {
    int fd[2];
    if (pipe2(fd, O_CLOEXEC)) return hy_error(HY_EFAIL, "cannot make a pipe to gnuplot: %s", strerror(errno));
    posix_spawn_file_actions_t fa;
    posix_spawn_file_actions_init(&fa);
    posix_spawn_file_actions_addopen(&fa, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&fa, fd[1], 1);
    posix_spawn_file_actions_adddup2(&fa, fd[1], 2);
    pid_t pid;
    char **env = plain_environment();
    int err = posix_spawnp(&pid, argv[0], &fa, NULL, argv, env);
    free(env);
    posix_spawn_file_actions_destroy(&fa);
    close(fd[1]);
    if (err) {
        close(fd[0]);
        return hy_error(HY_EFAIL,
                        "gnuplot could not be started (%s). Figures need it; install it with: "
                        "apt-get install gnuplot-nox fonts-dejavu-core",
                        strerror(err));
    }
    char buf[1024];
    for (;;) {
        ssize_t n = read(fd[0], buf, sizeof buf);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) break;
        if (out->n < 4096) hy_buf_write(out, buf, (size_t)n);
    }
    close(fd[0]);
    int st = 0;
    while (waitpid(pid, &st, 0) < 0 && errno == EINTR) {
    }
    *rc = WIFEXITED(st) ? WEXITSTATUS(st) : 128 + WTERMSIG(st);
    hy_buf_write(out, "", 0);
    return HY_OK;
}

hy_status hy_gnuplot_check(void) {
    hy_buf said = {0};
    int rc = 0;
    hy_status s = run((char *[]){"gnuplot", "--version", NULL}, &said, &rc);
    if (!s && rc != 0)
        s = hy_error(HY_EFAIL,
                     "gnuplot --version failed (exit %d): %.300s. Figures need gnuplot 5.2 or newer; install it "
                     "with: apt-get install gnuplot-nox fonts-dejavu-core",
                     rc, said.s);
    free(said.s);
    return s;
}

// ---------------------------------------------------------------------------------------------------- missing fonts
// A character that no font has ruins a whole PNG or PDF: gnuplot's cairo terminals draw the box for it in a gigantic
// size. So fontconfig is asked about characters of rare scripts. Where it cannot be asked, fonts are taken to have
// everything.
enum { COMMON = 0x530, ASKED_MAX = 256 };  // DejaVu, which is installed with gnuplot, has Latin, Greek and Cyrillic
static struct {
    uint32_t c;
    bool there;
} asked[ASKED_MAX];
static int n_asked;
static char missing[256];

static bool has_font(uint32_t c, const char *text, int bytes) {
    for (int i = 0; i < n_asked; i++)
        if (asked[i].c == c) return asked[i].there;
    if (n_asked == ASKED_MAX) return false;
    char pattern[32];
    hy_buf said = {0};
    int rc = 0;
    snprintf(pattern, sizeof pattern, ":charset=%x", (unsigned)c);
    const bool there = run((char *[]){"fc-list", pattern, "family", NULL}, &said, &rc) || rc || said.n;
    free(said.s);
    asked[n_asked].c = c;
    asked[n_asked++].there = there;
    const size_t n = strlen(missing);
    if (!there && n + (size_t)bytes < sizeof missing) snprintf(missing + n, sizeof missing - n, "%.*s", bytes, text);
    return there;
}

// Appends the script with U+FFFD in the place of what no font has; false: it has none of these.
static bool without_missing(const hy_buf *script, hy_buf *out) {
    bool any = false;
    for (size_t i = 0; i < script->n;) {
        int n = hy_utf8_length(script->s + i, script->n - i), len;
        const bool rare = n > 1 && hy_utf8_get(script->s + i, &len) >= COMMON;
        const bool lost = rare && !has_font(hy_utf8_get(script->s + i, &len), script->s + i, n);
        if (n < 1) n = 1;
        if (lost)
            hy_buf_write(out, "\xEF\xBF\xBD", 3);
        else
            hy_buf_write(out, script->s + i, (size_t)n);
        any = any || lost;
        i += (size_t)n;
    }
    return any;
}

const char *hy_plot_missing(void) { return missing; }

// ---------------------------------------------------------------------------------------------------- drawing
#define PICTURE_MAX ((size_t)1 << 30)

// gnuplot draws beside the final name; the picture appears under its name only when it is complete.
static hy_status draw_one(const hy_fig_out *o, const char *format, const char *script) {
    char *final = hy_asprintf("%s/%s.%s", o->dir, o->name, format),
         *tmp = hy_asprintf("%s.tmp.%ld", final, (long)getpid());
    hy_buf chdir_cmd = {0}, said = {0}, out_set = {0};
    hy_buf_printf(&chdir_cmd, "cd ");
    hy_plot_quote(&chdir_cmd, o->dir);
    char *tmp_name = hy_asprintf("%s.%s.tmp.%ld", o->name, format, (long)getpid());
    hy_buf_printf(&out_set, "FORMAT='%s'; OUT='%s'", format, tmp_name);
    char *load = hy_asprintf("load '%s'; unset output", script);
    int rc = 0;
    hy_status s = run((char *[]){"gnuplot", "-d", "-e", chdir_cmd.s, "-e", out_set.s, "-e", load, NULL}, &said, &rc);
    struct stat st;
    char *picture = NULL;
    size_t n = 0;
    if (!s && (rc != 0 || stat(tmp, &st) || st.st_size == 0))
        s = hy_error(HY_EFAIL, "gnuplot could not draw %s (exit %d): %.1500s", final, rc,
                     said.n ? said.s : "it wrote no picture and gave no reason; is the disk full?");
    if (!s) s = hy_file_read(tmp, PICTURE_MAX, &picture, &n);
    if (!s) s = hy_file_write(final, picture, n);  // by the rules of all files, not by a rename over a link
    unlink(tmp);
    free(picture);
    free(chdir_cmd.s), free(out_set.s), free(said.s), free(load), free(tmp_name), free(tmp), free(final);
    return s;
}

// SVG keeps every character: whoever shows it may have the font.
static hy_status draw_all(const hy_fig_out *o, const hy_buf *style, const hy_buf *script) {
    hy_buf plain = {0};
    hy_buf_write(&plain, style->s, style->n);  // with names of files, which stay
    char *own = hy_asprintf("%s.gp", o->name), *other = hy_asprintf("%s.gp.tmp.%ld", o->name, (long)getpid());
    char *path = hy_asprintf("%s/%s", o->dir, other);
    const bool lost = (o->formats & (HY_FIG_PNG | HY_FIG_PDF)) && without_missing(script, &plain);
    hy_status s = lost ? hy_file_write(path, plain.s, plain.n) : HY_OK;
    for (int i = 0; i < 3 && !s; i++)
        if (o->formats & 1u << i) s = draw_one(o, format_names[i], lost && 1u << i != HY_FIG_SVG ? other : own);
    if (lost) unlink(path);
    free(plain.s), free(own), free(other), free(path);
    return s;
}

// Files of other people that happen to have the names of ours are left alone.
static hy_status only_ours(const hy_fig_out *o) {
    static const char *const ext[] = {"svg", "png", "pdf", "dat", "gp"};
    char *gp = hy_asprintf("%s/%s.gp", o->dir, o->name), start[sizeof OURS] = "";
    FILE *f = fopen(gp, "r");
    const bool ours = f && fread(start, 1, sizeof OURS - 1, f) == sizeof OURS - 1 && !strcmp(start, OURS);
    if (f) fclose(f);
    free(gp);
    hy_status s = HY_OK;
    for (int i = 0; i < 5 && !ours && !s; i++) {
        char *path = hy_asprintf("%s/%s.%s", o->dir, o->name, ext[i]);
        struct stat st;
        if ((i > 2 || o->formats & 1u << i) && !lstat(path, &st))
            s = hy_error(HY_EINPUT,
                         "%s is there, and %s.gp, by which hylab knows the figures that it drew, is not or is not its "
                         "own: move the file away or choose another folder",
                         path, o->name);
        free(path);
    }
    return s;
}

hy_status hy_plot_draw(const hy_plot *p, const hy_fig_out *o) {
    HY_ASSERT(p->width > 0 && p->height > 0 && o->formats != 0);
    for (const char *c = o->name; *c || c == o->name; c++)
        if ((unsigned char)*c < 0x80 && !isalnum((unsigned char)*c) && !(*c && strchr("-_.", *c)))
            return hy_error(HY_EINPUT, "figure name \"%s\": use letters, digits, '-', '_' and '.' only", o->name);
    HY_TRY(hy_mkdirs(o->dir));
    HY_TRY(only_ours(o));
    hy_buf style = {0}, script = {0};
    style_write(&style, p, o->name);
    hy_buf_write(&script, style.s, style.n);
    hy_buf_write(&script, p->script.s, p->script.n);
    char *gp = hy_asprintf("%s/%s.gp", o->dir, o->name), *dat = hy_asprintf("%s/%s.dat", o->dir, o->name);
    hy_status s = hy_file_write(dat, p->data.s ? p->data.s : "", p->data.n);
    if (!s) s = hy_file_write(gp, script.s, script.n);
    if (!s) s = draw_all(o, &style, &p->script);
    free(style.s), free(script.s), free(gp), free(dat);
    return s;
}
