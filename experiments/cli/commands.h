// commands.h - the prototypes of all subcommands, made from commands.def. Included by main.c and by every cmd_NAME.c.
#ifndef HY_COMMANDS_H
#define HY_COMMANDS_H
#define X(name, help) int hy_cmd_##name(int argc, char **argv);
#include "experiments/cli/commands.def"
#undef X
#endif
