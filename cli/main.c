/* main.c - the `seks` command: finds the subcommand and runs it. */
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include "cli/cli.h"
#include "common/log.h"

/* JSON holds passwords, keys and tokens: what it gives back is zeroed. */
static void wiping_free(void *memory)
{
    if (memory) {
        explicit_bzero(memory, malloc_usable_size(memory));
        free(memory);
    }
}

static int run(const struct command *command, int argc, char **argv)
{
    struct args args;
    for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--json") == 0) {
            out_open(true); /* before anything can be wrong */
        }
    }
    int status = args_parse(command, argc, argv, &args);
    if (status != SEKS_OK) {
        return status;
    }
    if (args.option[OPT_HELP]) {
        usage_command(stdout, command);
        return SEKS_OK;
    }
    return command->run(&args);
}

static int without_command(int argc, char **argv)
{
    if (argc < 2) {
        usage_all(stderr);
        return SEKS_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        usage_all(stdout);
        return SEKS_OK;
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("seks %s\n", SEKS_VERSION);
        return SEKS_OK;
    }
    if (command_is_group(argv[1])) {
        bool asked = argc > 2 && (strcmp(argv[2], "--help") == 0 || strcmp(argv[2], "-h") == 0);
        usage_group(asked ? stdout : stderr, argv[1]);
        return asked ? SEKS_OK : SEKS_USAGE;
    }
    return fail(SEKS_USAGE, "see: seks help", "there is no command %s", argv[1]);
}

int main(int argc, char **argv)
{
    int used = 0;
    umask(022); /* modes are given where files are made; public keys are for all */
    log_open("seks", LEVEL_INFO);
    json_set_alloc_funcs(malloc, wiping_free);
    const struct command *command = command_find(argc - 1, argv + 1, &used);
    if (!command) {
        return without_command(argc, argv);
    }
    if (command->raw) {
        return command->raw(argc - 2, argv + 2);
    }
    /* No core with what was typed; what `run` starts is not concerned (prctl(2)). */
    (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    return run(command, argc - 1 - used, argv + 1 + used);
}
