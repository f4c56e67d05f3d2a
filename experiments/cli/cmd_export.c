// cmd_export.c - `hylab export`: a model as a checkpoint folder that other programs load.
#include <stdlib.h>
#include <string.h>

#include "core/format/gguf.h"
#include "core/model/checkpoint.h"
#include "core/family/export.h"
#include "core/spec/spec_read.h"
#include "core/format/table.h"
#include "experiments/cli/args.h"
#include "experiments/cli/commands.h"
#include "core/family/model_file.h"

typedef struct {
    const char *out, *like, *family, *dtype, *shard, *seed;
    hy_arg_list sets;
    hy_table_format format;
} options;

// ---------------------------------------------------------------------------------------------------- options
static hy_status read_dtype(const char *text, hy_st_dtype *out) {
    static const struct {
        const char *word;
        hy_st_dtype type;
    } types[] = {{"f32", HY_ST_F32}, {"bf16", HY_ST_BF16}, {"f16", HY_ST_F16}};
    for (size_t i = 0; i < 3; i++)
        if (!strcmp(types[i].word, text)) {
            *out = types[i].type;
            return HY_OK;
        }
    return hy_error(HY_EINPUT, "--dtype %s: there are f32, bf16 and f16", text);
}

// "5GB", "300MB", "64KB" (powers of 10) or bytes.
static hy_status read_size(const char *text, size_t *out) {
    static const struct {
        const char *unit;
        double bytes;
    } units[] = {{"GB", 1e9}, {"MB", 1e6}, {"KB", 1e3}, {"", 1}};
    char *end;
    const double n = strtod(text, &end);
    for (size_t i = 0; i < 4; i++)
        if (end != text && !strcasecmp(end, units[i].unit) && n * units[i].bytes >= 1 && n * units[i].bytes < 1e18) {
            *out = (size_t)(n * units[i].bytes);
            return HY_OK;
        }
    return hy_error(HY_EINPUT, "--shard-size %s: a size such as 5GB, 300MB or 64KB is wanted", text);
}

static hy_status read_seed(const char *text, uint64_t *out) {
    char *end;
    *out = strtoull(text, &end, 10);
    return *text >= '0' && *text <= '9' && !*end
               ? HY_OK
               : hy_error(HY_EINPUT, "--init %s: a whole number is wanted (the seed)", text);
}

// ---------------------------------------------------------------------------------------------------- the source
typedef struct {
    hy_program *p;
    hy_st *checkpoint;
    hy_import *folder;
    bool gguf;  // the folder is a GGUF file: there is nothing to copy beside the weights
    hy_import_map map;
    hy_export_folder from;
    uint64_t seed;
    hy_export_values values;
} source;

static void source_close(source *s) {
    hy_import_map_free(&s->map);
    hy_import_close(s->folder);
    hy_st_close(s->checkpoint);
    if (s->p) hy_program_free(s->p);
}

static hy_status open_folder(const char *path, source *s) {
    s->gguf = hy_is_gguf(path);
    HY_TRY(hy_import_open(path, &s->folder));
    HY_TRY(hy_model_build(&s->folder->spec, &s->p));
    HY_TRY(hy_import_map_make(s->folder->family, s->p, &s->map));
    HY_TRY(hy_import_check(s->folder, &s->map, NULL));
    fputs(s->folder->notes.s, stderr);  // of a model that is whole without them
    s->from = (hy_export_folder){s->folder, &s->map};
    s->values = hy_export_folder_values(&s->from);
    return HY_OK;
}

static hy_status source_open(const options *o, const char *path, source *s) {
    const hy_model_file_kind kind = hy_model_file_kind_of(path);
    if (o->seed && kind != HY_MODEL_YAML) return hy_error(HY_EINPUT, "--init is for a variant: %s has weights", path);
    if (!o->seed && kind == HY_MODEL_YAML)
        return hy_error(HY_EINPUT,
                        "%s: a variant has no weights; give random ones with --init SEED, or name a checkpoint", path);
    if (o->sets.n && kind != HY_MODEL_YAML)
        return hy_error(HY_EINPUT, "--set is for a variant: the weights of %s belong to its own model", path);
    if (kind == HY_MODEL_FOLDER) return open_folder(path, s);
    hy_model_spec *spec = hy_xcalloc(1, sizeof *spec);
    hy_status st = hy_model_read_spec(path, o->sets.v, spec);
    if (!st) st = hy_model_build(spec, &s->p);
    free(spec);
    if (st) return st;
    if (kind == HY_MODEL_YAML) {
        s->values = hy_export_initial_values(&s->seed);
        return read_seed(o->seed, &s->seed);
    }
    HY_TRY(hy_checkpoint_open(path, &s->checkpoint));
    s->values = hy_export_checkpoint_values(s->checkpoint);
    return hy_checkpoint_check(s->checkpoint, s->p, NULL);
}

// ---------------------------------------------------------------------------------------------------- writing
static hy_status export_like(const options *o, const source *s, hy_export_report *r) {
    hy_import *like = NULL;
    hy_program *p = NULL;
    hy_import_map map = {0};
    if (hy_is_gguf(o->like)) return hy_error(HY_EINPUT, "--like %s: GGUF is read, not written", o->like);
    hy_status st = hy_import_open(o->like, &like);
    if (!st) st = hy_model_build(&like->spec, &p);
    if (!st) st = hy_import_map_make(like->family, p, &map);
    if (!st) st = hy_import_check(like, &map, NULL);
    if (!st) st = hy_export_like(like, o->like, s->p, s->values, o->out, r);
    hy_import_map_free(&map);
    if (p) hy_program_free(p);
    hy_import_close(like);
    return st;
}

static hy_status write_folder(const options *o, const char *path, const source *s, hy_export_report *r) {
    hy_st_dtype dtype = HY_ST_F32;
    size_t shard = (size_t)5e9;
    if (o->dtype) HY_TRY(read_dtype(o->dtype, &dtype));
    if (o->shard) HY_TRY(read_size(o->shard, &shard));
    if (o->like && (o->dtype || o->shard || o->family))
        return hy_error(
            HY_EINPUT,
            "--like takes everything from the folder: --family, --dtype and --shard-size have no place beside it");
    if (o->like) return export_like(o, s, r);
    const hy_import_family *f = o->family ? hy_import_find(o->family) : s->folder ? s->folder->family : NULL;
    if (o->family && !f) return hy_error(HY_EINPUT, "--family %s: there are %s", o->family, hy_import_families());
    if (!f) return hy_error(HY_EINPUT, "name the layout: --family (%s), or --like FOLDER", hy_import_families());
    if (!s->folder || s->gguf || f != s->folder->family)
        return hy_export_new(f, s->p, s->values, dtype, shard, o->out, r);
    if (!o->dtype && !o->shard) return hy_export_like(s->folder, path, s->p, s->values, o->out, r);
    return hy_export_rewrite(s->folder, path, s->p, s->values, o->dtype ? &dtype : NULL, shard, o->out, r);
}

static hy_status print_report(const options *o, const source *s, const hy_export_report *r) {
    hy_table *t = hy_table_new(NULL);
    hy_table_column(t, "folder", NULL, NULL, HY_LEFT);
    hy_table_column(t, "files", "weight files", NULL, HY_RIGHT);
    hy_table_column(t, "tensors", NULL, NULL, HY_RIGHT);
    hy_table_column(t, "bytes", "bytes of weights", NULL, HY_RIGHT);
    const bool like = o->like || (s->folder && !s->gguf && !o->family && !o->dtype && !o->shard);
    if (like) hy_table_column(t, "changed", "tensors changed", NULL, HY_RIGHT);
    hy_table_row(t);
    hy_table_text(t, "%s", o->out);
    hy_table_int(t, r->files);
    hy_table_int(t, r->tensors);
    hy_table_int(t, (int64_t)r->bytes);
    if (like) hy_table_int(t, r->changed);
    hy_status st = hy_table_print(t, o->format, stdout);
    hy_table_free(t);
    return st;
}

static hy_status run(const options *o, const char *path) {
    source s = {0};
    hy_export_report r;
    if (!o->out) return hy_error(HY_EINPUT, "--out DIR is missing: where the folder goes");
    hy_status st = source_open(o, path, &s);
    if (!st) st = hy_make_folders_above(o->out);
    hy_interrupts_defer();
    if (!st) st = write_folder(o, path, &s, &r);
    hy_interrupts_end();
    if (!st) st = print_report(o, &s, &r);
    source_close(&s);
    return st;
}

int hy_cmd_export(int argc, char **argv) {
    options o = {0};
    const hy_arg args[] = {
        {"--out", "DIR", HY_ARG_PATH, &o.out, 0, "the folder to write; it must not hold a model yet"},
        {"--like", "DIR", HY_ARG_PATH, &o.like, 0,
         "a folder to follow: its layout, element types, shards, configuration, tokenizer"},
        {"--family", "NAME", HY_ARG_TEXT, &o.family, 0, "layout of a new folder: llama, qwen2, mamba, hymba, ..."},
        {"--dtype", "f32|bf16|f16", HY_ARG_TEXT, &o.dtype, 0,
         "element type of a new folder (f32; of a folder: as it is)"},
        {"--shard-size", "SIZE", HY_ARG_TEXT, &o.shard, 0, "at most so much in one file: 5GB (default), 300MB, 64KB"},
        {"--init", "SEED", HY_ARG_TEXT, &o.seed, 0,
         "random initial weights for a variant: its real sizes without training"},
        {"--set", "PATH=VALUE", HY_ARG_LIST, &o.sets, 0, "a change to the variant"},
        {"--format", HY_TABLE_FORMATS, HY_ARG_FORMAT, &o.format, 0, "how to print what was written"},
        {0},
    };
    const hy_args a = {
        .usage = "hylab export MODEL --out DIR [options]",
        .text = "Writes a model as a folder with config.json and safetensors, as other programs load it. MODEL is a "
                "folder itself, a\n"
                "checkpoint of hylab, or a variant. A folder, and --like, keep the files' headers and types, and every "
                "tensor that was not\n"
                "changed comes out byte by byte.\n\n"
                "examples:\n"
                "  hylab export runs/tuned.safetensors --like ~/models/SmolLM2-135M --out tuned\n"
                "  hylab export runs/text.safetensors --family llama --dtype bf16 --out my-llama\n"
                "  hylab export ~/models/Llama-3.2-1B --dtype bf16 --shard-size 1GB --out llama-shards\n"
                "  hylab export variants/paper/hymba-1.5b.yaml --init 1 --family hymba --dtype bf16 --out hymba-random",
        .args = args,
        .min_rest = 1,
        .max_rest = 1,
    };
    hy_arg_list rest = {0};
    bool help = false;
    hy_status st = hy_args_read(&a, argc, argv, &rest, &help);
    if (!st && !help) st = run(&o, rest.v[0]);
    free(rest.v);
    free(o.sets.v);
    return hy_command_end("export", st);
}
