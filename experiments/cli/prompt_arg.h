// prompt_arg.h - text of the user's own on the command line, in the tokens of a model: what generate and probe share.
#ifndef HY_PROMPT_ARG_H
#define HY_PROMPT_ARG_H
#include "core/spec/spec.h"
#include "core/task/task.h"
#include "core/token/tokenizer.h"

// "5 17 3" or "5,17,3" as ids.
hy_status hy_prompt_ids(const char *text, hy_token_ids *out);
// The tokenizer of a model: `tokenizer` if it is not NULL, the one in its folder, else bytes; what is worth knowing of
// it is told on stderr. HY_EINPUT: there is none, or its ids are not those of the model.
hy_status hy_prompt_tokenizer(const char *tokenizer, const char *model, const hy_model_spec *spec, hy_tokenizer **out);

enum { HY_PROMPT_MOST = 65536 };  // tokens
// One text instead of a task.
typedef struct {
    const char *prompt, *file, *tokenizer;  // prompt or file, NULL: not given
    bool ids;                               // they are token ids
    int most;                               // only so many tokens; 0: all
} hy_prompt_args;
#define HY_ARGS_PROMPT(a)                                                                                        \
    {"--prompt", "TEXT", HY_ARG_TEXT, &(a).prompt, 0, "a text of your own instead of a task"},                   \
        {"--text", "FILE", HY_ARG_PATH, &(a).file, 0, "the same from a file (--tokens N: its first N tokens)"},  \
        {"--tokenizer",                                                                                          \
         "PATH",                                                                                                 \
         HY_ARG_PATH,                                                                                            \
         &(a).tokenizer,                                                                                         \
         0,                                                                                                      \
         "of --prompt and --text: tokenizer.json, SentencePiece model, folder, or bytes (default: the folder's " \
         "own, else bytes)"},                                                                                    \
    {                                                                                                            \
        "--ids", NULL, HY_ARG_FLAG, &(a).ids, 0, "--prompt and --text hold token ids"                            \
    }
// As a task of one example with a cell "prompt" or "text".
hy_status hy_task_of_prompt(const hy_prompt_args *a, const char *model, const hy_model_spec *spec, hy_task **out);
#endif
