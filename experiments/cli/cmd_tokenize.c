// cmd_tokenize.c - hylab tokenize: text to ids and back. Texts are arguments, standard input, or (--lines) JSON
// strings, one a line; of files: tokenize_files.c.
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/utf8.h"
#include "core/format/json.h"
#include "core/token/tokenizer.h"
#include "experiments/cli/args.h"
#include "experiments/cli/commands.h"
#include "experiments/cli/tokenize_files.h"

typedef struct {
    bool decode, lines, ids, pieces, count, plain, keep;
    hy_table_format format;
    hy_tokenize_files files;
} options;

// ---------------------------------------------------------------------------------------------------- output
static void ids_text(const hy_token_ids *ids, bool json, hy_buf *out) {
    if (json) hy_buf_write(out, "[", 1);
    for (size_t i = 0; i < ids->n; i++) hy_buf_printf(out, "%s%d", i ? (json ? ", " : " ") : "", (int)ids->v[i]);
    if (json) hy_buf_write(out, "]", 1);
    hy_buf_write(out, "\n", 1);
}

static void pieces_text(const hy_tokenizer *t, const hy_token_ids *ids, hy_buf *out) {
    hy_buf_write(out, "[", 1);
    for (size_t i = 0; i < ids->n; i++) {
        size_t n = 0;
        const char *s = hy_tokenizer_piece(t, ids->v[i], &n);
        if (i) hy_buf_write(out, ", ", 2);
        if (s)
            hy_json_string_text(s, n, out);
        else
            hy_buf_write(out, "null", 4);
    }
    hy_buf_write(out, "]\n", 2);
}

static hy_status put(hy_buf *b) {
    fwrite(b->s, 1, b->n, stdout);
    b->n = 0;
    return hy_stream_end(stdout, "to standard output");
}

static hy_status print_tokens(hy_tokenizer *t, const hy_token_ids *ids, hy_table_format format) {
    char *title = hy_asprintf("%zu tokens, %s", ids->n, hy_tokenizer_kind(t));
    hy_table *table = hy_table_new(title);
    hy_table_column(table, "position", NULL, NULL, HY_RIGHT);
    hy_table_column(table, "id", NULL, NULL, HY_RIGHT);
    hy_table_column(table, "piece", NULL, NULL, HY_LEFT);
    hy_table_column(table, "text", NULL, NULL, HY_LEFT);
    hy_status s = HY_OK;
    hy_token_stream *stream = hy_token_stream_new(t, false);
    for (size_t i = 0; i < ids->n && !s; i++) {
        size_t n = 0;
        hy_buf shown = {0}, text = {0};
        const char *piece = hy_tokenizer_piece(t, ids->v[i], &n);
        s = hy_token_stream_push(stream, ids->v[i], &text);
        if (!s && i + 1 == ids->n) s = hy_token_stream_end(stream, &text);
        hy_json_string_text(text.n ? text.s : "", text.n, &shown);
        hy_table_row(table);
        hy_table_int(table, (int64_t)i);
        hy_table_int(table, ids->v[i]);
        hy_table_text(table, "%s", piece ? piece : "");
        hy_table_text(table, "%s", shown.s);
        free(shown.s);
        free(text.s);
    }
    hy_token_stream_free(stream);
    hy_table_note(
        table,
        "text: what decoding gives once the token is there; characters that are not whole yet wait for the next");
    if (!s) s = hy_table_print(table, format, stdout);
    hy_table_free(table);
    free(title);
    return s;
}

static hy_status print_count(const hy_tokenizer *t, size_t bytes, size_t tokens, double seconds,
                             hy_table_format format) {
    hy_table *table = hy_table_new(NULL);
    hy_table_column(table, "tokenizer", NULL, NULL, HY_LEFT);
    hy_table_column(table, "vocab", "vocabulary", NULL, HY_RIGHT);
    hy_table_column(table, "bytes", NULL, NULL, HY_RIGHT);
    hy_table_column(table, "tokens", NULL, NULL, HY_RIGHT);
    hy_table_column(table, "bytes_per_token", "bytes/token", NULL, HY_RIGHT);
    hy_table_column(table, "rate", NULL, "MB/s", HY_RIGHT);
    hy_table_row(table);
    hy_table_text(table, "%s", hy_tokenizer_kind(t));
    hy_table_int(table, hy_tokenizer_vocab(t));
    hy_table_int(table, (int64_t)bytes);
    hy_table_int(table, (int64_t)tokens);
    hy_table_num(table, tokens ? (double)bytes / (double)tokens : 0, 3);
    hy_table_num(table, seconds > 0 ? (double)bytes / 1e6 / seconds : 0, 1);
    const hy_status s = hy_table_print(table, format, stdout);
    hy_table_free(table);
    return s;
}

// ---------------------------------------------------------------------------------------------------- one text
static hy_status encode_one(hy_tokenizer *t, const options *o, const char *text, size_t n) {
    hy_token_ids ids = {0};
    hy_buf out = {0};
    const double start = hy_now();
    hy_status s = hy_tokenizer_encode(t, text, n, !o->plain, &ids);
    const double seconds = hy_now() - start;
    if (!s && o->count)
        s = print_count(t, n, ids.n, seconds, o->format);
    else if (!s && (o->ids || o->pieces || o->lines)) {
        if (o->pieces)
            pieces_text(t, &ids, &out);
        else
            ids_text(&ids, o->lines, &out);
        s = put(&out);
    } else if (!s)
        s = print_tokens(t, &ids, o->format);
    free(out.s);
    free(ids.v);
    return s;
}

// "1 2 3" or "[1, 2, 3]", in any number of lines; nothing else may follow.
static hy_status ids_parse(const char *text, size_t n, hy_token_ids *ids) {
    static const char space[] = " \t\r\n";
    const char *s = text + strspn(text, space);
    const bool list = *s == '[';
    s += list;
    s += strspn(s, space);
    while (*s && !(list && *s == ']')) {
        char *end;
        errno = 0;
        const long v = strtol(s, &end, 10);
        if (end == s || errno || v < 0 || v > INT_MAX)
            return hy_error(HY_EINPUT, "\"%.60s\": token ids are wanted, like \"5 17 3\"", s);
        hy_token_ids_add(ids, (int32_t)v);
        s = end + strspn(end, " ,\t\r\n");
    }
    if (list && *s == ']')
        s += 1 + strspn(s + 1, space);
    else if (list)
        return hy_error(HY_EINPUT, "\"%.60s\": the list of ids does not end", text);
    return s == text + n
               ? HY_OK
               : hy_error(HY_EINPUT, "\"%.60s\" follows the list of ids; with --lines there is one list a line", s);
}

static hy_status decode_one(hy_tokenizer *t, const options *o, const char *text, size_t n) {
    hy_token_ids ids = {0};
    hy_buf plain = {0}, out = {0};
    hy_status s = ids_parse(text, n, &ids);
    if (!s) s = hy_tokenizer_decode(t, ids.v, ids.n, !o->keep, &plain);
    if (!s) {
        if (o->lines)
            hy_json_string_text(plain.s, plain.n, &out);
        else
            hy_buf_write(&out, plain.s, plain.n);
        hy_buf_write(&out, "\n", 1);
        s = put(&out);
    }
    free(ids.v);
    free(plain.s);
    free(out.s);
    return s;
}

// ---------------------------------------------------------------------------------------------------- input
static hy_status each_line(hy_tokenizer *t, const options *o) {
    char *line = NULL, where[64];
    size_t cap = 0, number = 0;
    ssize_t n;
    hy_buf text = {0};
    hy_status s = HY_OK;
    while (!s && (n = getline(&line, &cap, stdin)) >= 0) {
        while (n > 0 && (line[n - 1] == '\n' || line[n - 1] == '\r')) line[--n] = 0;
        snprintf(where, sizeof where, "line %zu", ++number);
        const char *at = line;
        size_t left = (size_t)n;
        if (number == 1 && (s = hy_utf8_begin(where, &at, &left))) break;
        text.n = 0;
        hy_buf_write(&text, "", 0);
        if (!o->decode) s = hy_json_parse_string(at, left, where, &text);
        if (!s) s = o->decode ? decode_one(t, o, at, left) : encode_one(t, o, text.s, text.n);
        if (s && o->decode) s = hy_error_context(s, "%s", where);
    }
    free(line);
    free(text.s);
    return s;
}

static hy_status from_stdin(hy_tokenizer *t, const options *o) {
    if (o->lines) return each_line(t, o);
    hy_buf all = {0};
    char part[1 << 16];
    hy_buf_write(&all, "", 0);
    for (size_t n; (n = fread(part, 1, sizeof part, stdin)) > 0 && all.n <= HY_TOKENIZER_MAX_TEXT;)
        hy_buf_write(&all, part, n);
    hy_status s = ferror(stdin) ? hy_error(HY_EFAIL, "cannot read standard input") : HY_OK;
    const char *at = all.s;
    if (!s && strcmp(hy_tokenizer_path(t), "bytes"))
        s = hy_utf8_begin("standard input", &at, &all.n);  // bytes are bytes
    if (!s) s = o->decode ? decode_one(t, o, at, all.n) : encode_one(t, o, at, all.n);
    free(all.s);
    return s;
}

static hy_status tokenize(const options *o, const hy_arg_list *rest) {
    hy_tokenizer *t;
    HY_TRY(hy_tokenizer_open(rest->v[0], &t));
    fputs(hy_tokenizer_notes(t), stderr);
    hy_status s = rest->n == 1 ? from_stdin(t, o) : HY_OK;
    for (int i = 1; i < rest->n && !s; i++)
        s = o->decode ? decode_one(t, o, rest->v[i], strlen(rest->v[i]))
                      : encode_one(t, o, rest->v[i], strlen(rest->v[i]));
    hy_tokenizer_close(t);
    return s;
}

// Of files there are only whole sets and counts.
static hy_status tokenize_files(options *o, const hy_arg_list *rest) {
    if (o->decode || o->lines || o->ids || o->pieces || o->keep || o->plain)
        return hy_error(HY_EINPUT,
                        "of files (--out, --files) shards are made, or tokens counted (--count): without --ids, "
                        "--pieces, --lines, --decode and what goes with them");
    if (o->files.out && o->count)
        return hy_error(HY_EINPUT, "--count counts and writes nothing: leave it or --out out");
    if (!o->files.out && !o->count)
        return hy_error(HY_EINPUT, "--files: --out DIR makes shards of them, --count counts");
    o->files.format = o->format;
    return hy_tokenize_files_run(&o->files, rest->v[0], rest->v + 1, rest->n - 1);
}

int hy_cmd_tokenize(int argc, char **argv) {
    options o = {0};
    const hy_arg args[] = {
        {"--ids", NULL, HY_ARG_FLAG, &o.ids, 0, "print the ids alone"},
        {"--pieces", NULL, HY_ARG_FLAG, &o.pieces, 0, "print the pieces alone, as a JSON list"},
        {"--count", NULL, HY_ARG_FLAG, &o.count, 0, "print how many bytes and tokens, and how fast"},
        {"--decode", NULL, HY_ARG_FLAG, &o.decode, 0, "the other way: ids in, text out"},
        {"--lines", NULL, HY_ARG_FLAG, &o.lines, 0,
         "read lines, each a JSON string (with --decode a list of ids); write a line of JSON for each"},
        {"--no-special", NULL, HY_ARG_FLAG, &o.plain, 0,
         "leave out BOS, EOS and what else the file adds around a text"},
        {"--keep-special", NULL, HY_ARG_FLAG, &o.keep, 0, "with --decode: special tokens as text"},
        {"--format", HY_TABLE_FORMATS, HY_ARG_FORMAT, &o.format, 0, "how to print a table"},
        {"--out", "DIR", HY_ARG_PATH, &o.files.out, 0,
         "the arguments are files or patterns: makes token shards of them, which task text trains on (path=DIR)"},
        {"--files", NULL, HY_ARG_FLAG, &o.files.given, 0, "the arguments are files or patterns; with --count"},
        {"--split", "blank|TEXT", HY_ARG_TEXT, &o.files.split, 0,
         "documents stand between blank lines, or between occurrences of TEXT (\\n: a new line); else each file is "
         "one"},
        {"--field", "NAME", HY_ARG_TEXT, &o.files.field, 0,
         "files are JSONL: a document is the string NAME of each line's object"},
        {"--begin", "TOKEN", HY_ARG_TEXT, &o.files.begin, 0, "put before each document: bos, eos, a piece or an id"},
        {"--end", "TOKEN", HY_ARG_TEXT, &o.files.end, 0, "put after each document: bos, eos, a piece or an id"},
        {"--max-document", "SIZE", HY_ARG_TEXT, &o.files.max_document, 0,
         "bytes of a document, at most (16M); longer ones are refused"},
        {"--split-long", NULL, HY_ARG_FLAG, &o.files.split_long, 0,
         "or cut at ends of lines into documents of at most that size"},
        {"--shard-size", "SIZE", HY_ARG_TEXT, &o.files.shard, 0, "bytes of the files that go into a shard (64M)"},
        {"--threads", "N", HY_ARG_INT, &o.files.threads, 0, "of files: threads (default: all cores)"},
        {0},
    };
    const hy_args a = {
        .usage = "hylab tokenize bytes|FILE|FOLDER [TEXT...] [options]\n"
                 "       hylab tokenize bytes|FILE|FOLDER FILE... --out DIR [options]",
        .text =
            "Text to token ids, with a tokenizer.json, a SentencePiece model, the folder of a released checkpoint, "
            "or plain bytes.\n"
            "Without TEXT it reads standard input, passing over a byte order mark.\n\nexamples:\n"
            "  hylab tokenize models/hymba \"Hybrid heads, \xe2\x9c\x93\"\n"
            "  hylab tokenize models/llama/tokenizer.model --count <experiments/data/tinyshakespeare.txt\n"
            "  hylab tokenize models/hymba --decode \"1 15043 3186\"\n"
            "  hylab tokenize models/hymba --lines <strings.jsonl >ids.jsonl\n"
            "  hylab tokenize models/hymba 'web/*.jsonl' --field text --end eos --out tokens   # shards for training\n"
            "  hylab tokenize models/hymba --files --count 'web/*.jsonl' --field text\n"
            "\nShards are the same bytes for any number of threads. After a kill the same command goes on: shards "
            "that are whole\nare kept. Files are never held: a thread takes its tokenizer, about 40 MB, and up to 16 "
            "times "
            "the longest document\nthat it has met. The format: core/corpus/corpus.h\n",
        .args = args,
        .min_rest = 1,
        .max_rest = -1};
    hy_arg_list rest = {0};
    bool help = false;
    hy_status s = hy_args_read(&a, argc, argv, &rest, &help);
    o.files.given = o.files.given || o.files.out;
    if (!s && !help) s = o.files.given ? tokenize_files(&o, &rest) : hy_tokenize_files_unused(&o.files);
    if (!s && !help && !o.files.given) s = tokenize(&o, &rest);
    free(rest.v);
    return hy_command_end("tokenize", s);
}
