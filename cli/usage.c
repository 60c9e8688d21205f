/* usage.c - says how commands are used, from the table alone. */
#include "cli/cli.h"

#include <string.h>

enum { LEFT_COLUMN = 34 };

static void line(FILE *out, const struct command *row)
{
    char left[128];
    snprintf(left, sizeof left, "%s%s%s%s%s", row->name, row->verb ? " " : "",
             row->verb ? row->verb : "", row->words[0] ? " " : "", row->words);
    fprintf(out, "  seks %-*s %s\n", LEFT_COLUMN, left, row->help);
}

void usage_all(FILE *out)
{
    fprintf(out, "usage: seks COMMAND\n");
    for (const struct command *row = commands; row->name; row++) {
        line(out, row);
    }
    fprintf(out, "`seks help COMMAND` has the options; the manual is seks(1).\n");
}

void usage_group(FILE *out, const char *name)
{
    fprintf(out, "usage:\n");
    for (const struct command *row = commands; row->name; row++) {
        if (strcmp(row->name, name) == 0) {
            line(out, row);
        }
    }
}

void usage_command(FILE *out, const struct command *row)
{
    fprintf(out, "usage: seks %s%s%s%s%s%s\n  %s\n", row->name, row->verb ? " " : "",
            row->verb ? row->verb : "", row->options ? " [OPTIONS]" : "", row->words[0] ? " " : "",
            row->words, row->help);
    for (size_t i = 0; i < OPT_COUNT; i++) {
        char left[64];
        if ((row->options >> i & 1u) == 0) {
            continue;
        }
        snprintf(left, sizeof left, "--%s%s%s", option_rows[i].name, option_rows[i].value ? " " : "",
                 option_rows[i].value ? option_rows[i].value : "");
        fprintf(out, "  %-24s %s\n", left, option_rows[i].help);
    }
}

/* `seks help run` and `seks help secret set`; a raw command tells for itself. */
int command_help(const struct args *args)
{
    char *words[] = {(char *)args->word[0], (char *)args->word[1]};
    int used = 0;
    const struct command *row = command_find((int)args->words, words, &used);
    if (args->words == 0) {
        usage_all(stdout);
    } else if (row) {
        usage_command(stdout, row);
    } else if (command_is_group(words[0])) {
        usage_group(stdout, words[0]);
    } else {
        return fail(SEKS_USAGE, "see: seks help", "there is no command %s", words[0]);
    }
    return SEKS_OK;
}
