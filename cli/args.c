/* args.c - reads a command line by its row of the table.  A word that does not fit is named. */
#include "cli/cli.h"

#include <stdlib.h>
#include <string.h>

static bool takes(const struct command *command, size_t option)
{
    return (command->options >> option & 1u) != 0;
}

/* The option called so (up to SIZE bytes of NAME) among the command's; OPT_COUNT when none is. */
static size_t find_option(const struct command *command, const char *name, size_t size)
{
    for (size_t i = 0; i < OPT_COUNT; i++) {
        if (takes(command, i) && strlen(option_rows[i].name) == size &&
            strncmp(option_rows[i].name, name, size) == 0) {
            return i;
        }
    }
    return OPT_COUNT;
}

static int wrong(const struct command *command, const char *text, const char *word)
{
    char next[96];
    snprintf(next, sizeof next, "see: seks help %s%s%s", command->name, command->verb ? " " : "",
             command->verb ? command->verb : "");
    return fail(SEKS_USAGE, next, "%s%s", text, word);
}

/* One "--name", "--name=value" or "--name value" at argv[*AT]. */
static int read_option(struct args *args, int argc, char **argv, int *at)
{
    const char *word = argv[*at], *equals = strchr(word, '=');
    size_t size = (equals ? (size_t)(equals - word) : strlen(word)) - 2;
    size_t option = find_option(args->command, word + 2, size);
    if (option == OPT_COUNT) {
        return wrong(args->command, "there is no option ", word);
    }
    if (args->option[option]) {
        return wrong(args->command, "given twice: ", word);
    }
    if (!option_rows[option].value) {
        args->option[option] = "";
        return equals ? wrong(args->command, "takes no value: ", word) : SEKS_OK;
    }
    if (!equals && *at + 1 == argc) {
        return wrong(args->command, "lacks its value: ", word);
    }
    args->option[option] = equals ? equals + 1 : argv[++*at];
    return SEKS_OK;
}

static int read_word(struct args *args, char *word)
{
    if (args->words < args->command->max) {
        args->word[args->words++] = word;
        return SEKS_OK;
    }
    if (args->command->run == command_secret_set) { /* it would be in the shell's history, and in ps */
        return fail(SEKS_USAGE, "leave it out to be asked, or use --file FILE or standard input",
                    "a secret's value is not taken from the command line");
    }
    if (args->command->run == command_run) {
        return fail(SEKS_USAGE, "put -- before the command: seks run AGENT -- COMMAND",
                    "one word too many: %s", word);
    }
    return wrong(args->command, "one word too many: ", word);
}

int args_parse(const struct command *command, int argc, char **argv, struct args *ret)
{
    int status = SEKS_OK;
    *ret = (struct args){.command = command};
    for (int i = 0; i < argc && status == SEKS_OK; i++) {
        if (strcmp(argv[i], "--") == 0) {
            ret->rest = argv + i + 1;
            break;
        }
        if (strcmp(argv[i], "-h") == 0) {
            ret->option[OPT_HELP] = "";
        } else if (strncmp(argv[i], "--", 2) == 0) {
            status = read_option(ret, argc, argv, &i);
        } else if (argv[i][0] == '-' && argv[i][1]) {
            status = wrong(command, "there is no option ", argv[i]);
        } else {
            status = read_word(ret, argv[i]);
        }
    }
    if (status != SEKS_OK || ret->option[OPT_HELP]) {
        return status;
    }
    return ret->words < command->min ? wrong(command, "something is missing: ", command->words)
                                     : SEKS_OK;
}

bool args_duration(const char *text, uint64_t *ret_seconds)
{
    static const struct {
        const char *unit;
        uint64_t seconds;
    } units[] = {{"", 1}, {"s", 1}, {"m", 60}, {"h", 3600}, {"d", 86400}, {"w", 604800}};
    const uint64_t most = 10ull * 365 * 86400;
    char *end;
    if (text[0] < '0' || text[0] > '9') {
        return false;
    }
    uint64_t number = strtoull(text, &end, 10);
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (strcmp(end, units[i].unit) == 0) {
            *ret_seconds = number * units[i].seconds;
            return number > 0 && number <= most && *ret_seconds <= most;
        }
    }
    return false;
}

bool args_lists(const char *list, const char *name)
{
    size_t size = strlen(name);
    for (const char *at = list; at; at = strchr(at, ',')) {
        at += *at == ',';
        if (strcspn(at, ",") == size && strncmp(at, name, size) == 0) {
            return true;
        }
    }
    return !list;
}
