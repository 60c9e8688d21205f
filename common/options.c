/* options.c - the command line by a table; every wrong word is named and ends the program. */
#include "common/options.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS_MAX = 64 }; /* options of one program */

static void print_help(const char *program, const struct option *options)
{
    printf("usage: %s [options]\n", program);
    for (const struct option *option = options; option->name; option++) {
        printf("  --%-18s %s\n", option->name, option->help);
    }
    printf("  --%-18s %s\n", "help", "print this");
    printf("  --%-18s %s\n", "version", "print the version");
}

static const struct option *find(const struct option *options, const char *name, size_t size)
{
    for (const struct option *option = options; option->name; option++) {
        if (strlen(option->name) == size && strncmp(option->name, name, size) == 0) {
            return option;
        }
    }
    return NULL;
}

static bool parse_number(const char *text, uint64_t *ret_number)
{
    static const struct {
        char letter;
        unsigned shift;
    } units[] = {{'k', 10}, {'m', 20}, {'g', 30}};
    uint64_t number = 0;
    const char *at = text;
    for (; isdigit((unsigned char)*at) && number <= UINT64_MAX / 16; at++) {
        number = number * 10 + (uint64_t)(*at - '0');
    }
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (tolower((unsigned char)*at) == units[i].letter && at[1] == 0 && at != text &&
            number <= UINT64_MAX >> units[i].shift) {
            *ret_number = number << units[i].shift;
            return true;
        }
    }
    *ret_number = number;
    return at != text && *at == 0;
}

static bool list_add(struct option_list *list, const char *value)
{
    if (list->count == OPTION_LIST_MAX) {
        return false;
    }
    list->values[list->count++] = value;
    return true;
}

static bool set_value(const struct option *option, const char *value)
{
    switch (option->kind) {
    case OPTION_TEXT:
        *(const char **)option->target = value;
        return true;
    case OPTION_NUMBER:
        return parse_number(value, option->target);
    case OPTION_FLAG:
        *(bool *)option->target = strcmp(value, "0") != 0 && strcmp(value, "false") != 0;
        return true;
    case OPTION_LIST:
        return list_add(option->target, value);
    }
    return false;
}

/* A variable of the environment has the values of a list with commas between. */
static bool set_from_environment(const struct option *option, char *text)
{
    bool good = true;
    if (option->kind != OPTION_LIST) {
        return set_value(option, text);
    }
    for (char *value = strsep(&text, ","); value && good; value = strsep(&text, ",")) {
        good = list_add(option->target, value);
    }
    return good;
}

static enum status complain(const char *program, const char *what, const char *name, size_t size)
{
    fprintf(stderr, "%s: %s --%.*s (see --help)\n", program, what, (int)size, name);
    return STATUS_INVALID;
}

/* SEKS_LISTEN_GATEWAY for --listen-gateway. */
static const char *environment_value(const char *name)
{
    char variable[64] = "SEKS_";
    size_t used = 5;
    for (; *name && used + 1 < sizeof variable; name++, used++) {
        variable[used] = *name == '-' ? '_' : (char)toupper((unsigned char)*name);
    }
    return getenv(variable);
}

/* The environment is cleared later, and the targets point here: kept while the process lives. */
static char *kept[ROWS_MAX];

static enum status from_environment(const char *program, const struct option *options)
{
    for (const struct option *option = options; option->name; option++) {
        const char *value = environment_value(option->name);
        char **copy = &kept[option - options];
        if (!value) {
            continue;
        }
        free(*copy);
        *copy = strdup(value);
        if (!*copy || !set_from_environment(option, *copy)) {
            return complain(program, "bad value in the environment for", option->name,
                            strlen(option->name));
        }
    }
    return STATUS_OK;
}

static enum status parse_word(const char *program, const struct option *options, char **argv,
                              int *index, bool *seen)
{
    const char *word = argv[*index];
    if (strncmp(word, "--", 2) != 0) {
        fprintf(stderr, "%s: unexpected word %s (see --help)\n", program, word);
        return STATUS_INVALID;
    }
    const char *name = word + 2;
    const char *equals = strchr(name, '=');
    size_t size = equals ? (size_t)(equals - name) : strlen(name);
    const struct option *option = find(options, name, size);
    if (!option) {
        return complain(program, "unknown option", name, size);
    }
    const char *value = equals ? equals + 1 : option->kind == OPTION_FLAG ? "1" : argv[++*index];
    if (!value) {
        return complain(program, "no value for", name, size);
    }
    size_t row = (size_t)(option - options);
    if (!seen[row] && option->kind == OPTION_LIST) {
        ((struct option_list *)option->target)->count = 0; /* the command line replaces defaults */
    }
    seen[row] = true;
    return set_value(option, value) ? STATUS_OK : complain(program, "bad value for", name, size);
}

static enum status check_required(const char *program, const struct option *options)
{
    for (const struct option *option = options; option->name; option++) {
        bool missing = (option->kind == OPTION_TEXT && !*(const char **)option->target) ||
                       (option->kind == OPTION_LIST &&
                        ((struct option_list *)option->target)->count == 0);
        if (option->required && missing) {
            return complain(program, "missing option", option->name, strlen(option->name));
        }
    }
    return STATUS_OK;
}

enum status options_parse(const char *program, const struct option *options, int argc,
                          char **argv)
{
    bool seen[ROWS_MAX] = {false};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0) {
            print_help(program, options);
            exit(0);
        }
        if (strcmp(argv[i], "--version") == 0) {
            printf("%s %s\n", program, SEKS_VERSION);
            exit(0);
        }
    }
    enum status status = from_environment(program, options);
    for (int i = 1; i < argc && status == STATUS_OK; i++) {
        status = parse_word(program, options, argv, &i, seen);
    }
    return status == STATUS_OK ? check_required(program, options) : status;
}
