// cmd_doctor.c - `hylab doctor`: what this build and this machine can do, and whether a results database is sound.
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "analysis/figure/gnuplot.h"
#include "core/format/json.h"
#include "core/token/tokenizer.h"
#include "core/base/version.h"
#include "core/format/yaml.h"
#include "experiments/cli/args.h"
#include "experiments/cli/commands.h"
#include "kernels/ceilings.h"
#include "experiments/runner/models.h"
#include "results/schema.h"
#include "core/base/parallel.h"
#include "core/base/plural.h"

typedef struct {
    const char *db;
    bool migrate, given;
    hy_table_format format;
} options;

static void line(hy_table *t, const char *what, const char *state, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
static void line(hy_table *t, const char *what, const char *state, const char *fmt, ...) {
    char *text = NULL;
    va_list ap;
    va_start(ap, fmt);
    int n = vasprintf(&text, fmt, ap);
    va_end(ap);
    hy_table_row(t);
    hy_table_text(t, "%s", what);
    hy_table_text(t, "%s", state);
    hy_table_text(t, "%s", n < 0 ? "" : text);
    if (n >= 0) free(text);
}

// The first "key : value" of a /proc file, or "unknown".
static char *proc_value(const char *path, const char *key) {
    char *text = NULL, *out = NULL;
    size_t n = 0;
    if (hy_file_exists(path) && hy_file_read(path, 16 << 20, &text, &n) == HY_OK) {
        char *at = strstr(text, key), *colon = at ? strchr(at, ':') : NULL;
        if (colon) {
            colon += 1 + strspn(colon + 1, " \t");
            out = hy_asprintf("%.*s", (int)strcspn(colon, "\n"), colon);
        }
        free(text);
    }
    return out ? out : hy_xstrdup("unknown");
}

static void build_lines(hy_table *t) {
    line(t, "hylab", "ok", "%s%s", hy_version_commit(), hy_version_dirty() ? " with local changes" : "");
    line(t, "compiler", "ok", "%s", hy_version_build());
    char gemm[64], yaml[64];
    hy_gemm_library(gemm);
    hy_yaml_library(yaml);
    line(t, "libraries", "ok", "%s, %s, %s, %s", gemm, hy_store_library(), yaml, hy_json_library());
    char text[160];
    hy_tokenizer_libraries(text);
    line(t, "text", "ok", "%s, SentencePiece", text);
    line(t, "schema", "ok", "results of version %d and older", hy_schema_newest());
    char cuda[512];
    const bool gpu = hy_cuda_describe(cuda, sizeof cuda);
    line(t, "CUDA", gpu ? "ok" : "none", "%s%s", cuda, gpu ? "" : "; --device cpu works");
}

static void machine_lines(hy_table *t) {
    struct utsname u;
    if (!uname(&u)) line(t, "system", "ok", "%s %s on %s", u.sysname, u.release, u.machine);
    char *cpu = proc_value("/proc/cpuinfo", "model name"), *mem = proc_value("/proc/meminfo", "MemAvailable");
    const int threads = hy_cpus_allowed();
    line(t, "processor", "ok", "%s", cpu);
    line(t, "threads", "ok", "%d usable by this process, %ld in the machine", threads, sysconf(_SC_NPROCESSORS_ONLN));
    line(t, "memory", "ok", "%.1f GB available", strtod(mem, NULL) * 1024e-9);
    hy_isa best = hy_isa_best();
    line(t, "kernels", best > HY_ISA_BASE ? "ok" : "slow", "%s%s", hy_isa_name(best),
         best == HY_ISA_AVX512 ? ""
         : best == HY_ISA_AVX2 ? " (avx512 is not available here)"
                               : " (avx2 and avx512 are not available here)");
    const char *slow = hy_cpu_bf16_slow();
    line(t, "bf16", slow ? "slow" : "ok", "%s", slow ? slow : "products of bfloat16 by the processor");
    free(cpu);
    free(mem);
    hy_status g = hy_gnuplot_check();
    line(t, "figures", g ? "missing" : "ok", "%s", g ? hy_error_text() : "can be drawn with gnuplot");
}

// Weights that are gone are no fault: a model without them is trained again when a measure needs them.
static hy_status weights_line(hy_table *t, hy_store *s) {
    hy_weights_list l;
    int count[4] = {0};
    double bytes = 0;
    HY_TRY(hy_weights_list_load(s, true, &l));
    for (int i = 0; i < l.n; i++) {
        count[l.v[i].state]++;
        if (l.v[i].state != HY_WEIGHTS_MISSING) bytes += l.v[i].bytes;
    }
    hy_weights_list_free(&l);
    const bool bad = count[HY_WEIGHTS_MISSING] || count[HY_WEIGHTS_CHANGED];
    line(t, "weights", bad ? "incomplete" : "ok",
         "of %d model%s, %.1f MB; missing: %d, changed: %d, files that belong to no model: %d (hylab models)",
         count[HY_WEIGHTS_STORED], hy_s(count[HY_WEIGHTS_STORED]), bytes / 1e6, count[HY_WEIGHTS_MISSING],
         count[HY_WEIGHTS_CHANGED], count[HY_WEIGHTS_ORPHAN]);
    return HY_OK;
}

// A sound database, or none yet, is HY_OK.
static hy_status database_line(hy_table *t, const options *o) {
    if (!hy_file_exists(o->db)) {
        line(t, "results", o->given ? "missing" : "none yet", "%s", o->db);
        return o->given ? hy_error(HY_EINPUT, "%s: no such database", o->db) : HY_OK;
    }
    hy_store *s;
    hy_status st = hy_store_open(o->db, o->migrate ? HY_STORE_WRITE : HY_STORE_READ, &s);
    if (!st) {
        st = hy_results_check(s);
        if (!st) line(t, "results", "ok", "%s, schema version %d", o->db, hy_store_version(s));
        if (!st) st = weights_line(t, s);
        hy_store_close(s);
    }
    if (st) line(t, "results", "bad", "%s", hy_error_text());
    struct statvfs v;
    if (!statvfs(o->db, &v))
        line(t, "disk", "ok", "%.1f GB free beside the results", (double)v.f_bavail * (double)v.f_frsize * 1e-9);
    return st;
}

int hy_cmd_doctor(int argc, char **argv) {
    options o = {.db = hy_default_db()};
    const char *db = NULL;
    const hy_arg args[] = {
        {"--db", "FILE", HY_ARG_PATH, &db, 0, "results database to check ($HYLAB_DB, else runs/hylab.db)"},
        {"--migrate", NULL, HY_ARG_FLAG, &o.migrate, 0,
         "bring an older database up to date (a copy is kept as FILE.bak-vN)"},
        {"--format", HY_TABLE_FORMATS, HY_ARG_FORMAT, &o.format, 0, "how to print"},
        {0},
    };
    const hy_args a = {
        .usage = "hylab doctor [options]",
        .text = "Tells what this build and this machine can do, and reads a results database from end to end.\n\n"
                "examples:\n  hylab doctor\n  hylab doctor --db old.db --migrate",
        .args = args,
    };
    hy_arg_list rest;
    bool help;
    hy_status s = hy_args_read(&a, argc, argv, &rest, &help);
    if (!s && !help) {
        if (db) o.db = db, o.given = true;
        hy_table *t = hy_table_new(NULL);
        hy_table_column(t, "item", NULL, NULL, HY_LEFT);
        hy_table_column(t, "state", NULL, NULL, HY_LEFT);
        hy_table_column(t, "what", NULL, NULL, HY_LEFT);
        build_lines(t);
        machine_lines(t);
        s = database_line(t, &o);
        char *why = hy_xstrdup(s ? hy_error_text() : "");
        hy_status printed = hy_table_print(t, o.format, stdout);
        if (s)
            hy_error(s, "%s", why);
        else
            s = printed;
        free(why);
        hy_table_free(t);
    }
    free(rest.v);
    return hy_command_end("doctor", s);
}
