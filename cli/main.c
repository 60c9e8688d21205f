/* main.c - the `seks` command: finds the subcommand and runs it. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/cli.h"
#include "common/log.h"

static const struct command {
    const char *name;
    const char *arguments;
    const char *help;
    command_fn *run;
} commands[] = {
    {"keygen", "[--split] DIR | --kubernetes [DIR]", "make the keys that DIR lacks, for all daemons", command_keygen},
    {"audit", "verify DIR --key FILE", "check the audit log in DIR", command_audit},
};
enum { COMMAND_COUNT = sizeof commands / sizeof commands[0] };

static int usage(FILE *out, int exit_status)
{
    fprintf(out, "usage:\n");
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        fprintf(out, "  seks %s %s   %s\n", commands[i].name, commands[i].arguments,
                commands[i].help);
    }
    return exit_status;
}

int main(int argc, char **argv)
{
    umask(022); /* modes are given where files are made; public keys are for all */
    log_open("seks", LEVEL_INFO);
    if (argc < 2) {
        return usage(stderr, 2);
    }
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        if (strcmp(argv[1], commands[i].name) == 0) {
            return commands[i].run(argc - 2, argv + 2);
        }
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0) {
        return usage(stdout, 0);
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("seks %s\n", SEKS_VERSION);
        return 0;
    }
    fprintf(stderr, "seks: no command \"%s\"\n", argv[1]);
    return usage(stderr, 2);
}
